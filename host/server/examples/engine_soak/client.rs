//! A client that can be patient, slow or gone: one connection a request, over HTTP/1.0, whose answers end with the
//! connection, so that a stream is just its lines.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

/// What a slow reader takes at a time, and how often.
const SIP: usize = 512;
const SIP_EVERY: Duration = Duration::from_millis(250);
/// Of a slow reader's socket, so that the server has to wait for it.
const SLOW_BUFFER: u32 = 2_048;
/// No request of this load takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(900);

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Everything, at once.
    Patient,
    /// Everything, a little at a time.
    Slow,
    /// Goes away behind so many bytes.
    LeavesBehind(usize),
    /// Goes away after this time.
    LeavesAfter(Duration),
}

/// What came back.
pub enum Reply {
    /// The client went away first.
    Left,
    /// Status and body.
    Whole(u16, String),
}

/// Sends a request and reads its answer in this manner.
///
/// # Errors
/// A connection that breaks, an answer that is no HTTP or does not come.
pub async fn post(address: SocketAddr, path: &str, body: &Value, manner: Manner) -> Result<Reply> {
    let (limit, leaves) = match manner {
        Manner::LeavesAfter(time) => (time, true),
        _ => (PATIENCE, false),
    };
    match timeout(limit, exchange(address, path, body, manner)).await {
        Ok(reply) => reply,
        Err(_) if leaves => Ok(Reply::Left),
        Err(_) => bail!("no end of the answer in {} s", PATIENCE.as_secs()),
    }
}

async fn exchange(address: SocketAddr, path: &str, body: &Value, manner: Manner) -> Result<Reply> {
    let socket = TcpSocket::new_v4()?;
    if manner == Manner::Slow {
        socket.set_recv_buffer_size(SLOW_BUFFER)?;
    }
    let mut connection = socket.connect(address).await?;
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).await?;
    let answer = read(&mut connection, manner).await?;
    if let Manner::LeavesBehind(bytes) = manner
        && answer.len() >= bytes
    {
        return Ok(Reply::Left);
    }
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no HTTP status")?;
    Ok(Reply::Whole(status.parse()?, body.to_owned()))
}

async fn read(connection: &mut TcpStream, manner: Manner) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    match manner {
        Manner::Slow => {
            let mut sip = [0; SIP];
            loop {
                let count = connection.read(&mut sip).await?;
                if count == 0 {
                    break;
                }
                answer.extend_from_slice(&sip[..count]);
                sleep(SIP_EVERY).await;
            }
        }
        Manner::LeavesBehind(bytes) => {
            connection
                .take(bytes as u64)
                .read_to_end(&mut answer)
                .await?;
        }
        Manner::Patient | Manner::LeavesAfter(_) => {
            connection.read_to_end(&mut answer).await?;
        }
    }
    Ok(answer)
}
