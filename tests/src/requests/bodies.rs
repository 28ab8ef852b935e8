//! Bodies made of good ones: nodes of the JSON tree changed, then now and then bytes of its text.

use std::fs;

use anyhow::Context;
use serde_json::{Map, Value, json};
use weir_corpus::fuzz::Random;
use weir_protocol::schema::RequestType;

use crate::corpora::corpora;

/// Nodes that one body has changed beside the first.
const MOST_CHANGES: usize = 6;
/// How deep a value is wrapped at most: deeper than serde_json follows.
const DEEPEST: usize = 200;
/// A body does not grow beyond this by repeating its parts.
const LARGEST: usize = 100_000;

/// What bodies of one kind are made from.
pub struct Material {
    /// Bodies that are right.
    good: Vec<Value>,
    /// Names of fields, at any depth.
    keys: Vec<String>,
    /// Values without parts.
    leaves: Vec<Value>,
}

/// The bodies of this kind in `tests/corpora/requests`, all of them right.
///
/// # Errors
/// When they cannot be read.
pub fn corpus(kind: &RequestType) -> anyhow::Result<Vec<Value>> {
    let path = corpora()
        .join("requests")
        .join(format!("{}.jsonl", kind.name));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let read = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    text.lines().map(read).collect()
}

impl Material {
    /// Reads the corpus of this kind.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(kind: &RequestType) -> anyhow::Result<Self> {
        let mut material = Self {
            good: corpus(kind)?,
            keys: Vec::new(),
            leaves: extremes(),
        };
        material.good.push(kind.example());
        // Fields that no body here has are in the schema.
        let schema = kind.schema();
        let named = schema["properties"].as_object().into_iter().flatten();
        material.keys.extend(named.map(|(name, _)| name.clone()));
        for body in material.good.clone() {
            material.gather(&body);
        }
        Ok(material)
    }

    fn gather(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    if !self.keys.contains(key) {
                        self.keys.push(key.clone());
                    }
                    self.gather(field);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.gather(item)),
            leaf if !self.leaves.contains(leaf) => self.leaves.push(leaf.clone()),
            _ => {}
        }
    }

    /// A body; most are JSON.
    pub fn body(&self, random: &mut Random) -> Vec<u8> {
        let mut body = random.pick(&self.good).clone();
        for _ in 0..=random.few(MOST_CHANGES) {
            let nodes = count(&body);
            let place = random.below(nodes);
            let part = node(&mut body, &mut random.below(nodes)).clone();
            self.change(node(&mut body, &mut { place }), part, random);
        }
        let mut bytes = body.to_string().into_bytes();
        if random.percent(10) {
            for _ in 0..=random.few(4) {
                damage(&mut bytes, random);
            }
        }
        bytes
    }

    /// Changes a node; `part` is another of the same body.
    fn change(&self, value: &mut Value, part: Value, random: &mut Random) {
        match random.below(12) {
            0..=2 => *value = random.pick(&self.leaves).clone(),
            3 => *value = part,
            4 => *value = deep(value.take(), random),
            5 => *value = spelled_otherwise(value, random),
            6 => *value = Value::Array(vec![value.take()]),
            _ => match value {
                Value::Object(fields) => self.change_fields(fields, part, random),
                Value::Array(items) => change_items(items, part, random),
                leaf => *leaf = random.pick(&self.leaves).clone(),
            },
        }
    }

    fn change_fields(&self, fields: &mut Map<String, Value>, part: Value, random: &mut Random) {
        let present: Vec<String> = fields.keys().cloned().collect();
        let own = match present.as_slice() {
            [] => None,
            keys => Some(random.pick(keys).clone()),
        };
        let any = random.pick(&self.keys).clone();
        let leaf = random.pick(&self.leaves).clone();
        match (random.below(5), own) {
            (0, Some(own)) => drop(fields.remove(&own)),
            (1, Some(own)) => {
                let moved = fields.remove(&own).unwrap_or_default();
                fields.insert(any, moved);
            }
            (2, Some(own)) => drop(fields.insert(own, Value::Null)),
            (3, _) => drop(fields.insert(any, part)),
            _ => drop(fields.insert(any, leaf)),
        }
    }
}

