//! The `weir` binary: reads the command line and hands over. Usage errors and unusable input end with 2, a plugin
//! that is not right, or a server that answers nothing, with 1.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde_json::Value;
use weir_output::ToolCallStreaming;
use weir_server::{
    bench,
    cli::{
        self, Command, EngineOrderFlags, KeyCommand, ModelFlags, ParseFlags, PluginCommand,
        PluginFlags, ServeFlags,
    },
    config::{self, LogFormat},
    engine_orders, keys,
    model_list::ModelLists,
    parse, plugin_commands,
    pull::{self, Source},
    serve, wiring,
};

fn main() -> ExitCode {
    let cli = cli::parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // Every error of ours is one line that holds its cause.
            eprintln!("weir: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(flags) => Ok(serve::run(&flags)?),
        Command::Parse(flags) => parse_lines(&flags),
        Command::Pull { model } => pull_model(&model),
        Command::Models { config, json } => list_models(config, json),
        Command::Bench(flags) => {
            return Ok(match bench::run(&flags)? {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            });
        }
        Command::Plugin { command, sources } => return plugin_command(&command, &sources),
        Command::Key { command } => key_command(&command),
        Command::Config(flags) => print_config(&flags),
        Command::Engine(flags) => obey_engine_orders(flags),
        Command::Version => Ok(writeln!(
            io::stdout(),
            "weir {}",
            env!("CARGO_PKG_VERSION")
        )?),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn plugin_command(command: &PluginCommand, sources: &PluginFlags) -> Result<ExitCode> {
    serve::start_log("info", LogFormat::Text)?;
    let answer = plugin_commands::run(command, sources)?;
    io::stdout().write_all(answer.text.as_bytes())?;
    Ok(if answer.right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn parse_lines(flags: &ParseFlags) -> Result<()> {
    serve::start_log("info", LogFormat::Text)?;
    let registry = wiring::registry(&(&flags.sources).into())?;
    let chain = wiring::Chain::named(&registry, &(&flags.parsers).into())?;
    let tool_call_streaming = match flags.parsers.tool_call_streaming.as_deref() {
        None | Some("incremental") => ToolCallStreaming::Incremental,
        Some("complete") => ToolCallStreaming::Complete,
        Some(other) => {
            anyhow::bail!("--tool-call-streaming is `{other}`; use incremental or complete")
        }
    };
    let options = parse::ParseOptions {
        tools: chain.tools,
        reasoning: chain.reasoning,
        post: chain.post,
        tool_call_streaming,
        events: flags.events,
    };
    if !flags.files.is_empty() {
        let output = io::stdout().lock();
        return Ok(parse::run_files(&flags.files, output, &options)?);
    }
    Ok(parse::run(
        io::stdin().lock(),
        io::stdout().lock(),
        &options,
    )?)
}

/// Settings of the server's, from the environment, hold here too; only a single model's engine is run.
fn obey_engine_orders(flags: EngineOrderFlags) -> Result<()> {
    let flags = ServeFlags {
        model: ModelFlags {
            model: flags.model,
            ..ModelFlags::default()
        },
        engine: flags.engine,
        ..ServeFlags::default()
    };
    let config = config::load(&flags)?.config;
    serve::start_log(&config.log_level, config.log_format)?;
    let runner = wiring::runner(&config, &Source::parse(&config.model)?)?;
    Ok(engine_orders::run(
        runner,
        io::stdin().lock(),
        io::stdout().lock(),
    )?)
}

fn pull_model(model: &str) -> Result<()> {
    serve::start_log("info", LogFormat::Text)?;
    let source = Source::parse(model)?;
    let local = pull::fetch(&source)?;
    // The path alone on stdout, so that a script can take it.
    writeln!(io::stdout(), "{}", local.path().display())?;
    let done = match source.is_local() {
        true => "it is here already, there is nothing to fetch",
        false => "it is here",
    };
    Ok(writeln!(
        io::stderr(),
        "{done}; to serve it: weir serve --model {model}"
    )?)
}

fn list_models(config: Option<PathBuf>, json: bool) -> Result<()> {
    let flags = |config| ServeFlags {
        config: Some(config),
        ..ServeFlags::default()
    };
    let loaded = config
        .map(|config| config::load(&flags(config)))
        .transpose()?;
    let lists = ModelLists::gather(loaded.as_ref().map(|loaded| &loaded.config));
    let text = match json {
        true => format!("{:#}\n", lists.to_json()),
        false => lists.to_table(SystemTime::now()),
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// The entry alone goes to stdout, so that it can be appended to a file; the key is to be seen once.
fn key_command(command: &KeyCommand) -> Result<()> {
    let KeyCommand::New { name } = command;
    let (key, entry) = keys::new_entry(name).map_err(anyhow::Error::msg)?;
    io::stdout().write_all(entry.as_bytes())?;
    Ok(writeln!(
        io::stderr(),
        "the key of {name}, which weir does not keep: {key}"
    )?)
}

fn print_config(flags: &ServeFlags) -> Result<()> {
    let loaded = config::load(flags)?;
    let mut out = io::stdout().lock();
    let values = serde_json::to_value(&loaded.config).context("the configuration")?;
    for (key, value) in values.as_object().into_iter().flatten() {
        let source = loaded.sources.get(key).map_or("default", String::as_str);
        for (key, shown) in shown(key, value) {
            writeln!(out, "{key} = {shown}  # {source}")?;
        }
    }
    for key in &loaded.unknown {
        writeln!(out, "# unknown: {key}")?;
    }
    Ok(())
}

/// A key as its lines: a list of models has one for each key that an entry gives, and keys of the API are not shown.
fn shown(key: &str, value: &Value) -> Vec<(String, String)> {
    match (key, value.as_array().map(Vec::as_slice)) {
        ("api_key" | "admin_key", Some(keys)) => {
            vec![(key.to_owned(), format!("{} key(s), not shown", keys.len()))]
        }
        ("engine_api_key", _) if !value.is_null() => {
            vec![(key.to_owned(), "not shown".to_owned())]
        }
        ("models", Some(models @ [_, ..])) => {
            let keys = models.iter().enumerate().flat_map(|(index, model)| {
                let given = model.as_object().into_iter().flatten();
                let given = given.filter(|(_, value)| !value.is_null());
                given.map(move |(key, value)| (format!("models[{index}].{key}"), keyless(value)))
            });
            keys.collect()
        }
        _ => vec![(key.to_owned(), keyless(value))],
    }
}

/// A value as JSON, the keys of engines in it not shown.
fn keyless(value: &Value) -> String {
    let mut value = value.clone();
    for engine in value.as_array_mut().into_iter().flatten() {
        if let Some(key) = engine.get_mut("api_key").filter(|key| !key.is_null()) {
            *key = "not shown".into();
        }
    }
    value.to_string()
}
