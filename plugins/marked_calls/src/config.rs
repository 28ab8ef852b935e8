//! The configuration: which markers there are, how a call stands between them, and what its keys are called.
//!
//! `plugins/README.md` has the table of keys. Whatever is not understood is refused, an unknown key too, with a message that
//! names the key and what to write in its place; keys that say nothing beside others are refused as well, so that a
//! misunderstanding shows when the plugin is loaded.

use alloc::{format, string::String, vec, vec::Vec};

use weir_plugin_sdk::{config_reader::ConfigReader, json_call::CallKeys};

/// What `{}` means.
pub const DEFAULT: &str = r#"{"start": ["<tool_call>"], "words": [], "end": "</tool_call>", "before": "", "block": [], "dropped": [], "lead": [], "array": false, "name": "json", "separator": "", "name_key": ["name"], "arguments_key": ["arguments", "parameters"], "space": ["", "", ""]}"#;

const KNOWN: &str = "start, words, end, before, block, dropped, lead, array, name, separator, name_key, arguments_key, space";

/// The longest marker in bytes; what may still become a marker is held back.
const LONGEST: usize = 256;

/// The most entries of a list.
const MOST: usize = 16;

/// Where a call's name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameIn {
    /// In the JSON.
    Json,
    /// Between the start marker and the JSON.
    AfterStart,
    /// Between the start marker and the separator.
    BeforeSeparator,
    /// Between the separator and the JSON.
    AfterSeparator,
}

/// What a configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Each starts a call, or an array of calls.
    pub start: Vec<String>,
    /// Ordinary words that start an array of calls.
    pub words: Vec<String>,
    /// Ends a call, or an array of calls; empty for none.
    pub end: String,
    /// Stands before each start marker; empty for none.
    pub before: String,
    /// Stand around all calls; none or two.
    pub block: Vec<String>,
    /// Say nothing and are no text.
    pub dropped: Vec<String>,
    /// May stand before all of an answer and are no text there.
    pub lead: Vec<String>,
    /// Whether calls stand in a JSON array.
    pub array: bool,
    /// Where the name stands.
    pub name: NameIn,
    /// Stands before or behind the name; empty for none.
    pub separator: String,
    /// The keys of a call object; what is forced has the first ones.
    pub keys: CallKeys,
    /// What is forced before a call's JSON, behind it and between two calls.
    pub space: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start: vec!["<tool_call>".into()],
            words: Vec::new(),
            end: "</tool_call>".into(),
            before: String::new(),
            block: Vec::new(),
            dropped: Vec::new(),
            lead: Vec::new(),
            array: false,
            name: NameIn::Json,
            separator: String::new(),
            keys: CallKeys {
                name: vec!["name".into()],
                arguments: vec!["arguments".into(), "parameters".into()],
            },
            space: vec![String::new(); 3],
        }
    }
}

/// Reads JSON text.
///
/// # Errors
/// What cannot be used, and what to write in its place.
pub fn read(text: &str) -> Result<Config, String> {
    let mut config = Config::default();
    let mut reader = ConfigReader::new(text);
    reader.object(|key, reader| {
        config
            .take(key, reader)
            .map_err(|message| format!("`{key}`: {message}"))
    })?;
    reader.end()?;
    config.check()?;
    Ok(config)
}

/// One string, or a list of them.
fn strings(reader: &mut ConfigReader<'_>) -> Result<Vec<String>, String> {
    if let Ok(one) = reader.string() {
        return Ok(vec![one]);
    }
    let mut list = Vec::new();
    reader.array(|reader| {
        list.push(reader.string()?);
        Ok(())
    })?;
    Ok(list)
}

impl Config {
    fn take(&mut self, key: &str, reader: &mut ConfigReader<'_>) -> Result<(), String> {
        match key {
            "start" => self.start = strings(reader)?,
            "words" => self.words = strings(reader)?,
            "end" => self.end = reader.string()?,
            "before" => self.before = reader.string()?,
            "block" => self.block = strings(reader)?,
            "dropped" => self.dropped = strings(reader)?,
            "lead" => self.lead = strings(reader)?,
            "array" => self.array = reader.boolean()?,
            "name" => self.name = name_in(&reader.string()?)?,
            "separator" => self.separator = reader.string()?,
            "name_key" => self.keys.name = strings(reader)?,
            "arguments_key" => self.keys.arguments = strings(reader)?,
            "space" => self.space = strings(reader)?,
            _ => return Err(format!("unknown key; known are {KNOWN}")),
        }
        Ok(())
    }

