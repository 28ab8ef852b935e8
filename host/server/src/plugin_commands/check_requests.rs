//! `weir plugin check` of a request processor: whether it comes to an end with whatever a host makes of what it asks for.
//!
//! A played host answers. What it says is made up of a number, so a failure is found again.

use std::{path::Path, sync::Arc, time::Instant};

use weir_corpus::fuzz::Random;
use weir_output::{
    FinishReason, Grants, PlannedMessage, PlannedModel, PlannedRequest, PluginError,
    ProcessorAction, ProcessorOutcome, ProcessorStep, RequestProcessor,
    request_processor::PlannedAnswer,
};
use weir_plugin_host::{AdHocPlugin, PluginHost, Registry};

use super::{
    Answer, PluginCommandError,
    check::{CHECKED, Json, Report},
};

/// Made-up requests.
const JUNK: u64 = 300;
/// Requests whose cost is measured.
const MEASURED: usize = 50;

/// What a plugin is granted that is checked: nobody knows what its own manifest will say.
const AMPLE: Grants = Grants {
    steps: 1000,
    generations: 1000,
    generated_tokens: 1_000_000,
    embeddings: 100_000,
    stored_bytes: 100_000_000,
};

/// What a played host makes of what it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    Willing,
    Failing,
    /// Whatever this number says.
    Random(u64),
}

/// Checks the component with this configuration.
///
/// # Errors
/// When it cannot be checked at all.
pub(super) fn check(
    host: &Arc<PluginHost>,
    file: &Path,
    config: &Json,
    mut report: Report,
    size: u64,
) -> Result<Answer, PluginCommandError> {
    let plugin = load(host, file, config, AMPLE)?;
    let nothing = Grants {
        steps: AMPLE.steps,
        generations: 0,
        generated_tokens: 0,
        embeddings: 0,
        stored_bytes: 0,
    };
    let bare = load(host, file, config, nothing)?;
    let info = plugin.info();
    let (name, version) = (&info.name, &info.version);
    let title = format!("{name} {version}, a request processor, {size} bytes");
    report.ok("contract", &title);
    report.ok("imports", "none");
    let said = |result: Result<String, PluginError>| result.map_err(|error| error.to_string());
    report.say("functions", said(every_way(&plugin, Host::Willing)));
    report.skipped("corpus", "cases are for parsers and post-processors");
    report.say("grants", said(every_way(&bare, Host::Willing)));
    report.say("failures", said(every_way(&plugin, Host::Failing)));
    match info.chooses {
        true => report.say("choice", said(chooses(&plugin))),
        false => report.skipped("choice", "it does not choose among answers"),
    }
    report.say("junk", junk(&plugin));
    report.say("cost", said(cost(&plugin)));
    Ok(report.answer())
}

type Plugin = Arc<dyn RequestProcessor>;

fn load(
    host: &Arc<PluginHost>,
    file: &Path,
    config: &Json,
    grants: Grants,
) -> Result<Plugin, PluginCommandError> {
    let plugin = AdHocPlugin {
        name: CHECKED.to_owned(),
        wasm: file.to_owned(),
    };
    let config = serde_json::Value::Object(config.clone()).to_string();
    let registry = Registry::builder(host)
        .ad_hoc_configured(&plugin, &config)?
        .granted(CHECKED, grants)
        .build()?;
    Ok(registry.request_processor(CHECKED)?)
}

const MODEL: PlannedModel = PlannedModel {
    context_tokens: 2048,
    embedding_tokens: Some(256),
};

fn message(role: &str, content: &str) -> PlannedMessage {
    PlannedMessage {
        role: role.to_owned(),
        content: Some(content.to_owned()),
        more: String::new(),
    }
}

fn request(messages: Vec<PlannedMessage>) -> PlannedRequest {
    PlannedRequest {
        digests: vec!["0123456789abcdef".repeat(4); messages.len()],
        messages,
        max_tokens: Some(100),
        ..PlannedRequest::default()
    }
}

/// A short conversation, one with a document, and one whose answer may be calls.
fn conversations() -> Vec<PlannedRequest> {
    let document = "The ferry leaves when the tide allows it, said the keeper. ".repeat(400);
    let short = vec![message("user", "Why is the sky blue?")];
    let long = vec![
        message("system", &document),
        message("user", "When does the ferry leave?"),
    ];
    let mut calling = request(short.clone());
    calling.may_call_tools = true;
    vec![request(short), request(long), calling]
}

fn every_way(plugin: &Plugin, host: Host) -> Result<String, PluginError> {
    let mut ends = Vec::new();
    for request in conversations() {
        let (step, steps) = run(plugin, &request, host)?;
        ends.push(format!("{} after {steps} steps", end_of(&step)));
    }
    Ok(ends.join(", "))
}

fn end_of(step: &ProcessorStep) -> &'static str {
    match step {
        ProcessorStep::Perform(_) | ProcessorStep::Done => "done",
        ProcessorStep::ContinueWith(_) => "goes on",
        ProcessorStep::ContinueAndPerform(..) => "goes on and works behind it",
        ProcessorStep::Answer(_) => "answers",
        ProcessorStep::Refuse(_) => "refuses",
        ProcessorStep::Choose(_) => "chooses",
    }
}

