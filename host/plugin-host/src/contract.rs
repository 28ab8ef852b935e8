//! Checks that a session's events keep the order the contract promises, so that nothing behind it has to.
//!
//! It looks at order and emptiness only; whether arguments are JSON is the parser's word.

use weir_output::{Action, Event, PluginErrorKind};

/// Follows one session's call events.
#[derive(Debug)]
pub(crate) struct EventOrder {
    /// The least index the next call may have.
    next: u32,
    open: Option<u32>,
    /// A post-processor may swallow calls, and what it holds no interest in passes it by; a parser counts every call.
    gaps: bool,
    /// Whether a post-processor ended the generation, which may be in the middle of a call.
    stopped: bool,
}

impl EventOrder {
    /// For a parser: indices from 0 without gaps.
    pub(crate) fn of_parser() -> Self {
        Self {
            next: 0,
            open: None,
            gaps: false,
            stopped: false,
        }
    }

    /// For a post-processor: indices rise.
    pub(crate) fn of_post_processor() -> Self {
        Self {
            next: 0,
            open: None,
            gaps: true,
            stopped: false,
        }
    }

    /// Takes the events of one call.
    pub(crate) fn check_events(&mut self, events: &[Event]) -> Result<(), PluginErrorKind> {
        events.iter().try_for_each(|event| self.check(event))
    }

    /// Takes the actions of one call.
    pub(crate) fn check_actions(&mut self, actions: &[Action]) -> Result<(), PluginErrorKind> {
        actions.iter().try_for_each(|action| match action {
            Action::Emit(event) => self.check(event),
            Action::Stop(_) => {
                self.stopped = true;
                Ok(())
            }
        })
    }

    /// The call that arguments belong to.
    pub(crate) fn open_call(&self) -> Result<u32, PluginErrorKind> {
        self.open
            .ok_or_else(|| broken("arguments while no call is open"))
    }

    /// After `finish`, every call must have ended, unless the generation was ended within it.
    pub(crate) fn check_end(&self) -> Result<(), PluginErrorKind> {
        match self.open {
            Some(index) if !self.stopped => {
                Err(broken(format!("call {index} is still open after finish")))
            }
            _ => Ok(()),
        }
    }

    fn check(&mut self, event: &Event) -> Result<(), PluginErrorKind> {
        match event {
            Event::Content(fragment) if fragment.text.is_empty() => {
                Err(broken("an empty content fragment"))
            }
            Event::Content(_) | Event::Reasoning { .. } => Ok(()),
            Event::CallBegin { index, .. } => {
                self.check_new(*index, "begins")?;
                self.next = index.saturating_add(1);
                self.open = Some(*index);
                Ok(())
            }
            Event::CallArguments { index, delta } => {
                self.check_open(*index, "arguments")?;
                if delta.is_empty() {
                    return Err(broken(format!("an empty arguments delta for call {index}")));
                }
                Ok(())
            }
            Event::CallEnd { index } => {
                self.check_open(*index, "an end")?;
                self.open = None;
                Ok(())
            }
            Event::CallAbandoned { index, .. } if self.open == Some(*index) => {
                self.open = None;
                Ok(())
            }
            // Its name never came: the index stays free for the next call.
            Event::CallAbandoned { index, .. } => self.check_new(*index, "is abandoned"),
        }
    }

    fn check_new(&self, index: u32, what: &str) -> Result<(), PluginErrorKind> {
        if let Some(open) = self.open {
            return Err(broken(format!(
                "call {index} {what} while call {open} is open"
            )));
        }
        let next = self.next;
        if index == next || (self.gaps && index > next) {
            Ok(())
        } else {
            Err(broken(format!(
                "call {index} {what} where call {next} is next"
            )))
        }
    }

    fn check_open(&self, index: u32, what: &str) -> Result<(), PluginErrorKind> {
        if self.open == Some(index) {
            Ok(())
        } else {
            Err(broken(format!(
                "{what} for call {index}, which is not open"
            )))
        }
    }
}

fn broken(what: impl Into<String>) -> PluginErrorKind {
    PluginErrorKind::Contract(what.into())
}

#[cfg(test)]
mod tests {
    use weir_output::{Fragment, FragmentKind};

    use super::*;

    /// One letter an event: `b`egin, `a`rguments, `e`nd, a`x`andoned with an index; `A` empty arguments, `c`ontent, `C` empty.
    fn events(script: &str) -> Vec<Event> {
        script
            .split_whitespace()
            .map(|word| {
                let index = word[1..].parse().unwrap_or(0);
                let content = |text: &str| {
                    Event::Content(Fragment {
                        text: text.to_owned(),
                        kind: FragmentKind::Text,
                    })
                };
                match &word[..1] {
                    "b" => Event::CallBegin {
                        index,
                        id: None,
                        name: "f".to_owned(),
                    },
                    "a" => Event::CallArguments {
                        index,
                        delta: "{".to_owned(),
                    },
                    "A" => Event::CallArguments {
                        index,
                        delta: String::new(),
                    },
                    "e" => Event::CallEnd { index },
                    "x" => Event::CallAbandoned {
                        index,
                        raw: String::new(),
                    },
                    "c" => content("text"),
                    "C" => content(""),
                    other => panic!("no event is written {other}"),
                }
            })
            .collect()
    }

    fn run(mut order: EventOrder, script: &str) -> Result<(), PluginErrorKind> {
        order.check_events(&events(script))?;
        order.check_end()
    }

    #[test]
    fn orders_the_contract_allows() {
        for script in [
            "",
            "c",
            "b0 a0 a0 e0",
            "b0 e0 c b1 a1 x1",
            "x0 b0 a0 e0 x1",
            "b0 c a0 e0",
        ] {
            assert_eq!(run(EventOrder::of_parser(), script), Ok(()), "{script}");
        }
    }

    #[test]
    fn orders_the_contract_forbids() {
        let cases = [
            ("C", "an empty content fragment"),
            ("b1", "call 1 begins where call 0 is next"),
            ("b0 b1", "call 1 begins while call 0 is open"),
            ("b0 e0 b0", "call 0 begins where call 1 is next"),
            ("b0 e0 b2", "call 2 begins where call 1 is next"),
            ("a0", "arguments for call 0, which is not open"),
            ("b0 a1", "arguments for call 1, which is not open"),
            ("b0 A0", "an empty arguments delta for call 0"),
            ("b0 e0 e0", "an end for call 0, which is not open"),
            ("b0 x1", "call 1 is abandoned while call 0 is open"),
            ("x1", "call 1 is abandoned where call 0 is next"),
            ("b0 a0", "call 0 is still open after finish"),
        ];
        for (script, message) in cases {
            assert_eq!(
                run(EventOrder::of_parser(), script),
                Err(broken(message)),
                "{script}"
            );
        }
    }

    #[test]
    fn a_post_processor_may_swallow_calls_but_not_reorder_them() {
        assert_eq!(
            run(EventOrder::of_post_processor(), "b1 e1 b4 a4 e4"),
            Ok(())
        );
        assert!(run(EventOrder::of_post_processor(), "b4 e4 b1 e1").is_err());
    }
}
