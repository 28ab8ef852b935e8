//! A request from its first step to its last, with a host that is played.

use weir_plugin_sdk::FinishReason;

use super::*;

const GRANTS: Grants = Grants {
    steps: 4,
    generations: 17,
    generated_tokens: 10_000,
    embeddings: 0,
    stored_bytes: 0,
};
const MODEL: Model = Model {
    context_tokens: 4096,
    embedding_tokens: None,
};

fn request(question: &str, candidates: Option<&str>) -> Request {
    let document =
        "The owl lives in the oak behind the mill, where nobody goes at night. ".repeat(3);
    let parameter = |value: &str| (CANDIDATES.to_string(), value.to_string());
    Request {
        messages: vec![
            Message::new("system", document),
            Message::new("user", question),
        ],
        digests: vec!["0a".into(), "1b".into()],
        parameters: candidates.map(parameter).into_iter().collect(),
        max_tokens: Some(100),
        ..Request::default()
    }
}

fn started(config: &str, candidates: &str) -> (Mpr, Step) {
    Mpr::start(
        config,
        request("Where is the owl?", Some(candidates)),
        GRANTS,
        MODEL,
    )
}

fn generated(text: &str, mean_logprob: f32) -> Generated {
    Generated {
        text: text.into(),
        finish_reason: FinishReason::Stop,
        mean_logprob: Some(mean_logprob),
        tokens: 3,
    }
}

fn generations(step: Step) -> Vec<Generation> {
    let Step::Perform(actions) = step else {
        panic!("something to do: {step:?}")
    };
    let mut all = Vec::new();
    for action in actions {
        if let HostAction::Generate(generations) = action {
            all.extend(generations);
        }
    }
    all
}

fn last(messages: &[Message]) -> &str {
    messages[messages.len() - 1].content.as_deref().unwrap()
}

/// What is generated for a request, and the plugin that waits for it.
fn proposed(config: &str, candidates: &str) -> (Mpr, Vec<Generation>) {
    let (mut mpr, _) = started(config, candidates);
    let step = mpr.resume(vec![HostOutcome::Counted(vec![100])]);
    (mpr, generations(step))
}

