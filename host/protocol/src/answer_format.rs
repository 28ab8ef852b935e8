//! What the text of an answer must be, in every spelling that clients have for it: OpenAI's `response_format`, vLLM's
//! `structured_outputs` and the `guided_*` fields before it, Dynamo's `nvext`, KsanaLLM's `enable_structured_output`.
//!
//! Invariant: a request asks for one form at most. Two fields that ask for the same may stand side by side; two that do not
//! are refused by both their names. Whether a schema, an expression or a grammar can be held to is not known here.

use serde_json::{Map, Value};

use crate::{
    fields::Fields,
    invalid::Invalid,
    lenient,
    structural_tag::{self, TagFormat},
};

/// OpenAI's field of chats and completions, where a schema stands in an object of its own.
const CHAT_FORMAT: &str = "response_format";

/// What an answer must be, and which field says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerFormat {
    /// The field, as a path.
    pub param: String,
    /// What the answer must be.
    pub form: AnswerForm,
}

/// What an answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerForm {
    /// Any JSON object.
    JsonObject,
    /// JSON that matches this schema, an object.
    JsonSchema(Value),
    /// Text that matches this regular expression as a whole.
    Regex(String),
    /// One of these texts; at least one.
    Choice(Vec<String>),
    /// A text of this grammar in Lark's syntax.
    Grammar(String),
    /// Text with tags in it.
    StructuralTag(TagFormat),
}

/// The formats of a request, as they are found.
#[derive(Debug, Default)]
pub(crate) struct Formats(Option<AnswerFormat>);

impl Formats {
    /// Takes what both generation routes have: `response_format`, `structured_outputs` and `guided_*`.
    pub(crate) fn take(&mut self, fields: &mut Fields) -> Result<(), Invalid> {
        if let Some(format) = fields.take("response_format") {
            self.add(read_response_format(CHAT_FORMAT, &format)?)?;
        }
        if let Some(structured) = fields.object("structured_outputs")? {
            let unknown = self.take_structured_outputs(structured)?;
            fields.ignore(unknown);
        }
        self.take_guided(fields)
    }

    /// vLLM's fields of old, which `nvext` has too.
    pub(crate) fn take_guided(&mut self, fields: &mut Fields) -> Result<(), Invalid> {
        self.take_each(
            fields,
            [
                "guided_json",
                "guided_regex",
                "guided_choice",
                "guided_grammar",
            ],
        )?;
        fields.accept(&["guided_decoding_backend"]);
        fields.not_built("guided_whitespace_pattern", |_| false)
    }

    /// Answers the paths of what is not known in it.
    fn take_structured_outputs(&mut self, mut fields: Fields) -> Result<Vec<String>, Invalid> {
        self.take_each(&mut fields, ["json", "regex", "choice", "grammar"])?;
        if fields.boolean("json_object")? == Some(true) {
            self.add(Some(format(
                fields.path("json_object"),
                AnswerForm::JsonObject,
            )))?;
        }
        if let Some(tag) = fields.take("structural_tag") {
            let path = fields.path("structural_tag");
            let tag = structural_tag::read(&path, &parsed(&path, tag)?)?;
            self.add(Some(format(path, AnswerForm::StructuralTag(tag))))?;
        }
        // Nothing falls back here, and the white space of JSON is fixed anyway.
        fields.accept(&["disable_fallback", "disable_any_whitespace", "backend"]);
        let is_false = |value: &Value| lenient::boolean(value) == Some(false);
        fields.not_built("disable_additional_properties", is_false)?;
        fields.not_built("whitespace_pattern", |_| false)?;
        Ok(fields.unknown())
    }

    /// The four forms under these names.
    fn take_each(&mut self, fields: &mut Fields, names: [&str; 4]) -> Result<(), Invalid> {
        let [json, regex, choice, grammar] = names;
        if let Some(schema) = fields.take(json) {
            let path = fields.path(json);
            let schema = read_schema(&path, parsed(&path, schema)?)?;
            self.add(Some(format(path, AnswerForm::JsonSchema(schema))))?;
        }
        if let Some(regex_text) = take_text(fields, regex)? {
            self.add(Some(format(
                fields.path(regex),
                AnswerForm::Regex(regex_text),
            )))?;
        }
        if let Some(choices) = fields.take(choice) {
            let path = fields.path(choice);
            let choices = read_choices(&path, &choices)?;
            self.add(Some(format(path, AnswerForm::Choice(choices))))?;
        }
        if let Some(text) = take_text(fields, grammar)? {
            self.add(Some(format(
                fields.path(grammar),
                AnswerForm::Grammar(text),
            )))?;
        }
        Ok(())
    }

