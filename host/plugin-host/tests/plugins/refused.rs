//! What is no plugin is refused at load, with the error that says why.

use std::fs::{self, File};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasm_encoder::{
    Component, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentInstanceSection, ComponentTypeRef, ComponentTypeSection, ComponentValType,
};
use weir_plugin_host::{PluginHostError as Error, Registry};

use crate::{HOST, HOSTILE};

const PARSER: &str = "weir:plugin/parser@0.1.0";

/// The error of loading these bytes as a plugin of this kind, with more manifest keys.
fn refusal(kind: &str, bytes: &[u8], more: &str) -> Error {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("x.wasm"), bytes).expect("a file");
    load(&folder, kind, more).expect_err("it is refused")
}

fn load(folder: &TempDir, kind: &str, more: &str) -> Result<(), Error> {
    let manifest = folder.path().join("plugins.toml");
    fs::write(
        &manifest,
        format!("[x]\nkind = \"{kind}\"\nwasm = \"x.wasm\"\n{more}\n"),
    )
    .expect("a file");
    let registry = Registry::builder(&HOST.0)
        .manifest_file(&manifest)?
        .build()?;
    if kind == "parser" {
        registry.parser("x").map(drop)
    } else {
        registry.post_processor("x").map(drop)
    }
}

/// A component that exports an empty interface of this name.
fn exporting(interface: &str) -> Vec<u8> {
    let mut instances = ComponentInstanceSection::new();
    instances.export_items::<&str, _>([]);
    let mut exports = ComponentExportSection::new();
    exports.export(interface, ComponentExportKind::Instance, 0, None);
    let mut component = Component::new();
    component.section(&instances);
    component.section(&exports);
    component.finish()
}

/// A component that imports a function.
fn importing(function: &str) -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    types
        .function()
        .params::<[(&str, ComponentValType); 0], _>([])
        .result(None);
    let mut imports = ComponentImportSection::new();
    imports.import(function, ComponentTypeRef::Func(0));
    let mut component = Component::new();
    component.section(&types);
    component.section(&imports);
    component.finish()
}

#[test]
fn bytes_that_are_no_component() {
    let core_module = b"\0asm\x01\0\0\0";
    for (bytes, what) in [
        (core_module.as_slice(), "a core module"),
        (b"(component)", "not WebAssembly"),
        (b"", "not W"),
    ] {
        let error = refusal("parser", bytes, "");
        assert!(matches!(error, Error::NotAComponent { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_truncated_file() {
    for length in [9, HOSTILE.len() / 2, HOSTILE.len() - 1] {
        let error = refusal("parser", &HOSTILE[..length], "");
        assert!(
            matches!(error, Error::Invalid { .. }),
            "{length} bytes: {error}"
        );
    }
}

#[test]
fn a_component_that_wants_something_of_the_host() {
    let error = refusal("parser", &importing("read-secrets"), "");
    assert!(
        matches!(&error, Error::Imports { imports, .. } if imports == &["read-secrets"]),
        "{error}"
    );
}

#[test]
fn the_wrong_world() {
    let nothing = b"\0asm\x0d\0\x01\0";
    let error = refusal("parser", nothing, "");
    assert_eq!(
        error.to_string(),
        format!("plugin `x`: it exports no {PARSER}; it exports nothing")
    );
    let error = refusal("post-processor", HOSTILE, "");
    assert!(
        matches!(&error, Error::WrongWorld { exports, .. } if exports == &[PARSER]),
        "{error}"
    );
}

#[test]
fn a_contract_version_this_host_does_not_speak() {
    let error = refusal("parser", &exporting("weir:plugin/parser@9.0.0"), "");
    assert!(
        matches!(&error, Error::WrongWorld { exports, .. } if exports == &["weir:plugin/parser@9.0.0"]),
        "{error}"
    );
}

#[test]
fn the_right_name_with_the_wrong_functions() {
    let error = refusal("parser", &exporting(PARSER), "");
    assert!(
        matches!(
            &error,
            Error::WrongTypes {
                interface: PARSER,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn bytes_other_than_the_pinned() {
    let digest: String = Sha256::digest(HOSTILE)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let pin = format!("sha256 = \"{digest}\"");
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("x.wasm"), HOSTILE).expect("a file");
    load(&folder, "parser", &pin).expect("the pinned bytes load");

    let mut altered = HOSTILE.to_vec();
    *altered.last_mut().expect("bytes") ^= 1;
    let error = refusal("parser", &altered, &pin);
    assert!(matches!(error, Error::Sha256Mismatch { .. }), "{error}");
    let error = refusal("parser", HOSTILE, "sha256 = \"\"");
    assert!(
        matches!(error, Error::Sha256Mismatch { .. }),
        "an empty pin pins nothing: {error}"
    );
}

#[test]
fn files_missing_or_too_large() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = load(&folder, "parser", "").expect_err("no file");
    assert!(matches!(error, Error::Read { .. }), "{error}");
    let file = File::create(folder.path().join("x.wasm")).expect("a file");
    file.set_len((64 << 20) + 1).expect("a sparse file");
    let error = load(&folder, "parser", "").expect_err("too large");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let missing = crate::registry("[x]\nkind = \"parser\"\nwasm = \"other.wasm\"");
    let error = missing.parser("x").err().expect("not in the binary");
    assert!(matches!(error, Error::NotEmbedded { .. }), "{error}");
}
