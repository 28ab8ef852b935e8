//! Which of several answers to one prompt are given: those of the likeliest tokens, or those that most of the others say too.
//!
//! What answers have in common is judged by what they say in the end, not by how they came to it: reasoning has no vote.

use std::cmp::Reverse;

use serde_json::Value;
use weir_output::FoldedMessage;
use weir_protocol::Selector;

/// A whole answer as selection sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The mean log-probability of its tokens, where it is known.
    mean_logprob: Option<f32>,
    /// What it says; two answers that say the same have the same.
    said: String,
}

impl Candidate {
    /// Of plain text.
    pub fn of_text(text: &str, mean_logprob: Option<f32>) -> Self {
        Self {
            mean_logprob,
            said: said(text),
        }
    }

    /// Of a message: its content and its calls.
    pub fn of_message(message: &FoldedMessage, mean_logprob: Option<f32>) -> Self {
        let mut all = said(message.content.as_deref().unwrap_or_default());
        for call in &message.tool_calls {
            all.push('\n');
            all.push_str(&call.name);
            all.push_str(&said(&call.arguments));
        }
        Self {
            mean_logprob,
            said: all,
        }
    }

    fn likelihood(&self) -> f32 {
        self.mean_logprob.unwrap_or(f32::NEG_INFINITY)
    }
}

/// A text without what makes no difference: JSON as one spelling of its value, other text as its words in small letters without
/// the stop at their end.
fn said(text: &str) -> String {
    let text = text.trim();
    if text.starts_with(['{', '['])
        && let Ok(mut value) = serde_json::from_str::<Value>(text)
    {
        value.sort_all_objects();
        return value.to_string();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ").to_lowercase();
    words.trim_end_matches(['.', '!', '。', '！']).to_owned()
}

/// The numbers of the best `n` of each `made` answers, the best first; all in their order where all are given. What a plugin
/// did not choose among is chosen by its tokens.
pub fn chosen(selector: &Selector, answers: &[Candidate], n: usize, made: usize) -> Vec<usize> {
    let numbers: Vec<usize> = (0..answers.len()).collect();
    if made <= n {
        return numbers;
    }
    let likeliest_first = |numbers: &[usize]| {
        let mut numbers = numbers.to_vec();
        let likelihood = |number: usize| answers[number].likelihood();
        numbers.sort_by(|&a, &b| likelihood(b).total_cmp(&likelihood(a)));
        numbers
    };
    let of_prompt = |numbers: &[usize]| {
        let mut best = likeliest_first(numbers);
        if *selector == Selector::Majority {
            best = most_said_first(answers, &best);
        }
        best.truncate(n);
        best
    };
    numbers.chunks(made).flat_map(of_prompt).collect()
}

/// The first of each group that says the same, the largest group first; then the rest of them. Answers come the likeliest first.
fn most_said_first(answers: &[Candidate], numbers: &[usize]) -> Vec<usize> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &number in numbers {
        let same = |group: &&mut Vec<usize>| answers[group[0]].said == answers[number].said;
        match groups.iter_mut().find(same) {
            Some(group) => group.push(number),
            None => groups.push(vec![number]),
        }
    }
    groups.sort_by_key(|group| Reverse(group.len()));
    let first = groups.iter().map(|group| group[0]);
    let rest = groups.iter().flat_map(|group| &group[1..]).copied();
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use weir_output::FoldedCall;

    use super::*;

    /// Answers with the log-probability that each has.
    fn answers(given: &[(&str, f32)]) -> Vec<Candidate> {
        let candidate = |&(text, logprob): &(&str, f32)| Candidate::of_text(text, Some(logprob));
        given.iter().map(candidate).collect()
    }

    #[test]
    fn the_likeliest_are_given() {
        let answers = answers(&[("a", -2.0), ("b", -1.0), ("b", -3.0), ("c", -4.0)]);
        let best = |n, made| chosen(&Selector::MeanLogprob, &answers, n, made);
        assert_eq!(best(2, 4), [1, 0]);
        assert_eq!(best(1, 2), [1, 2], "of each prompt");
        assert_eq!(best(4, 4), [0, 1, 2, 3]);
    }

    #[test]
    fn what_most_say_wins_and_the_likeliest_of_them_speaks() {
        let answers = answers(&[
            ("No.", -0.1),
            ("It is 42.", -3.0),
            ("it  is 42", -2.0),
            ("7", -0.2),
        ]);
        let best = |n| chosen(&Selector::Majority, &answers, n, 4);
        assert_eq!(best(1), [2]);
        assert_eq!(best(3), [2, 0, 3], "several answers say different things");
        let alone = &answers[..1];
        assert_eq!(chosen(&Selector::Majority, alone, 1, 1), [0]);
        let none_agree = [answers[3].clone(), answers[0].clone()];
        assert_eq!(chosen(&Selector::Majority, &none_agree, 1, 2), [1]);
    }

    #[test]
    fn objects_are_compared_by_value_and_calls_by_name_and_arguments() {
        assert_eq!(said(r#"{"a": 1, "b": [2]}"#), said(r#" {"b":[2],"a":1} "#));
        assert_ne!(said(r#"{"a": 1}"#), said(r#"{"a": 2}"#));
        assert_eq!(said("{so} it goes."), "{so} it goes");
        let call = |name: &str, arguments: &str| FoldedMessage {
            content: None,
            reasoning: Some(arguments.to_owned()),
            tool_calls: vec![FoldedCall {
                id: Some(arguments.to_owned()),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                complete: true,
            }],
        };
        let of = |message: &FoldedMessage| Candidate::of_message(message, None);
        let (one, spaced) = (call("f", r#"{"a":1}"#), call("f", r#"{ "a": 1 }"#));
        assert_eq!(of(&one), of(&spaced), "reasoning and ids have no vote");
        assert_ne!(of(&one), of(&call("g", r#"{"a":1}"#)));
    }
}
