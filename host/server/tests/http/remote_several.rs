//! Several engines: requests stay whole when some of them are killed, hang or drain, and come back to them afterwards.

use std::{sync::atomic::Ordering, time::Duration};

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::json;
use weir_engine::{UpstreamFigures, UpstreamState};
use weir_server::AppState;

use crate::{
    remote::{QUICK, in_front_of, stream, until},
    server::{chat_body, post_json, read, send},
    upstream::{Mode, Speaks, Upstream},
};

fn figures(state: &AppState) -> Vec<UpstreamFigures> {
    let model = state.models.named(None).unwrap();
    model.generator().unwrap().upstreams()
}

fn states(state: &AppState) -> Vec<UpstreamState> {
    figures(state).iter().map(|engine| engine.state).collect()
}

fn content(lines: &[String]) -> String {
    lines
        .iter()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk: serde_json::Value| {
            Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())
        })
        .collect()
}

/// How many answers are the whole `text`; the others broke off after they had begun, and say so.
fn whole_answers(answers: &[Vec<String>], text: &str) -> u64 {
    let mut whole = 0;
    for lines in answers {
        let said = content(lines);
        let last = lines.last().unwrap();
        if last == "data: [DONE]" {
            assert_eq!(said, text);
            whole += 1;
        } else {
            assert_eq!(lines[lines.len() - 2], "event: error", "{lines:?}");
            assert!(last.contains("upstream_error"), "{last}");
            assert!(!said.is_empty() && text.starts_with(&said), "{lines:?}");
        }
    }
    whole
}

/// What the metrics tell of the engines that were taken out and came back.
fn assert_recovery_is_seen(state: &AppState, engines: &[&Upstream]) {
    let metrics = weir_server::metrics::render(state);
    for engine in engines {
        let labels = format!("{{model=\"fake\",engine=\"{}\"", engine.url());
        let up = format!("weir_engine_state{labels},state=\"up\"}} 1\n");
        assert!(metrics.contains(&up), "{metrics}");
        let count = |family: &str| {
            let (_, rest) = metrics.split_once(&format!("{family}{labels}}} ")).unwrap();
            rest.split('\n').next().unwrap().parse::<u64>().unwrap()
        };
        let out = count("weir_engine_taken_out_total");
        assert!(out >= 1, "{metrics}");
        assert_eq!(count("weir_engine_taken_back_total"), out + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_without_a_token_fails_when_engines_are_killed_and_hang() {
    const TEXT: &str = "a text of fifty tokens that comes slowly, so slowly";
    let mut upstreams = [0, 1, 2].map(|_| Upstream::saying(Speaks::Vllm, TEXT));
    for upstream in &upstreams {
        *upstream.fake.pace.lock().unwrap() = Duration::from_millis(20);
    }
    let refs: Vec<&Upstream> = upstreams.iter().collect();
    let (router, state) = in_front_of(&refs, QUICK).await;
    until("all are up", || states(&state) == [UpstreamState::Up; 3]).await;

    // The first half is under way when the engines fail, the second half is sent into the failure.
    let ask = || {
        let router = router.clone();
        tokio::spawn(async move { stream(&router, json!({})).await })
    };
    let mut asked: Vec<_> = (0..32).map(|_| ask()).collect();
    until("each engine has streams under way", || {
        let counts = figures(&state);
        counts
            .iter()
            .all(|engine| engine.first_token.counts.iter().sum::<u64>() > 0)
    })
    .await;
    let [killed, hung, well] = &mut upstreams;
    hung.becomes(Mode::Hung);
    killed.kill();
    asked.extend((0..32).map(|_| ask()));
    let answers = join_all(asked).await;

    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let whole = whole_answers(&answers, TEXT);
    assert!(whole >= 32, "{whole} of 64 are whole");
    let counts = figures(&state);
    assert_eq!(
        counts.iter().map(|engine| engine.state).collect::<Vec<_>>(),
        [UpstreamState::Down, UpstreamState::Down, UpstreamState::Up]
    );
    let broken: u64 = counts.iter().map(|engine| engine.broken).sum();
    assert_eq!(broken, 64 - whole, "{counts:?}");
    assert_eq!(
        counts[2].finished,
        well.fake.asked.lock().unwrap().len() as u64
    );
    assert!(
        counts.iter().all(|engine| engine.outstanding_tokens == 0),
        "{counts:?}"
    );
    assert!(
        counts.iter().all(|engine| engine.streams == 0),
        "{counts:?}"
    );

    killed.listen();
    hung.becomes(Mode::Well);
    until("all are up again", || {
        states(&state) == [UpstreamState::Up; 3]
    })
    .await;
    let before: Vec<u64> = counts.iter().map(|engine| engine.finished).collect();
    join_all((0..9).map(|_| stream(&router, json!({})))).await;
    let after = figures(&state);
    for (engine, before) in after.iter().zip(before) {
        assert!(engine.finished > before, "{engine:?}");
    }
    assert_recovery_is_seen(&state, &[&*killed, &*hung]);
}

#[tokio::test]
async fn a_draining_engine_ends_what_it_has_and_gets_nothing_new() {
    let upstreams = [0, 1].map(|_| Upstream::saying(Speaks::Llama, "twenty tokens come !"));
    for upstream in &upstreams {
        *upstream.fake.pace.lock().unwrap() = Duration::from_millis(20);
    }
    let (router, state) = in_front_of(&[&upstreams[0], &upstreams[1]], QUICK).await;
    until("both are up", || states(&state) == [UpstreamState::Up; 2]).await;
    let running = {
        let router = router.clone();
        tokio::spawn(async move { join_all((0..4).map(|_| stream(&router, json!({})))).await })
    };
    let fake = &upstreams[0].fake;
    until("it has streams", || fake.running.load(Ordering::SeqCst) > 0).await;
    upstreams[0].becomes(Mode::Draining);
    until("it drains", || states(&state)[0] == UpstreamState::Draining).await;
    let had = fake.asked.lock().unwrap().len();
    join_all((0..4).map(|_| stream(&router, json!({})))).await;
    assert_eq!(fake.asked.lock().unwrap().len(), had);
    for lines in running.await.unwrap() {
        assert_eq!(content(&lines), "twenty tokens come !");
    }
    assert_eq!(fake.cancelled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn prompts_that_begin_alike_go_to_one_engine() {
    let upstreams = [0, 1, 2].map(|_| Upstream::saying(Speaks::Vllm, "ok"));
    let refs: Vec<&Upstream> = upstreams.iter().collect();
    let (router, state) = in_front_of(&refs, QUICK).await;
    until("all are up", || states(&state) == [UpstreamState::Up; 3]).await;
    let ask = async |system: &str, question: &str| {
        let messages =
            json!([{"role": "system", "content": system}, {"role": "user", "content": question}]);
        let body = chat_body(json!({"messages": messages}));
        let (status, _) = read(send(&router, post_json("/v1/chat/completions", &body)).await).await;
        assert_eq!(status, StatusCode::OK);
    };
    let system = "You help. ".repeat(40);
    for question in 0..8 {
        ask(&system, &question.to_string()).await;
    }
    let counts = || {
        let asked = upstreams
            .iter()
            .map(|one| one.fake.asked.lock().unwrap().len());
        asked.collect::<Vec<_>>()
    };
    let mut first = counts();
    first.sort_unstable();
    assert_eq!(first, [0, 0, 8]);
    // Short prompts and other beginnings are spread.
    for number in 0..12 {
        ask(&format!("{number} is your number. ").repeat(40), "hi").await;
    }
    assert!(counts().iter().all(|count| *count > 0), "{:?}", counts());
}
