//! The project's own commands: `cargo xtask COMMAND`. Each stands in its own file.

use std::{path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

mod ask;
mod candidates;
mod chat_templates;
mod check_plugins;
mod constrained_cost;
mod cpu_engine;
mod cpu_speed;
mod cpu_start;
mod cuda;
mod deps;
mod engine;
mod example;
mod forced_calls;
mod fuzz;
mod greedy_text;
mod guests;
mod hostile_clients;
mod long_documents;
mod page;
mod peer;
mod perplexity;
mod plugins;
mod push_cost;
mod real_clients;
mod release;
mod remote_peer;
mod report;
mod schema_answers;
mod schema_keywords;
mod schemathesis;
mod servers;
mod tidy;
mod tokenizers;
mod wit;

/// The root of the checkout this program was built in.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the plugins into components under plugins/dist and pin them in plugins.toml
    Plugins(plugins::Arguments),
    /// Run `weir plugin check` on every first-party plugin with its corpus
    CheckPlugins,
    /// Render conversations with real chat templates, by transformers and by weir
    ChatTemplates,
    /// Measure weir beside llama.cpp's server over HTTP, on processor cores
    CpuSpeed(cpu_speed::Arguments),
    /// Check the house rules that neither rustfmt nor clippy knows
    Tidy,
    /// Run seeded random inputs through the parsers, natively and as wasm
    Fuzz(fuzz::Arguments),
    /// Run seeded random bodies through what reads requests
    FuzzRequests(fuzz::Arguments),
    /// Start weir a few times: time to the first token from the start of the process, and memory
    CpuStart(cpu_start::Arguments),
    /// Measure what a push costs through wasm and natively
    PushCost,
    /// Compile and walk through seeded random schemas, regular expressions and grammars
    FuzzConstraints(fuzz::Arguments),
    /// Force calls on the default model in the formats of many families
    ForcedCalls(forced_calls::Arguments),
    /// Ask the default model for answers within a hundred schemas
    SchemaAnswers(schema_answers::Arguments),
    /// Hold JSON Schema's keywords to the JSON-Schema-Test-Suite
    SchemaKeywords(schema_keywords::Arguments),
    /// Measure what a schema costs in throughput, steps and time to the first token
    ConstrainedCost(constrained_cost::Arguments),
    /// Send requests that schemathesis makes of the OpenAPI document
    Schemathesis(schemathesis::Arguments),
    /// Ask real clients, libraries and programs, to talk to weir
    RealClients(real_clients::Arguments),
    /// Drive the server's page in a headless browser
    Page(page::Arguments),
    /// Run two thousand sessions at once, one in fifty hostile, for five minutes
    Soak,
    /// Load the engine with requests of every kind for half an hour, with little KV
    EngineSoak(engine::SoakArguments),
    /// Measure what is left of the engine's throughput when other processes want every core
    BusyCpu(engine::BusyArguments),
    /// Reload a plugin a hundred times while two hundred streams run
    Reload,
    /// Build and check what `weir plugin new` writes, in every language
    Guests(guests::Arguments),
    /// Serve among thousands of clients that mean harm, and end in good order
    HostileClients(hostile_clients::Arguments),
    /// Compare token ids and texts with the reference tokenizers, on 2,000 strings a family
    Tokenizers(tokenizers::Arguments),
    /// Measure the CPU engine and llama.cpp in turns, below HTTP
    CpuEngine(cpu_engine::Arguments),
    /// Compare the perplexity of a text by the CPU engine and by llama.cpp
    Perplexity(perplexity::Arguments),
    /// Compare greedy text by weir and by llama.cpp, in every format
    GreedyText(greedy_text::Arguments),
    /// Measure several candidates and one answer beside one candidate and an answer
    Candidates(candidates::Arguments),
    /// Hide facts in long documents, and time the first and the next question
    LongDocuments(long_documents::Arguments),
    /// Put weir in front of llama.cpp's server: conformance, greedy text, and what it costs
    RemotePeer(remote_peer::Arguments),
    /// Build weir for NVIDIA GPUs into one file to carry; type-check that code; keep its PTX
    Cuda(cuda::Arguments),
    /// Check which crate depends on which
    Deps,
    /// Check that frozen contract versions did not change
    Wit,
}

fn main() -> ExitCode {
    if cuda::nvcc::is_called() {
        return cuda::nvcc::main();
    }
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let root = Path::new(ROOT).canonicalize()?;
    match command {
        Command::Plugins(arguments) => plugins::run(&root, &arguments),
        Command::CheckPlugins => check_plugins::run(&root),
        Command::ChatTemplates => chat_templates::run(&root),
        Command::CpuSpeed(arguments) => cpu_speed::run(&root, &arguments),
        Command::Tidy => tidy::run(&root),
        Command::Fuzz(arguments) => fuzz::run(&root, &fuzz::PARSERS, &arguments),
        Command::FuzzRequests(arguments) => fuzz::run(&root, &fuzz::REQUESTS, &arguments),
        Command::CpuStart(arguments) => cpu_start::run(&root, &arguments),
        Command::PushCost => push_cost::run(&root),
        Command::FuzzConstraints(arguments) => fuzz::run(&root, &fuzz::CONSTRAINTS, &arguments),
        Command::ForcedCalls(arguments) => forced_calls::run(&root, &arguments),
        Command::SchemaAnswers(arguments) => schema_answers::run(&root, &arguments),
        Command::SchemaKeywords(arguments) => schema_keywords::run(&root, &arguments),
        Command::ConstrainedCost(arguments) => constrained_cost::run(&root, &arguments),
        Command::Schemathesis(arguments) => schemathesis::run(&root, &arguments),
        Command::RealClients(arguments) => real_clients::run(&root, &arguments),
        Command::Page(arguments) => page::run(&root, &arguments),
        Command::Soak => example::run(&root, &example::SOAK),
        Command::EngineSoak(arguments) => engine::soak(&root, &arguments),
        Command::BusyCpu(arguments) => engine::busy(&root, &arguments),
        Command::Reload => example::run(&root, &example::RELOAD),
        Command::Guests(arguments) => guests::run(&root, &arguments),
        Command::HostileClients(arguments) => hostile_clients::run(&root, &arguments),
        Command::Tokenizers(arguments) => tokenizers::run(&root, &arguments),
        Command::CpuEngine(arguments) => cpu_engine::run(&root, &arguments),
        Command::Perplexity(arguments) => perplexity::run(&root, &arguments),
        Command::GreedyText(arguments) => greedy_text::run(&root, &arguments),
        Command::Candidates(arguments) => candidates::run(&root, &arguments),
        Command::LongDocuments(arguments) => long_documents::run(&root, &arguments),
        Command::RemotePeer(arguments) => remote_peer::run(&root, &arguments),
        Command::Cuda(arguments) => cuda::run(&root, &arguments),
        Command::Deps => deps::run(),
        Command::Wit => wit::run(&root),
    }
}
