//! The vectors of a document's chunks, as they are kept and compared.
//!
//! Invariant: one a chunk, all of the same length and of length 1.

use alloc::vec::Vec;

use crate::density::root;

/// What kept vectors begin with; another layout has another.
const MAGIC: &[u8; 4] = b"LDV1";

/// One vector after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    size: usize,
    numbers: Vec<f32>,
}

impl Vectors {
    /// Of the chunks in their order; None if they are of no use: none, or of different sizes.
    pub fn of(vectors: &[Vec<f32>]) -> Option<Self> {
        let size = vectors.first()?.len();
        if size == 0 || vectors.iter().any(|vector| vector.len() != size) {
            return None;
        }
        Some(Self {
            size,
            numbers: vectors.iter().flat_map(|vector| unit(vector)).collect(),
        })
    }

    /// As they are kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 4 * self.numbers.len());
        bytes.extend(MAGIC);
        bytes.extend((self.size as u32).to_le_bytes());
        for number in &self.numbers {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    /// From what was kept; None if it is no vectors of so many chunks.
    pub fn read(bytes: &[u8], chunks: usize) -> Option<Self> {
        let mut numbers = bytes.strip_prefix(MAGIC)?.chunks_exact(4);
        let four = |four: &[u8]| <[u8; 4]>::try_from(four).unwrap_or_default();
        let size = u32::from_le_bytes(four(numbers.next()?)) as usize;
        let numbers: Vec<f32> = numbers.map(|own| f32::from_le_bytes(four(own))).collect();
        let whole = size > 0 && size.checked_mul(chunks) == Some(numbers.len());
        whole.then_some(Self { size, numbers })
    }

    /// The cosine between each chunk's vector and this one; zeros for one of another size.
    pub fn similar_to(&self, asked: &[f32]) -> Vec<f64> {
        let asked = unit(asked);
        let chunks = self.numbers.chunks_exact(self.size);
        let cosine = |own: &[f32]| match own.len() == asked.len() {
            true => own.iter().zip(&asked).map(|(a, b)| f64::from(a * b)).sum(),
            false => 0.0,
        };
        chunks.map(cosine).collect()
    }
}

/// A vector of length 1 that points the same way; zeros stay zeros.
fn unit(vector: &[f32]) -> Vec<f32> {
    let square: f64 = vector.iter().map(|number| f64::from(number * number)).sum();
    let length = root(square);
    let scaled = |number: &f32| match length > 0.0 {
        true => (f64::from(*number) / length) as f32,
        false => 0.0,
    };
    vector.iter().map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_nothing_else_is() {
        let vectors = Vectors::of(&[vec![3.0, 4.0], vec![0.0, -2.0]]).expect("of one size");
        let kept = vectors.to_bytes();
        assert_eq!(Vectors::read(&kept, 2), Some(vectors));
        assert_eq!(Vectors::read(&kept, 1), None, "of another document");
        for damaged in [&kept[1..], &kept[..kept.len() - 4], b"", b"LDV1"] {
            assert_eq!(Vectors::read(damaged, 2), None);
        }
        assert_eq!(Vectors::of(&[]), None);
        assert_eq!(Vectors::of(&[vec![1.0], vec![]]), None);
    }

    #[test]
    fn vectors_that_point_alike_are_similar() {
        let vectors = Vectors::of(&[vec![3.0, 4.0], vec![0.0, -2.0], vec![0.0, 0.0]]);
        let similar = vectors.expect("of one size").similar_to(&[6.0, 8.0]);
        let expected = [1.0, -0.8, 0.0];
        let near = |(a, b): (&f64, f64)| (a - b).abs() < 1e-6;
        assert!(similar.iter().zip(expected).all(near), "{similar:?}");
    }
}
