//! plugins.toml: which plugin answers to which name, with its pin, limits and configuration.
//!
//! Invariants: an unknown key is an error that names it; what leaves here is complete (defaults filled in, globs compiled,
//! configuration as JSON text). It reads no component and does not know what the other manifests say.

use std::{collections::BTreeMap, fmt};

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use weir_output::{Grants, OnError};

use crate::{error::PluginHostError, limits::NamedLimits};

/// What a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Takes a model's output apart: reasoning, tools, or both.
    Parser,
    /// Sees events on their way to the client.
    PostProcessor,
    /// Plans a request before it is answered.
    RequestProcessor,
}

impl PluginKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Parser => "parser",
            Self::PostProcessor => "post-processor",
            Self::RequestProcessor => "request-processor",
        }
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One plugin of a manifest.
#[derive(Debug, Clone)]
pub(crate) struct ManifestEntry {
    pub(crate) name: String,
    pub(crate) kind: PluginKind,
    /// As written: relative to the manifest.
    pub(crate) wasm: String,
    /// Hexadecimal SHA-256 of the component.
    pub(crate) pin: Option<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) models: Vec<ModelPattern>,
    pub(crate) templates: Vec<TemplateTexts>,
    pub(crate) on_error: OnError,
    /// Takes the place of a first-party plugin of this name.
    pub(crate) replace: bool,
    pub(crate) limits: NamedLimits,
    pub(crate) grants: Grants,
    /// JSON text of the `config` table.
    pub(crate) config: String,
}

/// A glob over model names, in any letter case.
#[derive(Debug, Clone)]
pub(crate) struct ModelPattern {
    matcher: GlobMatcher,
    /// Characters that are no wildcard: the more, the more it says.
    literals: usize,
}

impl ModelPattern {
    fn new(pattern: &str) -> Result<Self, String> {
        let glob = GlobBuilder::new(pattern).case_insensitive(true).build();
        let matcher = glob
            .map_err(|problem| format!("models: {problem}"))?
            .compile_matcher();
        let literals = pattern.chars().filter(|c| !matches!(c, '*' | '?')).count();
        Ok(Self { matcher, literals })
    }

    /// How much it says of this model, if it matches.
    pub(crate) fn weight(&self, model: &str) -> Option<usize> {
        self.matcher.is_match(model).then_some(self.literals)
    }
}

/// Texts that a chat template holds, all of them, when it writes the plugin's format.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum TemplateTexts {
    One(String),
    All(Vec<String>),
}

impl TemplateTexts {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::All(texts) => texts,
        }
    }

    /// How much they say of this template, if it holds them all.
    pub(crate) fn weight(&self, template: &str) -> Option<usize> {
        let all = self.texts().iter().all(|text| template.contains(text));
        all.then(|| self.texts().iter().map(String::len).sum())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: PluginKind,
    wasm: String,
    sha256: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    chat_templates: Vec<TemplateTexts>,
    #[serde(default)]
    on_error: OnError,
    #[serde(default)]
    replace: bool,
    #[serde(default)]
    limits: NamedLimits,
    grants: Option<Grants>,
    #[serde(default)]
    config: toml::Table,
}

/// Reads a manifest; `label` names it in errors. Entries come sorted by name.
pub(crate) fn parse(label: &str, text: &str) -> Result<Vec<ManifestEntry>, PluginHostError> {
    let error = |message: String| PluginHostError::Manifest {
        manifest: label.to_owned(),
        message,
    };
    let tables: BTreeMap<String, Table> =
        toml::from_str(text).map_err(|problem| error(problem.to_string().trim_end().to_owned()))?;
    tables
        .into_iter()
        .map(|(name, table)| {
            entry(&name, table).map_err(|message| error(format!("[{name}] {message}")))
        })
        .collect()
}

fn entry(name: &str, table: Table) -> Result<ManifestEntry, String> {
    for name in std::iter::once(name).chain(table.aliases.iter().map(String::as_str)) {
        check_name(name)?;
    }
    if let Some(limit) = table.limits.zero() {
        return Err(format!("limits.{limit} is 0"));
    }
    if table.kind != PluginKind::RequestProcessor && table.grants.is_some() {
        return Err("grants: only request processors ask for anything".to_owned());
    }
    if table.kind != PluginKind::Parser {
        let chosen = [
            ("models", table.models.is_empty()),
            ("chat_templates", table.chat_templates.is_empty()),
        ];
        if let Some((key, _)) = chosen.iter().find(|(_, empty)| !empty) {
            return Err(format!("{key}: only parsers are chosen by model"));
        }
    }
    let says_nothing = |texts: &TemplateTexts| texts.texts().iter().all(String::is_empty);
    if table.chat_templates.iter().any(says_nothing) {
        return Err("chat_templates: an empty text is in every template".to_owned());
    }
    let models = table
        .models
        .iter()
        .map(|pattern| ModelPattern::new(pattern))
        .collect::<Result<_, _>>()?;
    let config = json_object(table.config).map_err(|problem| format!("config{problem}"))?;
    Ok(ManifestEntry {
        name: name.to_owned(),
        kind: table.kind,
        wasm: table.wasm,
        pin: table.sha256,
        aliases: table.aliases,
        models,
        templates: table.chat_templates,
        on_error: table.on_error,
        replace: table.replace,
        limits: table.limits,
        grants: table.grants.unwrap_or_default(),
        config: config.to_string(),
    })
}

