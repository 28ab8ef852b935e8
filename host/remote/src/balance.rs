//! Which upstream gets a request: the one that saw such a prompt before, unless it has much more to do than the others.
//!
//! A prompt's head blocks and an upstream's name make a number, and the upstream with the highest is the prompt's own
//! (rendezvous hashing): an upstream that comes or goes moves no other prompts, and several servers in front of the same
//! upstreams agree. One that has more than its share to do is passed over for the next (consistent hashing with bounded loads).
//! A prompt without a whole block has no upstream of its own: it goes where the fewest tokens are outstanding.

use sha2::{Digest, Sha256};

/// Tokens of a block, and how many of a prompt's first blocks count: enough to tell system prompts apart, too few to tell
/// apart the turns of a conversation.
const BLOCK: usize = 64;
const HEAD_BLOCKS: usize = 4;
/// Outstanding tokens that an upstream may have beside its share, a quarter more than the average.
const HEADROOM: usize = 4096;

/// What a prompt's upstream is found by; None for a prompt that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head([u8; 32]);

impl Head {
    /// Of a prompt's token ids.
    pub(crate) fn of(prompt: &[u32]) -> Option<Self> {
        let blocks = (prompt.len() / BLOCK).min(HEAD_BLOCKS);
        let mut hash = Sha256::new();
        for token in &prompt[..blocks * BLOCK] {
            hash.update(token.to_le_bytes());
        }
        (blocks > 0).then(|| Self(hash.finalize().into()))
    }

    /// How much an upstream is this prompt's own.
    pub(crate) fn score(&self, upstream: &str) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(upstream);
        let digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first)
    }
}

/// An upstream that may get a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Which it is, for whoever asks.
    pub(crate) index: usize,
    /// How much it is the prompt's own; the same for all where the prompt has none.
    pub(crate) score: u64,
    /// Tokens that are still to come of its sequences.
    pub(crate) outstanding: usize,
}

/// The index of the one that gets it; None without candidates. `turn` chooses among those that are alike.
pub(crate) fn choose(mut candidates: Vec<Candidate>, affine: bool, turn: usize) -> Option<usize> {
    let count = candidates.len();
    if count == 0 {
        return None;
    }
    candidates.rotate_left(turn % count);
    if affine {
        let total: usize = candidates.iter().map(|one| one.outstanding).sum();
        let most = total / count + total / count / 4 + HEADROOM;
        candidates.retain(|one| one.outstanding <= most);
        // Whoever has the least has no more than the average: somebody is left.
        return candidates
            .iter()
            .max_by_key(|one| one.score)
            .map(|one| one.index);
    }
    candidates
        .iter()
        .min_by_key(|one| one.outstanding)
        .map(|one| one.index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(head: &Head, loads: &[usize]) -> Vec<Candidate> {
        let loads = loads.iter().enumerate();
        loads
            .map(|(index, &outstanding)| Candidate {
                index,
                score: head.score(&format!("http://engine-{index}")),
                outstanding,
            })
            .collect()
    }

    #[test]
    fn short_prompts_go_where_the_least_is_outstanding() {
        assert_eq!(Head::of(&[7; BLOCK - 1]), None);
        let one = |index, outstanding| Candidate {
            index,
            score: 0,
            outstanding,
        };
        let loads = vec![one(0, 9), one(1, 3), one(2, 3)];
        assert_eq!(choose(loads.clone(), false, 0), Some(1));
        assert_eq!(choose(loads, false, 2), Some(2), "in turn");
        assert_eq!(choose(Vec::new(), true, 5), None);
    }

    #[test]
    fn only_whole_head_blocks_count() {
        let prompt: Vec<u32> = (0..1000).collect();
        let head = Head::of(&prompt);
        assert_eq!(head, Head::of(&prompt[..BLOCK * HEAD_BLOCKS]));
        assert_ne!(head, Head::of(&prompt[..BLOCK * HEAD_BLOCKS - 1]));
        assert_eq!(Head::of(&prompt[..BLOCK + 3]), Head::of(&prompt[..BLOCK]));
    }

    proptest! {
        /// Without another it is the same one, whoever else is there and however the list is turned.
        #[test]
        fn a_prompt_keeps_its_upstream(token: u32, count in 2usize..9, gone in 0usize..9, turns: (usize, usize)) {
            let head = Head::of(&[token; BLOCK]).expect("a whole block");
            let all = candidates(&head, &vec![0; count]);
            let own = choose(all.clone(), true, turns.0);
            let left: Vec<_> = all.into_iter().filter(|one| one.index != gone).collect();
            let then = choose(left, true, turns.1);
            if own != Some(gone) {
                prop_assert_eq!(own, then);
            }
        }

        /// Nobody who has much more than the average gets another.
        #[test]
        fn loads_stay_bounded(token: u32, loads in prop::collection::vec(0usize..100_000, 1..9)) {
            let head = Head::of(&[token; BLOCK]).expect("a whole block");
            let chosen = choose(candidates(&head, &loads), true, 0).expect("there is one");
            let average = loads.iter().sum::<usize>() / loads.len();
            prop_assert!(loads[chosen] <= average + average / 4 + HEADROOM);
        }

        /// Prompts are spread over all.
        #[test]
        fn prompts_are_spread(seed: u32) {
            let mut counts = [0; 4];
            for number in 0..400u32 {
                let head = Head::of(&[seed.wrapping_add(number); BLOCK]).expect("a whole block");
                counts[choose(candidates(&head, &[0; 4]), true, 0).expect("there is one")] += 1;
            }
            prop_assert!(counts.iter().all(|count| (50..=150).contains(count)), "{:?}", counts);
        }
    }
}
