//! Ids for calls whose format has none: `call_` and 24 hexadecimal digits, or what the family's chat template takes.

/// A source of call ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CallIds {
    /// Random ids, as servers send them.
    #[default]
    Random,
    /// The number, one higher each time: the same in every run, for `weir parse` and tests.
    Counting(u64),
}

/// Which ids a family's calls get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallIdFormat {
    /// `call_` and 24 hexadecimal digits.
    #[default]
    Any,
    /// So many letters and digits: Mistral's chat templates refuse an id that has not exactly 9.
    Alphanumeric(u8),
}

/// What 24 hexadecimal digits hold.
const LOW_96_BITS: u128 = (1 << 96) - 1;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl CallIds {
    /// A fresh id.
    pub fn next_id(&mut self, format: CallIdFormat) -> String {
        let number = match self {
            Self::Random => uuid::Uuid::new_v4().as_u128(),
            Self::Counting(number) => {
                *number = number.wrapping_add(1);
                u128::from(number.wrapping_sub(1))
            }
        };
        match format {
            CallIdFormat::Any => format!("call_{:024x}", number & LOW_96_BITS),
            CallIdFormat::Alphanumeric(length) => alphanumeric(number, length),
        }
    }
}

/// The number's last digits to the base of all letters and digits.
fn alphanumeric(mut number: u128, length: u8) -> String {
    let mut digits = vec![0; usize::from(length)];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form_and_differ() {
        for mut ids in [CallIds::Random, CallIds::Counting(7)] {
            let (first, second) = (
                ids.next_id(CallIdFormat::Any),
                ids.next_id(CallIdFormat::Any),
            );
            assert_ne!(first, second);
            for id in [first, second] {
                let digits = id.strip_prefix("call_").unwrap();
                assert_eq!(digits.len(), 24);
                assert!(digits.chars().all(|digit| digit.is_ascii_hexdigit()));
            }
            let nine = CallIdFormat::Alphanumeric(9);
            let (first, second) = (ids.next_id(nine), ids.next_id(nine));
            assert_ne!(first, second);
            for id in [first, second] {
                assert_eq!(id.len(), 9);
                assert!(id.chars().all(|digit| digit.is_ascii_alphanumeric()));
            }
        }
    }

    #[test]
    fn counted_ids_are_the_same_in_every_run() {
        let mut ids = CallIds::Counting(10);
        assert_eq!(
            ids.next_id(CallIdFormat::Any),
            "call_00000000000000000000000a"
        );
        assert_eq!(ids.next_id(CallIdFormat::Alphanumeric(9)), "00000000B");
    }
}
