//! Reads server-sent events out of bytes as they come, cut anywhere.
//!
//! The rules are those of the HTML standard, section "Server-sent events": lines end with CR, LF or both, comments and
//! unknown fields mean nothing, several `data` lines are one text, an empty line sends it off. Reconnecting is not for us.

/// Longer lines and events are refused: no server sends them, and memory must not depend on one.
const MAX_BYTES: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Empty where the server gave none.
    pub name: String,
    /// Its text.
    pub data: String,
}

/// The state between two pieces.
#[derive(Default)]
pub struct EventStream {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    /// The last byte was a CR, so an LF that follows belongs to it.
    after_carriage_return: bool,
    /// A byte order mark may stand before the first line only.
    past_first_line: bool,
}

/// A line or an event does not end.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl EventStream {
    /// Takes the next piece and appends the events that end in it.
    ///
    /// # Errors
    /// [`TooLong`] beyond 16 MiB.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        for &byte in bytes {
            let ends_carriage_return = std::mem::take(&mut self.after_carriage_return);
            match byte {
                b'\n' if ends_carriage_return => {}
                b'\n' => self.end_line(events),
                b'\r' => {
                    self.after_carriage_return = true;
                    self.end_line(events);
                }
                _ if self.line.len() + self.data.len() >= MAX_BYTES => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let mut line = self.line.as_slice();
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
        } else {
            let colon = line.iter().position(|&byte| byte == b':');
            let (field, value) = match colon {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (line, &[][..]),
            };
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match field {
                b"data" => {
                    self.data.extend_from_slice(value);
                    self.data.push(b'\n');
                }
                b"event" => self.name = value.to_vec(),
                // Comments have an empty field name; `id` and `retry` are for those who reconnect.
                _ => {}
            }
        }
        self.line.clear();
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        // Without data it is no event.
        if self.data.pop().is_some() {
            events.push(Event {
                name: String::from_utf8_lossy(&name).into_owned(),
                data: String::from_utf8_lossy(&self.data).into_owned(),
            });
        }
        self.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut stream = EventStream::default();
        let mut events = Vec::new();
        for piece in pieces {
            stream.push(piece, &mut events).expect("short enough");
        }
        events
    }

    /// Cut into two everywhere, into three everywhere, byte by byte and not at all.
    fn reads_as(bytes: &[u8], expected: &[Event]) {
        assert_eq!(read([bytes]), expected);
        assert_eq!(read(bytes.chunks(1)), expected);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(read(pieces), expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn every_line_ending_in_every_chunking() {
        let expected = [event("", "{\"a\": \"é\"}"), event("", "[DONE]")];
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("data: {{\"a\": \"é\"}}{end}{end}data: [DONE]{end}{end}");
            reads_as(text.as_bytes(), &expected);
        }
    }

    #[test]
    fn comments_names_and_several_lines_in_every_chunking() {
        let text = "\u{feff}: keep-alive\n\ndata:one\ndata: two\nid: 7\ndata\n\nevent: error\ndata: 日本\n\nevent: x\n\ndata: z\n\n";
        let expected = [
            event("", "one\ntwo\n"),
            event("error", "日本"),
            event("", "z"),
        ];
        reads_as(text.as_bytes(), &expected);
    }

    #[test]
    fn an_event_that_was_cut_off_is_none() {
        reads_as(b"data: a\n\ndata: b\n", &[event("", "a")]);
        reads_as(b"", &[]);
    }

    #[test]
    fn broken_utf8_is_replaced() {
        reads_as(b"data: \xff!\n\n", &[event("", "\u{fffd}!")]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut stream = EventStream::default();
        let piece = vec![b'x'; 1 << 20];
        let pushed: Vec<_> = (0..17)
            .map(|_| stream.push(&piece, &mut Vec::new()))
            .collect();
        assert_eq!(pushed.iter().filter(|result| result.is_ok()).count(), 16);
    }
}
