//! A request processor that leaves out the oldest messages of a conversation that is longer than the context.
//!
//! Invariant: what is left fits, or is what the system says and the last message. Order and wording stay.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec, vec::Vec};

use weir_plugin_request_sdk::{
    RequestProcessor,
    request_processor::{
        Grants, HostAction, HostOutcome, Message, Model, Request, RequestProcessorInfo, Step,
    },
};

/// Tokens of an answer whose request says nothing.
const ANSWER_TOKENS: u32 = 256;

/// One request on its way.
pub struct ForgetOldest {
    messages: Vec<Message>,
    /// Tokens of the prompt at most.
    room: u32,
}

impl ForgetOldest {
    /// Asks how long the prompt is now.
    fn count(&self) -> Step {
        Step::Perform(vec![HostAction::CountPrompt(self.messages.clone())])
    }

    /// Leaves out the older half of what may go, so that few steps are enough; says whether anything went.
    fn forget(&mut self) -> bool {
        let last = self.messages.len().saturating_sub(1);
        let may_go = |number: usize, message: &Message| number < last && message.role != "system";
        let all = self.messages.iter().enumerate();
        let old: Vec<usize> = all
            .filter(|(number, message)| may_go(*number, message))
            .map(|(number, _)| number)
            .collect();
        let old = &old[..old.len().div_ceil(2)];
        let mut number = 0;
        self.messages.retain(|_| {
            number += 1;
            !old.contains(&(number - 1))
        });
        !old.is_empty()
    }
}

impl RequestProcessor for ForgetOldest {
    fn describe(_config: &str) -> Result<RequestProcessorInfo, String> {
        Ok(RequestProcessorInfo {
            name: "{{name}}".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            default_config: String::new(),
            chooses: false,
        })
    }

    fn start(_config: &str, request: Request, _grants: Grants, model: Model) -> (Self, Step) {
        let answer = request.max_tokens.unwrap_or(ANSWER_TOKENS);
        let this = Self {
            messages: request.messages,
            room: model.context_tokens.saturating_sub(answer),
        };
        let step = this.count();
        (this, step)
    }

    fn resume(&mut self, outcomes: Vec<HostOutcome>) -> Step {
        let tokens = match outcomes.first() {
            Some(HostOutcome::Counted(counts)) => counts.first().copied().unwrap_or(0),
            // Whoever cannot count does not judge either.
            _ => 0,
        };
        if tokens > self.room && self.forget() {
            return self.count();
        }
        Step::ContinueWith(core::mem::take(&mut self.messages))
    }
}

weir_plugin_request_sdk::export_request_processor!(ForgetOldest);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(messages: &[(&str, &str)], context_tokens: u32) -> Vec<String> {
        let request = Request {
            messages: messages
                .iter()
                .map(|(role, text)| Message::new(role, *text))
                .collect(),
            max_tokens: Some(10),
            ..Request::default()
        };
        let model = Model {
            context_tokens,
            embedding_tokens: None,
        };
        let (mut plugin, mut step) = ForgetOldest::start("{}", request, Grants::default(), model);
        while let Step::Perform(actions) = step {
            let HostAction::CountPrompt(messages) = &actions[0] else {
                panic!("{actions:?}")
            };
            // Ten tokens a message, as far as this test goes.
            let tokens = u32::try_from(messages.len()).unwrap() * 10;
            step = plugin.resume(vec![HostOutcome::Counted(vec![tokens])]);
        }
        match step {
            Step::ContinueWith(messages) => messages
                .into_iter()
                .map(|message| message.content.unwrap())
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let all = [
            ("system", "rules"),
            ("user", "one"),
            ("assistant", "two"),
            ("user", "three"),
        ];
        assert_eq!(run(&all, 50).len(), 4);
        assert_eq!(run(&all, 40), ["rules", "two", "three"]);
        assert_eq!(run(&all, 1), ["rules", "three"]);
    }
}
