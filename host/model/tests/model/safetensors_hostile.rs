//! Folders of safetensors that are damaged or lie: one line that says what is wrong, nothing allocated on their word.

use proptest::prelude::*;

use crate::safetensors_fixture::{Folder, f32_bytes, file};

/// The message about a folder that does not open, with the folder's path left out.
fn error(folder: &Folder) -> String {
    let error = folder.open().unwrap_err().to_string();
    error.replace(&format!("{}", folder.path().display()), "DIR")
}

fn with_shard() -> Folder {
    let folder = Folder::new("{}");
    folder.shard(
        "model.safetensors",
        &[
            ("a", "F32", &[2, 2], f32_bytes(&[1.0; 4])),
            ("b", "F8_E4M3", &[4, 4], vec![0x38; 16]),
            ("b_scale_inv", "F32", &[2, 2], f32_bytes(&[2.0; 4])),
        ],
    );
    folder
}

/// Headers before eight bytes of data, and what is said of them.
const DAMAGED_HEADERS: &[(&str, &str)] = &[
    (
        "[]",
        "the header: invalid type: sequence, expected an object of tensors at line 1 column 0",
    ),
    (
        "{",
        "the header: EOF while parsing an object at line 1 column 1",
    ),
    (
        r#"{"t": [["#,
        "the header: tensor t: invalid type: sequence, expected a string at line 1 column 7",
    ),
    (
        r#"{"t": 5}"#,
        "the header: tensor t: invalid type: integer `5`, expected dtype, shape and data_offsets at line 1 column 7",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [2]}}"#,
        "the header: tensor t: missing field `data_offsets` at line 1 column 36",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}"#,
        "the header: tensor t: invalid value: integer `-1`, expected usize at line 1 column 35",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}}"#,
        "the header: tensor t: trailing characters at line 1 column 61",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}"#,
        "tensor t of type F32 and shape [2] cannot lie at bytes 0 to 4",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}"#,
        "tensor t of type F32 and shape [2] cannot lie at bytes 8 to 0",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}"#,
        "tensor t begins at byte 8, the tensor before it ends at 0",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 18446744073709551615]}}"#,
        "tensor t of type F32 and shape [2] cannot lie at bytes 0 to 18446744073709551615",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}"#,
        "tensor t ends at byte 16 of 8",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#,
        "4 bytes behind the last tensor",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 8]}}"#,
        "tensor t has shape [4294967296, 4294967296], more elements than can be counted",
    ),
    (
        r#"{"t": {"dtype": "F32", "shape": [1, 1, 1, 1, 1, 1, 1, 1, 2], "data_offsets": [0, 8]}}"#,
        "tensor t has 9 dimensions",
    ),
    (
        r#"{"t": {"dtype": "F7\n", "shape": [2], "data_offsets": [0, 8]}}"#,
        r#"tensor t is of the unknown type "F7\n""#,
    ),
    (
        r#"{"t": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "u": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}}"#,
        "tensor u begins at byte 2, the tensor before it ends at 4",
    ),
    (
        r#"{"t": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "u": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}"#,
        "tensor u begins at byte 0, the tensor before it ends at 4",
    ),
    (
        r#"{"t": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "t": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}"#,
        "the header: tensor t is there twice at line 1 column 64",
    ),
    (
        r#"{"t": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "u\n": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}"#,
        r#"the header: holds a name with a control character, "u\n" at line 1 column 66"#,
    ),
    (
        r#"{"__metadata__": {"format": "pt"}}"#,
        "8 bytes behind the last tensor",
    ),
];

