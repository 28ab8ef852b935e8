//! Structural tags, as vLLM, SGLang and Dynamo take them: xgrammar's `format` tree, and the `structures` and `triggers` that
//! were before it.

use serde_json::{Map, Value};

use crate::{answer_format::read_schema, invalid::Invalid, lenient};

/// A part of a text with tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagFormat {
    /// Exactly this text.
    ConstString(String),
    /// JSON that matches this schema.
    JsonSchema(Value),
    /// Text that matches this regular expression as a whole.
    Regex(String),
    /// Any text in which none of these stands.
    AnyText(Vec<String>),
    /// One after the other.
    Sequence(Vec<TagFormat>),
    /// One of them.
    Or(Vec<TagFormat>),
    /// Something between two texts.
    Tag(Tag),
    /// Any text; a tag must stand where a trigger does.
    TriggeredTags {
        /// Texts that tags begin with.
        triggers: Vec<String>,
        /// What may stand behind them.
        tags: Vec<Tag>,
        /// The answer begins with a tag.
        at_least_one: bool,
        /// The answer ends with the first tag.
        stop_after_first: bool,
    },
    /// Tags and nothing else.
    TagsWithSeparator {
        /// What may stand there.
        tags: Vec<Tag>,
        /// What stands between two of them.
        separator: String,
        /// There is a tag.
        at_least_one: bool,
        /// There is at most one.
        stop_after_first: bool,
    },
    /// The same again and again.
    Repeat {
        /// What.
        content: Box<TagFormat>,
        /// At least so often.
        min: u32,
        /// At most so often.
        max: Option<u32>,
    },
}

/// Something between two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it begins with.
    pub begin: String,
    /// What stands in it.
    pub content: Box<TagFormat>,
    /// What it may end with; at least one.
    pub ends: Vec<String>,
}

/// Reads a structural tag, `path` is where it stands: with a `format`, or of the older shape.
pub(crate) fn read(path: &str, value: &Value) -> Result<TagFormat, Invalid> {
    let Value::Object(fields) = value else {
        return Err(Invalid::expected(path, "an object with a `format`", value));
    };
    if let Some(format) = fields.get("format") {
        return read_format(&format!("{path}.format"), format);
    }
    if !fields.contains_key("structures") {
        let message = format!("`{path}` must have a `format`, or `structures` and `triggers`");
        return Err(Invalid::bad_value(path, message));
    }
    let structure = |(path, value): (String, &Value)| {
        let fields = object(&path, value)?;
        let schema = fields.get("schema").cloned().unwrap_or_default();
        let schema = read_schema(&format!("{path}.schema"), schema)?;
        Ok::<_, Invalid>(Tag {
            begin: text(&path, fields, "begin")?,
            content: Box::new(TagFormat::JsonSchema(schema)),
            ends: vec![text(&path, fields, "end")?],
        })
    };
    let tags = items(path, fields, "structures")?;
    triggered(
        path,
        TagFormat::TriggeredTags {
            triggers: texts(path, fields, "triggers")?,
            tags: tags.into_iter().map(structure).collect::<Result<_, _>>()?,
            at_least_one: false,
            stop_after_first: false,
        },
    )
}

fn read_format(path: &str, value: &Value) -> Result<TagFormat, Invalid> {
    let fields = object(path, value)?;
    let kind = fields.get("type").unwrap_or(&Value::Null);
    Ok(match kind.as_str() {
        Some("const_string") => TagFormat::ConstString(text(path, fields, "value")?),
        Some("json_schema") => TagFormat::JsonSchema(read_json(path, fields)?),
        Some("regex") => TagFormat::Regex(text(path, fields, "pattern")?),
        Some("any_text") => TagFormat::AnyText(match fields.get("excludes") {
            None | Some(Value::Null) => Vec::new(),
            Some(_) => texts(path, fields, "excludes")?,
        }),
        Some("sequence") => TagFormat::Sequence(formats(path, fields)?),
        Some("or") => TagFormat::Or(formats(path, fields)?),
        Some("tag") => TagFormat::Tag(read_tag(path, value)?),
        Some("triggered_tags") => {
            let format = TagFormat::TriggeredTags {
                triggers: texts(path, fields, "triggers")?,
                tags: tags(path, fields)?,
                at_least_one: flag(path, fields, "at_least_one")?,
                stop_after_first: flag(path, fields, "stop_after_first")?,
            };
            triggered(path, format)?
        }
        Some("tags_with_separator") => TagFormat::TagsWithSeparator {
            tags: tags(path, fields)?,
            separator: match fields.get("separator") {
                Some(Value::String(separator)) => separator.clone(),
                _ => text(path, fields, "separator")?,
            },
            at_least_one: flag(path, fields, "at_least_one")?,
            stop_after_first: flag(path, fields, "stop_after_first")?,
        },
        Some("optional") => repeated(path, fields, 0, Some(1))?,
        Some("star") => repeated(path, fields, 0, None)?,
        Some("plus") => repeated(path, fields, 1, None)?,
        Some(other @ ("grammar" | "qwen_xml_parameter")) => {
            let what = format!("a structural tag of type `{other}`");
            return Err(Invalid::not_implemented(format!("{path}.type"), &what));
        }
        _ => {
            let expected = "one of const_string, json_schema, regex, any_text, sequence, or, tag, triggered_tags, \
                            tags_with_separator, optional, star, plus";
            return Err(Invalid::expected(format!("{path}.type"), expected, kind));
        }
    })
}

