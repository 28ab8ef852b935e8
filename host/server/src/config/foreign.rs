//! Configuration files of other servers, read as they are: what weir has a key for is put under that key.
//!
//! Invariants: a key of weir's own in the same file wins; what has no counterpart stays where it is, so that it is named in
//! the warning of unknown keys by its whole path.

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

/// Where other servers keep what weir has a key for.
const COUNTERPARTS: [(&str, &str); 9] = [
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
];

/// Values that ask for what weir does anyway: nothing is lost by passing over them.
fn is_given(path: &str, value: &Value) -> bool {
    match path {
        // Whether an answer is constrained, each request says.
        "setting.batch_scheduler.enable_xgrammar" => value.to_bool() == Some(true),
        "llm.type" => value.as_str() == Some("local"),
        _ => false,
    }
}

const GIVEN: [&str; 2] = ["setting.batch_scheduler.enable_xgrammar", "llm.type"];

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
    for path in GIVEN {
        take_if(file, path, &|value| is_given(path, value));
    }
    for (path, key) in COUNTERPARTS {
        if let Some(value) = take_if(file, path, &|value| value.as_dict().is_none()) {
            file.entry(key.to_owned()).or_insert(value);
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
        let file = translated("model: mine\nllm: {type: api, model_path: theirs}\n");
        assert_eq!(file["model"].as_str(), Some("mine"));
        assert_eq!(leaves("llm", file.get("llm")), ["llm.type"]);
        let file = translated("setting: {batch_scheduler: {enable_xgrammar: false}}\n");
        assert_eq!(file.keys().collect::<Vec<_>>(), ["setting"]);
    }
}
