//! A model hub on 127.0.0.1 with one tiny repository, as the real one speaks: files of weights are redirected to a second
//! host, which must never see a token; other files to another path of the same host. Everything asked is written down.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde_json::json;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub has, and what is wrong with it.
#[derive(Default)]
pub struct Contents {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Tokens that are known; none known means that none is wanted.
    pub tokens: Vec<&'static str>,
    /// The branch that there is beside `main`.
    pub branch: &'static str,
    /// The etag of every file, where it is not the right one.
    pub etag: Option<&'static str>,
    /// No answer holds more bytes of weights than this.
    pub portion: Option<usize>,
    /// The rest of an answer that is cut by `portion` may still come.
    pub stalled: bool,
    /// The weights are other ones than the etag says.
    pub spoilt: bool,
    /// Every request, as `HOST METHOD PATH`, with ` from N` where a range was asked for.
    pub asked: Vec<String>,
}

pub struct FakeHub {
    pub address: String,
    contents: Arc<Mutex<Contents>>,
}

struct Request {
    method: String,
    path: String,
    token: Option<String>,
    from: Option<usize>,
}

impl FakeHub {
    pub fn start(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        let contents = Arc::new(Mutex::new(Contents {
            files: files.collect(),
            branch: "main",
            ..Contents::default()
        }));
        let [hub, files] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (hub_address, files_address) = (address(&hub), address(&files));
        let shared = Arc::clone(&contents);
        thread::spawn(move || accept(&hub, &shared, "hub", &files_address));
        let shared = Arc::clone(&contents);
        thread::spawn(move || accept(&files, &shared, "files", ""));
        Self {
            address: hub_address,
            contents,
        }
    }

    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.contents().asked)
    }
}

fn accept(listener: &TcpListener, contents: &Mutex<Contents>, host: &str, files_address: &str) {
    let mut kept = Vec::new();
    for connection in listener.incoming().map_while(Result::ok) {
        if let Some(request) = read(&connection) {
            let mut contents = contents.lock().unwrap();
            let from = request.from.map(|at| format!(" from {at}"));
            contents.asked.push(format!(
                "{host} {} {}{}",
                request.method,
                request.path,
                from.unwrap_or_default()
            ));
            if host == "hub" {
                contents.hub(&connection, &request, files_address);
            } else {
                assert_eq!(request.token, None, "a token went to another host");
                contents.weights(&connection, &request);
                if contents.stalled {
                    kept.push(connection);
                }
            }
        }
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next()?,
        path: words.next()?,
        token: None,
        from: None,
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "range" => {
                let from = value.strip_prefix("bytes=")?.strip_suffix('-')?;
                request.from = Some(from.parse().unwrap());
            }
            _ => {}
        }
    }
    Some(request)
}

/// Writes an answer, of whose body no more than `sent` bytes come; the client may have gone.
fn answer(mut connection: &TcpStream, status: &str, headers: &[String], body: &[u8], sent: usize) {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        headers
            .iter()
            .map(|h| format!("{h}\r\n"))
            .collect::<String>()
    );
    drop(connection.write_all(head.as_bytes()));
    drop(connection.write_all(&body[..sent.min(body.len())]));
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".gguf")
}

impl Contents {
    fn hub(&self, connection: &TcpStream, request: &Request, files_address: &str) {
        let error = |status, code: &str| {
            answer(
                connection,
                status,
                &[format!("X-Error-Code: {code}")],
                b"",
                0,
            );
        };
        let path = request.path.as_str();
        if let Some(revision) = path.strip_prefix("/api/models/o/m/revision/") {
            if revision != "main" && revision != COMMIT && revision != self.branch {
                return error("404 Not Found", "RevisionNotFound");
            }
            let siblings: Vec<_> = self.files.keys().map(|n| json!({"rfilename": n})).collect();
            let body = json!({"id": "o/m", "sha": COMMIT, "gated": false, "siblings": siblings});
            let body = body.to_string();
            return answer(connection, "200 OK", &[], body.as_bytes(), usize::MAX);
        }
        let resolve = format!("/o/m/resolve/{COMMIT}/");
        let moved = format!("/api/resolve-cache/models/o/m/{COMMIT}/");
        let Some(name) = path.strip_prefix(&resolve).or(path.strip_prefix(&moved)) else {
            return error("401 Unauthorized", "RepoNotFound");
        };
        match request.token.as_deref() {
            _ if self.tokens.is_empty() => {}
            None => return error("401 Unauthorized", "GatedRepo"),
            Some(token) if !self.tokens.contains(&token) => {
                return error("403 Forbidden", "GatedRepo");
            }
            Some(_) => {}
        }
        let Some(bytes) = self.files.get(name) else {
            return error("404 Not Found", "EntryNotFound");
        };
        // An answer to a HEAD has the headers of the body it lacks.
        let sent = match request.method.as_str() {
            "HEAD" => 0,
            _ => usize::MAX,
        };
        let etag = self.etag.map_or_else(|| sha256(bytes), str::to_owned);
        if is_weights(name) {
            let headers = [
                format!("X-Repo-Commit: {COMMIT}"),
                format!("X-Linked-Etag: \"{etag}\""),
                format!("X-Linked-Size: {}", bytes.len()),
                format!("Location: {files_address}/{name}?signed"),
            ];
            answer(connection, "302 Found", &headers, b"moved", sent);
        } else if path.starts_with(&resolve) {
            let location = [format!("Location: {moved}{name}")];
            answer(
                connection,
                "307 Temporary Redirect",
                &location,
                b"moved",
                sent,
            );
        } else {
            // Git's own etags are sha1, which is 40 digits long.
            let headers = [format!("ETag: \"{}\"", &etag[..40])];
            answer(connection, "200 OK", &headers, bytes, sent);
        }
    }

    fn weights(&self, connection: &TcpStream, request: &Request) {
        let name = request
            .path
            .trim_start_matches('/')
            .trim_end_matches("?signed");
        let mut bytes = self.files[name].clone();
        if self.spoilt {
            bytes[0] ^= 1;
        }
        let (status, from) = match request.from {
            Some(from) => ("206 Partial Content", from),
            None => ("200 OK", 0),
        };
        let portion = self.portion.unwrap_or(usize::MAX);
        answer(connection, status, &[], &bytes[from..], portion);
    }
}
