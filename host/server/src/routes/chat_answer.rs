//! Chat answers from a generation's steps: chunk by chunk, or folded into one.
//!
//! Invariants: a choice's first chunk has the role, its last the finish reason; id, type and name of a call stand in its
//! first delta only, the index in all. The folded answer is the fold of the very same events. An answer to a request with
//! OpenAI's older `functions` has its first call as `function_call`: that shape has room for one.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use futures_util::StreamExt;
use uuid::Uuid;
use weir_engine::EngineError;
use weir_output::{ChatFinishReason, Event, FoldedMessage, MessageFold, ToolChoice};
use weir_protocol::{
    Selector, Usage,
    chat_response::{
        AssistantMessage, ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta,
        FunctionCall, FunctionDelta, ToolCall, ToolCallDelta,
    },
    logprobs::{ChatLogprobs, ContentLogprob, PromptLogprobs},
};

use super::{
    annotations::{Annotation, Beside},
    chat_planning::{self, Judge},
    logprobs::{self, TokenNames},
};
use crate::{
    error::ApiError,
    generation::{self, AnswerToken, Candidate, ChoiceEnd, Step, Steps, TokenCounts},
    sse::{ChunkFrame, Chunks, EventText},
    state::ServedModel,
};

/// What stands at the top of every answer and chunk.
#[derive(Debug, Clone)]
pub(super) struct Head {
    id: Uuid,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) fingerprint: String,
}

impl Head {
    /// A fresh id, now.
    pub(super) fn new(model: &ServedModel) -> Self {
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self {
            id: Uuid::new_v4(),
            created,
            model: model.id().to_owned(),
            fingerprint: model.fingerprint.clone(),
        }
    }

    /// The id with the API's prefix.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.id.simple())
    }
}

/// What a request said of its answer's shape.
pub(super) struct ChatShape {
    /// Answers that are given.
    pub(super) n: usize,
    /// Answers that are made; the best `n` are given.
    pub(super) made: usize,
    /// Which are the best.
    pub(super) selector: Selector,
    /// Which tools may be called.
    pub(super) tool_choice: ToolChoice,
    /// Calls have OpenAI's older shape.
    pub(super) functions: bool,
    /// Log-probabilities are told, of tokens called so.
    pub(super) logprobs: Option<TokenNames>,
    /// Those of the prompt are told, so many of the likeliest beside each.
    pub(super) prompt_logprobs: Option<(TokenNames, usize)>,
    /// The prompt's token ids, where they and those of the answers are told.
    pub(super) token_ids: Option<Vec<u32>>,
    /// What each answer starts with.
    pub(super) echo: String,
    /// A stream ends with a usage chunk.
    pub(super) include_usage: bool,
    /// Each chunk tells the usage so far.
    pub(super) continuous_usage: bool,
    /// Later deltas of a call have an empty name.
    pub(super) keep_name: bool,
}

impl ChatShape {
    fn finish_reason(&self, end: &ChoiceEnd, call_completed: bool) -> &'static str {
        match ChatFinishReason::new(end.reason, call_completed, &self.tool_choice) {
            ChatFinishReason::ToolCalls if self.functions => "function_call",
            reason => reason.as_str(),
        }
    }

    fn message(&self, folded: FoldedMessage) -> AssistantMessage {
        let calls = folded.tool_calls.into_iter().map(|call| ToolCall {
            id: call.id.unwrap_or_default(),
            kind: "function",
            function: FunctionCall {
                name: call.name,
                arguments: call.arguments,
            },
        });
        let mut message = AssistantMessage {
            role: "assistant",
            content: folded.content,
            refusal: None,
            reasoning_content: folded.reasoning.clone(),
            reasoning: folded.reasoning,
            tool_calls: calls.collect(),
            function_call: None,
        };
        if self.functions {
            let calls = std::mem::take(&mut message.tool_calls);
            message.function_call = calls.into_iter().next().map(|call| call.function);
        }
        if !self.echo.is_empty() {
            message
                .content
                .get_or_insert_default()
                .insert_str(0, &self.echo);
        }
        message
    }
}

