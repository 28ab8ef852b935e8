//! A name stands for one plugin, and an unknown one is answered with the known.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use weir_output::OnError;
use weir_plugin_host::{
    AdHocPlugin, ChosenBy, PluginHostError as Error, PluginKind, PluginState, Registry,
    RegistryBuilder, Role,
};

use crate::{HOST, HOSTILE, echoes, embedded, entry, registry, session};

/// A user's manifest in a folder, with the component it names.
fn user(manifest: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("hostile.wasm"), HOSTILE).expect("a file");
    let path = folder.path().join("mine.toml");
    fs::write(&path, manifest).expect("a file");
    (folder, path)
}

fn with_user(first_party: &str, path: &Path) -> Result<Registry, Error> {
    first_party_and(first_party)?.manifest_file(path)?.build()
}

fn first_party_and(manifest: &str) -> Result<RegistryBuilder, Error> {
    Registry::builder(&HOST.0).embedded(manifest, embedded)
}

/// The names of all parsers.
fn parsers(registry: &Registry) -> Vec<String> {
    let all = registry.status().into_iter();
    let parsers = all.filter(|plugin| plugin.kind == PluginKind::Parser);
    parsers.map(|plugin| plugin.name).collect()
}

#[test]
fn an_alias_is_the_same_plugin() {
    let registry = registry(&entry("qwen25", "aliases = [\"hermes\", \"qwen\"]"));
    let by_name = registry.parser("qwen25").expect("by name");
    let by_alias = registry.parser("hermes").expect("by alias");
    assert!(Arc::ptr_eq(&by_name, &by_alias));
    assert_eq!(registry.canonical_name("qwen").expect("known"), "qwen25");
    assert_eq!(parsers(&registry), ["qwen25"]);
}

#[test]
fn an_unknown_name_lists_the_known_and_the_near() {
    let manifest = entry("qwen25", "aliases = [\"hermes\"]") + &entry("deepseek_v3", "");
    let registry = registry(&manifest);
    let cases = [
        (
            "deepseek_v",
            "no parser is called `deepseek_v`, did you mean `deepseek_v3`?; known: deepseek_v3, qwen25",
        ),
        (
            "Hermse",
            "no parser is called `Hermse`, did you mean `hermes`?; known: deepseek_v3, qwen25",
        ),
        (
            "llama3",
            "no parser is called `llama3`; known: deepseek_v3, qwen25",
        ),
    ];
    for (name, message) in cases {
        assert_eq!(
            registry.parser(name).err().expect("unknown").to_string(),
            message
        );
    }
    assert!(
        registry
            .on_error("llama3")
            .unwrap_err()
            .to_string()
            .starts_with("no plugin is called")
    );
    let error = registry.post_processor("qwen25").err().expect("a parser");
    assert_eq!(
        error.to_string(),
        "plugin `qwen25` is a parser, not a post-processor"
    );
}

#[test]
fn a_name_twice_is_refused_wherever_it_stands() {
    let alias_of_other = entry("a", "") + &entry("b", "aliases = [\"a\"]");
    let alias_twice = entry("a", "aliases = [\"c\"]") + &entry("b", "aliases = [\"c\"]");
    let own_alias = entry("a", "aliases = [\"a\"]");
    for manifest in [alias_of_other, alias_twice, own_alias] {
        let error = first_party_and(&manifest)
            .and_then(RegistryBuilder::build)
            .err()
            .expect("taken twice");
        assert!(matches!(error, Error::Duplicate { .. }), "{error}");
    }
    let error = first_party_and(&(entry("a", "") + &entry("a", "")))
        .err()
        .expect("taken twice");
    assert!(matches!(error, Error::Manifest { .. }), "{error}");

    let (_folder, path) = user(&entry("hermes", ""));
    let error = with_user(&entry("qwen25", "aliases = [\"hermes\"]"), &path)
        .err()
        .expect("taken twice");
    let message = error.to_string();
    assert!(
        message.contains("`qwen25` in the built-in plugins.toml") && message.contains("mine.toml"),
        "{message}"
    );
}

#[test]
fn a_users_plugin_replaces_a_first_party_one_only_when_it_says_so() {
    let first_party = entry("x", "");
    let (_folder, path) = user(&entry("x", "on_error = \"passthrough\""));
    assert!(matches!(
        with_user(&first_party, &path),
        Err(Error::Duplicate { .. })
    ));
    let (_folder, path) = user(&entry("x", "on_error = \"passthrough\"\nreplace = true"));
    let registry = with_user(&first_party, &path).expect("it says so");
    assert_eq!(registry.on_error("x").expect("known"), OnError::Passthrough);
    echoes(session(&registry, "x").as_mut(), "from the user's file");
}

