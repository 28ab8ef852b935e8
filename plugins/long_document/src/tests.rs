//! Documents too long for their context, with a host that is played: four tokens for three words, or one a character.

use alloc::{collections::BTreeMap, format};

use weir_plugin_request_sdk::words::{count, is_unspaced};

use super::*;

const GRANTS: Grants = Grants {
    steps: 6,
    generations: 0,
    generated_tokens: 0,
    embeddings: 0,
    stored_bytes: 1 << 20,
};

#[derive(Default)]
struct Host {
    kept: BTreeMap<(String, String), Vec<u8>>,
    /// Texts whose tokens were counted.
    counted: usize,
    /// The window of the embedding model, if there is one.
    window: Option<u32>,
    /// Texts that became vectors.
    embedded: Vec<String>,
    /// Texts that have this and the question point the same way.
    told: String,
}

fn tokens(text: &str) -> u32 {
    let unspaced = text.chars().filter(|c| is_unspaced(*c)).count();
    let spaced = count(text) - unspaced;
    u32::try_from(unspaced + spaced * 4 / 3 + 1).unwrap()
}

impl Host {
    /// The messages that a request goes on with.
    fn run(&mut self, document: &str, question: &str, context_tokens: u32) -> Vec<Message> {
        let request = Request {
            messages: vec![
                Message::new("system", document),
                Message::new("user", "Earlier."),
                Message::new("user", question),
            ],
            // A digest, as far as these tests go.
            digests: vec![format!("{}", document.len()), "e".into(), "q".into()],
            max_tokens: Some(100),
            ..Request::default()
        };
        let model = Model {
            context_tokens,
            embedding_tokens: self.window,
        };
        let grants = Grants {
            steps: 40,
            embeddings: 400,
            ..GRANTS
        };
        let (mut plugin, mut step) = LongDocument::start("{}", request, grants, model);
        let mut answered = None;
        loop {
            let actions = match step {
                Step::Perform(actions) => actions,
                Step::ContinueWith(messages) => return messages,
                Step::ContinueAndPerform(messages, actions) => {
                    answered = Some(messages);
                    actions
                }
                Step::Done => return answered.expect("an answer before"),
                other => panic!("{other:?}"),
            };
            let outcomes = actions.into_iter().map(|action| self.perform(action));
            step = plugin.resume(outcomes.collect());
        }
    }

    fn perform(&mut self, action: HostAction) -> HostOutcome {
        match action {
            HostAction::CountTokens(texts) => {
                self.counted += texts.len();
                HostOutcome::Counted(texts.iter().map(|text| tokens(text)).collect())
            }
            HostAction::CountPrompt(messages) => {
                let content = |message: &Message| message.content.clone().unwrap_or_default();
                let all: Vec<String> = messages.iter().map(content).collect();
                HostOutcome::Counted(vec![tokens(&all.join(" ")) + 12])
            }
            HostAction::StoreGet { document, keys } => {
                let value = |key| self.kept.get(&(document.clone(), key)).cloned();
                HostOutcome::Found(keys.into_iter().map(value).collect())
            }
            HostAction::StorePut { document, entries } => {
                let entries = entries.into_iter();
                let entries = entries.map(|(key, value)| ((document.clone(), key), value));
                self.kept.extend(entries);
                HostOutcome::Kept(true)
            }
            HostAction::Embed(texts) => {
                let about = |text: &String| text == QUESTION || text.contains(&self.told);
                let vector = |text| vec![f32::from(u8::from(about(text))), 0.1];
                let vectors = texts.iter().map(vector).collect();
                self.embedded.extend(texts);
                HostOutcome::Embedded(vectors)
            }
            other => panic!("{other:?}"),
        }
    }
}

const FACTS: [(&str, &str); 10] = [
    (
        "The password of the lighthouse is cormorant seven.",
        "What is the password of the lighthouse?",
    ),
    (
        "Agnes Toller keeps nineteen beehives behind the chapel.",
        "How many beehives does Agnes Toller keep?",
    ),
    (
        "The bridge at Wexcombe was closed in the winter of 1911.",
        "When was the bridge at Wexcombe closed?",
    ),
    (
        "Captain Ibsen is afraid of moths.",
        "What is Captain Ibsen afraid of?",
    ),
    (
        "The recipe calls for three pinches of saffron.",
        "How much saffron does the recipe call for?",
    ),
    ("Room 414 has no window.", "Which room has no window?"),
    (
        "The comet Varga returns every 83 years.",
        "How often does the comet Varga return?",
    ),
    (
        "Milo hid the violin under the piano stairs.",
        "Where did Milo hide the violin?",
    ),
    (
        "The vineyard belongs to the dentist Okafor.",
        "Who owns the vineyard?",
    ),
    (
        "Ferries to Skarholm leave at dusk on Thursdays.",
        "When do ferries to Skarholm leave?",
    ),
];

