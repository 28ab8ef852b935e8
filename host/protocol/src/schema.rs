//! JSON Schemas of the requests, for the OpenAPI document.
//!
//! Invariants: which fields there are, of what type and range, is noted while validation itself reads an example, so the
//! two cannot drift apart; what a field means, and the shape of one that is read as any value, stands in `fields.json`, and
//! a test holds that against validation. A request that a schema refuses may still be taken: validation is lenient with
//! numbers and booleans in strings and takes null for absent, which no schema says.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::{
    anthropic::{self, MessagesRequest},
    chat::ChatRequest,
    completions::CompletionRequest,
    embeddings::EmbeddingRequest,
    generate::GenerateRequest,
    invalid::Invalid,
    responses::ResponsesRequest,
    tokenize::{DetokenizeRequest, TokenizeRequest},
};
use record::{Kind, Note};

pub(crate) mod record;
#[cfg(test)]
mod tests;

/// A kind of request body.
#[derive(Debug)]
pub struct RequestType {
    /// Its name in the document.
    pub name: &'static str,
    /// The request whose fields mean the same.
    like: Option<&'static str>,
    example: &'static str,
    read: fn(Value) -> Result<(), Invalid>,
}

/// `POST /v1/chat/completions`.
pub static CHAT: RequestType = RequestType {
    name: "ChatRequest",
    like: None,
    example: r#"{"messages": [{"role": "user", "content": "Hello!"}]}"#,
    read: |body| ChatRequest::from_json(body).map(drop),
};

/// `POST /v1/completions`.
pub static COMPLETION: RequestType = RequestType {
    name: "CompletionRequest",
    like: None,
    example: r#"{"prompt": "Once upon a time"}"#,
    read: |body| CompletionRequest::from_json(body).map(drop),
};

/// `POST /v1/embeddings`.
pub static EMBEDDING: RequestType = RequestType {
    name: "EmbeddingRequest",
    like: None,
    example: r#"{"input": "A text."}"#,
    read: |body| EmbeddingRequest::from_json(body).map(drop),
};

/// `POST /v1/responses`.
pub static RESPONSES: RequestType = RequestType {
    name: "ResponsesRequest",
    like: None,
    example: r#"{"input": "Hello!"}"#,
    read: |body| ResponsesRequest::from_json(body).map(drop),
};

/// `POST /v1/messages`.
pub static MESSAGES: RequestType = RequestType {
    name: "MessagesRequest",
    like: None,
    example: r#"{"max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}"#,
    read: |body| MessagesRequest::from_json(body).map(drop),
};

/// `POST /v1/messages/count_tokens`.
pub static COUNT_TOKENS: RequestType = RequestType {
    name: "CountTokensRequest",
    like: Some("MessagesRequest"),
    example: r#"{"messages": [{"role": "user", "content": "Hello!"}]}"#,
    read: |body| anthropic::count_tokens(body).map(drop),
};

/// `POST /tokenize`.
pub static TOKENIZE: RequestType = RequestType {
    name: "TokenizeRequest",
    like: None,
    example: r#"{"messages": [{"role": "user", "content": "Hello!"}]}"#,
    read: |body| TokenizeRequest::from_json(body).map(drop),
};

/// `POST /detokenize`.
pub static DETOKENIZE: RequestType = RequestType {
    name: "DetokenizeRequest",
    like: None,
    example: r#"{"tokens": [1, 2, 3]}"#,
    read: |body| DetokenizeRequest::from_json(body).map(drop),
};

/// `POST /generate`.
pub static GENERATE: RequestType = RequestType {
    name: "GenerateRequest",
    like: None,
    example: r#"{"prompt": "Once upon a time"}"#,
    read: |body| GenerateRequest::from_json(body).map(drop),
};

/// All of them; a new one is one line here and its fields' meanings in `fields.json`.
pub static REQUESTS: &[&RequestType] = &[
    &CHAT,
    &COMPLETION,
    &EMBEDDING,
    &RESPONSES,
    &MESSAGES,
    &COUNT_TOKENS,
    &TOKENIZE,
    &DETOKENIZE,
    &GENERATE,
];

/// What fields mean: by the request's name and the field's path, or by the path alone.
///
/// `description` is one sentence. `schema` is laid over what was noted, all there is of a field that is read as any value.
/// `with` holds fields that must stand beside it; `accepts` and `refuses` are values for the test, `judged` false keeps it from
/// trying others: what is right depends on more than the field.
static FIELDS: LazyLock<Map<String, Value>> =
    LazyLock::new(
        || match serde_json::from_str(include_str!("schema/fields.json")) {
            Ok(fields) => fields,
            Err(error) => unreachable!("the tests read fields.json: {error}"),
        },
    );