    /// Every marker and the key that names it.
    pub fn markers(&self) -> Vec<(&'static str, &str)> {
        let single = [
            ("end", &self.end),
            ("before", &self.before),
            ("separator", &self.separator),
        ];
        let single = single.into_iter().filter(|(_, marker)| !marker.is_empty());
        let lists = [
            ("start", &self.start),
            ("words", &self.words),
            ("block", &self.block),
            ("dropped", &self.dropped),
            ("lead", &self.lead),
        ];
        let lists = lists
            .into_iter()
            .flat_map(|(key, list)| list.iter().map(move |marker| (key, marker)));
        let all = single.chain(lists);
        all.map(|(key, marker)| (key, marker.as_str())).collect()
    }

    fn check(&self) -> Result<(), String> {
        self.check_lists()?;
        self.check_markers()?;
        self.check_keys()?;
        let separated = matches!(self.name, NameIn::BeforeSeparator | NameIn::AfterSeparator);
        let message = if self.start.is_empty() && self.words.is_empty() {
            "`start` and `words` are empty, so no call could start: name a marker in `start`"
        } else if !self.block.is_empty() && self.block.len() != 2 {
            "`block` needs two markers, the one before all calls and the one behind, or none"
        } else if separated && self.separator.is_empty() {
            "`separator` is empty: name what stands next to the name, or write name = \"after_start\" or \"json\""
        } else if !separated && !self.separator.is_empty() {
            "`separator` says nothing: write name = \"before_separator\" or \"after_separator\", or leave it out"
        } else if self.array && self.name != NameIn::Json {
            "`name` must be \"json\" where `array` is true: every object of the array holds its own name"
        } else if self.array && !self.block.is_empty() {
            "`block` cannot stand beside array = true: what stands around the array is `start` and `end`"
        } else if self.array && self.space.iter().any(|space| !space.is_empty()) {
            "`space` says nothing where `array` is true: leave it out"
        } else if !self.before.is_empty() && self.start.is_empty() {
            "`before` stands before the markers of `start`, and there are none: leave it out"
        } else if !self.array && !self.words.is_empty() {
            "`words` start an array of calls and nothing else: write array = true, or name them in `start`"
        } else if !self.array && !self.lead.is_empty() {
            "`lead` is read only where `array` is true: leave it out"
        } else if self.words.iter().any(|word| word.contains('[')) {
            "`words` are named without the bracket of the array: leave out `[`"
        } else {
            return Ok(());
        };
        Err(message.into())
    }

    fn check_lists(&self) -> Result<(), String> {
        let lists = [
            ("start", &self.start),
            ("words", &self.words),
            ("dropped", &self.dropped),
            ("lead", &self.lead),
            ("name_key", &self.keys.name),
            ("arguments_key", &self.keys.arguments),
        ];
        for (key, list) in lists {
            if list.len() > MOST {
                return Err(format!("`{key}` has more than {MOST} entries: name fewer"));
            }
            if list.iter().any(String::is_empty) {
                return Err(format!("`{key}` has an empty entry: leave it out"));
            }
        }
        if self.block.iter().any(String::is_empty) {
            return Err("`block` has an empty marker: name both, or leave `block` out".into());
        }
        Ok(())
    }