/// Folds all choices into one answer.
pub(super) async fn fold(
    mut steps: Steps,
    head: Head,
    shape: ChatShape,
    mut beside: Beside,
    judge: Option<Judge>,
) -> Result<Json<ChatCompletion>, ApiError> {
    let mut folds = vec![(MessageFold::new(), Vec::<ContentLogprob>::new()); shape.made];
    let mut token_ids = vec![Vec::new(); shape.made];
    let mut prompt_logprobs = PromptLogprobs::new();
    let mut ends: Vec<Option<ChoiceEnd>> = vec![None; shape.made];
    while let Some(step) = steps.next().await {
        let step = step?;
        beside.step();
        let (fold, logprobs) = &mut folds[step.choice];
        fold.extend(&step.events);
        if shape.token_ids.is_some() {
            token_ids[step.choice].extend(step.token_ids());
        }
        if let Some(names) = &shape.logprobs {
            logprobs.extend(logprobs::of_step(names, &step.tokens));
        }
        if let (Some((names, top)), 0) = (&shape.prompt_logprobs, step.choice) {
            prompt_logprobs.extend(logprobs::of_prompt(names, &step.tokens, *top));
        }
        ends[step.choice] = step.end;
    }
    let mut ends = ends
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or(EngineError::Stopped)?;
    let mut messages = Vec::with_capacity(folds.len());
    for (fold, content) in folds {
        messages.push((fold.call_completed(), fold.into_message(), content));
    }
    let best = best(&messages, &mut ends, &shape, judge).await?;
    let choice = |(index, &number): (usize, &usize)| {
        let (call_completed, message, content) = std::mem::take(&mut messages[number]);
        ChatChoice {
            index,
            finish_reason: shape.finish_reason(&ends[number], call_completed),
            message: shape.message(message),
            token_ids: (shape.token_ids.is_some()).then(|| std::mem::take(&mut token_ids[number])),
            logprobs: shape.logprobs.is_some().then_some(ChatLogprobs {
                content,
                refusal: None,
            }),
        }
    };
    let choices = best.iter().enumerate().map(choice).collect();
    let usage = generation::usage(&ends, shape.made);
    Ok(Json(ChatCompletion {
        id: head.id("chatcmpl"),
        object: "chat.completion",
        created: head.created,
        model: head.model,
        system_fingerprint: head.fingerprint,
        choices,
        usage,
        prompt_token_ids: shape.token_ids,
        prompt_logprobs: shape.prompt_logprobs.map(|_| prompt_logprobs),
        nvext: beside.object(&usage),
    }))
}

/// The numbers of those that are given, the best first. What it took a plugin to choose them counts with the first answer.
async fn best(
    messages: &[(bool, FoldedMessage, Vec<ContentLogprob>)],
    ends: &mut [ChoiceEnd],
    shape: &ChatShape,
    judge: Option<Judge>,
) -> Result<Vec<usize>, ApiError> {
    let mut best = Vec::new();
    if let Some(judge) = judge {
        let answers = messages.iter().zip(&*ends);
        let answers = answers.map(|((_, message, _), end)| chat_planning::candidate(message, end));
        let spent;
        (best, spent) = judge.choose(answers.collect()).await?;
        if let Some(first) = ends.first_mut() {
            first.tokens = first.tokens.with(&spent);
        }
    }
    let candidates = messages.iter().zip(&*ends);
    let candidates =
        candidates.map(|((_, message, _), end)| Candidate::of_message(message, end.mean_logprob));
    let candidates: Vec<Candidate> = candidates.collect();
    let rest = generation::chosen(&shape.selector, &candidates, shape.n, shape.made);
    for number in rest {
        if !best.contains(&number) {
            best.push(number);
        }
    }
    best.truncate(shape.n);
    Ok(best)
}

/// Makes the chunks of a streamed answer.
pub(super) struct ChatChunks {
    frame: ChunkFrame,
    shape: ChatShape,
    beside: Beside,
    choices: Vec<Progress>,
}

/// What a choice has sent so far.
#[derive(Debug, Clone, Default)]
struct Progress {
    begun: bool,
    call_completed: bool,
    counts: TokenCounts,
    /// Ids of tokens that are to be told with the next chunk.
    token_ids: Vec<u32>,
}

impl ChatChunks {
    /// Of answers of this shape.
    pub(super) fn new(head: Head, shape: ChatShape, beside: Beside) -> Self {
        let frame = ChunkFrame::of(&ChatChunk {
            id: head.id("chatcmpl"),
            object: "chat.completion.chunk",
            created: head.created,
            model: head.model,
            system_fingerprint: head.fingerprint,
            choices: Vec::new(),
            usage: None,
            prompt_token_ids: None,
        });
        Self {
            frame,
            choices: vec![Progress::default(); shape.n],
            shape,
            beside,
        }
    }

    fn usage(&self) -> Usage {
        let counts = self.choices.iter().map(|choice| choice.counts);
        generation::usage_of(counts, self.choices.len())
    }

    /// The log-probabilities that go with an event: those of a piece of content, be there none.
    fn logprobs(
        &self,
        tokens: &[AnswerToken],
        number: usize,
        event: &Event,
    ) -> Option<ChatLogprobs> {
        let names = self.shape.logprobs.as_ref()?;
        matches!(event, Event::Content(_)).then(|| logprobs::of_content(names, tokens, number))
    }

