//! Parsers and post-processors small enough to see through: character by character, so that chunking cannot matter
//! inside them and whatever the pipeline adds shows.

use std::sync::Arc;

use weir_output::{
    Action, Event, FinishReason, Fragment, FragmentKind, Interests, Parser, ParserInfo,
    ParserSession, PluginError, PluginErrorKind, PostProcessor, PostProcessorInfo,
    PostProcessorSession, RequestContext, Roles,
};

pub fn fragment(text: &str, kind: FragmentKind) -> Fragment {
    Fragment {
        text: text.to_owned(),
        kind,
    }
}

pub fn text(text: &str) -> Fragment {
    fragment(text, FragmentKind::Text)
}

pub fn trap(plugin: &str, call: &'static str) -> PluginError {
    PluginError {
        plugin: plugin.to_owned(),
        call,
        kind: PluginErrorKind::Trap("fake".to_owned()),
    }
}

/// Reasoning stands between `(` and `)`; calls are `name{...}` between `[` and `]`, ended as abandoned by `!` in place of
/// `]`; an empty name is abandoned before it begins. `#` traps in push, `@` ends a call
/// that never began.
pub struct FakeParser {
    info: ParserInfo,
    constructor_fails: bool,
}

impl FakeParser {
    pub fn new(name: &str, reasoning: bool, tools: bool) -> Self {
        let roles = Roles { reasoning, tools };
        let markers = vec!["[".to_owned()];
        Self {
            info: ParserInfo {
                name: name.to_owned(),
                roles,
                markers,
                ..Default::default()
            },
            constructor_fails: false,
        }
    }

    pub fn failing(name: &str) -> Self {
        Self {
            constructor_fails: true,
            ..Self::new(name, true, true)
        }
    }

    pub fn arc(self) -> Arc<dyn Parser> {
        Arc::new(self)
    }
}

impl Parser for FakeParser {
    fn info(&self) -> &ParserInfo {
        &self.info
    }

    fn session(&self, context: &RequestContext) -> Result<Box<dyn ParserSession>, PluginError> {
        if self.constructor_fails {
            return Err(trap(&self.info.name, "constructor"));
        }
        let next = 0;
        let state = State::Content;
        let name = self.info.name.clone();
        Ok(Box::new(FakeSession {
            name,
            roles: self.info.roles,
            markers: context.tool_markers.clone(),
            state,
            next,
        }))
    }
}

enum State {
    Content,
    Reasoning,
    Name(String),
    Arguments(String),
}

struct FakeSession {
    name: String,
    roles: Roles,
    markers: Vec<String>,
    state: State,
    next: u32,
}

impl FakeSession {
    fn content(letter: char, kind: FragmentKind) -> Event {
        Event::Content(fragment(&letter.to_string(), kind))
    }

    fn step(
        &mut self,
        letter: char,
        kind: FragmentKind,
        events: &mut Vec<Event>,
    ) -> Result<(), PluginError> {
        let index = self.next;
        match (&mut self.state, letter) {
            (_, '#') => return Err(trap(&self.name, "push")),
            (_, '@') => events.push(Event::CallEnd { index: 77 }),
            (State::Content, '(') if self.roles.reasoning => self.state = State::Reasoning,
            (State::Content, '[') if self.roles.tools => self.state = State::Name(String::new()),
            (State::Content, '?') => {
                let told = if self.markers.is_empty() {
                    "none"
                } else {
                    "markers"
                };
                events.push(Event::Content(text(told)));
            }
            (State::Content, _) => events.push(Self::content(letter, kind)),
            (State::Reasoning, ')') => self.state = State::Content,
            (State::Reasoning, _) => events.push(Event::Reasoning {
                text: letter.to_string(),
            }),
            (State::Name(name), '{') if !name.is_empty() => {
                events.push(Event::CallBegin {
                    index,
                    id: None,
                    name: name.clone(),
                });
                events.push(Event::CallArguments {
                    index,
                    delta: "{".to_owned(),
                });
                self.next += 1;
                self.state = State::Arguments(format!("{name}{{"));
            }
            (State::Name(raw), '!' | ']') => {
                events.push(Event::CallAbandoned {
                    index,
                    raw: raw.clone(),
                });
                self.state = State::Content;
            }
            (State::Name(name), _) => name.push(letter),
            (State::Arguments(_), ']') => {
                events.push(Event::CallEnd { index: index - 1 });
                self.state = State::Content;
            }
            (State::Arguments(raw), '!') => {
                events.push(Event::CallAbandoned {
                    index: index - 1,
                    raw: raw.clone(),
                });
                self.state = State::Content;
            }
            (State::Arguments(raw), _) => {
                raw.push(letter);
                events.push(Event::CallArguments {
                    index: index - 1,
                    delta: letter.to_string(),
                });
            }
        }
        Ok(())
    }
}