impl RequestType {
    /// A body that is right and says no more than it must.
    pub fn example(&self) -> Value {
        serde_json::from_str(self.example).unwrap_or_default()
    }

    /// Whether a body is right.
    ///
    /// # Errors
    /// The first field that is wrong or not built.
    pub fn check(&self, body: Value) -> Result<(), Invalid> {
        (self.read)(body)
    }

    /// The schema of its body.
    pub fn schema(&self) -> Value {
        let mut properties = Map::new();
        for (path, kind) in self.notes() {
            let field = self.field(&path);
            let mut schema = schema_of(kind);
            let shape = field.get("schema").and_then(Value::as_object);
            schema.extend(shape.cloned().unwrap_or_default());
            let meaning = field.get("description").and_then(Value::as_str);
            if let Some(text) = description(kind, meaning) {
                schema.insert("description".to_owned(), text.into());
            }
            place(&mut properties, &path, Value::Object(schema));
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": self.required(),
            "example": self.example(),
        })
    }

    /// Whether some field of it is known and not built.
    pub fn has_fields_not_built(&self) -> bool {
        self.notes().iter().any(|(_, kind)| *kind == Kind::NotBuilt)
    }

    /// What `fields.json` says of a field: of its path alone, and laid over that, of this request's, or of the one it is like.
    fn field(&self, path: &str) -> Map<String, Value> {
        let own = [self.like, Some(self.name)].into_iter().flatten();
        let own = own.map(|name| format!("{name}.{path}"));
        let entries = [path.to_owned()]
            .into_iter()
            .chain(own)
            .filter_map(|key| FIELDS.get(&key)?.as_object());
        entries
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Values of the field that are right, or wrong.
    fn values(&self, path: &str, key: &str) -> impl Iterator<Item = Value> + use<> {
        let values = self.field(path).remove(key);
        let list = values.and_then(|values| values.as_array().cloned());
        list.unwrap_or_default().into_iter()
    }

    /// The example with this field, and with what must stand beside it.
    fn example_with(&self, path: &str, value: Value) -> Value {
        let mut body = self.example();
        let beside = self.field(path).remove("with");
        let beside = beside.and_then(|beside| beside.as_object().cloned());
        if let Value::Object(body) = &mut body {
            body.extend(beside.unwrap_or_default());
            place(body, path, value);
        }
        body
    }

    /// Every field that is read, those within objects too.
    fn notes(&self) -> Vec<Note> {
        // What is wrong with an example, the test says.
        let read = |body| record::during(|| drop((self.read)(body)));
        let mut notes = read(self.example());
        let mut next = 0;
        while let Some((path, kind)) = notes.get(next).cloned() {
            next += 1;
            if kind == Kind::Object {
                let inside = format!("{path}.");
                for value in self.values(&path, "accepts").chain([json!({})]) {
                    for note in read(self.example_with(&path, value)) {
                        if note.0.starts_with(&inside)
                            && notes.iter().all(|known| known.0 != note.0)
                        {
                            notes.push(note);
                        }
                    }
                }
            }
        }
        notes
    }

    /// The fields of the example that it is wrong without.
    fn required(&self) -> Vec<String> {
        let Value::Object(example) = self.example() else {
            return Vec::new();
        };
        let is_required = |name: &&String| {
            let mut rest = example.clone();
            rest.remove(*name);
            (self.read)(Value::Object(rest)).is_err()
        };
        example.keys().filter(is_required).cloned().collect()
    }
}

fn schema_of(kind: Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Any | Kind::NotBuilt | Kind::WithoutEffect => json!({}),
        Kind::Number { min, above, max } => {
            let least = if above { "exclusiveMinimum" } else { "minimum" };
            json!({"type": "number", least: min, "maximum": max})
        }
        Kind::Integer => json!({"type": "integer"}),
        Kind::Count {
            min,
            max: usize::MAX,
        } => json!({"type": "integer", "minimum": min}),
        Kind::Count { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Object => json!({"type": "object", "properties": {}}),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn description(kind: Kind, meaning: Option<&str>) -> Option<String> {
    let note = match kind {
        Kind::NotBuilt => "Not built: 501 unless its value asks for nothing.",
        Kind::WithoutEffect => "Accepted; changes nothing in the answer.",
        _ => return meaning.map(str::to_owned),
    };
    Some(match meaning {
        Some(meaning) => format!("{meaning} {note}"),
        None => note.to_owned(),
    })
}

/// Puts a field at its path: within `properties` of a schema, or within an object of a body that is there.
fn place(fields: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(fields.insert(path.to_owned(), value)),
        Some((outer, inner)) => {
            let object = fields.entry(outer).or_insert_with(|| json!({}));
            let object = match object.get("properties").is_some() {
                true => &mut object["properties"],
                false => object,
            };
            if let Value::Object(object) = object {
                place(object, inner, value);
            }
        }
    }
}
