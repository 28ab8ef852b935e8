//! GGUF files, well-formed: values of every kind, tensors whole and in part, models split into files.

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor, gguf_file, gguf_file::Value},
};
use weir_model::GgufFile;

use crate::gguf_fixture::{U32, array, file, open, string, tensor, value, well_formed};

#[test]
fn values_read_by_type() {
    let gguf = open(&well_formed()).unwrap();
    assert_eq!(gguf.strings("tokens").unwrap().unwrap(), ["a", ""]);
    assert_eq!(gguf.booleans("pattern").unwrap().unwrap(), [false, true]);
    assert_eq!(gguf.unsigneds("counts").unwrap().unwrap(), [1, 2, 255]);
    assert_eq!(gguf.integers("counts").unwrap().unwrap(), [1, 2, 255]);
    assert_eq!(gguf.boolean("flag").unwrap(), Some(true));
    assert_eq!(gguf.unsigneds("absent").unwrap(), None);
    assert!(gguf.is_array("counts") && !gguf.is_array("flag") && !gguf.is_array("absent"));
    let errors = [
        gguf.booleans("counts").unwrap_err(),
        gguf.unsigneds("flag").unwrap_err(),
        gguf.unsigned("counts").unwrap_err(),
        gguf.strings("general.architecture").unwrap_err(),
    ];
    assert_eq!(
        errors.map(|error| error.to_string()),
        [
            "GGUF metadata counts is not an array of booleans",
            "GGUF metadata flag is not an array of non-negative integers",
            "GGUF metadata counts is not a non-negative integer",
            "GGUF metadata general.architecture is not an array of strings",
        ]
    );
}

#[test]
fn text_that_is_not_utf8_is_named_only_when_read() {
    let broken = [&2u64.to_le_bytes()[..], &[0xff, b'a']].concat();
    let gguf = open(&file(
        &[
            value("description", 8, &broken),
            array("tokens", 8, 1, &broken),
            value("padded", 8, &string("text\0\0")),
        ],
        &[],
        0,
    ))
    .unwrap();
    assert_eq!(
        gguf.string("description").unwrap_err().to_string(),
        "GGUF metadata description is not UTF-8"
    );
    assert_eq!(
        gguf.strings("tokens").unwrap_err().to_string(),
        "GGUF metadata tokens is not UTF-8"
    );
    assert_eq!(gguf.string("padded").unwrap(), Some("text"));
}

#[test]
fn types_that_are_not_computed_are_listed_and_named_when_read() {
    let cases = [
        (17, 256, "IQ2_XS", 74),
        (39, 32, "MXFP4", 17),
        (34, 256, "TQ1_0", 54),
        (28, 1, "F64", 8),
        (15, 256, "Q8_K", 292),
    ];
    for (number, row, dtype, bytes) in cases {
        let tensors = [tensor("blk.0.ffn_up.weight", &[row, 2], number, 0)];
        let written = crate::gguf_fixture::write(&file(&[], &tensors, 2 * bytes as usize));
        let gguf = GgufFile::open(&written.path).unwrap();
        let entry = gguf.tensors().next().unwrap();
        assert_eq!((entry.dtype.as_str(), entry.bytes), (dtype, 2 * bytes));
        let message =
            format!("tensor blk.0.ffn_up.weight is of type {dtype}, which is not supported");
        for read in [
            gguf.read_tensor("blk.0.ffn_up.weight", &Device::Cpu),
            gguf.read_part("blk.0.ffn_up.weight", 0, &Device::Cpu),
        ] {
            assert_eq!(read.unwrap_err().to_string(), message);
        }
    }
}

/// Columns begin and end where they like; blocks are read whole.
#[test]
fn of_a_section_no_blocks_are_read_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (dtype, block_bytes) in [
        (GgmlDType::Q8_0, 34),
        (GgmlDType::Q4_1, 20),
        (GgmlDType::F16, 64),
    ] {
        let values = Tensor::arange(0f32, 4.0 * 96.0, &Device::Cpu).unwrap();
        let matrix = QTensor::quantize(&values.reshape((4, 96)).unwrap(), dtype).unwrap();
        write_part(&path, &[], &[("m", &matrix)]);
        let gguf = GgufFile::open(&path).unwrap();
        let whole = matrix.dequantize(&Device::Cpu).unwrap();
        let right = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            let section = whole.narrow(0, rows.start, rows.len()).unwrap();
            let section = section.narrow(1, columns.start, columns.len()).unwrap();
            section.to_vec2::<f32>().unwrap()
        };
        let read = |rows, columns| {
            let section = gguf.read_section("m", rows, columns)?;
            assert!(section.is_contiguous());
            Ok::<_, weir_model::ModelError>(section.to_vec2::<f32>()?)
        };
        for (rows, columns) in [
            (0..4, 0..96),
            (1..3, 32..64),
            (0..4, 12..36),
            (3..4, 95..96),
        ] {
            let found = read(rows.clone(), columns.clone()).unwrap();
            assert_eq!(found, right(rows, columns));
        }
        assert!(read(0..5, 0..96).is_err());
        // The last row's last block is gone, and what stands behind the tensor.
        let (_, tensor) = gguf.read_bytes("m").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let start = bytes
            .windows(tensor.len())
            .position(|window| window == tensor);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len((start.unwrap() + tensor.len() - block_bytes) as u64)
            .unwrap();
        assert_eq!(read(0..4, 0..64).unwrap(), right(0..4, 0..64));
        assert_eq!(read(0..3, 0..96).unwrap(), right(0..3, 0..96));
        assert!(read(3..4, 60..70).is_err());
    }
    let vector = open(&well_formed()).unwrap();
    assert!(vector.read_section("b", 0..1, 0..1).is_err());
}

