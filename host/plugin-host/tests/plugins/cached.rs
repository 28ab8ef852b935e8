//! Compiled components are kept, found again, and never trusted when they changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_plugin_host::{Registry, RegistryBuilder};

use crate::{build, echoes, entry, host, session};

/// Loads the hostile plugin with a host of its own on this cache folder, and answers the cache's files.
fn load(cache: &Path) -> Vec<PathBuf> {
    let registry = build(&host(cache, 4), &entry("good", "")).expect("a sound manifest");
    echoes(session(&registry, "good").as_mut(), "it runs");
    files(cache)
}

fn files(cache: &Path) -> Vec<PathBuf> {
    fs::read_dir(cache)
        .expect("a folder")
        .map(|file| file.expect("a file").path())
        .collect()
}

#[test]
fn a_compiled_component_is_found_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("made/on/demand");
    let files = load(&cache);
    let [file] = files.as_slice() else {
        panic!("one file, not {files:?}")
    };
    let written = fs::metadata(file)
        .expect("a file")
        .modified()
        .expect("a time");
    assert_eq!(load(&cache), files);
    assert_eq!(
        fs::metadata(file)
            .expect("a file")
            .modified()
            .expect("a time"),
        written,
        "it was not compiled again"
    );
}

#[test]
fn an_altered_one_is_compiled_anew() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let file = load(cache.path()).remove(0);
    let sound = fs::read(&file).expect("a file");
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    let mut digest = sound.clone();
    digest[0] ^= 1;
    for altered in [
        flipped,
        digest,
        sound[..sound.len() - 1].to_vec(),
        sound[..20].to_vec(),
        Vec::new(),
    ] {
        fs::write(&file, &altered).expect("written over");
        assert_eq!(load(cache.path()), std::slice::from_ref(&file));
        let repaired = fs::read(&file).expect("a file");
        assert!(
            repaired != altered && repaired.len() == sound.len(),
            "it was compiled and written anew"
        );
    }
}

#[test]
fn the_code_of_another_component_is_refused() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let hostile = load(cache.path()).remove(0);
    let empty = tempfile::tempdir().expect("a temporary folder");
    fs::write(empty.path().join("x.wasm"), b"\0asm\x0d\0\x01\0").expect("a file");
    fs::write(
        empty.path().join("x.toml"),
        "[x]\nkind = \"parser\"\nwasm = \"x.wasm\"",
    )
    .expect("a file");
    let registry = Registry::builder(&host(cache.path(), 4))
        .manifest_file(&empty.path().join("x.toml"))
        .and_then(RegistryBuilder::build)
        .expect("a sound manifest");
    assert!(
        registry.parser("x").is_err(),
        "an empty component is compiled, then refused"
    );
    let files = files(cache.path());
    let other = files
        .iter()
        .find(|file| **file != hostile)
        .expect("the empty component's code");

    let sound = fs::read(&hostile).expect("a file");
    fs::copy(other, &hostile).expect("sound code in the wrong place");
    load(cache.path());
    assert_eq!(
        fs::read(&hostile).expect("a file").len(),
        sound.len(),
        "it was compiled anew"
    );
}

#[cfg(unix)]
#[test]
fn a_folder_open_to_others_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let cache = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
    assert_eq!(load(cache.path()), Vec::<PathBuf>::new());
}
