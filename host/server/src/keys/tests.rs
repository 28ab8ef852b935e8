//! Keys, their file and their limits, without HTTP.

use std::path::PathBuf;

use super::*;

/// SHA-256 of `secret`, by `printf secret | sha256sum`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn write(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("writes");
    (folder, path)
}

fn ring(keys: Vec<ApiKey>) -> KeyRing {
    let ring = KeyRing::new(Vec::new());
    ring.replace_file(keys);
    ring
}

fn limited(limits: KeyLimits) -> ApiKey {
    let mut key = ApiKey::plain("a", "secret");
    key.limits = limits;
    key
}

fn caller(ring: &KeyRing) -> Caller {
    ring.caller(["secret"].into_iter())
        .expect("the key is known")
}

#[test]
fn files_of_every_kind_say_the_same() {
    let files = [
        (
            "k.toml",
            format!(
                "[[keys]]\nname = 'a'\nsha256 = '{SECRET}'\nmax_concurrency = 2\nrequests_per_minute = 60\ntokens_per_minute = 9\nmodels = ['m']\n\
                 [[keys]]\nname = 'b'\nkey = 'other'\nadmin = true\n"
            ),
        ),
        (
            "k.yaml",
            format!(
                "keys:\n- {{name: a, sha256: '{SECRET}', max_concurrency: 2, requests_per_minute: 60, tokens_per_minute: 9, models: [m]}}\n\
                 - {{name: b, key: other, admin: true}}\n"
            ),
        ),
        (
            "k.json",
            format!(
                r#"{{"keys": [{{"name": "a", "sha256": "{}", "max_concurrency": 2, "requests_per_minute": 60, "tokens_per_minute": 9,
                 "models": ["m"]}}, {{"name": "b", "key": "other", "admin": true}}]}}"#,
                SECRET.to_uppercase()
            ),
        ),
    ];
    for (name, text) in files {
        let (_folder, path) = write(name, &text);
        let ring = ring(read(&path).expect(name));
        let a = caller(&ring);
        let expected = KeyLimits {
            max_concurrency: Some(2),
            requests_per_minute: Some(60),
            tokens_per_minute: Some(9),
            models: Some(vec!["m".to_owned()]),
        };
        assert_eq!(
            (a.name(), a.limits()),
            (Some("a"), Some(&expected)),
            "{name}"
        );
        let b = ring
            .caller(["none", "other"].into_iter())
            .expect("the second is known");
        assert!(!a.is_admin() && b.is_admin() && b.may_call());
        assert_eq!(b.limits(), Some(&KeyLimits::default()));
        assert!(ring.caller(["Secret", ""].into_iter()).is_none());
    }
}

#[test]
fn any_other_file_has_a_key_a_line() {
    let (_folder, path) = write("secrets", "# ours\none\n\n two \n");
    let ring = ring(read(&path).expect("reads"));
    let two = ring.caller(["two"].into_iter()).expect("the key is known");
    assert_eq!(two.name(), Some("secrets:4"));
    assert!(ring.caller(["# ours"].into_iter()).is_none());
}

/// A file and words of the complaint, which never says a key.
const WRONG: [(&str, &str, &str); 16] = [
    ("k.toml", "keys = []\n", "holds no key"),
    ("k.toml", "", "keys"),
    ("empty", "# none\n", "holds no key"),
    ("k.toml", "[[keys]]\nkey = 'hunter2'\n", "name"),
    (
        "k.toml",
        "[[keys]]\nname = 'a'\n",
        "`a` needs either sha256 or key",
    ),
    (
        "k.toml",
        "[[keys]]\nname = 'a'\nkey = 'hunter2'\nsha256 = 'x'\n",
        "either",
    ),
    (
        "k.toml",
        "[[keys]]\nname = 'a'\nsha256 = 'hunter2'\n",
        "64 hexadecimal digits",
    ),
    (
        "k.toml",
        "[[keys]]\nname = 'a'\nkey = ''\n",
        "the key of `a`",
    ),
    (
        "k.yaml",
        "keys: [{name: a, key: 20262026}]\n",
        "the key of `a` is no text",
    ),
    ("k.yaml", "hunter2\n", "must hold a list `keys`"),
    (
        "k.json",
        "{\"keys\": [{\"name\": \"a\", \"key\": \"hunter2\", \"admn\": true}]}",
        "admn",
    ),
    ("k.json", "{\"keys\": [", "line 1"),
    (
        "k.toml",
        "[[keys]]\nname = 'a b'\nkey = 'hunter2'\n",
        "`a b` names no key",
    ),
    (
        "k.toml",
        "[[keys]]\nname = 'a'\nkey = 'hunter2'\nmax_concurrency = 0\n",
        "max_concurrency of `a`",
    ),
    (
        "k.toml",
        "[[keys]]\nname = 'a'\nkey = 'hunter2'\n[[keys]]\nname = 'a'\nkey = 'y'\n",
        "two keys are named `a`",
    ),
    (
        "k.toml",
        "[[keys]]\nname = 'a'\nkey = 'hunter2'\n[[keys]]\nname = 'b'\nkey = 'hunter2'\n",
        "`b` is another's too",
    ),
];

