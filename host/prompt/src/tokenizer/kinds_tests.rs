//! The kinds that are not byte-level BPE with merges, each on a small made-up vocabulary.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Ids: `<unk>`, `<s>`, `</s>`, 256 bytes, then pieces with falling scores, then the last two.
fn spm(user_defined: &[&str]) -> GgufVocabulary {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
    let mut types = vec![2, 3, 3];
    for byte in 0..=255_u8 {
        tokens.push(format!("<0x{byte:02X}>"));
        types.push(6);
    }
    let mut scores = vec![0.0; tokens.len()];
    let pieces = [
        "ab", "aa", "▁a", "aaaa", "abc", "▁▁", "▁hi", "hi", "▁", "a", "b", "c", "h", "i",
    ];
    for (place, piece) in pieces.iter().enumerate() {
        tokens.push((*piece).to_owned());
        types.push(1);
        scores.push(-(place as f32));
    }
    for piece in user_defined {
        tokens.push((*piece).to_owned());
        types.push(4);
        scores.push(0.0);
    }
    GgufVocabulary {
        model: "llama".to_owned(),
        tokens,
        token_types: types,
        scores,
        ..GgufVocabulary::default()
    }
}

fn texts(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode(text, false).unwrap();
    let bytes = |id| tokenizer.vocabulary().bytes(id).unwrap();
    ids.iter()
        .map(|id| String::from_utf8_lossy(bytes(*id)).into_owned())
        .collect()
}

#[test]
fn sentencepiece_merges_by_score_leftmost_first() {
    let tokenizer = Tokenizer::from_gguf(spm(&[])).unwrap();
    assert_eq!(texts(&tokenizer, "abc"), [" ", "abc"]);
    assert_eq!(texts(&tokenizer, "aaaaaaa"), [" ", "aaaa", "aa", "a"]);
    assert_eq!(texts(&tokenizer, "hi hi"), [" hi", " hi"]);
    assert_eq!(texts(&tokenizer, "  hi"), ["  ", " hi"]);
    assert_eq!(
        tokenizer.encode("é", false).unwrap()[1..],
        [3 + 0xc3, 3 + 0xa9]
    );
    assert_eq!(tokenizer.encode("", false).unwrap(), [0; 0]);
    assert_eq!(tokenizer.encode("hi", true).unwrap()[0], 1);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.end_ids(), [2]);
}

#[test]
fn each_stretch_between_special_tokens_begins_a_word() {
    let tokenizer = Tokenizer::from_gguf(spm(&[])).unwrap();
    assert_eq!(
        texts(&tokenizer, "<s>hi</s>hi"),
        ["<s>", " hi", "</s>", " hi"]
    );
    let plain = tokenizer.encode_plain("<s>hi").unwrap();
    assert!(!plain.contains(&1), "{plain:?}");
    assert_eq!(tokenizer.decode(&plain), "<s>hi");
    // A byte's spelling in a text is just text.
    let ids = tokenizer.encode("<0x41>", false).unwrap();
    assert!(ids.len() > 2, "{ids:?}");
    assert_eq!(tokenizer.decode(&ids), "<0x41>");
}

#[test]
fn byte_tokens_are_all_there_or_none() {
    let mut vocabulary = spm(&[]);
    vocabulary.token_types[3 + 0x41] = 1;
    let error = Tokenizer::from_gguf(vocabulary).unwrap_err().to_string();
    assert!(error.contains("255 byte tokens"), "{error}");
}

#[test]
fn phi3_takes_white_space_after_its_own_special_tokens() {
    let mut vocabulary = spm(&[]);
    vocabulary.tokens.push("<|user|>".to_owned());
    vocabulary.token_types.push(3);
    vocabulary.scores.push(0.0);
    let plain = Tokenizer::from_gguf(vocabulary.clone()).unwrap();
    assert_eq!(texts(&plain, "<|user|>\nhi"), ["<|user|>", " ", "\n", "hi"]);
    vocabulary.model_name = "Phi-3 mini".to_owned();
    let phi3 = Tokenizer::from_gguf(vocabulary).unwrap();
    assert_eq!(texts(&phi3, "<|user|>\nhi"), ["<|user|>", " hi"]);
    assert_eq!(texts(&phi3, "<s> a"), ["<s>", " ", " a"]);
}