fn change_items(items: &mut Vec<Value>, part: Value, random: &mut Random) {
    match random.below(4) {
        0 => drop(items.pop()),
        1 => items.reverse(),
        2 if items.len() < 64 => {
            let copies = items.clone();
            items.extend(copies);
        }
        _ => items.push(part),
    }
}

/// Values at the ends of what fields take, and beyond.
fn extremes() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!(""),
        json!(" "),
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(127),
        json!(128),
        json!(129),
        json!(u32::MAX),
        json!(u64::from(u32::MAX) + 1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(9_007_199_254_740_993_i64),
        json!(0.5),
        json!(-0.0),
        json!(1e-320),
        json!(1e308),
        json!(-1e308),
        json!(1e15),
        json!(3.5),
        json!(2.000_001),
    ];
    let texts = [
        "0",
        "1",
        "-1",
        "0.7",
        "True",
        "false",
        "none",
        "None",
        "NaN",
        "inf",
        "-inf",
        "1e400",
        "auto",
        "required",
        "null",
        "99999999999999999999",
        "00000000000000000000000000000001",
        "text",
        "\u{0}",
        "\u{feff}",
        "é\u{301}",
        "🙂",
        "a\nb",
        "`x`",
        "system",
        "user",
        "assistant",
        "tool",
        "developer",
        "{",
        "[1]",
        "{\"a\": 1}",
        "../..",
        "hf:a/b",
    ];
    values.extend(texts.map(Value::from));
    values.push("long ".repeat(300).into());
    values
}

/// The same number or switch as text, or text as a list of parts.
fn spelled_otherwise(value: &Value, random: &mut Random) -> Value {
    match value {
        Value::Number(number) if random.percent(50) => number.to_string().into(),
        Value::Number(number) => json!(number.as_f64()),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => json!([{"type": "text", "text": text}]),
        other => other.to_string().into(),
    }
}

fn deep(value: Value, random: &mut Random) -> Value {
    let depth = random.below(DEEPEST);
    let listed = random.percent(50);
    (0..depth).fold(value, |inner, _| match listed {
        true => Value::Array(vec![inner]),
        // Not by `json!`, which would write the whole of it anew each time.
        false => Value::Object(Map::from_iter([("content".to_owned(), inner)])),
    })
}

/// The nodes of a tree, its root among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// The node of this number, in the order of the text; counts it down on the way.
fn node<'a>(value: &'a mut Value, number: &mut usize) -> &'a mut Value {
    let children: Vec<usize> = match value {
        Value::Object(fields) => fields.values().map(count).collect(),
        Value::Array(items) => items.iter().map(count).collect(),
        _ => Vec::new(),
    };
    if *number == 0 {
        return value;
    }
    *number -= 1;
    let mut chosen = 0;
    while chosen + 1 < children.len() && *number >= children[chosen] {
        *number -= children[chosen];
        chosen += 1;
    }
    match value {
        Value::Object(fields) => match fields.values_mut().nth(chosen) {
            Some(child) => node(child, number),
            None => unreachable!("a number below the count has its node"),
        },
        Value::Array(items) => node(&mut items[chosen], number),
        leaf => leaf,
    }
}

/// Changes the text somewhere.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b"null",
        b"NaN",
        b"-",
        b"1e999",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\0",
        b"// x\n",
        b"\xef\xbb\xbf",
    ];
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = random.pick(PIECES).repeat(1 + random.few(8));
            drop(bytes.splice(at..at, piece));
        }
        3 if bytes.len() < LARGEST => {
            let copy = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, copy));
        }
        4 => {
            let open = random
                .pick(&[&b"["[..], b"{\"a\":"])
                .repeat(random.below(DEEPEST));
            drop(bytes.splice(at..at, open));
        }
        _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        _ => {}
    }
}
