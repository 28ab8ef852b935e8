//! A case step by step: what each fragment brought, and what is held back behind it.

use serde::Serialize;
use utoipa::ToSchema;
use weir_output::{Event, FinishReason, Fragment, RequestContext};

use super::{
    ParseOptions,
    answer::{Bounds, End, Run, run},
};

/// Finding what is held back runs each beginning of the case, so only cases of so many fragments have it.
const MOST_WITH_WITHHELD: usize = 400;

/// A fragment and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Step {
    /// What went in; none where the model has ended.
    #[schema(value_type = Option<Object>)]
    fragment: Option<Fragment>,
    /// What came out.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Event>,
    /// The text that would come yet if the model were cut off here; null where nobody looked.
    withheld: Option<String>,
}

/// The steps of a run of these fragments, and one for its end or for where it failed.
pub(crate) fn steps(
    context: &RequestContext,
    fragments: &[Fragment],
    whole: &Run,
    options: &ParseOptions,
    bounds: Bounds,
) -> Vec<Step> {
    let mut steps = Vec::with_capacity(whole.after.len() + 1);
    let mut begin = 0;
    for (index, (end, fragment)) in whole.after.iter().zip(fragments).enumerate() {
        let wanted = fragments.len() <= MOST_WITH_WITHHELD && !bounds.over();
        steps.push(Step {
            fragment: Some(fragment.clone()),
            events: whole.events[begin..*end].to_vec(),
            withheld: wanted
                .then(|| withheld(context, &fragments[..=index], options, bounds))
                .flatten(),
        });
        begin = *end;
    }
    // Where the run did not come to its end, the fragment at which it stopped.
    let last = match whole.end {
        End::Finished(..) => None,
        End::Failed(_) | End::GivenUp(_) => fragments.get(whole.after.len()),
    };
    steps.push(Step {
        fragment: last.cloned(),
        events: whole.events[begin..].to_vec(),
        withheld: Some(String::new()),
    });
    steps
}

/// The text that only the end brings when it comes behind these fragments; None where a run fails.
fn withheld(
    context: &RequestContext,
    fragments: &[Fragment],
    options: &ParseOptions,
    bounds: Bounds,
) -> Option<String> {
    let cut = run(context, fragments, FinishReason::Length, options, bounds);
    let End::Finished(..) = cut.end else {
        return None;
    };
    let shown = cut.after.last().copied().unwrap_or(0);
    let (before, late) = cut.events.split_at(shown);
    let begun = |wanted: u32| {
        let mut known = before.iter().chain(late);
        known.any(|event| matches!(event, Event::CallBegin { index, .. } if *index == wanted))
    };
    let texts = late.iter().map(|event| match event {
        Event::Content(fragment) => fragment.text.as_str(),
        Event::Reasoning { text } => text,
        Event::CallArguments { delta, .. } => delta,
        // One that had begun was shown already.
        Event::CallAbandoned { index, raw } if !begun(*index) => raw,
        Event::CallBegin { .. } | Event::CallEnd { .. } | Event::CallAbandoned { .. } => "",
    });
    Some(texts.collect())
}
