//! Our own programs, started as a user would.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How long a program may keep a test waiting for one line.
const PATIENCE: Duration = Duration::from_secs(60);

/// The autoscaler as it was built with this test, in surroundings that say nothing.
///
/// Panics with how to build it where it is missing.
pub fn autoscaler() -> Command {
    ours("muster-autoscaler")
}

/// The node's agent as it was built with this test, in surroundings that say nothing.
///
/// Panics with how to build it where it is missing.
pub fn bootstrap() -> Command {
    ours("muster-bootstrap")
}

/// The program of images as it was built with this test, in surroundings that say nothing.
///
/// Panics with how to build it where it is missing.
pub fn image() -> Command {
    ours("muster-image")
}

/// Copies the autoscaler without its symbols, which are most of it.
pub fn stripped(to: &Path) {
    let strip = on_path("strip", "apt-get install binutils");
    let status = Command::new(strip).arg("-o").arg(to).arg(autoscaler().get_program()).status();
    assert!(status.expect("it runs").success());
}

/// The libraries that the autoscaler is linked with, and its loader.
pub fn libraries() -> Vec<PathBuf> {
    let ldd = on_path("ldd", "apt-get install libc-bin");
    let output = Command::new(ldd).arg(autoscaler().get_program()).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("paths in UTF-8");
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn ours(name: &str) -> Command {
    let path = std::env::current_exe().expect("a test knows where it is");
    // .../debug/deps/test-hash, .../debug/examples/name, or .../debug/program
    let beside = path.parent().expect("it is in a directory");
    let is_within = beside.ends_with("deps") || beside.ends_with("examples");
    let built = if is_within { beside.parent().expect("it is in debug") } else { beside };
    let program = built.join(name);
    assert!(program.is_file(), "{} is missing: cargo build -p {name}", program.display());
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("NO_PROXY", "*");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("USER", "jo");
    command
}

/// How a program ended: (exit code, standard output, standard error).
pub fn ended(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    (status.code().expect("the program ends by itself"), text(stdout), text(stderr))
}

/// The autoscaler with these arguments; see [`ended`].
pub fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> (i32, String, String) {
    ended(autoscaler().args(arguments))
}

/// A program in the background. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts a program.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = mpsc::channel();
        pass_on(child.stdout.take().expect("it is piped"), sender.clone());
        pass_on(child.stderr.take().expect("it is piped"), sender);
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line, of standard output or standard error, that `find` makes something of.
    ///
    /// Panics with all lines so far when none comes.
    pub fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let found = find(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("waited for {what}:\n{}", self.seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without {what}:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for the address that a `muster-autoscaler run` which logs JSON says that it listens at.
    pub fn address(&mut self) -> SocketAddr {
        self.wait_for("its address", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event["address"].as_str()?.parse().ok()
        })
    }

    /// All lines so far, of standard output and standard error.
    pub fn lines(&mut self) -> &[String] {
        self.seen.extend(self.lines.try_iter());
        &self.seen
    }

    /// Sends a signal, by its name: `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Waits for its end, and gives back everything that it wrote.
    pub fn end(mut self) -> (ExitStatus, String) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", self.seen.join("\n")),
            }
        }
        let status = self.child.wait().expect("it has ended");
        (status, self.seen.join("\n"))
    }
}

impl Drop for Running {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the program said")]
    fn drop(&mut self) {
        // What has ended already does not mind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said: Vec<String> = self.seen.iter().cloned().chain(self.lines.try_iter()).collect();
            eprintln!("it said:\n{}", said.join("\n"));
        }
    }
}

fn pass_on(from: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

/// Where a program of others is.
///
/// Panics with how to get it where it is missing.
pub fn on_path(program: &str, how: &str) -> PathBuf {
    let places = ["/usr/local/bin", "/usr/bin", "/bin"].map(|place| PathBuf::from(place).join(program));
    let found = places.into_iter().find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{program} is missing: {how}"))
}
