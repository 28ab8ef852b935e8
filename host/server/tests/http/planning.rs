//! Chat requests behind request processors: what they ask for is done, what they show streams as reasoning, and the answer's usage
//! has all of it.

use std::sync::{Arc, Mutex};

use axum::{body::to_bytes, http::StatusCode};
use serde_json::{Value, json};
use weir_output::{
    Configured, Grants, OnError, PlannedMessage, PlannedModel, PlannedRequest, PluginError,
    PluginErrorKind, ProcessorAction, ProcessorOutcome, ProcessorStep, RequestProcessor,
    RequestProcessorInfo, RequestSession, request_processor::PlannedGeneration,
};
use weir_server::active_plugins::ActivePlugins;

use crate::server::{MAX_MODEL_LEN, Server, Setup, chat_body, chunks, lines, read};

pub(crate) type Step = Result<ProcessorStep, PluginErrorKind>;

/// Takes these steps whatever comes of them, and keeps what it saw.
pub(crate) struct Scripted {
    info: RequestProcessorInfo,
    steps: Vec<Step>,
    seen: Arc<Seen>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) request: Mutex<Option<(PlannedRequest, PlannedModel)>>,
    pub(crate) outcomes: Mutex<Vec<ProcessorOutcome>>,
}

struct ScriptedSession(Vec<Step>, Arc<Seen>);

fn named(step: Step) -> Result<ProcessorStep, PluginError> {
    step.map_err(|kind| PluginError {
        plugin: "scripted".to_owned(),
        call: "resume",
        kind,
    })
}

impl RequestProcessor for Scripted {
    fn name(&self) -> &str {
        &self.info.name
    }

    fn info(&self) -> &RequestProcessorInfo {
        &self.info
    }

    fn grants(&self) -> &Grants {
        const GRANTS: Grants = Grants {
            steps: 9,
            generations: 9,
            generated_tokens: 99,
            embeddings: 9,
            stored_bytes: 99,
        };
        &GRANTS
    }

    fn start(
        &self,
        request: &PlannedRequest,
        model: &PlannedModel,
    ) -> Result<(Box<dyn RequestSession>, ProcessorStep), PluginError> {
        *self.seen.request.lock().unwrap() = Some((request.clone(), *model));
        let mut steps = self.steps.clone();
        let first = named(steps.remove(0))?;
        Ok((
            Box::new(ScriptedSession(steps, Arc::clone(&self.seen))),
            first,
        ))
    }
}

impl RequestSession for ScriptedSession {
    fn resume(&mut self, outcomes: &[ProcessorOutcome]) -> Result<ProcessorStep, PluginError> {
        self.1.outcomes.lock().unwrap().extend_from_slice(outcomes);
        named(self.0.remove(0))
    }
}

pub(crate) fn server(
    answers: &[&[&str]],
    on_error: OnError,
    plans: Vec<Vec<Step>>,
) -> (Server, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let processor = |steps: Vec<Step>| -> Configured<dyn RequestProcessor> {
        let plugin = Scripted {
            info: RequestProcessorInfo {
                name: "scripted".to_owned(),
                chooses: true,
                ..RequestProcessorInfo::default()
            },
            steps,
            seen: Arc::clone(&seen),
        };
        Configured::new(Arc::new(plugin), on_error)
    };
    let request_processors: Vec<_> = plans.into_iter().map(processor).collect();
    let setup = Setup::saying(answers).model(move |model| {
        model.plugins.set(ActivePlugins {
            request_processors,
            ..ActivePlugins::default()
        });
    });
    (setup.start(), seen)
}

pub(crate) fn one(answers: &[&[&str]], steps: Vec<ProcessorStep>) -> (Server, Arc<Seen>) {
    let steps = steps.into_iter().map(Ok).collect();
    server(answers, OnError::Fail, vec![steps])
}

pub(crate) fn says(content: &str) -> Vec<PlannedMessage> {
    vec![PlannedMessage {
        role: "user".to_owned(),
        content: Some(content.to_owned()),
        more: String::new(),
    }]
}

