//! A machine that boots a root file system ([`muster_machine`]), for tests: whatever goes wrong fails the test that asked.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use muster_test_servers::wait_for;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs a program that has to succeed. * returns: its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

/// A root file system over another one. Dropped, what was written is gone.
#[derive(Debug)]
pub struct Overlay(muster_machine::Overlay);

impl Overlay {
    /// * `original`: a directory that is not written to.
    pub fn new(original: &Path) -> Self {
        Self(muster_machine::Overlay::new(original).unwrap_or_else(|error| panic!("{error}")))
    }

    /// The directory.
    pub fn root(&self) -> PathBuf {
        self.0.root()
    }

    /// Writes a file. * `path`: without the first `/`.
    pub fn write(&self, path: &str, mode: u32, text: &str) {
        self.0.write(path, mode, text).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs a program in it as root, which nothing has booted.
    pub fn chroot(&self, words: &[&str]) -> Output {
        self.0.chroot(words).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A machine that runs. Dropped, it is switched off.
#[derive(Debug)]
pub struct Machine(muster_machine::Machine);

impl Machine {
    /// Boots a root file system, with this host as its gateway.
    pub fn boot(overlay: Overlay) -> Self {
        Self(muster_machine::Machine::boot(overlay.0).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Its address, which this host reaches.
    pub const fn address(&self) -> Ipv4Addr {
        self.0.address()
    }

    /// This host's address in its network: what it reaches this host by.
    pub fn gateway(&self) -> Ipv4Addr {
        self.0.gateway()
    }

    /// Runs a program in it as root; `None` while it does not run.
    pub fn try_run(&self, words: &[&str]) -> Option<Output> {
        self.0.try_run(words).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a program in it as root that has to succeed. * returns: its standard output, trimmed.
    pub fn run(&self, words: &[&str]) -> String {
        self.0.run(words).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until a program succeeds in it. * returns: its standard output, trimmed.
    pub fn wait_run(&self, words: &[&str]) -> String {
        let look = || {
            let output = self.try_run(words).filter(|output| output.status.success())?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let look = std::panic::AssertUnwindSafe(look);
        std::panic::catch_unwind(move || wait_for("a program to succeed", { look }.0)).unwrap_or_else(|_| {
            let last = self.try_run(words);
            panic!("waited for {words:?}: {last:?}\n{}", self.0.console())
        })
    }
}
