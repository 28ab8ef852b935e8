//! What the processor can do at best, measured where and when its kernels are: reading memory, and int8 arithmetic.
//!
//! All threads work at once, each in its own bytes; a rate is that of the fastest of some short turns, because a neighbour
//! on the machine interrupts the others.
#![allow(unsafe_code, reason = "the limit of int8 arithmetic is an intrinsic's")]

use std::{hint::black_box, sync::Barrier, time::Instant};

/// Bytes that the threads read together in a turn: more than a last-level cache holds.
const BYTES: usize = 256 << 20;
const TURNS: usize = 8;
/// Multiply instructions of a thread and turn: some 15 milliseconds.
const MULTIPLICATIONS: usize = 64 << 20;

/// GB/s of reading what does not fit a cache.
pub fn memory(threads: usize) -> f64 {
    let words = vec![1u64; BYTES / 8];
    let parts: Vec<&[u64]> = words.chunks(words.len().div_ceil(threads)).collect();
    let seconds = fastest_turn(parts.len(), |thread| {
        let mut sums = [0u64; 32];
        for words in parts[thread].as_chunks::<32>().0 {
            for (sum, word) in sums.iter_mut().zip(words) {
                *sum ^= word;
            }
        }
        black_box(sums);
    });
    BYTES as f64 / seconds / 1e9
}

/// GOP/s of multiplying unsigned with signed bytes into int16 sums, in registers: what no kernel can pass. Two operations
/// a multiplication of bytes. NaN where there is no AVX2.
pub fn int8(threads: usize) -> f64 {
    operations(threads, false)
}

/// The same with every product widened to int32 at once, as plain kernels do: a multiplication of bytes, one that adds
/// neighbours, and an addition.
pub fn int8_widened(threads: usize) -> f64 {
    operations(threads, true)
}

/// Seconds of the fastest turn in which every thread ran `body`.
fn fastest_turn(threads: usize, body: impl Fn(usize) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let turns = |thread: usize| {
        let mut fastest = f64::INFINITY;
        for _ in 0..TURNS {
            barrier.wait();
            let start = Instant::now();
            body(thread);
            barrier.wait();
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        fastest
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|thread| scope.spawn(move || turns(thread)))
            .collect();
        let own = turns(0);
        // A thread's own clock would leave out what it waits for.
        others.into_iter().for_each(|other| drop(other.join()));
        own
    })
}

#[cfg(target_arch = "x86_64")]
fn operations(threads: usize, widened: bool) -> f64 {
    use std::arch::x86_64::*;

    /// Sums that do not wait for each other, enough to keep two multipliers busy.
    const SUMS: usize = 12;

    #[target_feature(enable = "avx2")]
    fn narrow(a: [__m256i; 2]) -> [__m256i; SUMS] {
        let mut sums = [a[0]; SUMS];
        for _ in 0..MULTIPLICATIONS / SUMS / 2 {
            let [a, b] = black_box(a);
            for sum in &mut sums {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(*sum, a));
                *sum = _mm256_maddubs_epi16(*sum, b);
            }
        }
        sums
    }

    #[target_feature(enable = "avx2")]
    fn wide(a: [__m256i; 2]) -> [__m256i; SUMS] {
        let mut sums = [a[0]; SUMS];
        for _ in 0..MULTIPLICATIONS / SUMS {
            let [a, ones] = black_box(a);
            for sum in &mut sums {
                let pairs = _mm256_maddubs_epi16(*sum, a);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        sums
    }

    if !is_x86_feature_detected!("avx2") {
        return f64::NAN;
    }
    let seconds = fastest_turn(threads, |_| {
        // SAFETY: AVX2 was detected.
        unsafe {
            let a = [_mm256_set1_epi8(1), _mm256_set1_epi16(1)];
            black_box(if widened { wide(a) } else { narrow(a) });
        }
    });
    (threads * MULTIPLICATIONS * 32 * 2) as f64 / seconds / 1e9
}

#[cfg(not(target_arch = "x86_64"))]
fn operations(_threads: usize, _widened: bool) -> f64 {
    f64::NAN
}