pub(crate) fn generation(content: &str, shown: Option<&str>) -> PlannedGeneration {
    PlannedGeneration {
        messages: says(content),
        max_tokens: 8,
        temperature: None,
        shown: shown.map(str::to_owned),
    }
}

fn generate(all: &[(&str, Option<&str>)]) -> ProcessorStep {
    let all = all
        .iter()
        .map(|(content, shown)| generation(content, *shown));
    ProcessorStep::Perform(vec![ProcessorAction::Generate(all.collect())])
}

#[tokio::test]
async fn a_request_goes_on_with_other_messages() {
    let (server, seen) = one(
        &[&["fine"]],
        vec![ProcessorStep::ContinueWith(says("short"))],
    );
    let body = json!({
        "messages": [
            {"role": "system", "content": "a long document"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "user", "content": "?"},
        ],
        "max_tokens": 5,
        "processor_options": {"document": "d", "depth": 2},
        "nvext": {"annotations": ["formatted_prompt"]},
    });
    let answer = server.chat(body).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "fine");
    assert_eq!(answer["nvext"]["formatted_prompt"], "user: short\n");
    assert_eq!(answer["usage"]["prompt_tokens"], "user: short\n".len());
    assert!(
        answer["usage"].get("processing_details").is_none(),
        "it took nothing"
    );
    let (request, model) = seen.request.lock().unwrap().clone().unwrap();
    let document = &request.messages[0];
    assert_eq!(document.content.as_deref(), Some("a long document"));
    assert!(
        request.messages[1].more.contains("tool_calls") && request.messages[1].content.is_none()
    );
    assert_eq!(
        request.digests[0],
        "b579a73d141ed2f2a27f4c9627f99d9b4051e5da062d0eae67ca3acfb4e4cf6e"
    );
    let parameters = [("document", "\"d\""), ("depth", "2")];
    assert_eq!(
        request.parameters,
        parameters.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(
        (request.max_tokens, request.may_call_tools),
        (Some(5), false)
    );
    assert_eq!(model.context_tokens as usize, MAX_MODEL_LEN);
}

#[tokio::test]
async fn processors_run_one_behind_the_other() {
    let longer = |step: ProcessorStep| vec![Ok(step)];
    let (server, seen) = server(
        &[&["!"]],
        OnError::Fail,
        vec![
            longer(ProcessorStep::ContinueWith(says("first"))),
            longer(ProcessorStep::ContinueWith(says("second"))),
        ],
    );
    let answer = server
        .chat(json!({"nvext": {"annotations": ["formatted_prompt"]}}))
        .await;
    assert_eq!(answer["nvext"]["formatted_prompt"], "user: second\n");
    let (request, _) = seen.request.lock().unwrap().clone().unwrap();
    assert_eq!(request.messages, says("first"), "as the first left it");
}

#[tokio::test]
async fn everything_that_is_asked_for_is_done() {
    let put = ProcessorAction::StorePut {
        document: "d".to_owned(),
        entries: vec![("k".to_owned(), vec![1, 2])],
    };
    let get = ProcessorAction::StoreGet {
        document: "d".to_owned(),
        keys: vec!["k".to_owned(), "l".to_owned()],
    };
    let actions = vec![
        ProcessorAction::CountTokens(vec!["four".to_owned(), String::new()]),
        ProcessorAction::CountPrompt(says("hi")),
        put,
        get,
        ProcessorAction::Generate(vec![generation("q", None)]),
        ProcessorAction::Embed(vec!["x".to_owned()]),
    ];
    let (server, seen) = one(
        &[&["yes"]],
        vec![
            ProcessorStep::Perform(actions),
            ProcessorStep::Answer("so be it".to_owned()),
        ],
    );
    let answer = server.chat(json!({})).await;
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["content"], "so be it");
    assert!(
        message.get("reasoning").is_none_or(Value::is_null),
        "nothing was shown"
    );
    let outcomes = seen.outcomes.lock().unwrap();
    assert_eq!(outcomes[0], ProcessorOutcome::Counted(vec![4, 0]));
    assert_eq!(
        outcomes[1],
        ProcessorOutcome::Counted(vec!["user: hi\n".len() as u32])
    );
    assert_eq!(outcomes[2], ProcessorOutcome::Kept(true));
    assert_eq!(
        outcomes[3],
        ProcessorOutcome::Found(vec![Some(vec![1, 2]), None])
    );
    let ProcessorOutcome::Generated(answers) = &outcomes[4] else {
        panic!("an answer: {outcomes:?}")
    };
    assert_eq!((answers[0].text.as_str(), answers[0].tokens), ("yes", 2));
    assert!(answers[0].mean_logprob.is_some());
    assert!(
        matches!(&outcomes[5], ProcessorOutcome::Failed(why) if why.contains("no embedding model"))
    );
    let prompt = "user: q\n".len();
    let usage = &answer["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"]),
        (&json!(prompt), &json!(2))
    );
    let details = json!({"generations": 1, "prompt_tokens": prompt, "completion_tokens": 2, "embedding_tokens": 0});
    assert_eq!(usage["processing_details"], details);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
}