fn repeated(
    path: &str,
    fields: &Map<String, Value>,
    min: u32,
    max: Option<u32>,
) -> Result<TagFormat, Invalid> {
    let content = fields.get("content").unwrap_or(&Value::Null);
    Ok(TagFormat::Repeat {
        content: Box::new(read_format(&format!("{path}.content"), content)?),
        min,
        max,
    })
}

/// A schema of JSON; xgrammar's other styles are markup.
fn read_json(path: &str, fields: &Map<String, Value>) -> Result<Value, Invalid> {
    match fields.get("style").and_then(Value::as_str) {
        None | Some("json") => {}
        Some(other) => {
            let what = format!("the style `{other}` of a schema");
            return Err(Invalid::not_implemented(format!("{path}.style"), &what));
        }
    }
    let schema = fields.get("json_schema").cloned().unwrap_or_default();
    read_schema(&format!("{path}.json_schema"), schema)
}

fn read_tag(path: &str, value: &Value) -> Result<Tag, Invalid> {
    let fields = object(path, value)?;
    let content = fields.get("content").unwrap_or(&Value::Null);
    Ok(Tag {
        begin: text(path, fields, "begin")?,
        content: Box::new(read_format(&format!("{path}.content"), content)?),
        ends: match fields.get("end") {
            Some(Value::Array(_)) => texts(path, fields, "end")?,
            _ => vec![text(path, fields, "end")?],
        },
    })
}

/// Every tag must begin with a trigger and every trigger some tag, and no trigger may stand in another one: text goes on to the
/// first of them, and then which one it is must be certain.
fn triggered(path: &str, format: TagFormat) -> Result<TagFormat, Invalid> {
    let TagFormat::TriggeredTags { triggers, tags, .. } = &format else {
        return Ok(format);
    };
    let wrong = |expected, text: &String| {
        let path = format!("{path}.triggers");
        Err(Invalid::expected(path, expected, &text.as_str().into()))
    };
    let begins = |trigger: &String, tag: &Tag| tag.begin.starts_with(trigger.as_str());
    for tag in tags {
        if !triggers.iter().any(|trigger| begins(trigger, tag)) {
            return wrong("texts that the tags begin with", &tag.begin);
        }
    }
    for trigger in triggers {
        if !tags.iter().any(|tag| begins(trigger, tag)) {
            return wrong("texts that tags begin with, each at least one", trigger);
        }
        let mut others = triggers.iter().filter(|other| *other != trigger);
        if others.any(|other| other.contains(trigger.as_str())) {
            return wrong("texts of which none stands in another", trigger);
        }
    }
    Ok(format)
}

fn tags(path: &str, fields: &Map<String, Value>) -> Result<Vec<Tag>, Invalid> {
    let items = items(path, fields, "tags")?.into_iter();
    items.map(|(path, value)| read_tag(&path, value)).collect()
}

fn formats(path: &str, fields: &Map<String, Value>) -> Result<Vec<TagFormat>, Invalid> {
    let items = items(path, fields, "elements")?.into_iter();
    items
        .map(|(path, value)| read_format(&path, value))
        .collect()
}

/// The items of a list that is not empty, with their paths.
fn items<'a>(
    path: &str,
    fields: &'a Map<String, Value>,
    name: &str,
) -> Result<Vec<(String, &'a Value)>, Invalid> {
    let path = format!("{path}.{name}");
    match fields.get(name) {
        Some(Value::Array(items)) if !items.is_empty() => {
            let item = |(index, item)| (format!("{path}[{index}]"), item);
            Ok(items.iter().enumerate().map(item).collect())
        }
        other => {
            let value = other.unwrap_or(&Value::Null);
            Err(Invalid::expected(
                path,
                "a list of at least one item",
                value,
            ))
        }
    }
}

fn texts(path: &str, fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, Invalid> {
    let items = items(path, fields, name)?.into_iter();
    let text = |(path, item): (String, &Value)| match item.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Invalid::expected(path, "a string that is not empty", item)),
    };
    items.map(text).collect()
}

fn text(path: &str, fields: &Map<String, Value>, name: &str) -> Result<String, Invalid> {
    let value = fields.get(name).unwrap_or(&Value::Null);
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => {
            let path = format!("{path}.{name}");
            Err(Invalid::expected(path, "a string that is not empty", value))
        }
    }
}

fn flag(path: &str, fields: &Map<String, Value>, name: &str) -> Result<bool, Invalid> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => lenient::boolean(value)
            .ok_or_else(|| Invalid::expected(format!("{path}.{name}"), "true or false", value)),
    }
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Invalid> {
    let object = value.as_object();
    object.ok_or_else(|| Invalid::expected(path, "an object", value))
}