#[test]
fn user_defined_pieces_are_never_merged() {
    let gemma = GgufVocabulary {
        add_space_prefix: Some(false),
        ..spm(&["  ", "bc"])
    };
    let tokenizer = Tokenizer::from_gguf(gemma).unwrap();
    assert_eq!(texts(&tokenizer, "abc"), ["a", "bc"]);
    assert_eq!(texts(&tokenizer, "   a"), ["  ", " a"]);
    assert_eq!(
        tokenizer.decode(&tokenizer.encode(" a", false).unwrap()),
        " a"
    );
    let id = tokenizer.token_id("bc").unwrap();
    assert_eq!(tokenizer.vocabulary().kind(id), TokenKind::Added);
}

#[test]
fn unused_pieces_are_taken_apart() {
    let mut vocabulary = spm(&[]);
    let place = vocabulary
        .tokens
        .iter()
        .position(|piece| piece == "abc")
        .unwrap();
    vocabulary.token_types[place] = 5;
    let tokenizer = Tokenizer::from_gguf(vocabulary).unwrap();
    assert_eq!(texts(&tokenizer, "abc"), [" ", "ab", "c"]);
}

#[test]
fn without_bytes_a_run_of_unknown_characters_is_one_token() {
    let mut vocabulary = spm(&[]);
    vocabulary.token_types[3..259].fill(1);
    let tokenizer = Tokenizer::from_gguf(vocabulary.clone()).unwrap();
    assert_eq!(texts(&tokenizer, "hi日本"), [" hi", "<unk>"]);
    vocabulary.token_types[0] = 3;
    assert!(Tokenizer::from_gguf(vocabulary).is_err());
}

#[test]
fn extra_white_space_goes_if_the_model_says_so() {
    let vocabulary = GgufVocabulary {
        remove_extra_whitespaces: true,
        ..spm(&[])
    };
    let tokenizer = Tokenizer::from_gguf(vocabulary).unwrap();
    assert_eq!(texts(&tokenizer, "  hi   hi "), [" hi", " hi"]);
    assert_eq!(tokenizer.encode("   ", false).unwrap(), [0; 0]);
}

#[test]
fn bad_scores_are_refused() {
    let mut vocabulary = spm(&[]);
    vocabulary.scores[5] = f32::NAN;
    let error = Tokenizer::from_gguf(vocabulary.clone()).unwrap_err();
    assert!(error.to_string().contains("token 5"), "{error}");
    vocabulary.scores.clear();
    assert!(Tokenizer::from_gguf(vocabulary.clone()).is_err());
    vocabulary = spm(&[]);
    vocabulary.tokens[7] = "byte".to_owned();
    let error = Tokenizer::from_gguf(vocabulary).unwrap_err();
    assert!(error.to_string().contains("`byte`"), "{error}");
}

#[test]
fn long_words_take_linear_time() {
    let tokenizer = Tokenizer::from_gguf(spm(&[])).unwrap();
    let text = "ab".repeat(100_000);
    let start = std::time::Instant::now();
    assert_eq!(tokenizer.encode(&text, false).unwrap().len(), 100_001);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

fn bert() -> GgufVocabulary {
    let tokens = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁un", "able", "▁able", "▁,", "▁日",
    ];
    GgufVocabulary {
        model: "bert".to_owned(),
        tokens: tokens.map(str::to_owned).into(),
        token_types: vec![3, 3, 3, 3, 1, 1, 1, 1, 1],
        unk: Some(1),
        cls: Some(2),
        sep: Some(3),
        ..GgufVocabulary::default()
    }
}

#[test]
fn wordpiece_takes_the_longest_piece_and_marks_both_ends() {
    let tokenizer = Tokenizer::from_gguf(bert()).unwrap();
    let ids = tokenizer.encode("Ünable, able 日x", true).unwrap();
    assert_eq!(ids, [2, 4, 5, 7, 6, 8, 1, 3]);
    assert_eq!(tokenizer.decode(&ids[1..5]), "unable , able");
    assert_eq!(tokenizer.encode("[SEP]", false).unwrap(), [3]);
    assert_eq!(tokenizer.encode("", true).unwrap(), [2, 3]);
    let cased = GgufVocabulary {
        lowercase: Some(false),
        ..bert()
    };
    let cased = Tokenizer::from_gguf(cased).unwrap();
    assert_eq!(cased.encode("Unable able", false).unwrap(), [1, 6]);
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Result<Tokenizer, PromptError>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let config = TokenizerConfig::read(dir.path()).unwrap();
    let tokenizer = Tokenizer::from_folder(dir.path(), &config);
    (dir, tokenizer)
}

