//! Configuration files of other servers, read as they are: what weir has a key for is put under that key.
//!
//! Invariants: a key of weir's own in the same file wins; what has no counterpart stays where it is, so that it is named in
//! the warning of unknown keys by its whole path.

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

/// Where other servers keep what weir has a key for.
const COUNTERPARTS: [(&str, &str); 15] = [
    // KsanaLLM's YAML.
    ("model_spec.base_model.model_dir", "model"),
    ("setting.global.tensor_para_size", "tp"),
    ("setting.batch_scheduler.max_waiting_queue_len", "max_queue"),
    ("setting.batch_scheduler.max_batch_size", "max_num_seqs"),
    (
        "setting.batch_scheduler.max_step_tokens",
        "max_num_batched_tokens",
    ),
    ("setting.batch_scheduler.max_token_len", "max_model_len"),
    // OpenKimi's JSON.
    ("llm.model_path", "model"),
    ("llm.device", "device"),
    ("llm.context_length", "max_model_len"),
    ("llm.api_url", "engine"),
    ("llm.api_key", "engine_api_key"),
    ("llm.model_name", "engine_model"),
    (
        "processor.batch_size",
        "plugin_config.long_document.chunk_words",
    ),
    (
        "processor.overlap_size",
        "plugin_config.long_document.overlap_words",
    ),
    ("rag.top_k", "plugin_config.long_document.retrieved"),
];

/// Tables that are there when every request's document is to be cut down, and what does that here.
const CUT_DOWN: [&str; 2] = ["processor", "rag"];
const LONG_DOCUMENT: &str = "long_document";

/// Values that ask for what weir does anyway, or for nothing: nothing is lost by passing over them.
fn is_given(path: &str, value: &Value) -> bool {
    match path {
        // Whether an answer is constrained, each request says.
        "setting.batch_scheduler.enable_xgrammar" => value.to_bool() == Some(true),
        "llm.type" => matches!(value.as_str(), Some("local" | "api")),
        "llm.load_in_8bit" | "llm.load_in_4bit" => value.to_bool() == Some(false),
        "llm.model_path" | "llm.api_url" | "llm.api_key" => value.as_str() == Some(""),
        "processor.entropy_method" => value.as_str() == Some("weighted"),
        // How vectors are searched changes no answer.
        "rag.use_faiss" => value.to_bool().is_some(),
        _ => false,
    }
}

const GIVEN: [&str; 9] = [
    "setting.batch_scheduler.enable_xgrammar",
    "llm.type",
    "llm.load_in_8bit",
    "llm.load_in_4bit",
    "llm.model_path",
    "llm.api_url",
    "llm.api_key",
    "processor.entropy_method",
    "rag.use_faiss",
];

/// A layer in weir's words.
pub(super) struct Translated<P>(pub(super) P);

impl<P: Provider> Provider for Translated<P> {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut data = self.0.data()?;
        data.values_mut().for_each(translate);
        Ok(data)
    }
}

fn translate(file: &mut Dict) {
    let cuts_down = CUT_DOWN.iter().any(|table| file.contains_key(*table));
    if file.contains_key("llm") {
        // OpenKimi has one model, whatever it is called.
        put_if_vacant(file, "accept_any_model", true.into());
    }
    drop_others(file);
    for path in GIVEN {
        take_if(file, path, &|value| is_given(path, value));
    }
    for (path, key) in COUNTERPARTS {
        if let Some(value) = take_if(file, path, &|value| value.as_dict().is_none()) {
            put_if_vacant(file, key, value);
        }
    }
    if cuts_down {
        put_if_vacant(
            file,
            "request_processor",
            Value::from(vec![LONG_DOCUMENT.to_owned()]),
        );
    }
}

/// OpenKimi's table of a model says which of its keys count: those of a model elsewhere, or those of one that is here.
fn drop_others(file: &mut Dict) {
    let Some(Value::Dict(_, llm)) = file.get_mut("llm") else {
        return;
    };
    let others: &[&str] = match llm.get("type").and_then(Value::as_str) {
        Some("api") => &["model_path", "device", "load_in_8bit", "load_in_4bit"],
        Some("local") => &["api_url", "api_key"],
        _ => &[],
    };
    llm.retain(|key, _| !others.contains(&key.as_str()));
    if llm.get("type").and_then(Value::as_str) == Some("local")
        && let Some(name) = llm.remove("model_name")
    {
        // A local model's name is where it comes from, if no path says so.
        let path = llm.get("model_path").and_then(Value::as_str);
        if path.is_none_or(str::is_empty) {
            llm.insert("model_path".to_owned(), name);
        }
    }
}

