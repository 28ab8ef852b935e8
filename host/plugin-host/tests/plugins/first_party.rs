//! The checked-in first-party plugins load with their pins and do what they are for; the corpora test them in depth.

use std::path::Path;

use weir_output::{Action, Event, FinishReason, ParserSession, PluginError, RequestContext};
use weir_plugin_host::{PluginState, Registry, Role};

use crate::{HOST, session, text};

fn first_party() -> Registry {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Registry::builder(&HOST.0)
        .manifest_file(&root.join("plugins.toml"))
        .and_then(weir_plugin_host::RegistryBuilder::build)
        .expect("our own manifest")
}

/// Everything a session says of a text that comes in pieces of three characters.
fn parse(session: &mut dyn ParserSession, said: &str) -> Result<Vec<Event>, PluginError> {
    let mut events = Vec::new();
    let characters: Vec<char> = said.chars().collect();
    for piece in characters.chunks(3) {
        session.push(&text(&piece.iter().collect::<String>()), &mut events)?;
    }
    session.finish(FinishReason::Stop, &mut events)?;
    Ok(events)
}

/// A call's name and its whole arguments.
fn call(events: &[Event]) -> (String, String) {
    let mut call = (String::new(), String::new());
    for event in events {
        match event {
            Event::CallBegin { name, .. } => call.0.push_str(name),
            Event::CallArguments { delta, .. } => call.1.push_str(delta),
            _ => {}
        }
    }
    call
}

#[test]
fn every_plugin_loads() {
    let registry = first_party();
    for plugin in registry.status() {
        registry.load(&plugin.name).expect("it loads");
    }
    for plugin in registry.status() {
        let loaded = matches!(plugin.state, PluginState::Loaded(_));
        assert!(loaded, "{plugin:?}");
    }
}

