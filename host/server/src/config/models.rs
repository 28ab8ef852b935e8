//! `[[models]]`: several models in one configuration, each with what it has of its own.
//!
//! What an entry leaves out is the top level's. A configuration without a list is one of a single model, the top level's.

use figment::value::{Dict, Value};
use serde::{Deserialize, Deserializer, Serialize};

use weir_remote::UpstreamConfig;

use super::{ByteSize, Config, ConfigError, DEFAULT, Loaded, PathBuf, Switch, one_or_many};

/// One model of the list. Each key but `name` is the top level's of the same name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "each field is documented once, as the flag of its name in cli.rs"
)]
pub struct ModelEntry {
    /// The names it answers to, the top level's `served_model_name`; the first is its id.
    #[serde(deserialize_with = "one_or_many")]
    pub name: Vec<String>,
    /// Where it comes from. Never the top level's: a list of models names them all. What has one is computed here.
    pub model: String,
    pub accept_any_model: Option<bool>,
    pub chat_template: Option<PathBuf>,
    pub default_temperature: Option<f32>,
    pub default_top_p: Option<f32>,
    pub default_max_tokens: Option<usize>,
    pub reasoning_budget: Option<usize>,
    pub structured_output_reserve: Option<usize>,
    pub tool_call_parser: Option<String>,
    pub reasoning_parser: Option<String>,
    #[serde(deserialize_with = "given_one_or_many")]
    pub post_processor: Option<Vec<String>>,
    #[serde(deserialize_with = "given_one_or_many")]
    pub request_processor: Option<Vec<String>>,
    pub mpr_candidates: Option<usize>,
    pub max_model_len: Option<usize>,
    pub max_num_seqs: Option<usize>,
    pub max_num_batched_tokens: Option<usize>,
    pub kv_cache_memory: Option<ByteSize>,
    pub max_queue: Option<usize>,
    pub prefix_cache: Option<Switch>,
    #[serde(deserialize_with = "given_one_or_many")]
    pub engine: Option<Vec<String>>,
    pub engines: Option<Vec<UpstreamConfig>>,
    pub engine_model: Option<String>,
    pub tokenizer: Option<String>,
}

fn given_one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    one_or_many(deserializer).map(Some)
}

impl ModelEntry {
    /// The configuration of a server of this model alone.
    fn over(&self, top: &Config) -> Config {
        let own = self.clone();
        // An engine of its own is the only one; one that all share is not that of a model that is computed here.
        let (engine, engines) = match (own.engine, own.engines) {
            (None, None) if own.model.is_empty() => (top.engine.clone(), top.engines.clone()),
            (engine, engines) => (engine.unwrap_or_default(), engines.unwrap_or_default()),
        };
        Config {
            models: Vec::new(),
            served_model_name: own.name,
            model: own.model,
            accept_any_model: own.accept_any_model.unwrap_or(top.accept_any_model),
            chat_template: own.chat_template.or_else(|| top.chat_template.clone()),
            default_temperature: own.default_temperature.or(top.default_temperature),
            default_top_p: own.default_top_p.or(top.default_top_p),
            default_max_tokens: own.default_max_tokens.or(top.default_max_tokens),
            reasoning_budget: own.reasoning_budget.or(top.reasoning_budget),
            structured_output_reserve: own
                .structured_output_reserve
                .or(top.structured_output_reserve),
            tool_call_parser: own
                .tool_call_parser
                .or_else(|| top.tool_call_parser.clone()),
            reasoning_parser: own
                .reasoning_parser
                .or_else(|| top.reasoning_parser.clone()),
            post_processor: own
                .post_processor
                .unwrap_or_else(|| top.post_processor.clone()),
            request_processor: own
                .request_processor
                .unwrap_or_else(|| top.request_processor.clone()),
            mpr_candidates: own.mpr_candidates.or(top.mpr_candidates),
            max_model_len: own.max_model_len.or(top.max_model_len),
            max_num_seqs: own.max_num_seqs.unwrap_or(top.max_num_seqs),
            max_num_batched_tokens: own
                .max_num_batched_tokens
                .unwrap_or(top.max_num_batched_tokens),
            kv_cache_memory: own.kv_cache_memory.or(top.kv_cache_memory),
            max_queue: own.max_queue.unwrap_or(top.max_queue),
            prefix_cache: own.prefix_cache.unwrap_or(top.prefix_cache),
            engine,
            engines,
            engine_model: own.engine_model.or_else(|| top.engine_model.clone()),
            tokenizer: own.tokenizer,
            ..top.clone()
        }
    }
}

