//! A machine that boots a root file system: a container of `systemd-nspawn` with systemd as its PID 1, a network namespace of its
//! own behind a bridge, and an overlay, so that what it is a copy of stays as it was. For `muster-image verify`, and for tests.
//!
//! Needs root, and Debian's `systemd-container`, `iproute2`, `bsdutils` and `util-linux`. Nothing in here waits: whoever wants
//! something to be so asks again.

mod network;
mod overlay;
mod share;

pub use network::{Lan, Place};
pub use overlay::Overlay;

use share::Share;
use std::fmt::Display;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a machine's programs are looked for in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most of the console that is kept in words.
const MOST_CONSOLE: usize = 16 * 1024;

/// Why a machine, or what it boots from, could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A program of the host could not be started.
    #[error("{program} cannot be run (apt-get install {package})")]
    Missing {
        /// Which.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A program of the host failed.
    #[error("{what} failed: {said}")]
    Failed {
        /// The program and its arguments.
        what: String,
        /// What it said.
        said: String,
    },
    /// A file or directory of the host could not be made, read or written.
    #[error("{what} {}", path.display())]
    File {
        /// "cannot make", "cannot write".
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No network was free.
    #[error("no network is free for a machine")]
    NoNetwork,
    /// It does not run, or no longer.
    #[error("the machine does not run: {console}")]
    Off {
        /// The end of what its console said.
        console: String,
    },
}

/// Runs a program of the host that has to succeed. * returns: its standard output.
pub(crate) fn succeed(
    program: &'static str,
    package: &'static str,
    arguments: &[&str],
) -> Result<String, MachineError> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|source| MachineError::Missing { program, package, source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let what = format!("{program} {}", arguments.join(" "));
    Err(MachineError::Failed { what, said: text(&output.stderr).trim().to_owned() })
}

/// Files of `/proc` in whose place a machine with a share has others, and where it has these: for units that have a `/proc` of their
/// own, by `BindReadOnlyPaths=`.
pub const OF_PROC: [(&str, &str); 2] = [("stat", "/run-of-host/stat"), ("loadavg", "/run-of-host/loadavg")];

/// A machine that runs. Dropped, it is switched off, and what it wrote is gone.
#[derive(Debug)]
pub struct Machine {
    container: Child,
    place: Place,
    overlay: Overlay,
    // After the container, which is in it.
    share: Option<Share>,
    /// Whether its `/proc` has the files that say how busy it is itself.
    sees: AtomicBool,
}

impl Machine {
    /// Switches it on in a network of its own, with this host as its gateway. It has its PID 1 when [`Machine::try_run`] runs
    /// something.
    pub fn boot(overlay: Overlay) -> Result<Self, MachineError> {
        Self::boot_at(Place::alone()?, overlay, None)
    }

    /// Switches it on at a place.
    ///
    /// * `cpus`: how many of this host's processors are its share. With it the machine sees how busy it is itself, in
    ///   `/proc/stat` and `/proc/loadavg`, as of the last [`Machine::show_load`]; it may take more until [`Machine::limit`], as instances of EC2
    ///   that have credits for their launch.
    pub fn boot_at(place: Place, overlay: Overlay, cpus: Option<f64>) -> Result<Self, MachineError> {
        overlay.write("etc/systemd/network/10-host0.network", 0o644, &place.settings())?;
        let enabled = overlay.chroot(&["systemctl", "enable", "systemd-networkd.service"])?;
        if !enabled.status.success() {
            let said = String::from_utf8_lossy(&enabled.stderr).trim().to_owned();
            return Err(MachineError::Failed {
                what: "systemctl enable systemd-networkd.service".into(),
                said,
            });
        }
        let share = cpus.map(|cpus| Share::new(&place.name, cpus)).transpose()?;
        let (member, shown) = match &share {
            Some(share) => {
                let bound = OF_PROC
                    .map(|(name, at)| format!("--bind-ro={}:{at} ", quoted(overlay.of_proc(name).display())));
                (share.join(), bound.concat())
            }
            None => (String::new(), String::new()),
        };
        // All rights but to set this host's clock; a daemon of containers needs calls that nspawn filters.
        let container = format!(
            "{member}exec systemd-nspawn --quiet --directory={root} --boot --register=no --keep-unit --machine={name} \
             --network-bridge={bridge} --link-journal=no --resolv-conf=off --timezone=off {shown}\
             --capability=all --drop-capability=CAP_SYS_TIME --system-call-filter='add_key keyctl bpf'",
            root = quoted(overlay.root().display()),
            name = place.name,
            bridge = place.bridge(),
        );
        show_load(&overlay, share.as_ref(), Duration::ZERO)?;
        let container = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &container])
            .arg(overlay.console())
            // By it whoever cleans up after us finds what we have left.
            .current_dir(overlay.place())
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| MachineError::Missing { program: "script", package: "bsdutils", source })?;
        Ok(Self { container, place, overlay, share, sees: AtomicBool::new(false) })
    }

    /// Has it take no more than its share from now on, where it has one.
    pub fn limit(&self) -> Result<(), MachineError> {
        self.share.as_ref().map_or(Ok(()), Share::limit)
    }

    /// Has it see how busy it is by now, where it has a share. * `up`: how long it has been switched on.
    pub fn show_load(&self, up: Duration) -> Result<(), MachineError> {
        show_load(&self.overlay, self.share.as_ref(), up)?;
        if self.share.is_some() && !self.sees.load(Ordering::Relaxed) {
            // nspawn mounts nothing over what it mounts last, and /proc is that.
            let mut all = true;
            for (name, at) in OF_PROC {
                let mounted = self.try_run(&["mount", "--bind", at, &format!("/proc/{name}")])?;
                all &= mounted.is_some_and(|mounted| mounted.status.success());
            }
            self.sees.store(all, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Has it shut down, as for an image that is made of it. It has when [`Machine::is_off`] says so.
    pub fn power_off(&self) -> Result<(), MachineError> {
        self.run(&["systemctl", "--no-block", "poweroff"]).map(drop)
    }
    /// Whether it has ended.
    pub fn is_off(&mut self) -> bool {
        self.container.try_wait().is_ok_and(|ended| ended.is_some())
    }
    /// Has it lose its power: with its PID 1 everything in it ends. Nothing where it has no PID 1 (yet): a drop ends that, too.
    pub fn cut_off(&self) {
        if let Some(leader) = self.leader() {
            let _ = Command::new("kill").args(["-KILL", &leader.to_string()]).status();
        }
    }
    /// Keeps what it has written, once it is off.
    ///
    /// * `layer`: a directory that is made, for [`Overlay::over`]. It is on the same disk.
    pub fn keep(self, layer: &Path) -> Result<(), MachineError> {
        self.overlay.keep(layer)
    }

    /// Its address, which this host reaches.
    pub const fn address(&self) -> Ipv4Addr {
        self.place.address
    }

    /// This host's address in its network: what it reaches this host by.
    pub fn gateway(&self) -> Ipv4Addr {
        self.place.gateway()
    }

    /// Gives this host one more address in its network, such as the metadata service's.
    ///
    /// * returns: the network's device on this host. Who listens at that address on this device alone leaves it free on others.
    pub fn answer_at(&self, address: Ipv4Addr) -> Result<&str, MachineError> {
        self.place.answer_at(address)?;
        Ok(self.place.bridge())
    }

    /// What it has on its disk.
    pub const fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// The host's id of its PID 1.
    fn leader(&self) -> Option<u32> {
        let mut left = vec![self.container.id()];
        while let Some(pid) = left.pop() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            if ids.split_whitespace().nth(1) == Some("1") {
                return Some(pid);
            }
            let children =
                std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            left.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        None
    }

    /// Runs a program in it as root, to its end; `None` while it has no PID 1.
    pub fn try_run(&self, words: &[&str]) -> Result<Option<Output>, MachineError> {
        let Some(leader) = self.leader() else { return Ok(None) };
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/", "--target"]);
        command.arg(leader.to_string()).arg("--").args(words).env_clear().env("PATH", PATH);
        let missing = |source| MachineError::Missing { program: "nsenter", package: "util-linux", source };
        command.stdin(Stdio::null()).output().map(Some).map_err(missing)
    }

    /// Runs a program in it as root that has to succeed. * returns: its standard output, trimmed.
    pub fn run(&self, words: &[&str]) -> Result<String, MachineError> {
        let output = self.try_run(words)?.ok_or_else(|| MachineError::Off { console: self.console() })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
        Err(MachineError::Failed { what: words.join(" "), said })
    }

    /// The end of what its console has said.
    pub fn console(&self) -> String {
        let said = std::fs::read(self.overlay.console()).unwrap_or_default();
        String::from_utf8_lossy(&said[said.len().saturating_sub(MOST_CONSOLE)..]).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its number may be another's by now.
        if self.is_off() {
            return;
        }
        if self.leader().is_some() {
            self.cut_off();
        } else {
            let _ = self.container.kill();
        }
        let _ = self.container.wait();
    }
}

/// Writes what a machine with a share is to see in `/proc`.
fn show_load(overlay: &Overlay, share: Option<&Share>, up: Duration) -> Result<(), MachineError> {
    let Some(share) = share else { return Ok(()) };
    if let Some(text) = share.stat(up) {
        overlay.show("stat", &text)?;
    }
    overlay.show("loadavg", &share.loadavg())
}

/// A word as a shell takes it for one.
fn quoted(word: impl Display) -> String {
    format!("'{}'", word.to_string().replace('\'', r"'\''"))
}