fn base64(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = digits[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// 256 bytes, then a few words.
fn ranked() -> Vec<Vec<u8>> {
    let bytes = (0..=255_u8).map(|byte| vec![byte]);
    let words = ["aa", "aaa", "hi", " hi", "unreachable"];
    bytes
        .chain(words.map(|word| word.as_bytes().to_vec()))
        .collect()
}

fn tiktoken() -> String {
    let lines = ranked().into_iter().enumerate();
    lines
        .map(|(rank, token)| format!("{} {rank}\n", base64(&token)))
        .collect()
}

#[test]
fn tiktoken_files_merge_by_rank() {
    let config: &[u8] = br#"{"model_type": "llama"}"#;
    let (_dir, tokenizer) = folder(&[
        ("tokenizer.model", tiktoken().as_bytes()),
        ("config.json", config),
    ]);
    let tokenizer = tokenizer.unwrap();
    assert_eq!(texts(&tokenizer, "hi hi"), ["hi", " hi"]);
    assert_eq!(texts(&tokenizer, "aaaaa"), ["aa", "aaa"]);
    assert_eq!(texts(&tokenizer, "unreachable"), ["unreachable"]);
    assert_eq!(texts(&tokenizer, "<|eot_id|>hi"), ["<|eot_id|>", "hi"]);
    assert_eq!(tokenizer.bos(), Some(261));
    assert_eq!(tokenizer.end_ids(), [262, 270, 269]);
    assert_eq!(tokenizer.encode("hi", true).unwrap(), [261, 258]);
    assert_eq!(tokenizer.vocabulary().len(), 261 + 256);
}

#[test]
fn tiktoken_files_that_cannot_be_used_are_named() {
    let named = |files: &[(&str, &[u8])], wanted: &str| {
        let (_dir, tokenizer) = folder(files);
        let error = tokenizer.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    let good = tiktoken();
    named(&[("tokenizer.model", good.as_bytes())], "no model_type");
    let config: (&str, &[u8]) = ("config.json", br#"{"model_type": "llama"}"#);
    named(
        &[("tokenizer.model", b"AA== 0\nAQ== 2\n"), config],
        "line 2",
    );
    named(
        &[("tokenizer.model", b"AA== 0\n????\n"), config],
        "tokenizer.model",
    );
    named(&[("tokenizer.model", b"AA== 0\n"), config], "byte 1");
    named(&[config], "no tokenizer here");
    let odd: (&str, &[u8]) = (
        "tokenizer_config.json",
        br#"{"added_tokens_decoder": {"4294967295": {"content": "<x>"}}}"#,
    );
    named(
        &[("tokenizer.model", good.as_bytes()), config, odd],
        "4294967295",
    );
}

#[test]
fn tekken_puts_special_tokens_first() {
    let vocab: Vec<_> = (0..).zip(ranked()).collect();
    let vocab: Vec<_> = vocab
        .iter()
        .map(|(rank, token): &(u32, Vec<u8>)| {
            serde_json::json!({"rank": rank, "token_bytes": base64(token), "token_str": null})
        })
        .collect();
    let file = |size: u32, special: u32| {
        serde_json::json!({
            "config": {"pattern": r" ?\w+|\s+", "default_vocab_size": size, "default_num_special_tokens": special},
            "vocab": vocab,
        })
        .to_string()
    };
    // The last word is cut off, as the size says.
    let (_dir, tokenizer) = folder(&[("tekken.json", file(290, 30).as_bytes())]);
    let tokenizer = tokenizer.unwrap();
    assert_eq!(tokenizer.encode("hi", true).unwrap(), [1, 288]);
    assert_eq!(
        tokenizer.encode("[INST]<SPECIAL_29>", false).unwrap(),
        [3, 29]
    );
    assert_eq!(tokenizer.vocabulary().len(), 290);
    for (size, special) in [(29, 30), (300, 30), (u32::MAX, u32::MAX - 256)] {
        let (_dir, tokenizer) = folder(&[("tekken.json", file(size, special).as_bytes())]);
        assert!(tokenizer.unwrap_err().to_string().contains("tekken.json"));
    }
}

/// One protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    field.extend_from_slice(bytes);
    field
}

/// A SentencePiece file of the pieces of [`spm`]; `kind` 2 is BPE.
fn model_file(kind: u8) -> Vec<u8> {
    let vocabulary = spm(&[]);
    let mut file = Vec::new();
    for (id, text) in vocabulary.tokens.iter().enumerate() {
        let mut piece = field(1, text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend(vocabulary.scores[id].to_le_bytes());
        piece.extend([3 << 3, u8::try_from(vocabulary.token_types[id]).unwrap()]);
        file.extend(field(1, &piece));
    }
    file.extend(field(2, &[3 << 3, kind]));
    file.extend(field(3, &[4 << 3, 0]));
    file
}

#[test]
fn sentencepiece_files_give_what_gguf_files_give() {
    let (_dir, from_file) = folder(&[("tokenizer.model", &model_file(2))]);
    let from_file = from_file.unwrap();
    let from_gguf = Tokenizer::from_gguf(spm(&[])).unwrap();
    for text in ["hi hi", "<s>abc aaaa", "é\n▁x", ""] {
        assert_eq!(
            from_file.encode(text, true).unwrap(),
            from_gguf.encode(text, true).unwrap()
        );
    }
    assert_eq!(from_file.vocabulary(), from_gguf.vocabulary());
}

#[test]
fn a_folder_adds_tokens_and_says_where_words_begin() {
    let len = spm(&[]).tokens.len();
    let config = serde_json::json!({
        "legacy": false, "eos_token": "<end>",
        "added_tokens_decoder": {len.to_string(): {"content": "<end>", "special": true}},
    });
    let (_dir, tokenizer) = folder(&[
        ("tokenizer.model", &model_file(2)),
        ("tokenizer_config.json", config.to_string().as_bytes()),
    ]);
    let tokenizer = tokenizer.unwrap();
    assert_eq!(texts(&tokenizer, "hi<end>hi"), [" hi", "<end>", "hi"]);
    assert_eq!(tokenizer.eos(), u32::try_from(len).ok());
    let gap = serde_json::json!({"added_tokens_decoder": {"9999": {"content": "<end>"}}});
    let (_dir, tokenizer) = folder(&[
        ("tokenizer.model", &model_file(2)),
        ("tokenizer_config.json", gap.to_string().as_bytes()),
    ]);
    assert!(tokenizer.unwrap_err().to_string().contains("9999"));
}

#[test]
fn sentencepiece_files_that_cannot_be_used_are_named() {
    let (_dir, unigram) = folder(&[("tokenizer.model", &model_file(1))]);
    let error = unigram.unwrap_err().to_string();
    assert!(
        error.contains("unigram") && error.contains("tokenizer.model"),
        "{error}"
    );
    let whole = model_file(2);
    for end in [0, 1, 7, whole.len() / 2 + 1, whole.len() - 1] {
        let (_dir, cut) = folder(&[("tokenizer.model", &whole[..end])]);
        let error = cut.unwrap_err().to_string();
        assert!(error.contains("tokenizer.model"), "{error}");
    }
}

static SPM: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_gguf(spm(&[])).unwrap());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_survives_sentencepiece(text in "(?s).{0,64}", odd in "[ab chi▁<s>\n]{0,64}") {
        for text in [text, odd] {
            let tokenizer = &SPM;
            let plain = tokenizer.encode_plain(&text).unwrap();
            // The mark of a space in a text is a space from then on.
            prop_assert_eq!(tokenizer.decode(&plain), text.replace('▁', " "));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..4000_usize, at in 0..4000_usize, byte in any::<u8>()) {
        let mut mutated = model_file(2);
        mutated.truncate(mutated.len().saturating_sub(cut));
        if let Some(slot) = mutated.get_mut(at) {
            *slot = byte;
        }
        for file in [bytes, mutated] {
            let (_dir, tokenizer) = folder(&[("tokenizer.model", &file)]);
            if let Ok(tokenizer) = tokenizer {
                let ids = tokenizer.encode("hi <s>é▁", true).unwrap();
                prop_assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary().len()));
            }
        }
    }
}
