//! One server process: started, stopped, frozen, and started again on what it has on disk.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How often a condition is looked at, and for how long: three minutes in all.
const LOOK: Duration = Duration::from_millis(25);
const LOOKS: u32 = 7200;

/// Looks until there is something; panics with `what` when nothing comes for three minutes.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(LOOK);
    }
    panic!("waited for {what}");
}

/// A program with its arguments, surroundings and log; running or not.
#[derive(Debug)]
pub(crate) struct Agent {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// Starts a program in a directory that is there. It sees nothing of our environment but a PATH.
    pub(crate) fn start(
        program: PathBuf,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        directory: &Path,
    ) -> Self {
        let mut agent =
            Self { program, arguments, environment, directory: directory.to_owned(), child: None };
        agent.start_again();
        agent
    }

    pub(crate) fn start_again(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.directory)
            .env("NO_PROXY", "*")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// Kills it, as a machine does that loses its power. Nothing, when it does not run.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // What has ended already does not mind.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal by its name: `STOP`, `CONT`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id();
        let kill = format!("kill -{name} {id}");
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Waits until `ready` gives something; panics with the log when the process ends before, or too much time.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        for _ in 0..LOOKS {
            if let Some(found) = ready() {
                return found;
            }
            let child = self.child.as_mut().expect("it runs");
            if let Some(status) = child.try_wait().expect("a child of ours") {
                panic!("{} ended ({status}) before {what}:\n{}", self.program.display(), self.tail());
            }
            thread::sleep(LOOK);
        }
        panic!("{} waited for {what}:\n{}", self.program.display(), self.tail());
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn tail(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}