    fn delta(&self, event: Event) -> Option<ChatDelta> {
        let plain = ChatDelta::default();
        match event {
            Event::Content(fragment) => Some(ChatDelta {
                content: Some(fragment.text),
                ..plain
            }),
            Event::Reasoning { text } => Some(ChatDelta {
                reasoning_content: Some(text.clone()),
                reasoning: Some(text),
                ..plain
            }),
            Event::CallBegin { index, id, name } => {
                let function = FunctionDelta {
                    name: Some(name),
                    arguments: String::new(),
                };
                self.call(ToolCallDelta {
                    index,
                    id,
                    kind: Some("function"),
                    function,
                })
            }
            Event::CallArguments { index, delta } => {
                let function = FunctionDelta {
                    name: self.shape.keep_name.then(String::new),
                    arguments: delta,
                };
                self.call(ToolCallDelta {
                    index,
                    id: None,
                    kind: None,
                    function,
                })
            }
            // What was sent of a call stands, complete or not; the finish reason tells.
            Event::CallEnd { .. } | Event::CallAbandoned { .. } => None,
        }
    }

    /// A piece of a call in the shape that was asked for.
    fn call(&self, call: ToolCallDelta) -> Option<ChatDelta> {
        let plain = ChatDelta::default();
        match (self.shape.functions, call.index) {
            (false, _) => Some(ChatDelta {
                tool_calls: vec![call],
                ..plain
            }),
            (true, 0) => Some(ChatDelta {
                function_call: Some(call.function),
                ..plain
            }),
            (true, _) => None,
        }
    }

    /// What a choice's first chunks say: the role, and what the answer starts with.
    fn beginning(&self) -> impl Iterator<Item = ChatDelta> {
        let role = ChatDelta {
            role: Some("assistant"),
            content: Some(String::new()),
            ..ChatDelta::default()
        };
        let echo = (!self.shape.echo.is_empty()).then(|| ChatDelta {
            content: Some(self.shape.echo.clone()),
            ..ChatDelta::default()
        });
        std::iter::once(role).chain(echo)
    }
}

impl Chunks for ChatChunks {
    fn step(&mut self, step: Step, text: &mut EventText) {
        if self.shape.token_ids.is_some() {
            self.choices[step.choice].token_ids.extend(step.token_ids());
        }
        let Step {
            choice: index,
            events,
            tokens,
            counts,
            end,
            ..
        } = step;
        self.beside.step();
        let progress = &mut self.choices[index];
        let begins = !std::mem::replace(&mut progress.begun, true);
        progress.call_completed |= events
            .iter()
            .any(|event| matches!(event, Event::CallEnd { .. }));
        progress.counts = counts;
        let finish_reason = end.map(|end| self.shape.finish_reason(&end, progress.call_completed));
        let usage = self.shape.continuous_usage.then(|| self.usage());
        let mut prompt = self.shape.token_ids.as_deref().filter(|_| begins);
        // One chunk waits: the last of them has the tokens' ids.
        let mut last: Option<ChatChunkChoice> = None;
        let mut put = |delta, logprobs, finish_reason| {
            let next = ChatChunkChoice {
                index,
                delta,
                logprobs,
                finish_reason,
                token_ids: None,
            };
            if let Some(choice) = last.replace(next) {
                text.chunk(&self.frame, Some(&choice), usage, prompt.take());
            }
        };
        for delta in begins.then(|| self.beginning()).into_iter().flatten() {
            put(delta, None, None);
        }
        for (number, event) in events.into_iter().enumerate() {
            let logprobs = self.logprobs(&tokens, number, &event);
            if let Some(delta) = self.delta(event) {
                put(delta, logprobs, None);
            }
        }
        if finish_reason.is_some() {
            put(ChatDelta::default(), None, finish_reason);
        }
        if let Some(mut choice) = last {
            let ids = &mut self.choices[index].token_ids;
            choice.token_ids = self.shape.token_ids.is_some().then(|| std::mem::take(ids));
            text.chunk(&self.frame, Some(&choice), usage, prompt);
        }
    }

    fn end(&mut self, text: &mut EventText) {
        if self.shape.include_usage {
            let usage = Some(self.usage());
            text.chunk(&self.frame, None::<&ChatChunkChoice>, usage, None);
        }
    }

    fn before(&self) -> Vec<Annotation> {
        self.beside.before()
    }

    fn after(&self) -> Vec<Annotation> {
        self.beside.after(&self.usage())
    }
}
