//! The tools that calls are forced of: every shape of schema that clients send.
//!
//! No name of a tool stands in another one, in a schema or in a family's markers, so that names in an answer count calls.

use weir_output::Tool;

/// Name and parameters. None has a text that only JSON Schema could tell from another one, as families that write text
/// without quotes are forced more loosely there.
const TOOLS: [(&str, &str); 13] = [
    (
        "ping_host",
        r#"{"type": "object", "properties": {}, "additionalProperties": false}"#,
    ),
    ("anything_goes", r#"{"type": "object"}"#),
    (
        "get.weather-v2",
        r#"{"type": "object", "properties": {"city": {"type": "string", "description": "Where \"it\" is"},
        "days": {"type": "integer", "minimum": 0, "maximum": 14}, "level": {"type": "number"}, "indoors": {"type": "boolean"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "days", "level", "indoors", "unit"], "additionalProperties": false}"#,
    ),
    (
        "plan-route_7",
        r##"{"type": "object", "$defs": {"Place": {"type": "object", "properties": {"lat": {"type": "number"},
        "label": {"type": "string"}}, "required": ["lat"], "additionalProperties": false},
        "Mode": {"enum": ["car", "rail"]}, "Tree": {"type": "object", "properties": {"kids": {"type": "array",
        "items": {"$ref": "#/$defs/Tree"}, "maxItems": 2}}, "additionalProperties": false}},
        "properties": {"from": {"$ref": "#/$defs/Place"}, "mode": {"$ref": "#/$defs/Mode"},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/Place"}, "maxItems": 3}, "tree": {"$ref": "#/$defs/Tree"},
        "note": {"type": ["string", "null"]}}, "required": ["from", "stops"]}"##,
    ),
    (
        "all_optional",
        r#"{"type": "object", "properties": {"text": {"type": "string"}, "limit": {"type": ["integer", "null"]},
        "after": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null},
        "ids": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 4}, "deep": {"type": "boolean"}}}"#,
    ),
    (
        "nested.objects",
        r#"{"type": "object", "properties": {"filter": {"type": "object", "properties": {"and": {"type": "array",
        "items": {"type": "object", "properties": {"key": {"type": "string"}, "value": {"anyOf": [{"type": "number"},
        {"type": "boolean"}, {"type": "array", "items": {"type": "integer"}, "maxItems": 3}]}},
        "required": ["key", "value"], "additionalProperties": false}, "maxItems": 2}}, "required": ["and"],
        "additionalProperties": false}, "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "required": ["filter"]}"#,
    ),
    (
        "odd-Keys",
        r#"{"type": "object", "properties": {"content-type": {"type": "string"}, "größe": {"type": "integer"},
        "$top": {"type": "integer", "enum": [10, 25]}, "a.b": {"const": true}, "type": {"type": "string"}},
        "required": ["content-type", "größe"], "additionalProperties": false}"#,
    ),
    (
        "typed_text",
        r#"{"type": "object", "properties": {"when": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
        "code": {"const": "x-1"}, "answer": {"enum": ["yes", "no", "null", "5"]}, "short": {"type": "string"},
        "mixed": {"enum": [1, 2.5, false, null]}}, "required": ["when", "mixed"], "additionalProperties": false}"#,
    ),
    ("no_schema", "{}"),
    (
        "hard_to_name",
        r#"{"type": "object", "properties": {"a>b": {"type": "string"}, "x \"y\"": {"type": "integer"}, "": {"type": "boolean"},
        " pad ": {"type": "integer"}, "two words": {"type": "integer"}, "</tool_call>": {"type": "null"},
        "it's": {"type": "string"}, "line\nbreak": {"type": "integer"}}}"#,
    ),
    (
        "closed.empty",
        r#"{"type": "object", "additionalProperties": false}"#,
    ),
    (
        "by_reference",
        r##"{"$ref": "#/$defs/Args", "$defs": {"Args": {"type": "object", "properties": {"url": {"type": "string"},
        "retries": {"type": "integer"}}, "required": ["url"], "additionalProperties": false}}}"##,
    ),
    (
        "untyped-root",
        r#"{"properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2}},
        "required": ["id"]}"#,
    ),
];

/// All of them.
pub fn tools() -> Vec<Tool> {
    let tool = |(name, parameters): (&str, &str)| Tool {
        name: name.into(),
        description: None,
        parameters: parameters.into(),
        strict: true,
    };
    TOOLS.map(tool).into()
}
