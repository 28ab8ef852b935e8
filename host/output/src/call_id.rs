//! Ids for calls whose format has none: `call_` and 24 hexadecimal digits.

/// A source of call ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CallIds {
    /// Random ids, as servers send them.
    #[default]
    Random,
    /// The number in hexadecimal, one higher each time: the same in every run, for `weir parse` and tests.
    Counting(u64),
}

impl CallIds {
    /// A fresh id.
    pub fn next_id(&mut self) -> String {
        match self {
            Self::Random => {
                let mut id = uuid::Uuid::new_v4().simple().to_string();
                id.replace_range(..8, "call_");
                id
            }
            Self::Counting(number) => {
                let id = format!("call_{number:024x}");
                *number = number.wrapping_add(1);
                id
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_24_hexadecimal_digits_and_differ() {
        for mut ids in [CallIds::Random, CallIds::Counting(7)] {
            let (first, second) = (ids.next_id(), ids.next_id());
            assert_ne!(first, second);
            for id in [first, second] {
                let digits = id.strip_prefix("call_").unwrap();
                assert_eq!(digits.len(), 24);
                assert!(digits.chars().all(|digit| digit.is_ascii_hexdigit()));
            }
        }
    }

    #[test]
    fn counted_ids_are_the_same_in_every_run() {
        assert_eq!(
            CallIds::Counting(10).next_id(),
            "call_00000000000000000000000a"
        );
    }
}