impl Config {
    /// The configuration of each model as if it were the only one, in the order given. Never empty.
    pub fn of_each_model(&self) -> Vec<Config> {
        if self.models.is_empty() {
            return vec![self.clone()];
        }
        self.models.iter().map(|entry| entry.over(self)).collect()
    }

    /// What messages call the model of this configuration, loaded or not.
    pub fn model_label(&self) -> &str {
        self.served_model_name
            .first()
            .map_or(self.source(), String::as_str)
    }
}

/// Whether the list goes together with the top level, and each entry is usable by itself.
pub(super) fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    let Loaded {
        config, sources, ..
    } = loaded;
    if config.models.is_empty() {
        return Ok(());
    }
    let source = |key: &str| sources.get(key).map_or(DEFAULT, String::as_str);
    let single = ["model", "served_model_name"];
    if let Some(key) = single.iter().find(|key| source(key) != DEFAULT) {
        return Err(ConfigError::Value(format!(
            "{key} ({}) is of a single model, but there is a list of models ({}): give one or the other",
            source(key),
            source("models")
        )));
    }
    for (index, model) in config.of_each_model().iter().enumerate() {
        let wrong = |reason: String| ConfigError::Value(format!("models[{index}]: {reason}"));
        match (model.model.is_empty(), model.is_remote()) {
            (true, false) => return Err(wrong("model is missing".to_owned())),
            (false, true) => {
                let message = "model is computed here, engine elsewhere: give one or the other";
                return Err(wrong(message.to_owned()));
            }
            _ => {}
        }
        super::check_ranges(model).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(())
}

