//! Call ids that hold the call's name, `functions.NAME:INDEX`, for families that write the name nowhere else.
//!
//! Invariants: the id is what the model wrote; an id without an index is no id, as it would be the same for every call of
//! that tool; what holds neither namespace nor index is a name. Whether a tool of this name exists is not asked here.

use crate::json_text::WHITE_SPACE;

const NAMESPACE: &str = "functions";

/// The name in a header that is such an id or should be one, and the id if it is one.
///
/// The namespace may be missing and white space may stand around each part. `functions_NAME_INDEX` is read as well: what
/// a model writes after clients put ids into the history that hold no other sign.
pub fn split(header: &str) -> (&str, Option<&str>) {
    if let Some(rest) = header.strip_prefix(NAMESPACE)
        && let Some(rest) = rest.strip_prefix('_')
        && let Some(name) = before_index(rest, '_')
    {
        return (name, Some(header));
    }
    let rest = header
        .strip_prefix(NAMESPACE)
        .and_then(|rest| rest.strip_prefix('.'))
        .unwrap_or(header);
    match before_index(rest, ':') {
        Some(name) => (name, Some(header)),
        None => (rest.trim_matches(WHITE_SPACE), None),
    }
}

/// What stands before the last `sign`, if an index alone stands after it.
fn before_index(text: &str, sign: char) -> Option<&str> {
    let (name, index) = text.rsplit_once(sign)?;
    let index = index.trim_matches(WHITE_SPACE);
    let all_digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| name.trim_matches(WHITE_SPACE))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_name_stands_between_namespace_and_index() {
        for (header, name) in [
            ("functions.get:0", "get"),
            ("functions.get: 12", "get"),
            ("get:3", "get"),
            ("functions.fs.read-file:1", "fs.read-file"),
            ("functions.mcp:github:search:4", "mcp:github:search"),
            ("functions.functions.get:0", "functions.get"),
            ("functions_read_file_3", "read_file"),
            ("functions.:0", ""),
            (":0", ""),
        ] {
            assert_eq!(split(header), (name, Some(header)), "{header}");
        }
    }

    #[test]
    fn without_an_index_there_is_no_id() {
        for (header, name) in [
            ("functions.get", "get"),
            ("get", "get"),
            ("functions.", ""),
            ("functions", "functions"),
            ("functions_get", "functions_get"),
            ("functions_1", "functions_1"),
            ("functions.get:", "get:"),
            ("functions.get:last", "get:last"),
            ("get_1", "get_1"),
            ("3", "3"),
        ] {
            assert_eq!(split(header), (name, None), "{header}");
        }
    }
}
