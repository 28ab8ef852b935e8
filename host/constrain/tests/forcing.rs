//! Constraints within an engine: what is forced takes no steps, is cut as the tokenizer cuts it, and changes no answer.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_constrain::{Answer, Constrainer};
use weir_engine::{
    Batch, Constraint, Engine, EngineConfig, EngineError, FinishReason, Generated, Logits,
    ModelRunner, RunnerInfo, SamplingParams, SequenceRequest, StopConditions,
};
use weir_output::Segment;
use weir_prompt::{GgufVocabulary, Tokenizer};

/// Words that are tokens, each made by merges from the left.
const WORDS: [&str; 8] = [
    "name", "first", "line", "\":", "\",", "Ġ\"", "Ġtrue", "address",
];

/// Byte-level BPE: all bytes, the words, a marker and an end.
fn tokenizer() -> Arc<Tokenizer> {
    let itself = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let (mut others, mut tokens) = (256..512_u32, Vec::new());
    for byte in 0..=255_u8 {
        let letter = match itself(&byte) {
            true => u32::from(byte),
            false => others.next().expect("more than there are"),
        };
        tokens.push(char::from_u32(letter).expect("a letter").to_string());
    }
    let mut merges = Vec::new();
    for word in WORDS {
        let word = word.replace(' ', "Ġ");
        let letters: Vec<String> = word.chars().map(String::from).collect();
        let mut left = letters[0].clone();
        for letter in &letters[1..] {
            let merge = format!("{left} {letter}");
            left.push_str(letter);
            if !merges.contains(&merge) {
                merges.push(merge);
                tokens.push(left.clone());
            }
        }
    }
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(["<tool_call>", "<end>"].map(str::to_owned));
    token_types.extend([4, 3]);
    let end = tokens.len() as u32 - 1;
    let gguf = GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        tokens,
        token_types,
        merges,
        eos: Some(end),
        ..GgufVocabulary::default()
    };
    Arc::new(Tokenizer::from_gguf(gguf).expect("a tokenizer"))
}

/// Logits out of a hash of where they stand.
struct Chance(RunnerInfo);

impl ModelRunner for Chance {
    fn info(&self) -> &RunnerInfo {
        &self.0
    }

    fn execute_into(&mut self, batch: &Batch, logits: &mut Logits) -> Result<(), EngineError> {
        let vocab = self.0.vocab_size;
        let data = logits.resize(batch.logit_rows(), vocab);
        let rows = batch.rows.iter().filter(|row| row.wants_logits);
        for (row, logits) in rows.zip(data.chunks_exact_mut(vocab)) {
            let position = (row.context_len + row.len) as u64;
            for (id, logit) in (0_u64..).zip(logits) {
                let mixed = (position << 32 | id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                *logit = (mixed >> 40) as f32 / (1 << 22) as f32;
            }
        }
        Ok(())
    }
}

struct Bench {
    tokenizer: Arc<Tokenizer>,
    constrainer: Constrainer,
}

struct Said {
    ids: Vec<u32>,
    text: String,
    reason: FinishReason,
    steps: u64,
    forced: u64,
}

impl Bench {
    fn new() -> Self {
        let tokenizer = tokenizer();
        let end = tokenizer.eos().expect("an end token");
        let constrainer = Constrainer::new(&tokenizer, end).expect("a vocabulary");
        Self {
            tokenizer,
            constrainer,
        }
    }

    fn compile(&self, segment: &Segment) -> Arc<dyn Constraint> {
        let constraint = self.constrainer.compile(segment, &Answer::Free);
        constraint.unwrap_or_else(|error| panic!("{segment:?}: {error}"))
    }

    fn json(&self, schema: &Value) -> Arc<dyn Constraint> {
        self.compile(&Segment::Json(schema.to_string()))
    }

    fn engine(&self) -> Engine {
        let info = RunnerInfo {
            vocab_size: self.tokenizer.vocabulary().len(),
            max_model_len: 1024,
            block_size: 16,
            num_blocks: 512,
            eos_token_ids: vec![self.tokenizer.eos().expect("an end token")],
        };
        Engine::new(Box::new(Chance(info)), EngineConfig::default())
    }

    fn request(&self, constraint: &Arc<dyn Constraint>, seed: u64) -> SequenceRequest {
        SequenceRequest {
            prompt: vec![1, 2, 3],
            sampling: SamplingParams {
                seed: Some(seed),
                ..SamplingParams::default()
            },
            stop: StopConditions {
                max_tokens: Some(600),
                ..StopConditions::default()
            },
            constraint: Some(Arc::clone(constraint)),
            embeddings: None,
            pooling: None,
            priority: 0,
        }
    }

