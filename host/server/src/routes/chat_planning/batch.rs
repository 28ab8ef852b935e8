//! Answers that are generated for a request processor: all in one batch, those that are shown one after the other.

use futures_util::StreamExt;
use weir_output::{
    Event, MessageFold, ProcessorOutcome,
    request_processor::{PlannedAnswer, PlannedGeneration},
};
use weir_protocol::{ChatRequest, usage::ProcessingDetails};

use super::{
    super::chat_generation::{self, Call},
    count32, json,
};
use crate::{
    error::ApiError,
    generation::{self, ChoiceEnd, Plan, Step, Steps, TokenCounts},
};

/// Answers in the making.
pub(super) struct Batch {
    steps: Steps,
    answers: Vec<Answer>,
    /// Which answer the client sees next.
    showing: usize,
}

struct Answer {
    shown: bool,
    /// What stands in front of the first text that is shown.
    heading: Option<String>,
    /// What the client is to see of it and has not yet.
    unsaid: String,
    fold: MessageFold,
    counts: TokenCounts,
    end: Option<ChoiceEnd>,
}

impl Batch {
    /// Submits all of them or none.
    ///
    /// # Errors
    /// As any chat request: 400 for what does not fit, 429 for a full queue.
    pub(super) async fn submit(
        call: &Call,
        request: &ChatRequest,
        generations: &[PlannedGeneration],
    ) -> Result<Self, ApiError> {
        let mut plans = Vec::with_capacity(generations.len());
        for (number, generation) in generations.iter().enumerate() {
            plans.push(plan(call, request, generation, number).await?);
        }
        let answer = |generation: &PlannedGeneration| Answer {
            shown: generation.shown.is_some(),
            heading: generation.shown.clone(),
            unsaid: String::new(),
            fold: MessageFold::new(),
            counts: TokenCounts::default(),
            end: None,
        };
        let (model, deadline) = (&call.model, call.deadline);
        Ok(Self {
            steps: generation::generate(model, plans, 1, deadline, &call.caller)?,
            answers: generations.iter().map(answer).collect(),
            showing: 0,
        })
    }

    /// What the client may see next; None when all is said and done.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ApiError> {
        loop {
            if let Some(text) = self.take_text() {
                return Ok(Some(text));
            }
            match self.steps.next().await {
                Some(step) => self.take(step?),
                None => return Ok(None),
            }
        }
    }

    /// Answers are shown in their order: a later one waits until those before it have ended.
    fn take_text(&mut self) -> Option<String> {
        while let Some(answer) = self.answers.get_mut(self.showing) {
            if answer.shown && !answer.unsaid.is_empty() {
                return Some(std::mem::take(&mut answer.unsaid));
            }
            if answer.shown && answer.end.is_none() {
                return None;
            }
            self.showing += 1;
        }
        None
    }

    fn take(&mut self, step: Step) {
        let answer = &mut self.answers[step.choice];
        for event in &step.events {
            answer.fold.push(event);
            let text = match event {
                Event::Content(fragment) if answer.shown => &fragment.text,
                Event::Reasoning { text } if answer.shown => text,
                _ => continue,
            };
            // Not before there is a token: until then the request may still be refused.
            answer.unsaid.extend(answer.heading.take());
            answer.unsaid.push_str(text);
        }
        answer.counts = step.counts;
        answer.end = step.end;
    }

    /// What it took so far.
    pub(super) fn spent(&self) -> TokenCounts {
        let mut spent = TokenCounts::default();
        for Answer { shown, counts, .. } in &self.answers {
            spent.prompt += counts.prompt;
            spent.cached += counts.cached;
            spent.completion += counts.completion;
            spent.reasoning += if *shown {
                counts.completion
            } else {
                counts.reasoning
            };
        }
        spent.processing = ProcessingDetails {
            generations: self.answers.len(),
            prompt_tokens: spent.prompt,
            completion_tokens: spent.completion,
            embedding_tokens: 0,
        };
        spent
    }

    /// The answers, when all have ended.
    pub(super) fn take_outcome(&mut self) -> ProcessorOutcome {
        let answer = |answer: Answer| {
            let end = answer.end.as_ref();
            Some(PlannedAnswer {
                text: answer.fold.into_message().content.unwrap_or_default(),
                finish_reason: end?.reason,
                mean_logprob: end?.mean_logprob,
                tokens: count32(answer.counts.completion),
            })
        };
        let answers: Option<Vec<_>> = self.answers.drain(..).map(answer).collect();
        match answers {
            Some(answers) => ProcessorOutcome::Generated(answers),
            None => ProcessorOutcome::Failed("the engine stopped".to_owned()),
        }
    }
}

/// The request with other messages and no more wishes than how to sample.
async fn plan(
    call: &Call,
    request: &ChatRequest,
    generation: &PlannedGeneration,
    number: usize,
) -> Result<Plan, ApiError> {
    let mut request = ChatRequest {
        messages: json(&generation.messages)?,
        n: 1,
        stream: false,
        tools: Vec::new(),
        tool_choice: weir_protocol::ToolChoice::None,
        add_generation_prompt: true,
        continue_final_message: false,
        ..request.clone()
    };
    request.options.answer_format = None;
    request.options.truncate_prompt_tokens = None;
    let max_tokens = generation.max_tokens as usize;
    let sampling = &mut request.sampling;
    sampling.temperature = generation.temperature.or(sampling.temperature);
    sampling.max_tokens = Some(max_tokens);
    sampling.min_tokens = sampling.min_tokens.min(max_tokens);
    sampling.stop = Vec::new();
    // For whoever chooses among them.
    sampling.logprobs = Some(0);
    sampling.prompt_logprobs = None;
    let other = i64::try_from(number).unwrap_or_default();
    sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(other));
    let mut plan = chat_generation::plan_in_background(&call.state, &call.model, request).await?;
    let left = call.model.max_model_len.saturating_sub(plan.prompt.len());
    plan.sampling.max_tokens = Some(max_tokens.min(left.max(1)));
    Ok(plan)
}
