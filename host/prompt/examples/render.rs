//! Renders conversations with chat templates, for the comparison with the reference in tests/reference/chat_templates.py.
//!
//! Standard input is one JSON object a line: `template` (its source), `special` (tokens by their names), `now` (Unix
//! seconds), `conversations`. Standard output is one JSON list a line, with `{"text": ...}`, `{"refused": ...}` or
//! `{"error": ...}` for each conversation. A template that does not compile ends it.

use std::io::{self, BufRead, Write};

use serde::Deserialize;
use serde_json::{Value, json};
use weir_prompt::{ChatTemplate, Conversation, PromptError, SpecialTokens};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    template: String,
    special: SpecialTokens,
    now: i64,
    conversations: Vec<Conversation>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let family: Family = serde_json::from_str(&line?)?;
        let template =
            ChatTemplate::new(&family.template, family.special)?.with_fixed_time(family.now);
        let rendered: Vec<Value> = family
            .conversations
            .iter()
            .map(|conversation| rendered(template.render(conversation)))
            .collect();
        writeln!(output, "{}", Value::from(rendered))?;
    }
    Ok(())
}

fn rendered(result: Result<String, PromptError>) -> Value {
    match result {
        Ok(text) => json!({"text": text}),
        Err(PromptError::Template(words)) => json!({"refused": words}),
        Err(error) => json!({"error": error.to_string()}),
    }
}
