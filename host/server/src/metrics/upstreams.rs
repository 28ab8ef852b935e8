//! The families of remote engines: each engine's figures, by its model and its address.

use weir_engine::{UpstreamFigures, UpstreamState};

use super::{
    exposition::{Exposition, Kind, Unit},
    families::Family,
};
use crate::state::ServedModel;

/// Reads one number of an engine's figures.
type Read = fn(&UpstreamFigures) -> u64;

const FAMILIES: &[Family<UpstreamFigures>] = &[
    (
        "weir_engine_streams",
        Kind::Gauge,
        "Sequences that the remote engine is computing for this server.",
        |engine| engine.streams as u64,
    ),
    (
        "weir_engine_outstanding_tokens",
        Kind::Gauge,
        "Tokens of prompts and answers that are still to come from the remote engine; requests go where they are fewest.",
        |engine| engine.outstanding_tokens as u64,
    ),
    (
        "weir_engine_failed_checks_total",
        Kind::Counter,
        "Health checks that the remote engine did not answer as it should.",
        |engine| engine.failed_checks,
    ),
    (
        "weir_engine_taken_out_total",
        Kind::Counter,
        "Times that the remote engine was taken out of service.",
        |engine| engine.taken_out,
    ),
    (
        "weir_engine_taken_back_total",
        Kind::Counter,
        "Times that the remote engine came into service, the first time included.",
        |engine| engine.taken_back,
    ),
];

/// How sequences end, as the counter's label has it.
const RESULTS: &[(&str, Read)] = &[
    ("finished", |engine| engine.finished),
    ("cancelled", |engine| engine.cancelled),
    ("refused", |engine| engine.refused),
    ("lost", |engine| engine.lost),
    ("broken", |engine| engine.broken),
];

/// Appends them; nothing for a server whose models are all computed here.
pub(super) fn append(out: &mut Exposition, served: &[&ServedModel]) {
    let engines = served.iter().flat_map(|model| {
        let generator = model.generator.iter();
        let figures = generator.flat_map(|generator| generator.upstreams());
        figures.map(|engine| (model.id(), engine))
    });
    let engines: Vec<_> = engines.collect();
    if engines.is_empty() {
        return;
    }
    out.family(
        "weir_engine_state",
        Kind::Gauge,
        "1 for the state that the remote engine is in: it gets requests (up), it says that it takes none (draining), or it does not answer (down).",
    );
    for (model, engine) in &engines {
        for state in UpstreamState::ALL {
            let labels = [
                ("model", *model),
                ("engine", engine.name.as_str()),
                ("state", state.as_str()),
            ];
            out.sample(&labels, u8::from(engine.state == state));
        }
    }
    for (name, kind, help, read) in FAMILIES {
        out.family(name, *kind, help);
        for (model, engine) in &engines {
            out.sample(&[("model", model), ("engine", &engine.name)], read(engine));
        }
    }
    out.family(
        "weir_engine_sequences_total",
        Kind::Counter,
        "Sequences sent to the remote engine that ended: lost ones before their first token, which are sent to another, broken ones behind it.",
    );
    for (model, engine) in &engines {
        for (result, read) in RESULTS {
            let labels = [
                ("model", *model),
                ("engine", engine.name.as_str()),
                ("result", result),
            ];
            out.sample(&labels, read(engine));
        }
    }
    out.family(
        "weir_engine_first_token_seconds",
        Kind::Histogram,
        "Time from sending a sequence to the remote engine to its first token.",
    );
    for (model, engine) in &engines {
        let labels = [("model", *model), ("engine", engine.name.as_str())];
        out.histogram(&labels, Unit::Time, &engine.first_token);
    }
}
