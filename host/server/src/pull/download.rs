//! One file over HTTP: resumed where it stopped, with a progress bar, verified at the end.

use std::{
    fs,
    io::{IsTerminal, Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

use super::{PullError, file_error, verify};

/// Fetches `url` into `target`; a partial file beside it is gone on with.
///
/// # Errors
/// [`PullError::Transfer`] when the connection breaks, [`PullError::Checksum`] when the bytes are wrong.
pub(super) fn download(url: &str, target: &Path, sha256: &str) -> Result<(), PullError> {
    let partial = target.with_extension("part");
    if let Some(local) = url.strip_prefix("file://") {
        fs::copy(local, &partial).map_err(|error| file_error(&partial, &error))?;
    } else {
        transfer(url, &partial)?;
    }
    verify(&partial, sha256)?;
    fs::rename(&partial, target).map_err(|error| file_error(target, &error))
}

fn transfer(url: &str, partial: &Path) -> Result<(), PullError> {
    let present = fs::metadata(partial).map_or(0, |metadata| metadata.len());
    let broke = |received, reason: String| PullError::Transfer { received, reason };
    let mut request = agent().get(url);
    if present > 0 {
        request = request.header("Range", format!("bytes={present}-"));
    }
    let mut response = match request.call() {
        Ok(response) => response,
        // The partial file is whole already.
        Err(ureq::Error::StatusCode(416)) => return Ok(()),
        Err(error) => return Err(broke(present, error.to_string())),
    };
    let resumed = response.status() == 206;
    let start = if resumed { present } else { 0 };
    let length = response
        .body()
        .content_length()
        .map(|length| length + start);
    let mut file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(partial)
        .map_err(|error| file_error(partial, &error))?;
    let mut progress = Progress::new(start, length);
    let mut reader = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = reader
            .read(&mut buffer)
            .map_err(|error| broke(progress.received, error.to_string()))?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read])
            .map_err(|error| file_error(partial, &error))?;
        progress.advance(read as u64);
    }
    match length {
        Some(length) if length != progress.received => Err(broke(
            progress.received,
            "the connection closed early".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Trusts what the system trusts, so that company mirrors and proxies work as they do for pip.
fn agent() -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .build()
        .into()
}

/// A bar on a terminal, a line every few seconds in a log.
struct Progress {
    received: u64,
    length: Option<u64>,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    fn new(start: u64, length: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(length.unwrap_or(0)).with_position(start);
            let style = ProgressStyle::with_template(
                "fetching the model {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            );
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        if bar.is_none() {
            tracing::info!(bytes = length, resumed_at = start, "fetching the model");
        }
        Self {
            received: start,
            length,
            bar,
            last_line: Instant::now(),
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.received += bytes;
        match &self.bar {
            Some(bar) => bar.set_position(self.received),
            None if self.last_line.elapsed() > Duration::from_secs(5) => {
                tracing::info!(
                    received = self.received,
                    of = self.length,
                    "fetching the model"
                );
                self.last_line = Instant::now();
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
    };

    use sha2::{Digest, Sha256};

    use super::*;

    const BODY: &[u8] = b"the whole model, byte for byte";

    /// Serves two requests: the first breaks off half way, the second answers the range it is asked for.
    fn serve_and_break(listener: &TcpListener) {
        for whole in [false, true] {
            let (mut connection, _) = listener.accept().expect("a connection");
            let request: Vec<String> = BufReader::new(&connection)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let range = request.iter().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("range: bytes=")
                    .map(|r| r.trim_end_matches('-').parse::<usize>().expect("a range"))
            });
            let start = range.unwrap_or(0);
            let status = if start > 0 {
                "206 Partial Content"
            } else {
                "200 OK"
            };
            let end = if whole { BODY.len() } else { BODY.len() / 2 };
            write!(
                connection,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                BODY.len() - start
            )
            .expect("writes");
            connection.write_all(&BODY[start..end]).expect("writes");
        }
    }

    #[test]
    fn a_broken_download_goes_on_where_it_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!(
            "http://{}/model",
            listener.local_addr().expect("an address")
        );
        let server = std::thread::spawn(move || serve_and_break(&listener));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("model.whl");
        let sha256: String = Sha256::digest(BODY)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();

        let broken = download(&url, &target, &sha256);
        assert!(
            matches!(broken, Err(PullError::Transfer { .. })),
            "{broken:?}"
        );
        assert!(!target.exists());
        download(&url, &target, &sha256).expect("goes on");
        assert_eq!(fs::read(&target).expect("reads"), BODY);
        server.join().expect("the server ends");
    }
}
