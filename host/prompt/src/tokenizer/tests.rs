//! Small made-up vocabularies: every byte, a few merges, a few special tokens.

use std::{path::Path, sync::LazyLock};

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// GPT-2's characters for bytes, in byte order.
fn alphabet() -> Vec<String> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut moved = 0x100..;
    (0..256)
        .map(|byte| {
            if printable(byte) {
                byte
            } else {
                moved.next().unwrap()
            }
        })
        .map(|code| char::from_u32(code).unwrap().to_string())
        .collect()
}

/// Ids: 0 to 255 bytes, then merged tokens, then `<s>`, `</s>` and `<tool_call>`.
fn gguf(pre: &str) -> GgufVocabulary {
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "1 2", "Ġ Ġ"];
    let mut tokens = alphabet();
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(["<s>", "</s>", "<tool_call>"].map(str::to_owned));
    token_types.extend([3, 3, 4]);
    let bos = u32::try_from(tokens.len() - 3).unwrap();
    GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some(pre.to_owned()),
        tokens,
        token_types,
        merges: merges.map(str::to_owned).to_vec(),
        bos: Some(bos),
        eos: Some(bos + 1),
        ..GgufVocabulary::default()
    }
}

fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    tokenizer
        .encode(text, false)
        .unwrap()
        .iter()
        .map(|id| tokenizer.decode(&[*id]))
        .collect()
}

static SMOLLM: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::from_gguf(gguf("smollm")).unwrap());

#[test]
fn merges_words_and_cuts_as_the_family_does() {
    assert_eq!(pieces(&SMOLLM, "hello hello"), ["hello", " hello"]);
    assert_eq!(pieces(&SMOLLM, "hellohe"), ["hello", "he"]);
    assert_eq!(pieces(&SMOLLM, "12"), ["1", "2"]);
    assert_eq!(
        pieces(&Tokenizer::from_gguf(gguf("llama-bpe")).unwrap(), "12"),
        ["12"]
    );
    assert_eq!(
        pieces(&Tokenizer::from_gguf(gguf("qwen2")).unwrap(), "12"),
        ["1", "2"]
    );
    // The last space before a word belongs to the word.
    assert_eq!(pieces(&SMOLLM, "   hello"), ["  ", " hello"]);
}

#[test]
fn endless_white_space_is_refused_rather_than_cut_wrong() {
    let error = SMOLLM.encode(&" ".repeat(600_000), false).unwrap_err();
    assert!(matches!(error, PromptError::Encode(_)), "{error}");
}

#[test]
fn qwen2_composes_characters_first() {
    let qwen2 = Tokenizer::from_gguf(gguf("qwen2")).unwrap();
    assert_eq!(
        qwen2.encode("e\u{301}", false).unwrap(),
        qwen2.encode("é", false).unwrap()
    );
}

#[test]
fn special_and_added_tokens_are_recognised_in_text() {
    let ids = SMOLLM.encode("<s>he<tool_call></s>", false).unwrap();
    assert_eq!(ids, [263, 256, 265, 264]);
    let kinds: Vec<TokenKind> = ids.iter().map(|id| SMOLLM.vocabulary().kind(*id)).collect();
    assert_eq!(
        kinds,
        [
            TokenKind::Special,
            TokenKind::Normal,
            TokenKind::Added,
            TokenKind::Special
        ]
    );
    assert_eq!(SMOLLM.decode(&ids), "<s>he<tool_call></s>");
    let plain = SMOLLM.encode_plain("<s>he").unwrap();
    assert!(!plain.contains(&263), "{plain:?}");
    assert_eq!(SMOLLM.decode(&plain), "<s>he");
    assert_eq!(SMOLLM.encode("<s>", false).unwrap(), [263]);
}

#[test]
fn begin_and_end_are_added_when_the_file_says_so() {
    assert_eq!(SMOLLM.encode("he", true).unwrap(), [256]);
    let both = GgufVocabulary {
        add_bos: Some(true),
        add_eos: true,
        ..gguf("smollm")
    };
    assert_eq!(
        Tokenizer::from_gguf(both)
            .unwrap()
            .encode("he", true)
            .unwrap(),
        [263, 256, 264]
    );
    let llama = Tokenizer::from_gguf(gguf("llama-bpe")).unwrap();
    assert_eq!(llama.encode("he", true).unwrap(), [263, 256]);
    assert_eq!(llama.encode("he", false).unwrap(), [256]);
    assert_eq!(llama.bos(), Some(263));
    assert_eq!(llama.special_tokens().eos.as_deref(), Some("</s>"));
}

