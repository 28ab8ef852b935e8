//! Runs one input and says what is wrong with what came of it: what must hold for every input, whatever it means.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
};

use weir_corpus::{
    case::ExpectedCall,
    chunking::{Cut, apply},
    compare::as_chunks,
    fold::{Folded, Runner},
    fuzz::{Finding, Input, Rule, text},
};
use weir_output::{
    Event, Fragment, FragmentKind, Parser, PluginError, ToolCallStreaming, ToolChoice,
    is_json_object,
};

use super::subject::{Setup, Subject};

/// Components whose calls stand between markers, all of which are markup wherever they stand outside of a call's JSON. Others
/// have calls without markers, or answer with control tokens that are data.
const MARKED: &[&str] = &["qwen25", "deepseek_v3", "deepseek_v31"];

/// Components that read several messages, which stand on lines of their own in what a client sees. Their control tokens are
/// markup even within a call's JSON.
const MESSAGES: &[&str] = &["gpt_oss"];

/// Components whose formats' arguments are no JSON and become it: their bytes are not all the model's.
const NOT_JSON: &[&str] = &[
    "deepseek_dsml",
    "functiongemma",
    "gemma4",
    "glm45",
    "minimax_m2",
    "pythonic",
    "qwen3_coder",
    "seed_oss",
    "step3",
];

/// What a client had of a run.
struct Seen {
    events: Vec<Event>,
    folded: Folded,
}

/// Runs an input, whole and cut at these places, natively and, where it is loaded, as wasm.
///
/// # Errors
/// The first rule that was broken.
pub fn check(subject: &Subject, input: &Input, cuts: &[Cut]) -> Result<(), Finding> {
    let setup = &subject.setups[input.setup];
    let whole = see(&setup.native, input, input.fragments.clone(), input.mode)?;
    check_one(subject, setup, input, &whole)?;
    let pieces = apply(&input.fragments, cuts);
    let cut = see(&setup.native, input, pieces.clone(), input.mode)?;
    same(Rule::OneFold, &whole.folded, &cut.folded, &pieces)?;
    let other = match input.mode {
        ToolCallStreaming::Incremental => ToolCallStreaming::Complete,
        ToolCallStreaming::Complete | ToolCallStreaming::Folded => ToolCallStreaming::Incremental,
    };
    let other = see(&setup.native, input, input.fragments.clone(), other)?;
    same_calls(&whole.folded, &other.folded)?;
    if !setup.wasm.is_empty() {
        let wasm = see(&setup.wasm, input, pieces.clone(), input.mode)?;
        same(Rule::SameAsWasm, &whole.folded, &wasm.folded, &pieces)?;
    }
    Ok(())
}

fn broken(rule: Rule, how: impl Into<String>) -> Result<(), Finding> {
    let how = how.into();
    Err(Finding { rule, how })
}

fn see(
    parsers: &[Arc<dyn Parser>],
    input: &Input,
    fragments: Vec<Fragment>,
    mode: ToolCallStreaming,
) -> Result<Seen, Finding> {
    let runner = runner(parsers, input);
    let run = || {
        let (events, ended) = runner.events(fragments, mode)?;
        let folded = runner.fold(&events, ended);
        Ok::<_, PluginError>(Seen { events, folded })
    };
    match quietly(run) {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(Finding {
            rule: Rule::NoPluginError,
            how: error.to_string(),
        }),
        Err(how) => Err(Finding {
            rule: Rule::NoPanic,
            how,
        }),
    }
}

/// These parsers for this input.
pub fn runner(parsers: &[Arc<dyn Parser>], input: &Input) -> Runner {
    let empty = Runner::new(input.context.clone(), input.ended);
    let parsers = parsers.iter().cloned();
    parsers.fold(empty, Runner::with_parser)
}

thread_local! {
    /// What panicked last, where panics are caught and told by their finder.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs this; a panic is not printed but answered.
fn quietly<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = PANIC.with_borrow_mut(|panic| {
                panic
                    .as_mut()
                    .map(|panic| *panic = info.to_string())
                    .is_some()
            });
            if !caught {
                before(info);
            }
        }));
    });
    PANIC.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let told = PANIC.take().unwrap_or_default();
    result.map_err(|_| told)
}

fn same(rule: Rule, whole: &Folded, other: &Folded, pieces: &[Fragment]) -> Result<(), Finding> {
    if whole == other {
        return Ok(());
    }
    let pieces = as_chunks(pieces);
    broken(
        rule,
        format!("cut as {pieces}\n whole\n{whole} got\n{other}"),
    )
}