/// Two answers that are shown, one that is not, and a request made of them.
fn candidates() -> (Server, Arc<Seen>) {
    let steps = vec![
        generate(&[("a", Some("1: ")), ("b", None), ("c", Some("\n2: "))]),
        ProcessorStep::ContinueWith(says("which")),
    ];
    one(&[&["x", "y"], &["hidden"], &["z"], &["the", " end"]], steps)
}

#[tokio::test]
async fn what_is_shown_is_reasoning_and_counts() {
    let (server, _) = candidates();
    let answer = server.chat(json!({})).await;
    let message = &answer["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["reasoning"]),
        (&json!("the end"), &json!("1: xy\n2: z"))
    );
    let usage = &answer["usage"];
    let (each, last) = ("user: a\n".len(), "user: which\n".len());
    assert_eq!(usage["prompt_tokens"], 3 * each + last);
    assert_eq!(usage["completion_tokens"], 3 + 2 + 2 + 3);
    assert_eq!(
        usage["completion_tokens_details"]["reasoning_tokens"],
        3 + 2
    );
    assert_eq!(usage["processing_details"]["generations"], 3);
    assert_eq!(usage["processing_details"]["prompt_tokens"], 3 * each);
    server.until(|counters| counters.blocks_used == 0).await;
}

#[tokio::test]
async fn what_is_shown_streams_before_the_answer() {
    let (server, _) = candidates();
    let body = chat_body(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let response = server.post("/v1/chat/completions", &body).await;
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let chunks = chunks(&lines(std::str::from_utf8(&body).unwrap()));
    let delta = |key: &str| -> String {
        let deltas = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str());
        deltas.collect()
    };
    assert_eq!(
        (delta("reasoning").as_str(), delta("content").as_str()),
        ("1: xy\n2: z", "the end")
    );
    let place = |key: &str, last: bool| {
        let mut has = chunks.iter().enumerate().filter(|(_, chunk)| {
            chunk["choices"][0]["delta"][key]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        });
        let found = if last { has.next_back() } else { has.next() };
        found.unwrap().0
    };
    assert!(place("reasoning", true) < place("content", false));
    let roles = chunks
        .iter()
        .filter(|chunk| !chunk["choices"][0]["delta"]["role"].is_null());
    assert_eq!(roles.count(), 1);
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!(usage["completion_tokens"], 10);
    assert_eq!(usage["processing_details"]["generations"], 3);
}

#[tokio::test]
async fn other_routes_plan_too() {
    let (server, _) = candidates();
    let body = json!({"input": "hi", "store": false});
    let (status, answer) = read(server.post("/v1/responses", &body).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["usage"]["output_tokens"], 10, "{answer}");
    let (server, _) = candidates();
    let body =
        json!({"model": "fake", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]});
    let (status, answer) = read(server.post("/v1/messages", &body).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["usage"]["output_tokens"], 10, "{answer}");
}

