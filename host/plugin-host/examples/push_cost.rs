//! What a session and a push cost, the host's side included: `cargo run --release -p weir-plugin-host --example push_cost`.
//!
//! It prints and asserts nothing: a time is no test. The stream is a hermes call in deltas of 4 characters.

use std::{error::Error, path::Path, time::Instant};

use weir_output::{FinishReason, Fragment, FragmentKind, Parser, RequestContext};
use weir_plugin_host::{PluginHost, PluginHostConfig, Registry};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let host = PluginHost::new(&PluginHostConfig::default())?;
    let registry = Registry::builder(&host)
        .manifest_file(&root.join("plugins.toml"))?
        .build()?;

    let start = Instant::now();
    let parser = registry.parser("qwen25")?;
    println!("compile and load    {:?}", start.elapsed());
    session_cost(parser.as_ref())?;
    for length in [500, 2_000, 8_000, 32_000] {
        let call = format!(
            "<tool_call>\n{{\"name\": \"f\", \"arguments\": {{\"text\": \"{}\"}}}}\n</tool_call>",
            "x".repeat(length)
        );
        push_cost(
            parser.as_ref(),
            &format!("call, {length} characters"),
            &call,
        )?;
    }
    push_cost(parser.as_ref(), "content", &"word ".repeat(2_000))?;
    Ok(())
}

fn session_cost(parser: &dyn Parser) -> Result<(), Box<dyn Error>> {
    const SESSIONS: u32 = 2_000;
    let context = RequestContext::default();
    let fragment = Fragment {
        text: "word".to_owned(),
        kind: FragmentKind::Text,
    };
    let mut events = Vec::new();
    let start = Instant::now();
    for _ in 0..SESSIONS {
        parser.session(&context)?.push(&fragment, &mut events)?;
        events.clear();
    }
    println!("session, first push {:?}", start.elapsed() / SESSIONS);
    Ok(())
}

fn push_cost(parser: &dyn Parser, label: &str, text: &str) -> Result<(), Box<dyn Error>> {
    const ROUNDS: u32 = 20;
    let characters: Vec<char> = text.chars().collect();
    let fragments: Vec<_> = characters
        .chunks(4)
        .map(|delta| Fragment {
            text: delta.iter().collect(),
            kind: FragmentKind::Text,
        })
        .collect();
    let mut events = Vec::new();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let mut session = parser.session(&RequestContext::default())?;
        let start = Instant::now();
        for fragment in &fragments {
            session.push(fragment, &mut events)?;
        }
        session.finish(FinishReason::Stop, &mut events)?;
        best = best.min(start.elapsed().as_secs_f64() / fragments.len() as f64);
        events.clear();
    }
    println!(
        "push, {label}: {:.0} ns (best of {ROUNDS} streams)",
        best * 1e9
    );
    Ok(())
}
