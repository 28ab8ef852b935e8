//! Passes, turns and bounds, over a runner that says which texts it was given and computes when it is let.

use std::sync::mpsc;

use super::*;

/// A text's vector is its first token; each pass waits for a permit and is told.
struct Gated {
    permits: mpsc::Receiver<()>,
    passes: mpsc::Sender<Vec<u32>>,
}

const INFO: EmbeddingInfo = EmbeddingInfo {
    dimensions: 1,
    max_tokens: PASS_TOKENS * 2,
    vocab_size: 1000,
};

/// A token that the runner fails on.
const FAILS: u32 = 999;
/// A token that the runner panics on.
const PANICS: u32 = 998;

impl EmbeddingRunner for Gated {
    fn info(&self) -> &EmbeddingInfo {
        &INFO
    }

    fn embed(&mut self, texts: &[&[u32]]) -> Vectors {
        let firsts: Vec<u32> = texts.iter().map(|text| text[0]).collect();
        self.passes.send(firsts.clone()).unwrap();
        self.permits.recv().unwrap();
        assert!(!firsts.contains(&PANICS));
        if firsts.contains(&FAILS) {
            return Err(EngineError::Runner("told to".to_owned()));
        }
        Ok(firsts.iter().map(|first| vec![*first as f32]).collect())
    }
}

struct Bench {
    handle: EmbeddingHandle,
    permits: mpsc::Sender<()>,
    passes: mpsc::Receiver<Vec<u32>>,
}

fn bench(max_queue: usize) -> Bench {
    let (permits, permitted) = mpsc::channel();
    let (told, passes) = mpsc::channel();
    let runner = Gated {
        permits: permitted,
        passes: told,
    };
    Bench {
        handle: EmbeddingHandle::spawn(Box::new(runner), max_queue).unwrap(),
        permits,
        passes,
    }
}

/// Texts of `len` tokens with these first tokens.
fn texts(firsts: &[u32], len: usize) -> Vec<Vec<u32>> {
    let text = |first: &u32| [vec![*first], vec![0; len - 1]].concat();
    firsts.iter().map(text).collect()
}

impl Bench {
    fn submit(&self, firsts: &[u32], len: usize) -> oneshot::Receiver<Vectors> {
        self.handle.submit(texts(firsts, len)).unwrap()
    }

    /// Lets a pass go and returns the next one's texts.
    fn next(&self) -> Vec<u32> {
        self.permits.send(()).unwrap();
        self.passes.recv().unwrap()
    }
}

#[test]
fn requests_take_turns_and_answers_keep_their_order() {
    let bench = bench(10);
    let half = PASS_TOKENS / 2;
    let many = bench.submit(&[1, 2, 3, 4, 5], half);
    assert_eq!(bench.passes.recv().unwrap(), [1, 2]);
    let one = bench.submit(&[6], half);
    let two = bench.submit(&[7, 8], half);
    assert_eq!(bench.next(), [3, 6]);
    assert_eq!(bench.next(), [7, 4]);
    assert_eq!(bench.next(), [8, 5]);
    bench.permits.send(()).unwrap();
    for (receiver, firsts) in [
        (many, &[1.0, 2.0, 3.0, 4.0, 5.0][..]),
        (one, &[6.0]),
        (two, &[7.0, 8.0]),
    ] {
        let vectors = receiver.blocking_recv().unwrap().unwrap();
        assert_eq!(vectors.concat(), firsts);
    }
}

#[test]
fn a_text_longer_than_a_pass_goes_alone() {
    let bench = bench(10);
    let first = bench.submit(&[1], 1);
    assert_eq!(bench.passes.recv().unwrap(), [1]);
    let rest = bench.submit(&[2, 3], PASS_TOKENS * 2);
    assert_eq!(bench.next(), [2]);
    assert_eq!(bench.next(), [3]);
    bench.permits.send(()).unwrap();
    assert!(first.blocking_recv().unwrap().is_ok() && rest.blocking_recv().unwrap().is_ok());
}

#[test]
fn a_full_queue_refuses_and_has_room_again() {
    let bench = bench(1);
    let first = bench.submit(&[1], 1);
    let refused = bench.handle.submit(texts(&[2], 1)).unwrap_err();
    assert_eq!(
        refused,
        EngineError::QueueFull {
            queued: 1,
            limit: 1
        }
    );
    bench.permits.send(()).unwrap();
    first.blocking_recv().unwrap().unwrap();
    drop(bench.submit(&[3], 1));
}

#[test]
fn who_is_gone_is_not_computed() {
    let bench = bench(10);
    let gone = bench.submit(&[1, 2, 3, 4], PASS_TOKENS);
    assert_eq!(bench.passes.recv().unwrap(), [1]);
    let also_gone = bench.submit(&[5], 1);
    let stays = bench.submit(&[6], 1);
    drop((gone, also_gone));
    assert_eq!(bench.next(), [6]);
    bench.permits.send(()).unwrap();
    assert_eq!(stays.blocking_recv().unwrap().unwrap(), [[6.0]]);
    assert_eq!(bench.handle.inner.shared.lock().unfinished, 0);
}

#[test]
fn a_failed_pass_fails_its_requests_alone() {
    let bench = bench(10);
    let first = bench.submit(&[1], 1);
    bench.passes.recv().unwrap();
    let fails = bench.submit(&[FAILS, 2], PASS_TOKENS);
    let after = bench.submit(&[3], 1);
    assert_eq!(bench.next(), [FAILS]);
    assert_eq!(bench.next(), [3]);
    bench.permits.send(()).unwrap();
    assert!(first.blocking_recv().unwrap().is_ok());
    assert_eq!(
        fails.blocking_recv().unwrap(),
        Err(EngineError::Runner("told to".to_owned()))
    );
    assert!(after.blocking_recv().unwrap().is_ok());
}

#[test]
fn after_a_panic_nobody_waits() {
    let bench = bench(10);
    let panics = bench.submit(&[PANICS], 1);
    bench.permits.send(()).unwrap();
    assert!(panics.blocking_recv().is_err());
    // The channel closes while the thread unwinds; a moment later it says so to all.
    while bench
        .handle
        .submit(texts(&[1], 1))
        .is_ok_and(|receiver| receiver.blocking_recv().is_err())
    {}
    assert_eq!(
        bench.handle.submit(texts(&[1], 1)).unwrap_err(),
        EngineError::Stopped
    );
}
