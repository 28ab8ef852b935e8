//! Readers of request bodies under arbitrary bodies: a short run of the fuzzing that `cargo xtask fuzz-requests` does at length.

use serde_json::json;
use weir_protocol::schema::{CHAT, REQUESTS};
use weir_tests::requests::{Verdict, corpus, judge, run};

#[test]
fn what_bodies_are_made_from_is_right() {
    for kind in REQUESTS {
        for body in corpus(kind).expect("a corpus") {
            let judged = judge(kind, body.to_string().as_bytes());
            let said = kind.check(body.clone());
            assert_eq!(
                judged,
                Ok(Verdict::Taken),
                "{}: {said:?}: {body}",
                kind.name
            );
        }
    }
}

#[test]
fn nothing_is_found() {
    for outcome in run(9_000, 1).expect("corpora") {
        assert!(
            outcome.findings.is_empty(),
            "{}: {:#?}",
            outcome.name,
            outcome.findings
        );
        // Bodies that nothing is read of would find nothing.
        for count in [outcome.no_json, outcome.taken, outcome.refused] {
            assert!(
                count > outcome.executions / 100,
                "{}: {count}",
                outcome.name
            );
        }
    }
}

#[test]
fn verdicts_are_told_apart() {
    let judge = |body: serde_json::Value| judge(&CHAT, body.to_string().as_bytes());
    let messages = json!([{"role": "user", "content": "hi"}]);
    assert_eq!(judge(json!({"messages": messages})), Ok(Verdict::Taken));
    assert_eq!(judge(json!({"messages": []})), Ok(Verdict::Refused));
    let audio = json!({"messages": messages, "audio": {}});
    assert_eq!(judge(audio), Ok(Verdict::NotBuilt));
}
