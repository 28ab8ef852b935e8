//! The request processor `mpr`, multi-path reasoning: an outline of the answer, several candidates that each weigh other passages
//! of the conversation, and one answer made or chosen of them.
//!
//! Outline and candidates are generated in one batch whose prompts share all but their ends. A request for one candidate goes on as it is,
//! and so does one that leaves no room for more, whose last message is no question, or whose answer may be calls of tools, which
//! drafts have not.
//!
//! Named as a request's selector, it chooses among answers that were made without it.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod config;
pub mod contexts;
mod judging;
pub mod prompts;

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use weir_plugin_request_sdk::{
    RequestProcessor,
    request_processor::{
        Generated, Generation, Grants, HostAction, HostOutcome, Message, Model, Request,
        RequestProcessorInfo, Step,
    },
};

use crate::{
    config::{Config, DEFAULT, MOST_CANDIDATES, Select},
    contexts::{Passages, STRATEGIES},
    prompts::Prompts,
};

weir_plugin_request_sdk::export_request_processor!(Mpr);

/// The parameter that says how many candidates there are.
const CANDIDATES: &str = "mpr_candidates";
/// Fewer tokens than this make no candidate.
const LEAST_TOKENS: u32 = 16;
/// What outline, passages and instructions add to a prompt, in tokens: the beginnings of three passages, and the rest.
const INSTRUCTIONS: u32 = 256;
/// What an answer needs where the request does not say.
const ANSWER_TOKENS: u32 = 256;

/// A request on its way to several candidates.
pub struct Mpr {
    config: Config,
    messages: Vec<Message>,
    grants: Grants,
    context_tokens: u32,
    max_tokens: Option<u32>,
    candidates: u32,
    may_call_tools: bool,
    seed: u64,
    /// What is to be chosen among.
    given: Vec<Generated>,
}

impl RequestProcessor for Mpr {
    fn describe(config: &str) -> Result<RequestProcessorInfo, String> {
        Config::read(config)?;
        Ok(RequestProcessorInfo {
            name: "mpr".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            default_config: DEFAULT.into(),
            chooses: true,
        })
    }

    fn start(config: &str, request: Request, grants: Grants, model: Model) -> (Self, Step) {
        let config = match Config::read(config) {
            Ok(config) => config,
            Err(message) => unreachable!("describe took this configuration: {message}"),
        };
        let asked = request.parameter(CANDIDATES).map(str::to_string);
        let candidates = asked.as_deref().map_or(Ok(config.candidates), candidates);
        let mut mpr = Self {
            config,
            seed: seed(&request.digests),
            messages: request.messages,
            grants,
            context_tokens: model.context_tokens,
            max_tokens: request.max_tokens,
            may_call_tools: request.may_call_tools,
            candidates: *candidates.as_ref().unwrap_or(&1),
            given: request.candidates,
        };
        let step = match candidates {
            Err(message) => Step::Refuse(message),
            Ok(_) if !mpr.given.is_empty() => mpr.judge(),
            Ok(_) => mpr.begin(),
        };
        (mpr, step)
    }

    fn resume(&mut self, outcomes: Vec<HostOutcome>) -> Step {
        let mut outcomes = outcomes.into_iter();
        if !self.given.is_empty() {
            return self.judged(outcomes.next());
        }
        match outcomes.next() {
            Some(HostOutcome::Counted(counts)) => {
                self.propose(counts.first().copied().unwrap_or(u32::MAX))
            }
            Some(HostOutcome::Generated(answers)) => self.conclude(answers),
            _ => self.as_it_is(),
        }
    }
}

/// How many candidates a request wants.
fn candidates(json: &str) -> Result<u32, String> {
    match json.parse() {
        Ok(number) if (1..=MOST_CANDIDATES).contains(&number) => Ok(number),
        _ => Err(format!(
            "`{CANDIDATES}` must be an integer between 1 and {MOST_CANDIDATES}, got {json}"
        )),
    }
}

/// The same for the same conversation.
fn seed(digests: &[String]) -> u64 {
    let digits = digests.iter().flat_map(|digest| digest.bytes().take(16));
    digits.fold(0, |seed: u64, digit| seed.rotate_left(7) ^ u64::from(digit))
}

impl Mpr {
    /// The request goes on unchanged.
    fn as_it_is(&mut self) -> Step {
        Step::ContinueWith(core::mem::take(&mut self.messages))
    }

    fn question(&self) -> &str {
        let last = self.messages.last();
        let content = last.and_then(|message| message.content.as_deref());
        content.unwrap_or_default()
    }

