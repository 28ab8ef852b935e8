//! A body and the rounds in which its text is made, without a server around them.

use futures_util::stream;
use http_body_util::BodyExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::generation::TokenCounts;

/// The token that cannot be written.
const UNSPEAKABLE: u32 = 13;
const LONG: Duration = Duration::from_secs(3600);

/// Writes tokens as numbers.
struct Numbers;

impl Events for Numbers {
    fn step(&mut self, step: Step, text: &mut EventText) {
        assert_ne!(step.token, Some(UNSPEAKABLE), "as the test wants it");
        text.named("token", &step.token);
    }

    fn end(&mut self, text: &mut EventText) {
        text.done();
    }

    fn fail(&mut self, _: ApiError, _: &mut EventText) {}
}

fn body(rounds: &Rounds, keep_alive: Duration) -> (UnboundedSender<u32>, EventStream<Numbers>) {
    let (tokens, given) = unbounded_channel();
    let steps = stream::unfold(given, |mut given| async {
        let token = given.recv().await?;
        let step = Step {
            choice: 0,
            events: Vec::new(),
            token: Some(token),
            tokens: Vec::new(),
            counts: TokenCounts::default(),
            stop_string: None,
            end: None,
        };
        Some((Ok(step), given))
    });
    let writing = Writing::new(Box::pin(steps), Numbers, EventText::default(), keep_alive);
    let body = EventStream {
        shared: Arc::new(Shared {
            writing: Mutex::new(Some(writing)),
            queued: AtomicBool::new(false),
            queue: rounds.queue(),
        }),
        guard: None,
    };
    (tokens, body)
}

async fn frame(body: &mut EventStream<Numbers>) -> Option<Result<String, String>> {
    let frame = body.frame().await?;
    Some(match frame {
        Ok(frame) => Ok(String::from_utf8(frame.into_data().unwrap().into()).unwrap()),
        Err(error) => Err(error.to_string()),
    })
}

fn said(token: u32) -> Option<Result<String, String>> {
    Some(Ok(format!("event: token\ndata: {token}\n\n")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_body_says_what_its_steps_bring() {
    let rounds = Rounds::default();
    let bodies = (0..100).map(|_| body(&rounds, LONG));
    let (senders, mut bodies): (Vec<_>, Vec<_>) = bodies.unzip();
    for token in 100..120 {
        for (sender, offset) in senders.iter().zip(0..) {
            sender.send(token + offset).unwrap();
        }
        for (body, offset) in bodies.iter_mut().zip(0..) {
            assert_eq!(frame(body).await, said(token + offset));
        }
    }
    drop(senders);
    for mut body in bodies {
        assert_eq!(frame(&mut body).await, Some(Ok("data: [DONE]\n\n".into())));
        assert_eq!(frame(&mut body).await, None);
    }
}

#[tokio::test]
async fn a_panic_ends_its_own_stream() {
    let rounds = Rounds::default();
    let (good_tokens, mut good) = body(&rounds, LONG);
    let (bad_tokens, mut bad) = body(&rounds, LONG);
    for (tokens, body) in [(&good_tokens, &mut good), (&bad_tokens, &mut bad)] {
        tokens.send(1).unwrap();
        assert_eq!(frame(body).await, said(1));
    }
    // Both wait for their next round.
    let (bad, good) = tokio::join!(frame(&mut bad), async {
        tokio::task::yield_now().await;
        bad_tokens.send(UNSPEAKABLE).unwrap();
        good_tokens.send(2).unwrap();
        frame(&mut good).await
    });
    assert!(bad.is_some_and(|said| said.is_err()));
    assert_eq!(good, said(2));
}

#[tokio::test]
async fn a_dropped_body_gives_its_steps_up() {
    let rounds = Rounds::default();
    let (tokens, mut body) = body(&rounds, LONG);
    tokens.send(1).unwrap();
    assert_eq!(frame(&mut body).await, said(1));
    let shared = Arc::downgrade(&body.shared);
    // It waits, so its steps and its clock know whom to wake.
    let waiting = tokio::time::timeout(Duration::from_millis(20), frame(&mut body)).await;
    assert!(waiting.is_err());
    drop(body);
    assert!(tokens.is_closed());
    assert_eq!(shared.strong_count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn silences_are_filled_one_after_the_other() {
    let rounds = Rounds::default();
    let (tokens, mut body) = body(&rounds, Duration::from_millis(20));
    let silence = Some(Ok(": \n\n".to_owned()));
    for token in 1..4 {
        for _ in 0..2 {
            assert_eq!(frame(&mut body).await, silence);
        }
        tokens.send(token).unwrap();
        let mut next = frame(&mut body).await;
        // A machine that is busy enough makes another.
        while next == silence {
            next = frame(&mut body).await;
        }
        assert_eq!(next, said(token));
    }
}
