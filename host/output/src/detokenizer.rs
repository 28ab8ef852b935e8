//! Token ids become fragments of text.
//!
//! Invariants: no fragment holds half a UTF-8 character; the text of all fragments is the lossy decoding of the bytes
//! of all kept tokens, wherever the borders between tokens fall; a control fragment is exactly one token.
//! It does not look for stop strings or markers and does not know when a sequence ends.

use std::sync::Arc;

use weir_prompt::{TokenKind, Vocabulary};

use crate::event::{Fragment, FragmentKind};

/// The streaming decoder of one choice. The default has no tokens.
#[derive(Debug, Default)]
pub struct Detokenizer {
    vocabulary: Arc<Vocabulary>,
    keep: Arc<[String]>,
    keep_all: bool,
    /// The start of a character whose other bytes have not come yet; at most three bytes.
    partial: Vec<u8>,
}

impl Detokenizer {
    /// `keep` holds the texts of the special tokens that a parser asked for (`ParserInfo::special_tokens`); other
    /// special tokens are dropped as if they had not been sampled.
    pub fn new(vocabulary: Arc<Vocabulary>, keep: Arc<[String]>) -> Self {
        Self {
            vocabulary,
            keep,
            keep_all: false,
            partial: Vec::new(),
        }
    }

    /// Shows all special tokens, where it is told so.
    #[must_use]
    pub fn showing_special_tokens(mut self, all: bool) -> Self {
        self.keep_all = all;
        self
    }

    /// Takes the next token and appends the text that is certain now. Ids without a token give nothing.
    pub fn push(&mut self, token_id: u32, fragments: &mut Vec<Fragment>) {
        let Some(bytes) = self.vocabulary.bytes(token_id) else {
            return;
        };
        match self.vocabulary.kind(token_id) {
            TokenKind::Normal => {
                self.partial.extend_from_slice(bytes);
                let text = take_whole_characters(&mut self.partial);
                emit(text, FragmentKind::Text, fragments);
            }
            TokenKind::Special if !self.keeps(bytes) => {}
            TokenKind::Added | TokenKind::Special => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                self.finish(fragments);
                emit(text, FragmentKind::Control, fragments);
            }
        }
    }

    /// Says that no more bytes come for now: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self, fragments: &mut Vec<Fragment>) {
        if !self.partial.is_empty() {
            self.partial.clear();
            emit(
                char::REPLACEMENT_CHARACTER.to_string(),
                FragmentKind::Text,
                fragments,
            );
        }
    }

    /// Whether the token has text that is shown, be it a part of a character.
    pub fn shows(&self, token_id: u32) -> bool {
        let special = self.vocabulary.kind(token_id) == TokenKind::Special;
        let bytes = self.vocabulary.bytes(token_id).unwrap_or_default();
        !bytes.is_empty() && (!special || self.keeps(bytes))
    }

    fn keeps(&self, bytes: &[u8]) -> bool {
        self.keep_all || self.keep.iter().any(|text| text.as_bytes() == bytes)
    }
}

fn emit(text: String, kind: FragmentKind, fragments: &mut Vec<Fragment>) {
    if !text.is_empty() {
        fragments.push(Fragment { text, kind });
    }
}

/// Decodes all of `bytes` but an unfinished character at the end, which stays there. Each maximal invalid part becomes
/// one U+FFFD, as `String::from_utf8_lossy` does it; what stays is one such part, or the start of a character.
fn take_whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut decoded = 0;
    loop {
        let rest = &bytes[decoded..];
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                decoded = bytes.len();
                break;
            }
            Err(error) => {
                let (valid, _) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                decoded += error.valid_up_to();
                match error.error_len() {
                    Some(invalid) => {
                        text.push(char::REPLACEMENT_CHARACTER);
                        decoded += invalid;
                    }
                    None => break,
                }
            }
        }
    }
    bytes.drain(..decoded);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn detokenizer(tokens: &[(&[u8], TokenKind)], keep: &[&str]) -> Detokenizer {
        let tokens = tokens
            .iter()
            .map(|(bytes, kind)| (Box::from(*bytes), *kind))
            .collect();
        Detokenizer::new(
            Arc::new(Vocabulary::new(tokens)),
            keep.iter().map(|text| (*text).to_owned()).collect(),
        )
    }

    fn decode(
        mut detokenizer: Detokenizer,
        ids: impl IntoIterator<Item = u32>,
    ) -> Vec<(String, FragmentKind)> {
        let mut fragments = Vec::new();
        for id in ids {
            detokenizer.push(id, &mut fragments);
        }
        detokenizer.finish(&mut fragments);
        fragments
            .into_iter()
            .map(|fragment| (fragment.text, fragment.kind))
            .collect()
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let mut detokenizer = detokenizer(
            &[
                (b"a\xE2\x82", TokenKind::Normal),
                (b"\xACb", TokenKind::Normal),
            ],
            &[],
        );
        let mut fragments = Vec::new();
        detokenizer.push(0, &mut fragments);
        assert_eq!(
            fragments
                .iter()
                .map(|f| f.text.as_str())
                .collect::<Vec<_>>(),
            ["a"]
        );
        detokenizer.push(1, &mut fragments);
        assert_eq!(fragments[1].text, "€b");
    }

    #[test]
    fn kinds_decide_what_is_kept_and_how() {
        use FragmentKind::{Control, Text};
        let tokens: &[(&[u8], TokenKind)] = &[
            (b"x", TokenKind::Normal),
            (b"<tool_call>", TokenKind::Added),
            (b"<|eos|>", TokenKind::Special),
            (b"<|call|>", TokenKind::Special),
            (b"\xE2", TokenKind::Normal),
        ];
        let owned = |list: &[(&str, FragmentKind)]| {
            list.iter()
                .map(|(t, k)| ((*t).to_owned(), *k))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            decode(
                detokenizer(tokens, &["<|call|>"]),
                [0, 1, 2, 3, 99, 4, 1, 4]
            ),
            owned(&[
                ("x", Text),
                ("<tool_call>", Control),
                ("<|call|>", Control),
                ("\u{FFFD}", Text),
                ("<tool_call>", Control),
                ("\u{FFFD}", Text),
            ])
        );
    }

    proptest! {
        #[test]
        fn the_text_is_the_lossy_decoding_of_all_bytes(
            tokens in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| (bytes, TokenKind::Normal)),
                    prop::collection::vec(
                        prop::sample::select(b"a\xC3\xE2\x82\xAC\xF0\x9F\x98\x80\xED\xA0\xFF".to_vec()), 0..4
                    ).prop_map(|bytes| (bytes, TokenKind::Normal)),
                    "\\PC{1,3}".prop_map(|text| (text.into_bytes(), TokenKind::Added)),
                ],
                0..40,
            )
        ) {
            let whole: Vec<u8> = tokens.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let ids = 0..u32::try_from(tokens.len()).unwrap();
            let vocabulary = tokens.into_iter().map(|(bytes, kind)| (bytes.into_boxed_slice(), kind)).collect();
            let detokenizer = Detokenizer::new(Arc::new(Vocabulary::new(vocabulary)), Arc::from([]));
            let fragments = decode(detokenizer, ids);
            prop_assert!(fragments.iter().all(|(text, _)| !text.is_empty()));
            let text: String = fragments.into_iter().map(|(text, _)| text).collect();
            prop_assert_eq!(text, String::from_utf8_lossy(&whole).into_owned());
        }
    }
}
