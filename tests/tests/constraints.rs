//! What JSON Schema says of our own schemas, without a model: each is refused by name, or all that can be written within it is
//! valid. The suite that the keywords are named by runs in `cargo xtask schema-keywords`.

use std::fs;

use serde_json::Value;
use weir_tests::{
    constraints::{
        Bytes, Wanted,
        junk::Junk,
        keywords::{self, Keyword, Outcome},
        order,
    },
    manifest,
};

/// Random answers within each schema.
const WALKS: u64 = 10;
/// Tokens of one, at most.
const LONG: usize = 2_000;
/// Made-up schemas and grammars; a hundred thousand in `cargo xtask fuzz-constraints`.
const JUNK: u64 = 300;

#[test]
fn a_keyword_is_enforced_or_refused_by_name() {
    let bytes = Bytes::default();
    let folder = manifest::root().join("tests/corpora/constraints/keywords");
    let mut all = Outcome::default();
    for entry in fs::read_dir(folder).expect("our cases") {
        let keyword = Keyword::read(&entry.expect("a file").path()).expect("our cases");
        let outcome = keyword.check(&bytes, WALKS);
        if keyword.name == "refused" {
            assert_eq!(outcome.refused, outcome.schemas, "{:?}", outcome.failures);
        }
        all.add(&outcome);
    }
    let failures = all.failures.join("\n");
    assert!(
        failures.is_empty(),
        "{} failures:\n{failures}",
        all.failures.len()
    );
    assert!(
        all.refused < all.schemas / 3,
        "{} of {} are refused",
        all.refused,
        all.schemas
    );
    let (valid, written) = all.valid;
    assert_eq!(written, valid, "valid instances that can be written");
}

#[test]
fn the_hundred_schemas_bind() {
    let bytes = Bytes::default();
    let mut schemas = 0;
    for entry in fs::read_dir(manifest::root().join("tests/schemas")).expect("our schemas") {
        let text = fs::read_to_string(entry.expect("a file").path()).expect("a text");
        for line in text.lines() {
            let case: Value = serde_json::from_str(line).expect("a line of JSON");
            let schema = &case["schema"];
            let constraint = bytes.compile(&Wanted::Schema(schema.to_string()));
            let constraint = constraint.unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
            let validator = keywords::validator(schema).expect("a schema");
            for seed in 0..WALKS {
                let walk = bytes.walk(&*constraint, seed, LONG, &mut Default::default());
                let walk = walk.unwrap_or_else(|why| panic!("{}: {why}", case["name"]));
                if walk.ended {
                    let wrong = keywords::invalid(&validator, &walk.text);
                    assert_eq!(wrong, None, "{}, seed {seed}", case["name"]);
                }
            }
            schemas += 1;
        }
    }
    assert_eq!(schemas, 100);
}

#[test]
fn junk_is_refused_or_enforced() {
    let (junk, bytes) = (Junk::read().expect("our data"), Bytes::default());
    let findings = (0..JUNK).filter_map(|seed| {
        let finding = order::finding(&bytes, &junk.wanted(seed), seed)?;
        Some(format!("seed {seed}: {finding}"))
    });
    let findings: Vec<String> = findings.collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}
