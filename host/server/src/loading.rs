//! Loads the models of a server, one after the other in the order given: each may need most of the memory while it loads.
//!
//! Invariants: a model is served as soon as it is loaded; one that cannot be, for whatever reason, keeps no other from
//! being served. Only when there is none at all the server has nothing to do.

use std::{fmt, sync::Arc, time::Instant};

use thiserror::Error;

use crate::{
    config::Config,
    engine_thread::EngineHandle,
    model_set::ModelNames,
    pull::{PullError, Source},
    state::AppState,
    wiring::{self, LoadedModel, PluginWiring, WiringError},
};

/// Why there is no model: the reason of each, by its id.
#[derive(Debug, Error)]
pub struct NoModel(Vec<(String, String)>);

impl fmt::Display for NoModel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(_, reason)] = self.0.as_slice() {
            return out.write_str(reason);
        }
        out.write_str("none of the models can be loaded")?;
        self.0
            .iter()
            .try_for_each(|(id, reason)| write!(out, "; `{id}`: {reason}"))
    }
}

/// A model that is to be loaded.
pub(crate) struct PlannedModel {
    /// What clients will call it.
    pub names: ModelNames,
    config: Config,
    /// None of a model whose engine elsewhere needs no files of it here.
    source: Option<Result<Source, PullError>>,
}

impl PlannedModel {
    fn new(config: Config) -> Self {
        let source = (!config.passes_messages()).then(|| Source::parse(config.source()));
        let mut names = config.served_model_name.clone();
        if names.is_empty() {
            names.push(match &source {
                Some(Ok(source)) => source.default_name(),
                Some(Err(_)) | None => config.source().to_owned(),
            });
        }
        let accept_any = config.accept_any_model;
        Self {
            names: ModelNames { names, accept_any },
            config,
            source,
        }
    }
}

/// What there is to load, before anything is fetched.
///
/// # Errors
/// When every source is unusable.
pub(crate) fn plan(config: &Config) -> Result<Vec<PlannedModel>, NoModel> {
    let models = config.of_each_model().into_iter();
    let planned: Vec<_> = models.map(PlannedModel::new).collect();
    let reason = |model: &PlannedModel| {
        let error = model.source.as_ref()?.as_ref().err()?;
        Some((model.names.id().to_owned(), first_line(error)))
    };
    match planned.iter().map(reason).collect() {
        Some(reasons) => Err(NoModel(reasons)),
        None => Ok(planned),
    }
}

/// Loads and serves them at `base`, the scheme and the address. The engines of those that are served stand in `engines`
/// even if this future is dropped.
///
/// # Errors
/// When none could be loaded.
pub(crate) async fn load_all(
    models: Vec<PlannedModel>,
    plugins: &Arc<PluginWiring>,
    state: &AppState,
    base: &str,
    engines: &mut Vec<EngineHandle>,
) -> Result<(), NoModel> {
    let several = models.len() > 1;
    let mut failures = Vec::new();
    let mut served = 0;
    for (index, planned) in models.into_iter().enumerate() {
        let id = planned.names.id().to_owned();
        tracing::info!(model = planned.config.source(), "loading the model");
        let plugins = Arc::clone(plugins);
        let began = Instant::now();
        let loading = tokio::task::spawn_blocking(move || -> Result<LoadedModel, WiringError> {
            match planned.source {
                Some(source) => wiring::load_model(&planned.config, &source?, &plugins),
                None => wiring::load_passing(&planned.config, &plugins),
            }
        });
        let outcome = match loading.await {
            Ok(loaded) => loaded.map_err(|error| first_line(&error)),
            // A panic is this model's failure too.
            Err(panic) => Err(first_line(&panic)),
        };
        match outcome {
            Ok(LoadedModel { model, engine }) => {
                engines.extend(engine);
                served += 1;
                model.metrics.loaded_in(began.elapsed());
                // Whoever waits for this line may send a request at once.
                state.models.serve(index, model);
                tracing::info!("weir serves {id} on {base}/v1");
            }
            Err(reason) => {
                if several {
                    tracing::error!("the model `{id}` could not be loaded: {reason}");
                }
                state.models.fail(index, reason.clone());
                failures.push((id, reason));
            }
        }
    }
    match served == 0 {
        true => Err(NoModel(failures)),
        false => Ok(()),
    }
}

/// A library's error may bring its backtrace along, which neither log nor client wants.
fn first_line(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
