//! The table and the JSON of made-up answers, as snapshots: `INSTA_UPDATE=always cargo test` writes them anew.

use std::time::Duration;

use super::*;
use crate::bench::{chunk::Usage, client::Answer};

/// Answers of a server that takes so many milliseconds for the first token and for each of the three that follow.
fn round(first: u64, each: u64, usage: bool) -> Measured {
    let answer = |late: u64| Answer {
        first: Duration::from_millis(first + late),
        gaps: vec![Duration::from_millis(each); 3],
        total: Duration::from_millis(first + late + 3 * each),
        usage: usage.then_some(Usage {
            prompt_tokens: 200,
            completion_tokens: 4,
        }),
    };
    Measured {
        cold: None,
        answers: vec![Ok(answer(0)), Ok(answer(first))],
        duration: Duration::from_millis(2 * (first + 3 * each)),
    }
}

fn report(levels: Vec<Level>, against: bool, shared_prefix_tokens: u32) -> Report {
    let asked = |url: &str| Asked {
        url: url.to_owned(),
        model: "tiny".to_owned(),
    };
    Report {
        weir: "0.0.0",
        endpoint: "/chat/completions",
        seed: 7,
        rounds: 2,
        input_tokens: 200,
        output_tokens: 4,
        shared_prefix_tokens,
        temperature: 0.0,
        ignore_eos: true,
        server: asked("http://127.0.0.1:8000/v1"),
        against: against.then(|| asked("http://127.0.0.1:8080/v1")),
        levels,
    }
}

fn failing() -> Measured {
    Measured {
        cold: None,
        answers: vec![
            Err("HTTP 429: the queue is full".to_owned()),
            Err("cannot connect: Connection refused".to_owned()),
            Err("HTTP 429: the queue is full".to_owned()),
        ],
        duration: Duration::from_millis(5),
    }
}

#[test]
fn two_servers() {
    let ours = [round(100, 10, true), round(120, 12, true)];
    let theirs = [round(400, 20, true), round(500, 30, true)];
    let level = Level::new((1, 2), &ours, Some(&theirs));
    let report = report(vec![level], true, 0);
    insta::assert_snapshot!("two_servers_table", report.to_table());
    insta::assert_snapshot!("two_servers_json", report.to_json().expect("JSON"));
    assert!(report.all_answer());
}

#[test]
fn a_shared_prefix_errors_and_no_usage() {
    let mut ours = round(100, 10, true);
    ours.cold = Some(Ok(Answer {
        first: Duration::from_millis(2500),
        usage: Some(Usage::default()),
        ..Answer::default()
    }));
    let mut theirs = round(300, 20, false);
    theirs.cold = Some(Err("the stream was cut off before its end".to_owned()));
    theirs.answers.push(Err("HTTP 500: oh".to_owned()));
    let shared = Level::new((8, 2), &[ours], Some(&[theirs]));
    let mut report = report(vec![shared], true, 1500);
    report.rounds = 1;
    insta::assert_snapshot!("shared_prefix_table", report.to_table());
}

#[test]
fn nothing_succeeds() {
    let report = report(
        vec![Level::new((4, 3), &[failing(), failing()], None)],
        false,
        0,
    );
    insta::assert_snapshot!("all_failed_table", report.to_table());
    insta::assert_snapshot!("all_failed_json", report.to_json().expect("JSON"));
    assert!(!report.all_answer());
}

#[test]
fn one_of_two_servers_fails() {
    let level = Level::new((1, 2), &[round(100, 10, true)], Some(&[failing()]));
    assert!(!report(vec![level], true, 0).all_answer());
}
