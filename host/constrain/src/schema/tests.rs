//! What passes, what is refused and where, and what is handed on.

use serde_json::{Value, json};

use super::*;

fn refused(schema: &Value) -> (String, String) {
    match vetted(&schema.to_string()) {
        Err(ConstrainError::Schema { pointer, problem }) => (pointer, problem),
        other => panic!("{schema}: {other:?}"),
    }
}

#[test]
fn annotations_are_left_out_and_the_rest_is_kept() {
    // As pydantic writes it, with what openai-python's strict mode adds.
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.org/person",
        "title": "Person",
        "description": "Somebody",
        "x-order": 3,
        "x-guidance": {"lenient": true},
        "type": "object",
        "properties": {
            "title": {"type": "string", "title": "Title", "default": "Dr", "examples": ["Mr"], "maxLength": 65536},
            "age": {"anyOf": [{"type": "integer", "minimum": 0, "format": "int32"}, {"type": "null"}], "default": null},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": false, "deprecated": true},
            "mother": {"$ref": "#/$defs/Parent"},
            "born": {"type": ["string", "null"], "format": "uuid", "readOnly": true}
        },
        "required": ["title", "age"],
        "additionalProperties": false,
        "$defs": {"Parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}], "$comment": "or none"}}
    });
    let expected = json!({
        "type": "object",
        "properties": {
            "title": {"type": "string", "maxLength": 65536},
            "age": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": limits::LARGEST_WRITTEN}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "mother": {"$ref": "#/$defs/Parent"},
            "born": {"type": ["string", "null"], "format": "uuid"}
        },
        "required": ["title", "age"],
        "additionalProperties": false,
        "$defs": {"Parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}
    });
    assert_eq!(vetted(&schema.to_string()).expect("pydantic's"), expected);
}

#[test]
fn schemas_that_people_send_pass() {
    for schema in [
        // zod-to-json-schema and zod 4.
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": -9_007_199_254_740_991_i64, "maximum": 9_007_199_254_740_991_i64},
                "positive": {"type": "number", "exclusiveMinimum": 0},
                "pair": {"type": "array", "items": [{"type": "string"}, {"type": "number"}], "additionalItems": false},
                "list": {"type": "array", "items": {"type": "string"}, "additionalItems": false},
                "id": {"type": "string", "format": "uuid"},
                "price": {"type": "number", "multipleOf": 0.01}
            },
            "required": ["n"],
            "additionalProperties": {}
        }),
        // LangChain's convert_to_openai_tool.
        json!({"type": "object", "properties": {"query": {"description": "What to look for", "type": "string"}}, "required": ["query"]}),
        // schemars.
        json!({"type": "object", "properties": {"id": {"type": "integer", "format": "uint64", "minimum": 0}}, "definitions": {}}),
        json!({"type": "object", "properties": {}}),
        json!({"const": {"a": [1, "b", null]}}),
        json!({}),
        json!(true),
    ] {
        vetted(&schema.to_string()).unwrap_or_else(|error| panic!("{schema}: {error}"));
    }
}

#[test]
fn what_is_not_enforced_is_refused_with_its_name_and_place() {
    for (keyword, value) in [
        ("nullable", json!(true)),
        ("uniqueItems", json!(true)),
        ("contentEncoding", json!("base64")),
        ("contentMediaType", json!("application/json")),
        ("maxLenght", json!(3)),
        ("minlength", json!(3)),
        ("if", json!({})),
        ("not", json!({})),
        ("contains", json!({})),
        ("propertyNames", json!({})),
        ("dependentRequired", json!({})),
        ("unevaluatedProperties", json!(false)),
        ("$dynamicRef", json!("#a")),
        ("$recursiveRef", json!("#")),
        ("$vocabulary", json!({})),
    ] {
        let mut inner = json!({"type": "string"});
        inner[keyword] = value;
        let schema = json!({"type": "object", "properties": {"a/b": {"anyOf": [true, inner]}}});
        let (pointer, problem) = refused(&schema);
        assert_eq!(pointer, format!("#/properties/a~1b/anyOf/1/{keyword}"));
        assert!(problem.contains(&format!("{keyword:?}")), "{problem}");
    }
    let (_, typo) = refused(&json!({"minlength": 3}));
    assert!(typo.contains("\"minLength\" is one"), "{typo}");
}

