//! Folders of safetensors, well-formed: what is read from them, to the bit.

use candle_core::DType;

use crate::safetensors_fixture::{Folder, f32_bytes};

fn bf16_bytes(values: &[f32]) -> Vec<u8> {
    let halves = values.iter().map(|value| (value.to_bits() >> 16) as u16);
    halves.flat_map(u16::to_le_bytes).collect()
}

#[test]
fn configs_and_tensors_are_listed() {
    let folder = Folder::new(r#"{"model_type": "llama", "hidden_size": 64}"#);
    folder.write(
        "generation_config.json",
        r#"{"eos_token_id": [1, 2], "temperature": 0.6}"#,
    );
    folder.shard(
        "model.safetensors",
        &[
            ("b", "BF16", &[2, 2], bf16_bytes(&[0.0; 4])),
            ("a", "I64", &[], vec![0; 8]),
            ("empty", "F32", &[0, 7], vec![]),
        ],
    );
    let opened = folder.open().unwrap();
    assert_eq!(opened.path(), folder.path());
    assert_eq!(opened.config()["hidden_size"], 64);
    assert_eq!(opened.generation_config().unwrap()["eos_token_id"][1], 2);
    let listed: Vec<_> = opened
        .tensors()
        .map(|tensor| (tensor.name, tensor.shape, tensor.dtype, tensor.bytes))
        .collect();
    assert_eq!(
        listed,
        [
            ("a", &[][..], "I64".to_owned(), 8),
            ("b", &[2, 2][..], "BF16".to_owned(), 8),
            ("empty", &[0, 7][..], "F32".to_owned(), 0),
        ]
    );
    assert_eq!(opened.tensor_shape("b"), Some(&[2, 2][..]));
    assert_eq!(opened.tensor_shape("c"), None);
    assert_eq!(opened.read_f32("empty").unwrap(), [0f32; 0]);
    for (name, message) in [
        ("a", "tensor a is of type I64, which is not supported"),
        ("c", "tensor c is missing"),
    ] {
        assert_eq!(opened.read_f32(name).unwrap_err().to_string(), message);
    }
    let empty = opened.read_floats("empty").unwrap().unwrap();
    assert_eq!(empty.dims(), [0, 7]);
    assert!(opened.read_floats("a").unwrap().is_none());
    assert!(opened.read_floats("c").is_err());
}

#[test]
fn every_float_type_is_widened_exactly() {
    let values = [0.0, -0.0, 1.5, -2.0, 0.25, 448.0];
    // The same values by the definition of IEEE half precision and of FP8 E4M3 (sign, 4 bits of exponent, 3 of fraction).
    let f16 = [0x0000u16, 0x8000, 0x3e00, 0xc000, 0x3400, 0x5f00];
    let folder = Folder::new("{}");
    folder.shard(
        "model.safetensors",
        &[
            ("f32", "F32", &[3, 2], f32_bytes(&values)),
            ("bf16", "BF16", &[3, 2], bf16_bytes(&values)),
            (
                "f16",
                "F16",
                &[3, 2],
                f16.iter().flat_map(|half| half.to_le_bytes()).collect(),
            ),
            ("scalar", "F32", &[], f32_bytes(&[7.0])),
        ],
    );
    let opened = folder.open().unwrap();
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
    for (name, dtype) in [
        ("f32", DType::F32),
        ("bf16", DType::BF16),
        ("f16", DType::F16),
    ] {
        assert_eq!(bits(&opened.read_f32(name).unwrap()), bits(&values));
        let stored = opened.read_floats(name).unwrap().unwrap();
        assert_eq!((stored.dtype(), stored.dims()), (dtype, &[3, 2][..]));
        let widened = stored.to_dtype(DType::F32).unwrap();
        let widened = widened.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(bits(&widened), bits(&values));
        assert_eq!(opened.read_rows_f32(name, 1..2).unwrap(), values[2..4]);
        assert_eq!(opened.read_rows_f32(name, 3..3).unwrap(), [0f32; 0]);
        assert_eq!(
            opened.read_rows_f32(name, 2..4).unwrap_err().to_string(),
            format!("tensor {name} cannot be read: rows 2..4 of 3")
        );
    }
    assert_eq!(opened.read_f32("scalar").unwrap(), [7.0]);
}

/// What a device reads of a matrix that several share.
#[test]
fn of_a_section_no_more_is_read_than_it_holds() {
    let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
    let folder = Folder::new("{}");
    for (dtype, bytes) in [("F32", f32_bytes(&values)), ("BF16", bf16_bytes(&values))] {
        let size = bytes.len() / values.len();
        folder.shard("model.safetensors", &[("m", dtype, &[4, 6], bytes)]);
        let opened = folder.open().unwrap();
        let read = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            let shape = [rows.len(), columns.len()];
            let section = opened.read_section("m", rows, columns)?.unwrap();
            assert_eq!(section.dims(), shape);
            let wide = section.to_dtype(DType::F32)?.flatten_all()?;
            Ok::<_, weir_model::ModelError>(wide.to_vec1::<f32>()?)
        };
        assert_eq!(read(0..4, 0..6).unwrap(), values);
        assert_eq!(read(1..3, 2..4).unwrap(), [8.0, 9.0, 14.0, 15.0]);
        assert_eq!(
            read(2..5, 0..6).unwrap_err().to_string(),
            "tensor m cannot be read: rows 2..5 and columns 0..6 of shape [4, 6]"
        );
        assert!(read(0..4, 5..7).is_err());
        assert!(read(0..4, 3..3).is_err());
        // The end of the last row is gone.
        let path = folder.path().join("model.safetensors");
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len - 3 * size as u64).unwrap();
        assert_eq!(read(0..3, 0..6).unwrap(), values[..18]);
        assert_eq!(
            read(2..4, 0..3).unwrap(),
            [12.0, 13.0, 14.0, 18.0, 19.0, 20.0]
        );
        assert!(read(3..4, 0..4).is_err());
    }
}