/// A document of so many words in which the facts are hidden, far from one another.
fn haystack(all: usize) -> String {
    let words = [
        "river", "morning", "the", "of", "walked", "town", "and", "grey", "again", "market",
        "letter", "under", "while", "quiet", "stone", "a",
    ];
    let (mut text, mut state, mut facts) = (String::new(), 7_u64, FACTS.iter());
    for number in 0..all {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(words[(state >> 33) as usize % words.len()]);
        text.push_str(if number % 13 == 12 { ". " } else { " " });
        if number % (all / 10) == all / 20 {
            let (fact, _) = facts.next().expect("ten of them");
            text.push_str(". ");
            text.push_str(fact);
            text.push(' ');
        }
    }
    text
}

#[test]
fn every_needle_is_found_in_sixty_thousand_words() {
    let document = haystack(60_000);
    assert!(count(&document) >= 60_000);
    let mut host = Host::default();
    for (number, (fact, question)) in FACTS.into_iter().enumerate() {
        let counted = host.counted;
        let messages = host.run(&document, question, 8192);
        let short = messages[0].content.as_deref().unwrap();
        assert!(short.contains(fact), "{question}");
        assert!(tokens(short) <= 8192 * 8 / 10, "{}", tokens(short));
        assert!(
            tokens(short) > 8192 / 2,
            "the room is used: {}",
            tokens(short)
        );
        assert_eq!(messages[2].content.as_deref(), Some(question));
        let again = host.counted - counted;
        assert_eq!(again == 0, number > 0, "a document is read once");
    }
}

#[test]
fn what_every_question_gets_comes_first_and_is_the_same() {
    let document = haystack(60_000);
    let mut host = Host::default();
    let short = |messages: Vec<Message>| messages[0].content.clone().unwrap();
    let all: Vec<String> = FACTS
        .iter()
        .map(|(_, question)| short(host.run(&document, question, 8192)))
        .collect();
    let (first, _) = all[0].split_once("\n---\n").unwrap();
    assert!(tokens(first) > 3000, "{}", tokens(first));
    assert!(all.iter().all(|one| one.starts_with(first)));
}

#[test]
fn small_contexts_have_the_needle_too() {
    let document = haystack(20_000);
    let mut host = Host::default();
    for (fact, question) in FACTS {
        for context in [1024, 2048] {
            let messages = host.run(&document, question, context);
            let short = messages[0].content.as_deref().unwrap();
            assert!(short.contains(fact), "{question} in {context}: {short}");
            assert!(tokens(short) <= context * 8 / 10, "{}", tokens(short));
        }
    }
}

#[test]
fn chinese_is_cut_and_found_as_well() {
    let sentence =
        |number: usize| format!("第{number}天，渡船在涨潮时开往小岛，天气很好，没有人说话。");
    let mut document: String = (0..900).map(sentence).collect();
    let middle = document.char_indices().nth(9000).unwrap().0;
    let middle = document[middle..].find('。').unwrap() + middle + "。".len();
    document.insert_str(middle, "灯塔的密码是鸬鹚七号。");
    let messages = Host::default().run(&document, "灯塔的密码是什么？", 8192);
    let short = messages[0].content.as_deref().unwrap();
    assert!(short.contains("灯塔的密码是鸬鹚七号。"));
    assert!(short.len() < document.len() && tokens(short) <= 6554);
}

/// No word of it is in a document.
const QUESTION: &str = "wind?";

