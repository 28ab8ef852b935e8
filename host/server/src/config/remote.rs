//! Engines that run elsewhere: which of a configuration's keys go together, and what they come to.

use std::time::Duration;

use weir_remote::{Timeouts, UpstreamConfig};

use super::{Config, ConfigError, DEFAULT, Loaded};

/// A model of an engine elsewhere that nobody has given a name.
const NAMELESS: &str = "default";

impl Config {
    /// Whether the model of this configuration is computed elsewhere.
    pub fn is_remote(&self) -> bool {
        !self.engine.is_empty() || !self.engines.is_empty()
    }

    /// Whether its engines make prompts of messages themselves: they are elsewhere, and no tokenizer is given.
    pub fn passes_messages(&self) -> bool {
        self.is_remote() && self.tokenizer.is_none()
    }

    /// Where the files come from that weir itself needs: the model's, or only its tokenizer's. Where there are none, what the
    /// model is called.
    pub fn source(&self) -> &str {
        match &self.tokenizer {
            Some(tokenizer) if self.is_remote() => tokenizer,
            None if self.is_remote() => self.engine_model.as_deref().unwrap_or(NAMELESS),
            _ => &self.model,
        }
    }

    /// The engines elsewhere; what an entry leaves out is what holds for all.
    pub fn upstreams(&self) -> Vec<UpstreamConfig> {
        let plain = self.engine.iter().map(|url| UpstreamConfig {
            url: url.clone(),
            ..UpstreamConfig::default()
        });
        let all = plain.chain(self.engines.iter().cloned());
        all.map(|one| UpstreamConfig {
            api_key: one.api_key.or_else(|| self.engine_api_key.clone()),
            model: one.model.or_else(|| self.engine_model.clone()),
            dialect: one.dialect.or(self.engine_dialect),
            ..one
        })
        .collect()
    }

    /// How long they may take.
    pub fn engine_timeouts(&self) -> Timeouts {
        Timeouts {
            health: Duration::from_secs_f64(self.engine_health_interval),
            first_token: Duration::from_secs_f64(self.engine_first_token_timeout),
            stall: Duration::from_secs_f64(self.engine_stall_timeout),
        }
    }
}

/// Whether each model is computed in one place, and what is computed elsewhere has its tokenizer.
pub(super) fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    let Loaded {
        config, sources, ..
    } = loaded;
    let wrong = |reason: String| Err(ConfigError::Value(reason));
    let source = |key: &str| sources.get(key).map_or(DEFAULT, String::as_str);
    if config.is_remote() && source("model") != DEFAULT {
        let key = if config.engine.is_empty() {
            "engines"
        } else {
            "engine"
        };
        return wrong(format!(
            "model ({}) is computed here, {key} ({}) elsewhere: give one or the other, with the engine its tokenizer",
            source("model"),
            source(key)
        ));
    }
    for model in config.of_each_model() {
        let label = model.model_label();
        if model.passes_messages() && model.chat_template.is_some() {
            return wrong(format!(
                "the model `{label}` has a chat template of its own, which needs its tokenizer: give that with --tokenizer SOURCE, or leave the template to its engine"
            ));
        }
        if !model.is_remote() && model.tokenizer.is_some() {
            return wrong(format!(
                "the model `{label}` has a tokenizer of its own, which goes with an engine elsewhere: give that with --engine URL"
            ));
        }
        if let Some(number) = model.engines.iter().position(|one| one.url.is_empty()) {
            return wrong(format!("engines[{number}]: url is missing"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_remote::Dialect;

    use super::*;
    use crate::{cli::ServeFlags, config::load};

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("w.toml");
        std::fs::write(&path, text).expect("writes");
        let flags = ServeFlags {
            config: Some(path),
            ..ServeFlags::default()
        };
        load(&flags)
            .map(|loaded| loaded.config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn engines_are_listed_with_what_holds_for_all() {
        let config = read(
            "engine = 'http://a'\ntokenizer = 'm.gguf'\nengine_api_key = 'k'\nengine_dialect = 'vllm'\n\
             [[engines]]\nurl = 'http://b/v1'\nmodel = 'm'\ndialect = 'sglang'\napi_key = 'l'\n",
        );
        let config = config.expect("loads");
        let upstreams = config.upstreams();
        let [a, b] = upstreams.as_slice() else {
            panic!("{upstreams:?}")
        };
        assert_eq!((&*a.url, a.api_key.as_deref()), ("http://a", Some("k")));
        assert_eq!((&a.model, a.dialect), (&None, Some(Dialect::Vllm)));
        assert_eq!((&*b.url, b.api_key.as_deref()), ("http://b/v1", Some("l")));
        assert_eq!(
            (b.model.as_deref(), b.dialect),
            (Some("m"), Some(Dialect::Sglang))
        );
        assert_eq!(config.source(), "m.gguf");
    }

    #[test]
    fn each_model_of_a_list_may_be_elsewhere() {
        let config = read(
            "engine = 'http://a'\n[[models]]\nname = 'here'\nmodel = 'm.gguf'\n\
             [[models]]\nname = 'there'\ntokenizer = 't'\n\
             [[models]]\nname = 'else'\ntokenizer = 'u'\nengine = ['http://b', 'http://c']\nengine_model = 'n'\n",
        );
        let models = config.expect("loads").of_each_model();
        let urls: Vec<Vec<String>> = models
            .iter()
            .map(|model| model.upstreams().into_iter().map(|one| one.url).collect())
            .collect();
        let expected: [&[&str]; 3] = [&[], &["http://a"], &["http://b", "http://c"]];
        assert_eq!(urls, expected);
        assert_eq!(models[2].upstreams()[1].model.as_deref(), Some("n"));
    }

    #[test]
    fn without_a_tokenizer_messages_are_passed_on() {
        for (text, name) in [
            ("engine = 'http://a'\n", NAMELESS),
            ("engine = 'http://a'\nengine_model = 'org/m'\n", "org/m"),
            (
                "engine = 'http://a'\nengine_model = 'm'\nserved_model_name = 'n'\n",
                "n",
            ),
        ] {
            let config = read(text).expect(text);
            assert!(config.passes_messages());
            assert_eq!(config.model_label(), name);
        }
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let cases = [
            (
                "engine = 'http://a'\nchat_template = 'x.jinja'\n",
                "--tokenizer",
            ),
            ("tokenizer = 'x'\n", "--engine"),
            (
                "engine = 'http://a'\nmodel = 'x'\ntokenizer = 't'\n",
                "model (",
            ),
            (
                "tokenizer = 't'\n[[engines]]\nmodel = 'x'\n",
                "engines[0]: url is missing",
            ),
            (
                "tokenizer = 't'\n[[engines]]\nurl = 'http://a'\nprot = 1\n",
                "prot",
            ),
            (
                "tokenizer = 't'\nengine = 'http://a'\nengine_dialect = 'klingon'\n",
                "engine_dialect",
            ),
            ("engine_health_interval = 0\n", "engine_health_interval"),
        ];
        for (text, part) in cases {
            let error = read(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
