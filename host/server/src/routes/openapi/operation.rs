//! One route of the document: what it takes, what it gives, how it fails.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use weir_protocol::{ErrorEnvelope, schema::RequestType};

/// Puts a type's schema and those it needs into `schemas`; answers a reference to it.
pub(super) fn reference<T: ToSchema>(schemas: &mut Map<String, Value>) -> Value {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    for (name, schema) in all {
        // Schemas have string keys and finite numbers.
        schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
    json!({"$ref": format!("#/components/schemas/{}", T::name())})
}

/// What stands in an answer with status 200.
#[derive(Clone, Copy)]
enum Answer {
    /// JSON of a type.
    Json(fn(&mut Map<String, Value>) -> Value),
    /// Pieces of this media type, each with JSON of a type.
    Stream(&'static str, fn(&mut Map<String, Value>) -> Value),
    /// Text of this media type, whose inside is not described.
    Text(&'static str),
}

/// What a route takes.
#[derive(Clone, Copy)]
enum Body {
    /// A request whose schema is noted by what validates it.
    Request(&'static RequestType),
    /// JSON of a type, with an example.
    Json(fn(&mut Map<String, Value>) -> Value, &'static str),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// A route with a method.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    body: Option<Body>,
    answers: Vec<Answer>,
    errors: &'static [u16],
    error: fn(&mut Map<String, Value>) -> Value,
}

/// A GET route.
pub(super) fn get(path: &'static str, summary: &'static str) -> Operation {
    Operation::new("get", path, summary)
}

/// A POST route.
pub(super) fn post(path: &'static str, summary: &'static str) -> Operation {
    Operation::new("post", path, summary)
}

/// A DELETE route.
pub(super) fn delete(path: &'static str, summary: &'static str) -> Operation {
    Operation::new("delete", path, summary)
}

impl Operation {
    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            body: None,
            answers: Vec::new(),
            errors: &[],
            error: reference::<ErrorEnvelope>,
        }
    }

    /// It takes a JSON body. One with fields that are not built can fail with 501.
    pub(super) fn reads(mut self, request: &'static RequestType) -> Self {
        self.body = Some(Body::Request(request));
        self
    }

    /// It takes JSON that is read as this type, such as `example`.
    pub(super) fn takes<T: ToSchema>(mut self, example: &'static str) -> Self {
        self.body = Some(Body::Json(reference::<T>, example));
        self
    }

    /// It takes bytes.
    pub(super) fn takes_bytes(mut self, media_type: &'static str) -> Self {
        self.body = Some(Body::Bytes(media_type));
        self
    }

    /// It answers with JSON.
    pub(super) fn gives<T: ToSchema>(mut self) -> Self {
        self.answers.push(Answer::Json(reference::<T>));
        self
    }

    /// It answers with events when the request asks for a stream.
    pub(super) fn streams<T: ToSchema>(mut self) -> Self {
        let events = Answer::Stream("text/event-stream", reference::<T>);
        self.answers.push(events);
        self
    }

    /// It answers with records that each end with a zero byte.
    pub(super) fn streams_records<T: ToSchema>(mut self) -> Self {
        let records = Answer::Stream("application/octet-stream", reference::<T>);
        self.answers.push(records);
        self
    }

    /// It answers with text of this media type.
    pub(super) fn gives_text(mut self, media_type: &'static str) -> Self {
        self.answers.push(Answer::Text(media_type));
        self
    }

    /// The statuses of its errors. With 401 among them it needs a key.
    pub(super) fn fails(mut self, statuses: &'static [u16]) -> Self {
        self.errors = statuses;
        self
    }

    /// Its errors come in an envelope that is not OpenAI's.
    pub(super) fn errs<T: ToSchema>(mut self) -> Self {
        self.error = reference::<T>;
        self
    }

    /// Its entry in the document.
    pub(super) fn describe(&self, schemas: &mut Map<String, Value>) -> Value {
        let mut described = json!({
            "operationId": format!("{}{}", self.method, self.path.replace(['/', '{', '}', '.'], "_")),
            "summary": self.summary,
            "responses": self.responses(schemas),
        });
        if let Some(body) = self.body {
            let content = body.describe(schemas);
            described["requestBody"] = json!({"required": true, "content": content});
        }
        let names = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<Value> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
            .collect();
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if self.errors.contains(&401) {
            described["security"] = json!([{}, {"key": []}, {"x-api-key": []}]);
        }
        described
    }

    fn responses(&self, schemas: &mut Map<String, Value>) -> Value {
        let mut content = Map::new();
        for answer in &self.answers {
            let (media_type, described) = match answer {
                Answer::Json(reference) => {
                    ("application/json", json!({"schema": reference(schemas)}))
                }
                // OpenAPI 3.1 has no words for what a stream is made of; 3.2 calls it `itemSchema`.
                Answer::Stream(media_type, reference) => (
                    *media_type,
                    json!({"schema": {}, "x-itemSchema": reference(schemas)}),
                ),
                Answer::Text(media_type) => (*media_type, json!({"schema": {}})),
            };
            content.insert(media_type.to_owned(), described);
        }
        let mut responses = Map::new();
        responses.insert(
            "200".to_owned(),
            json!({"description": "OK", "content": content}),
        );
        let not_built = match self.body {
            Some(Body::Request(request)) => request.has_fields_not_built(),
            _ => false,
        };
        let errors = self.errors.iter().copied();
        for status in errors.chain(not_built.then_some(501)) {
            let error = (self.error)(schemas);
            let name = StatusCode::from_u16(status).ok();
            let reason = name.and_then(|status| status.canonical_reason());
            let described = json!({
                "description": reason.unwrap_or_default(),
                "content": {"application/json": {"schema": error}},
            });
            responses.insert(status.to_string(), described);
        }
        Value::Object(responses)
    }
}

impl Body {
    fn describe(self, schemas: &mut Map<String, Value>) -> Value {
        match self {
            Self::Request(request) => {
                schemas.insert(request.name.to_owned(), request.schema());
                let schema = json!({"$ref": format!("#/components/schemas/{}", request.name)});
                json!({"application/json": {"schema": schema, "example": request.example()}})
            }
            Self::Json(reference, example) => {
                let example: Value = serde_json::from_str(example).unwrap_or_default();
                json!({"application/json": {"schema": reference(schemas), "example": example}})
            }
            Self::Bytes(media_type) => json!({media_type: {"schema": {}}}),
        }
    }
}
