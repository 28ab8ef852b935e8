//! Stub of the post-processor `repair_json`: passes every event on.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Action, Event, FinishReason, Interests, PostProcessor, PostProcessorInfo, RequestContext,
};

/// One choice's post-processing.
#[derive(Debug)]
pub struct RepairJson;

impl PostProcessor for RepairJson {
    fn describe(_config: &str) -> Result<PostProcessorInfo, String> {
        Ok(PostProcessorInfo {
            name: "repair_json".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            interests: Interests {
                content: true,
                ..Interests::default()
            },
            ..PostProcessorInfo::default()
        })
    }

    fn new(_config: &str, _context: &RequestContext) -> Self {
        Self
    }

    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) {
        actions.push(Action::Emit(event.clone()));
    }

    fn finish(&mut self, _reason: FinishReason, _actions: &mut Vec<Action>) {}
}

weir_plugin_sdk::export_post_processor!(RepairJson);
