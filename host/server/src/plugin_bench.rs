//! `weir plugin bench`: what a parser costs through wasm, on this machine, for its author.
//!
//! It streams plain text, and a call made from the parser's own grammar, in deltas of 4 characters, through the same path a
//! request takes. Times are medians; nothing is judged here, since a busy machine is slower.

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use weir_output::{
    Event, Fragment, FragmentKind, Parser, PluginError, PostProcessor, RequestContext, Segment,
    Tool, ToolChoice,
};

const DELTA: usize = 4;
const CALL_LENGTHS: [usize; 2] = [2_000, 32_000];
const STREAMS: usize = 25;
/// Enough for a figure by the way.
const FEW_STREAMS: usize = 5;
/// Pushes that are timed together: few enough that most of them are not interrupted by other work of the machine.
const BLOCK: usize = 50;
const SESSIONS: usize = 500;
const LIVE_SESSIONS: usize = 200;

/// Measures a parser and returns the table to print.
///
/// # Errors
/// When the plugin fails.
pub fn run(parser: &dyn Parser) -> Result<String, PluginError> {
    let content = Stream {
        start: String::new(),
        deltas: cut(&"plain text with words ".repeat(100)),
    };
    let context = forced_call();
    let grammar = parser.grammar(&context)?;
    let mut rows = Vec::new();
    // First, while no slot of the instance pool was used yet.
    if let Some(bytes) = live_session_bytes(parser, &context, &content)? {
        let size = format!("{} KiB", bytes / 1024);
        rows.push(("memory of a live session".to_owned(), size));
    }
    let start = nanoseconds(session_time(parser, &context)?) / 1e3;
    rows.push(("start of a session".to_owned(), format!("{start:.1} us")));
    let push = push_time(parser, &context, &content)?;
    rows.push(("push of plain text".to_owned(), format!("{push:.0} ns")));
    match &grammar {
        Some(grammar) => {
            for length in CALL_LENGTHS {
                let push = push_time(parser, &context, &call(grammar, length))?;
                let label = format!("push in {length} argument characters");
                rows.push((label, format!("{push:.0} ns")));
            }
        }
        None => rows.push((
            "push in arguments".to_owned(),
            "its grammar forces no call".to_owned(),
        )),
    }
    let mut table = String::new();
    for (label, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{label:<34} {value}");
    }
    Ok(table)
}

/// What a parser's session takes to start, and a push of plain text; medians of a few streams.
///
/// # Errors
/// When the plugin fails.
pub(crate) fn parser_cost(
    parser: &dyn Parser,
    context: &RequestContext,
) -> Result<(Duration, Duration), PluginError> {
    let mut events = Vec::new();
    cost(
        || parser.session(context),
        |session, fragment| {
            events.clear();
            session.push(&fragment, &mut events)
        },
    )
}

/// The same of a post-processor that gets this text as content.
///
/// # Errors
/// When the plugin fails.
pub(crate) fn post_cost(
    post: &dyn PostProcessor,
    context: &RequestContext,
) -> Result<(Duration, Duration), PluginError> {
    let mut actions = Vec::new();
    cost(
        || post.session(context),
        |session, fragment| {
            actions.clear();
            session.push(&Event::Content(fragment), &mut actions)
        },
    )
}

fn cost<S>(
    start: impl Fn() -> Result<S, PluginError>,
    mut push: impl FnMut(&mut S, Fragment) -> Result<(), PluginError>,
) -> Result<(Duration, Duration), PluginError> {
    let deltas = cut(&"plain text with words ".repeat(50));
    let (mut starts, mut pushes) = (Vec::new(), Vec::new());
    for _ in 0..FEW_STREAMS {
        let begun = Instant::now();
        let mut session = start()?;
        starts.push(begun.elapsed());
        for block in deltas.chunks_exact(BLOCK) {
            let fragments: Vec<Fragment> = block.iter().map(|delta| fragment(delta)).collect();
            let begun = Instant::now();
            for fragment in fragments {
                push(&mut session, fragment)?;
            }
            pushes.push(begun.elapsed() / BLOCK as u32);
        }
    }
    Ok((median(starts), median(pushes)))
}

/// What a model wrote: what is pushed before the clock starts, and the deltas that are timed.
struct Stream {
    start: String,
    deltas: Vec<String>,
}

fn cut(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let pieces = characters.chunks(DELTA);
    pieces.map(|piece| piece.iter().collect()).collect()
}