#[test]
fn vocabulary_holds_raw_bytes() {
    for byte in 0..=255_u8 {
        assert_eq!(SMOLLM.vocabulary().bytes(byte.into()), Some(&[byte][..]));
    }
    assert_eq!(SMOLLM.token_id(" hello"), Some(260));
    assert_eq!(SMOLLM.token_id("</s>"), Some(264));
    assert_eq!(SMOLLM.token_id("Ġhello"), None);
    assert_eq!(SMOLLM.decode(&[0xe2, 0x82]), "\u{fffd}");
    assert_eq!(SMOLLM.decode(&[9999]), "");
}

#[test]
fn what_is_not_known_is_named() {
    let named = |vocabulary, name: &str| {
        let error = Tokenizer::from_gguf(vocabulary).unwrap_err();
        assert!(matches!(error, PromptError::UnsupportedTokenizer(_)));
        assert!(error.to_string().contains(name), "{error}");
    };
    named(gguf("martian"), "`martian`");
    named(
        GgufVocabulary {
            model: "rwkv".to_owned(),
            ..gguf("smollm")
        },
        "`rwkv`",
    );
}

#[test]
fn lists_that_contradict_each_other_are_refused() {
    let good = || gguf("smollm");
    for bad in [
        GgufVocabulary {
            token_types: vec![1],
            ..good()
        },
        GgufVocabulary {
            eos: Some(9999),
            ..good()
        },
        GgufVocabulary {
            merges: vec!["he".to_owned()],
            ..good()
        },
        GgufVocabulary {
            merges: vec!["x y\n".to_owned()],
            ..good()
        },
        GgufVocabulary {
            merges: Vec::new(),
            ..good()
        },
        GgufVocabulary {
            scores: vec![0.5; 2],
            ..good()
        },
        GgufVocabulary::default(),
    ] {
        let error = Tokenizer::from_gguf(bad).unwrap_err();
        assert!(matches!(error, PromptError::Vocabulary(_)), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn replay_takes_bytes_in_and_gives_pieces_out() {
    let pieces = vec![
        ("Hé".to_owned(), TokenKind::Normal),
        ("<tool_call>".to_owned(), TokenKind::Added),
    ];
    let tokenizer = Tokenizer::from_pieces(pieces);
    assert_eq!(
        tokenizer.encode("é<tool_call>", true).unwrap()[..3],
        [0xc3, 0xa9, u32::from(b'<')]
    );
    assert_eq!(tokenizer.encode("é<tool_call>", true).unwrap().len(), 13);
    assert_eq!(tokenizer.decode(&[257, 256, 258]), "Hé<tool_call>");
    assert_eq!((tokenizer.eos(), tokenizer.bos()), (Some(256), None));
    assert_eq!(tokenizer.vocabulary().kind(256), TokenKind::Special);
    assert_eq!(tokenizer.token_id("<tool_call>"), Some(258));
    assert_eq!(tokenizer.token_id("a"), Some(97));
    assert_eq!(tokenizer.token_id(""), None);
}

fn from_json(json: &serde_json::Value, config: &TokenizerConfig) -> Result<Tokenizer, PromptError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_json_file(&path, config)
}

/// A `tokenizer.json` in SentencePiece's spelling: lone bytes, `▁`, a begin token by post-processor.
fn sentencepiece() -> serde_json::Value {
    let mut vocab =
        serde_json::Map::from_iter([("<unk>".to_owned(), json!(0)), ("<s>".to_owned(), json!(1))]);
    for byte in 0..256 {
        vocab.insert(format!("<0x{byte:02X}>"), json!(byte + 2));
    }
    for token in ["▁", "h", "i", "hi", "▁hi"] {
        vocab.insert(token.to_owned(), json!(vocab.len()));
    }
    json!({
        "added_tokens": [{"id": 1, "content": "<s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
        "truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true,
            "vocab": vocab, "merges": [["h", "i"], ["▁", "hi"]]},
    })
}

#[test]
fn reads_sentencepiece_json() {
    let config = TokenizerConfig {
        bos_token: Some("<s>".to_owned()),
        ..TokenizerConfig::default()
    };
    let tokenizer = from_json(&sentencepiece(), &config).unwrap();
    let ids = tokenizer.encode("hi hié", true).unwrap();
    assert_eq!(ids.len(), 5, "begin, two words, two bytes: {ids:?}");
    assert_eq!(ids[0], 1);
    assert_eq!(tokenizer.bos(), Some(1));
    assert_eq!(tokenizer.vocabulary().bytes(ids[1]), Some(&b" hi"[..]));
    assert_eq!(tokenizer.vocabulary().bytes(ids[4]), Some(&[0xa9][..]));
    assert_eq!(tokenizer.decode(&ids[1..]), "hi hié");
    assert_eq!(tokenizer.token_id("hi"), Some(261));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let missing = Tokenizer::from_json_file(
        Path::new("none/tokenizer.json"),
        &TokenizerConfig::default(),
    );
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .starts_with("none/tokenizer.json: ")
    );
    let mut other = sentencepiece();
    other["decoder"] = json!({"type": "BPEDecoder", "suffix": "</w>"});
    let error = from_json(&other, &TokenizerConfig::default()).unwrap_err();
    assert!(
        matches!(error, PromptError::UnsupportedTokenizer(_)),
        "{error}"
    );
    let mut long = sentencepiece();
    long["model"]["merges"] = json!([["<unk>", "<0x00>"]]);
    let error = from_json(&long, &TokenizerConfig::default()).unwrap_err();
    assert!(error.to_string().contains("merge 0"), "{error}");
    let mut huge = sentencepiece();
    huge["added_tokens"][0]["id"] = json!(u32::MAX);
    let error = from_json(&huge, &TokenizerConfig::default()).unwrap_err();
    assert!(error.to_string().contains("4294967295"), "{error}");
}

#[test]
fn the_space_at_the_start_goes_only_where_the_decoder_takes_it() {
    let config = TokenizerConfig::default();
    let mut gemma = sentencepiece();
    gemma["decoder"]["decoders"].as_array_mut().unwrap().pop();
    let gemma = from_json(&gemma, &config).unwrap();
    let ids = gemma.encode("hi", false).unwrap();
    assert_eq!(gemma.decode(&ids), " hi");
    assert!(!gemma.drops_first_space());
    assert!(
        from_json(&sentencepiece(), &config)
            .unwrap()
            .drops_first_space()
    );
}

#[test]
fn the_config_adds_what_the_file_does_not() {
    let mut bare = sentencepiece();
    bare["post_processor"] = json!(null);
    let config = TokenizerConfig {
        bos_token: Some("<s>".to_owned()),
        add_bos_token: Some(true),
        end_ids: vec![1, 7, 1, 9999],
        ..TokenizerConfig::default()
    };
    let tokenizer = from_json(&bare, &config).unwrap();
    assert_eq!(tokenizer.encode("hi", true).unwrap()[0], 1);
    assert_eq!(tokenizer.end_ids(), [1, 7]);
    let ids = from_json(&sentencepiece(), &config)
        .unwrap()
        .encode("hi", true)
        .unwrap();
    assert_eq!(ids.iter().filter(|id| **id == 1).count(), 1, "{ids:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_survives(text in "(?s).{0,64}", spaced in r"[ \t\r\nhelo12'<s>/]{0,64}") {
        for text in [text, spaced] {
            for add_special in [false, true] {
                let ids = SMOLLM.encode(&text, add_special).unwrap();
                prop_assert_eq!(SMOLLM.decode(&ids), &*text);
            }
            prop_assert_eq!(SMOLLM.decode(&SMOLLM.encode_plain(&text).unwrap()), &*text);
        }
    }

    #[test]
    fn any_text_survives_every_way_of_cutting(text in "(?s).{0,32}") {
        for tokenizer in CUTS.iter() {
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text, false).unwrap()), &*text);
        }
    }
}

/// All but those that normalise.
static CUTS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let names =
        pre_tokenizer::names().filter(|name| !["command-r", "qwen2", "qwen35"].contains(name));
    names
        .map(|pre| Tokenizer::from_gguf(gguf(pre)).unwrap())
        .collect()
});
