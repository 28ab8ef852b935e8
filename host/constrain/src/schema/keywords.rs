//! The keywords that are known, and what is said of the others.
//!
//! Source: the vocabularies of drafts 4 to 2020-12, and what llguidance 1.9.1 does with each.

use serde_json::Value;

use super::refusal;
use crate::ConstrainError;

pub(super) const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

/// Formats that are enforced.
pub(super) const FORMATS: [&str; 10] = [
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
];

/// What may stand under a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    /// Anything: it says nothing of values.
    Annotation,
    /// A name of the schema, which changes what references mean.
    Id,
    /// `false`, which asks for nothing.
    Off,
    Type,
    /// One value, or a list of them.
    Values,
    Schema,
    Schemas,
    /// An object of schemas.
    Named,
    /// A list of property names.
    Names,
    Reference,
    Count,
    Bound,
    Multiple,
    Pattern,
    Format,
}

/// What this keyword is; None for one that is not enforced.
pub(super) fn keyword(key: &str) -> Option<Keyword> {
    Some(match key {
        "title"
        | "description"
        | "markdownDescription"
        | "default"
        | "examples"
        | "example"
        | "deprecated"
        | "readOnly"
        | "writeOnly"
        | "$comment"
        | "$anchor"
        | "$dynamicAnchor"
        | "$recursiveAnchor"
        | "$schema"
        | "discriminator"
        | "externalDocs" => Keyword::Annotation,
        _ if key.starts_with("x-") => Keyword::Annotation,
        "$id" | "id" => Keyword::Id,
        "uniqueItems" | "nullable" => Keyword::Off,
        "type" => Keyword::Type,
        "const" | "enum" => Keyword::Values,
        "items" | "additionalItems" | "additionalProperties" => Keyword::Schema,
        "prefixItems" | "anyOf" | "oneOf" | "allOf" => Keyword::Schemas,
        "properties" | "patternProperties" | "$defs" | "definitions" => Keyword::Named,
        "required" => Keyword::Names,
        "$ref" => Keyword::Reference,
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            Keyword::Count
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => Keyword::Bound,
        "multipleOf" => Keyword::Multiple,
        "pattern" => Keyword::Pattern,
        "format" => Keyword::Format,
        _ => return None,
    })
}

/// What to say of a keyword that is not enforced.
pub(super) fn unknown(key: &str, value: &Value) -> String {
    let hint = match key {
        "nullable" => "; write \"anyOf\" with {\"type\": \"null\"}, or a list of types",
        "if" | "then" | "else" | "not" | "dependentSchemas" | "dependencies" => {
            "; write out the alternatives with \"anyOf\""
        }
        "dependentRequired" => "; write out the alternatives with \"anyOf\" and \"required\"",
        "contains"
        | "minContains"
        | "maxContains"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "uniqueItems"
        | "contentEncoding"
        | "contentMediaType"
        | "contentSchema"
        | "$dynamicRef"
        | "$recursiveRef"
        | "$vocabulary" => "",
        _ => return not_a_keyword(key),
    };
    match value {
        Value::Bool(true) => format!("{key:?}: true is not supported{hint}"),
        _ => format!("{key:?} is not supported{hint}"),
    }
}

/// A typo, or a keyword of somebody's own.
fn not_a_keyword(key: &str) -> String {
    const ALL: [&str; 31] = [
        "type",
        "const",
        "enum",
        "items",
        "additionalItems",
        "additionalProperties",
        "prefixItems",
        "anyOf",
        "oneOf",
        "allOf",
        "properties",
        "patternProperties",
        "$defs",
        "definitions",
        "required",
        "$ref",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "pattern",
        "format",
        "description",
        "default",
    ];
    let plain = |key: &str| -> String {
        let letters = key.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let meant = ALL.iter().find(|known| plain(known) == plain(key));
    match meant {
        Some(known) => format!("{key:?} is not a keyword of JSON Schema; {known:?} is one"),
        None => format!("{key:?} is not a keyword of JSON Schema that can be enforced"),
    }
}

/// Drafts of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draft {
    Draft4,
    Draft6,
    Draft7,
    Draft201909,
    Draft202012,
}

impl Draft {
    /// What the root's `$schema` says.
    pub(super) fn declared(root: &Value) -> Result<Option<Self>, ConstrainError> {
        let Some(declared) = root.get("$schema") else {
            return Ok(None);
        };
        let uri = declared.as_str().unwrap_or_default();
        let name = uri.trim_end_matches('#');
        let name = name
            .strip_prefix("https://")
            .or_else(|| name.strip_prefix("http://"));
        Ok(Some(match name {
            Some("json-schema.org/draft-04/schema") => Self::Draft4,
            Some("json-schema.org/draft-06/schema") => Self::Draft6,
            Some("json-schema.org/draft-07/schema") => Self::Draft7,
            Some("json-schema.org/draft/2019-09/schema") => Self::Draft201909,
            Some("json-schema.org/draft/2020-12/schema") => Self::Draft202012,
            _ => {
                return Err(refusal(
                    "#/$schema",
                    format!("{declared} is not a known draft: 4, 6, 7, 2019-09 or 2020-12"),
                ));
            }
        }))
    }
}

impl Keyword {
    /// Why it means something else, or nothing, in the declared draft.
    pub(super) fn needs_other_draft(
        self,
        key: &str,
        value: &Value,
        draft: Option<Draft>,
    ) -> Option<String> {
        if self == Self::Bound && value.is_boolean() && draft != Some(Draft::Draft4) {
            return Some(format!(
                "{key:?} as a boolean is draft 4's: it is a number, without the other bound beside it"
            ));
        }
        let draft = draft?;
        let array_items = key == "items" && value.is_array();
        let problem = match key {
            "prefixItems" if draft < Draft::Draft202012 => "is newer than the declared \"$schema\"",
            "const" if draft < Draft::Draft6 => "is newer than the declared \"$schema\"",
            "additionalItems" if draft >= Draft::Draft202012 => {
                "is older than the declared \"$schema\""
            }
            _ if array_items && draft >= Draft::Draft202012 => {
                "as a list is older than the declared \"$schema\": it is \"prefixItems\" there"
            }
            _ if self == Self::Bound
                && key.starts_with("exclusive")
                && !value.is_boolean()
                && draft == Draft::Draft4 =>
            {
                "as a number is newer than the declared \"$schema\""
            }
            _ => return None,
        };
        Some(format!("{key:?} {problem}"))
    }
}
