//! Whether an answer is what the OpenAPI document says of it.

use serde_json::{Value, json};

/// Holds a value against the schema of this name; a schema that takes anything fails too.
pub fn check(document: &Value, name: &str, value: &Value) {
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?} in {value}");
    assert!(!validator.is_valid(&json!({})), "{name} says something");
}
