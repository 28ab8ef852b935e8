//! Schemas and validation judge alike, and every field has its meaning.

use serde_json::{Value, json};

use super::{FIELDS, REQUESTS, RequestType, record::Kind};
use crate::invalid::InvalidKind;

/// One of each kind of value, and the edges of the ranges in use.
fn values() -> Vec<Value> {
    vec![
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(-3),
        json!(0.5),
        json!(1.5),
        json!(200),
        json!(""),
        json!("x"),
        json!([]),
        json!([1]),
        json!([-1]),
        json!(["x"]),
        json!([""]),
        json!([[1]]),
        json!([[]]),
        json!([{}]),
        json!({}),
        json!({"x": 1}),
        json!({"1": 1}),
        json!({"1": 101}),
        json!({"type": "text"}),
    ]
}

/// What is understood and not built is no wrong value.
fn takes(request: &RequestType, path: &str, value: &Value) -> bool {
    match (request.read)(request.example_with(path, value.clone())) {
        Ok(()) => true,
        Err(invalid) => invalid.kind == InvalidKind::NotImplemented,
    }
}

/// The schema of the field at this path.
fn schema_at<'a>(schema: &'a Value, path: &str) -> &'a Value {
    let step = |schema: &'a Value, name: &str| &schema["properties"][name];
    path.split('.').fold(schema, step)
}

#[test]
fn every_example_is_right() {
    for request in REQUESTS {
        let read = (request.read)(request.example());
        assert_eq!(read, Ok(()), "{}", request.name);
        assert!(request.example().is_object(), "{}", request.name);
    }
}

#[test]
fn every_field_has_its_meaning() {
    let mut missing = Vec::new();
    for request in REQUESTS {
        for (path, kind) in request.notes() {
            let explained = matches!(kind, Kind::NotBuilt | Kind::WithoutEffect);
            let field = request.field(&path);
            let says = |key| field.contains_key(key);
            if !explained && !says("description") {
                missing.push(format!("`description` of {}.{path}", request.name));
            }
            if kind == Kind::Any && !says("schema") {
                missing.push(format!("`schema` of {}.{path}", request.name));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "host/protocol/src/schema/fields.json lacks:\n{}",
        missing.join("\n")
    );
}

#[test]
fn schema_and_validation_judge_alike() {
    let mut differences = Vec::new();
    for request in REQUESTS {
        let whole = request.schema();
        assert!(jsonschema::meta::is_valid(&whole), "{}", request.name);
        for (path, kind) in request.notes() {
            if matches!(kind, Kind::NotBuilt | Kind::WithoutEffect) {
                continue;
            }
            let schema = schema_at(&whole, &path);
            let validator = jsonschema::validator_for(schema).unwrap();
            let own = |key| request.values(&path, key);
            let lenient = matches!(
                kind,
                Kind::Number { .. } | Kind::Integer | Kind::Count { .. } | Kind::Boolean
            );
            let judged = request.field(&path).get("judged") != Some(&json!(false));
            let common = values().into_iter().filter(|_| judged);
            let all = common.filter(|value| !(lenient && value.is_string()));
            for value in all.chain(own("accepts")).chain(own("refuses")) {
                let (says, does) = (validator.is_valid(&value), takes(request, &path, &value));
                if says != does {
                    let name = request.name;
                    differences.push(format!(
                        "{name}.{path} = {value}: schema {says}, validation {does}"
                    ));
                }
            }
            for (key, right) in [("accepts", true), ("refuses", false)] {
                let wrong = own(key).filter(|value| takes(request, &path, value) != right);
                differences
                    .extend(wrong.map(|value| format!("{}.{path} = {value}: {key}", request.name)));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn objects_have_their_fields_and_what_must_be_there_is_required() {
    let chat = super::CHAT.schema();
    assert_eq!(chat["required"], json!(["messages"]));
    let options = &chat["properties"]["stream_options"]["properties"];
    assert_eq!(options["include_usage"]["type"], "boolean");
    let temperature = &chat["properties"]["temperature"];
    assert_eq!(
        (&temperature["minimum"], &temperature["maximum"]),
        (&json!(0.0), &json!(2.0))
    );
    assert!(FIELDS.len() > 20);
}

#[test]
fn nothing_is_noted_while_no_schema_is_made() {
    let body = super::record::begin_body();
    super::record::note(body, || unreachable!("nobody asked"), Kind::Any);
}

#[test]
fn a_body_read_as_another_has_its_own_fields_and_the_others_ranges() {
    let read = |body: Value| {
        let mut fields = crate::fields::Fields::of_body(body)?;
        let temperature = fields.take("temperature");
        let inner = json!({"messages": [{"role": "user"}], "temperature": temperature});
        crate::ChatRequest::from_json(inner).map(drop)?;
        fields.string("after").map(drop)
    };
    let notes = super::record::during(|| drop(read(json!({}))));
    let names: Vec<&str> = notes.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["temperature", "after"]);
    assert!(
        matches!(notes[0].1, Kind::Number { max: 2.0, .. }),
        "{notes:?}"
    );
}
