//! Vets a stranger's JSON Schema against a white list, and hands on no more than what was vetted.
//!
//! llguidance passes over what it does not know, and over much that it knows in part: unknown keywords and typos, keywords
//! newer than the declared draft, `nullable`, contentEncoding, digits beyond f64, escapes in references. Whoever sent such a
//! schema would get answers that break it. So every keyword is one of these: enforced, an annotation, or refused by name and
//! place.
//!
//! Invariants: the schema handed on holds keywords that llguidance honours and nothing else, so `x-guidance`, `$schema` and
//! annotations never reach it; it allows no value that the given one forbids. Recursion is bounded by
//! [`limits::MAX_SCHEMA_DEPTH`].

mod closing;
mod conjunctions;
mod disjoint;
mod formats;
mod json;
mod keywords;
mod numbers;
mod references;

use serde_json::{Map, Value, json};

use self::{
    json::Unique,
    keywords::{Draft, Keyword, keyword, unknown},
    numbers::Multiples,
    references::References,
};
use crate::{ConstrainError, limits, pattern};

/// The schema to enforce in place of this one.
///
/// # Errors
/// [`ConstrainError::Json`] or [`ConstrainError::Schema`].
pub(crate) fn vetted(text: &str) -> Result<Value, ConstrainError> {
    if text.len() > limits::MAX_SCHEMA_BYTES {
        return Err(refusal(
            "#",
            format!(
                "it has {} bytes, the limit is {}",
                text.len(),
                limits::MAX_SCHEMA_BYTES
            ),
        ));
    }
    let parsed: Result<Unique, _> = serde_json::from_str(text);
    let Unique(root) = parsed.map_err(|error| ConstrainError::Json(error.to_string()))?;
    let mut walk = Walk {
        draft: Draft::declared(&root)?,
        root: &root,
        bounds_numbers: numbers::may_bound(text),
        path: Vec::new(),
        depth: 0,
        references: References::default(),
        multiples: Multiples::default(),
        properties: 0,
        enum_values: 0,
    };
    let (mut vetted, depth) = walk.schema(&root)?;
    walk.references.check(depth)?;
    walk.multiples.check()?;
    conjunctions::check(&vetted)?;
    closing::close(&mut vetted);
    Ok(vetted)
}

/// The schema of a tool's arguments, which are an object whatever else a schema allows, and a closed one even if there are none.
///
/// # Errors
/// As [`vetted`]; [`ConstrainError::Schema`] for a root that is to be something else, or something else as well.
pub fn arguments_schema(text: &str) -> Result<String, ConstrainError> {
    let mut schema = match vetted(text)? {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    let elsewhere = ["$ref", "allOf", "anyOf", "oneOf", "enum", "const"];
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "object" => {}
        Some(kind) => {
            return Err(refusal(
                "#/type",
                format!(
                    "a tool's arguments are an object, so \"type\" must be \"object\", not {kind}"
                ),
            ));
        }
        None if elsewhere.iter().any(|key| schema.contains_key(*key)) => {}
        None => {
            schema.insert("type".to_owned(), json!("object"));
        }
    }
    let nothing = |properties: &Value| properties.as_object().is_some_and(Map::is_empty);
    let takes_nothing = schema.get("properties").is_some_and(nothing);
    let is_alone = !elsewhere.iter().any(|key| schema.contains_key(*key));
    if takes_nothing && is_alone && closing::is_left_open(&schema) {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    Ok(Value::Object(schema).to_string())
}

pub(crate) fn refusal(pointer: &str, problem: impl Into<String>) -> ConstrainError {
    ConstrainError::Schema {
        pointer: pointer.to_owned(),
        problem: problem.into(),
    }
}

/// What a walk through one schema knows.
struct Walk<'a> {
    root: &'a Value,
    draft: Option<Draft>,
    /// Whether numbers get the bounds that they have not.
    bounds_numbers: bool,
    /// Keys and indices from the root to where it is.
    path: Vec<String>,
    /// Schemas it is in.
    depth: usize,
    references: References,
    multiples: Multiples,
    properties: usize,
    enum_values: usize,
}

/// A schema to hand on, and how deep schemas nest in it.
type Vetted = (Value, usize);

