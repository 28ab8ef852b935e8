//! What a request processor asked for so far, against what it is granted.

use std::collections::BTreeSet;

use super::{Grants, PlannedMessage, ProcessorAction, ProcessorStep};
use crate::error::PluginErrorKind;

/// Characters of a document's digest and of an entry's name.
const LONGEST_NAME: usize = 128;

/// The account of one request.
#[derive(Debug, Clone)]
pub struct Account {
    grants: Grants,
    /// Answers to choose among; none where a request is planned.
    candidates: usize,
    /// The request goes on, and nobody waits for what is asked for now.
    behind: bool,
    steps: u64,
    generations: u64,
    generated_tokens: u64,
    embeddings: u64,
}

impl Account {
    /// Of a request that begins, with so many candidates to choose among.
    pub fn new(grants: Grants, candidates: usize) -> Self {
        Self {
            grants,
            candidates,
            behind: false,
            steps: 0,
            generations: 0,
            generated_tokens: 0,
            embeddings: 0,
        }
    }

    /// Puts what a step asks for on the account, before anything of it is done.
    ///
    /// # Errors
    /// [`PluginErrorKind::Grant`] with the first amount that is exceeded, [`PluginErrorKind::Contract`] for what makes no sense.
    pub fn take(&mut self, step: &ProcessorStep) -> Result<(), PluginErrorKind> {
        self.steps += 1;
        match step {
            ProcessorStep::Perform(actions) => return self.take_actions(actions),
            ProcessorStep::Done if self.behind => return Ok(()),
            ProcessorStep::Done => return Err(broken("an end without an answer")),
            _ if self.behind => return Err(broken("an answer behind the answer")),
            _ => {}
        }
        match step {
            ProcessorStep::Refuse(_) => Ok(()),
            ProcessorStep::Choose(numbers) => self.check_choice(numbers),
            _ if self.candidates > 0 => Err(broken("no choice, where it was to choose")),
            ProcessorStep::ContinueWith(messages) => check_messages(messages),
            ProcessorStep::ContinueAndPerform(messages, actions) => {
                check_messages(messages)?;
                self.behind = true;
                self.take_actions(actions)
            }
            _ => Ok(()),
        }
    }

    fn take_actions(&mut self, actions: &[ProcessorAction]) -> Result<(), PluginErrorKind> {
        // The step that would follow.
        within("steps", self.steps + 1, self.grants.steps.into())?;
        actions
            .iter()
            .try_for_each(|action| self.take_action(action))
    }

    fn check_choice(&self, numbers: &[u32]) -> Result<(), PluginErrorKind> {
        let mut known = BTreeSet::new();
        let new = |number: &u32| (*number as usize) < self.candidates && known.insert(*number);
        match !numbers.is_empty() && numbers.iter().all(new) {
            true => Ok(()),
            false => Err(broken(
                "a choice of what is not there, or twice of the same",
            )),
        }
    }

    fn take_action(&mut self, action: &ProcessorAction) -> Result<(), PluginErrorKind> {
        let grants = self.grants;
        match action {
            ProcessorAction::Generate(_) | ProcessorAction::CountPrompt(_) if self.behind => {
                Err(broken("something behind the answer that is of the request"))
            }
            ProcessorAction::Generate(generations) => {
                self.generations += generations.len() as u64;
                within("generations", self.generations, grants.generations.into())?;
                for generation in generations {
                    if generation.max_tokens == 0 {
                        return Err(broken("a generation of no tokens"));
                    }
                    let warm = |temperature: f32| (0.0..=2.0).contains(&temperature);
                    if !generation.temperature.is_none_or(warm) {
                        return Err(broken("a temperature that is not between 0 and 2"));
                    }
                    check_messages(&generation.messages)?;
                    self.generated_tokens += u64::from(generation.max_tokens);
                }
                within(
                    "generated_tokens",
                    self.generated_tokens,
                    grants.generated_tokens.into(),
                )
            }
            ProcessorAction::Embed(texts) => {
                self.embeddings += texts.len() as u64;
                within("embeddings", self.embeddings, grants.embeddings.into())
            }
            ProcessorAction::CountTokens(_) => Ok(()),
            ProcessorAction::CountPrompt(messages) => check_messages(messages),
            ProcessorAction::StoreGet { document, keys } => {
                check_names(std::iter::once(document).chain(keys))?;
                // Where nothing may be stored, nothing was.
                within("stored_bytes", 1, grants.stored_bytes)
            }
            ProcessorAction::StorePut { document, entries } => {
                check_names(std::iter::once(document).chain(entries.iter().map(|(key, _)| key)))?;
                let bytes = |(key, value): &(String, Vec<u8>)| (key.len() + value.len()) as u64;
                within(
                    "stored_bytes",
                    entries.iter().map(bytes).sum(),
                    grants.stored_bytes,
                )
            }
        }
    }
}

