//! A `weir` process of one test: started on a free port, read from, told to stop, and killed when the test is over.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// No wait is longer than this; a busy machine must not make a test fail.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A `weir` command with nothing of the caller's environment in its configuration.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (key, _) in
        std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("WEIR_"))
    {
        command.env_remove(key);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Compiled plugins are shared by all processes of all tests.
    command.env(
        "WEIR_CACHE",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("weir_cache"),
    );
    command
}

/// What a process that ended by itself said.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The one line that says what was wrong; everything else on stderr is log.
    pub fn complaint(&self) -> &str {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        let mut complaints = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("weir: "));
        let complaint = complaints
            .next()
            .unwrap_or_else(|| panic!("no complaint in {:?}", self.stderr));
        assert_eq!(
            self.stderr.lines().last(),
            Some(complaint),
            "one line, and the last: {}",
            self.stderr
        );
        complaint
    }
}

/// Runs a command that ends by itself.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    finish(command(arguments).spawn().expect("weir starts"))
}

/// Waits for a process that ends by itself.
pub fn finish(child: Child) -> Ended {
    let output = child.wait_with_output().expect("weir ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Files of one test.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Writes a file and answers its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// The folder they are in.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A model that says what these lines hold; answers what `--model` takes.
    pub fn replay(&self, lines: &str) -> String {
        format!("replay:{}", self.write("answers.jsonl", lines).display())
    }
}

/// The log of a running process, line by line as it comes.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    grown: Condvar,
}

impl Log {
    fn read(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            self.lines.lock().unwrap().0.push(line);
            self.grown.notify_all();
        }
        self.lines.lock().unwrap().1 = true;
        self.grown.notify_all();
    }

    /// The first line that holds `text`, once it is there.
    fn wait_for(&self, text: &str) -> String {
        let found = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let lines = self.lines.lock().unwrap();
        let waiting = |(lines, ended): &mut (Vec<String>, bool)| found(lines).is_none() && !*ended;
        let (lines, _) = self
            .grown
            .wait_timeout_while(lines, DEADLINE, waiting)
            .unwrap();
        found(&lines.0).unwrap_or_else(|| panic!("no `{text}` in the log: {:#?}", lines.0))
    }
}

/// A server that listens.
pub struct Server {
    child: Child,
    log: Arc<Log>,
    pub address: String,
}

impl Server {
    /// Starts a server on a free port with these arguments beside, and waits until its model is loaded.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut command(["--port", "0"].iter().chain(arguments)))
    }

    /// Starts this very command, which must listen on 127.0.0.1.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("weir starts");
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("a pipe");
        let reader = Arc::clone(&log);
        thread::spawn(move || reader.read(stderr));
        let mut server = Self {
            child,
            log,
            address: String::new(),
        };
        let line = server.log.wait_for("weir serves");
        let (_, url) = line.split_once("://").expect("an address in the line");
        server.address = url.split('/').next().unwrap_or_default().to_owned();
        assert!(server.address.starts_with("127.0.0.1:"), "{line}");
        server
    }

    /// The first log line that holds `text`, once it is there.
    pub fn logged(&self, text: &str) -> String {
        self.log.wait_for(text)
    }

    /// What it logged so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// Whether no log line so far holds `text`.
    pub fn silent_about(&self, text: &str) -> bool {
        let lines = self.log.lines.lock().unwrap();
        !lines.0.iter().any(|line| line.contains(text))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status();
        assert!(sent.expect("a shell").success());
    }

    /// Waits until the process has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the server never ended");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