impl ParserSession for FakeSession {
    fn push(&mut self, fragment: &Fragment, events: &mut Vec<Event>) -> Result<(), PluginError> {
        let mut letters = Vec::new();
        for letter in fragment.text.chars() {
            self.step(letter, fragment.kind, &mut letters)?;
        }
        events.append(&mut letters);
        Ok(())
    }

    fn finish(&mut self, _: FinishReason, events: &mut Vec<Event>) -> Result<(), PluginError> {
        match &self.state {
            State::Name(raw) => events.push(Event::CallAbandoned {
                index: self.next,
                raw: raw.clone(),
            }),
            State::Arguments(raw) => events.push(Event::CallAbandoned {
                index: self.next - 1,
                raw: raw.clone(),
            }),
            State::Content | State::Reasoning => {}
        }
        Ok(())
    }
}

/// Writes content in capitals, holding one character back; `$` in content stops, `%` traps.
pub struct FakePost {
    info: PostProcessorInfo,
}

impl FakePost {
    pub fn new(name: &str) -> Self {
        let interests = Interests {
            content: true,
            ..Default::default()
        };
        Self {
            info: PostProcessorInfo {
                name: name.to_owned(),
                version: String::new(),
                interests,
                default_config: String::new(),
            },
        }
    }

    pub fn arc(self) -> Arc<dyn PostProcessor> {
        Arc::new(self)
    }
}

impl PostProcessor for FakePost {
    fn info(&self) -> &PostProcessorInfo {
        &self.info
    }

    fn session(&self, _: &RequestContext) -> Result<Box<dyn PostProcessorSession>, PluginError> {
        Ok(Box::new(Capitals {
            held: String::new(),
        }))
    }
}

struct Capitals {
    held: String,
}

impl PostProcessorSession for Capitals {
    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) -> Result<(), PluginError> {
        let Event::Content(content) = event else {
            panic!("not interested in {event:?}")
        };
        let mut said = Vec::new();
        for letter in content.text.chars() {
            match letter {
                '%' => return Err(trap("capitals", "push")),
                '$' => said.push(Action::Stop("dollar".to_owned())),
                _ => {
                    let before = std::mem::replace(&mut self.held, letter.to_uppercase().collect());
                    if !before.is_empty() {
                        said.push(Action::Emit(Event::Content(text(&before))));
                    }
                }
            }
        }
        actions.append(&mut said);
        Ok(())
    }

    fn finish(&mut self, _: FinishReason, actions: &mut Vec<Action>) -> Result<(), PluginError> {
        actions.push(Action::Emit(Event::Content(text(&self.held))));
        Ok(())
    }
}

/// Wants calls: an abandoned one it ends as if it were whole; a call named `z` stops, as a stop string does.
pub struct Mender(PostProcessorInfo);

impl Mender {
    pub fn arc() -> Arc<dyn PostProcessor> {
        let mut info = FakePost::new("mender").info;
        info.interests = Interests {
            calls: true,
            ..Default::default()
        };
        Arc::new(Self(info))
    }
}

impl PostProcessor for Mender {
    fn info(&self) -> &PostProcessorInfo {
        &self.0
    }

    fn session(&self, _: &RequestContext) -> Result<Box<dyn PostProcessorSession>, PluginError> {
        Ok(Box::new(Mending))
    }
}

struct Mending;

impl PostProcessorSession for Mending {
    fn push(&mut self, event: &Event, actions: &mut Vec<Action>) -> Result<(), PluginError> {
        actions.push(match event {
            Event::CallAbandoned { index, .. } => Action::Emit(Event::CallEnd { index: *index }),
            Event::CallBegin { name, .. } if name == "z" => Action::Stop("stop: z".to_owned()),
            other => Action::Emit(other.clone()),
        });
        Ok(())
    }

    fn finish(&mut self, _: FinishReason, _: &mut Vec<Action>) -> Result<(), PluginError> {
        Ok(())
    }
}
