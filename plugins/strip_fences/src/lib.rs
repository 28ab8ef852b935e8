//! The post-processor `strip_fences`: takes the Markdown fence off an answer that is one fenced block.
//!
//! The inside streams as it comes. That the answer begins with a fence is known while it streams; that nothing follows
//! the block is not. So an answer that begins with a block loses this block's fence, and text behind it stays, unless
//! configured otherwise; a block that never closes loses its opening fence all the same. It acts on content alone, and
//! content is one text, however it arrives and whatever calls stand in it.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod block;
pub mod config;
pub mod fence;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Action, Event, FinishReason, Fragment, FragmentKind, Interests, PostProcessor,
    PostProcessorInfo, RequestContext, ResponseFormat,
};

use crate::{
    block::BlockText,
    config::{Config, DEFAULT},
};

weir_plugin_sdk::export_post_processor!(StripFences);

/// One choice's answer.
#[derive(Debug)]
pub struct StripFences(BlockText);

impl PostProcessor for StripFences {
    fn describe(config: &str) -> Result<PostProcessorInfo, String> {
        Config::read(config)?;
        Ok(PostProcessorInfo {
            name: "strip_fences".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            interests: Interests {
                content: true,
                ..Interests::default()
            },
            default_config: DEFAULT.into(),
        })
    }

    fn new(config: &str, context: &RequestContext) -> Self {
        let config = match Config::read(config) {
            Ok(config) => config,
            Err(message) => unreachable!("describe took this configuration: {message}"),
        };
        let acts = !config.json_only || context.response_format != ResponseFormat::Text;
        Self(BlockText::new(config, acts))
    }

    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) {
        match event {
            Event::Content(fragment) if !self.0.is_passing() => {
                let mut out = String::new();
                self.0.push(&fragment.text, &mut out);
                emit(out, actions);
            }
            other => actions.push(Action::Emit(other.clone())),
        }
    }

    fn finish(&mut self, _reason: FinishReason, actions: &mut Vec<Action>) {
        let mut out = String::new();
        self.0.finish(&mut out);
        emit(out, actions);
    }
}

fn emit(text: String, actions: &mut Vec<Action>) {
    if !text.is_empty() {
        let fragment = Fragment::new(text, FragmentKind::Text);
        actions.push(Action::Emit(Event::Content(fragment)));
    }
}
