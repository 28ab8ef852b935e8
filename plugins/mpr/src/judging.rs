//! Choosing among answers: by likelihood, by what most say, or by asking the model which is best.

use alloc::{string::String, vec, vec::Vec};
use core::cmp::Reverse;

use weir_plugin_request_sdk::{
    request_processor::{Generated, Generation, HostAction, HostOutcome, Step},
    words,
};

use crate::{Mpr, config::Select, prompts::Prompts};

/// A number, and a model that says a word in front of it.
const VERDICT_TOKENS: u32 = 16;

/// The numbers of all, the likeliest first.
pub(crate) fn likeliest(candidates: &[Generated]) -> Vec<usize> {
    let logprob = |number: &usize| {
        let own = candidates[*number].mean_logprob;
        own.unwrap_or(f32::NEG_INFINITY)
    };
    let mut numbers: Vec<usize> = (0..candidates.len()).collect();
    numbers.sort_by(|a, b| logprob(b).total_cmp(&logprob(a)));
    numbers
}

/// These numbers, those first whose words most say; in their order otherwise.
pub(crate) fn most_said_first(candidates: &[Generated], order: &[usize]) -> Vec<usize> {
    let said: Vec<Vec<String>> = candidates
        .iter()
        .map(|one| words::words(&one.text))
        .collect();
    let votes = |number: &usize| said.iter().filter(|other| **other == said[*number]).count();
    let mut numbers = order.to_vec();
    numbers.sort_by_key(|number| Reverse(votes(number)));
    numbers
}

impl Mpr {
    /// Chooses among the answers that were given, or asks the model to.
    pub(crate) fn judge(&mut self) -> Step {
        if self.config.select != Select::Synthesis || self.grants.generations == 0 {
            return self.choose(None);
        }
        let prompts = Prompts::of(self.question());
        let content = prompts.verdict(self.question(), &self.given);
        Step::Perform(vec![HostAction::Generate(vec![Generation {
            messages: self.asking(content),
            max_tokens: VERDICT_TOKENS.min(self.grants.generated_tokens.max(1)),
            temperature: Some(0.0),
            shown: None,
        }])])
    }

    /// Takes the model's word, if it has one of the numbers in it.
    pub(crate) fn judged(&mut self, outcome: Option<HostOutcome>) -> Step {
        let verdict = match outcome {
            Some(HostOutcome::Generated(verdicts)) => verdicts.into_iter().next(),
            _ => None,
        };
        let named = verdict.and_then(|verdict| first_number(&verdict.text));
        let best = named.and_then(|number| number.checked_sub(1));
        self.choose(best.filter(|best| *best < self.given.len()))
    }

    /// The best first, then the others as the configuration orders them.
    fn choose(&self, best: Option<usize>) -> Step {
        let mut order = likeliest(&self.given);
        if self.config.select == Select::Majority {
            order = most_said_first(&self.given, &order);
        }
        if let Some(best) = best {
            order.retain(|number| *number != best);
            order.insert(0, best);
        }
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Step::Choose(order.into_iter().map(number).collect())
    }
}

/// The first number that stands in a text.
fn first_number(text: &str) -> Option<usize> {
    let digits = text.split(|character: char| !character.is_ascii_digit());
    let mut numbers = digits.filter(|digits| !digits.is_empty());
    numbers.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_what_a_model_says() {
        assert_eq!(first_number("Answer [3] is best of 4."), Some(3));
        assert_eq!(first_number("第2个"), Some(2));
        assert_eq!(first_number("none"), None);
        assert_eq!(first_number("99999999999999999999999"), None);
    }
}