#[test]
fn values_that_would_be_rounded_or_mean_nothing_are_refused() {
    for (schema, place) in [
        (json!({"enum": [1, [9_007_199_254_740_993_i64]]}), "#/enum"),
        (json!({"const": 1e22}), "#/const"),
        (
            json!({"maximum": 9_223_372_036_854_775_807_i64}),
            "#/maximum",
        ),
        (json!({"enum": []}), "#/enum"),
        (json!({"type": "int"}), "#/type"),
        (json!({"type": []}), "#/type"),
        (json!({"required": true}), "#/required"),
        (json!({"minLength": -1}), "#/minLength"),
        (json!({"minLength": 1.5}), "#/minLength"),
        (json!({"exclusiveMinimum": true}), "#/exclusiveMinimum"),
        (json!({"anyOf": []}), "#/anyOf"),
        (json!({"items": 3}), "#/items"),
        (json!({"additionalItems": false}), "#/additionalItems"),
        (json!({"items": [true], "prefixItems": [true]}), "#/items"),
        (json!({"type": "string", "format": "color"}), "#/format"),
        (json!({"pattern": "(?=a)"}), "#/pattern"),
        (
            json!({"patternProperties": {"(a)\\1": true}}),
            "#/patternProperties/(a)\\1",
        ),
        (json!({"multipleOf": 0}), "#/multipleOf"),
        (json!({"$schema": "https://example.org/own"}), "#/$schema"),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [true]}),
            "#/prefixItems",
        ),
        (
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "items": [true]}),
            "#/items",
        ),
    ] {
        assert_eq!(refused(&schema).0, place, "{schema}");
    }
}

#[test]
fn references_lead_to_vetted_schemas() {
    for (schema, place) in [
        (json!({"$ref": "#/$defs/a"}), "#/$ref"),
        (json!({"$ref": "https://example.org/a"}), "#/$ref"),
        (
            json!({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {}}}),
            "#/$ref",
        ),
        (
            json!({"$ref": "#/$defs/a/b", "$defs": {"a/b": {}}}),
            "#/$ref",
        ),
        // What no schema is has not been vetted.
        (
            json!({"anyOf": [{"$ref": "#/x-own"}], "x-own": {"nullable": true}}),
            "#/anyOf/0/$ref",
        ),
        (
            json!({"anyOf": [{"$ref": "#/default"}], "default": {}}),
            "#/anyOf/0/$ref",
        ),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$id": "b"}}}),
            "#/$defs/a/$id",
        ),
    ] {
        assert_eq!(refused(&schema).0, place, "{schema}");
    }
}

#[test]
fn what_costs_too_much_is_refused() {
    let nested = |depth: usize, inner: &str| {
        let (open, close) = ("{\"items\":".repeat(depth), "}".repeat(depth));
        format!("{open}{inner}{close}")
    };
    let chain = |length: usize, depth: usize| {
        let definitions: Vec<String> = (0..length)
            .map(|n| {
                format!(
                    "\"d{n}\":{}",
                    nested(depth, &format!("{{\"$ref\":\"#/$defs/d{}\"}}", n + 1))
                )
            })
            .collect();
        let definitions = definitions.join(",");
        format!("{{\"$ref\":\"#/$defs/d0\",\"$defs\":{{{definitions},\"d{length}\":{{}}}}}}")
    };
    let optional: Map<String, Value> = (0..600).map(|n| (format!("p{n}"), json!(true))).collect();
    for (schema, problem) in [
        (nested(70, "{}"), "deeper"),
        (chain(4100, 0), "references"),
        (chain(300, 20), "together"),
        (json!({ "properties": optional }).to_string(), "left out"),
        (json!({"enum": vec!["a"; 10_001]}).to_string(), "enums"),
        (json!({"anyOf": vec![json!({}); 201]}).to_string(), "limit"),
        (json!({"multipleOf": 99_999_999}).to_string(), "digits"),
        (
            json!({"allOf": [{"multipleOf": 997}, {"multipleOf": 991}]}).to_string(),
            "common multiple",
        ),
        (json!({"maxItems": 1_000_000}).to_string(), "whole number"),
        (
            json!({"pattern": "(x{1000}){1000}"}).to_string(),
            "written out",
        ),
        (" ".repeat(limits::MAX_SCHEMA_BYTES + 1), "bytes"),
    ] {
        let error = vetted(&schema).expect_err(problem).to_string();
        assert!(error.contains(problem), "{error}");
    }
    for fine in [chain(800, 1), nested(60, "{}")] {
        vetted(&fine).expect("within the limits");
    }
    // Deeper than JSON is read at all.
    assert!(matches!(
        vetted(&nested(5000, "{}")),
        Err(ConstrainError::Json(_))
    ));
}

#[test]
fn a_key_stands_once() {
    let twice = r#"{"type": "object", "properties": {"a": {"type": "string", "type": "null"}}}"#;
    let error = vetted(twice).expect_err("twice").to_string();
    assert!(error.contains("\"type\" twice"), "{error}");
}

