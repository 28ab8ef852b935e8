//! What the measurements of a push have in common: the streams, and sessions that run as a component and natively.
//!
//! The stream is qwen25's (hermes): plain text, and one call whose argument is a string, in deltas of 4 characters.

use std::{hint::black_box, path::Path, sync::Arc};

use weir_output::{Event, Fragment, FragmentKind, Parser, RequestContext};
use weir_plugin_host::{PluginHost, PluginHostConfig, Registry};
use weir_plugin_qwen25::Qwen25;
use weir_plugin_sdk as sdk;

const DELTA: usize = 4;
const CALL_LENGTHS: [usize; 2] = [2_000, 32_000];

/// What a model wrote, by its name: the text that is not timed, and the deltas that are.
pub fn streams() -> Vec<(String, String, Vec<String>)> {
    let deltas = |text: &str| {
        let characters: Vec<char> = text.chars().collect();
        let pieces = characters.chunks(DELTA);
        pieces.map(|piece| piece.iter().collect()).collect()
    };
    let content = "plain text with words ".repeat(100);
    let mut streams = vec![("content".to_owned(), String::new(), deltas(&content))];
    for length in CALL_LENGTHS {
        let start = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"text\": \"";
        let arguments = deltas(&"some words ".repeat(length)[..length]);
        streams.push((format!("call_{length}"), start.to_owned(), arguments));
    }
    streams
}

/// A parser's session, wherever it runs.
pub trait Streamed {
    /// A piece of text as it takes it.
    type Fragment;

    fn fragment(text: &str) -> Self::Fragment;

    fn push(&mut self, fragment: &Self::Fragment);
}

pub struct Component {
    session: Box<dyn weir_output::ParserSession>,
    events: Vec<Event>,
}

impl Component {
    pub fn open(parser: &dyn Parser) -> Self {
        Self {
            session: parser
                .session(&RequestContext::default())
                .expect("a session"),
            events: Vec::new(),
        }
    }
}

impl Streamed for Component {
    type Fragment = Fragment;

    fn fragment(text: &str) -> Fragment {
        Fragment {
            text: text.to_owned(),
            kind: FragmentKind::Text,
        }
    }

    fn push(&mut self, fragment: &Fragment) {
        self.events.clear();
        let pushed = self.session.push(fragment, &mut self.events);
        pushed.expect("no plugin error");
        black_box(&self.events);
    }
}

pub struct Native {
    session: Qwen25,
    events: Vec<sdk::Event>,
}

impl Native {
    pub fn open() -> Self {
        Self {
            session: sdk::Parser::new("{}", &sdk::RequestContext::default()),
            events: Vec::new(),
        }
    }
}

impl Streamed for Native {
    type Fragment = sdk::Fragment;

    fn fragment(text: &str) -> sdk::Fragment {
        sdk::Fragment::new(text, sdk::FragmentKind::Text)
    }

    fn push(&mut self, fragment: &sdk::Fragment) {
        self.events.clear();
        sdk::Parser::push(&mut self.session, black_box(fragment), &mut self.events);
        black_box(&self.events);
    }
}

/// The parser as the component that the project ships.
pub fn component() -> Arc<dyn Parser> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let host = PluginHost::new(&PluginHostConfig::default()).expect("a plugin host");
    let registry = Registry::builder(&host)
        .manifest_file(&root.join("plugins.toml"))
        .and_then(|builder| builder.build())
        .expect("the project's manifest");
    registry.parser("qwen25").expect("qwen25")
}
