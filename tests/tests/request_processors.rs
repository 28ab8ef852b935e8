//! First-party request processors say the same as ordinary Rust and as components, whatever comes of what they ask for.

use weir_output::{
    FinishReason, PlannedMessage, PlannedModel, PlannedRequest, ProcessorAction, ProcessorOutcome,
    ProcessorStep, request_processor::PlannedAnswer,
};
use weir_tests::{native_requests, wasm::WasmPlugins};

const MODEL: PlannedModel = PlannedModel {
    context_tokens: 2048,
    embedding_tokens: Some(256),
};

/// Documents and questions of both kinds of scripts, and what is no question.
fn requests() -> Vec<PlannedRequest> {
    let message = |role: &str, content: Option<String>| PlannedMessage {
        role: role.to_owned(),
        content,
        more: String::new(),
    };
    let document = |sentence: &str| {
        let numbered = |number: usize| format!("{number} {sentence}");
        (0..120).map(numbered).collect::<String>()
    };
    let english = document(
        "The ferry to the island leaves when the tide allows it, said the keeper of the light. ",
    );
    let chinese = document("渡船在涨潮时开往小岛，灯塔看守人这样说，没有人知道确切的时间。");
    let conversations = [
        vec![
            ("system", english.as_str()),
            ("user", "When does ferry 17 leave?"),
        ],
        vec![
            ("system", chinese.as_str()),
            ("user", "第十七班渡船什么时候开？"),
        ],
        vec![("user", "Why?")],
        vec![("user", " ")],
        vec![("user", "hi"), ("assistant", "ho")],
    ];
    let mut requests = Vec::new();
    for conversation in conversations {
        for candidates in ["1", "2", "5", "16", "17", "x"] {
            let messages = conversation.iter();
            let messages = messages.map(|(role, text)| message(role, Some((*text).to_owned())));
            requests.push(PlannedRequest {
                messages: messages.collect(),
                digests: vec!["0123456789abcdef".repeat(4); conversation.len()],
                parameters: vec![("mpr_candidates".to_owned(), candidates.to_owned())],
                max_tokens: (candidates == "5").then_some(40),
                candidates: match candidates {
                    "1" => vec![said("One."), said("two"), said("Two!")],
                    _ => Vec::new(),
                },
                ..PlannedRequest::default()
            });
        }
    }
    requests
}

fn said(text: &str) -> PlannedAnswer {
    PlannedAnswer {
        text: text.to_owned(),
        finish_reason: FinishReason::Stop,
        mean_logprob: None,
        tokens: 2,
    }
}

/// What a host might answer, told by a number.
fn outcomes(actions: &[ProcessorAction], number: usize) -> Vec<ProcessorOutcome> {
    let answer = |index: usize| PlannedAnswer {
        text: ["The tide.", "the tide", "", "At noon. 第二天。"][(index + number) % 4].to_owned(),
        finish_reason: [FinishReason::Stop, FinishReason::Length][index % 2],
        mean_logprob: (!index.is_multiple_of(3)).then_some(-0.5 - index as f32),
        tokens: 3,
    };
    let outcome = |action: &ProcessorAction| match action {
        _ if number % 7 == 6 => ProcessorOutcome::Failed("no room".to_owned()),
        ProcessorAction::Generate(all) => {
            ProcessorOutcome::Generated((0..all.len()).map(answer).collect())
        }
        ProcessorAction::Embed(texts) => ProcessorOutcome::Embedded(vec![vec![0.5]; texts.len()]),
        ProcessorAction::CountTokens(texts) => {
            let tokens = |text: &String| text.len() as u32 / 4;
            ProcessorOutcome::Counted(texts.iter().map(tokens).collect())
        }
        ProcessorAction::CountPrompt(_) => ProcessorOutcome::Counted(vec![300 * number as u32]),
        ProcessorAction::StoreGet { keys, .. } => ProcessorOutcome::Found(vec![None; keys.len()]),
        ProcessorAction::StorePut { .. } => ProcessorOutcome::Kept(true),
    };
    actions.iter().map(outcome).collect()
}

/// How often a plugin answered and how often the request went on with other messages, the same both ways.
fn agree(name: &str, configs: &[&str]) -> (usize, usize) {
    let plugins = WasmPlugins::new().expect("the plugins");
    let (mut answered, mut changed) = (0, 0);
    for config in configs {
        let config: toml::Table = config.parse().expect("a table");
        let wasm = plugins.request_processor(name, &config).expect("it loads");
        let native = native_requests::request_processor(name, &config, *wasm.grants());
        let native = native.expect("it is there");
        assert_eq!(native.info(), wasm.info());
        for (number, request) in requests().iter().enumerate() {
            if !wasm.info().chooses && !request.candidates.is_empty() {
                continue;
            }
            let (mut one, mut step) = native.start(request, &MODEL).expect("it starts");
            let (mut other, same) = wasm.start(request, &MODEL).expect("it starts");
            assert_eq!(step, same, "{config} {request:?}");
            while let ProcessorStep::Perform(actions)
            | ProcessorStep::ContinueAndPerform(_, actions) = &step
            {
                if let ProcessorStep::ContinueAndPerform(messages, _) = &step {
                    changed += usize::from(*messages != request.messages);
                }
                let outcomes = outcomes(actions, number % 8);
                let next = one.resume(&outcomes).expect("it goes on");
                let same = other.resume(&outcomes).expect("it goes on");
                assert_eq!(next, same, "{config} {request:?}");
                step = next;
            }
            match step {
                ProcessorStep::Answer(_) => answered += 1,
                ProcessorStep::ContinueWith(messages) if messages != request.messages => {
                    changed += 1;
                }
                _ => {}
            }
        }
    }
    (answered, changed)
}

#[test]
fn mpr_is_the_same_natively_and_as_wasm() {
    let configs = [
        "",
        "select = 'majority'",
        "select = 'mean_logprob'\noutline = false",
        "show = false",
    ];
    let (answered, changed) = agree("mpr", &configs);
    assert!(answered >= 8 && changed >= 8, "{answered} {changed}");
}

#[test]
fn long_document_is_the_same_natively_and_as_wasm() {
    let configs = [
        "",
        "chunk_words = 64\noverlap_words = 10",
        "percent_of_context = 40",
    ];
    let (answered, changed) = agree("long_document", &configs);
    assert!(answered == 0 && changed >= 9, "{changed}");
}
