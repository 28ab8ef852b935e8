//! Schemas, regular expressions and grammars of a seed: those of our data changed in many ways, and some made up.

mod words;

use std::fs;

use anyhow::Context;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use words::{FORMATS, KEYWORDS, LARK_WORDS, LARKS, NAMES, NUMBERS, PATTERNS, TYPES};

use super::{
    Wanted,
    hostile::{self, Asked},
};
use crate::manifest;

/// Longer texts are not taken as a beginning: of what is merely long nothing is learned a hundred thousand times.
const LONGEST: usize = 20_000;
/// How deep schemas are made up.
const DEEPEST: u32 = 4;

/// What is changed.
pub struct Junk {
    schemas: Vec<Value>,
    regexes: Vec<String>,
    larks: Vec<String>,
}

impl Junk {
    /// Reads our data.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read() -> anyhow::Result<Self> {
        let mut junk = Self {
            schemas: Vec::new(),
            regexes: PATTERNS.iter().map(|it| (*it).to_owned()).collect(),
            larks: LARKS.iter().map(|it| (*it).to_owned()).collect(),
        };
        for entry in fs::read_dir(manifest::root().join("tests/schemas"))? {
            let path = entry?.path();
            for line in fs::read_to_string(&path)?.lines() {
                let case: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
                junk.schemas.push(case["schema"].clone());
            }
        }
        for case in hostile::cases() {
            match case.asked() {
                Asked::Schema(text) if text.len() < LONGEST => {
                    junk.schemas
                        .extend(serde_json::from_str::<Value>(&text).ok());
                }
                Asked::Regex(regex) if regex.len() < LONGEST => junk.regexes.push(regex),
                Asked::Lark(lark) if lark.len() < LONGEST => junk.larks.push(lark),
                Asked::Schema(_) | Asked::Regex(_) | Asked::Lark(_) | Asked::Fields(_) => {}
            }
        }
        Ok(junk)
    }

    /// What this seed makes.
    pub fn wanted(&self, seed: u64) -> Wanted {
        let mut maker = Maker {
            random: ChaCha8Rng::seed_from_u64(seed),
            junk: self,
        };
        match maker.random.random_range(0..20) {
            0..10 => Wanted::Schema(maker.changed_schema().to_string()),
            10..13 => Wanted::Schema(maker.schema(DEEPEST).to_string()),
            13 => {
                let schema = maker.changed_schema().to_string();
                Wanted::Schema(maker.scratched(schema))
            }
            14..17 => Wanted::Regex(maker.changed_text(&self.regexes, PATTERNS)),
            _ => Wanted::Lark(maker.changed_text(&self.larks, LARK_WORDS)),
        }
    }
}

/// One seed at work.
struct Maker<'a> {
    random: ChaCha8Rng,
    junk: &'a Junk,
}