#[test]
fn what_is_wrong_is_named_and_no_key_is_said() {
    for (name, text, part) in WRONG {
        let (_folder, path) = write(name, text);
        let error = read(&path).expect_err(text).to_string();
        assert!(
            error.contains(part) && error.contains(name),
            "{text}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(
            !error.contains("hunter2") && !error.contains("2026"),
            "{error}"
        );
    }
    let missing = read(std::path::Path::new("nowhere.toml")).expect_err("no file");
    assert_eq!(missing.to_string(), "nowhere.toml: no such file");
}

#[test]
fn a_new_key_is_known_by_its_entry() {
    let (key, entry) = new_entry("alice").expect("a name");
    assert!(!entry.contains(&key), "{entry}");
    let (_folder, path) = write("k.toml", &entry);
    let ring = ring(read(&path).expect("reads"));
    let alice = ring
        .caller([key.as_str()].into_iter())
        .expect("the key is known");
    assert_eq!(alice.name(), Some("alice"));
    assert_ne!(new_entry("alice").expect("a name").0, key);
    assert!(new_entry("a\nb").is_err());
}

#[test]
fn running_requests_are_counted_until_they_are_dropped() {
    let limits = KeyLimits {
        max_concurrency: Some(2),
        ..KeyLimits::default()
    };
    let ring = ring(vec![limited(limits.clone())]);
    let first = caller(&ring).begin().expect("one");
    let _second = caller(&ring).begin().expect("two");
    let third = caller(&ring).begin().err().expect("no third");
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    // A reload does not forget what runs.
    ring.replace_file(vec![limited(limits)]);
    assert!(caller(&ring).begin().is_err());
    drop(first);
    assert!(caller(&ring).begin().is_ok());
}

#[test]
fn tokens_are_taken_before_and_while_they_come() {
    let limits = KeyLimits {
        tokens_per_minute: Some(100),
        ..KeyLimits::default()
    };
    let ring = ring(vec![limited(limits)]);
    let caller = caller(&ring);
    let never = caller
        .charge_prompt(101)
        .expect_err("more than a minute has");
    assert_eq!(never.status(), StatusCode::BAD_REQUEST);
    caller.charge_prompt(60).expect("there are 100");
    caller.charge_generated(60);
    let later = caller.charge_prompt(1).expect_err("20 too many are taken");
    assert_eq!(later.status(), StatusCode::TOO_MANY_REQUESTS);
    Caller::anonymous()
        .charge_prompt(usize::MAX)
        .expect("nobody has no limit");
}

#[test]
fn a_model_may_be_asked_by_the_name_that_is_listed() {
    let limits = KeyLimits {
        models: Some(vec!["small".to_owned()]),
        ..KeyLimits::default()
    };
    let ring = ring(vec![limited(limits)]);
    let caller = caller(&ring);
    for (asked, id, may) in [
        (Some("small"), "small", true),
        (None, "small", true),
        (Some("alias"), "small", true),
        (Some("small"), "real", true),
        (Some("large"), "large", false),
        (None, "large", false),
    ] {
        assert_eq!(caller.check_model(asked, id).is_ok(), may, "{asked:?} {id}");
    }
}

#[test]
fn fixed_keys_outlive_the_file() {
    let ring = KeyRing::new(vec![ApiKey::admin("admin-key-1", "root")]);
    assert!(ring.guards_admin() && !ring.guards_api());
    ring.replace_file(vec![ApiKey::plain("a", "secret")]);
    assert!(ring.guards_api());
    ring.replace_file(Vec::new());
    assert!(ring.guards_admin() && ring.caller(["secret"].into_iter()).is_none());
    assert!(!ring.caller(["root"].into_iter()).expect("known").may_call());
}

#[test]
fn nothing_prints_a_key_or_its_hash() {
    let shown = format!("{:?}", ApiKey::plain("a", "secret"));
    assert!(
        !shown.contains("secret") && !shown.contains("2b") && !shown.contains("43"),
        "{shown}"
    );
}

#[test]
fn the_example_is_a_file_of_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/keys.toml");
    let keys = read(std::path::Path::new(path)).expect("reads");
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["alice", "operator"]);
    assert_eq!(keys[0].limits.tokens_per_minute, Some(100_000));
    assert!(!keys[0].admin && keys[1].admin);
}