/// A name goes on command lines and into metrics: letters, digits and `_ - .` alone.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.chars().all(allowed) {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is no plugin name: letters, digits and `_ - .` alone"
        ))
    }
}

/// The table as JSON; the error opens with the key's path. JSON has no dates and no infinities.
fn json_object(table: toml::Table) -> Result<serde_json::Value, String> {
    table
        .into_iter()
        .map(|(key, value)| match json(value) {
            Ok(value) => Ok((key, value)),
            Err(problem) => Err(format!(".{key}{problem}")),
        })
        .collect::<Result<serde_json::Map<_, _>, _>>()
        .map(serde_json::Value::Object)
}

fn json(value: toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .ok_or_else(|| format!(" is {number}, which JSON cannot say"))?
            .into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(date) => {
            return Err(format!(" is a date; write it as a string: \"{date}\""));
        }
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => json_object(table)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_filled_in() {
        let entries = parse("t", "[x]\nkind = \"parser\"\nwasm = \"x.wasm\"").unwrap();
        let [entry] = entries.as_slice() else {
            panic!("one entry")
        };
        assert_eq!((entry.name.as_str(), entry.wasm.as_str()), ("x", "x.wasm"));
        assert_eq!(
            (entry.limits, entry.on_error),
            (NamedLimits::default(), OnError::Fail)
        );
        assert_eq!(
            (entry.config.as_str(), &entry.pin, entry.replace),
            ("{}", &None, false)
        );
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
            [x]
            kind = "post-processor"
            wasm = "x.wasm"
            sha256 = "00"
            aliases = ["y"]
            on_error = "passthrough"
            replace = true
            limits = { call_ms = 7 }
            config = { words = ["a", 1, 0.5, true], deep = { er = "z" } }
        "#;
        let entry = parse("t", text).unwrap().remove(0);
        assert_eq!(
            (entry.kind, entry.on_error),
            (PluginKind::PostProcessor, OnError::Passthrough)
        );
        assert_eq!(
            (entry.limits.call_ms, entry.limits.memory_bytes),
            (Some(7), None)
        );
        assert_eq!(
            entry.config,
            r#"{"deep":{"er":"z"},"words":["a",1,0.5,true]}"#
        );
    }

    #[test]
    fn what_is_not_granted_is_not_there() {
        let head = "[x]\nkind = \"request-processor\"\nwasm = \"x.wasm\"\n";
        let grants = |more: &str| parse("t", &format!("{head}{more}")).map(|e| e[0].grants);
        assert_eq!(grants("").unwrap(), Grants::default());
        let given = grants("grants = { generations = 3, stored_bytes = 9 }").unwrap();
        let expected = Grants {
            generations: 3,
            stored_bytes: 9,
            ..Grants::default()
        };
        assert_eq!(given, expected);
        for wrong in [
            "grants = { money = 3 }",
            "grants = { steps = -1 }",
            "models = [\"*\"]",
        ] {
            assert!(grants(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("wams = \"x\"", "wams"),
            ("limits = { memory = 1 }", "memory"),
            ("limits = { call_ms = 0 }", "limits.call_ms is 0"),
            ("on_error = \"ignore\"", "ignore"),
            ("grants = { steps = 3 }", "grants: only request processors"),
            ("models = [\"a[\"]", "models:"),
            ("chat_templates = [\"\"]", "chat_templates:"),
            ("aliases = [\"a b\"]", "`a b` is no plugin name"),
            ("config = { since = 2020-01-01 }", "config.since is a date"),
            ("config = { a = { b = inf } }", "config.a.b is inf"),
        ];
        for (line, named) in cases {
            let text = format!("[x]\nkind = \"parser\"\nwasm = \"x.wasm\"\n{line}");
            let message = parse("some.toml", &text).unwrap_err().to_string();
            assert!(
                message.starts_with("some.toml: ") && message.contains(named),
                "{line}: {message}"
            );
        }
        assert!(
            parse("t", "[x]\nkind = \"lexer\"\nwasm = \"\"")
                .unwrap_err()
                .to_string()
                .contains("lexer")
        );
        assert!(
            parse("t", "[x]\nkind = \"parser\"")
                .unwrap_err()
                .to_string()
                .contains("wasm")
        );
    }
}
