//! What NVIDIA Dynamo's clients may ask to be told beside an answer (`nvext`): the prompt as the model reads it, token counts
//! and timings; as server-sent events around the chunks, or in the `nvext` of an answer in one piece.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use weir_output::Detokenizer;
use weir_prompt::Vocabulary;
use weir_protocol::{Annotations, Usage};

/// What is told beside the answer to one request.
pub(super) struct Beside {
    asked: Annotations,
    vocabulary: Arc<Vocabulary>,
    /// Token ids of each prompt; none where nobody asked for them.
    prompts: Vec<Vec<u32>>,
    received: Received,
    first: Option<Instant>,
}

/// When a request came in.
#[derive(Clone, Copy)]
pub(super) struct Received {
    at: Instant,
    milliseconds: u128,
}

impl Received {
    /// Now.
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            at: Instant::now(),
            milliseconds: since.unwrap_or_default().as_millis(),
        }
    }
}

/// A name and what is told under it.
pub(super) type Annotation = (&'static str, Value);

impl Beside {
    /// For a request that came in then.
    pub(super) fn new(
        asked: Annotations,
        vocabulary: &Arc<Vocabulary>,
        prompts: Vec<Vec<u32>>,
        received: Received,
    ) -> Self {
        Self {
            asked,
            vocabulary: Arc::clone(vocabulary),
            prompts,
            received,
            first: None,
        }
    }

    /// Says that a step of the answer is there.
    pub(super) fn step(&mut self) {
        if self.asked.timing {
            self.first.get_or_insert_with(Instant::now);
        }
    }

    /// What is told before the answer.
    pub(super) fn before(&self) -> Vec<Annotation> {
        let mut told = Vec::new();
        if self.asked.formatted_prompt {
            let texts = self.prompts.iter().map(|prompt| self.read(prompt).into());
            told.push(("formatted_prompt", one_or_list(texts.collect())));
        }
        if self.asked.token_ids {
            let lists = self.prompts.iter().map(|prompt| json!(prompt));
            told.push(("token_ids", one_or_list(lists.collect())));
        }
        told
    }

    /// What is told behind the answer.
    pub(super) fn after(&self, usage: &Usage) -> Vec<Annotation> {
        let mut told = Vec::new();
        if self.asked.llm_metrics {
            let metrics = json!({
                "input_tokens": usage.prompt_tokens,
                "output_tokens": usage.completion_tokens,
                "cached_tokens": usage.prompt_tokens_details.cached_tokens,
            });
            told.push(("llm_metrics", metrics));
        }
        if self.asked.timing {
            let since = |instant: Instant| {
                let passed = instant.saturating_duration_since(self.received.at);
                passed.as_secs_f64() * 1000.0
            };
            let timing = json!({
                "request_received_ms": self.received.milliseconds,
                "ttft_ms": self.first.map(since),
                "total_time_ms": since(Instant::now()),
            });
            told.push(("timing", timing));
        }
        told
    }

    /// All of it as one object; None where nobody asked.
    pub(super) fn object(&self, usage: &Usage) -> Option<Value> {
        let told = self.before().into_iter().chain(self.after(usage));
        let object: Map<String, Value> = told.map(|(name, value)| (name.into(), value)).collect();
        self.asked.any().then_some(Value::Object(object))
    }

    /// The text that the model reads, special tokens with it.
    fn read(&self, prompt: &[u32]) -> String {
        let detokenizer = Detokenizer::new(Arc::clone(&self.vocabulary), Arc::from([]));
        let mut detokenizer = detokenizer.showing_special_tokens(true);
        let mut fragments = Vec::new();
        for &id in prompt {
            detokenizer.push(id, &mut fragments);
        }
        detokenizer.finish(&mut fragments);
        fragments
            .into_iter()
            .map(|fragment| fragment.text)
            .collect()
    }
}

/// The one prompt's value by itself.
fn one_or_list(mut values: Vec<Value>) -> Value {
    match (values.len(), values.pop()) {
        (1, Some(only)) => only,
        (_, last) => values.into_iter().chain(last).collect(),
    }
}
