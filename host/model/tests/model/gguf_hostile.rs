//! GGUF files that are damaged or lie: one line that says what is wrong, nothing allocated on their word.

use candle_core::Device;
use proptest::prelude::*;
use weir_model::GgufFile;

use crate::gguf_fixture::{
    ARRAY, STRING, U8, U32, array, file, open, string, tensor, value, well_formed, write,
};

/// The reason in the message about a file that does not open.
fn reason(bytes: &[u8]) -> String {
    let written = write(bytes);
    let error = GgufFile::open(&written.path).unwrap_err().to_string();
    let prefix = format!("cannot read {} as GGUF: ", written.path.display());
    error.strip_prefix(&prefix).unwrap().to_owned()
}

#[test]
fn damaged_beginnings_are_named() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = well_formed();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let huge = (1u64 << 60).to_le_bytes();
    let cases = [
        (vec![], "needs 4 bytes more, 0 are left"),
        (b"<html>".to_vec(), r#"it begins with "<htm""#),
        (with(0, b"\0\nGG"), r#"it begins with "\x00\nGG""#),
        (with(4, &[1]), "version 1 is not supported (2 and 3 are)"),
        (with(4, &[4]), "version 4 is not supported (2 and 3 are)"),
        (with(4, &[0, 0, 0, 3]), "big endian is not supported"),
        (
            with(8, &huge),
            "counts 1152921504606846976 tensors, 466 bytes are left",
        ),
        (
            with(16, &huge),
            "counts 1152921504606846976 metadata values, 458 bytes are left",
        ),
        (
            with(24, &huge),
            "needs 1152921504606846976 bytes more, 450 are left",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(reason(&bytes), expected);
    }
    let mut version_2 = well_formed();
    version_2[4] = 2;
    assert_eq!(open(&version_2).unwrap().tensors().count(), 2);
}

#[test]
fn damaged_values_are_named() {
    const HUGE: u64 = 1 << 60;
    let nested = {
        // A thousand arrays, each with the next as its only element.
        let mut bytes = Vec::new();
        for _ in 0..1000 {
            bytes.extend(ARRAY.to_le_bytes());
            bytes.extend(1u64.to_le_bytes());
        }
        value("k", ARRAY, &bytes)
    };
    let long_key = "k".repeat(5000);
    let cases = [
        (
            value("k", STRING, &HUGE.to_le_bytes()),
            "metadata k needs 1152921504606846976 bytes more, 19 are left",
        ),
        (
            array("k", STRING, HUGE, &[]),
            "metadata k counts 1152921504606846976 elements, 47 bytes are left",
        ),
        (
            array("k", U8, u64::MAX, &[]),
            "metadata k counts 18446744073709551615 elements, 47 bytes are left",
        ),
        (
            array("k", 12, HUGE, &[]),
            "metadata k counts 1152921504606846976 elements, 47 bytes are left",
        ),
        (
            array("k", STRING, 1, &HUGE.to_le_bytes()),
            "metadata k needs 1152921504606846976 bytes more, 39 are left",
        ),
        (
            nested,
            "metadata k is an array of arrays, which is not supported",
        ),
        (
            value("k", 13, &[0; 8]),
            "metadata k is of the unknown type 13",
        ),
        (
            array("k", 77, 1, &[0; 8]),
            "metadata k is of the unknown type 77",
        ),
        (
            [value("k", U8, &[0]), value("k", U8, &[0])].concat(),
            "metadata k is there twice",
        ),
        (
            value("a\nb", U8, &[0]),
            r#"holds a name with a control character, "a\nb""#,
        ),
        (value(&long_key, U8, &[0]), "holds a name of 5000 bytes"),
        (
            [&2u64.to_le_bytes()[..], &[0xff, 0xfe], &[0; 5]].concat(),
            "a name is not UTF-8",
        ),
    ];
    for (value, expected) in cases {
        // Counted as two values, so that two that stand for one are both read.
        let bytes = file(&[value, self::value("last", U8, &[0])], &[], 0);
        assert_eq!(reason(&bytes), expected);
    }
}

#[test]
fn alignments_that_are_no_power_of_two_are_named() {
    for alignment in [0u32, 3] {
        let value = value("general.alignment", U32, &alignment.to_le_bytes());
        assert_eq!(
            reason(&file(&[value], &[tensor("a", &[1], 0, 0)], 4)),
            "general.alignment is not a power of two"
        );
    }
    let text = value("general.alignment", STRING, &string("32"));
    assert_eq!(
        reason(&file(&[text], &[], 0)),
        "general.alignment is not a power of two"
    );
}

#[test]
fn tensors_that_cannot_be_are_named() {
    let cases = [
        (vec![tensor("t", &[], 0, 0)], "tensor t has 0 dimensions"),
        (
            vec![tensor("t", &[1; 5], 0, 0)],
            "tensor t has 5 dimensions",
        ),
        (
            vec![tensor("t", &[32, 1 << 40, 1 << 40], 0, 0)],
            "tensor t cannot have the shape [1099511627776, 1099511627776, 32]",
        ),
        (
            vec![tensor("t", &[1 << 62, 2], 0, 0)],
            "tensor t cannot have the shape [2, 4611686018427387904]",
        ),
        (
            vec![tensor("t", &[32, 0], 0, 0)],
            "tensor t cannot have the shape [0, 32]",
        ),
        (
            vec![tensor("t", &[33, 32], 2, 0)],
            "tensor t of type Q4_0 has rows of 33 elements, not a multiple of 32",
        ),
        (
            vec![tensor("t", &[32], 4, 0)],
            "tensor t is of type number 4, which is not known",
        ),
        (
            vec![tensor("t", &[32], 99, 0)],
            "tensor t is of type number 99, which is not known",
        ),
    ];
    for (tensors, expected) in cases {
        assert_eq!(reason(&aligned_to_64(&tensors)), expected);
    }
}

#[test]
fn tensors_in_the_wrong_place_are_named() {
    let end = "runs past the end of the file";
    let cases = [
        (
            vec![tensor("t", &[65], 0, 0)],
            format!("tensor t of 260 bytes at offset 0 {end}"),
        ),
        (
            vec![tensor("t", &[32], 0, 256)],
            format!("tensor t of 128 bytes at offset 256 {end}"),
        ),
        (
            vec![tensor("t", &[32], 0, u64::MAX - 63)],
            format!("tensor t of 128 bytes at offset 18446744073709551552 {end}"),
        ),
        (
            vec![tensor("t", &[1 << 60], 0, 0)],
            format!("tensor t of 4611686018427387904 bytes at offset 0 {end}"),
        ),
        (
            vec![tensor("t", &[8], 0, 32)],
            "tensor t is at offset 32, not a multiple of 64".to_owned(),
        ),
        (
            vec![tensor("t", &[32], 0, 0), tensor("u", &[8], 0, 64)],
            "tensor u at offset 64 overlaps the one before it".to_owned(),
        ),
        (
            vec![tensor("t", &[8], 0, 0), tensor("t", &[8], 0, 64)],
            "tensor t is there twice".to_owned(),
        ),
        (
            vec![tensor("a\u{1b}[2J", &[8], 0, 0)],
            r#"holds a name with a control character, "a\u{1b}[2J""#.to_owned(),
        ),
    ];
    for (tensors, expected) in cases {
        assert_eq!(reason(&aligned_to_64(&tensors)), expected);
    }
}

/// A file with room for two tensors of 128 bytes.
fn aligned_to_64(tensors: &[Vec<u8>]) -> Vec<u8> {
    let alignment = value("general.alignment", U32, &64u32.to_le_bytes());
    let mut bytes = file(&[alignment], tensors, 0);
    bytes.resize(bytes.len().next_multiple_of(64) + 256, 0);
    bytes
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = well_formed();
    assert!(open(&whole).is_ok());
    for len in 0..whole.len() {
        let reason = reason(&whole[..len]);
        assert!(!reason.contains('\n'), "{len}: {reason}");
    }
}

#[test]
fn lengths_that_fit_a_huge_file_are_not_believed_either() {
    // A sparse file of a terabyte: what the header claims is there, but no header is that long.
    let name = (1u64 << 33).to_le_bytes();
    for (values, expected) in [
        (
            array("k", STRING, 1 << 36, &[]),
            "metadata k counts 68719476736 elements, 99999951 bytes are left",
        ),
        (
            [&name[..], &[0; 5]].concat(),
            "needs 8589934592 bytes more, 99999968 are left",
        ),
    ] {
        let written = write(&file(&[values], &[], 0));
        let opened = std::fs::File::options()
            .write(true)
            .open(&written.path)
            .unwrap();
        opened.set_len(1 << 40).unwrap();
        let error = GgufFile::open(&written.path).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    for path in ["/dev/zero", "/"] {
        let error = GgufFile::open(path.as_ref()).unwrap_err();
        assert_eq!(error.to_string(), format!("{path}: is not a file"));
    }
}

/// Opens a file and reads all of it; every error is one line.
fn read_all(bytes: &[u8]) -> Result<(), String> {
    let written = write(bytes);
    let gguf = GgufFile::open(&written.path).map_err(|error| error.to_string())?;
    let mut errors = Vec::new();
    for key in gguf.keys() {
        errors.extend(gguf.string(key).err());
        errors.extend(gguf.strings(key).err());
        errors.extend(gguf.integers(key).err());
        errors.extend(gguf.unsigned(key).err());
        errors.extend(gguf.floats(key).err());
        errors.extend(gguf.booleans(key).err());
    }
    for tensor in gguf.tensors() {
        errors.extend(gguf.read_tensor(tensor.name, &Device::Cpu).err());
        errors.extend(gguf.read_part(tensor.name, 0, &Device::Cpu).err());
    }
    for error in errors {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        number in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(
            vec![0, 1, 1 << 31, 1 << 32, 1 << 60, i64::MAX as u64, u64::MAX],
        ))),
    ) {
        let mut bytes = well_formed();
        // The header, where a change means something.
        let header = bytes.len() - 162;
        for (at, byte) in changes {
            bytes[at.index(header)] = byte;
        }
        if let Some((at, number)) = number {
            let at = at.index(header);
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        if let Err(error) = read_all(&bytes) {
            prop_assert!(!error.contains('\n'), "{}", error);
        }
    }
}
