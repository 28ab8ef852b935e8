//! Made-up schemas, patterns and grammars: a short run of what `weir_tests::grammars` makes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weir_tests::grammars::{Bytes, Case, Judge, Outcome};

const CASES: u64 = 600;

#[test]
fn every_case_is_refused_or_answered() {
    let cases = std::env::var("CASES").map_or(CASES, |cases| cases.parse().expect("a number"));
    let judge = Judge::new();
    let (mut refused, mut written) = (0, 0);
    for seed in 0..cases {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let bytes: Vec<u8> = (0..900).map(|_| random.random()).collect();
        let mut bytes = Bytes::new(&bytes);
        let case = Case::new(&mut bytes);
        match judge.check(&case, &mut bytes) {
            Ok(Outcome::Refused(_)) => refused += 1,
            Ok(Outcome::Written(_)) => written += 1,
            Ok(Outcome::Endless) => {}
            Err(problem) => panic!("seed {seed}: {problem}"),
        }
    }
    println!("{cases} cases: {refused} refused, {written} written to their end");
    assert!(
        refused > cases / 20 && written > cases / 5,
        "{refused} refused, {written} written"
    );
}
