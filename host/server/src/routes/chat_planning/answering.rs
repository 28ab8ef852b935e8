//! The steps of an answer that was planned.

use std::{future::ready, sync::Arc};

use futures_util::{StreamExt, stream};
use weir_output::{Event, FinishReason, Fragment, FragmentKind};

use super::{Ending, Planning, Said, behind};
use crate::{
    error::ApiError,
    generation::{ChoiceEnd, Step, Steps, TokenCounts},
    request_record::RequestRecord,
    routes::chat_generation,
};

/// A step that says this as reasoning, when so much was spent.
pub(super) fn shown(text: String, spent: TokenCounts) -> Step {
    Step {
        choice: 0,
        events: vec![Event::Reasoning { text }],
        token: None,
        tokens: Vec::new(),
        counts: spent,
        stop_string: None,
        end: None,
    }
}

/// The steps of an answer that was planned: what was shown on the way, then the answer, `made` times.
pub(in super::super) fn steps(planning: Planning, first: Option<Box<Step>>, made: usize) -> Steps {
    let record = RequestRecord::current();
    let state = Answering::Shown(Box::new(planning), first);
    let steps = stream::unfold(state, move |state| {
        // The stream is read outside of the task that the record belongs to.
        Arc::clone(&record).during(answering(state, made))
    });
    Box::pin(steps)
}

enum Answering {
    /// It is planned; what is to be said first.
    Shown(Box<Planning>, Option<Box<Step>>),
    /// It is generated, or was said.
    Answer(Steps),
    /// It failed.
    Over,
}

async fn answering(state: Answering, made: usize) -> Option<(Result<Step, ApiError>, Answering)> {
    let mut state = state;
    loop {
        state = match state {
            Answering::Shown(planning, Some(step)) => {
                return Some((Ok(*step), Answering::Shown(planning, None)));
            }
            Answering::Shown(mut planning, None) => match planning.next().await {
                Ok(Said::Shown(step)) => {
                    return Some((Ok(*step), Answering::Shown(planning, None)));
                }
                Ok(Said::Ended(ending)) => match answer(*planning, ending, made).await {
                    Ok((steps, _)) => Answering::Answer(steps),
                    Err(error) => return Some((Err(error), Answering::Over)),
                },
                Err(error) => return Some((Err(error), Answering::Over)),
            },
            Answering::Answer(mut steps) => {
                let step = steps.next().await?;
                return Some((step, Answering::Answer(steps)));
            }
            Answering::Over => return None,
        };
    }
}

/// The steps of the answer itself, and the prompt that it has.
pub(in super::super) async fn answer(
    planning: Planning,
    ending: Ending,
    made: usize,
) -> Result<(Steps, Option<Vec<u32>>), ApiError> {
    let spent = planning.spent;
    match ending {
        Ending::Generate(request) => {
            let (steps, prompt) = chat_generation::generate(&planning.call, *request).await?;
            let over = behind::when_over(planning.call, planning.behind);
            let steps = steps.map(move |step| {
                let _until_then = &over;
                step.map(|step| with_spent(step, spent))
            });
            Ok((Box::pin(steps), prompt))
        }
        Ending::Answer(text) => {
            let step = move |choice| Ok(with_spent(said(choice, text.clone()), spent));
            let steps = stream::iter(0..made).then(move |choice| ready(step(choice)));
            Ok((Box::pin(steps), None))
        }
        Ending::Choice(_) => Err(ApiError::internal(&"a choice among nothing")),
    }
}

/// A whole answer in one step.
fn said(choice: usize, text: String) -> Step {
    let content = Event::Content(Fragment {
        text,
        kind: FragmentKind::Text,
    });
    Step {
        choice,
        events: vec![content],
        token: None,
        tokens: Vec::new(),
        counts: TokenCounts::default(),
        stop_string: None,
        end: Some(ChoiceEnd {
            reason: FinishReason::Stop,
            tokens: TokenCounts::default(),
            mean_logprob: None,
        }),
    }
}

/// What planning took counts with the first answer.
fn with_spent(mut step: Step, spent: TokenCounts) -> Step {
    if step.choice == 0 {
        step.counts = step.counts.with(&spent);
        if let Some(end) = &mut step.end {
            end.tokens = end.tokens.with(&spent);
        }
    }
    step
}
