//! Every family that `GET /metrics` shows: name, type and meaning stand here, next to where the number comes from.

use std::sync::atomic::Ordering;

use weir_constrain::MaskMeasurements;
use weir_engine::{EngineCounters, EngineFigures, Histogram, Measurements};
use weir_plugin_host::{CounterSnapshot, PluginState, PluginStatus};

use super::{
    Metrics, ModelMetrics, Plugins, Totals,
    exposition::{Exposition, Kind, Unit},
    upstreams,
};
use crate::state::{AppState, Embedder, ServedModel};

/// A family whose value is read from a `T`.
pub(super) type Family<T> = (&'static str, Kind, &'static str, fn(&T) -> u64);

const OF_ENGINE: &[Family<EngineCounters>] = &[
    (
        "weir_sequences_waiting",
        Kind::Gauge,
        "Sequences that wait to be started, or started again after preemption.",
        |engine| engine.waiting as u64,
    ),
    (
        "weir_sequences_running",
        Kind::Gauge,
        "Sequences that are being computed.",
        |engine| engine.running as u64,
    ),
    (
        "weir_sequences_paused",
        Kind::Gauge,
        "Sequences that stand still because their clients read slowly.",
        |engine| engine.paused as u64,
    ),
    (
        "weir_kv_blocks",
        Kind::Gauge,
        "KV blocks there are.",
        |engine| engine.blocks_total as u64,
    ),
    (
        "weir_kv_blocks_used",
        Kind::Gauge,
        "KV blocks in use.",
        |engine| engine.blocks_used as u64,
    ),
    (
        "weir_kv_blocks_cached",
        Kind::Gauge,
        "KV blocks that nobody uses and whose content can be found again.",
        |engine| engine.blocks_cached as u64,
    ),
    (
        "weir_kv_blocks_evicted_total",
        Kind::Counter,
        "Cached KV blocks that were taken for something else.",
        |engine| engine.blocks_evicted,
    ),
    (
        "weir_prefix_cache_queried_tokens_total",
        Kind::Counter,
        "Prompt tokens looked up in the prefix cache, counted for each sequence.",
        |engine| engine.prefix_query_tokens,
    ),
    (
        "weir_prefix_cache_hit_tokens_total",
        Kind::Counter,
        "Prompt tokens found in the prefix cache.",
        |engine| engine.prefix_hit_tokens,
    ),
    (
        "weir_preemptions_total",
        Kind::Counter,
        "Sequences that gave their KV blocks back because there were too few.",
        |engine| engine.preemptions,
    ),
    (
        "weir_forced_tokens_total",
        Kind::Counter,
        "Tokens that a schema or grammar left no choice of; most take no step of their own.",
        |engine| engine.forced_tokens,
    ),
    (
        "weir_failed_steps_total",
        Kind::Counter,
        "Steps that failed in the runner.",
        |engine| engine.failed_steps,
    ),
];

/// A histogram read from a `T`.
type HistogramFamily<T> = (&'static str, Unit, &'static str, fn(&T) -> &Histogram);

const MEASURED_BY_ENGINE: &[HistogramFamily<Measurements>] = &[
    (
        "weir_inter_token_latency_seconds",
        Unit::Time,
        "Time between two tokens of an answer, in the engine; pauses for slow clients left out.",
        |engine| &engine.inter_token,
    ),
    (
        "weir_step_seconds",
        Unit::Time,
        "Time of one engine step: scheduling, model, sampling.",
        |engine| &engine.step,
    ),
    (
        "weir_step_sequences",
        Unit::Count,
        "Sequences in one step: the batch size.",
        |engine| &engine.step_sequences,
    ),
    (
        "weir_step_tokens",
        Unit::Count,
        "Tokens computed in one step, prefill included.",
        |engine| &engine.step_tokens,
    ),
];

const OF_MODEL: &[Family<ModelMetrics>] = &[
    (
        "weir_prompt_tokens_total",
        Kind::Counter,
        "Prompt tokens of requests whose first token came, and of embedded texts.",
        |model| model.prompt_tokens.load(Ordering::Relaxed),
    ),
    (
        "weir_cached_prompt_tokens_total",
        Kind::Counter,
        "Those of them that were not computed again.",
        |model| model.cached_tokens.load(Ordering::Relaxed),
    ),
    (
        "weir_generated_tokens_total",
        Kind::Counter,
        "Generated tokens, end tokens included.",
        |model| model.generated_tokens.load(Ordering::Relaxed),
    ),
    (
        "weir_constraints_refused_total",
        Kind::Counter,
        "Schemas, expressions, grammars and tool choices that could not be enforced: each was a 400.",
        |model| model.constraints_refused.load(Ordering::Relaxed),
    ),
];

