//! Embedding models against the vectors that sentence-transformers computes with the same files
//! (tests/reference/tiny_bert.py), and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use weir_model::{Embedder, GgufFile, ModelError, SafetensorsFolder};

const MODELS: &[&str] = &["bert-mean", "bert-cls", "roberta-max"];

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/tiny_models").join(name)
}

fn load(path: &Path) -> Result<Embedder, ModelError> {
    Embedder::from_folder(&SafetensorsFolder::open(path)?)
}

/// The texts, and the vectors they should have.
fn golden(name: &str) -> (Vec<Vec<u32>>, Vec<Vec<f32>>) {
    let text = fs::read_to_string(folder(name).join("golden.json")).unwrap();
    let mut golden: Value = serde_json::from_str(&text).unwrap();
    (
        serde_json::from_value(golden["texts"].take()).unwrap(),
        serde_json::from_value(golden["vectors"].take()).unwrap(),
    )
}

/// The largest difference, in parts of the largest element.
fn distance(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let differences = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    let scale = wanted
        .iter()
        .fold(0.0, |max: f32, value| max.max(value.abs()));
    differences.fold(0.0, f32::max) / scale
}

#[test]
fn vectors_are_those_of_the_reference() {
    for name in MODELS {
        let embedder = load(&folder(name)).unwrap();
        assert_eq!((embedder.dimensions(), embedder.max_tokens()), (32, 32));
        let (texts, wanted) = golden(name);
        for (text, wanted) in texts.iter().zip(&wanted) {
            let found = embedder.embed(&[text]).unwrap();
            let distance = distance(&found[0], wanted);
            assert!(distance < 1e-5, "{name}, {} tokens: {distance}", text.len());
        }
    }
}

#[test]
fn neighbours_change_nothing() {
    for name in MODELS {
        let embedder = load(&folder(name)).unwrap();
        let (texts, _) = golden(name);
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .flat_map(|text| embedder.embed(&[text]).unwrap())
            .collect();
        assert_eq!(embedder.embed(&texts).unwrap(), alone, "{name}");
        let backwards: Vec<&Vec<u32>> = texts.iter().rev().collect();
        let mut vectors = embedder.embed(&backwards).unwrap();
        vectors.reverse();
        assert_eq!(vectors, alone, "{name}");
    }
}

#[test]
fn a_gguf_file_gives_the_same_vectors() {
    let gguf = GgufFile::open(&folder("bert-mean").join("model.gguf")).unwrap();
    assert!(Embedder::is_gguf(&gguf).unwrap());
    let (texts, _) = golden("bert-mean");
    let from_folder = load(&folder("bert-mean")).unwrap().embed(&texts).unwrap();
    let from_gguf = Embedder::from_gguf(&gguf).unwrap();
    assert_eq!(from_gguf.embed(&texts).unwrap(), from_folder);
    // The file says nothing of the folder's window.
    assert_eq!(from_gguf.max_tokens(), 40);
}

#[test]
fn a_padding_token_takes_no_position() {
    let embedder = load(&folder("roberta-max")).unwrap();
    // The window is 32 and the table has 40 rows, two of them in front of the first position.
    embedder.embed(&[vec![1; 32]]).unwrap();
    let (a, b) = (vec![5, 1, 6], vec![5, 6, 1]);
    assert_ne!(embedder.embed(&[a]).unwrap(), embedder.embed(&[b]).unwrap());
}

#[test]
fn a_folder_without_modules_is_averaged_and_normalised() {
    let copy = Copy::of("bert-mean");
    fs::remove_file(copy.path("modules.json")).unwrap();
    let (texts, wanted) = golden("bert-mean");
    let vectors = copy.load().unwrap().embed(&texts).unwrap();
    for (found, wanted) in vectors.iter().zip(&wanted) {
        assert!(distance(found, wanted) < 1e-5);
    }
}