#[test]
fn large_tensors_are_read_piece_by_piece() {
    let values: Vec<f32> = (0..700_001).map(|value| value as f32).collect();
    let folder = Folder::new("{}");
    folder.shard(
        "model.safetensors",
        &[("t", "F32", &[700_001], f32_bytes(&values))],
    );
    let opened = folder.open().unwrap();
    assert!(opened.read_f32("t").unwrap() == values);
    assert!(opened.read_rows_f32("t", 3..600_000).unwrap() == values[3..600_000]);
}

#[test]
fn shards_are_found_through_the_index() {
    let folder = Folder::new("{}");
    folder.shard("one.safetensors", &[("a", "F32", &[1], f32_bytes(&[1.0]))]);
    folder.shard("two.safetensors", &[("b", "F32", &[1], f32_bytes(&[2.0]))]);
    folder.index(&[("a", "one.safetensors"), ("b", "two.safetensors")]);
    let opened = folder.open().unwrap();
    assert_eq!(opened.read_f32("a").unwrap(), [1.0]);
    assert_eq!(opened.read_f32("b").unwrap(), [2.0]);

    // Hubs' caches hold their files as links to where the content lies.
    let cache = Folder::new("{}");
    let single = cache.path().join("model.safetensors");
    std::os::unix::fs::symlink(folder.path().join("two.safetensors"), single).unwrap();
    assert_eq!(cache.open().unwrap().read_f32("b").unwrap(), [2.0]);
}

#[test]
fn fp8_is_scaled_by_blocks() {
    const CONFIG: &str =
        r#"{"quantization_config": {"quant_method": "fp8", "weight_block_size": [4, 8]}}"#;
    // All 256 codes, stacked as two matrices of 8 rows of 16, the last block row and column cut short in the other.
    let codes: Vec<u8> = (0..=255).collect();
    let value = |code: u8| {
        let (exponent, fraction) = (i32::from(code >> 3 & 15), f32::from(code & 7));
        let magnitude = match (exponent, fraction) {
            (15, 7.0) => f32::NAN,
            (0, _) => fraction * 2f32.powi(-9),
            _ => (8.0 + fraction) * 2f32.powi(exponent - 10),
        };
        if code < 128 { magnitude } else { -magnitude }
    };
    let scales: Vec<f32> = (1..=8).map(|scale| scale as f32 / 3.0).collect();
    let cut: Vec<u8> = (0..45).collect();
    let folder = Folder::new(CONFIG);
    folder.shard(
        "model.safetensors",
        &[
            ("stack", "F8_E4M3", &[2, 8, 16], codes.clone()),
            ("stack_scale_inv", "F32", &[2, 2, 2], f32_bytes(&scales)),
            ("cut", "F8_E4M3", &[5, 9], cut.clone()),
            (
                "cut_scale_inv",
                "BF16",
                &[2, 2],
                bf16_bytes(&[1.0, 2.0, 4.0, 8.0]),
            ),
        ],
    );
    let opened = folder.open().unwrap();
    let bits = |values: &[f32]| -> Vec<u32> {
        let canonical = values
            .iter()
            .map(|v| if v.is_nan() { f32::NAN } else { *v });
        canonical.map(f32::to_bits).collect()
    };
    let expected: Vec<f32> = (0..256)
        .map(|at| value(codes[at]) * scales[at / 128 * 4 + at % 128 / 64 * 2 + at % 16 / 8])
        .collect();
    assert_eq!(bits(&opened.read_f32("stack").unwrap()), bits(&expected));
    assert_eq!(
        bits(&opened.read_rows_f32("stack", 1..2).unwrap()),
        bits(&expected[128..])
    );
    let expected: Vec<f32> = (0..45)
        .map(|at| value(cut[at]) * [1.0, 2.0, 4.0, 8.0][at / 36 * 2 + at % 9 / 8])
        .collect();
    assert_eq!(opened.read_f32("cut").unwrap(), expected);
    assert_eq!(opened.read_rows_f32("cut", 3..5).unwrap(), expected[27..]);
    let listed: Vec<_> = opened
        .tensors()
        .map(|tensor| (tensor.name, tensor.bytes))
        .collect();
    assert_eq!(listed, [("cut", 45 + 8), ("stack", 256 + 32)]);
}
