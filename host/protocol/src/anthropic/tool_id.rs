//! Ids of calls: `toolu_...` on Anthropic's wire, the family's own before and behind it.
//!
//! A family may have ids of its own (Kimi's name the function, Mistral's have nine characters) that its chat template takes
//! back, so the id that comes back must be the one that went out.

const PREFIX: &str = "toolu_";

/// The id on the wire of a call. `call_`, which no family writes itself, gives way to Anthropic's prefix.
pub fn on_wire(call_id: &str) -> String {
    format!(
        "{PREFIX}{}",
        call_id.strip_prefix("call_").unwrap_or(call_id)
    )
}

/// The call's id of an id on the wire.
pub(crate) fn from_wire(id: &str) -> &str {
    id.strip_prefix(PREFIX).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_familys_own_id_comes_back() {
        for id in ["functions.f:0", "aB3dE6gH9", "7"] {
            assert_eq!(from_wire(&on_wire(id)), id);
        }
        assert_eq!(on_wire("call_00ff"), "toolu_00ff");
        assert_eq!(from_wire("anything"), "anything");
    }
}