/// The keys inside the entries that nobody knows, as `models[1].prot`.
pub(super) fn unknown_keys(merged: &Dict) -> Vec<String> {
    let known = Value::serialize(ModelEntry::default());
    let known = known.ok().and_then(Value::into_dict).unwrap_or_default();
    let entries = merged.get("models").and_then(Value::as_array);
    let mut unknown = Vec::new();
    for (index, entry) in entries.unwrap_or_default().iter().enumerate() {
        let keys = entry.as_dict().into_iter().flat_map(Dict::keys);
        let strange = keys.filter(|key| !known.contains_key(*key));
        unknown.extend(strange.map(|key| format!("models[{index}].{key}")));
    }
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{EngineFlags, ModelFlags, ServeFlags},
        config::load,
    };

    const TOML: &str = "max_queue = 7\nmax_num_seqs = 3\npost_processor = 'redact'\n\
        [[models]]\nname = 'a'\nmodel = 'replay:a.jsonl'\nmax_queue = 9\npost_processor = []\nkv_cache_memory = '2GiB'\nprefix_cache = 'off'\n\
        [[models]]\nname = ['b', 'c']\nmodel = 'smollm2'\ntool_call_parser = 'none'\naccept_any_model = true\nprot = 1\n";
    const YAML: &str = "max_queue: 7\nmax_num_seqs: 3\npost_processor: redact\nmodels:\n\
        - {name: a, model: 'replay:a.jsonl', max_queue: 9, post_processor: [], kv_cache_memory: 2GiB, prefix_cache: off}\n\
        - {name: [b, c], model: smollm2, tool_call_parser: none, accept_any_model: true, prot: 1}\n";
    const JSON: &str = r#"{"max_queue": 7, "max_num_seqs": 3, "post_processor": "redact", "models": [
        {"name": "a", "model": "replay:a.jsonl", "max_queue": 9, "post_processor": [], "kv_cache_memory": "2GiB", "prefix_cache": false},
        {"name": ["b", "c"], "model": "smollm2", "tool_call_parser": "none", "accept_any_model": true, "prot": 1}]}"#;

    fn read(name: &str, text: &str, flags: ServeFlags) -> Result<Loaded, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        let config = Some(path);
        load(&ServeFlags { config, ..flags }).map_err(|error| error.to_string())
    }

    #[test]
    fn entries_are_laid_over_the_top_level_in_every_format() {
        for (name, text) in [("w.toml", TOML), ("w.yaml", YAML), ("w.json", JSON)] {
            let loaded = read(name, text, ServeFlags::default()).expect("loads");
            let models = loaded.config.of_each_model();
            let [a, b] = models.as_slice() else {
                panic!("{models:?}")
            };
            assert_eq!(
                (a.model_label(), a.max_queue, a.max_num_seqs),
                ("a", 9, 3),
                "{name}"
            );
            assert_eq!(a.kv_cache_memory, Some(ByteSize(2 << 30)));
            assert!(a.post_processor.is_empty() && !a.accept_any_model);
            assert_eq!(
                (a.prefix_cache, b.prefix_cache),
                (Switch(false), Switch(true))
            );
            assert_eq!(b.served_model_name, ["b", "c"]);
            assert_eq!((b.max_queue, b.kv_cache_memory), (7, None));
            assert_eq!(b.post_processor, ["redact"]);
            assert!(b.accept_any_model && b.tool_call_parser.as_deref() == Some("none"));
            let unknown = loaded.unknown.join(" ");
            assert!(
                unknown.starts_with("models[1].prot (") && unknown.contains(name),
                "{unknown}"
            );
        }
    }

    #[test]
    fn without_a_list_the_top_level_is_the_one_model() {
        let config = Config::default();
        assert_eq!(config.of_each_model(), [config]);
    }

    #[test]
    fn flags_are_the_defaults_of_all_but_name_no_model() {
        let flags = ServeFlags {
            engine: EngineFlags {
                max_num_seqs: Some(5),
                ..EngineFlags::default()
            },
            ..ServeFlags::default()
        };
        let models = read("w.toml", TOML, flags).expect("loads").config;
        // A flag is a default like the top level of the file: an entry's own value stays.
        let limits: Vec<_> = models
            .of_each_model()
            .iter()
            .map(|model| (model.max_num_seqs, model.max_queue))
            .collect();
        assert_eq!(limits, [(5, 9), (5, 7)]);
        let flags = ServeFlags {
            model: ModelFlags {
                model: Some("x.gguf".to_owned()),
                ..ModelFlags::default()
            },
            ..ServeFlags::default()
        };
        let error = read("w.toml", TOML, flags).err().expect("fails");
        assert!(
            error.starts_with("model (command line)") && error.contains("w.toml"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_in_an_entry_is_found() {
        let cases = [
            ("[[models]]\nname = 'a'\n", "models[0]: model is missing"),
            (
                "[[models]]\nmodel = 'x'\n[[models]]\nmodel = 'y'\nmax_queue = 0\n",
                "models[1]: max_queue must be at least 1",
            ),
            ("[[models]]\nmodel = 'x'\nmax_queue = 'many'\n", "max_queue"),
            ("[[models]]\nmodel = 'x'\nmax_queue = 'many'\n", "w.toml"),
            ("[models]\nmodel = 'x'\n", "models"),
            (
                "served_model_name = 'n'\n[[models]]\nmodel = 'x'\n",
                "served_model_name (",
            ),
        ];
        for (text, part) in cases {
            let error = read("w.toml", text, ServeFlags::default());
            let error = error.err().expect("fails");
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