#[test]
fn parsers_find_calls() {
    let registry = first_party();
    let cases = [
        (
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
        ),
        (
            "deepseek_v3",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
    ];
    for (name, said) in cases {
        let events = parse(session(&registry, name).as_mut(), said).expect("a sound plugin");
        assert_eq!(
            call(&events),
            ("f".to_owned(), "{\"a\": 1}".to_owned()),
            "{name}"
        );
        assert!(
            matches!(events.last(), Some(Event::CallEnd { index: 0 })),
            "{name}: {events:?}"
        );
    }
}

#[test]
fn the_reasoning_parser_is_found_by_model() {
    let registry = first_party();
    let model = "deepseek-ai/DeepSeek-R1";
    let (name, _) = registry
        .for_model(model, None, Role::Reasoning)
        .expect("they load")
        .expect("one fits");
    let events =
        parse(session(&registry, name).as_mut(), "<think>why</think>so").expect("a sound plugin");
    let reasoning: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Reasoning { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(reasoning, "why");
}

#[test]
fn the_post_processor_hands_content_on() {
    let registry = first_party();
    let post_processor = registry.post_processor("redact").expect("it loads");
    let mut session = post_processor
        .session(&RequestContext::default())
        .expect("a session");
    let mut actions = Vec::new();
    session
        .push(&Event::Content(text("nothing to hide")), &mut actions)
        .expect("a push");
    session
        .finish(FinishReason::Stop, &mut actions)
        .expect("an end");
    let content: String = actions
        .iter()
        .filter_map(|action| match action {
            Action::Emit(Event::Content(fragment)) => Some(fragment.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(content, "nothing to hide");
}

/// Which parser is chosen for a model, for its calls and for its reasoning.
fn chosen(registry: &Registry, model: &str, template: Option<&str>) -> [Option<String>; 2] {
    [Role::Tools, Role::Reasoning].map(|role| {
        let found = registry.for_model(model, template, role);
        found.expect("they load").map(|(name, _)| name.to_owned())
    })
}

#[test]
fn models_find_their_parsers_by_name() {
    let registry = first_party();
    let both = |name: &'static str| [Some(name), Some(name)];
    for (model, expected) in [
        (
            "deepseek-ai/DeepSeek-R1-0528",
            [Some("deepseek_v3"), Some("deepseek_r1")],
        ),
        ("deepseek-ai/DeepSeek-V3-0324", [Some("deepseek_v3"), None]),
        ("deepseek-ai/DeepSeek-V3.1", [Some("deepseek_v31"), None]),
        ("deepseek-ai/DeepSeek-V3.2", [Some("deepseek_v32"), None]),
        ("deepseek-ai/DeepSeek-V4", [Some("deepseek_v4"), None]),
        ("deepseek-ai/DeepSeek-V4.1", [Some("deepseek_v41"), None]),
        ("Qwen/Qwen2.5-7B-Instruct", [Some("qwen25"), None]),
        ("Qwen/Qwen3-8B", [Some("qwen25"), Some("qwen3")]),
        (
            "Qwen/Qwen3-Coder-480B-A35B-Instruct",
            [Some("qwen3_coder"), Some("qwen3")],
        ),
        ("NousResearch/Hermes-3-Llama-3.1-8B", [Some("qwen25"), None]),
        ("meta-llama/Llama-3.2-3B-Instruct", [Some("llama3"), None]),
        (
            "meta-llama/Llama-4-Scout-17B-16E-Instruct",
            [Some("llama4_pythonic"), None],
        ),
        ("mistralai/Magistral-Small-2509", both("mistral")),
        ("openai/gpt-oss-20b", both("gpt_oss")),
        ("moonshotai/Kimi-K2-Thinking", both("kimi_k2")),
        ("zai-org/GLM-4.6", both("glm45")),
        ("MiniMaxAI/MiniMax-M2", both("minimax_m2")),
        ("ByteDance-Seed/Seed-OSS-36B-Instruct", both("seed_oss")),
        ("stepfun-ai/step3", both("step3")),
        ("google/gemma-4-E4B-it", both("gemma4")),
        (
            "google/functiongemma-270m-it",
            [Some("functiongemma"), None],
        ),
        ("google/gemma-3-1b-it", [None, None]),
        ("ibm-granite/granite-3.3-8b-instruct", both("granite")),
        ("microsoft/Phi-4-mini-instruct", [Some("phi4mini"), None]),
        ("internlm/internlm2_5-7b-chat", [Some("internlm"), None]),
        ("tencent/Hunyuan-A13B-Instruct", [Some("hunyuan"), None]),
        ("ai21labs/AI21-Jamba-Mini-1.7", [Some("jamba"), None]),
        ("Salesforce/Llama-xLAM-2-8b-fc-r", [Some("xlam"), None]),
        ("baidu/ERNIE-4.5-21B-A3B-Thinking", both("ernie45")),
    ] {
        let expected = expected.map(|name| name.map(str::to_owned));
        assert_eq!(chosen(&registry, model, None), expected, "{model}");
    }
}

#[test]
fn models_find_their_parsers_by_template() {
    let registry = first_party();
    for (template, expected) in [
        (
            "<|im_start|>system\n<tool_call>\n{\"name\": ...}\n</tool_call>",
            "qwen25",
        ),
        (
            "<|im_start|>system\n<tool_call>\n<function=name>\n",
            "qwen3_coder",
        ),
        (
            "[gMASK]<sop><tool_call>name\n<arg_key>key</arg_key>",
            "glm45",
        ),
        (
            "<|start_of_role|>assistant<|end_of_role|><|tool_call|>[",
            "granite",
        ),
        (
            "<|start_of_role|>assistant<|end_of_role|><tool_call>{",
            "granite",
        ),
        (
            "<|start_of_role|>system<|end_of_role|><tool_call><function=name>",
            "qwen3_coder",
        ),
        (
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>name\n```json",
            "deepseek_v3",
        ),
        ("<｜tool▁call▁begin｜>name<｜tool▁sep｜>{}", "deepseek_v31"),
        ("<｜DSML｜function_calls>", "deepseek_v32"),
        ("<｜DSML｜tool_calls>", "deepseek_v4"),
        ("[INST]...[/INST][TOOL_CALLS][", "mistral"),
    ] {
        let [tools, _] = chosen(&registry, "my-tune", Some(template));
        assert_eq!(tools.as_deref(), Some(expected), "{template}");
    }
    let [_, reasoning] = chosen(
        &registry,
        "my-tune",
        Some("<|im_start|>assistant\n<think>\n"),
    );
    assert_eq!(reasoning.as_deref(), Some("qwen3"));
}
