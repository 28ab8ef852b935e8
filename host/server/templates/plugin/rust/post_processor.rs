//! A post-processor that leaves out the white space at the end of an answer.
//!
//! Invariant: what it emits folds to the same message however the text is cut. White space is held until other text follows.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use weir_plugin_sdk::{
    Action, Event, FinishReason, Fragment, FragmentKind, Interests, PostProcessor,
    PostProcessorInfo, RequestContext,
};

/// One answer's post-processing.
pub struct TrimEnd {
    /// White space that is the answer's end, for all we know.
    held: String,
}

impl PostProcessor for TrimEnd {
    fn describe(_config: &str) -> Result<PostProcessorInfo, String> {
        Ok(PostProcessorInfo {
            name: "{{name}}".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            interests: Interests {
                content: true,
                ..Interests::default()
            },
            ..PostProcessorInfo::default()
        })
    }

    fn new(_config: &str, _context: &RequestContext) -> Self {
        Self {
            held: String::new(),
        }
    }

    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) {
        let Event::Content(fragment) = event else {
            actions.push(Action::Emit(event.clone()));
            return;
        };
        let text: &str = &fragment.text;
        let (kept, white) = text.split_at(text.trim_end().len());
        if !kept.is_empty() && self.held.is_empty() && white.is_empty() {
            // As it came: the host passes it on without a copy.
            actions.push(Action::Emit(event.clone()));
            return;
        }
        if !kept.is_empty() {
            self.held.push_str(kept);
            actions.push(Action::Emit(Event::Content(Fragment {
                text: core::mem::take(&mut self.held).into(),
                kind: FragmentKind::Text,
            })));
        }
        self.held.push_str(white);
    }

    fn finish(&mut self, _reason: FinishReason, _actions: &mut Vec<Action>) {}
}

weir_plugin_sdk::export_post_processor!(TrimEnd);

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(text: &str, size: usize) -> String {
        let mut post = TrimEnd::new("{}", &RequestContext::default());
        let (characters, mut actions) = (text.chars().collect::<Vec<_>>(), Vec::new());
        for piece in characters.chunks(size) {
            let text = piece.iter().collect();
            let kind = FragmentKind::Text;
            post.push(&Event::Content(Fragment { text, kind }), &mut actions);
        }
        post.finish(FinishReason::Stop, &mut actions);
        let mut content = String::new();
        for action in &actions {
            if let Action::Emit(Event::Content(fragment)) = action {
                content.push_str(&fragment.text);
            }
        }
        content
    }

    #[test]
    fn every_chunking_gives_the_same() {
        let text = " One. \n\n Two.\t \n";
        for size in 1..text.len() {
            assert_eq!(trimmed(text, size), " One. \n\n Two.", "in pieces of {size}");
        }
    }
}
