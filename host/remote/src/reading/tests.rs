//! Whatever bytes an engine sends, however they are cut: no panic, one end at most and nothing behind it, and always the same.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};
use weir_engine::{SamplingParams, SequenceRequest, StopConditions, TokenTexts};

use super::*;

#[derive(Debug)]
struct Bytes(Vec<[u8; 1]>);

impl TokenTexts for Bytes {
    fn bytes(&self, token: u32) -> &[u8] {
        let index = usize::try_from(token).unwrap_or(usize::MAX);
        self.0.get(index).map_or(&[], |byte| byte)
    }
}

const END: u32 = 256;
const ASKED: [(Dialect, PromptForm); 5] = [
    (Dialect::Vllm, PromptForm::Ids),
    (Dialect::Sglang, PromptForm::Ids),
    (Dialect::Llama, PromptForm::Ids),
    (Dialect::Openai, PromptForm::Text),
    (Dialect::Vllm, PromptForm::Messages),
];

/// Events of every form, whole and broken.
const EVENTS: [&str; 24] = [
    r#"{"choices": [{"index": 0, "text": "a", "token_ids": [97], "finish_reason": null}]}"#,
    r#"{"choices": [{"text": "ab", "token_ids": [97, 98], "logprobs": {"token_logprobs": [-0.5, null], "top_logprobs": [{"token_id:97": -0.5, "x": 1}, null]}}]}"#,
    r#"{"choices": [{"text": "é"}]}"#,
    r#"{"choices": [{"text": "", "token_ids": [256]}]}"#,
    r#"{"choices": [{"text": "", "token_ids": [7, 97]}]}"#,
    r#"{"choices": [{"text": "", "finish_reason": "stop"}]}"#,
    r#"{"choices": [{"text": "", "finish_reason": "length"}]}"#,
    r#"{"choices": [{"finish_reason": "abort"}]}"#,
    r#"{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 99}}}"#,
    r#"{"choices": [], "usage": null}"#,
    r#"{"choices": [{"delta": {"role": "assistant", "content": ""}}]}"#,
    r#"{"choices": [{"delta": {"content": "日本"}}], "usage": {"prompt_tokens": 4}}"#,
    r#"{"choices": [{"delta": {}, "finish_reason": "stop"}]}"#,
    r#"{"choices": [{"delta": {"reasoning_content": "hm"}}]}"#,
    r#"{"choices": [{"delta": {"tool_calls": [{}]}}]}"#,
    r#"{"content": "a", "tokens": [97], "stop": false, "tokens_predicted": 1, "tokens_evaluated": 3}"#,
    r#"{"content": "ö", "tokens": [246], "completion_probabilities": [{"logprob": -1.5, "top_logprobs": [{"id": 1, "logprob": -9}]}]}"#,
    r#"{"content": "", "tokens": [], "stop": true, "stop_type": "eos", "tokens_predicted": 2, "tokens_evaluated": 9, "timings": {"cache_n": 2}}"#,
    r#"{"stop": true, "stop_type": "limit"}"#,
    r#"{"error": {"message": "out of memory"}}"#,
    r#"{"choices": [{"text": "a", "token_ids": [-1]}]}"#,
    "[DONE]",
    "{",
    "null",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let ends = select(vec!["\n\n", "\r\n\r\n", "\r\r", "\n", ""]);
    let starts = select(vec![
        "data: ",
        "data:",
        "event: error\ndata: ",
        ": comment\ndata: ",
        "id: 1\ndata: ",
        "",
    ]);
    let event = (starts, select(EVENTS.to_vec()), ends);
    let event = event.prop_map(|(start, data, end)| format!("{start}{data}{end}").into_bytes());
    let junk = vec(any::<u8>(), 0..12);
    let piece = prop_oneof![12 => event, 1 => junk];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// What comes out of these pieces, up to an error.
fn said(
    asked: (Dialect, PromptForm),
    logprobs: Option<usize>,
    pieces: &[&[u8]],
) -> (VecDeque<Generated>, usize, Result<bool, String>) {
    let request = SequenceRequest {
        prompt: vec![1, 2, 3],
        embeddings: None,
        sampling: SamplingParams {
            logprobs,
            ..SamplingParams::default()
        },
        stop: StopConditions {
            stop_token_ids: vec![7],
            ..StopConditions::default()
        },
        constraint: None,
        pooling: None,
        priority: 0,
    };
    let texts = Bytes((0..=u8::MAX).map(|byte| [byte]).collect());
    let answer = Answer::new(&request, asked, [END].into(), Arc::new(texts));
    let mut reader = Reader::new(answer, asked);
    let (mut out, mut tokens) = (VecDeque::new(), 0);
    for piece in pieces {
        match reader.push(piece, &mut out) {
            Ok(some) => tokens += some,
            Err(error) => return (out, 0, Err(error)),
        }
    }
    let whole = reader.answer.close(&mut out);
    (out, tokens, Ok(whole))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_said_depends_on_no_chunking(
        bytes in bytes(),
        asked in select(ASKED.to_vec()),
        logprobs in select(vec![None, Some(0), Some(2)]),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = said(asked, logprobs, &[&bytes]);
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&said(asked, logprobs, &one_by_one), &whole);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let pieces: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect();
        prop_assert_eq!(&said(asked, logprobs, &pieces), &whole);
    }

    #[test]
    fn an_answer_has_one_end_and_nothing_behind_it(
        bytes in bytes(),
        asked in select(ASKED.to_vec()),
    ) {
        let (out, tokens, outcome) = said(asked, None, &[&bytes]);
        let is_end = |item: &Generated| matches!(item, Generated::Finished { .. });
        let ends = out.iter().filter(|item| is_end(item)).count();
        prop_assert!(ends <= 1);
        if ends == 1 {
            prop_assert!(out.back().is_some_and(is_end));
        }
        if let Ok(whole) = outcome {
            prop_assert_eq!(whole, ends == 1);
            let given = out.len() - ends;
            // An end token is counted and not given.
            prop_assert!(tokens == given || tokens == given + 1, "{} of {}", tokens, given);
        }
        let said_end = out.iter().any(|item| matches!(item, Generated::Token { id: END | 7, .. }));
        prop_assert!(!said_end);
    }
}

#[test]
fn tokens_that_llama_cpp_never_tells_are_counted() {
    // Two of the three bytes of a character that the limit cuts off.
    let cut = r#"data: {"stop": true, "stop_type": "limit", "tokens_predicted": 2, "tokens_evaluated": 3}"#;
    let (out, _, whole) = said(
        (Dialect::Llama, PromptForm::Ids),
        None,
        &[format!("{cut}\n\n").as_bytes()],
    );
    assert_eq!(whole, Ok(true));
    let usage = out.iter().map(|item| match item {
        Generated::Finished { usage, .. } => Some(usage.completion_tokens),
        _ => None,
    });
    assert_eq!(usage.collect::<Vec<_>>(), [Some(2)]);
}