#[test]
fn one_candidate_is_none() {
    for (config, asked) in [
        ("{}", None),
        ("{}", Some("1")),
        (r#"{"candidates": 3}"#, Some("1")),
    ] {
        let request = request("Where?", asked);
        let messages = request.messages.clone();
        let (_, step) = Mpr::start(config, request, GRANTS, MODEL);
        assert_eq!(step, Step::ContinueWith(messages), "{config} {asked:?}");
    }
    let mut called = request("Where?", Some("4"));
    called.messages.push(Message::new("tool", "42"));
    let (_, step) = Mpr::start("{}", called, GRANTS, MODEL);
    assert!(
        matches!(step, Step::ContinueWith(_)),
        "no question stands last"
    );
    let tools = Request {
        may_call_tools: true,
        ..request("Where?", Some("4"))
    };
    let (_, step) = Mpr::start("{}", tools, GRANTS, MODEL);
    assert!(matches!(step, Step::ContinueWith(_)), "drafts cannot call");
}

#[test]
fn an_outline_and_all_candidates_share_what_they_begin_with() {
    let (_, all) = proposed("{}", "5");
    let shared = "Where is the owl?\n\n";
    let (outline, candidates) = all.split_first().unwrap();
    assert!(last(&outline.messages).starts_with("Where is the owl?\n\nDo not answer yet."));
    assert_eq!(outline.shown.as_deref(), Some("Outline:\n"));
    assert_eq!((outline.max_tokens, candidates.len()), (64, 5));
    for (number, candidate) in candidates.iter().enumerate() {
        assert_eq!(candidate.messages[0], request("", None).messages[0]);
        let asked = last(&candidate.messages);
        assert!(
            asked.starts_with(shared) && asked.ends_with("\n\nNow answer."),
            "{asked}"
        );
        let beginning =
            "begin so:\n- The owl lives in the oak behind the mill, where nobody goes\n";
        assert!(asked.contains(beginning), "{asked}");
        assert_eq!(
            (candidate.max_tokens, candidate.temperature),
            (100, Some(0.8))
        );
        let heading = format!("\n\nCandidate {}:\n", number + 1);
        assert_eq!(candidate.shown, Some(heading));
    }
}

#[test]
fn a_synthesis_sees_every_candidate_that_says_something() {
    let (mut mpr, _) = proposed("{}", "3");
    let answers = ["1. The tree.", "In the oak.", "  ", "Behind the mill."];
    let answers = answers.map(|text| generated(text, -1.0)).into();
    let Step::ContinueWith(messages) = mpr.resume(vec![HostOutcome::Generated(answers)]) else {
        panic!("it goes on")
    };
    let asked = last(&messages);
    let outlined = "Where is the owl?\n\nOutline of a complete answer:\n1. The tree.\n\n";
    assert!(asked.starts_with(outlined), "{asked}");
    assert!(
        asked.contains("[1]\nIn the oak.\n\n[2]\nBehind the mill.\n\nWrite the final answer."),
        "{asked}"
    );
}

#[test]
fn a_selector_answers_with_one_of_them() {
    let answer = |select: &str| {
        let (mut mpr, all) = proposed(&format!(r#"{{"select": "{select}"}}"#), "3");
        assert_eq!(all.len(), 3, "an outline is for an answer made of all");
        let answers = [("The oak.", -0.9), ("the OAK", -0.8), ("The mill.", -0.1)];
        let answers = answers
            .map(|(text, logprob)| generated(text, logprob))
            .into();
        mpr.resume(vec![HostOutcome::Generated(answers)])
    };
    assert_eq!(answer("mean_logprob"), Step::Answer("The mill.".into()));
    assert_eq!(answer("majority"), Step::Answer("the OAK".into()));
}

/// What comes of choosing among three answers, when the model says this.
fn chosen(config: &str, verdict: Option<&str>) -> Step {
    let answers = [("The oak.", -0.9), ("the OAK", -0.8), ("The mill.", -0.1)];
    let answers = answers.map(|(text, logprob)| generated(text, logprob));
    let request = Request {
        candidates: answers.into(),
        ..request("Where is the owl?", None)
    };
    let (mut mpr, step) = Mpr::start(config, request, GRANTS, MODEL);
    let Some(verdict) = verdict else { return step };
    let asked = generations(step);
    assert_eq!((asked.len(), asked[0].temperature), (1, Some(0.0)));
    let text = last(&asked[0].messages);
    assert!(
        text.contains("[3]\nThe mill.") && text.ends_with("its number alone."),
        "{text}"
    );
    mpr.resume(vec![HostOutcome::Generated(vec![generated(verdict, -1.0)])])
}

#[test]
fn among_given_answers_the_model_chooses_or_the_configuration() {
    let order = |numbers: &[u32]| Step::Choose(numbers.to_vec());
    assert_eq!(chosen("{}", Some("[2]")), order(&[1, 2, 0]));
    for nothing in ["the second", "0", "4", ""] {
        assert_eq!(
            chosen("{}", Some(nothing)),
            order(&[2, 1, 0]),
            "the likeliest"
        );
    }
    assert_eq!(
        chosen(r#"{"select": "mean_logprob"}"#, None),
        order(&[2, 1, 0])
    );
    assert_eq!(chosen(r#"{"select": "majority"}"#, None), order(&[1, 0, 2]));
}

#[test]
fn what_fails_or_does_not_fit_goes_on_as_it_was() {
    let messages = request("Where is the owl?", None).messages;
    let (mut mpr, _) = started("{}", "4");
    let full = mpr.resume(vec![HostOutcome::Counted(vec![4000])]);
    assert_eq!(full, Step::ContinueWith(messages.clone()));
    let (mut mpr, _) = proposed("{}", "4");
    let failed = mpr.resume(vec![HostOutcome::Failed("too long".into())]);
    assert_eq!(failed, Step::ContinueWith(messages.clone()));
    let (mut mpr, _) = proposed("{}", "4");
    let nothing = mpr.resume(vec![HostOutcome::Generated(vec![generated("", 0.0)])]);
    assert_eq!(nothing, Step::ContinueWith(messages));
}

#[test]
fn candidates_leave_room_for_what_follows_them() {
    let (mut mpr, _) = started(r#"{"outline": false}"#, "16");
    mpr.max_tokens = None;
    let step = mpr.resume(vec![HostOutcome::Counted(vec![256])]);
    let all = generations(step);
    assert_eq!(all.len(), 16);
    assert_eq!(
        all[0].max_tokens,
        (4096 - 256 - INSTRUCTIONS - ANSWER_TOKENS) / 16
    );
    assert_eq!(all[0].shown.as_deref(), Some("Candidate 1:\n"));
}

#[test]
fn more_than_is_granted_or_makes_sense_is_refused() {
    let refused = |candidates: &str, grants: Grants| {
        let request = request("Where?", Some(candidates));
        match Mpr::start("{}", request, grants, MODEL).1 {
            Step::Refuse(message) => message,
            other => panic!("refused: {other:?}"),
        }
    };
    for wrong in ["0", "17", "-1", "\"4\"", "[]"] {
        assert!(
            refused(wrong, GRANTS).contains("between 1 and 16"),
            "{wrong}"
        );
    }
    let few = Grants {
        generations: 3,
        ..GRANTS
    };
    assert_eq!(
        refused("3", few),
        "`mpr_candidates` 3 takes 4 generations, and this server grants 3"
    );
}

#[test]
fn a_chinese_question_is_asked_in_chinese() {
    let (mut mpr, _) = Mpr::start("{}", request("猫头鹰在哪里？", Some("2")), GRANTS, MODEL);
    let all = generations(mpr.resume(vec![HostOutcome::Counted(vec![100])]));
    assert!(last(&all[0].messages).contains("先不要回答"));
}
