//! Spot checks: what was said in company is asked again of a second server that has nothing else to do, shares no prefix
//! and cuts prompts elsewhere. The answers must be the same to the letter, as logits are to the bit.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::mpsc::Receiver;

use crate::{
    Counts,
    answer::{self, Answer, Choices},
    client::{self, Manner, Reply},
    load::Asked,
};

/// An answer to be checked.
pub struct Spot {
    pub asked: Asked,
    pub said: Choices,
}

/// Checks one after the other, until no more can come.
pub async fn check(alone: SocketAddr, mut spots: Receiver<Spot>, counts: Arc<Counts>) {
    while let Some(Spot { asked, said }) = spots.recv().await {
        match ask(alone, &asked).await {
            Ok(again) if again == said => {
                counts.checked.add();
            }
            Ok(again) => {
                // The first in full, the others would hide it.
                if counts.different.get() == 0 {
                    let (path, body) = (asked.path, &asked.body);
                    eprintln!("{path} {body}\nsaid in company:\n{said:#?}\nand alone:\n{again:#?}");
                }
                counts.different.add();
            }
            Err(error) => counts.failure(&asked, &error),
        }
    }
}

/// Asks without company.
///
/// # Errors
/// An answer that is none.
pub async fn ask(alone: SocketAddr, asked: &Asked) -> anyhow::Result<Choices> {
    let reply = client::post(alone, asked.path, &asked.body, Manner::Patient).await?;
    let Reply::Whole(status, body) = reply else {
        unreachable!("a patient client stays");
    };
    match answer::read(asked, status, &body)? {
        Answer::Said(choices) => Ok(choices),
        Answer::QueueFull => anyhow::bail!("the idle server's queue is full"),
    }
}
