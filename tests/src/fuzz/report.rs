//! Writes a finding as a corpus case whose expectation is still to be judged.

use weir_corpus::{
    compare::{Wholes, as_chunks},
    fuzz::{Broken, Input},
};
use weir_output::{FinishReason, ToolCallStreaming, ToolChoice};

use super::{execution::runner, subject::Subject};
use crate::check::expectation;

/// The report: how the rule was broken, and the input as a case whose expectation is still to be judged.
pub fn as_case(subject: &Subject, broken: &Broken, origin: &str) -> String {
    let Broken { input, finding, .. } = broken;
    let setup = &subject.setups[input.setup];
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut case = format!(
        "{:?} ({:?} mode): {}\n\n# tests/corpora/parsers/{}/\nshows = \"\"\npoints = [\"0\"]\nsource = {}\n",
        finding.rule,
        input.mode,
        finding.how,
        subject.name,
        quoted(origin)
    );
    let mut line = |key: &str, value: String| case.push_str(&format!("{key} = {value}\n"));
    if let Some(with) = &setup.with {
        line("with", quoted(with));
    }
    if !input.context.prompt_tail.is_empty() {
        line("prompt", quoted(&input.context.prompt_tail));
    }
    match input.ended {
        FinishReason::Stop => {}
        FinishReason::Length => line("finish_reason", quoted("length")),
        FinishReason::ContentFilter => line("finish_reason", quoted("content_filter")),
    }
    if input.context.strict_markers {
        line("strict_markers", "true".to_owned());
    }
    match &input.context.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => line("tool_choice", quoted("none")),
        ToolChoice::Required => line("tool_choice", quoted("required")),
        ToolChoice::Named(name) => line("tool_choice", format!("{{ name = {} }}", quoted(name))),
    }
    line("chunks", as_chunks(&input.fragments));
    for tool in &input.context.tools {
        let (name, parameters) = (quoted(&tool.name), quoted(&tool.parameters));
        case.push_str(&format!(
            "\n[[tools]]\nname = {name}\nparameters = {parameters}\n"
        ));
    }
    if !setup.config.is_empty() {
        case.push_str(&format!("\n[config]\n{}", setup.config));
    }
    case.push_str(&expected(subject, input).unwrap_or_default());
    case
}

/// What comes now of the whole text; none if that fails.
fn expected(subject: &Subject, input: &Input) -> Option<String> {
    let fold = |mode| {
        let parsers = &subject.setups[input.setup].native;
        let runner = runner(parsers, input);
        let run = || runner.run(input.fragments.clone(), mode).ok();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            .ok()
            .flatten()
    };
    let wholes = Wholes {
        incremental: fold(ToolCallStreaming::Incremental)?,
        complete: fold(ToolCallStreaming::Complete)?,
    };
    let mut document = toml_edit::DocumentMut::new();
    document["expect"] = toml_edit::Item::Table(expectation(&wholes, &input.fragments));
    Some(format!(
        "\n# what comes now, to be judged from the policy\n{document}"
    ))
}
