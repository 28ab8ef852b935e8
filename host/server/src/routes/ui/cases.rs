//! The corpus cases that the page offers, in the form of a line of `weir parse`.

use axum::body::Bytes;
use serde_json::{Value, json};
use weir_corpus::case::{Case, OfferedTool};
use weir_output::FinishReason;

macro_rules! cases {
    ($($plugin:literal / $name:literal)*) => {
        [$(($plugin, $name, include_str!(concat!("../../../../../tests/corpora/parsers/", $plugin, "/", $name, ".toml")))),*]
    };
}

/// The parser, the case's name, its file. Cases whose text means the same without control tokens.
const CASES: [(&str, &str, &str); 16] = cases! {
    "qwen25" / "braces_and_quotes_in_strings"
    "qwen25" / "broken_json_then_good"
    "qwen25" / "cut_in_a_string"
    "deepseek_v3" / "two_calls"
    "deepseek_v3" / "escapes_keep_their_bytes"
    "deepseek_r1" / "call_drafted_in_reasoning_hermes"
    "deepseek_r1" / "prompt_opened_reasoning"
    "llama3" / "array_of_calls"
    "pythonic" / "two_calls"
    "mistral" / "array_two_calls"
    "qwen3_coder" / "single_call"
    "glm45" / "reasoning_text_and_calls"
    "glm45" / "strings_stay_strings"
    "kimi_k2" / "single_call"
    "minimax_m2" / "single_call"
    "gpt_oss" / "reasoning_between_calls"
};

/// All of them, as JSON.
pub(super) fn document() -> Bytes {
    let cases: Vec<Value> = CASES.into_iter().filter_map(described).collect();
    Bytes::from(Value::Array(cases).to_string())
}

/// None of a file that is no case, which a test finds.
fn described((plugin, name, text): (&str, &str, &str)) -> Option<Value> {
    let case: Case = toml::from_str(text).ok()?;
    let ended = match case.finish_reason {
        FinishReason::Length => "length",
        _ => "stop",
    };
    let tools: Vec<Value> = case.tools.iter().map(offered).collect();
    Some(json!({
        "plugin": plugin,
        "name": name,
        "shows": case.shows,
        "with": case.with,
        "case": {"text": case.text?, "tools": tools, "prompt": case.prompt, "finish_reason": ended},
    }))
}

fn offered(tool: &OfferedTool) -> Value {
    let parameters: Value = serde_json::from_str(&tool.parameters).unwrap_or_default();
    json!({"type": "function", "function": {"name": tool.name, "parameters": parameters, "strict": tool.strict}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_one_of_text() {
        for case in CASES {
            assert!(described(case).is_some(), "{}/{}", case.0, case.1);
            let parsed: Case = toml::from_str(case.2).expect("a case");
            assert!(!parsed.strict_markers && parsed.config.is_empty());
        }
    }
}
