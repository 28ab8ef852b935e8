//! The configuration: which markers, and what they mean where the model or its prompt leaves one out.
//!
//! `start` stands before the reasoning and may be empty for a family that writes none: its output then has to start inside.
//! `end` stands after it. `turn` is what starts a turn in the prompt: with it, the markers of earlier turns and of users
//! say nothing; it is needed where a template keeps old reasoning and leaves the start marker to the model or to nobody.
//! `starts_inside`: what an output without any marker in its prompt starts with. `tool_marker_ends`: the family is known
//! to leave out `end` before a call. Whatever is not understood is refused, an unknown key too.

use alloc::{borrow::Cow, format, string::String};

use weir_plugin_sdk::{config_reader::ConfigReader, reasoning::ReasoningFormat};

/// What `{}` means.
pub const DEFAULT: &str = r#"{"start": "<think>", "end": "</think>", "turn": "", "starts_inside": false, "tool_marker_ends": false}"#;

/// The longest marker in bytes; what may still become a marker is held back.
const LONGEST: usize = 256;

/// Reads JSON text.
///
/// # Errors
/// What cannot be used.
pub fn read(text: &str) -> Result<ReasoningFormat, String> {
    let mut format = ReasoningFormat {
        turn: Cow::Borrowed(""),
        start: Cow::Borrowed("<think>"),
        end: Cow::Borrowed("</think>"),
        starts_inside: false,
        tool_marker_ends: false,
    };
    let mut reader = ConfigReader::new(text);
    reader.object(|key, reader| {
        let label = |message| format!("`{key}`: {message}");
        match key {
            "turn" => format.turn = reader.string().map_err(label)?.into(),
            "start" => format.start = reader.string().map_err(label)?.into(),
            "end" => format.end = reader.string().map_err(label)?.into(),
            "starts_inside" => format.starts_inside = reader.boolean().map_err(label)?,
            "tool_marker_ends" => format.tool_marker_ends = reader.boolean().map_err(label)?,
            _ => {
                return Err(format!(
                    "unknown key `{key}`; known are start, end, turn, starts_inside, tool_marker_ends"
                ));
            }
        }
        Ok(())
    })?;
    reader.end()?;
    check(&format)?;
    Ok(format)
}

fn check(format: &ReasoningFormat) -> Result<(), String> {
    let markers = [
        ("turn", &format.turn),
        ("start", &format.start),
        ("end", &format.end),
    ];
    for (key, marker) in markers {
        if marker.len() > LONGEST {
            let length = marker.len();
            return Err(format!(
                "`{key}` is {length} bytes long; the longest marker is {LONGEST}"
            ));
        }
    }
    if format.end.is_empty() {
        return Err("`end` is empty: the reasoning could not end".into());
    }
    if format.start.is_empty() {
        if format.starts_inside {
            return Ok(());
        }
        return Err("`start` is empty: no reasoning could start, unless `starts_inside`".into());
    }
    if format.start.contains(&*format.end) || format.end.contains(&*format.start) {
        return Err("one of `start` and `end` stands in the other".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_no_configuration_means() {
        assert_eq!(read(DEFAULT), read("{}"));
        assert!(read(DEFAULT).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        let long = format!(r#"{{"start": "{}"}}"#, "<".repeat(257));
        for (config, reason) in [
            ("[]", "`{` expected"),
            (
                r#"{"start": 1}"#,
                "`start`: configuration, byte 10: a string expected",
            ),
            (
                r#"{"starts_inside": "yes"}"#,
                "`starts_inside`: configuration, byte 18: true or false expected",
            ),
            (
                r#"{"begin": "<a>"}"#,
                "unknown key `begin`; known are start, end, turn",
            ),
            (r#"{"end": ""}"#, "`end` is empty"),
            (r#"{"start": ""}"#, "unless `starts_inside`"),
            (r#"{"start": "<a>", "end": "<a>"}"#, "stands in the other"),
            (r#"{"start": "think>"}"#, "stands in the other"),
            (
                long.as_str(),
                "`start` is 257 bytes long; the longest marker is 256",
            ),
        ] {
            let error = read(config).expect_err(config);
            assert!(error.contains(reason), "{config}: {error}");
        }
    }
}