    /// Adds what a field asks for, if it asks for anything.
    pub(crate) fn add(&mut self, next: Option<AnswerFormat>) -> Result<(), Invalid> {
        let Some(next) = next else {
            return Ok(());
        };
        let Some(first) = &self.0 else {
            self.0 = Some(next);
            return Ok(());
        };
        let narrower = |wide: &AnswerForm, narrow: &AnswerForm| match (wide, narrow) {
            (AnswerForm::JsonObject, AnswerForm::JsonSchema(schema)) => schema["type"] == "object",
            (wide, narrow) => wide == narrow,
        };
        if narrower(&next.form, &first.form) {
            return Ok(());
        }
        if narrower(&first.form, &next.form) {
            self.0 = Some(next);
            return Ok(());
        }
        let message = format!(
            "`{}` and `{}` ask for two different answers: only one of them can be given",
            first.param, next.param
        );
        Err(Invalid::bad_value(next.param, message))
    }

    /// What the request asks for.
    pub(crate) fn into_format(self) -> Option<AnswerFormat> {
        self.0
    }
}

fn format(param: String, form: AnswerForm) -> AnswerFormat {
    AnswerFormat { param, form }
}

/// Reads a format as OpenAI's `response_format` and the `text.format` of its responses have it, where a schema stands one level
/// higher. None for plain text.
pub(crate) fn read_response_format(
    path: &str,
    value: &Value,
) -> Result<Option<AnswerFormat>, Invalid> {
    const EXPECTED: &str = "one of \"text\", \"json_object\", \"json_schema\", \"regex\", \"grammar\", \"structural_tag\"";
    let Value::Object(fields) = value else {
        return Err(Invalid::expected(path, "an object with a `type`", value));
    };
    let kind = fields.get("type").unwrap_or(&Value::Null);
    let form = match kind.as_str() {
        Some("text") => return Ok(None),
        // Servers beside OpenAI's take a schema here.
        Some("json_object") => match fields.get("schema") {
            None | Some(Value::Null) => AnswerForm::JsonObject,
            Some(schema) => {
                AnswerForm::JsonSchema(read_schema(&format!("{path}.schema"), schema.clone())?)
            }
        },
        Some("json_schema") => AnswerForm::JsonSchema(read_named_schema(path, fields)?),
        Some("regex") => AnswerForm::Regex(text_of(path, fields, &["pattern", "regex", "value"])?),
        Some("grammar") => read_grammar(path, fields)?,
        Some("structural_tag") => AnswerForm::StructuralTag(structural_tag::read(path, value)?),
        _ => return Err(Invalid::expected(format!("{path}.type"), EXPECTED, kind)),
    };
    Ok(Some(format(path.to_owned(), form)))
}

/// A grammar, or an expression in the shape that OpenAI's custom tools have for both.
fn read_grammar(path: &str, fields: &Map<String, Value>) -> Result<AnswerForm, Invalid> {
    let text = text_of(path, fields, &["grammar", "definition", "value"])?;
    match fields.get("syntax").and_then(Value::as_str) {
        None | Some("lark") => Ok(AnswerForm::Grammar(text)),
        Some("regex") => Ok(AnswerForm::Regex(text)),
        Some(other) => Err(Invalid::expected(
            format!("{path}.syntax"),
            "\"lark\" or \"regex\"",
            &other.into(),
        )),
    }
}

/// The first of these fields that is there: a text that is not empty.
fn text_of(path: &str, fields: &Map<String, Value>, names: &[&str]) -> Result<String, Invalid> {
    let found = names
        .iter()
        .find_map(|name| Some((name, fields.get(*name)?)));
    let (name, value) = found.unwrap_or((&names[0], &Value::Null));
    not_empty(format!("{path}.{name}"), value.clone())
}

fn take_text(fields: &mut Fields, name: &str) -> Result<Option<String>, Invalid> {
    let text = fields.string(name)?;
    text.map(|text| not_empty(fields.path(name), text.into()))
        .transpose()
}

fn not_empty(path: String, value: Value) -> Result<String, Invalid> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        other => Err(Invalid::expected(
            path,
            "a string that is not empty",
            &other,
        )),
    }
}

