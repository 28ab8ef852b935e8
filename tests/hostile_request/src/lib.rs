//! A request processor that misbehaves on request: the host's tests prove with it that a bad one harms nobody else.
//!
//! Its configuration says what it does and in which function: `{"mode":"loop","in":"resume"}`. `in` is `describe`, `start` or
//! `resume`; everywhere else, and without a mode, it asks for one thing of each kind and answers with what came of them. The
//! texts are looked for as they are written here, without white space, which is how the host writes configuration.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{format, string::String, vec, vec::Vec};
use core::hint::black_box;

use weir_plugin_request_sdk::{
    RequestProcessor,
    request_processor::{
        Generation, Grants, HostAction, HostOutcome, Message, Model, Request, RequestProcessorInfo,
        Step,
    },
};

weir_plugin_request_sdk::export_request_processor!(HostileRequest);

/// More text than a host takes from one call.
const FLOOD_BYTES: usize = 6 << 20;

/// One request that will be ill treated.
pub struct HostileRequest {
    config: String,
    seen: String,
}

impl RequestProcessor for HostileRequest {
    fn describe(config: &str) -> Result<RequestProcessorInfo, String> {
        if config.contains("\"mode\":\"refuse\"") {
            return Err("a hostile plugin likes no configuration".into());
        }
        misbehave(config, "\"in\":\"describe\"");
        Ok(RequestProcessorInfo {
            name: "hostile_request".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            default_config: String::new(),
            chooses: true,
        })
    }

    fn start(config: &str, request: Request, grants: Grants, model: Model) -> (Self, Step) {
        let step = misbehave(config, "\"in\":\"start\"").unwrap_or_else(|| {
            if config.contains("\"mode\":\"nothing\"") {
                return Step::ContinueWith(request.messages.clone());
            }
            Step::Perform(one_of_each(&request))
        });
        let processor = Self {
            config: config.into(),
            seen: format!("{request:?}\n{grants:?}\n{model:?}"),
        };
        (processor, step)
    }

    fn resume(&mut self, outcomes: Vec<HostOutcome>) -> Step {
        let step = misbehave(&self.config, "\"in\":\"resume\"");
        step.unwrap_or_else(|| Step::Answer(format!("{}\n{outcomes:?}", self.seen)))
    }
}

/// Something of every kind.
fn one_of_each(request: &Request) -> Vec<HostAction> {
    let document = request.digests.first().cloned().unwrap_or_default();
    let generation = Generation {
        messages: request.messages.clone(),
        max_tokens: 4,
        temperature: Some(0.5),
        shown: Some("thinking: ".into()),
    };
    vec![
        HostAction::CountTokens(vec!["one two".into()]),
        HostAction::CountPrompt(request.messages.clone()),
        HostAction::StorePut {
            document: document.clone(),
            entries: vec![("a".into(), vec![1, 2])],
        },
        HostAction::StoreGet {
            document,
            keys: vec!["a".into(), "b".into()],
        },
        HostAction::Generate(vec![generation.clone(), generation]),
        HostAction::Embed(vec!["one".into()]),
    ]
}

/// Does what the configuration says, if this is the place.
fn misbehave(config: &str, place: &str) -> Option<Step> {
    if !config.contains(place) {
        return None;
    }
    let is = |mode: &str| config.contains(&format!("\"mode\":\"{mode}\""));
    if is("loop") {
        run_forever();
    } else if is("recurse") {
        recurse(0);
    } else if is("memory") {
        eat_memory();
    } else if is("panic") {
        panic!("as configured");
    }
    let generations = |count: usize, max_tokens: u32| {
        let generation = Generation {
            messages: vec![Message::new("user", "hi")],
            max_tokens,
            ..Generation::default()
        };
        HostAction::Generate(vec![generation; count])
    };
    let put = |bytes: usize| HostAction::StorePut {
        document: "d".into(),
        entries: vec![("k".into(), vec![0; bytes])],
    };
    let action = if is("flood") {
        return Some(Step::Answer("x".repeat(FLOOD_BYTES)));
    } else if is("no-role") {
        return Some(Step::ContinueWith(vec![Message::default()]));
    } else if is("done") {
        return Some(Step::Done);
    } else if is("choose") {
        return Some(Step::Choose(vec![7]));
    } else if is("behind") {
        let messages = vec![Message::new("user", "hi")];
        return Some(Step::ContinueAndPerform(messages, vec![generations(1, 1)]));
    } else if is("again") {
        return Some(Step::Perform(Vec::new()));
    } else if is("generations") {
        generations(1000, 1)
    } else if is("tokens") {
        generations(1, u32::MAX)
    } else if is("embeddings") {
        HostAction::Embed(vec!["x".into(); 1000])
    } else if is("storage") {
        put(1 << 20)
    } else {
        return None;
    };
    Some(Step::Perform(vec![action]))
}

fn run_forever() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn recurse(depth: u64) -> u64 {
    // Something must be left to do after the inner call, or the compiler makes it a loop.
    let frame = black_box([depth; 64]);
    let below = if black_box(true) {
        recurse(black_box(depth + 1))
    } else {
        0
    };
    below + black_box(frame)[0]
}

fn eat_memory() {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1_u8; 1 << 20]);
        black_box(&eaten);
    }
}
