//! Takes the fields of a request object one by one, with ranges; what is left over at the end is unknown.
//!
//! A field that is null is absent, as OpenAI's clients mean it.

use serde_json::{Map, Value};

use crate::{
    invalid::Invalid,
    lenient,
    schema::record::{self, Kind},
};

/// The fields of a request that were not read yet.
pub(crate) struct Fields {
    left: Map<String, Value>,
    /// Where the object stands in the request, with its dot ("stream_options."); empty for the body.
    prefix: String,
    /// The body's number among those of which notes are taken.
    number: usize,
    /// Names of parts of it that mean nothing here.
    ignored: Vec<String>,
}

impl Fields {
    /// The fields of the request body.
    pub(crate) fn of_body(body: Value) -> Result<Self, Invalid> {
        match body {
            Value::Object(left) => Ok(Self {
                left,
                prefix: String::new(),
                number: record::begin_body(),
                ignored: Vec::new(),
            }),
            other => {
                let mut invalid = Invalid::expected("body", "a JSON object", &other);
                invalid.param = None;
                Err(invalid)
            }
        }
    }

    /// The fields of the object in field `name`, if it is there.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Fields>, Invalid> {
        self.note(name, Kind::Object);
        match self.take(name) {
            None => Ok(None),
            Some(value) => Ok(Some(Self {
                number: self.number,
                ..Self::at(&self.path(name), value)?
            })),
        }
    }

    /// The fields of the object `value`, which stands at `path`; no notes are taken of them.
    pub(crate) fn at(path: &str, value: Value) -> Result<Self, Invalid> {
        match value {
            Value::Object(left) => Ok(Self {
                left,
                prefix: format!("{path}."),
                number: record::NO_BODY,
                ignored: Vec::new(),
            }),
            other => Err(Invalid::expected(path, "an object", &other)),
        }
    }

    /// The field's path from the body.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Says what is read of a field to whoever makes its schema; the first word counts.
    fn note(&self, name: &str, kind: Kind) {
        record::note(self.number, || self.path(name), kind);
    }

    /// The field's value, unless absent or null.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.note(name, Kind::Any);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// A number within `min..=max`, or above `min` if `above`.
    fn number_in(
        &mut self,
        name: &str,
        min: f64,
        above: bool,
        max: f64,
    ) -> Result<Option<f32>, Invalid> {
        self.note(name, Kind::Number { min, above, max });
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match lenient::number(&value) {
            // Parameters of sampling are f32 in the engine; the range keeps them small.
            #[allow(clippy::cast_possible_truncation)]
            Some(number) if number <= max && (number > min || (!above && number >= min)) => {
                Ok(Some(number as f32))
            }
            _ => {
                let expected = if above {
                    format!("a number above {min} and at most {max}")
                } else {
                    format!("a number between {min} and {max}")
                };
                Err(Invalid::expected(self.path(name), &expected, &value))
            }
        }
    }

    /// A number within `min..=max`.
    pub(crate) fn number(
        &mut self,
        name: &str,
        min: f64,
        max: f64,
    ) -> Result<Option<f32>, Invalid> {
        self.number_in(name, min, false, max)
    }

    /// A number above `min`, at most `max`.
    pub(crate) fn number_above(
        &mut self,
        name: &str,
        min: f64,
        max: f64,
    ) -> Result<Option<f32>, Invalid> {
        self.number_in(name, min, true, max)
    }

    /// Any whole number of 64 bits.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, Invalid> {
        self.note(name, Kind::Integer);
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match lenient::integer(&value) {
            Some(integer) => Ok(Some(integer)),
            None => Err(Invalid::expected(self.path(name), "an integer", &value)),
        }
    }

    /// A count within `min..=max`.
    pub(crate) fn count(
        &mut self,
        name: &str,
        min: usize,
        max: usize,
    ) -> Result<Option<usize>, Invalid> {
        self.note(name, Kind::Count { min, max });
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let count = lenient::integer(&value).and_then(|integer| usize::try_from(integer).ok());
        match count.filter(|count| (min..=max).contains(count)) {
            Some(count) => Ok(Some(count)),
            None => {
                let expected = if max == usize::MAX {
                    format!("an integer of at least {min}")
                } else {
                    format!("an integer between {min} and {max}")
                };
                Err(Invalid::expected(self.path(name), &expected, &value))
            }
        }
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Invalid> {
        self.note(name, Kind::Boolean);
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match lenient::boolean(&value) {
            Some(boolean) => Ok(Some(boolean)),
            None => Err(Invalid::expected(self.path(name), "true or false", &value)),
        }
    }

    /// A string.
    pub(crate) fn string(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        self.note(name, Kind::Text);
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Invalid::expected(self.path(name), "a string", &other)),
        }
    }

    /// One of these words.
    pub(crate) fn word(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Invalid> {
        self.note(name, Kind::Text);
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let given = value.as_str();
        match words.iter().copied().find(|word| given == Some(*word)) {
            Some(word) => Ok(Some(word)),
            None => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                let expected = quoted.join(" or ");
                Err(Invalid::expected(self.path(name), &expected, &value))
            }
        }
    }

    /// A string that must be there.
    pub(crate) fn required_string(&mut self, name: &str) -> Result<String, Invalid> {
        self.string(name)?
            .ok_or_else(|| Invalid::expected(self.path(name), "a string", &Value::Null))
    }

    /// Whether the field is there and has such a value.
    pub(crate) fn is(&self, name: &str, such: impl Fn(&Value) -> bool) -> bool {
        self.left.get(name).is_some_and(such)
    }

    /// Refuses a field that is known but not built, unless its value asks for nothing.
    pub(crate) fn not_built(
        &mut self,
        name: &str,
        asks_nothing: impl Fn(&Value) -> bool,
    ) -> Result<(), Invalid> {
        self.note(name, Kind::NotBuilt);
        match self.take(name) {
            Some(value) if !asks_nothing(&value) => {
                Err(Invalid::not_implemented(self.path(name), "this field"))
            }
            _ => Ok(()),
        }
    }

    /// Takes fields that change nothing in an answer.
    pub(crate) fn accept(&mut self, names: &[&str]) {
        for name in names {
            self.note(name, Kind::WithoutEffect);
            self.left.remove(*name);
        }
    }

    /// Lists names among those that nobody asked for.
    pub(crate) fn ignore(&mut self, names: Vec<String>) {
        self.ignored.extend(names);
    }

    /// The paths of the fields nobody asked for, sorted.
    pub(crate) fn unknown(self) -> Vec<String> {
        let Self {
            left,
            prefix,
            ignored,
            ..
        } = self;
        let left = left.into_iter().map(|(name, _)| format!("{prefix}{name}"));
        let mut names: Vec<String> = left.chain(ignored).collect();
        names.sort_unstable();
        names
    }
}
