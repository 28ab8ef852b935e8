//! A plugin that chooses among answers: `selector` with its name.

use std::sync::{Arc, OnceLock};

use weir_output::{Configured, FoldedMessage, RequestProcessor, request_processor::PlannedAnswer};
use weir_protocol::{ChatRequest, Selector};

use super::{Ending, Planning, Said, blocking, count32};
use crate::{
    error::ApiError,
    generation::{ChoiceEnd, TokenCounts},
    routes::chat_generation::Call,
};

/// A plugin that is to choose, and the request whose answers it chooses among, once that is known.
pub(in super::super) struct Judge {
    pub(in super::super) call: Call,
    pub(in super::super) processor: Configured<dyn RequestProcessor>,
    pub(in super::super) request: Arc<OnceLock<ChatRequest>>,
}

impl Judge {
    /// The plugin that chooses among a request's answers, if it names one and there is anything to choose.
    ///
    /// # Errors
    /// 400 for a name that is nobody's, and for a plugin that does not choose.
    pub(in super::super) async fn of(
        call: &mut Call,
        request: &ChatRequest,
    ) -> Result<Option<Self>, ApiError> {
        let Selector::Plugin(name) = &request.options.selector else {
            return Ok(None);
        };
        let wrong = |why: &str| {
            let message = format!(
                "`selector` must be \"mean_logprob\", \"majority\" or the name of a plugin that chooses, got {name:?}: {why}"
            );
            ApiError::bad_request(message).with_param("selector")
        };
        let plugins = call.model.plugins.get();
        let mut own = plugins.request_processors.iter();
        let processor = match (
            own.find(|own| own.plugin.name() == name),
            &plugins.on_request,
        ) {
            (Some(own), _) => own.clone(),
            (None, Some(load)) => {
                let (load, name) = (Arc::clone(load), name.clone());
                let loaded = blocking(move || load(&name)).await?;
                loaded.map_err(|error| wrong(&error))?
            }
            (None, None) => return Err(wrong("there are no plugins")),
        };
        if !processor.plugin.info().chooses {
            return Err(wrong("it does not choose"));
        }
        if request.made() <= request.n {
            return Ok(None);
        }
        let request = Arc::new(OnceLock::new());
        call.judged = Some(Arc::clone(&request));
        Ok(Some(Self {
            call: call.clone(),
            processor,
            request,
        }))
    }

    /// Numbers of answers, the best first, and what it took to find out. None of them where there is nothing to choose: a
    /// plugin answered, or the one that was to choose failed and may be passed over.
    ///
    /// # Errors
    /// What the plugin failed with, 400 in its words where it refuses.
    pub(in super::super) async fn choose(
        self,
        answers: Vec<PlannedAnswer>,
    ) -> Result<(Vec<usize>, TokenCounts), ApiError> {
        let Some(request) = self.request.get().cloned() else {
            return Ok((Vec::new(), TokenCounts::default()));
        };
        let mut planning = Planning::new(self.call, request, vec![self.processor]);
        planning.candidates = answers;
        let ending = loop {
            if let Said::Ended(ending) = planning.next().await? {
                break ending;
            }
        };
        let chosen = match ending {
            Ending::Choice(numbers) => numbers.iter().map(|number| *number as usize).collect(),
            Ending::Generate(_) | Ending::Answer(_) => Vec::new(),
        };
        Ok((chosen, planning.spent))
    }
}

/// An answer as a plugin sees it: its content, and a line for each call.
pub(in super::super) fn candidate(message: &FoldedMessage, end: &ChoiceEnd) -> PlannedAnswer {
    let content = message.content.clone().into_iter();
    let call = |call: &weir_output::FoldedCall| format!("{}({})", call.name, call.arguments);
    let lines: Vec<String> = content.chain(message.tool_calls.iter().map(call)).collect();
    PlannedAnswer {
        text: lines.join("\n"),
        finish_reason: end.reason,
        mean_logprob: end.mean_logprob,
        tokens: count32(end.tokens.completion),
    }
}
