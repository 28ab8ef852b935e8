//! What a message's header says: its channel and its recipient, told from words between the header's markers.
//!
//! Also tells a message's text from a header that lost its end. Invariants: a word that cannot be read is skipped; a
//! section is read once, when it ended, and what nothing announced as a header is short. Knows no marker and no event.

use alloc::{borrow::ToOwned, string::String};

/// Where in a header a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Before the channel marker: `assistant to=functions.f`.
    Role,
    /// After the channel marker: `commentary to=functions.f json`.
    Channel,
    /// After the constraint marker: `json`.
    Type,
}

/// What is known of a message before its text.
#[derive(Debug, Default)]
pub struct Header {
    /// Whether it is reasoning.
    pub analysis: bool,
    recipient: Option<String>,
}

const ANALYSIS: &str = "analysis";
const CHANNELS: [&str; 3] = [ANALYSIS, "commentary", "final"];
const ASSISTANT: &str = "assistant";
const ROLES: [&str; 5] = [ASSISTANT, "user", "system", "developer", "tool"];
const TYPES: [&str; 2] = ["json", "code"];
const TO: &str = "to=";
const FUNCTIONS: &str = "functions.";
/// Recipients that are no tools.
const PEOPLE: [&str; 3] = ["assistant", "user", "all"];
/// A role that nothing announces is no longer than this many bytes.
const LONGEST_ROLE: usize = 160;

impl Header {
    /// Reads a whole section.
    pub fn read(&mut self, section: Section, text: &str) {
        let mut words = text.split_whitespace();
        let mut first = true;
        while let Some(word) = words.next() {
            if let Some(recipient) = word.strip_prefix(TO) {
                let recipient = Some(recipient).filter(|recipient| !recipient.is_empty());
                self.recipient = recipient.or_else(|| words.next()).map(ToOwned::to_owned);
            } else if first {
                // Some outputs leave the channel marker out, so a channel may stand where the role should.
                if section == Section::Channel || CHANNELS.contains(&word) {
                    self.analysis = word == ANALYSIS;
                }
                first = false;
            }
        }
    }

    /// The tool the message is for, without the namespace of a request's own tools.
    pub fn tool(&self) -> Option<&str> {
        let recipient = self.recipient.as_deref()?;
        let name = recipient.strip_prefix(FUNCTIONS).unwrap_or(recipient);
        Some(name).filter(|name| !name.is_empty() && !PEOPLE.contains(name))
    }
}

/// Whether a text that nothing announced is the role section of a header, if `whole`, or may still become one.
pub fn is_role(text: &str, whole: bool) -> bool {
    let goes_on = !whole && !text.ends_with(char::is_whitespace);
    let mut words = text.split_whitespace().peekable();
    let mut first = true;
    while let Some(word) = words.next() {
        let open = goes_on && words.peek().is_none();
        let begins = |name: &str| open && name.starts_with(word);
        let known = |name: &str| name == word || begins(name);
        let named = first && (known(ASSISTANT) || CHANNELS.into_iter().any(known));
        if !named && !word.starts_with(TO) && !begins(TO) {
            return false;
        }
        first = false;
    }
    text.len() <= LONGEST_ROLE
}

/// Where the message's text starts in the last section of a header that ended without a message marker: after all that
/// reads as header. When the output was `cut` there, a word may be the beginning of one of a header.
pub fn text_start(section: Section, text: &str, cut: bool) -> usize {
    let mut rest = text.trim_start();
    let mut named = false;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_whitespace() || c == '{');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        let after = after.trim_start();
        let name = match section {
            Section::Role => ROLES.contains(&word),
            Section::Channel => CHANNELS.contains(&word),
            Section::Type => TYPES.contains(&word),
        };
        let known = word.starts_with(TO)
            || (!named && (name || after.is_empty() || after.starts_with(TO)))
            || (named && section == Section::Channel && TYPES.contains(&word))
            || (cut
                && after.is_empty()
                && [TO, TYPES[0], TYPES[1]].iter().any(|w| w.starts_with(word)));
        if word.is_empty() || !known {
            break;
        }
        named |= !word.starts_with(TO);
        rest = after;
    }
    text.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sections: &[(Section, &str)]) -> Header {
        let mut header = Header::default();
        for (section, text) in sections {
            header.read(*section, text);
        }
        header
    }

    #[test]
    fn the_recipient_stands_anywhere() {
        use Section::{Channel, Role, Type};
        for sections in [
            &[(Role, "assistant to=functions.f"), (Channel, "commentary ")][..],
            &[
                (Role, "assistant"),
                (Channel, " commentary\u{a0}to=functions.f code "),
            ],
            &[(Channel, "commentary"), (Type, " json to= f")],
            &[
                (Channel, "commentary to=assistant"),
                (Channel, "commentary to=f"),
            ],
        ] {
            let header = header(sections);
            assert_eq!((header.analysis, header.tool()), (false, Some("f")));
        }
        assert_eq!(
            header(&[(Channel, "analysis to=browser.open")]).tool(),
            Some("browser.open")
        );
        for text in [
            "commentary",
            "commentary to=assistant",
            "final to=functions.",
            "x to=",
        ] {
            assert_eq!(header(&[(Channel, text)]).tool(), None);
        }
    }

    #[test]
    fn the_last_channel_counts() {
        use Section::{Channel, Role};
        assert!(header(&[(Role, "analysis")]).analysis);
        assert!(header(&[(Channel, "commentary"), (Channel, " analysis ")]).analysis);
        assert!(header(&[(Channel, "analysis"), (Channel, " ")]).analysis);
        assert!(!header(&[(Channel, "analysis"), (Channel, "final")]).analysis);
        assert!(!header(&[(Channel, "analysis?")]).analysis);
    }

    #[test]
    fn a_role_is_known_by_its_words() {
        for text in [
            "assistant",
            "assistant to=functions.f ",
            "to=f",
            "final",
            "commentary\n",
        ] {
            assert!(is_role(text, true) && is_role(text, false), "{text}");
        }
        for text in ["assi", "assistant t", "t"] {
            assert!(!is_role(text, true) && is_role(text, false), "{text}");
        }
        for text in ["assistants", "assi ", "final answer", "to=f assistant", "x"] {
            assert!(!is_role(text, false), "{text}");
        }
        let long = "to=".repeat(LONGEST_ROLE);
        assert!(is_role(&long[..LONGEST_ROLE], false) && !is_role(&long, false));
    }

    #[test]
    fn text_without_its_marker_is_found() {
        use Section::{Channel, Role, Type};
        for (section, header, text) in [
            (Role, "assistant ", "Sure, here it is."),
            (Role, "assistant to=f", ""),
            (Role, "functions.f to=assistant", ""),
            (Role, "", "` starts a message"),
            (Channel, "final ", "{\"a\": 1}"),
            (Channel, "final", "{}"),
            (Channel, "commentary to=f json", "{}"),
            (Channel, "final json", ""),
            (Channel, "??", ""),
            (Channel, "thoughts to=f", ""),
            (Channel, "", "I need to look."),
            (Channel, " analysis ", "We need"),
            (Type, "json", "{\"a\": 1}"),
            (Type, " ", "write: edit file"),
        ] {
            let whole = [header, text].concat();
            assert_eq!(text_start(section, &whole, false), header.len(), "{whole}");
        }
        assert_eq!(text_start(Channel, "commentary t", true), 12);
        assert_eq!(text_start(Channel, "commentary t", false), 11);
    }
}