fn within(grant: &'static str, asked: u64, granted: u64) -> Result<(), PluginErrorKind> {
    match asked > granted {
        true => Err(PluginErrorKind::Grant {
            grant,
            asked,
            granted,
        }),
        false => Ok(()),
    }
}

fn check_messages(messages: &[PlannedMessage]) -> Result<(), PluginErrorKind> {
    if messages.is_empty() {
        return Err(broken("a conversation without messages"));
    }
    let check = |message: &PlannedMessage| message.to_json().map(drop);
    messages
        .iter()
        .try_for_each(check)
        .map_err(PluginErrorKind::Contract)
}

fn check_names<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), PluginErrorKind> {
    let wrong = |name: &&String| name.is_empty() || name.len() > LONGEST_NAME;
    match names.into_iter().find(wrong) {
        Some(_) => Err(PluginErrorKind::Contract(format!(
            "a name in the store that is not 1 to {LONGEST_NAME} bytes long"
        ))),
        None => Ok(()),
    }
}

fn broken(what: &str) -> PluginErrorKind {
    PluginErrorKind::Contract(what.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{PlannedGeneration, PlannedMessage},
        *,
    };

    const GRANTS: Grants = Grants {
        steps: 3,
        generations: 2,
        generated_tokens: 10,
        embeddings: 1,
        stored_bytes: 8,
    };

    fn message() -> PlannedMessage {
        PlannedMessage {
            role: "user".to_owned(),
            content: Some("hi".to_owned()),
            more: String::new(),
        }
    }

    fn generate(tokens: &[u32]) -> ProcessorAction {
        let generation = |&max_tokens: &u32| PlannedGeneration {
            messages: vec![message()],
            max_tokens,
            ..PlannedGeneration::default()
        };
        ProcessorAction::Generate(tokens.iter().map(generation).collect())
    }

    fn put(bytes: usize) -> ProcessorAction {
        ProcessorAction::StorePut {
            document: "d".to_owned(),
            entries: vec![("k".to_owned(), vec![0; bytes])],
        }
    }

    fn perform(actions: Vec<ProcessorAction>) -> ProcessorStep {
        ProcessorStep::Perform(actions)
    }

    fn over(grant: &'static str, asked: u64, granted: u64) -> Result<(), PluginErrorKind> {
        Err(PluginErrorKind::Grant {
            grant,
            asked,
            granted,
        })
    }

    #[test]
    fn what_is_granted_may_be_asked_for_and_no_more() {
        let ask = |action| Account::new(GRANTS, 0).take(&perform(vec![action]));
        assert_eq!(ask(generate(&[4, 6])), Ok(()));
        assert_eq!(ask(generate(&[1, 1, 1])), over("generations", 3, 2));
        assert_eq!(ask(generate(&[4, 7])), over("generated_tokens", 11, 10));
        assert_eq!(ask(put(7)), Ok(()));
        assert_eq!(ask(put(8)), over("stored_bytes", 9, 8));
        let embed = |texts| ask(ProcessorAction::Embed(vec![String::new(); texts]));
        assert_eq!((embed(1), embed(2)), (Ok(()), over("embeddings", 2, 1)));
        let mut bare = Account::new(Grants::default(), 0);
        let get = ProcessorAction::StoreGet {
            document: "d".to_owned(),
            keys: vec!["k".to_owned()],
        };
        assert_eq!(bare.take(&perform(vec![get])), over("stored_bytes", 1, 0));
    }

    #[test]
    fn amounts_add_up_and_a_loop_ends() {
        let mut account = Account::new(GRANTS, 0);
        assert_eq!(account.take(&perform(vec![generate(&[5])])), Ok(()));
        assert_eq!(
            account.take(&perform(vec![generate(&[6])])),
            over("generated_tokens", 11, 10)
        );
        let mut account = Account::new(GRANTS, 0);
        assert_eq!(account.take(&perform(Vec::new())), Ok(()));
        assert_eq!(account.take(&perform(Vec::new())), Ok(()));
        let mut last = account.clone();
        assert_eq!(last.take(&ProcessorStep::Answer(String::new())), Ok(()));
        assert_eq!(account.take(&perform(Vec::new())), over("steps", 4, 3));
    }

    #[test]
    fn what_makes_no_sense_breaks_the_contract() {
        let wrong = |step: ProcessorStep| {
            let error = Account::new(GRANTS, 0)
                .take(&step)
                .expect_err("it is wrong");
            assert!(matches!(error, PluginErrorKind::Contract(_)), "{error}");
        };
        wrong(ProcessorStep::ContinueWith(Vec::new()));
        wrong(ProcessorStep::ContinueWith(vec![PlannedMessage::default()]));
        let more = |more: &str| PlannedMessage {
            more: more.to_owned(),
            ..message()
        };
        wrong(ProcessorStep::ContinueWith(vec![more("[1]")]));
        wrong(perform(vec![generate(&[0])]));
        wrong(perform(vec![ProcessorAction::StorePut {
            document: "x".repeat(129),
            entries: Vec::new(),
        }]));
        let mut hot = PlannedGeneration {
            messages: vec![message()],
            max_tokens: 1,
            ..PlannedGeneration::default()
        };
        for temperature in [-1.0, 3.0, f32::NAN] {
            hot.temperature = Some(temperature);
            wrong(perform(vec![ProcessorAction::Generate(vec![hot.clone()])]));
        }
    }

    #[test]
    fn behind_the_answer_little_is_done_and_it_ends() {
        let behind = |actions: Vec<ProcessorAction>| {
            let mut account = Account::new(GRANTS, 0);
            let step = ProcessorStep::ContinueAndPerform(vec![message()], actions);
            account.take(&step).map(|()| account)
        };
        let mut account = behind(vec![put(1)]).expect("it may be stored");
        assert_eq!(account.clone().take(&ProcessorStep::Done), Ok(()));
        let embed = ProcessorAction::Embed(vec![String::new()]);
        assert_eq!(account.take(&perform(vec![embed.clone()])), Ok(()));
        assert_eq!(
            account.clone().take(&perform(vec![embed])),
            over("steps", 4, 3)
        );
        assert!(behind(vec![generate(&[1])]).is_err());
        assert!(behind(vec![ProcessorAction::CountPrompt(vec![message()])]).is_err());
        for again in [
            ProcessorStep::ContinueWith(vec![message()]),
            ProcessorStep::Answer(String::new()),
            ProcessorStep::Refuse(String::new()),
        ] {
            assert!(account.clone().take(&again).is_err(), "{again:?}");
        }
        assert!(Account::new(GRANTS, 0).take(&ProcessorStep::Done).is_err());
    }

    #[test]
    fn whoever_is_to_choose_chooses() {
        let take = |candidates, step| Account::new(GRANTS, candidates).take(&step);
        let choose = |numbers: &[u32]| ProcessorStep::Choose(numbers.to_vec());
        assert_eq!(take(2, choose(&[1, 0])), Ok(()));
        assert_eq!(take(2, perform(vec![generate(&[1])])), Ok(()));
        for wrong in [
            choose(&[]),
            choose(&[2]),
            choose(&[0, 0]),
            ProcessorStep::Answer(String::new()),
            ProcessorStep::ContinueWith(vec![message()]),
        ] {
            assert!(take(2, wrong.clone()).is_err(), "{wrong:?}");
        }
        assert!(take(0, choose(&[0])).is_err(), "nothing to choose among");
    }

    #[test]
    fn messages_come_back_as_they_were() {
        for message in [
            json!({"role": "user", "content": "hi"}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]}),
            json!({"role": "tool", "content": "", "tool_call_id": "c"}),
        ] {
            assert_eq!(PlannedMessage::of_json(&message).to_json(), Ok(message));
        }
    }
}