    fn say(&self, request: SequenceRequest) -> Said {
        let mut engine = self.engine();
        engine.add(request).expect("a request");
        let (mut ids, mut ended) = (Vec::new(), None);
        while engine.has_work() {
            for output in engine.step() {
                match output.result.expect("no error") {
                    Generated::Token { id, .. } => ids.push(id),
                    Generated::Finished { reason, .. } => ended = Some(reason),
                    _ => {}
                }
            }
        }
        let counters = engine.counters();
        Said {
            text: self.tokenizer.decode(&ids),
            ids,
            reason: ended.expect("an end"),
            steps: counters.steps,
            forced: counters.forced_tokens,
        }
    }
}

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]{2,6}$"},
            "address": {
                "type": "object",
                "properties": {
                    "first_line": {"enum": ["here", "there"]},
                    "second_line": {"type": ["integer", "null"], "maximum": 99},
                    "is_verified": {"type": "boolean"}
                },
                "required": ["first_line", "second_line", "is_verified"],
                "additionalProperties": false
            },
            "kind": {"const": "<tool_call> \"quoted\""}
        },
        "required": ["name", "address", "kind"],
        "additionalProperties": false
    })
}

#[test]
fn keys_take_no_steps() {
    let bench = Bench::new();
    let constraint = bench.json(&person());
    for seed in 0..20 {
        let request = bench.request(&constraint, seed);
        let said = bench.say(request.clone());
        assert_eq!(said.reason, FinishReason::Stop, "{}", said.text);
        let value: Value = serde_json::from_str(&said.text).expect(&said.text);
        assert_eq!(value["kind"], "<tool_call> \"quoted\"");
        // With log-probabilities every token has a step of its own, and is the same.
        let told = bench.say(SequenceRequest {
            sampling: SamplingParams {
                logprobs: Some(0),
                ..request.sampling.clone()
            },
            ..request
        });
        assert_eq!(told.ids, said.ids);
        assert!(said.forced > 20, "{} of {:?}", said.forced, said.text);
        assert!(
            4 * said.steps < 3 * told.steps,
            "{} steps, {} one by one",
            said.steps,
            told.steps
        );
    }
}

#[test]
fn forced_text_is_cut_as_the_tokenizer_cuts_it() {
    let bench = Bench::new();
    let text = "{\"name\": \"first_line\", \"address\": true} <tool_call>";
    let said = bench.say(bench.request(&bench.compile(&Segment::Literal(text.to_owned())), 1));
    assert_eq!(said.text, text);
    // Nothing but the end of the prompt takes a step.
    assert_eq!((said.steps, said.reason), (1, FinishReason::Stop));
    let marker = bench.tokenizer.token_id("<tool_call>").expect("a marker");
    assert!(!said.ids.contains(&marker), "a literal is no marker");
    let plain = text.strip_suffix("<tool_call>").expect("it ends so");
    let canonical = bench.tokenizer.encode_plain(plain).expect("ids");
    let name = bench.tokenizer.token_id("address").expect("a token");
    assert!(canonical.contains(&name));

    let plain = bench.compile(&Segment::Sequence(vec![
        Segment::Literal(plain.to_owned()),
        Segment::Marker("<tool_call>".to_owned()),
    ]));
    let said = bench.say(bench.request(&plain, 1));
    assert_eq!(said.ids, [canonical, vec![marker]].concat());
}

#[test]
fn sequences_share_a_batch_and_say_what_they_say_alone() {
    let bench = Bench::new();
    let constraint = bench.json(&person());
    let mut engine = bench.engine();
    let free = |seed| SequenceRequest {
        constraint: None,
        ..bench.request(&constraint, seed)
    };
    let requests: Vec<_> = (0..4)
        .flat_map(|seed| [bench.request(&constraint, seed), free(seed)])
        .collect();
    let added: Vec<_> = requests
        .iter()
        .map(|request| engine.add(request.clone()))
        .collect();
    let mut said = vec![Vec::new(); added.len()];
    while engine.has_work() {
        for output in engine.step() {
            let place = added
                .iter()
                .position(|id| id.as_ref() == Ok(&output.sequence));
            if let Generated::Token { id, .. } = output.result.expect("no error") {
                said[place.expect("one of them")].push(id);
            }
        }
    }
    for (request, ids) in requests.into_iter().zip(said) {
        assert_eq!(bench.say(request).ids, ids);
    }
}

#[test]
fn what_would_be_cut_is_closed_where_asked_for() {
    let bench = Bench::new();
    let long = json!({
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 30},
            "list": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 2},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}
        },
        "required": ["list", "note"],
        "additionalProperties": false,
        "$defs": {"item": {"type": "object", "properties": {"n": {"type": "integer", "maximum": 999}, "more": {"type": "array", "items": {"$ref": "#/$defs/item"}}}, "required": ["n"], "additionalProperties": false}}
    });
    let constraint = bench.json(&long);
    let mut closed = 0;
    for seed in 0..30 {
        let mut request = bench.request(&constraint, seed);
        request.stop.max_tokens = Some(160);
        let cut = bench.say(request.clone());
        request.stop.closing_reserve = 80;
        let said = bench.say(request);
        assert_eq!(said.reason, FinishReason::Stop, "{}", said.text);
        let value: Value = serde_json::from_str(&said.text).expect(&said.text);
        assert!(value["list"].as_array().is_some_and(|list| list.len() >= 2));
        closed += u32::from(cut.reason == FinishReason::Length);
    }
    assert!(closed > 5, "{closed} of 30 would have been cut");
}