fn experts(dtype: GgmlDType) -> QTensor {
    let values = Tensor::arange(0f32, 3.0 * 2.0 * 256.0, &Device::Cpu).unwrap();
    QTensor::quantize(&values.reshape((3, 2, 256)).unwrap(), dtype).unwrap()
}

fn write_part(path: &std::path::Path, values: &[(&str, u16)], tensors: &[(&str, &QTensor)]) {
    let values: Vec<_> = values
        .iter()
        .map(|&(key, number)| (key, Value::U16(number)))
        .collect();
    let values: Vec<_> = values.iter().map(|(key, value)| (*key, value)).collect();
    let mut file = std::fs::File::create(path).unwrap();
    gguf_file::write(&mut file, &values, tensors).unwrap();
}

#[test]
fn one_matrix_of_a_stack_reads_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for dtype in [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q8_0,
        GgmlDType::Q4_1,
        GgmlDType::Q6K,
    ] {
        let stack = experts(dtype);
        write_part(&path, &[], &[("experts", &stack)]);
        let gguf = GgufFile::open(&path).unwrap();
        let values = |tensor: &QTensor| {
            let tensor = tensor.dequantize(&Device::Cpu).unwrap();
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let whole = gguf.read_tensor("experts", &Device::Cpu).unwrap();
        assert_eq!(whole.shape().dims(), [3, 2, 256]);
        assert_eq!(values(&whole), values(&stack));
        for expert in 0..3 {
            let part = gguf.read_part("experts", expert, &Device::Cpu).unwrap();
            assert_eq!(part.shape().dims(), [2, 256]);
            assert_eq!(values(&part), values(&stack)[expert * 512..][..512]);
        }
        let error = gguf.read_part("experts", 3, &Device::Cpu).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor experts cannot be read: part 3 of shape [3, 2, 256]"
        );
    }
    let vector = open(&well_formed()).unwrap();
    assert_eq!(
        vector
            .read_part("b", 0, &Device::Cpu)
            .unwrap_err()
            .to_string(),
        "tensor b cannot be read: part 0 of shape [32]"
    );
}

#[test]
fn a_split_model_opens_by_its_first_part() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (first, second) = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf");
    let tensor = experts(GgmlDType::Q8_0);
    let part = |number| [("split.no", number), ("split.count", 2)];
    let with_total = |total| {
        [
            ("split.no", 0),
            ("split.count", 2),
            ("split.tensors.count", total),
        ]
    };
    let error = |name: &str| {
        let error = GgufFile::open(&at(name)).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };

    write_part(&at(first), &with_total(2), &[("a", &tensor)]);
    assert_eq!(
        error(first),
        format!("cannot open {second}: No such file or directory (os error 2)")
    );
    write_part(&at(second), &part(1), &[("b", &tensor)]);
    let gguf = GgufFile::open(&at(first)).unwrap();
    assert_eq!(gguf.path(), at(first));
    assert_eq!(
        gguf.tensors().map(|t| t.name).collect::<Vec<_>>(),
        ["a", "b"]
    );
    for name in ["a", "b"] {
        let read = gguf.read_tensor(name, &Device::Cpu).unwrap();
        assert_eq!(read.data().unwrap(), tensor.data().unwrap());
    }

    assert_eq!(
        error(second),
        format!(
            "cannot read {second} as GGUF: it is split into 2 parts and opened by the first, NAME-00001-of-00002.gguf"
        )
    );
    write_part(&at(first), &with_total(3), &[("a", &tensor)]);
    assert_eq!(
        error(first),
        format!("cannot read {first} as GGUF: split.tensors.count is 3, the parts hold 2")
    );
    write_part(&at(second), &part(1), &[("a", &tensor)]);
    assert_eq!(
        error(first),
        format!("cannot read {second} as GGUF: tensor a is in another part too")
    );
    write_part(&at(second), &part(0), &[("b", &tensor)]);
    assert_eq!(
        error(first),
        format!("cannot read {second} as GGUF: it is not part 2 of 2")
    );
    let lonely = [
        value("split.count", U32, &u32::MAX.to_le_bytes()),
        value("split.no", U32, &[0; 4]),
    ];
    std::fs::write(at("m-00001-of-4294967295.gguf"), file(&lonely, &[], 0)).unwrap();
    assert_eq!(
        error("m-00001-of-4294967295.gguf"),
        "cannot open m-00002-of-4294967295.gguf: No such file or directory (os error 2)"
    );
}
