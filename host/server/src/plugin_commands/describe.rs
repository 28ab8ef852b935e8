//! What a plugin says of itself, in lines for a reader.

use std::fmt::Write as _;

use weir_output::{Grants, ParserInfo, PostProcessorInfo, RequestProcessor};

/// A parser's.
pub(super) fn parser(info: &ParserInfo) -> String {
    let roles: Vec<&str> = [
        (info.roles.reasoning, "reasoning"),
        (info.roles.tools, "tools"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect();
    let mut text = format!(
        "name: {} {}\nroles: {}\n",
        info.name,
        info.version,
        roles.join(", ")
    );
    let lists = [
        ("aliases", &info.aliases),
        ("markers", &info.markers),
        ("special tokens", &info.special_tokens),
        ("stop tokens", &info.stop_tokens),
    ];
    for (label, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
        let _ = writeln!(text, "{label}: {}", values.join(" "));
    }
    let template = info
        .chat_template
        .as_ref()
        .map_or("none", |_| "recommended");
    let _ = writeln!(text, "chat template: {template}");
    if !info.default_config.is_empty() {
        let _ = writeln!(text, "default configuration: {}", info.default_config);
    }
    text
}

/// A post-processor's.
pub(super) fn post_processor(info: &PostProcessorInfo) -> String {
    let interests = &info.interests;
    let wanted: Vec<&str> = [
        (interests.content, "content"),
        (interests.reasoning, "reasoning"),
        (interests.calls, "calls"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect();
    let mut text = format!(
        "name: {} {}\ninterests: {}\n",
        info.name,
        info.version,
        wanted.join(", ")
    );
    if !info.default_config.is_empty() {
        let _ = writeln!(text, "default configuration: {}", info.default_config);
    }
    text
}

/// A request processor's, with what it is granted.
pub(super) fn request_processor(plugin: &dyn RequestProcessor) -> String {
    let info = plugin.info();
    let Grants {
        steps,
        generations,
        generated_tokens,
        embeddings,
        stored_bytes,
    } = plugin.grants();
    let does = match info.chooses {
        true => "plans requests, chooses among answers",
        false => "plans requests",
    };
    let mut text = format!(
        "name: {} {}\n{does}\ngranted in a request: {steps} steps, {generations} generations of {generated_tokens} tokens \
         together, {embeddings} embeddings\ngranted in all: {stored_bytes} stored bytes\n",
        info.name, info.version,
    );
    if !info.default_config.is_empty() {
        let _ = writeln!(text, "default configuration: {}", info.default_config);
    }
    text
}
