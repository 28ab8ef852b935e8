//! What the clients ask: requests of every length and kind, drawn from a seed.
//!
//! Lengths are drawn log-uniformly, so that as many are below 60 tokens as are above. A prompt is a stretch of a text that
//! repeats, from a place of its own; a third of the prompts begin with one of a few prefixes. A quarter of the requests are
//! short and want long answers: those grow by many blocks, which is what runs KV out in mid-answer.

use std::{ops::RangeInclusive, time::Duration};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Value, json};
use weir_prompt::Tokenizer;

use crate::client::Manner;

/// Prompts are stretches of this.
const TEXT: &str = include_str!("../../../../ARCHITECTURE.md");
const OUTPUT: RangeInclusive<usize> = 1..=256;
/// The prompts that want long answers, and those.
const GROWING_PROMPT: usize = 64;
const GROWING_OUTPUT: RangeInclusive<usize> = 192..=256;
/// Tokens of each shared prefix.
const PREFIXES: [usize; 4] = [90, 300, 700, 1_500];
/// Room for a chat template and its tools.
pub const TEMPLATE: usize = 700;
const STOPS: [&str; 4] = ["\n\n", ". ", " the", "weir"];

/// A request and what a client does with its answer.
#[derive(Clone)]
pub struct Asked {
    pub path: &'static str,
    pub body: Value,
    pub manner: Manner,
    /// How its answer is decided by the request alone: greedy, or drawn by a seed.
    pub repeatable: bool,
    /// Known for prompts that are token ids.
    pub prompt_tokens: Option<usize>,
    /// Tokens of each answer, if nothing but their number ends it.
    pub output_tokens: Option<usize>,
    pub answers: usize,
    pub stream: bool,
}

/// Draws requests.
pub struct Load {
    random: ChaCha8Rng,
    tokens: Vec<u32>,
    tokenizer: std::sync::Arc<Tokenizer>,
    longest_prompt: usize,
}

impl Load {
    /// Requests of this seed for a model of this tokenizer, of at most `longest_prompt` tokens.
    pub fn new(
        seed: u64,
        tokenizer: std::sync::Arc<Tokenizer>,
        longest_prompt: usize,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            tokens: tokenizer.encode_plain(TEXT)?,
            tokenizer,
            longest_prompt,
        })
    }

    /// A stretch of the text, from its beginning on again where it ends.
    fn stretch(&self, from: usize, count: usize) -> Vec<u32> {
        let around = self.tokens.iter().cycle();
        let from = from % self.tokens.len();
        around.skip(from).take(count).copied().collect()
    }

    /// The next request.
    pub fn draw(&mut self) -> Asked {
        let chat = self.one_in(3);
        let grows = self.one_in(4);
        let longest = match (grows, chat) {
            (true, _) => GROWING_PROMPT,
            (false, true) => self.longest_prompt.saturating_sub(TEMPLATE).max(1),
            (false, false) => self.longest_prompt,
        };
        let len = self.log_uniform(1..=longest);
        let from = self.below(self.tokens.len());
        let mut prompt = self.stretch(from, len);
        if self.one_in(3) {
            let number = self.below(PREFIXES.len());
            let prefix = self.stretch(number * 1_000, PREFIXES[number]);
            prompt.splice(0..0, prefix);
            prompt.truncate(longest);
        }
        let mut asked = Asked {
            path: "/v1/completions",
            prompt_tokens: Some(prompt.len()),
            body: json!({"prompt": prompt}),
            manner: Manner::Patient,
            repeatable: false,
            output_tokens: None,
            answers: 1,
            stream: false,
        };
        if chat {
            self.make_chat(&mut asked, &prompt);
        }
        self.choose_sampling(&mut asked);
        self.choose_end(&mut asked, if grows { GROWING_OUTPUT } else { OUTPUT });
        self.choose_manner(&mut asked);
        asked
    }

    /// With a tool, so that a parser reads the answer.
    fn make_chat(&mut self, asked: &mut Asked, prompt: &[u32]) {
        let text = self.tokenizer.decode(prompt);
        asked.path = "/v1/chat/completions";
        asked.prompt_tokens = None;
        asked.body = json!({
            "messages": [{"role": "user", "content": text}],
            "tools": [{"type": "function", "function": {
                "name": "look_up",
                "description": "Looks a word up",
                "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
            }}],
        });
    }

    fn choose_sampling(&mut self, asked: &mut Asked) {
        let body = &mut asked.body;
        match self.below(10) {
            0..4 => {
                body["temperature"] = json!(0);
                asked.repeatable = true;
            }
            4..8 => {
                body["seed"] = json!(self.below(1_000_000));
                body["temperature"] = json!([0.3, 0.8, 1.0][self.below(3)]);
                asked.repeatable = true;
            }
            _ => body["temperature"] = json!(1),
        }
        if self.one_in(3) {
            body["top_p"] = json!(0.9);
            body["top_k"] = json!(40);
        }
        if self.one_in(4) {
            body["repetition_penalty"] = json!(1.1);
            body["presence_penalty"] = json!(0.5);
        }
        if body["temperature"] != json!(0) && self.one_in(5) {
            body["n"] = json!(4);
            asked.answers = 4;
        }
    }

    fn choose_end(&mut self, asked: &mut Asked, output: RangeInclusive<usize>) {
        let most = self.log_uniform(output);
        asked.body["max_tokens"] = json!(most);
        if self.one_in(5) {
            asked.body["stop"] = json!([STOPS[self.below(STOPS.len())]]);
        } else if self.one_in(2) {
            asked.body["ignore_eos"] = json!(true);
            asked.output_tokens = Some(most);
        }
    }

    fn choose_manner(&mut self, asked: &mut Asked) {
        asked.stream = self.one_in(2);
        match self.below(20) {
            0 | 1 if asked.stream => {
                asked.manner = Manner::LeavesBehind(self.log_uniform(200..=20_000));
            }
            0 | 1 => {
                let milliseconds = self.log_uniform(20..=10_000) as u64;
                asked.manner = Manner::LeavesAfter(Duration::from_millis(milliseconds));
            }
            2 => {
                asked.stream = true;
                asked.manner = Manner::Slow;
                asked.body["max_tokens"] = json!(OUTPUT.end());
                asked.output_tokens = asked.output_tokens.map(|_| *OUTPUT.end());
            }
            _ => {}
        }
        if asked.stream {
            asked.body["stream"] = json!(true);
            asked.body["stream_options"] = json!({"include_usage": true});
        }
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// Of `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.random.next_u64() % count.max(1) as u64).unwrap_or_default()
    }

    /// Each order of magnitude is as likely as any.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand at most"
    )]
    fn log_uniform(&mut self, range: RangeInclusive<usize>) -> usize {
        let (low, high) = (*range.start() as f64, *range.end() as f64 + 1.0);
        let share = self.random.next_u32() as f64 / u32::MAX as f64;
        let drawn = (low.ln() + share * (high.ln() - low.ln())).exp() as usize;
        drawn.clamp(*range.start(), *range.end())
    }
}
