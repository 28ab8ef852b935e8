//! A short valid ending of what a grammar has begun, for answers that are about to run out of tokens.
//!
//! Finding the shortest is a search; this walks straight on instead, always by what is likeliest to close something, and gives
//! up when the tokens are spent. JSON, and markers behind it, it closes in about as many tokens as brackets and required keys
//! are missing.

use llguidance::Matcher;
use toktrie::{SimpleVob, TokTrie, TokenId};

/// Outside strings, in this order: what ends something, what goes on to something required, the shortest values.
const STRUCTURE: [&[u8]; 14] = [
    b"}", b"]", b"\"", b",", b":", b"0", b"1", b"-", b"n", b"t", b"f", b"[", b"{", b" ",
];

/// Within strings: their end, or a letter where that is too early.
const STRING: [&[u8]; 2] = [b"\"", b"a"];

/// The tokens of an ending, an end token the last; None if `within` tokens are not enough.
pub(crate) fn ending(matcher: &Matcher, end_token: TokenId, within: usize) -> Option<Vec<TokenId>> {
    let mut matcher = matcher.deep_clone();
    let environment = matcher.tok_env().ok()?;
    let trie = environment.tok_trie();
    let mut path = Vec::new();
    while path.len() < within {
        path.extend(matcher.consume_ff_tokens());
        if matcher.is_stopped() || matcher.is_accepting().ok()? {
            path.push(end_token);
            let found = matcher.get_error().is_none() && path.len() <= within;
            return found.then_some(path);
        }
        let token = closest(&matcher.compute_mask().ok()?, trie)?;
        matcher.consume_token(token).ok()?;
        path.push(token);
    }
    None
}

/// The token that closes most.
fn closest(mask: &SimpleVob, trie: &TokTrie) -> Option<TokenId> {
    let mut shortest: Option<(usize, TokenId)> = None;
    let mut marker = None;
    mask.iter_set_entries(|id| {
        let id = id as TokenId;
        let length = trie.token_len(id);
        if trie.is_special_token(id) {
            marker.get_or_insert(id);
        } else if length > 0 && shortest.is_none_or(|(least, _)| length < least) {
            shortest = Some((length, id));
        }
    });
    let allowed = |bytes: &[u8]| {
        let id = trie.token_id_at_bytes(bytes);
        id.filter(|id| mask.is_allowed(*id))
    };
    let any_text = [b"}", b"]", b"a"]
        .iter()
        .all(|bytes| allowed(*bytes).is_some());
    let wanted: &[&[u8]] = if any_text { &STRING } else { &STRUCTURE };
    // A marker is allowed where a format goes on: behind text, it ends it.
    marker
        .or_else(|| wanted.iter().find_map(|bytes| allowed(bytes)))
        .or(shortest.map(|(_, id)| id))
}
