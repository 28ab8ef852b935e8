//! Lists that may be written as one value.

use serde::{Deserialize, Deserializer};

/// A list may be written as one value: `WEIR_API_KEY=secret`.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Number(i64),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Number(value) => vec![value.to_string()],
        OneOrMany::Many(values) => values,
    })
}
