//! What request processors do behind an answer: nobody waits for it, and no request does for long.
//!
//! Invariants: it begins when the answer is over, whether the client stayed or not; work that finds no place is given up, since
//! the next request asks for it again.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use weir_output::{ProcessorAction, ProcessorStep, RequestSession};

use super::{Processor, actions, blocking, resume};
use crate::{error::ApiError, routes::chat_generation::Call};

/// What a plugin wants done behind the answer.
pub(super) struct Work {
    pub(super) processor: Processor,
    pub(super) session: Box<dyn RequestSession>,
    pub(super) actions: Vec<ProcessorAction>,
}

/// Begins all of it when what this answers is dropped.
pub(super) fn when_over(mut call: Call, all: Vec<Work>) -> Vec<oneshot::Sender<()>> {
    // The time of a request is for its answer.
    call.deadline = None;
    let begin = |work: Work| {
        let name = work.processor.plugin.name().to_owned();
        let Some(place) = call.state.behind.place() else {
            tracing::debug!(plugin = name, "no place behind the answer");
            return None;
        };
        let (held, over) = oneshot::channel();
        let call = call.clone();
        tokio::spawn(async move {
            // Nothing is ever sent.
            drop(over.await);
            do_all(&call, work).await;
            drop(place);
        });
        Some(held)
    };
    all.into_iter().filter_map(begin).collect()
}

/// Does a plugin's work to its end, and says in the log what it failed with.
pub(super) async fn do_all(call: &Call, work: Work) {
    let name = work.processor.plugin.name().to_owned();
    if let Err(error) = steps(call, work).await {
        let error = error.into_body().message;
        tracing::warn!(plugin = name, error, "a plugin failed behind an answer");
    }
}

async fn steps(call: &Call, work: Work) -> Result<(), ApiError> {
    let Work {
        processor,
        mut session,
        actions,
    } = work;
    let _turn = call.state.behind.turn().await;
    let mut actions = VecDeque::from(actions);
    loop {
        let mut outcomes = Vec::with_capacity(actions.len());
        for action in actions.drain(..) {
            let plugin = processor.plugin.as_ref();
            let done = actions::perform(call, None, plugin, action).await;
            outcomes.push(done?.0);
        }
        let step;
        (session, step) = blocking(move || resume(session, &outcomes))
            .await?
            .map_err(|error| super::failed(&error))?;
        match step {
            ProcessorStep::Perform(more) => actions.extend(more),
            // The account lets nothing else through.
            _ => return Ok(()),
        }
    }
}