impl Walk<'_> {
    fn refuse<T>(&self, problem: impl Into<String>) -> Result<T, ConstrainError> {
        Err(refusal(&pointer(&self.path), problem))
    }

    /// What `check` makes of something one step further.
    fn below<T>(
        &mut self,
        step: &str,
        check: impl FnOnce(&mut Self) -> Result<T, ConstrainError>,
    ) -> Result<T, ConstrainError> {
        self.path.push(step.to_owned());
        let checked = check(self);
        self.path.pop();
        checked
    }

    fn schema(&mut self, schema: &Value) -> Result<Vetted, ConstrainError> {
        let object = match schema {
            Value::Bool(_) => return Ok((schema.clone(), 1)),
            Value::Object(object) => object,
            _ => return self.refuse("a schema is an object or a boolean"),
        };
        if self.depth == limits::MAX_SCHEMA_DEPTH {
            let limit = limits::MAX_SCHEMA_DEPTH;
            return self.refuse(format!("schemas nest deeper than {limit} levels"));
        }
        self.depth += 1;
        let outer = self.draft;
        if object.contains_key("$schema") {
            // A schema within another one may be of a draft of its own.
            self.draft = Draft::declared(schema)?;
        }
        let (mut vetted, mut deepest) = (Map::new(), 0);
        for (key, value) in object {
            let handed_on =
                self.below(key, |walk| walk.keyword(key, value, object, &mut deepest))?;
            if let Some(value) = handed_on {
                vetted.insert(key.clone(), value);
            }
        }
        self.depth -= 1;
        self.draft = outer;
        self.count_optional(object)?;
        self.multiples.note_siblings(object);
        self.references.note_schema(&self.path, deepest + 1);
        formats::narrow(&mut vetted);
        if self.bounds_numbers {
            numbers::bound(&mut vetted);
        }
        Ok((self.choose(vetted), deepest + 1))
    }

    /// What is handed on of a keyword: None of an annotation.
    fn keyword(
        &mut self,
        key: &str,
        value: &Value,
        siblings: &Map<String, Value>,
        deepest: &mut usize,
    ) -> Result<Option<Value>, ConstrainError> {
        let Some(kind) = keyword(key) else {
            let others = siblings.keys().filter(|other| *other != key);
            let others = others.filter(|other| keyword(other).is_none());
            let others: Vec<String> = others.map(|other| format!("{other:?}")).collect();
            let also = match others.is_empty() {
                true => String::new(),
                false => format!("; neither is {}", others.join(", ")),
            };
            return self.refuse(unknown(key, value) + &also);
        };
        if let Some(problem) = kind.needs_other_draft(key, value, self.draft) {
            return self.refuse(problem);
        }
        let descend = |(value, depth): Vetted| {
            *deepest = (*deepest).max(depth);
            Some(value)
        };
        match kind {
            Keyword::Annotation => Ok(None),
            Keyword::Id => {
                self.references.note_id(&self.path);
                Ok(None)
            }
            Keyword::Off => match value {
                Value::Bool(false) => Ok(None),
                _ => self.refuse(unknown(key, value)),
            },
            Keyword::Type => self.types(value),
            Keyword::Values => self.values(key, value),
            Keyword::Schema => {
                if key == "additionalItems" && !siblings.get("items").is_some_and(Value::is_array) {
                    return match siblings.contains_key("items") {
                        true => Ok(None),
                        false => self.refuse("it needs \"items\" as a list of schemas"),
                    };
                }
                match value {
                    Value::Array(_) if key == "items" => self.list(value, siblings).map(descend),
                    _ => self.schema(value).map(descend),
                }
            }
            Keyword::Schemas => self.list(value, siblings).map(descend),
            Keyword::Named => self.named(key, value).map(descend),
            Keyword::Names => match value.as_array() {
                Some(names) if names.iter().all(Value::is_string) => Ok(Some(value.clone())),
                _ => self.refuse("it must be a list of property names"),
            },
            Keyword::Reference => self.reference(value),
            Keyword::Count => match value.as_u64() {
                Some(count) if count <= limits::MAX_COUNT => Ok(Some(value.clone())),
                _ => self.refuse(format!(
                    "{value} must be a whole number from 0 to {}",
                    limits::MAX_COUNT
                )),
            },
            Keyword::Bound => self.bound(value, siblings),
            Keyword::Multiple => {
                let path = pointer(&self.path);
                self.multiples.note(&path, value)?;
                Ok(Some(value.clone()))
            }
            Keyword::Pattern => self.pattern(value),
            Keyword::Format => self.format(value, siblings),
        }
    }

    fn types(&self, value: &Value) -> Result<Option<Value>, ConstrainError> {
        let known = |kind: &Value| {
            let kind = kind.as_str();
            kind.is_some_and(|kind| keywords::TYPES.contains(&kind))
        };
        let valid = match value {
            Value::Array(kinds) => !kinds.is_empty() && kinds.iter().all(known),
            kind => known(kind),
        };
        match valid {
            true => Ok(Some(value.clone())),
            false => self.refuse(format!(
                "{value} is not one of {}, or a list of them",
                keywords::TYPES.join(", ")
            )),
        }
    }

    /// The values of a const or an enum.
    fn values(&mut self, key: &str, value: &Value) -> Result<Option<Value>, ConstrainError> {
        let values = match value {
            Value::Array(values) if key == "enum" => values.as_slice(),
            _ if key == "enum" => return self.refuse("it must be a list of values"),
            one => std::slice::from_ref(one),
        };
        if values.is_empty() {
            return self.refuse("it allows no value at all");
        }
        self.enum_values += values.len();
        if self.enum_values > limits::MAX_ENUM_VALUES {
            let limit = limits::MAX_ENUM_VALUES;
            return self.refuse(format!("the enums have more than {limit} values"));
        }
        match values.iter().find_map(numbers::rounded) {
            Some(number) => self.refuse(format!(
                "{number} would be rounded: integers below 2^53 can be enforced"
            )),
            None => Ok(Some(value.clone())),
        }
    }

    /// A list of schemas.
    fn list(
        &mut self,
        value: &Value,
        siblings: &Map<String, Value>,
    ) -> Result<Vetted, ConstrainError> {
        let Some(schemas) = value.as_array().filter(|schemas| !schemas.is_empty()) else {
            return self.refuse("it must be a list of schemas, and not empty");
        };
        if schemas.len() > limits::MAX_ALTERNATIVES {
            return self.refuse(format!(
                "it has {} schemas, the limit is {}",
                schemas.len(),
                limits::MAX_ALTERNATIVES
            ));
        }
        let array_items = self.path.last().is_some_and(|key| key == "items");
        if array_items && siblings.contains_key("prefixItems") {
            return self.refuse("a list of schemas cannot stand beside \"prefixItems\"");
        }
        let (mut vetted, mut deepest) = (Vec::new(), 0);
        for (index, schema) in schemas.iter().enumerate() {
            let (schema, depth) = self.below(&index.to_string(), |walk| walk.schema(schema))?;
            deepest = deepest.max(depth);
            vetted.push(schema);
        }
        Ok((Value::Array(vetted), deepest))
    }

    /// Schemas by name: properties, patterns of properties, definitions.
    fn named(&mut self, key: &str, value: &Value) -> Result<Vetted, ConstrainError> {
        let Some(schemas) = value.as_object() else {
            return self.refuse("it must be an object whose values are schemas");
        };
        if key == "properties" || key == "patternProperties" {
            self.properties += schemas.len();
        }
        if self.properties > limits::MAX_PROPERTIES {
            let limit = limits::MAX_PROPERTIES;
            return self.refuse(format!("the objects have more than {limit} properties"));
        }
        if key == "patternProperties" && schemas.len() > limits::MAX_PATTERN_PROPERTIES {
            let limit = limits::MAX_PATTERN_PROPERTIES;
            return self.refuse(format!("it has more than {limit} patterns"));
        }
        let (mut vetted, mut deepest) = (Map::new(), 0);
        for (name, schema) in schemas {
            let (schema, depth) = self.below(name, |walk| {
                if key == "patternProperties" {
                    walk.pattern(&Value::from(name.as_str()))?;
                }
                walk.schema(schema)
            })?;
            deepest = deepest.max(depth);
            let name = match key {
                "patternProperties" => pattern::with_ecma_spaces(name),
                _ => name.clone(),
            };
            vetted.insert(name, schema);
        }
        Ok((Value::Object(vetted), deepest))
    }

    fn count_optional(&self, object: &Map<String, Value>) -> Result<(), ConstrainError> {
        let properties = object.get("properties").and_then(Value::as_object);
        let count = properties.map_or(0, Map::len);
        if count <= limits::MAX_OPTIONAL_PROPERTIES {
            return Ok(());
        }
        let required = object.get("required").and_then(Value::as_array);
        let optional = count.saturating_sub(required.map_or(0, Vec::len));
        match optional > limits::MAX_OPTIONAL_PROPERTIES {
            true => self.refuse(format!(
                "{optional} properties may be left out, the limit is {}",
                limits::MAX_OPTIONAL_PROPERTIES
            )),
            false => Ok(()),
        }
    }

    fn reference(&mut self, value: &Value) -> Result<Option<Value>, ConstrainError> {
        let Some(target) = value.as_str() else {
            return self.refuse("it must be a string");
        };
        if target != "#" && !target.starts_with("#/") {
            return self.refuse(format!(
                "{target:?} is not in this schema: a reference is \"#\" or starts with \"#/\""
            ));
        }
        if target.contains(['~', '%']) {
            return self.refuse(format!(
                "escapes in a reference are not supported: {target:?}"
            ));
        }
        let path = pointer(&self.path);
        self.references.note_reference(path, target)?;
        Ok(Some(value.clone()))
    }

    fn bound(
        &self,
        value: &Value,
        siblings: &Map<String, Value>,
    ) -> Result<Option<Value>, ConstrainError> {
        if let Value::Bool(_) = value {
            let inclusive = match self.path.last().map(String::as_str) {
                Some("exclusiveMinimum") => "minimum",
                Some("exclusiveMaximum") => "maximum",
                _ => return self.refuse("it must be a number"),
            };
            return match siblings.contains_key(inclusive) {
                true => Ok(Some(value.clone())),
                false => self.refuse(format!("as a boolean it needs {inclusive:?} beside it")),
            };
        }
        let rounded = numbers::rounded(value).filter(|_| !numbers::is_own_bound(value));
        match (value.is_number(), rounded) {
            (true, None) => Ok(Some(value.clone())),
            (true, Some(number)) => {
                self.refuse(format!("{number} would be rounded: it must be below 2^53"))
            }
            (false, _) => self.refuse("it must be a number"),
        }
    }

    fn pattern(&self, value: &Value) -> Result<Option<Value>, ConstrainError> {
        let Some(pattern) = value.as_str() else {
            return self.refuse("it must be a string");
        };
        match pattern::check(pattern) {
            Ok(()) => Ok(Some(Value::from(pattern::with_ecma_spaces(pattern)))),
            Err(problem) => self.refuse(problem),
        }
    }

    /// A format says something of strings only, and there it is enforced.
    fn format(
        &self,
        value: &Value,
        siblings: &Map<String, Value>,
    ) -> Result<Option<Value>, ConstrainError> {
        let Some(format) = value.as_str() else {
            return self.refuse("it must be a string");
        };
        let string = |kind: &Value| kind == "string";
        let of_strings = siblings.get("type").is_none_or(|kind| match kind {
            Value::Array(kinds) => kinds.iter().any(string),
            kind => string(kind),
        });
        match (of_strings, keywords::FORMATS.contains(&format)) {
            (true, true) => Ok(Some(value.clone())),
            (false, _) => Ok(None),
            (true, false) => self.refuse(format!(
                "the format {format:?} cannot be enforced; these can: {}",
                keywords::FORMATS.join(", ")
            )),
        }
    }

    /// oneOf as anyOf, where no value matches two of its schemas: llguidance sees that only without references.
    fn choose(&self, mut schema: Map<String, Value>) -> Value {
        let options = schema.get("oneOf").and_then(Value::as_array);
        let disjoint = options.is_some_and(|options| disjoint::all(options, self.root));
        if disjoint && let Some(options) = schema.shift_remove("oneOf") {
            if let Some(Value::Array(all)) = schema.get_mut("allOf") {
                all.push(json!({ "anyOf": options }));
            } else if schema.contains_key("anyOf") {
                schema.insert("allOf".to_owned(), json!([{ "anyOf": options }]));
            } else {
                schema.insert("anyOf".to_owned(), options);
            }
        }
        Value::Object(schema)
    }
}

/// A path as a JSON pointer in a URI fragment, as far as readers need it: `~` and `/` in names are escaped.
fn pointer(path: &[String]) -> String {
    let mut pointer = String::from("#");
    for step in path {
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

#[cfg(test)]
mod tests;
