//! Servers that live as long as their handle: started, awaited, and ended whatever happens.
//!
//! A server says on standard output or in its log that it listens; that line is waited for, the rest of its log is kept in a
//! file to be read when it does not come.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::release;

/// Building the peer's environment, and loading a model on a busy machine.
const START: Duration = Duration::from_secs(300);

/// A server that listens.
pub struct Server {
    child: Child,
    /// The line in which it said so.
    pub line: String,
    /// The API, such as `http://127.0.0.1:8000/v1`.
    pub url: String,
}

impl Server {
    /// Starts a command and waits for the first line with `marker`, which holds the server's URL; its output goes to `log`.
    pub fn start(command: &mut Command, marker: &'static str, log: &Path) -> Result<Self> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(log).with_context(|| log.display().to_string())?;
        // Standard input stays open as long as the handle: a server may end when it closes.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .with_context(|| format!("{:?} does not start", command.get_program()))?;
        let mut server = Self {
            child,
            line: String::new(),
            url: String::new(),
        };
        server.line = server.wait_for(marker, file, log)?;
        let url = server.line.split_whitespace().find_map(|word| {
            let start = word.find("http://")?;
            let url = word[start..].trim_end_matches([',', '/']);
            Some(format!("{}/v1", url.trim_end_matches("/v1")))
        });
        server.url = url.with_context(|| format!("no URL in `{}`", server.line))?;
        Ok(server)
    }

    /// Its number among the system's processes.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop, as an operator does, and waits until it has.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        let id = self.id().to_string();
        let told = Command::new("sh")
            .args(["-c", &format!("kill -TERM {id}")])
            .status()?;
        ensure!(told.success(), "no signal reaches process {id}");
        Ok(self.child.wait()?)
    }

    fn wait_for(&mut self, marker: &'static str, file: File, log: &Path) -> Result<String> {
        let (sender, receiver) = mpsc::channel();
        let outputs: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            self.child.stdout.take().map(|pipe| Box::new(pipe) as _),
            self.child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let (sender, mut file) = (sender.clone(), file.try_clone()?);
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // A full disk must not keep the server from writing.
                    drop(writeln!(file, "{line}"));
                    if line.contains(marker) {
                        drop(sender.send(line));
                    }
                }
            });
        }
        drop(sender);
        let begun = Instant::now();
        receiver.recv_timeout(START).map_err(|_| {
            let seconds = begun.elapsed().as_secs();
            let text = fs::read_to_string(log).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            anyhow!(
                "no server after {seconds} s; the last lines of {}:\n{}",
                log.display(),
                last.join("\n")
            )
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// weir on this model, with these options.
pub fn weir(program: &Path, model: &str, options: &[&str], log: &Path) -> Result<Server> {
    let mut command = Command::new(program);
    command
        .args(["serve", "--port", "0", "--model", model])
        .args(options);
    release::clean_environment(&mut command);
    Server::start(&mut command, "weir serves", log)
}

/// llama.cpp on this model.
pub fn llama_cpp(root: &Path, model: &str, threads: &str, log: &Path) -> Result<Server> {
    let mut command = Command::new("python3");
    command
        .arg(root.join("tests/reference/serve_llama_cpp.py"))
        .args([model, "--threads", threads]);
    Server::start(&mut command, ", xllamacpp ", log)
}
