//! `weir pull` against a hub of the test's own: what is fetched, what is not fetched again, and what is said when it fails.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    hub::{COMMIT, FakeHub},
    weir::{DEADLINE, Ended, Files, command, finish},
};

const WEIGHTS: &str = "the weights, byte for byte";

/// A model of two shards, and files that are not wanted.
const SHARDED: &[(&str, &str)] = &[
    ("config.json", "{}"),
    ("tokenizer.json", "{\"t\": 1}"),
    ("1_Pooling/config.json", "{\"p\": 1}"),
    ("README.md", "hello"),
    ("pytorch_model.bin", "pickled"),
    ("model.safetensors.index.json", INDEX),
    ("model-00001-of-00002.safetensors", WEIGHTS),
    ("model-00002-of-00002.safetensors", "more weights"),
];
const INDEX: &str = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;

/// Runs `weir pull` with a cache of the test's own and these variables.
fn pull(hub: &FakeHub, files: &Files, model: &str, variables: &[(&str, &str)]) -> Ended {
    let mut command = with_hub(hub, files, ["pull", model]);
    finish(command.envs(variables.iter().copied()).spawn().unwrap())
}

/// A command that asks this hub and nobody else.
fn with_hub(hub: &FakeHub, files: &Files, arguments: [&str; 2]) -> Command {
    let mut command = command(arguments);
    for name in std::env::vars_os().map(|(name, _)| name) {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("HF_") || text.starts_with("HUGG") || text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
    command
        .env("HF_HOME", files.path())
        .env("HF_ENDPOINT", &hub.address);
    command
}

/// The path that a pull which went well prints.
fn pulled(ended: &Ended) -> &Path {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    Path::new(ended.stdout.trim_end())
}

fn says(ended: &Ended, words: &[&str]) {
    let complaint = ended.complaint();
    for word in words {
        assert!(complaint.contains(word), "no `{word}` in: {complaint}");
    }
}

#[test]
fn a_model_is_fetched_once_and_used_offline() {
    let (hub, files) = (FakeHub::start(SHARDED), Files::new());
    let first = pull(&hub, &files, "hf:o/m", &[]);
    let folder = files.path().join("hub/models--o--m");
    let snapshot = folder.join("snapshots").join(COMMIT);
    assert_eq!(pulled(&first), snapshot);
    let last = first.stderr.lines().last().unwrap();
    assert!(
        last.ends_with("to serve it: weir serve --model hf:o/m"),
        "{last}"
    );
    for (name, text) in SHARDED {
        let wanted = !["README.md", "pytorch_model.bin"].contains(name);
        let found = fs::read_to_string(snapshot.join(name)).ok();
        assert_eq!(found.as_deref(), wanted.then_some(*text), "{name}");
    }
    let link = fs::read_link(snapshot.join("1_Pooling/config.json")).unwrap();
    assert!(link.starts_with("../../../blobs"), "{}", link.display());
    assert_eq!(
        fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );
    let left = fs::read_dir(folder.join("blobs")).unwrap().flatten();
    assert_eq!(left.count(), 6, "nothing is left unfinished");

    let list = "hub GET /api/models/o/m/revision/main";
    assert_eq!(hub.asked().iter().filter(|line| *line == list).count(), 1);
    pulled(&pull(&hub, &files, "hf:o/m", &[]));
    assert_eq!(
        hub.asked(),
        [list],
        "the list is all that is asked for again"
    );
    pulled(&pull(&hub, &files, "hf:o/m", &[("HF_HUB_OFFLINE", "1")]));
    let offline = format!("hf:o/m@{COMMIT}");
    pulled(&pull(&hub, &files, &offline, &[("HF_HUB_OFFLINE", "1")]));
    assert!(hub.asked().is_empty());
    let unreachable = pull(
        &hub,
        &files,
        "hf:o/m",
        &[("HF_ENDPOINT", "http://127.0.0.1:1")],
    );
    assert_eq!(pulled(&unreachable), snapshot);
    assert!(
        unreachable
            .stderr
            .contains("using the cache, because cannot reach http://127.0.0.1:1 ("),
        "{}",
        unreachable.stderr
    );
}

#[test]
fn what_the_cache_lacks_is_said_without_a_network() {
    let (hub, files) = (FakeHub::start(SHARDED), Files::new());
    let offline = pull(&hub, &files, "hf:o/m", &[("HF_HUB_OFFLINE", "yes")]);
    says(&offline, &["HF_HUB_OFFLINE", "weir pull hf:o/m", "hub"]);
    let unreachable = pull(
        &hub,
        &files,
        "hf:o/m",
        &[("HF_ENDPOINT", "http://127.0.0.1:1")],
    );
    says(
        &unreachable,
        &["cannot reach http://127.0.0.1:1", "weir pull hf:o/m"],
    );
    assert!(hub.asked().is_empty());
    // All but one shard: what is there is used when the rest comes, and not taken for the whole.
    let snapshot = pull(&hub, &files, "hf:o/m", &[]);
    fs::remove_file(pulled(&snapshot).join("model-00002-of-00002.safetensors")).unwrap();
    let offline = pull(&hub, &files, "hf:o/m", &[("HF_HUB_OFFLINE", "1")]);
    says(&offline, &["does not hold all of it"]);
}

#[test]
fn a_revision_is_fetched_by_its_name() {
    let (hub, files) = (FakeHub::start(SHARDED), Files::new());
    hub.contents().branch = "refs%2Fpr%2F1";
    let ended = pull(&hub, &files, "hf:o/m@refs%2Fpr%2F1", &[]);
    assert!(pulled(&ended).ends_with(COMMIT));
    let noted = files.path().join("hub/models--o--m/refs/refs/pr/1");
    assert_eq!(fs::read_to_string(noted).unwrap(), COMMIT);
    says(
        &pull(&hub, &files, "hf:o/m@v9", &[]),
        &["o/m has no revision v9"],
    );
    says(
        &pull(&hub, &files, "hf:o/other", &[]),
        &["no repository o/other", "HF_TOKEN"],
    );
}

#[test]
fn a_gated_model_takes_a_token_with_access() {
    let (hub, files) = (FakeHub::start(SHARDED), Files::new());
    hub.contents().tokens = vec!["hf_a", "hf_b", "hf_c"];
    let refused = pull(&hub, &files, "hf:o/m", &[]);
    let token_file = files.path().join("token");
    says(
        &refused,
        &[
            "GatedRepo, without a token",
            "HF_TOKEN",
            token_file.to_str().unwrap(),
            "/o/m",
        ],
    );
    let refused = pull(&hub, &files, "hf:o/m", &[("HF_TOKEN", "hf_wrong")]);
    says(&refused, &["403 GatedRepo, with the token given"]);
    assert!(!refused.stderr.contains("hf_wrong"), "a token is not shown");
    for (name, value) in [("HF_TOKEN", " hf_a\n"), ("HUGGING_FACE_HUB_TOKEN", "hf_b")] {
        let files = Files::new();
        pulled(&pull(&hub, &files, "hf:o/m", &[(name, value)]));
    }
    fs::write(&token_file, "hf_c\n").unwrap();
    pulled(&pull(&hub, &files, "hf:o/m", &[]));
    fs::remove_file(&token_file).unwrap();
    pulled(&pull(&hub, &files, "hf:o/m", &[]));
}

#[test]
fn a_broken_download_goes_on_in_the_next_run() {
    let (hub, files) = (FakeHub::start(&[("m.gguf", WEIGHTS)]), Files::new());
    hub.contents().portion = Some(0);
    says(
        &pull(&hub, &files, "hf:o/m", &[]),
        &["m.gguf stopped after 0 bytes", "again"],
    );
    // What a run that was killed leaves behind.
    let blobs = files.path().join("hub/models--o--m/blobs");
    let partial = fs::read_dir(&blobs)
        .unwrap()
        .flatten()
        .next()
        .unwrap()
        .path();
    assert!(partial.to_str().unwrap().ends_with(".incomplete"));
    fs::write(&partial, &WEIGHTS[..4]).unwrap();
    hub.contents().portion = Some(10);
    hub.asked();
    let ended = pull(&hub, &files, "hf:o/m", &[]);
    assert_eq!(fs::read_to_string(pulled(&ended)).unwrap(), WEIGHTS);
    let asked = hub.asked();
    let ranges: Vec<&str> = asked
        .iter()
        .filter_map(|line| line.strip_prefix("files GET /m.gguf?signed from "))
        .collect();
    assert_eq!(ranges, ["4", "14", "24"]);
}

#[test]
fn a_server_that_still_fetches_stops_when_it_is_told() {
    let (hub, files) = (FakeHub::start(&[("m.gguf", WEIGHTS)]), Files::new());
    hub.contents().portion = Some(5);
    hub.contents().stalled = true;
    let mut command = with_hub(&hub, &files, ["--model", "hf:o/m"]);
    let child = command.env("WEIR_PORT", "0").spawn().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while !hub
        .contents()
        .asked
        .iter()
        .any(|line| line.starts_with("files"))
    {
        assert!(
            Instant::now() < deadline,
            "the weights were never asked for"
        );
        thread::sleep(Duration::from_millis(5));
    }
    let stop = format!("kill -TERM {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &stop])
            .status()
            .unwrap()
            .success()
    );
    let told = Instant::now();
    let ended = finish(child);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(told.elapsed() < DEADLINE, "it waited for the hub");
}

#[test]
fn spoilt_weights_are_deleted_and_reported() {
    let (hub, files) = (FakeHub::start(&[("m.gguf", WEIGHTS)]), Files::new());
    hub.contents().spoilt = true;
    let spoilt = pull(&hub, &files, "hf:o/m", &[]);
    says(
        &spoilt,
        &["sha256", "it was deleted, run the same command again"],
    );
    hub.contents().spoilt = false;
    let ended = pull(&hub, &files, "hf:o/m", &[]);
    assert_eq!(fs::read_to_string(pulled(&ended)).unwrap(), WEIGHTS);
}

#[test]
fn one_gguf_of_several_is_named() {
    let ggufs = [("m-Q4_K_M.gguf", "four"), ("m-Q8_0.gguf", "eight")];
    let (hub, files) = (FakeHub::start(&ggufs), Files::new());
    let several = pull(&hub, &files, "hf:o/m", &[]);
    says(
        &several,
        &["name one", ":QUANTIZATION", "m-Q4_K_M.gguf, m-Q8_0.gguf"],
    );
    for (model, text) in [
        ("hf:o/m:q4_k_m", "four"),
        ("hf:o/m@main/m-Q8_0.gguf", "eight"),
    ] {
        let ended = pull(&hub, &files, model, &[]);
        assert_eq!(fs::read_to_string(pulled(&ended)).unwrap(), text);
    }
    says(
        &pull(&hub, &files, "hf:o/m:Q2_K", &[]),
        &["no GGUF file is called Q2_K"],
    );
    says(
        &pull(&hub, &files, "hf:o/m/x.gguf", &[]),
        &["there is no x.gguf"],
    );
}

#[test]
fn a_hub_cannot_lead_out_of_the_cache() {
    let files = Files::new();
    let hub = FakeHub::start(&[("../x.gguf", "x")]);
    says(
        &pull(&hub, &files, "hf:o/m", &[]),
        &["the file `../x.gguf`, which leads out of its folder"],
    );
    let hub = FakeHub::start(&[("x.gguf", "x")]);
    hub.contents().etag = Some("../../../x");
    says(
        &pull(&hub, &files, "hf:o/m", &[]),
        &["x.gguf the etag `../../../x`"],
    );
    let index = r#"{"weight_map": {"a": "../../x.safetensors"}}"#;
    let hub = FakeHub::start(&[
        ("config.json", "{}"),
        ("model.safetensors.index.json", index),
    ]);
    says(
        &pull(&hub, &files, "hf:o/m", &[]),
        &["weight_map", "`../../x.safetensors`"],
    );
    let inside = files.path().join("hub");
    let mut names: Vec<_> = fs::read_dir(files.path())
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .collect();
    assert_eq!(names.pop().as_ref(), Some(&inside));
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn what_is_here_needs_no_fetching() {
    let (hub, files) = (FakeHub::start(&[]), Files::new());
    let file = files.write("m.gguf", "x");
    for model in [file.to_str().unwrap(), files.path().to_str().unwrap()] {
        let ended = pull(&hub, &files, model, &[]);
        assert_eq!(pulled(&ended), file);
        assert!(
            ended.stderr.contains("nothing to fetch"),
            "{}",
            ended.stderr
        );
    }
    files.write("n.gguf", "x");
    let several = pull(&hub, &files, files.path().to_str().unwrap(), &[]);
    says(&several, &["several GGUF files fit", "m.gguf, n.gguf"]);
    let weights = files.write("a.safetensors", "x");
    says(
        &pull(&hub, &files, weights.to_str().unwrap(), &[]),
        &["give the folder"],
    );
    assert!(hub.asked().is_empty());
}