fn same_calls(one: &Folded, other: &Folded) -> Result<(), Finding> {
    let closed = |folded: &Folded| -> Vec<(String, String)> {
        let closed = folded.calls.iter().filter(|call| call.complete);
        closed
            .map(|call| (call.name.clone(), call.arguments.clone()))
            .collect()
    };
    let ends = |folded: &Folded| (folded.reasoning.clone(), folded.finish_reason);
    if closed(one) == closed(other) && ends(one) == ends(other) {
        return Ok(());
    }
    broken(
        Rule::SameCallsInBothModes,
        format!("one mode\n{one} the other\n{other}"),
    )
}

/// What one run must keep to.
fn check_one(subject: &Subject, setup: &Setup, input: &Input, seen: &Seen) -> Result<(), Finding> {
    let folded = &seen.folded;
    let whole = text(&input.fragments);
    let is_one_of = |components: &[&str]| components.contains(&subject.component.as_str());
    let messages = is_one_of(MESSAGES);
    let with = setup.with_component.as_deref();
    let not_json = is_one_of(NOT_JSON) || with.is_some_and(|with| NOT_JSON.contains(&with));
    for call in folded.calls.iter().filter(|call| call.complete) {
        if !is_json_object(&call.arguments) {
            return broken(Rule::ArgumentsAreAnObject, folded.to_string());
        }
        let kept = if not_json {
            true
        } else if messages {
            is_part_of(&call.arguments, &whole)
        } else {
            whole.contains(&call.arguments)
        };
        // Missing arguments are written for the model, and a string that holds them is unwrapped.
        if !kept && call.arguments != "{}" && !whole.contains('\\') {
            return broken(Rule::ArgumentsKeepTheirBytes, folded.to_string());
        }
    }
    for text in [&folded.content, &folded.reasoning] {
        let unbroken = if messages {
            text.replace('\n', "")
        } else {
            text.clone()
        };
        if !is_part_of(&unbroken, &whole) {
            return broken(Rule::TextIsOfTheInput, folded.to_string());
        }
    }
    // What was streamed of an abandoned call stands, even where it is read again as something else.
    let closed = folded.calls.iter().filter(|call| call.complete);
    let calls: usize = if not_json { 0 } else { closed.map(size).sum() };
    // A call may have begun in the prompt.
    let written = whole.len() + input.context.prompt_tail.len();
    if folded.content.len() + folded.reasoning.len() + calls > written {
        return broken(Rule::NothingTwice, folded.to_string());
    }
    match setup.tools_alone() {
        Some(parser) if is_one_of(MARKED) => {
            check_marked(&parser.info().special_tokens, input, seen)
        }
        _ => Ok(()),
    }
}

/// What a call took from the input at least; missing arguments are written for the model.
fn size(call: &ExpectedCall) -> usize {
    let arguments = match call.arguments.as_str() {
        "{}" => 0,
        written => written.len(),
    };
    call.name.len() + arguments
}

/// Whether `part` is what remains of `whole` when some characters are left out.
fn is_part_of(part: &str, whole: &str) -> bool {
    let mut whole = whole.chars();
    part.chars()
        .all(|character| whole.any(|other| other == character))
}

fn check_marked(markers: &[String], input: &Input, seen: &Seen) -> Result<(), Finding> {
    if input.context.tool_choice == ToolChoice::None {
        return Ok(());
    }
    let strict = input.context.strict_markers;
    let is_marker = |text: &str| markers.iter().any(|marker| marker == text);
    let leak = seen.events.iter().find(|event| match event {
        Event::Content(fragment) if fragment.kind == FragmentKind::Control => {
            is_marker(&fragment.text)
        }
        _ => false,
    });
    if let Some(leak) = leak {
        return broken(Rule::NoMarkerLeaks, format!("{leak:?}"));
    }
    let whole = text(&input.fragments);
    let marked = if strict {
        let control = |fragment: &&Fragment| fragment.kind == FragmentKind::Control;
        input
            .fragments
            .iter()
            .filter(control)
            .any(|fragment| is_marker(&fragment.text))
    } else {
        markers.iter().any(|marker| whole.contains(marker.as_str()))
    };
    if !marked && seen.folded.content != whole {
        return broken(Rule::PlainTextIsContent, seen.folded.to_string());
    }
    Ok(())
}