#[test]
fn a_single_file_needs_no_manifest() {
    let (folder, _) = user("");
    let written = format!("mine={}", folder.path().join("hostile.wasm").display());
    let plugin: AdHocPlugin = written.parse().expect("NAME=FILE");
    let registry = first_party_and("")
        .and_then(|builder| builder.ad_hoc(&plugin)?.build())
        .expect("a parser");
    assert_eq!(parsers(&registry), ["mine"]);
    echoes(session(&registry, "mine").as_mut(), "ad hoc");
    for wrong in ["mine", "=x.wasm", "mine=", "a b=x.wasm"] {
        assert!(
            matches!(wrong.parse::<AdHocPlugin>(), Err(Error::AdHoc(_))),
            "{wrong}"
        );
    }
}

#[test]
fn a_model_finds_its_parsers_by_role() {
    let reasoning = "config = { role = \"reasoning\" }";
    let first_party = [
        entry(
            "deepseek_v3",
            "models = [\"*deepseek*v3*\", \"*deepseek*r1*\"]",
        ),
        entry(
            "deepseek_r1",
            &format!("models = [\"*deepseek*r1*\"]\n{reasoning}"),
        ),
        entry("qwen25", "models = [\"*qwen3*\"]"),
        entry("qwen3_coder", "models = [\"*qwen3*coder*\"]"),
    ]
    .concat();
    let (_folder, path) = user(
        &(entry("mine", "models = [\"*SmolLM*\"]") + &entry("other", "models = [\"*gemma*\"]")),
    );
    let registry = with_user(
        &(first_party + &entry("gemma4", "models = [\"*gemma*4*\"]")),
        &path,
    )
    .expect("sound");
    let cases = [
        (
            "deepseek-ai/DeepSeek-R1-0528",
            Role::Tools,
            Some("deepseek_v3"),
        ),
        (
            "deepseek-ai/DeepSeek-R1-0528",
            Role::Reasoning,
            Some("deepseek_r1"),
        ),
        ("Qwen/Qwen3-8B", Role::Tools, Some("qwen25")),
        ("Qwen/Qwen3-Coder-30B", Role::Tools, Some("qwen3_coder")),
        ("Qwen/Qwen3-8B", Role::Reasoning, None),
        ("smollm2-135m", Role::Tools, Some("mine")),
        ("google/gemma-4", Role::Tools, Some("other")),
        ("gpt2", Role::Tools, None),
    ];
    for (model, role, expected) in cases {
        let chosen = registry.for_model(model, None, role).expect("they load");
        let expected = expected.map(|name| (name, ChosenBy::ModelName));
        assert_eq!(chosen, expected, "{model} {role:?}");
    }
}

#[test]
fn a_chat_template_says_more_than_a_name() {
    let first_party = [
        entry(
            "qwen25",
            "models = [\"*qwen3*\"]\nchat_templates = [\"<tool_call>\"]",
        ),
        entry(
            "qwen3_coder",
            "chat_templates = [[\"<tool_call>\", \"<function=\"]]",
        ),
        entry("llama3", "models = [\"*llama*\"]"),
    ];
    let registry = first_party_and(&first_party.concat())
        .and_then(RegistryBuilder::build)
        .expect("sound");
    let choice = |model: &str, template: &str| {
        registry
            .for_model(model, Some(template), Role::Tools)
            .expect("they load")
    };
    let by_template = |name| Some((name, ChosenBy::ChatTemplate));
    assert_eq!(
        choice("my-tune", "write <tool_call>"),
        by_template("qwen25")
    );
    assert_eq!(
        choice("my-tune", "write <tool_call> and <function=name>"),
        by_template("qwen3_coder")
    );
    assert_eq!(
        choice("llama-3-hermes", "write <tool_call>"),
        by_template("qwen25")
    );
    assert_eq!(
        choice("llama-3", "write"),
        Some(("llama3", ChosenBy::ModelName))
    );
    assert_eq!(choice("my-tune", "write"), None);
}

#[test]
fn a_status_tells_how_far_a_plugin_has_come() {
    let manifest = entry("good", "aliases = [\"fine\"]") + &entry("pinned", "sha256 = \"00\"");
    let registry = first_party_and(&manifest)
        .and_then(RegistryBuilder::build)
        .expect("sound");
    let state = |index: usize| registry.status().remove(index).state;
    assert_eq!(state(0), PluginState::NotLoaded);
    registry.load("fine").expect("it loads");
    let PluginState::Loaded(facts) = state(0) else {
        panic!("it was loaded")
    };
    assert_eq!(
        (facts.bytes, facts.contract, facts.sha256.len()),
        (HOSTILE.len() as u64, "weir:plugin/parser@0.1.0", 64)
    );
    let error = registry.load("pinned").expect_err("another file");
    assert_eq!(state(1), PluginState::Failed(error.to_string()));
}