#[test]
fn the_second_question_is_compared_by_vectors_too() {
    let document = haystack(20_000);
    let middle = document.len() / 2;
    let told = document[middle..middle + 60].to_string();
    let mut host = Host {
        window: Some(256),
        told: told.clone(),
        ..Host::default()
    };
    let has = |messages: &[Message]| messages[0].content.as_ref().unwrap().contains(&told);
    let first = host.run(&document, QUESTION, 2048);
    assert!(!has(&first), "by words alone");
    let chunks = host.embedded.len();
    assert!(chunks > 100, "of 179 words: {chunks}");
    assert!(!host.embedded.contains(&QUESTION.into()));
    assert!(has(&host.run(&document, QUESTION, 2048)));
    assert_eq!(host.embedded.len(), chunks + 1, "the question alone");
    for (fact, question) in FACTS {
        let messages = host.run(&document, question, 2048);
        assert!(messages[0].content.as_ref().unwrap().contains(fact));
    }
    let mut without = Host::default();
    without.run(&document, QUESTION, 2048);
    assert!(without.embedded.is_empty() && without.kept.len() == 1);
}

#[test]
fn what_cannot_become_vectors_is_left() {
    let document = haystack(20_000);
    let few = Grants {
        steps: 40,
        embeddings: 10,
        ..GRANTS
    };
    let request = Request {
        messages: vec![
            Message::new("system", document.as_str()),
            Message::new("user", "?"),
        ],
        digests: vec!["d".into(), "q".into()],
        ..Request::default()
    };
    let model = Model {
        context_tokens: 2048,
        embedding_tokens: Some(256),
    };
    let mut host = Host::default();
    let mut step_behind = |grants: Grants| {
        let (mut plugin, mut step) = LongDocument::start("{}", request.clone(), grants, model);
        while let Step::Perform(actions) = step {
            let outcomes = actions.into_iter().map(|action| host.perform(action));
            step = plugin.resume(outcomes.collect());
        }
        host.kept.clear();
        let Step::ContinueAndPerform(_, actions) = step else {
            panic!("it keeps something: {step:?}")
        };
        (plugin, actions.len())
    };
    let (mut plugin, actions) = step_behind(few);
    assert_eq!(actions, 1, "the index alone");
    assert_eq!(plugin.resume(vec![HostOutcome::Kept(true)]), Step::Done);
    let many = Grants {
        embeddings: 1000,
        ..few
    };
    let (mut plugin, actions) = step_behind(many);
    assert_eq!(actions, 2);
    let nothing = || vec![HostOutcome::Found(vec![None]), HostOutcome::Kept(true)];
    assert!(matches!(plugin.resume(nothing()), Step::Perform(_)));
    let failed = vec![HostOutcome::Failed("no".into())];
    assert_eq!(plugin.resume(failed), Step::Done);
    let (mut plugin, _) = step_behind(many);
    let there = vec![HostOutcome::Found(vec![Some(Vec::new())])];
    assert_eq!(
        plugin.resume(there),
        Step::Done,
        "another request was faster"
    );
}

#[test]
fn what_fits_stays_as_it_is() {
    let document = haystack(2000);
    let messages = Host::default().run(&document, "?", 8192);
    assert_eq!(messages[0].content.as_deref(), Some(document.as_str()));
    let mut host = Host::default();
    host.run("A short one.", "?", 8192);
    assert_eq!(host.counted, 0, "nothing is asked");
}

#[test]
fn a_conversation_without_a_document_and_a_host_that_fails_change_nothing() {
    let long = haystack(9000);
    let request = |role: &str| Request {
        messages: vec![Message::new(role, long.clone()), Message::new("user", "?")],
        digests: vec!["d".into(), "q".into()],
        ..Request::default()
    };
    let model = Model {
        context_tokens: 1000,
        embedding_tokens: Some(256),
    };
    let (_, step) = LongDocument::start("{}", request("user"), GRANTS, model);
    assert!(matches!(step, Step::ContinueWith(_)));
    let (mut plugin, _) = LongDocument::start("{}", request("system"), GRANTS, model);
    assert_eq!(
        plugin.config.chunk_words, 179,
        "fitted to the window of the embedding model"
    );
    let failed = || vec![HostOutcome::Failed("no".into())];
    assert!(
        matches!(plugin.resume(failed()), Step::Perform(_)),
        "it reads the document itself"
    );
    let messages = request("system").messages;
    assert_eq!(plugin.resume(failed()), Step::ContinueWith(messages));
    let nothing = Grants {
        stored_bytes: 0,
        ..GRANTS
    };
    let (_, step) = LongDocument::start("{}", request("system"), nothing, model);
    let Step::Perform(actions) = step else {
        panic!("it counts at once")
    };
    assert!(matches!(actions[0], HostAction::CountPrompt(_)));
}