/// Puts a value under a path of nested tables, unless there is one.
fn put_if_vacant(table: &mut Dict, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.entry(path.to_owned()).or_insert(value)),
        Some((head, rest)) => {
            let inner = table.entry(head.to_owned());
            if let Value::Dict(_, inner) = inner.or_insert_with(|| Value::from(Dict::new())) {
                put_if_vacant(inner, rest, value);
            }
        }
    }
}

/// Takes a value out of nested tables, and tables that are empty then with it.
fn take_if(table: &mut Dict, path: &str, wanted: &dyn Fn(&Value) -> bool) -> Option<Value> {
    let Some((head, rest)) = path.split_once('.') else {
        return match table.get(path) {
            Some(value) if wanted(value) => table.remove(path),
            _ => None,
        };
    };
    let Some(Value::Dict(_, inner)) = table.get_mut(head) else {
        return None;
    };
    let taken = take_if(inner, rest, wanted);
    if taken.is_some() && inner.is_empty() {
        table.remove(head);
    }
    taken
}

/// The paths of all values under a key, as `setting.profiler.stat_buffer_size`.
pub(super) fn leaves(key: &str, value: Option<&Value>) -> Vec<String> {
    match value.and_then(Value::as_dict) {
        Some(table) if !table.is_empty() => table
            .iter()
            .flat_map(|(inner, value)| leaves(&format!("{key}.{inner}"), Some(value)))
            .collect(),
        _ => vec![key.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Yaml};

    use super::*;

    fn translated(yaml: &str) -> Dict {
        let data = Translated(Yaml::string(yaml)).data().expect("reads");
        data.into_values().next().unwrap_or_default()
    }

    #[test]
    fn counterparts_move_and_neighbours_stay() {
        let file = translated(
            "setting:\n  global: {tensor_para_size: 1}\n  batch_scheduler: {max_batch_size: 8, enable_xgrammar: true, preempt_mode: 0}\n\
             model_spec: {base_model: {model_dir: /m}}\n",
        );
        let keys: Vec<&str> = file.keys().map(String::as_str).collect();
        assert_eq!(keys, ["max_num_seqs", "model", "setting", "tp"]);
        assert_eq!(
            leaves("setting", file.get("setting")),
            ["setting.batch_scheduler.preempt_mode"]
        );
    }

    #[test]
    fn own_keys_win_and_other_wishes_are_left_to_be_named() {
        let file = translated("model: mine\nllm: {type: dummy, model_path: theirs}\n");
        assert_eq!(file["model"].as_str(), Some("mine"));
        assert_eq!(leaves("llm", file.get("llm")), ["llm.type"]);
        let file = translated("setting: {batch_scheduler: {enable_xgrammar: false}}\n");
        assert_eq!(file.keys().collect::<Vec<_>>(), ["setting"]);
    }

    #[test]
    fn documents_are_cut_down_as_the_tables_say() {
        let file = translated(
            "processor: {batch_size: 256, overlap_size: 20, entropy_method: weighted, entropy_threshold: 2.5}\n\
             rag: {top_k: 5, use_faiss: true}\nplugin_config: {long_document: {retrieved: 2}}\n",
        );
        assert_eq!(
            leaves("processor", file.get("processor")),
            ["processor.entropy_threshold"]
        );
        assert!(!file.contains_key("rag"));
        let own = file["plugin_config"].find_ref("long_document");
        let own = own.and_then(Value::as_dict).expect("a table");
        let numbers = own
            .iter()
            .map(|(key, value)| (key.as_str(), value.to_u128()));
        let expected = [
            ("chunk_words", 256),
            ("overlap_words", 20),
            ("retrieved", 2),
        ];
        assert_eq!(
            numbers.collect::<Vec<_>>(),
            expected.map(|(key, number)| (key, Some(number)))
        );
        let processors = file["request_processor"].as_array();
        assert_eq!(
            processors.and_then(|all| all[0].as_str()),
            Some("long_document")
        );
        assert!(!translated("llm: {type: local}").contains_key("request_processor"));
    }

    #[test]
    fn a_model_is_elsewhere_or_here_as_its_type_says() {
        let file = translated(
            "llm: {type: api, api_url: 'http://x/v1', api_key: k, model_name: m, model_path: '', device: auto, load_in_8bit: false}\n",
        );
        let keys: Vec<&str> = file.keys().map(String::as_str).collect();
        assert_eq!(keys[1..], ["engine", "engine_api_key", "engine_model"]);
        let file = translated(
            "llm: {type: local, model_path: '', model_name: 'hf:a/b', api_url: 'http://x'}\n",
        );
        assert_eq!(
            file.keys().collect::<Vec<_>>(),
            ["accept_any_model", "model"]
        );
        assert_eq!(file["model"].as_str(), Some("hf:a/b"));
        assert_eq!(file["accept_any_model"].to_bool(), Some(true));
    }
}