#[test]
fn no_texts_have_no_vectors() {
    let none: [&[u32]; 0] = [];
    assert!(
        load(&folder("bert-mean"))
            .unwrap()
            .embed(&none)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn impossible_texts_are_refused() {
    let embedder = load(&folder("bert-mean")).unwrap();
    let cases: &[(&[u32], &str)] = &[
        (&[], "text 1 has 0 tokens, not 1 to 32"),
        (&[5; 33], "text 1 has 33 tokens, not 1 to 32"),
        (&[5, 64], "text 1 has token id 64, the vocabulary has 64"),
        (&[u32::MAX], "the vocabulary has 64"),
    ];
    for (text, part) in cases {
        let error = embedder.embed(&[&[5], *text]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// A tiny model's folder, to be changed.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        fs::create_dir(copy.path("1_Pooling")).unwrap();
        for file in [
            "config.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "1_Pooling/config.json",
        ] {
            fs::copy(folder(name).join(file), copy.path(file)).unwrap();
        }
        copy
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Sets what the JSON pointer points to; null is absent.
    fn set(&self, file: &str, pointer: &str, value: Value) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
        let mut json: Value = serde_json::from_str(&text).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let object = json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        object.insert(key.to_owned(), value);
        fs::write(path, json.to_string()).unwrap();
    }

    fn load(&self) -> Result<Embedder, ModelError> {
        load(self.0.path())
    }
}

/// File, pointer, value, and the part of the message that names them.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    (
        "config.json",
        "/model_type",
        r#""mpnet""#,
        "architecture mpnet is not supported (supported: BertModel, ",
    ),
    (
        "config.json",
        "/architectures",
        r#"["BertForMaskedLM"]"#,
        r#"architecture ["BertForMaskedLM"] is not supported"#,
    ),
    (
        "config.json",
        "/position_embedding_type",
        r#""relative_key""#,
        r#"config.json: position_embedding_type is "relative_key""#,
    ),
    ("config.json", "/is_decoder", "true", "is_decoder is true"),
    (
        "config.json",
        "/hidden_act",
        r#""swish""#,
        r#"hidden_act "swish" is not supported"#,
    ),
    (
        "config.json",
        "/hidden_size",
        "null",
        "hidden_size is missing",
    ),
    (
        "config.json",
        "/hidden_size",
        r#""32""#,
        r#"hidden_size is "32", not a positive integer"#,
    ),
    (
        "config.json",
        "/hidden_size",
        "64",
        "tensor embeddings.token_type_embeddings.weight has shape [2, 32]",
    ),
    (
        "config.json",
        "/num_attention_heads",
        "5",
        "5 heads do not divide 32 elements",
    ),
    (
        "config.json",
        "/num_attention_heads",
        "0",
        "num_attention_heads is 0",
    ),
    (
        "config.json",
        "/layer_norm_eps",
        "-1",
        "-1 is no layer norm epsilon",
    ),
    (
        "config.json",
        "/num_hidden_layers",
        "1",
        "tensor encoder.layer.1.attention.output.LayerNorm.bias is not supported",
    ),
    (
        "config.json",
        "/num_hidden_layers",
        "99999999999",
        "tensor encoder.layer.2.attention.self.query.weight is missing",
    ),
    (
        "config.json",
        "/max_position_embeddings",
        "41",
        "tensor embeddings.position_embeddings.weight has shape [40, 32]",
    ),
    (
        "config.json",
        "/quantization_config",
        r#"{"quant_method": "gptq"}"#,
        "gptq",
    ),
    (
        "modules.json",
        "/1/type",
        r#""sentence_transformers.models.Dense""#,
        r#"modules.json: the modules [("Transformer", ""), ("Dense", "1_Pooling"), "#,
    ),
    (
        "modules.json",
        "/1/path",
        r#""../elsewhere""#,
        "is not a folder beside it",
    ),
    (
        "modules.json",
        "/0/path",
        r#""0_Transformer""#,
        "only Transformer, Pooling and perhaps Normalize are",
    ),
    (
        "modules.json",
        "/1/path",
        r#""nowhere""#,
        "nowhere/config.json: is missing",
    ),
    (
        "modules.json",
        "/2/type",
        r#""a.Pooling""#,
        "only Transformer, Pooling and perhaps Normalize are",
    ),
    (
        "1_Pooling/config.json",
        "/pooling_mode_cls_token",
        "true",
        "pooling cls_token with mean_tokens is not supported",
    ),
    (
        "1_Pooling/config.json",
        "/pooling_mode",
        r#""weightedmean""#,
        "pooling weightedmean is not supported",
    ),
    (
        "sentence_bert_config.json",
        "/do_lower_case",
        "true",
        "do_lower_case is true",
    ),
    (
        "sentence_bert_config.json",
        "/max_seq_length",
        "0",
        "max_seq_length is 0",
    ),
    (
        "config_sentence_transformers.json",
        "/default_prompt_name",
        r#""query""#,
        r#"default_prompt_name "query": a prompt before every text"#,
    ),
];

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (file, pointer, value, part) in REFUSED {
        let copy = Copy::of("bert-mean");
        copy.set(file, pointer, serde_json::from_str(value).unwrap());
        let message = match copy.load() {
            Ok(_) => panic!("{file} {pointer} {value}"),
            Err(error) => error.to_string(),
        };
        assert!(
            message.contains(part),
            "{file} {pointer} {value}: {message}"
        );
        assert_eq!(message.lines().count(), 1);
    }
}

#[test]
fn roberta_needs_positions_behind_its_padding() {
    let copy = Copy::of("roberta-max");
    copy.set("config.json", "/pad_token_id", json!(u64::MAX));
    let error = copy.load().unwrap_err().to_string();
    assert!(error.contains("has none behind the padding id"), "{error}");
}

#[test]
fn the_window_is_no_longer_than_the_positions() {
    let copy = Copy::of("roberta-max");
    copy.set("sentence_bert_config.json", "/max_seq_length", json!(9999));
    assert_eq!(copy.load().unwrap().max_tokens(), 38);
}