/// One tool that must be called.
pub(crate) fn forced_call() -> RequestContext {
    RequestContext {
        tools: vec![Tool {
            name: "f".to_owned(),
            description: None,
            parameters: r#"{"type": "object", "properties": {"text": {"type": "string"}}}"#
                .to_owned(),
            strict: false,
        }],
        tool_choice: ToolChoice::Required,
        ..RequestContext::default()
    }
}

/// The call that a grammar forces, up to the end of its one string argument of so many characters.
fn call(grammar: &Segment, length: usize) -> Stream {
    let mut start = String::new();
    write_until_json(grammar, &mut start);
    start.push_str("{\"text\": \"");
    Stream {
        start,
        deltas: cut(&"some words ".repeat(length)[..length]),
    }
}

/// Writes the shortest text of a grammar up to its first JSON value, and says whether that was reached.
fn write_until_json(segment: &Segment, text: &mut String) -> bool {
    match segment {
        Segment::Json(_) => return true,
        Segment::Marker(part) | Segment::Literal(part) | Segment::Until(part) => {
            text.push_str(part);
        }
        Segment::Sequence(parts) => {
            return parts.iter().any(|part| write_until_json(part, text));
        }
        Segment::Alternative(parts) => {
            // The one that holds a call; it need not be the first.
            for part in parts {
                let before = text.len();
                if write_until_json(part, text) {
                    return true;
                }
                text.truncate(before);
            }
        }
        Segment::Repeat { segment, .. } => {
            let before = text.len();
            if write_until_json(segment, text) {
                return true;
            }
            text.truncate(before);
        }
        Segment::Pattern(_) | Segment::TextWithout(_) | Segment::Answer | Segment::Lark(_) => {}
    }
    false
}

fn fragment(text: &str) -> Fragment {
    Fragment {
        text: text.to_owned(),
        kind: FragmentKind::Text,
    }
}

/// Nanoseconds a push, the median over blocks of all streams.
fn push_time(
    parser: &dyn Parser,
    context: &RequestContext,
    stream: &Stream,
) -> Result<f64, PluginError> {
    let fragments: Vec<_> = stream.deltas.iter().map(|delta| fragment(delta)).collect();
    let mut times = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    for _ in 0..STREAMS {
        let mut session = parser.session(context)?;
        if !stream.start.is_empty() {
            session.push(&fragment(&stream.start), &mut events)?;
        }
        for block in fragments.chunks_exact(BLOCK) {
            let begun = Instant::now();
            for fragment in block {
                events.clear();
                session.push(fragment, &mut events)?;
            }
            times.push(begun.elapsed());
        }
    }
    Ok(nanoseconds(median(times)) / BLOCK as f64)
}

/// From nothing to a started session and back, the median.
fn session_time(parser: &dyn Parser, context: &RequestContext) -> Result<Duration, PluginError> {
    let mut times = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        let begun = Instant::now();
        drop(parser.session(context)?);
        times.push(begun.elapsed());
    }
    Ok(median(times))
}

/// What a session that is in the middle of an answer holds of this process's memory; where the system does not tell, None.
fn live_session_bytes(
    parser: &dyn Parser,
    context: &RequestContext,
    stream: &Stream,
) -> Result<Option<usize>, PluginError> {
    // What all sessions share is there before the first one is counted.
    let mut sessions = vec![parser.session(context)?];
    let Some(before) = resident_bytes() else {
        return Ok(None);
    };
    let mut events = Vec::new();
    for _ in 0..LIVE_SESSIONS {
        let mut session = parser.session(context)?;
        for delta in &stream.deltas {
            events.clear();
            session.push(&fragment(delta), &mut events)?;
        }
        sessions.push(session);
    }
    let after = resident_bytes().unwrap_or(before);
    drop(sessions);
    Ok(Some(after.saturating_sub(before) / LIVE_SESSIONS))
}

/// Resident memory of this process, from Linux's /proc/self/statm, which counts in pages of 4 KiB on every target of ours.
fn resident_bytes() -> Option<usize> {
    let counts = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = counts.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_made_up_from_a_grammar() {
        let literal = |text: &str| Segment::Literal(text.to_owned());
        let call_of = Segment::Sequence(vec![
            Segment::Marker("<call>".to_owned()),
            literal("{\"arguments\": "),
            Segment::Json("{}".to_owned()),
            literal("}"),
        ]);
        let grammar = Segment::Alternative(vec![
            literal("no call"),
            Segment::Repeat {
                segment: Box::new(call_of),
                separator: None,
                min: 1,
                max: None,
            },
        ]);
        let stream = call(&grammar, 10);
        assert_eq!(stream.start, "<call>{\"arguments\": {\"text\": \"");
        assert_eq!(stream.deltas, ["some", " wor", "ds"]);
    }
}