/// The step that ended a request, and how many there were; what comes behind an answer runs too.
fn run(
    plugin: &Plugin,
    request: &PlannedRequest,
    host: Host,
) -> Result<(ProcessorStep, usize), PluginError> {
    let (mut session, mut step) = plugin.start(request, &MODEL)?;
    let (mut steps, mut answered) = (1, None);
    loop {
        let actions = match &step {
            ProcessorStep::Perform(actions) => actions,
            ProcessorStep::ContinueAndPerform(_, actions) => actions,
            _ => return Ok((answered.unwrap_or(step), steps)),
        };
        let outcomes: Vec<_> = actions
            .iter()
            .enumerate()
            .map(|(index, action)| outcome(action, host, (steps + index) as u64))
            .collect();
        let next = session.resume(&outcomes)?;
        if matches!(step, ProcessorStep::ContinueAndPerform(..)) {
            answered = Some(step);
        }
        step = next;
        steps += 1;
    }
}

fn outcome(action: &ProcessorAction, host: Host, number: u64) -> ProcessorOutcome {
    let mut random = match host {
        Host::Failing => return ProcessorOutcome::Failed("nothing can be done".to_owned()),
        Host::Willing => None,
        Host::Random(seed) => Some(Random::new(seed, "", number)),
    };
    let mut below = |end: usize, plain: usize| match &mut random {
        Some(random) => random.below(end),
        None => plain,
    };
    if below(10, 1) == 0 {
        return ProcessorOutcome::Failed(String::new());
    }
    let mut count = |text: &str| (text.len() / 4) as u32 + below(50, 0) as u32;
    match action {
        ProcessorAction::Generate(all) => {
            let mut answer = || PlannedAnswer {
                text: ODD[below(ODD.len(), 0)].to_owned(),
                finish_reason: FinishReason::Stop,
                mean_logprob: (below(3, 1) > 0).then_some(-0.5),
                tokens: 3,
            };
            ProcessorOutcome::Generated(all.iter().map(|_| answer()).collect())
        }
        ProcessorAction::Embed(texts) => {
            let mut vector = || vec![below(100, 50) as f32 / 100.0, 0.5, -0.25];
            ProcessorOutcome::Embedded(texts.iter().map(|_| vector()).collect())
        }
        ProcessorAction::CountTokens(texts) => {
            ProcessorOutcome::Counted(texts.iter().map(|text| count(text)).collect())
        }
        ProcessorAction::CountPrompt(messages) => {
            let contents = messages.iter().filter_map(|own| own.content.as_deref());
            ProcessorOutcome::Counted(vec![contents.map(count).sum()])
        }
        ProcessorAction::StoreGet { keys, .. } => {
            let mut value = || (below(2, 0) > 0).then(|| vec![below(256, 0) as u8; 9]);
            ProcessorOutcome::Found(keys.iter().map(|_| value()).collect())
        }
        ProcessorAction::StorePut { .. } => ProcessorOutcome::Kept(below(2, 1) > 0),
    }
}

/// Texts that a careless plugin stumbles over.
const ODD: [&str; 8] = [
    "A plain answer.",
    "",
    " ",
    "答案是四十二。",
    "e\u{301}\u{0}\u{feff}\u{202e}",
    "[1]",
    "{\"a\": [",
    "🦉🦉🦉",
];

fn chooses(plugin: &Plugin) -> Result<String, PluginError> {
    let mut request = request(vec![message("user", "Why is the sky blue?")]);
    let candidate = |text: &str| PlannedAnswer {
        text: text.to_owned(),
        finish_reason: FinishReason::Stop,
        mean_logprob: Some(-1.0),
        tokens: 3,
    };
    request.candidates = ODD.map(candidate).into();
    let (step, steps) = run(plugin, &request, Host::Willing)?;
    Ok(match step {
        ProcessorStep::Choose(numbers) => {
            let (all, best) = (ODD.len(), numbers.len());
            format!("{best} of {all} answers after {steps} steps")
        }
        step => format!("{} after {steps} steps", end_of(&step)),
    })
}

/// Made-up conversations and results: each comes to an end, and to the same one again.
fn junk(plugin: &Plugin) -> Result<String, String> {
    for seed in 0..JUNK {
        let request = made_up(seed);
        let once = || run(plugin, &request, Host::Random(seed));
        let first = once().map_err(|error| format!("number {seed}: {error}"))?;
        let again = once().map_err(|error| format!("number {seed}: {error}"))?;
        if first != again {
            return Err(format!(
                "number {seed}: the same request, planned otherwise"
            ));
        }
    }
    Ok(format!("{JUNK} made-up requests, each twice"))
}

fn made_up(seed: u64) -> PlannedRequest {
    // What the host says has the numbers of its steps, from 1 on.
    let mut random = Random::new(seed, "", 0);
    let roles = ["system", "user", "assistant", "tool", "developer", "?"];
    let messages = (0..random.below(6)).map(|_| {
        let role = random.pick(&roles);
        let text = random.pick(&ODD);
        let mut message = message(role, &text.repeat(random.below(400)));
        if random.below(8) == 0 {
            message.content = None;
        }
        message
    });
    let mut made = request(messages.collect());
    if made.messages.is_empty() {
        made = request(vec![message("user", "")]);
    }
    made.max_tokens = (random.below(2) > 0).then(|| random.below(5000) as u32 + 1);
    let candidates = ["1", "3", "-1", "null", "\"x\"", "[]"];
    let value = *random.pick(&candidates);
    made.parameters = vec![("mpr_candidates".to_owned(), value.to_owned())];
    made.may_call_tools = random.below(4) == 0;
    made
}

fn cost(plugin: &Plugin) -> Result<String, PluginError> {
    let all = conversations();
    let mut times = Vec::with_capacity(MEASURED);
    for _ in 0..MEASURED {
        let begun = Instant::now();
        run(plugin, &all[0], Host::Willing)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let median = times[MEASURED / 2].as_secs_f64() * 1e6;
    Ok(format!("{median:.0} us to plan a short conversation"))
}