/// The schema of a `json_schema` format. Its name and whether it is strict change nothing: every schema binds.
fn read_named_schema(path: &str, fields: &Map<String, Value>) -> Result<Value, Invalid> {
    let (path, fields) = match fields.get("json_schema") {
        // A schema without the object around it is taken; where there is neither, the object is what OpenAI's own clients miss.
        None | Some(Value::Null) if path == CHAT_FORMAT && !fields.contains_key("schema") => {
            let path = format!("{path}.json_schema");
            return Err(Invalid::expected(
                path,
                "an object with a `schema`",
                &Value::Null,
            ));
        }
        None | Some(Value::Null) => (path.to_owned(), fields),
        Some(Value::Object(inner)) => (format!("{path}.json_schema"), inner),
        Some(other) => {
            let path = format!("{path}.json_schema");
            return Err(Invalid::expected(path, "an object with a `schema`", other));
        }
    };
    for (name, right) in [
        ("name", Value::is_string as fn(&Value) -> bool),
        ("description", Value::is_string),
        ("strict", |value| lenient::boolean(value).is_some()),
    ] {
        if let Some(value) = fields.get(name).filter(|value| !value.is_null())
            && !right(value)
        {
            let expected = if name == "strict" {
                "true or false"
            } else {
                "a string"
            };
            return Err(Invalid::expected(format!("{path}.{name}"), expected, value));
        }
    }
    let schema = fields.get("schema").cloned().unwrap_or_default();
    read_schema(&format!("{path}.schema"), schema)
}

/// JSON that may come as text.
fn parsed(path: &str, value: Value) -> Result<Value, Invalid> {
    let Value::String(text) = value else {
        return Ok(value);
    };
    serde_json::from_str(&text)
        .map_err(|error| Invalid::bad_value(path, format!("`{path}` is not valid JSON: {error}")))
}

pub(crate) fn read_schema(path: &str, value: Value) -> Result<Value, Invalid> {
    match value {
        Value::Object(_) => Ok(value),
        other => Err(Invalid::expected(path, "a JSON Schema object", &other)),
    }
}

fn read_choices(path: &str, value: &Value) -> Result<Vec<String>, Invalid> {
    let texts = value.as_array().filter(|texts| !texts.is_empty());
    let texts = texts.and_then(|texts| {
        let text = |text: &Value| text.as_str().map(str::to_owned);
        texts.iter().map(text).collect::<Option<Vec<_>>>()
    });
    texts.ok_or_else(|| Invalid::expected(path, "a list of at least one string", value))
}

/// KsanaLLM's native fields, in the body or in its `sampling_config`: the switch, and beside it a schema as text or an expression.
/// The switch alone asks for an object, and without it the others ask for nothing.
pub(crate) fn take_native(fields: &mut Fields) -> Result<NativeFormat, Invalid> {
    let is_empty = |value: &Value| value.as_str() == Some("");
    let schema = fields.take("json_schema").filter(|value| !is_empty(value));
    let schema = schema.map(|schema| {
        let path = fields.path("json_schema");
        let schema = read_schema(&path, parsed(&path, schema)?)?;
        Ok::<_, Invalid>(format(path, AnswerForm::JsonSchema(schema)))
    });
    let regex = fields.string("structured_output_regex")?;
    let regex = regex.filter(|text| !text.is_empty()).map(|text| {
        let path = fields.path("structured_output_regex");
        format(path, AnswerForm::Regex(text))
    });
    Ok(NativeFormat {
        enabled: fields.boolean("enable_structured_output")?,
        schema: schema.transpose()?,
        regex,
    })
}

/// What KsanaLLM's native fields say in one place.
pub(crate) struct NativeFormat {
    enabled: Option<bool>,
    schema: Option<AnswerFormat>,
    regex: Option<AnswerFormat>,
}

impl NativeFormat {
    /// What the body and its `sampling_config` ask for together.
    pub(crate) fn merged(self, config: Option<Self>) -> Result<Option<AnswerFormat>, Invalid> {
        let enabled = config.as_ref().and_then(|config| config.enabled);
        if enabled.or(self.enabled) != Some(true) {
            return Ok(None);
        }
        let mut formats = Formats::default();
        for place in [Some(self), config].into_iter().flatten() {
            formats.add(place.schema)?;
            formats.add(place.regex)?;
        }
        let any = format(
            "enable_structured_output".to_owned(),
            AnswerForm::JsonObject,
        );
        Ok(formats.into_format().or(Some(any)))
    }
}

#[cfg(test)]
mod tests;