#[test]
fn tagged_unions_become_anyof() {
    let variant = |tag: &str| json!({"type": "object", "properties": {"kind": {"const": tag}}, "required": ["kind"]});
    let union = |other: &str| {
        json!({
            "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
            "discriminator": {"propertyName": "kind"},
            "$defs": {"A": variant("a"), "B": variant(other)}
        })
    };
    let rewritten = vetted(&union("b").to_string()).expect("disjoint");
    assert!(rewritten.get("oneOf").is_none() && rewritten.get("anyOf").is_some());
    let overlapping = vetted(&union("a").to_string()).expect("left to llguidance");
    assert!(overlapping.get("oneOf").is_some());
    let types =
        json!({"oneOf": [{"type": "integer"}, {"type": ["string", "null"]}], "anyOf": [true]});
    let rewritten = vetted(&types.to_string()).expect("disjoint");
    assert_eq!(
        rewritten["allOf"][0]["anyOf"].as_array().map(Vec::len),
        Some(2)
    );
    let numbers = json!({"oneOf": [{"type": "integer"}, {"type": "number"}]});
    assert!(
        vetted(&numbers.to_string())
            .expect("left")
            .get("oneOf")
            .is_some()
    );
}

#[test]
fn objects_are_closed_where_nothing_is_said() {
    let open = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let mut closed = open.clone();
    closed["additionalProperties"] = json!(false);
    let places = |object: &Value| {
        [
            object.clone(),
            json!({"type": "array", "items": object}),
            json!({"anyOf": [object, {"type": "null"}]}),
            json!({"allOf": [object]}),
            json!({"$ref": "#/$defs/A", "$defs": {"A": object}}),
            json!({"type": "object", "properties": {}, "additionalProperties": object}),
        ]
    };
    for (given, wanted) in places(&open).into_iter().zip(places(&closed)) {
        assert_eq!(vetted(&given.to_string()), Ok(wanted), "{given}");
    }
    let argument = json!({"type": "object", "properties": {"open": open}});
    let wanted =
        json!({"type": "object", "properties": {"open": closed}, "additionalProperties": false});
    let arguments = arguments_schema(&argument.to_string()).expect("an object");
    assert_eq!(arguments, wanted.to_string());
}

#[test]
fn objects_stay_open_where_something_is_said() {
    let named = json!({"a": {"type": "string"}});
    let part = json!({"type": "object", "properties": named});
    let other = json!({"type": "object", "properties": {"b": {"type": "string"}}});
    for schema in [
        json!({"type": "object", "properties": named, "additionalProperties": true}),
        json!({"type": "object", "properties": named, "additionalProperties": {"type": "null"}}),
        json!({"type": "object", "properties": named, "patternProperties": {"^x": {}}}),
        json!({"type": "object", "properties": named, "required": ["a", "b"]}),
        json!({"type": "object", "properties": named, "minProperties": 2}),
        json!({"type": "object", "properties": {"a": false}, "minProperties": 1}),
        json!({"type": "object", "properties": {}}),
        json!({"type": "object"}),
        json!({"enum": [{"properties": {"a": 1}}]}),
        json!({"allOf": [part, other]}),
        json!({"oneOf": [part, other]}),
        json!({"properties": named, "anyOf": [other, {"required": ["a"]}]}),
        json!({"properties": named, "$ref": "#/$defs/B", "$defs": {"B": other}}),
        json!({"type": "array", "prefixItems": [part, {"allOf": [part, other]}]}),
    ] {
        assert_eq!(vetted(&schema.to_string()), Ok(schema.clone()));
    }
}

#[test]
fn arguments_are_an_object() {
    let typed = arguments_schema(r#"{"properties": {"a": {}}}"#).expect("an object");
    assert_eq!(
        typed,
        r#"{"properties":{"a":{}},"additionalProperties":false,"type":"object"}"#
    );
    let none = arguments_schema(r#"{"type": "object", "properties": {}}"#).expect("an object");
    assert_eq!(
        none,
        r#"{"type":"object","properties":{},"additionalProperties":false}"#
    );
    assert_eq!(
        arguments_schema("true").expect("anything"),
        r#"{"type":"object"}"#
    );
    for other in [r#"{"type": ["object", "null"]}"#, r#"{"type": "string"}"#] {
        let error = arguments_schema(other).expect_err(other).to_string();
        assert!(error.contains("#/type"), "{error}");
    }
}

#[test]
fn what_was_vetted_is_vetted_to_itself() {
    for format in keywords::FORMATS {
        for more in [
            json!({}),
            json!({"pattern": "^.{3,9}$"}),
            json!({"allOf": [{"minLength": 3}]}),
        ] {
            let mut schema = json!({"type": "string", "format": format});
            schema
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().expect("an object").clone());
            let once = vetted(&schema.to_string()).expect(format);
            assert_eq!(vetted(&once.to_string()), Ok(once), "{schema}");
        }
    }
}
