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
    config::ConfigBuilder,
    tls::{RootCerts, TlsConfig},
    typestate::AgentScope,
};

use super::{PullError, file_error, verify};

/// One file to be fetched.
pub(super) struct Download<'a> {
    /// What the progress is called.
    pub name: &'a str,
    /// Where it is: `http`, `https` or `file`.
    pub url: &'a str,
    /// Sent to the host of `url` alone, never to where it redirects to.
    pub token: Option<&'a str>,
    /// What came so far; a later run goes on with it.
    pub partial: &'a Path,
    /// Where the file goes when it is whole.
    pub target: &'a Path,
    /// Its digest, where one is known.
    pub sha256: Option<&'a str>,
    /// Its length, where it is known.
    pub bytes: Option<u64>,
}

impl Download<'_> {
    /// Fetches the file. A connection that brought something and broke is opened again; one that brought nothing is the end.
    ///
    /// # Errors
    /// [`PullError::Transfer`] when no more comes, [`PullError::Checksum`] when the bytes are wrong.
    pub fn run(&self) -> Result<(), PullError> {
        if let Some(local) = self.url.strip_prefix("file://") {
            fs::copy(local, self.partial).map_err(|error| file_error(self.partial, &error))?;
        } else {
            let mut held = self.held();
            while let Err(error) = self.transfer() {
                match error {
                    PullError::Transfer {
                        received, reason, ..
                    } if received > held => {
                        tracing::warn!(file = self.name, received, "{reason}; going on");
                        held = received;
                    }
                    error => return Err(error),
                }
            }
        }
        verify(self.partial, self.sha256, self.bytes)?;
        fs::rename(self.partial, self.target).map_err(|error| file_error(self.target, &error))
    }

    fn held(&self) -> u64 {
        fs::metadata(self.partial).map_or(0, |metadata| metadata.len())
    }

    fn transfer(&self) -> Result<(), PullError> {
        let present = self.held();
        let broke = |received, reason: String| PullError::Transfer {
            file: self.name.to_owned(),
            received,
            reason,
        };
        let mut request = agent().get(self.url).header("Accept-Encoding", "identity");
        if present > 0 {
            request = request.header("Range", format!("bytes={present}-"));
        }
        if let Some(token) = self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut response = match request.call() {
            Ok(response) => response,
            // The partial file is whole already.
            Err(ureq::Error::StatusCode(416)) if present > 0 => return Ok(()),
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
            .open(self.partial)
            .map_err(|error| file_error(self.partial, &error))?;
        let mut progress = Progress::new(self.name, start, length.or(self.bytes));
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        // A server that sends more than it promised is not read to the end; the check that follows tells.
        while self.bytes.is_none_or(|bytes| progress.received <= bytes) {
            let read = reader
                .read(&mut buffer)
                .map_err(|error| broke(progress.received, error.to_string()))?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read])
                .map_err(|error| file_error(self.partial, &error))?;
            progress.advance(read as u64);
        }
        match length {
            Some(length) if length > progress.received => Err(broke(
                progress.received,
                "the connection closed early".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// Trusts what the system trusts, so that company mirrors and proxies work as they do for pip. A connection on which
/// nothing comes for a minute is broken.
pub(super) fn agent() -> Agent {
    agent_config().build().into()
}

/// What every connection of ours has in common.
pub(super) fn agent_config() -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
}

/// A bar on a terminal, a line every few seconds in a log.
struct Progress {
    name: String,
    received: u64,
    length: Option<u64>,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    fn new(name: &str, start: u64, length: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(length.unwrap_or(0))
                .with_position(start)
                .with_message(name.to_owned());
            let style = ProgressStyle::with_template(
                "fetching {msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            );
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        if bar.is_none() {
            tracing::info!(bytes = length, resumed_at = start, "fetching {name}");
        }
        Self {
            name: name.to_owned(),
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
                    "fetching {}",
                    self.name
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

    /// Answers one request after the other with the range it asks for, of which no more than so many bytes come.
    fn serve(listener: &TcpListener, portions: &[usize]) {
        for portion in portions {
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
            let end = BODY.len().min(start + portion);
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
        // Two portions, then nothing, which ends the first run; the rest comes in the second.
        let server = std::thread::spawn(move || serve(&listener, &[5, 7, 0, 99]));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (partial, target) = (folder.path().join("part"), folder.path().join("whole"));
        let sha256: String = Sha256::digest(BODY)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let download = Download {
            name: "model",
            url: &url,
            token: None,
            partial: &partial,
            target: &target,
            sha256: Some(&sha256),
            bytes: Some(BODY.len() as u64),
        };

        let broken = download.run();
        assert!(
            matches!(broken, Err(PullError::Transfer { received: 12, .. })),
            "{broken:?}"
        );
        assert!(!target.exists());
        download.run().expect("goes on");
        assert_eq!(fs::read(&target).expect("reads"), BODY);
        server.join().expect("the server ends");
    }
}
