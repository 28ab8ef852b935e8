//! What generated text is made of, beside the markers of the parser at hand and pieces of its corpus.
//!
//! The words of formats that are neither special tokens nor JSON stand here too: to the generator they are text like any
//! other, and it does not know whose they are.

use super::random::Random;

const SYNTAX: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "'",
    "\\",
    "\\\"",
    "\\u00e",
    "\\ud83c",
    "\\x",
    ":",
    ",",
    ";",
    "=",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\n\n",
    "`",
    "```",
    "```json\n",
    "```json",
    "\n```",
    "~~~",
    "<",
    "</",
    ">",
    "<|",
    "|>",
    "<｜",
    "｜",
    "▁",
    "[/",
    "#",
    "@",
    ".",
    "-",
    "1",
    "1e5",
    "-0.0",
    "12345678901234567890",
    "01",
    "1.",
    "true",
    "false",
    "null",
    "nul",
    "NaN",
    "True",
    "\u{0}",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
];

const WORDS: &[&str] = &[
    "name",
    "arguments",
    "parameters",
    "\"name\"",
    "\"name\": ",
    "\"name\": \"f\"",
    "\"arguments\": ",
    "\"parameters\": ",
    "\"parameters\":{}",
    "\"arguments\": {\"a\": [1, \"x\"]}",
    "\"arguments\": \"{\\\"a\\\": 1}\"",
    "\"id\": \"abc123XYZ\"",
    "\"type\": \"function\"",
    "function",
    "functions.f",
    "to=functions.f",
    " to=",
    "assistant",
    "analysis",
    "commentary",
    "final",
    "json",
    "recipient",
    "f",
    "get_weather",
    "f{",
    "f{}",
    "f\n",
    "abc123XYZ",
    "call",
    "tool",
    "python",
];

const PROSE: &[&str] = &[
    "Let me look that up. ",
    "I'll check the weather in Paris.",
    "Hm, ",
    "a < b && c > d",
    "Done.",
    "The answer is 42.\n",
    "First, the user wants two things:\n1. a table\n2. a chart\n",
    "x",
    "ok\n\n",
    "{\"not\": \"a call\"}",
    "[1, 2, 3]",
    "fn main() {}",
];

const UNICODE: &[&str] = &[
    "é",
    "ß",
    "🌦️",
    "👩‍👩‍👧",
    "日本語",
    "Ωμέγα",
    "🇩🇪",
    "ẹ̈́",
    "\u{fffd}",
    "｜tool▁",
    "\u{10ffff}",
    "\u{200d}",
];

/// A tool's name.
pub const NAMES: &[&str] = &[
    "f",
    "get_weather",
    "search-docs",
    "a.b",
    "été",
    "name",
    "json",
];

/// A piece of text.
pub fn piece(random: &mut Random) -> String {
    let words = match random.below(12) {
        0..4 => SYNTAX,
        4..7 => WORDS,
        7 => PROSE,
        8 => UNICODE,
        9 => return call(random),
        10 => return json(random, 3),
        _ => return run(random),
    };
    (*random.pick(words)).to_owned()
}

/// A call as most formats write it, seldom quite right.
pub fn call(random: &mut Random) -> String {
    let name = format!("\"name\": \"{}\"", random.pick(NAMES));
    let key = random.pick(&["arguments", "arguments", "parameters", "args"]);
    let value = if random.percent(80) {
        object(random, 3)
    } else {
        json(random, 3)
    };
    let arguments = format!("\"{key}\": {value}");
    let space = random.pick(&["", " ", "\n"]);
    let mut members = vec![name, arguments];
    if random.percent(20) {
        members.reverse();
    }
    if random.percent(15) {
        members.insert(random.below(3), format!("\"x\": {}", json(random, 2)));
    }
    if random.percent(10) {
        members.remove(random.below(members.len()));
    }
    let mut call = format!("{{{space}{}{space}}}", members.join(", "));
    if random.percent(10) {
        call.truncate(random.place(&call));
    }
    call
}

/// A JSON value, nested so deep at most.
fn json(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 5 } else { 8 }) {
        0 => string(random),
        1 => (*random.pick(&["0", "-0.0", "1e5", "12345678901234567890", "3.14E-2"])).to_owned(),
        2 => (*random.pick(&["true", "false", "null"])).to_owned(),
        3 => format!("\"{}\"", random.pick(UNICODE)),
        4 => "{}".to_owned(),
        5 => {
            let values: Vec<String> = (0..random.few(4))
                .map(|_| json(random, depth - 1))
                .collect();
            format!("[{}]", values.join(*random.pick(&[",", ", ", " ,\n"])))
        }
        _ => object(random, depth),
    }
}

fn object(random: &mut Random, depth: usize) -> String {
    let members: Vec<String> = (0..random.few(4))
        .map(|_| {
            let key = string(random);
            let value = json(random, depth.saturating_sub(1));
            format!("{key}:{}{value}", random.pick(&["", " "]))
        })
        .collect();
    format!("{{{}}}", members.join(*random.pick(&[",", ", ", ",\n  "])))
}

/// A JSON string, now and then a broken one.
fn string(random: &mut Random) -> String {
    let parts = [
        "a",
        "city",
        "b c",
        "\\n",
        "\\\"",
        "\\\\",
        "\\u00e9",
        "\\ud83c\\udf26",
        "\\/",
        "}",
        "{",
        ";",
        ",",
        "[",
        "```",
        "<",
        "é",
        "🌦️",
    ];
    let text: String = (0..1 + random.few(6))
        .map(|_| *random.pick(&parts))
        .collect();
    match random.below(40) {
        0 => format!("\"{text}"),
        1 => format!("\"{text}\\\""),
        2 => format!("\"{text}\n\""),
        3 => format!("'{text}'"),
        _ => format!("\"{text}\""),
    }
}

/// The same again and again.
fn run(random: &mut Random) -> String {
    let unit = *random.pick(&[
        "a", " ", "\n", "`", "<", "{", "[", "\"", "\\", "x y ", "é", "{\"a\":", "0", "｜",
    ]);
    unit.repeat(match random.below(30) {
        0 => 400 + random.below(1600),
        1..6 => 20 + random.below(100),
        _ => 2 + random.below(10),
    })
}