#[test]
fn damaged_headers_are_named() {
    let deep = format!(r#"{{"__metadata__": {}"#, "[".repeat(100_000));
    let deep = (
        deep.as_str(),
        "the header: EOF while parsing a list at line 1 column 100017",
    );
    for (header, expected) in DAMAGED_HEADERS.iter().copied().chain([deep]) {
        let folder = Folder::new("{}");
        folder.write("model.safetensors", file(header, &[0; 8]));
        assert_eq!(error(&folder), format!("DIR/model.safetensors: {expected}"));
    }
}

#[test]
fn damaged_files_are_named() {
    let huge = 1u64 << 60;
    let header = |len: u64| len.to_le_bytes().to_vec();
    let cases = [
        (
            vec![0; 7],
            "is shorter than the length of a header".to_owned(),
        ),
        (
            header(huge),
            format!("is no safetensors file: a header of {huge} bytes in a file of 8"),
        ),
        (
            header(u64::MAX),
            format!(
                "is no safetensors file: a header of {} bytes in a file of 8",
                u64::MAX
            ),
        ),
        (
            header(0),
            "the header: EOF while parsing a value at line 1 column 0".to_owned(),
        ),
        (
            [header(2), vec![0xff, 0xfe]].concat(),
            "the header is not UTF-8".to_owned(),
        ),
    ];
    for (bytes, expected) in cases {
        let folder = Folder::new("{}");
        folder.write("model.safetensors", bytes);
        assert_eq!(error(&folder), format!("DIR/model.safetensors: {expected}"));
    }
    // A sparse file of a terabyte has the bytes that its header claims.
    let folder = Folder::new("{}");
    folder.write("model.safetensors", header(1 << 38));
    let path = folder.path().join("model.safetensors");
    let opened = std::fs::File::options().write(true).open(path).unwrap();
    opened.set_len(1 << 40).unwrap();
    assert_eq!(
        error(&folder),
        "DIR/model.safetensors: is no safetensors file: a header of 274877906944 bytes in a file of 1099511627776"
    );

    let whole = std::fs::read(with_shard().path().join("model.safetensors")).unwrap();
    for len in 0..whole.len() {
        let folder = Folder::new("{}");
        folder.write("model.safetensors", &whole[..len]);
        let error = error(&folder);
        assert!(error.starts_with("DIR/model.safetensors: ") && !error.contains('\n'));
    }
}

#[test]
fn damaged_configs_are_named() {
    let deep = "[".repeat(100_000);
    let cases: [(&[u8], &str); 5] = [
        (b"[1]", "is not a JSON object"),
        (b"{\"a\": \xff}", "is not UTF-8"),
        (b"", "EOF while parsing a value at line 1 column 0"),
        (b"{\"a\": NaN}", "expected value at line 1 column 7"),
        (
            deep.as_bytes(),
            "recursion limit exceeded at line 1 column 128",
        ),
    ];
    for (config, expected) in cases {
        for name in ["config.json", "generation_config.json"] {
            let folder = with_shard();
            folder.write(name, config);
            assert_eq!(error(&folder), format!("DIR/{name}: {expected}"));
        }
    }
    let folder = with_shard();
    folder.write("config.json", vec![b' '; 4_000_001]);
    assert_eq!(
        error(&folder),
        "DIR/config.json: holds 4000001 bytes, the limit is 4000000"
    );
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    assert_eq!(
        error(&folder),
        "cannot open DIR/config.json: No such file or directory (os error 2)"
    );
}

#[test]
fn quantizations_are_named() {
    let cases = [
        (
            r#"{"quant_method": "gptq", "bits": 4}"#,
            "quantization gptq is not supported",
        ),
        (
            r#"{"quant_method": "compressed-tensors"}"#,
            "quantization compressed-tensors is not supported",
        ),
        (
            r#"{"quant_method": "mxfp4"}"#,
            "quantization mxfp4 is not supported",
        ),
        (
            r#"{"quant_method": "a\nb"}"#,
            r"quantization a\nb is not supported",
        ),
        (
            r#"{"load_in_4bit": true}"#,
            "quantization_config without quant_method is not supported",
        ),
        (
            r#"{"quant_method": "fp8"}"#,
            "quantization fp8 with weight_block_size null is not supported",
        ),
        (
            r#"{"quant_method": "fp8", "weight_block_size": [128, 0]}"#,
            "quantization fp8 with weight_block_size [128,0] is not supported",
        ),
        (
            r#"{"quant_method": "fp8", "weight_block_size": [128]}"#,
            "quantization fp8 with weight_block_size [128] is not supported",
        ),
        (
            r#"{"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": [128, 128]}"#,
            "quantization fp8 with activation_scheme \"static\" is not supported",
        ),
        (
            r#"{"quant_method": "fp8", "fmt": "e5m2", "weight_block_size": [128, 128]}"#,
            "quantization fp8 with fmt \"e5m2\" is not supported",
        ),
    ];
    for (quantization, expected) in cases {
        for config in [
            format!(r#"{{"quantization_config": {quantization}}}"#),
            format!(r#"{{"text_config": {{"quantization_config": {quantization}}}}}"#),
            format!(r#"{{"quantization_config": null, "compression_config": {quantization}}}"#),
        ] {
            let folder = with_shard();
            folder.write("config.json", config);
            assert_eq!(error(&folder), format!("DIR/config.json: {expected}"));
        }
    }
}

#[test]
fn block_scales_that_do_not_fit_are_named() {
    let config = r#"{"quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 2]}}"#;
    let needs = "F8_E4M3 is supported for matrices with quantization_config.weight_block_size in config.json";
    type Scales<'a> = Option<(&'a str, &'a [usize], usize)>;
    let cases: [(&str, &[usize], Scales<'_>, &str); 5] = [
        (
            "{}",
            &[4, 4],
            Some(("F32", &[2, 2], 16)),
            &format!("tensor t cannot be read: {needs}"),
        ),
        (
            config,
            &[16],
            Some(("F32", &[2, 2], 16)),
            &format!("tensor t cannot be read: {needs}"),
        ),
        (config, &[4, 4], None, "tensor t_scale_inv is missing"),
        (
            config,
            &[4, 4],
            Some(("F32", &[1, 2], 8)),
            "tensor t_scale_inv has shape [1, 2], the metadata asks for [2, 2]",
        ),
        (
            config,
            &[4, 4],
            Some(("F8_E8M0", &[2, 2], 4)),
            "tensor t_scale_inv is of type F8_E8M0, which is not supported",
        ),
    ];
    for (config, shape, scales, expected) in cases {
        let folder = Folder::new(config);
        let mut tensors = vec![("t", "F8_E4M3", shape, vec![0; 16])];
        if let Some((dtype, shape, bytes)) = scales {
            tensors.push(("t_scale_inv", dtype, shape, vec![0; bytes]));
        }
        folder.shard("model.safetensors", &tensors);
        let error = folder.open().unwrap().read_f32("t").unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

const INDEX: &str = "DIR/model.safetensors.index.json";

#[test]
fn an_index_names_files_of_its_folder() {
    let outside = |name: &str| format!("{INDEX}: {name:?} is not the name of a file in the folder");
    let cases = [
        ("../x", outside("../x")),
        ("/etc/passwd", outside("/etc/passwd")),
        ("sub/x", outside("sub/x")),
        ("x/", outside("x/")),
        ("./x", outside("./x")),
        ("..", outside("..")),
        ("", outside("")),
        ("a\nb", outside("a\nb")),
        (
            "model.safetensors.index.json",
            format!(
                "{INDEX}: is no safetensors file: a header of 7017841271895827067 bytes in a file of 79"
            ),
        ),
        (
            "missing",
            "cannot open DIR/missing: No such file or directory (os error 2)".to_owned(),
        ),
        (
            "loop",
            "cannot open DIR/loop: Too many levels of symbolic links (os error 40)".to_owned(),
        ),
        ("folder", "DIR/folder: is not a file".to_owned()),
        ("other", format!("{INDEX}: tensor t is not in other")),
    ];
    for (shard, expected) in cases {
        let folder = Folder::new("{}");
        folder.shard("other", &[("u", "F32", &[1], vec![0; 4])]);
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        folder.index(&[("t", shard)]);
        assert_eq!(error(&folder), expected);
    }
}

#[test]
fn an_index_that_breaks_its_promises_is_named() {
    let folder = Folder::new("{}");
    folder.shard("one", &[("t", "F32", &[1], vec![0; 4])]);
    folder.shard("two", &[("u", "F32", &[1], vec![0; 4])]);
    folder.index(&[("t", "two"), ("u", "one")]);
    assert_eq!(error(&folder), format!("{INDEX}: tensor t is not in two"));
    folder.shard("two", &[("t", "F32", &[1], vec![0; 4])]);
    assert_eq!(error(&folder), "DIR/two: tensor t is in DIR/one too");
    for (index, expected) in [
        (
            "[]",
            "invalid length 0, expected an object with weight_map at line 1 column 2",
        ),
        ("{}", "missing field `weight_map` at line 1 column 2"),
        (
            r#"{"weight_map": {"t": 1}}"#,
            "invalid type: integer `1`, expected a string at line 1 column 22",
        ),
    ] {
        folder.write("model.safetensors.index.json", index);
        assert_eq!(error(&folder), format!("{INDEX}: {expected}"));
    }
}

#[test]
fn folders_without_safetensors_are_named() {
    let folder = Folder::new("{}");
    assert_eq!(
        error(&folder),
        "DIR: holds neither model.safetensors nor model.safetensors.index.json"
    );
    folder.write("pytorch_model.bin", "");
    assert_eq!(
        error(&folder),
        "DIR: holds pytorch_model.bin but no safetensors"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic(
        name in prop::sample::select(vec!["config.json", "model.safetensors", "model.safetensors.index.json"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let folder = with_shard();
        folder.write(
            "config.json",
            r#"{"quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 2]}}"#,
        );
        if name == "model.safetensors.index.json" {
            let single = folder.path().join("model.safetensors");
            std::fs::rename(single, folder.path().join("s")).unwrap();
            folder.index(&[("a", "s"), ("b", "s")]);
        }
        let mut bytes = std::fs::read(folder.path().join(name)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        folder.write(name, bytes);
        match folder.open() {
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
            Ok(folder) => for tensor in folder.tensors() {
                let widened = folder.read_f32(tensor.name).err();
                for error in widened.into_iter().chain(folder.read_floats(tensor.name).err()) {
                    prop_assert!(!error.to_string().contains('\n'), "{}", error);
                }
            },
        }
    }
}
