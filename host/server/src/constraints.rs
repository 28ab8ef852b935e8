//! From what a request forces to the constraint on its answer: the trees of its parsers put together, then compiled for the
//! model's vocabulary.
//!
//! Invariants: what is asked for and cannot be forced is a 400 that names the field and what would work, before anything is
//! queued; nothing is loosened in silence. Plugins and the compiler run here: never on an async worker or the engine's thread.

use std::{
    sync::{Arc, OnceLock},
    thread,
    time::Instant,
};

use weir_constrain::{ConstrainError, Constrainer, MaskMeasurements};
use weir_engine::{Constraint, ReasoningBudget, TokenTexts};
use weir_output::{RequestContext, Segment};
use weir_prompt::{Tokenizer, Vocabulary};
use weir_protocol::AnswerFormat;

use crate::{active_plugins::ActivePlugins, error::ApiError, metrics::ModelMetrics};

mod composition;
mod forms;

use composition::Forced;
pub use composition::response_format;

/// What a model's answers are constrained by; its vocabulary is prepared once, by whoever comes first.
pub struct ModelConstraints {
    tokenizer: Arc<Tokenizer>,
    metrics: Arc<ModelMetrics>,
    constrainer: OnceLock<Result<Constrainer, String>>,
}

impl ModelConstraints {
    /// Of a model with this tokenizer and these counters.
    pub fn new(tokenizer: Arc<Tokenizer>, metrics: Arc<ModelMetrics>) -> Arc<Self> {
        Arc::new(Self {
            tokenizer,
            metrics,
            constrainer: OnceLock::new(),
        })
    }

    /// Prepares the vocabulary on a thread of its own, so that no request waits for it. Where there is no thread, the first
    /// request waits.
    pub fn prepare(self: &Arc<Self>) {
        let constraints = Arc::clone(self);
        let prepare = move || drop(constraints.constrainer());
        if let Err(error) = thread::Builder::new()
            .name("vocabulary".into())
            .spawn(prepare)
        {
            tracing::warn!(%error, "no thread to prepare the vocabulary on");
        }
    }

    /// What its masks cost, once it has made any.
    pub fn measurements(&self) -> Option<Arc<MaskMeasurements>> {
        let made = self.constrainer.get()?.as_ref().ok()?;
        Some(Arc::clone(made.measurements()))
    }

    fn constrainer(&self) -> Result<&Constrainer, ApiError> {
        let made = self.constrainer.get_or_init(|| {
            let end = self.tokenizer.eos();
            let end = end.or_else(|| self.tokenizer.end_ids().first().copied());
            let end = end.ok_or("the model has no end token")?;
            Constrainer::new(&self.tokenizer, end).map_err(|error| error.to_string())
        });
        made.as_ref().map_err(|reason| {
            let message = format!("this model's answers cannot be forced: {reason}");
            ApiError::bad_request(message)
        })
    }

    /// What a chat's answer is held to by its tool choice, its strict tools and its format; None where nothing is forced.
    ///
    /// # Errors
    /// When it cannot be: 400 with the reason; and when a plugin fails.
    pub fn of_chat(
        &self,
        plugins: &ActivePlugins,
        context: &RequestContext,
        format: Option<&AnswerFormat>,
    ) -> Result<Option<Arc<dyn Constraint>>, ApiError> {
        self.counted(|| {
            let forced = composition::of_chat(plugins, context, format)?;
            let compile = |forced| self.compile(&forced, format);
            forced.map(compile).transpose()
        })
    }

    /// What a text's form holds it to, with nothing in front.
    ///
    /// # Errors
    /// As [`Self::of_chat`].
    pub fn of_text(
        &self,
        format: Option<&AnswerFormat>,
    ) -> Result<Option<Arc<dyn Constraint>>, ApiError> {
        let Some(format) = format else {
            return Ok(None);
        };
        self.counted(|| {
            let forced = Forced {
                tree: Segment::Answer,
                answer: forms::answer_of(format)?,
            };
            self.compile(&forced, Some(format)).map(Some)
        })
    }

    /// Counts what is made, if anything is.
    fn counted<T>(
        &self,
        make: impl FnOnce() -> Result<Option<T>, ApiError>,
    ) -> Result<Option<T>, ApiError> {
        let start = Instant::now();
        let made = make();
        if !matches!(made, Ok(None)) {
            self.metrics.count_constraint(made.is_ok(), start.elapsed());
        }
        made
    }

    /// How the reasoning of a chat's answer ends after so many tokens. None where there is no limit, or where no reasoning
    /// comes that its parser tells the end of.
    ///
    /// # Errors
    /// When the plugin or the tokenizer fails.
    pub fn reasoning_budget(
        &self,
        plugins: &ActivePlugins,
        context: &RequestContext,
        tokens: Option<usize>,
    ) -> Result<Option<ReasoningBudget>, ApiError> {
        let (Some(tokens), Some(parser)) = (tokens, &plugins.reasoning_parser) else {
            return Ok(None);
        };
        let Some(markers) = composition::reasoning_markers(parser, context)? else {
            return Ok(None);
        };
        let end_tokens = self.tokenizer.encode(&markers.end, false)?;
        Ok(
            (tokens < usize::MAX && !end_tokens.is_empty()).then(|| ReasoningBudget {
                tokens,
                start: markers.start,
                end: markers.end,
                end_tokens,
                texts: Arc::new(VocabularyTexts(Arc::clone(self.tokenizer.vocabulary()))),
            }),
        )
    }

    fn compile(
        &self,
        forced: &Forced,
        format: Option<&AnswerFormat>,
    ) -> Result<Arc<dyn Constraint>, ApiError> {
        let constrainer = self.constrainer()?;
        let compiled = constrainer.compile(&forced.tree, &forced.answer);
        compiled.map_err(|error| refusal(&error, format))
    }
}

/// The vocabulary as the engine asks for it.
#[derive(Debug)]
pub(crate) struct VocabularyTexts(pub(crate) Arc<Vocabulary>);

impl TokenTexts for VocabularyTexts {
    fn bytes(&self, token: u32) -> &[u8] {
        self.0.bytes(token).unwrap_or_default()
    }
}

/// What does not compile, as the client sees it. The arguments of calls were looked at before: what is left is the form's fault,
/// where there is one.
fn refusal(error: &ConstrainError, format: Option<&AnswerFormat>) -> ApiError {
    if error.is_internal() {
        return ApiError::internal(error);
    }
    if *error == ConstrainError::Busy {
        return ApiError::unavailable(&error.to_string());
    }
    let Some(format) = format else {
        let message = format!("what the answer must be cannot be forced: {error}");
        return ApiError::bad_request(message).with_param("tool_choice");
    };
    forms::refused(format, &error.to_string())
}

#[cfg(test)]
mod tests;
