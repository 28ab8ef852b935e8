//! Who waits for whom, what is kept, and who has whose lexer.

use std::{sync::atomic::Ordering, thread};

use llguidance::api::GrammarWithLexer;
use weir_prompt::{TokenKind, Vocabulary};

use super::*;
use crate::{environment::Environment, follower::Follower};

fn compiler() -> Arc<Compiler> {
    let ascii = (0..128_u8).map(|byte| ([byte].into(), TokenKind::Normal));
    let end = (b"<end>".as_slice().into(), TokenKind::Special);
    let vocabulary = Arc::new(Vocabulary::new(ascii.chain([end]).collect()));
    let environment = Environment::new(&vocabulary, None, 128).expect("a vocabulary");
    let environment: toktrie::TokEnv = Arc::new(environment);
    let mut factory = ParserFactory::new_simple(&environment).expect("a factory");
    factory.quiet();
    *factory.limits_mut() = limits::parser_limits();
    Arc::new(Compiler::new(factory))
}

fn lark(text: &str) -> TopLevelGrammar {
    TopLevelGrammar::from_grammar(GrammarWithLexer::from_lark(text.to_owned()))
}

#[test]
fn a_grammar_is_compiled_once() {
    let compiler = compiler();
    let compiled: Vec<_> = thread::scope(|scope| {
        let compile = || compiler.compile(lark("start: /[a-z]{3,200}/ \"x\""));
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(compile)).collect();
        let outcomes = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        outcomes
            .map(|outcome| outcome.expect("a grammar"))
            .collect()
    });
    assert!(compiled.iter().all(|one| Arc::ptr_eq(one, &compiled[0])));
    assert_eq!(compiler.kept().compiling, 0);
}

#[test]
fn refusals_are_kept_and_say_why() {
    let compiler = compiler();
    for _ in 0..2 {
        let refused = compiler.compile(lark("start: nothing")).err();
        let refused = refused.expect("no such rule").to_string();
        assert!(refused.contains("nothing"), "{refused}");
    }
    assert_eq!(compiler.kept().grammars.len(), 1);
}

#[test]
fn the_oldest_goes_first() {
    let compiler = compiler();
    let grammar = |n: usize| lark(&format!("start: \"{n}\""));
    for n in 0..limits::CACHE_ENTRIES + 10 {
        compiler.compile(grammar(n)).expect("a grammar");
        compiler.compile(grammar(0)).expect("a grammar");
    }
    let kept = compiler.kept();
    assert_eq!(kept.grammars.len(), limits::CACHE_ENTRIES);
    let bytes: usize = kept.grammars.values().map(|entry| entry.bytes).sum();
    assert_eq!(bytes, kept.bytes);
    let texts: Vec<_> = kept.grammars.keys().collect();
    assert!(texts.iter().any(|text| text.contains("start: \\\"0\\\"")));
    assert!(!texts.iter().any(|text| text.contains("start: \\\"1\\\"")));
}

#[test]
fn what_takes_too_long_is_refused_and_keeps_its_place() {
    let compiler = compiler();
    // Its outcome is held back by this thread, as a hostile grammar's would be.
    let slow: Vec<Arc<str>> = (0..limits::MAX_COMPILING)
        .map(|n| format!("slow {n}").into())
        .collect();
    {
        let mut kept = compiler.kept();
        for text in &slow {
            let since = Instant::now();
            let entry = Entry {
                state: State::Compiling { since },
                bytes: 0,
                last_use: 0,
            };
            kept.grammars.insert(Arc::clone(text), entry);
            kept.compiling += 1;
        }
    }
    let began = Instant::now();
    let same = compiler.compile_text(Arc::clone(&slow[0]), lark("start: \"a\""));
    assert_eq!(
        same.err(),
        Some(ConstrainError::TooSlow(limits::COMPILE_TIME))
    );
    let other = compiler.compile(lark("start: \"a\""));
    assert_eq!(other.err(), Some(ConstrainError::Busy));
    assert!(began.elapsed() < 3 * limits::COMPILE_TIME);
    let late = Err(ConstrainError::Grammar("late".to_owned()));
    compiler.end(&slow[0], late);
    compiler
        .compile(lark("start: \"a\""))
        .expect("there is a place");
    let again = compiler.compile_text(Arc::clone(&slow[0]), lark("start: \"a\""));
    assert_eq!(
        again.err(),
        Some(ConstrainError::Grammar("late".to_owned()))
    );
}

#[test]
fn a_sequence_leaves_its_lexer_to_the_next() {
    let compiler = compiler();
    let text = b"once upon a time there was a word";
    let compiled = compiler
        .compile(lark("start: /[a-z ]{9,99}/ \"!\""))
        .expect("a grammar");
    let mut of_all = Vec::new();
    for _ in 0..3 {
        let mut follower = Follower::new(Arc::clone(&compiled));
        let masks: Vec<_> = text
            .iter()
            .map(|&byte| {
                let step = follower.attempt(|matcher| {
                    let mask = matcher.compute_mask()?;
                    matcher.consume_token(u32::from(byte)).map(|()| mask)
                });
                step.expect("a letter")
            })
            .collect();
        drop(follower);
        of_all.push(masks);
        assert_eq!(compiled.lexers.count(), 1);
    }
    assert!(of_all.iter().all(|masks| *masks == of_all[0]));
    let (first, second) = (
        Follower::new(Arc::clone(&compiled)),
        Follower::new(Arc::clone(&compiled)),
    );
    assert_eq!(compiled.lexers.count(), 0);
    drop((first, second));
    assert_eq!(compiled.lexers.count(), 2);
}

#[test]
fn a_lexer_that_failed_serves_nobody() {
    let compiler = compiler();
    let compiled = compiler.compile(lark("start: \"abc\"")).expect("a grammar");
    let mut follower = Follower::new(Arc::clone(&compiled));
    let wrong = follower.attempt(|matcher| matcher.consume_token(u32::from(b'z')));
    assert!(wrong.is_err());
    drop(follower);
    assert_eq!(compiled.lexers.count(), 0);
    assert_eq!(compiler.free_fuel.load(Ordering::Relaxed), 0);
}

#[test]
fn free_lexers_are_bounded_together() {
    let compiler = compiler();
    let compiled = compiler.compile(lark("start: \"abc\"")).expect("a grammar");
    let some = limits::FREE_LEXER_FUEL / limits::COPIED_LEXER_FUEL;
    let followers: Vec<_> = (0..some + 5)
        .map(|_| Follower::new(Arc::clone(&compiled)))
        .collect();
    drop(followers);
    assert_eq!(compiled.lexers.count() as u64, some);
    drop((compiled, compiler.kept().grammars.drain()));
    assert_eq!(compiler.free_fuel.load(Ordering::Relaxed), 0);
}