const MEASURED_OF_MODEL: &[HistogramFamily<ModelMetrics>] = &[
    (
        "weir_time_to_first_token_seconds",
        Unit::Time,
        "Time from a request's head to its first token.",
        |model| &model.first_token,
    ),
    (
        "weir_constraint_seconds",
        Unit::Time,
        "Time to put together and compile what a request forces its answer to be; its count is the requests that force something.",
        |model| &model.constraint,
    ),
];

/// A histogram of times read from what masks cost.
type MaskFamily = (
    &'static str,
    &'static str,
    fn(&MaskMeasurements) -> &Histogram,
);

const OF_MASKS: &[MaskFamily] = &[
    (
        "weir_mask_seconds",
        "Time to find out which tokens a forced answer may go on with, beside the model's step.",
        |masks| &masks.mask,
    ),
    (
        "weir_mask_wait_seconds",
        "Time that a step, its logits computed, waited for such a mask.",
        |masks| &masks.wait,
    ),
    (
        "weir_forced_wait_seconds",
        "Time that a step waited to learn which tokens of an answer are forced, and so need no step.",
        |masks| &masks.forced_wait,
    ),
];

const OF_PLUGIN: &[Family<CounterSnapshot>] = &[
    (
        "weir_plugin_instances",
        Kind::Gauge,
        "Sessions that run now; each is an instance.",
        |plugin| plugin.live,
    ),
    (
        "weir_plugin_sessions_total",
        Kind::Counter,
        "Sessions that ended or failed.",
        |plugin| plugin.sessions,
    ),
    (
        "weir_plugin_calls_total",
        Kind::Counter,
        "Calls with a fragment or event; counted when their session ends, as time and events are.",
        |plugin| plugin.pushes,
    ),
    (
        "weir_plugin_events_total",
        Kind::Counter,
        "Events and actions returned.",
        |plugin| plugin.events,
    ),
    (
        "weir_plugin_failures_total",
        Kind::Counter,
        "Calls that trapped, ran out of time or memory, or broke the contract.",
        |plugin| plugin.failures,
    ),
];

/// The text of all families.
pub fn render(state: &AppState) -> String {
    let mut out = Exposition::default();
    out.family(
        "weir_build_info",
        Kind::Gauge,
        "Always 1; the label says which weir this is.",
    );
    out.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    of_requests(&mut out, &state.metrics);
    let served: Vec<&ServedModel> = state.models.served().map(|(_, model)| &**model).collect();
    of_models(&mut out, state, &served);
    of_engines(&mut out, &served);
    upstreams::append(&mut out, &served);
    if let Some(plugins) = state.metrics.plugins.get() {
        of_plugins(&mut out, plugins);
    }
    out.into_text()
}

fn of_requests(out: &mut Exposition, metrics: &Metrics) {
    let in_flight = metrics.in_flight.load(Ordering::Relaxed);
    out.family(
        "weir_http_requests_in_flight",
        Kind::Gauge,
        "Requests whose answers are not complete.",
    );
    out.sample(&[], in_flight);
    let totals = metrics.totals();
    let Totals { routes, errors } = &*totals;
    out.family("weir_http_requests_total", Kind::Counter, "Requests that ended, by route and status; 499: the client left before there was an answer.");
    for (route, totals) in routes {
        for (status, count) in &totals.by_status {
            out.sample(
                &[
                    ("route", route.as_str()),
                    ("status", status.to_string().as_str()),
                ],
                count,
            );
        }
    }
    out.family(
        "weir_http_requests_aborted_total",
        Kind::Counter,
        "Requests whose clients left before the last byte of the answer.",
    );
    for (route, totals) in routes {
        out.sample(&[("route", route.as_str())], totals.aborted);
    }
    out.family(
        "weir_http_request_duration_seconds",
        Kind::Histogram,
        "Time from a request's head to its answer's last byte.",
    );
    for (route, totals) in routes {
        out.histogram(
            &[("route", route.as_str())],
            Unit::Time,
            &totals.duration.snapshot(),
        );
    }
    out.family("weir_errors_total", Kind::Counter, "Requests that ended with an error, in the answer or in its stream, by the error's code or else its type.");
    for (kind, count) in errors {
        out.sample(&[("kind", kind)], count);
    }
}

