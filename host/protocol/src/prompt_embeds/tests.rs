//! Tensors as torch writes them, what does not fit a model, and files that are spoiled.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What `torch.save` wrote (tests/reference/prompt_embeds.py).
fn cases() -> Vec<Value> {
    let file = "../../tests/corpora/prompt_embeds/cases.jsonl";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn decode(case: &Value, columns: usize, most: usize) -> Result<Tensor, Invalid> {
    let [tensor] = &EncodedTensor::read_list(Some(case["base64"].clone())).unwrap()[..] else {
        panic!("one tensor");
    };
    tensor.decode(columns, most)
}

#[test]
fn tensors_are_read_as_torch_wrote_them() {
    for case in cases() {
        let name = &case["name"];
        let decoded = decode(&case, 4, 512);
        match case["error"].as_str() {
            Some(error) => {
                let invalid = decoded.unwrap_err();
                assert!(
                    invalid.message.contains(error),
                    "{name}: {}",
                    invalid.message
                );
                assert_eq!(invalid.param.as_deref(), Some(NAME));
            }
            None => {
                let tensor = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
                let rows: Vec<Vec<f32>> = serde_json::from_value(case["rows"].clone()).unwrap();
                assert_eq!(tensor.data, rows.concat(), "{name}");
                assert_eq!((tensor.rows, tensor.columns), (rows.len(), 4), "{name}");
            }
        }
    }
}

#[test]
fn a_tensor_must_fit_the_model() {
    let case = &cases()[0];
    let wrong = |columns, most| decode(case, columns, most).unwrap_err().message;
    assert!(wrong(5, 512).contains("[3, 4], but this model's embeddings are [tokens, 5]"));
    assert!(wrong(4, 2).contains("3 rows, and this model's context is 2 tokens"));
    let list = EncodedTensor::read_list(Some(json!(["?", case["base64"]]))).unwrap();
    let invalid = list[0].decode(4, 512).unwrap_err();
    assert!(invalid.message.contains("no base64"), "{}", invalid.message);
    assert_eq!(invalid.param.as_deref(), Some("prompt_embeds[0]"));
    assert!(list[1].decode(4, 512).is_ok());
}

#[test]
fn an_archive_of_many_files_is_not_read() {
    let archive_of = |files: usize| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let stored =
            zip::write::SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for file in 0..files {
            archive.start_file(file.to_string(), stored).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    let refused = |files| read(&archive_of(files), 4, 512).unwrap_err();
    assert!(refused(64).contains("no data.pkl"), "{}", refused(64));
    assert!(
        refused(65).contains("more than 64 files"),
        "{}",
        refused(65)
    );
}

#[test]
fn a_field_that_is_no_text_is_refused() {
    for value in [
        json!(1),
        json!([]),
        json!([1]),
        json!({}),
        json!(["", null]),
    ] {
        assert!(
            EncodedTensor::read_list(Some(value.clone())).is_err(),
            "{value}"
        );
    }
    assert_eq!(EncodedTensor::read_list(None), Ok(Vec::new()));
}

proptest! {
    /// Whatever is done to a file, reading it ends with a tensor or a complaint that a human can read.
    #[test]
    fn a_spoiled_file_is_no_more_than_wrong(
        which in 0usize..24,
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::option::Probability>(),
        end in any::<prop::sample::Index>(),
    ) {
        let cases = cases();
        let text = cases[which % cases.len()]["base64"].as_str().unwrap().to_owned();
        let mut bytes = BASE64_STANDARD.decode(text).unwrap();
        prop_assume!(!bytes.is_empty());
        for (place, byte) in spoiled {
            let len = bytes.len();
            bytes[place.index(len)] = byte;
        }
        if f64::from(cut) > 0.9 {
            bytes.truncate(end.index(bytes.len()));
        }
        match read(&bytes, 4, 512) {
            Ok(tensor) => {
                prop_assert_eq!(tensor.data.len(), tensor.rows * tensor.columns);
                prop_assert!(tensor.data.iter().all(|number| number.is_finite()));
            }
            Err(error) => prop_assert!(error.len() < 500, "{}", error),
        }
    }
}
