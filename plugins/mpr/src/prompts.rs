//! What the model is told on the way, in the language of the question.
//!
//! Everything that candidates have in common stands before what differs, so that it is computed once.

use alloc::{format, string::String};

use weir_plugin_request_sdk::{request_processor::Generated, words::is_unspaced};

/// The words for one language.
pub struct Prompts {
    outline: &'static str,
    outlined: &'static str,
    passages: &'static str,
    answer: &'static str,
    candidates: &'static str,
    synthesis: &'static str,
    verdict: &'static str,
    /// In front of the outline that the client sees.
    pub outline_heading: &'static str,
    candidate_heading: &'static str,
}

const ENGLISH: Prompts = Prompts {
    outline: "Do not answer yet. List the points that a complete answer must cover, a few words each.",
    outlined: "Outline of a complete answer:",
    passages: "Give particular weight to the passages that begin so:",
    answer: "Now answer.",
    candidates: "Several answers were drafted:",
    synthesis: "Write the final answer. Keep what the drafts agree on and what is supported, settle what they disagree on, leave out what is \
                wrong, and do not mention the drafts.",
    verdict: "Which of these answers to the question above is the best? Reply with its number alone.",
    outline_heading: "Outline:\n",
    candidate_heading: "Candidate",
};

const CHINESE: Prompts = Prompts {
    outline: "先不要回答。请列出一个完整回答必须涵盖的要点，每点几个字。",
    outlined: "完整回答的要点：",
    passages: "请特别重视这样开头的段落：",
    answer: "现在请回答。",
    candidates: "以下是几份草拟的回答：",
    synthesis: "请写出最终回答。保留各份草稿一致且有依据的内容，对分歧作出判断，去掉错误之处，不要提及草稿。",
    verdict: "以上哪一份回答最好？只回复它的编号。",
    outline_heading: "要点：\n",
    candidate_heading: "候选",
};

impl Prompts {
    /// For a question.
    pub fn of(question: &str) -> &'static Self {
        // Japanese kana are no Chinese, but its readers do better with it than with English.
        match question.chars().any(is_unspaced) {
            true => &CHINESE,
            false => &ENGLISH,
        }
    }

    /// Asks for an outline.
    pub fn outline(&self, question: &str) -> String {
        format!("{question}\n\n{}", self.outline)
    }

    /// Asks for a candidate that weighs these passages of the conversation most.
    pub fn candidate(&self, question: &str, passages: &[&str]) -> String {
        let mut text = format!("{question}\n\n");
        if !passages.is_empty() {
            text.push_str(self.passages);
            for passage in passages {
                text.push_str("\n- ");
                text.push_str(beginning(passage));
            }
            text.push_str("\n\n");
        }
        text.push_str(self.answer);
        text
    }

    /// Asks for one answer made of all.
    pub fn synthesis(&self, question: &str, outline: &str, candidates: &[Generated]) -> String {
        let begun = match outline.trim() {
            "" => format!("{question}\n\n"),
            outline => format!("{question}\n\n{}\n{outline}\n\n", self.outlined),
        };
        self.of_all(begun, candidates, self.synthesis)
    }

    /// Asks for the number of the best.
    pub fn verdict(&self, question: &str, candidates: &[Generated]) -> String {
        self.of_all(format!("{question}\n\n"), candidates, self.verdict)
    }

    fn of_all(&self, begun: String, candidates: &[Generated], task: &str) -> String {
        let mut text = begun;
        text.push_str(self.candidates);
        text.push_str("\n\n");
        for (number, candidate) in candidates.iter().enumerate() {
            text.push_str(&format!("[{}]\n{}\n\n", number + 1, candidate.text.trim()));
        }
        text.push_str(task);
        text
    }

    /// In front of a candidate that the client sees.
    pub fn heading(&self, number: usize, first: bool) -> String {
        let space = if first { "" } else { "\n\n" };
        format!("{space}{} {}:\n", self.candidate_heading, number + 1)
    }
}

/// Characters of a passage that tell which one it is: the passage itself stands in the conversation, and each token of it here
/// is computed for each candidate anew.
const BEGINNING: usize = 60;
const UNSPACED_BEGINNING: usize = 20;

/// How a passage begins, in whole words.
fn beginning(passage: &str) -> &str {
    let most = match passage.chars().any(is_unspaced) {
        true => UNSPACED_BEGINNING,
        false => BEGINNING,
    };
    let Some((end, _)) = passage.char_indices().nth(most) else {
        return passage;
    };
    let cut = &passage[..end];
    cut.rfind(char::is_whitespace).map_or(cut, |at| &cut[..at])
}