impl Maker<'_> {
    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.random).expect("not empty").clone()
    }

    fn often(&mut self, one_in: u32) -> bool {
        self.random.random_ratio(1, one_in)
    }

    /// A schema of ours with one to four places changed.
    fn changed_schema(&mut self) -> Value {
        let mut schema = self.one(&self.junk.schemas);
        for _ in 0..self.random.random_range(1..5) {
            let places = count(&schema);
            let at = self.random.random_range(0..places);
            if let Some(place) = place(&mut schema, &mut { at }) {
                self.change(place);
            }
        }
        schema
    }

    fn change(&mut self, place: &mut Value) {
        match place {
            Value::Object(members) if !self.often(5) => match self.random.random_range(0..5) {
                0 => {
                    let keys: Vec<String> = members.keys().cloned().collect();
                    if let Some(key) = keys.choose(&mut self.random) {
                        members.shift_remove(key);
                    }
                }
                1 => {
                    let keys: Vec<String> = members.keys().cloned().collect();
                    if let Some(key) = keys.choose(&mut self.random)
                        && let Some(value) = members.shift_remove(key)
                    {
                        let other = self.one(KEYWORDS);
                        members.insert(other.to_owned(), value);
                    }
                }
                _ => {
                    let keyword = self.one(KEYWORDS);
                    let value = self.value(keyword, 2);
                    members.insert(keyword.to_owned(), value);
                }
            },
            Value::Array(items) if !self.often(5) => match self.random.random_range(0..3) {
                0 => {
                    items.pop();
                }
                1 => items.extend(items.clone()),
                _ => items.push(self.schema(1)),
            },
            Value::Number(_) => *place = self.number(),
            Value::String(_) if !self.often(3) => *place = self.text(),
            other => {
                *other = match self.random.random_range(0..4) {
                    0 => self.one(&self.junk.schemas),
                    1 => json!([other.take()]),
                    2 => json!({"anyOf": [other.take(), self.schema(1)]}),
                    _ => self.schema(2),
                }
            }
        }
    }

    /// A schema of a few keywords, most with values that fit them.
    fn schema(&mut self, depth: u32) -> Value {
        if depth == 0 || self.often(8) {
            return match self.random.random_range(0..6) {
                0 => true.into(),
                1 => false.into(),
                2 => json!({"$ref": "#"}),
                3 => json!({"type": "string", "maxLength": 5}),
                4 => json!({"type": self.one(TYPES)}),
                _ => json!({}),
            };
        }
        let mut members = Map::new();
        if !self.often(4) {
            members.insert("type".into(), self.value("type", depth));
        }
        for _ in 0..self.random.random_range(0..5) {
            let keyword = if self.often(3) {
                self.one(KEYWORDS)
            } else {
                self.one(&KEYWORDS[..26])
            };
            let value = self.value(keyword, depth);
            members.insert(keyword.to_owned(), value);
        }
        Value::Object(members)
    }

    fn value(&mut self, keyword: &str, depth: u32) -> Value {
        let depth = depth.saturating_sub(1);
        if self.often(25) {
            return self.schema(depth);
        }
        match keyword {
            "type" if self.often(5) => json!([self.one(TYPES), self.one(TYPES)]),
            "type" => self.one(TYPES).into(),
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                let mut members = Map::new();
                for _ in 0..self.random.random_range(0..5) {
                    let of = if keyword == "patternProperties" {
                        PATTERNS
                    } else {
                        NAMES
                    };
                    let name = self.one(of).to_owned();
                    let schema = self.schema(depth);
                    members.insert(name, schema);
                }
                members.into()
            }
            "required" => (0..self.random.random_range(0..3))
                .map(|_| self.one(NAMES))
                .collect::<Vec<_>>()
                .into(),
            "enum" => (0..self.random.random_range(0..5))
                .map(|_| self.constant(2))
                .collect(),
            "const" | "default" => self.constant(3),
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => (0..self.random.random_range(0..4))
                .map(|_| self.schema(depth))
                .collect(),
            "pattern" => self.one(&self.junk.regexes).into(),
            "format" => self.one(FORMATS).into(),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                self.number()
            }
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties"
            | "maxProperties" => match self.often(10) {
                true => self.number(),
                false => self.random.random_range(0..8_u8).into(),
            },
            "$ref" | "$dynamicRef" => self
                .one(&[
                    "#",
                    "#/$defs/a",
                    "#/properties/a",
                    "#/$defs/",
                    "x",
                    "#a",
                    "http://127.0.0.1:9/",
                ])
                .into(),
            "$schema" => self
                .one(&[
                    "http://json-schema.org/draft-07/schema#",
                    "https://json-schema.org/draft/2020-12/schema",
                    "x",
                ])
                .into(),
            "x-guidance" => json!({"lenient": true, "whitespace_flexible": self.often(2)}),
            "uniqueItems" | "nullable" | "unevaluatedProperties" => self.often(2).into(),
            "title" | "description" | "$id" | "$anchor" | "contentEncoding" | "maxLenght"
            | "typ" => self.text(),
            "dependentRequired" => json!({"a": ["b"]}),
            _ => self.schema(depth),
        }
    }

    fn constant(&mut self, depth: u32) -> Value {
        match self.random.random_range(0..if depth > 0 { 6 } else { 4 }) {
            0 => Value::Null,
            1 => self.often(2).into(),
            2 => self.number(),
            3 => self.text(),
            4 => json!([self.constant(depth - 1), self.constant(depth - 1)]),
            _ => json!({self.one(NAMES): self.constant(depth - 1)}),
        }
    }

    fn number(&mut self) -> Value {
        let number = self.one(NUMBERS);
        match number.fract() == 0.0 && number.abs() < 1e15 && !self.often(4) {
            true => (number as i64).into(),
            false => number.into(),
        }
    }

    fn text(&mut self) -> Value {
        match self.random.random_range(0..6) {
            0 => self.one(TYPES).into(),
            1 => self.one(FORMATS).into(),
            2 => self.one(&self.junk.regexes).into(),
            3 => self
                .one(&[
                    "<|im_end|>",
                    "<tool_call>",
                    "</think>",
                    "\u{0}",
                    "\u{10ffff}",
                    "\\",
                    "\n\t",
                ])
                .into(),
            _ => self.one(NAMES).into(),
        }
    }

    /// One of these texts with pieces of others, or scratched.
    fn changed_text(&mut self, texts: &[String], pieces: &[&str]) -> String {
        let mut text = self.one(texts);
        for _ in 0..self.random.random_range(0..3) {
            let at = self.border(&text);
            let piece = self.one(pieces);
            text.insert_str(at, piece);
        }
        match self.random.random_range(0..4) {
            0 => self.scratched(text),
            1 => {
                let other = self.one(texts);
                let (at, from) = (self.border(&text), self.border(&other));
                format!("{}{}", &text[..at], &other[from..])
            }
            _ => text,
        }
    }

    /// The text without a piece, or with a piece twice, or with a letter that is not its own.
    fn scratched(&mut self, mut text: String) -> String {
        let (one, other) = (self.border(&text), self.border(&text));
        let (from, to) = (one.min(other), one.max(other).min(one.min(other) + 40));
        let to = (to..=text.len())
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(text.len());
        match self.random.random_range(0..3) {
            0 => text.replace_range(from..to, ""),
            1 => {
                let piece = text[from..to].to_owned();
                text.insert_str(from, &piece);
            }
            _ => {
                let letter = self.one(&[
                    "\"", "{", "}", "[", ",", "\\", "9", "(", "é", "\u{0}", "/", "|",
                ]);
                text.insert_str(from, letter);
            }
        }
        text
    }

    fn border(&mut self, text: &str) -> usize {
        let at = self.random.random_range(0..=text.len());
        (0..=at)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0)
    }
}

/// How many values there are in a value, itself among them.
fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// The value with this number, counted as `count` does.
fn place<'v>(value: &'v mut Value, at: &mut usize) -> Option<&'v mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Object(members) => members.values_mut().find_map(|inner| place(inner, at)),
        Value::Array(items) => items.iter_mut().find_map(|inner| place(inner, at)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_thing() {
        let junk = Junk::read().expect("our data");
        for seed in 0..200 {
            assert_eq!(junk.wanted(seed), junk.wanted(seed));
        }
    }
}