fn of_models(out: &mut Exposition, state: &AppState, served: &[&ServedModel]) {
    out.family(
        "weir_model_loaded",
        Kind::Gauge,
        "1 if the model is served, 0 while it loads or when it could not be loaded.",
    );
    for (id, loaded) in state.models.loaded() {
        out.sample(&[("model", id)], u8::from(loaded));
    }
    out.family(
        "weir_model_load_seconds",
        Kind::Gauge,
        "Time it took to fetch and load the model.",
    );
    for model in served {
        if let Some(time) = model.metrics.load_time() {
            out.sample(&[("model", model.id())], time.as_secs_f64());
        }
    }
    for (name, kind, help, read) in OF_MODEL {
        out.family(name, *kind, help);
        for model in served {
            out.sample(&[("model", model.id())], read(&model.metrics));
        }
    }
    out.family(
        "weir_answers_total",
        Kind::Counter,
        "Generated answers that ended, by finish reason.",
    );
    for model in served.iter().filter(|model| model.generator.is_some()) {
        for (reason, count) in model.metrics.answers() {
            out.sample(&[("model", model.id()), ("finish_reason", reason)], count);
        }
    }
    for (name, unit, help, read) in MEASURED_OF_MODEL {
        out.family(name, Kind::Histogram, help);
        for model in served.iter().filter(|model| model.generator.is_some()) {
            let snapshot = read(&model.metrics).snapshot();
            out.histogram(&[("model", model.id())], *unit, &snapshot);
        }
    }
    for (name, help, read) in OF_MASKS {
        out.family(name, Kind::Histogram, help);
        for model in served.iter().filter(|model| model.generator.is_some()) {
            if let Some(measured) = model.constraints.measurements() {
                let snapshot = read(&measured).snapshot();
                out.histogram(&[("model", model.id())], Unit::Time, &snapshot);
            }
        }
    }
}

fn of_engines(out: &mut Exposition, served: &[&ServedModel]) {
    let figures = |model: &&ServedModel| -> Option<(String, EngineFigures)> {
        Some((model.id().to_owned(), model.generator.as_ref()?.figures()?))
    };
    out.family(
        "weir_embedding_requests",
        Kind::Gauge,
        "Requests for embeddings that wait or run.",
    );
    for model in served {
        // A generative model's are among its engine's sequences.
        if let Ok(Embedder::Encoder(embedder)) = &model.embedder {
            out.sample(&[("model", model.id())], embedder.unfinished());
        }
    }
    let engines: Vec<_> = served.iter().filter_map(figures).collect();
    for (name, kind, help, read) in OF_ENGINE {
        out.family(name, *kind, help);
        for (model, engine) in &engines {
            out.sample(&[("model", model.as_str())], read(&engine.counters));
        }
    }
    for (name, unit, help, read) in MEASURED_BY_ENGINE {
        out.family(name, Kind::Histogram, help);
        for (model, engine) in &engines {
            let snapshot = read(&engine.measurements).snapshot();
            out.histogram(&[("model", model.as_str())], *unit, &snapshot);
        }
    }
}

/// Plugins that nobody used and that are not loaded have nothing to say.
fn of_plugins(out: &mut Exposition, plugins: &Plugins) {
    let mut known = plugins.wiring.registry().status();
    known.retain(|plugin| {
        matches!(plugin.state, PluginState::Loaded(_))
            || plugin.counters != CounterSnapshot::default()
    });
    for (name, kind, help, read) in OF_PLUGIN {
        out.family(name, *kind, help);
        for PluginStatus { name, counters, .. } in &known {
            out.sample(&[("plugin", name.as_str())], read(counters));
        }
    }
    out.family(
        "weir_plugin_call_seconds_total",
        Kind::Counter,
        "Time inside calls.",
    );
    for PluginStatus { name, counters, .. } in &known {
        let seconds = std::time::Duration::from_nanos(counters.nanoseconds).as_secs_f64();
        out.sample(&[("plugin", name.as_str())], seconds);
    }
    let counts = plugins.reloader.counts();
    out.family(
        "weir_plugin_reloads_total",
        Kind::Counter,
        "Reloads of all plugins, by what came of them.",
    );
    out.sample(&[("result", "succeeded")], counts.succeeded);
    out.sample(&[("result", "failed")], counts.failed);
}
