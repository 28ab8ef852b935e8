//! The post-processor `stop_on`: ends the generation where one of its patterns or phrases matches.
//!
//! What precedes the leftmost match goes out, the match and all behind it do not; a configured message may follow. Only
//! what may still become a match is held back, at most [`MAX_MATCH`] bytes of each text: content is one text, reasoning
//! one, and so are the arguments of each call, as the model wrote them. A call that is ended in stays open: with whole
//! calls nothing of it is seen. Text is passed on as kind `text`: behind the parsers nobody looks for markers any more.
//!
//! [`MAX_MATCH`]: weir_plugin_sdk::patterns::search::MAX_MATCH

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod config;

use alloc::{format, string::String, sync::Arc, vec::Vec};

use weir_plugin_sdk::{
    Action, Event, FinishReason, Fragment, FragmentKind, Interests, PostProcessor,
    PostProcessorInfo, RequestContext, patterns::search::Search,
};

use crate::config::{Config, DEFAULT};

weir_plugin_sdk::export_post_processor!(StopOn);

/// One choice's guard.
pub struct StopOn {
    config: Config,
    content: Search,
    reasoning: Search,
    /// The open call's index and the search of its arguments.
    call: Option<(u32, Search)>,
    stopped: bool,
}

impl PostProcessor for StopOn {
    fn describe(config: &str) -> Result<PostProcessorInfo, String> {
        let config = Config::read(config)?;
        Ok(PostProcessorInfo {
            name: "stop_on".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            interests: Interests {
                content: config.content,
                reasoning: config.reasoning,
                calls: config.calls,
            },
            default_config: DEFAULT.into(),
        })
    }

    fn new(config: &str, _context: &RequestContext) -> Self {
        let config = match Config::read(config) {
            Ok(config) => config,
            Err(message) => unreachable!("describe took this configuration: {message}"),
        };
        let search = || Search::until_match(Arc::clone(&config.rules));
        Self {
            content: search(),
            reasoning: search(),
            call: None,
            stopped: false,
            config,
        }
    }

    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) {
        if self.stopped {
            return;
        }
        match event {
            Event::Content(fragment) => self.push_content(&fragment.text, actions),
            Event::Reasoning { text } => {
                let mut out = String::new();
                self.reasoning.push(text, &mut out);
                emit_reasoning(out, actions);
                self.stop_if(self.reasoning.ended_at(), actions);
            }
            Event::CallBegin { index, name, .. } => {
                self.read_whole(name, actions);
                if !self.stopped {
                    let search = Search::until_match(Arc::clone(&self.config.rules));
                    self.call = Some((*index, search));
                    actions.push(Action::Emit(event.clone()));
                }
            }
            Event::CallArguments { delta, .. } => self.push_arguments(delta, actions),
            Event::CallEnd { .. } => {
                self.finish_arguments(actions);
                if !self.stopped {
                    actions.push(Action::Emit(event.clone()));
                }
            }
            Event::CallAbandoned { index, raw } => self.abandon(*index, raw, actions),
        }
    }

    fn finish(&mut self, _reason: FinishReason, actions: &mut Vec<Action>) {
        if !self.stopped {
            self.finish_texts(actions);
        }
    }
}

impl StopOn {
    fn push_content(&mut self, text: &str, actions: &mut Vec<Action>) {
        let mut out = String::new();
        self.content.push(text, &mut out);
        emit_content(out, actions);
        self.stop_if(self.content.ended_at(), actions);
    }

    fn push_arguments(&mut self, delta: &str, actions: &mut Vec<Action>) {
        let Some((index, search)) = &mut self.call else {
            return;
        };
        let mut out = String::new();
        search.push(delta, &mut out);
        emit_arguments(*index, out, actions);
        let ended = search.ended_at();
        self.stop_if(ended, actions);
    }

    fn finish_arguments(&mut self, actions: &mut Vec<Action>) {
        let Some((index, mut search)) = self.call.take() else {
            return;
        };
        let mut out = String::new();
        search.finish(&mut out);
        emit_arguments(index, out, actions);
        self.stop_if(search.ended_at(), actions);
    }

    /// What a call that never began leaves is content. What one that began leaves may become content, so it is read too.
    fn abandon(&mut self, index: u32, raw: &str, actions: &mut Vec<Action>) {
        let began = self.call.is_some();
        self.finish_arguments(actions);
        if self.stopped {
            return;
        }
        if !began && self.config.content {
            self.push_content(raw, actions);
            return;
        }
        self.read_whole(raw, actions);
        if !self.stopped {
            let raw = raw.into();
            actions.push(Action::Emit(Event::CallAbandoned { index, raw }));
        }
    }

    /// Stops if a text that is passed on as a whole holds a match.
    fn read_whole(&mut self, text: &str, actions: &mut Vec<Action>) {
        let mut search = Search::until_match(Arc::clone(&self.config.rules));
        let mut out = String::new();
        search.push(text, &mut out);
        search.finish(&mut out);
        self.stop_if(search.ended_at(), actions);
    }

    /// Ends the generation if the pattern with this index matched. What the other texts hold back came before.
    fn stop_if(&mut self, rule: Option<u32>, actions: &mut Vec<Action>) {
        let Some(rule) = rule.filter(|_| !self.stopped) else {
            return;
        };
        self.stopped = true;
        self.finish_texts(actions);
        emit_content(core::mem::take(&mut self.config.message), actions);
        let label = &self.config.labels[rule as usize];
        let reason = format!("{}: {label} matched", self.config.finish_reason);
        actions.push(Action::Stop(reason));
    }

    /// What may have become a match and did not, or did at the very end.
    fn finish_texts(&mut self, actions: &mut Vec<Action>) {
        let mut out = String::new();
        self.reasoning.finish(&mut out);
        emit_reasoning(out, actions);
        self.stop_if(self.reasoning.ended_at(), actions);
        self.finish_arguments(actions);
        let mut out = String::new();
        self.content.finish(&mut out);
        emit_content(out, actions);
        self.stop_if(self.content.ended_at(), actions);
    }
}

fn emit_content(text: String, actions: &mut Vec<Action>) {
    if !text.is_empty() {
        let fragment = Fragment::new(text, FragmentKind::Text);
        actions.push(Action::Emit(Event::Content(fragment)));
    }
}

fn emit_reasoning(text: String, actions: &mut Vec<Action>) {
    if !text.is_empty() {
        actions.push(Action::Emit(Event::Reasoning { text: text.into() }));
    }
}

fn emit_arguments(index: u32, text: String, actions: &mut Vec<Action>) {
    if !text.is_empty() {
        let delta = text.into();
        actions.push(Action::Emit(Event::CallArguments { index, delta }));
    }
}