#[tokio::test]
async fn several_answers_are_made_of_one_plan() {
    let (server, _) = one(
        &[&["a"], &["b"]],
        vec![ProcessorStep::ContinueWith(says("x"))],
    );
    let answer = server.chat(json!({"n": 2})).await;
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    let (server, _) = one(&[&["a"]], vec![ProcessorStep::Answer("same".to_owned())]);
    let answer = server.chat(json!({"n": 2})).await;
    assert_eq!(answer["choices"][1]["message"]["content"], "same");
}

#[tokio::test]
async fn a_refusal_is_the_clients_and_what_does_not_fit_is_the_plugins() {
    let (server, _) = one(
        &[&["a"]],
        vec![ProcessorStep::Refuse("no such document".to_owned())],
    );
    let (status, body) = read(
        server
            .post("/v1/chat/completions", &chat_body(json!({})))
            .await,
    )
    .await;
    assert_eq!(
        (status, &body["error"]["message"]),
        (StatusCode::BAD_REQUEST, &json!("no such document"))
    );
    let long = "x".repeat(2 * MAX_MODEL_LEN);
    let steps = vec![
        generate(&[(&long, None)]),
        ProcessorStep::ContinueWith(says("short")),
    ];
    let (server, seen) = one(&[&["fine"]], steps);
    let answer = server.chat(json!({})).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "fine");
    let outcomes = seen.outcomes.lock().unwrap();
    assert!(
        matches!(&outcomes[0], ProcessorOutcome::Failed(_)),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn an_answer_that_must_be_something_is_not_a_plugins() {
    let (server, _) = one(&[&["a"]], vec![ProcessorStep::Answer("no JSON".to_owned())]);
    let body = chat_body(json!({"response_format": {"type": "json_object"}}));
    let (status, body) = read(server.post("/v1/chat/completions", &body).await).await;
    assert_eq!(
        (status, &body["error"]["param"]),
        (StatusCode::BAD_REQUEST, &json!("response_format"))
    );
}

#[tokio::test]
async fn a_plugin_that_fails_is_an_error_or_passed_over() {
    let greedy = || {
        Err(PluginErrorKind::Grant {
            grant: "generations",
            asked: 9,
            granted: 1,
        })
    };
    let steps = || vec![Ok(ProcessorStep::Perform(Vec::new())), greedy()];
    let (failing, _) = server(&[&["a"]], OnError::Fail, vec![steps()]);
    let (status, body) = read(
        failing
            .post("/v1/chat/completions", &chat_body(json!({})))
            .await,
    )
    .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &json!("plugin_error"))
    );
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("`scripted`") && message.contains("generations 9 of 1"),
        "{message}"
    );
    assert_eq!(failing.state.lifecycle.active(), 0);
    let (passing, _) = server(&[&["a"]], OnError::Passthrough, vec![steps()]);
    assert_eq!(
        passing.chat(json!({})).await["choices"][0]["message"]["content"],
        "a"
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_what_is_generated() {
    let mut setup = Setup::saying(&[&[]]).rate(200.0);
    setup.answers[0] = (0..1000).map(|number| format!("{number} ")).collect();
    let all = vec![PlannedGeneration {
        max_tokens: 900,
        ..generation("a", Some("1: "))
    }];
    let steps = vec![Ok(ProcessorStep::Perform(vec![ProcessorAction::Generate(
        all,
    )]))];
    let plugin = Scripted {
        info: RequestProcessorInfo::default(),
        steps,
        seen: Arc::default(),
    };
    let server = setup
        .model(move |model| {
            model.plugins.set(ActivePlugins {
                request_processors: vec![Configured::new(Arc::new(plugin), OnError::Fail)],
                ..ActivePlugins::default()
            });
        })
        .start();
    let body = chat_body(json!({"stream": true}));
    let response = server.post("/v1/chat/completions", &body).await;
    assert!(server.engine.counters().blocks_used > 0);
    drop(response);
    server
        .until(|counters| counters.blocks_used == 0 && counters.running == 0)
        .await;
    assert_eq!(server.state.lifecycle.active(), 0);
}
