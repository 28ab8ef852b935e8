//! Orders done by the runner that replays scripts.

use std::fs;

use serde_json::{Value, json};
use weir_engine::{FakeRunner, FakeScript, RunnerInfo};

use super::run;

const VOCAB: usize = 10;

/// `[1, 2]` is answered with 5, 6, 7 and whatever holds a 3 with 4; 0 ends a sequence.
fn runner() -> Box<FakeRunner> {
    let info = RunnerInfo {
        vocab_size: VOCAB,
        max_model_len: 20,
        block_size: 4,
        num_blocks: 8,
        eos_token_ids: vec![0],
    };
    let script = |matches: &[u32], tokens: &[u32]| FakeScript {
        matches: Some(matches.to_vec()),
        tokens: tokens.to_vec(),
    };
    let scripts = vec![script(&[1, 2], &[5, 6, 7]), script(&[3], &[4])];
    Box::new(FakeRunner::new(info, scripts, None))
}

fn answers(orders: &[Value]) -> Vec<Value> {
    let input: String = orders.iter().map(|order| format!("{order}\n\n")).collect();
    let mut output = Vec::new();
    run(runner(), input.as_bytes(), &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

#[test]
fn the_runner_says_its_sizes() {
    let expected = json!({
        "vocab_size": 10, "max_model_len": 20, "block_size": 4, "num_blocks": 8, "eos_token_ids": [0],
    });
    assert_eq!(answers(&[json!({"order": "info"})]), [expected]);
}

#[test]
fn logits_stand_sequence_by_sequence_however_prompts_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    for tokens_per_step in [1, 2, 3, 512] {
        let path = folder.path().join(tokens_per_step.to_string());
        let order = json!({
            "order": "logits", "sequences": [[1, 2, 5, 6, 7], [3, 9], [8, 8, 8, 8, 3, 4]], "from": [1, 0, 4],
            "max_num_batched_tokens": tokens_per_step, "output": path,
        });
        // Behind 3 comes 4, which stands a million higher than the 9 that was given.
        let expected = json!({
            "rows": 8, "argmax": [5, 6, 7, 0, 4, 0, 4, 0],
            "gap": [0.0, 0.0, 0.0, null, 1e6, null, 0.0, null],
        });
        assert_eq!(answers(&[order]), [expected], "{tokens_per_step}");
        let rows = fs::read(path).unwrap();
        let logits: Vec<f32> = rows
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        assert_eq!(logits.len(), 8 * VOCAB);
        assert_eq!((logits[5], logits[6], logits[VOCAB + 6]), (1e6, 0.0, 1e6));
    }
}

#[test]
fn requests_run_side_by_side_and_are_counted() {
    let order = json!({
        "order": "generate", "concurrency": 2, "tokens": true,
        "requests": [
            {"prompt": [1, 2], "max_tokens": 3}, {"prompt": [1, 2], "max_tokens": 3}, {"prompt": [3], "max_tokens": 3},
        ],
    });
    let answer = answers(&[order]).remove(0);
    assert_eq!(answer["tokens"], json!([[5, 6, 7], [5, 6, 7], [4, 0, 0]]));
    assert_eq!(answer["prompt_tokens"], 5);
    assert_eq!(answer["generated_tokens"], 9);
    assert_eq!(answer["preemptions"], 0);
    // The third one decodes alone, which is not what was asked to be measured.
    assert_eq!(answer["decode"]["steps"], 2);
    assert!(answer["seconds"].as_f64() >= answer["all_begun_seconds"].as_f64());
}

#[test]
fn equal_beginnings_are_shared_and_little_kv_preempts() {
    let prompt = [1, 2, 1, 2, 1, 2, 1, 2];
    let request = json!({"prompt": prompt, "max_tokens": 3});
    let shared = json!({"order": "generate", "requests": [request, request], "prefix_cache": true});
    let request = json!({"prompt": [1, 2], "max_tokens": 15});
    let tight =
        json!({"order": "generate", "requests": [request, request, request], "tokens": true});
    let answers = answers(&[shared, tight]);
    assert_eq!(answers[0]["prefix_hit_tokens"], 4, "{}", answers[0]);
    assert!(
        answers[1]["preemptions"].as_u64() > Some(0),
        "{}",
        answers[1]
    );
    assert_eq!(answers[1]["tokens"][0], answers[1]["tokens"][2]);
}

#[test]
fn what_cannot_be_done_is_said_and_the_next_order_is_done() {
    let logits = |sequences: Value, from: Value| json!({"order": "logits", "sequences": sequences, "from": from});
    let long: Vec<u32> = vec![1; 20];
    let cases = [
        (json!("nonsense"), "no order: "),
        (json!({"order": "dance"}), "no order: "),
        (
            json!({"order": "logits", "sequences": [], "from": [], "colour": 1}),
            "`colour`",
        ),
        (
            logits(json!([[1, 2]]), json!([2])),
            "sequence 0 has 2 tokens",
        ),
        (
            logits(json!([[1, 2]]), json!([])),
            "1 sequences need as many",
        ),
        (logits(json!([[1, 12]]), json!([0])), "token 12"),
        (
            logits(json!([long, long]), json!([0, 0])),
            "need 10 KV blocks, there are 8",
        ),
        (
            json!({"order": "generate", "requests": [{"prompt": [], "max_tokens": 1}]}),
            "the prompt has no tokens",
        ),
    ];
    for (order, expected) in cases {
        let answers = answers(&[order, json!({"order": "info"})]);
        let error = answers[0]["error"].as_str().unwrap();
        assert!(error.contains(expected), "{error}");
        assert_eq!(answers[1]["vocab_size"], VOCAB);
    }
}