    fn check_markers(&self) -> Result<(), String> {
        let markers = self.markers();
        for (index, (key, marker)) in markers.iter().enumerate() {
            if marker.len() > LONGEST {
                let length = marker.len();
                return Err(format!(
                    "`{key}` is {length} bytes long; the longest marker is {LONGEST}"
                ));
            }
            for (other_index, (other_key, other)) in markers.iter().enumerate() {
                if index != other_index && other.starts_with(marker) {
                    return Err(format!(
                        "`{key}` ({marker}) begins `{other_key}` ({other}), so nobody could tell them apart: leave out one of them"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), String> {
        let CallKeys { name, arguments } = &self.keys;
        if name.is_empty() {
            return Err("`name_key` is empty: name the key of the tool's name".into());
        }
        if arguments.is_empty() {
            return Err("`arguments_key` is empty: name the key of the arguments".into());
        }
        if let Some(key) = name.iter().find(|key| arguments.contains(key)) {
            return Err(format!(
                "`name_key` and `arguments_key` both hold {key}: leave it in one of them"
            ));
        }
        let blank = |space: &String| space.trim_matches([' ', '\t', '\r', '\n']).is_empty();
        if self.space.len() != 3 || !self.space.iter().all(blank) {
            return Err("`space` needs three strings of white space: before a call's JSON, behind it, between two calls".into());
        }
        Ok(())
    }
}

fn name_in(place: &str) -> Result<NameIn, String> {
    Ok(match place {
        "json" => NameIn::Json,
        "after_start" => NameIn::AfterStart,
        "before_separator" => NameIn::BeforeSeparator,
        "after_separator" => NameIn::AfterSeparator,
        _ => {
            return Err(format!(
                "no such place as {place}; write json, after_start, before_separator or after_separator"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_no_configuration_means() {
        assert_eq!(read(DEFAULT), read("{}"));
        assert_eq!(read("{}"), Ok(Config::default()));
        for key in KNOWN.split(", ") {
            assert!(DEFAULT.contains(&format!("\"{key}\":")), "{key}");
        }
    }

    #[test]
    fn one_string_is_a_list_of_one() {
        let config = read(r#"{"start": "[CALL]", "name_key": "tool"}"#).expect("usable");
        assert_eq!(config.start, ["[CALL]"]);
        assert_eq!(config.keys.name, ["tool"]);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_key_and_remedy() {
        let long = format!(r#"{{"end": "{}"}}"#, "<".repeat(257));
        for (config, reason) in [
            ("[]", "`{` expected"),
            (r#"{"start": 1}"#, "`start`: configuration, byte 10"),
            (r#"{"array": "yes"}"#, "true or false expected"),
            (
                r#"{"begin": "<a>"}"#,
                "`begin`: unknown key; known are start, words",
            ),
            (r#"{"start": []}"#, "name a marker in `start`"),
            (
                r#"{"start": ["<a>", ""]}"#,
                "`start` has an empty entry: leave it out",
            ),
            (
                r#"{"start": ["<a", "<a>"]}"#,
                "`start` (<a) begins `start` (<a>)",
            ),
            (
                r#"{"start": "x", "end": "x"}"#,
                "`end` (x) begins `start` (x)",
            ),
            (r#"{"block": "<b>"}"#, "`block` needs two markers"),
            (r#"{"block": ["<b>", ""]}"#, "`block` has an empty marker"),
            (
                r#"{"name": "first"}"#,
                "`name`: no such place as first; write json",
            ),
            (
                r#"{"name": "after_separator"}"#,
                "`separator` is empty: name what",
            ),
            (
                r#"{"separator": "<s>"}"#,
                "`separator` says nothing: write name",
            ),
            (
                r#"{"array": true, "name": "after_start"}"#,
                "`name` must be \"json\"",
            ),
            (
                r#"{"array": true, "block": ["<b>", "</b>"]}"#,
                "`start` and `end`",
            ),
            (
                r#"{"array": true, "space": ["\n", "", ""]}"#,
                "`space` says nothing",
            ),
            (r#"{"words": "call"}"#, "`words` start an array of calls"),
            (r#"{"array": true, "words": "call["}"#, "leave out `[`"),
            (
                r#"{"lead": "Me:"}"#,
                "`lead` is read only where `array` is true",
            ),
            (r#"{"name_key": []}"#, "`name_key` is empty: name the key"),
            (r#"{"arguments_key": []}"#, "`arguments_key` is empty"),
            (r#"{"name_key": ["n", "arguments"]}"#, "both hold arguments"),
            (r#"{"space": ["\n"]}"#, "`space` needs three strings"),
            (r#"{"space": ["", "x", ""]}"#, "of white space"),
            (
                long.as_str(),
                "`end` is 257 bytes long; the longest marker is 256",
            ),
        ] {
            let error = read(config).expect_err(config);
            assert!(error.contains(reason), "{config}: {error}");
        }
    }
}