    /// The conversation with another last message.
    fn asking(&self, content: String) -> Vec<Message> {
        let mut messages = self.messages.clone();
        if let Some(last) = messages.last_mut() {
            last.content = Some(content);
        }
        messages
    }

    fn begin(&mut self) -> Step {
        let asks = self.messages.last().is_some_and(|last| last.role == "user");
        if self.candidates < 2 || self.may_call_tools || !asks || self.question().trim().is_empty()
        {
            return self.as_it_is();
        }
        let needed = self.candidates + u32::from(self.outlines());
        if needed > self.grants.generations {
            return Step::Refuse(format!(
                "`{CANDIDATES}` {} takes {needed} generations, and this server grants {}",
                self.candidates, self.grants.generations
            ));
        }
        Step::Perform(vec![HostAction::CountPrompt(self.messages.clone())])
    }

    /// Whether there is an outline: it is for the answer that is made of all.
    fn outlines(&self) -> bool {
        self.config.outline && self.config.select == Select::Synthesis
    }

    /// Asks for the candidates, and beside them for the outline: nothing waits for another.
    fn propose(&mut self, prompt_tokens: u32) -> Step {
        let tokens = self.candidate_tokens(prompt_tokens);
        if tokens < LEAST_TOKENS {
            return self.as_it_is();
        }
        let question = self.question();
        let prompts = Prompts::of(question);
        let shown = |heading: String| self.config.show.then_some(heading);
        let texts = self.messages.iter().rev().skip(1).rev();
        let passages = Passages::of(texts.filter_map(|message| message.content.as_deref()));
        let outline = self.outlines().then(|| Generation {
            messages: self.asking(prompts.outline(question)),
            max_tokens: self.config.outline_tokens,
            temperature: None,
            shown: shown(prompts.outline_heading.to_string()),
        });
        let candidate = |number: u32| {
            let strategy = STRATEGIES[number as usize % STRATEGIES.len()];
            let seed = self.seed.wrapping_add(u64::from(number));
            let chosen = passages.choose(strategy, question, seed);
            let first = number == 0 && outline.is_none();
            Generation {
                messages: self.asking(prompts.candidate(question, &chosen)),
                max_tokens: tokens,
                temperature: Some(self.config.percent_temperature as f32 / 100.0),
                shown: shown(prompts.heading(number as usize, first)),
            }
        };
        let candidates: Vec<Generation> = (0..self.candidates).map(candidate).collect();
        let generations = outline.into_iter().chain(candidates).collect();
        Step::Perform(vec![HostAction::Generate(generations)])
    }

    /// As many tokens for each candidate as leave room for the answer that follows them all, and as are granted.
    fn candidate_tokens(&self, prompt_tokens: u32) -> u32 {
        let outline = match self.outlines() {
            true => self.config.outline_tokens,
            false => 0,
        };
        let granted = self.grants.generated_tokens.saturating_sub(outline) / self.candidates;
        let answer = self.max_tokens.unwrap_or(ANSWER_TOKENS);
        let taken = [prompt_tokens, outline, INSTRUCTIONS, answer];
        let taken = taken.into_iter().fold(0, u32::saturating_add);
        let room = match self.config.select {
            Select::Synthesis => self.context_tokens.saturating_sub(taken) / self.candidates,
            Select::MeanLogprob | Select::Majority => self.context_tokens.saturating_sub(taken),
        };
        let wanted = self.config.candidate_tokens;
        wanted
            .min(self.max_tokens.unwrap_or(wanted))
            .min(granted)
            .min(room)
    }

    /// Makes or chooses the answer.
    fn conclude(&mut self, mut candidates: Vec<Generated>) -> Step {
        let outline = match self.outlines() && !candidates.is_empty() {
            true => candidates.remove(0).text,
            false => String::new(),
        };
        candidates.retain(|candidate| !candidate.text.trim().is_empty());
        let chosen = match self.config.select {
            Select::Synthesis if !candidates.is_empty() => {
                let question = self.question();
                let prompts = Prompts::of(question);
                let content = prompts.synthesis(question, &outline, &candidates);
                return Step::ContinueWith(self.asking(content));
            }
            Select::Synthesis => None,
            Select::MeanLogprob => judging::likeliest(&candidates).first().copied(),
            Select::Majority => {
                let order = judging::likeliest(&candidates);
                judging::most_said_first(&candidates, &order)
                    .first()
                    .copied()
            }
        };
        match chosen {
            Some(number) => Step::Answer(candidates.swap_remove(number).text),
            None => self.as_it_is(),
        }
    }
}

#[cfg(test)]
mod tests;
