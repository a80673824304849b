//! A machine that boots a root file system: a container of `systemd-nspawn` with systemd as its PID 1, a network of its own, and an
//! overlay, so that what it is a copy of stays as it was.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use muster_test_servers::wait_for;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

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
pub struct Overlay {
    place: TempDir,
}

impl Overlay {
    /// * `original`: a directory that is not written to.
    pub fn new(original: &Path) -> Self {
        let place = tempfile::Builder::new().prefix("muster-image-").tempdir().expect("a directory");
        let overlay = Self { place };
        for part in ["upper", "work", "root"] {
            fs::create_dir(overlay.place.path().join(part)).expect("made");
        }
        let part = |name: &str| overlay.place.path().join(name).display().to_string();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", original.display(), part("upper"), part("work"));
        succeed(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(overlay.root()));
        overlay
    }

    /// The directory.
    pub fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// Writes a file. * `path`: without the first `/`.
    pub fn write(&self, path: &str, mode: u32, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
    }

    /// Runs a program in it as root, which nothing has booted.
    pub fn chroot(&self, words: &[&str]) -> Output {
        let mut command = Command::new("chroot");
        command.arg(self.root()).args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.output().expect("chroot is missing: apt-get install coreutils")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // One that a machine still ends in is let go of by whoever ends last.
        let _ = Command::new("umount").arg("--lazy").arg(self.root()).status();
    }
}

/// A machine that runs. Dropped, it is switched off.
#[derive(Debug)]
pub struct Machine {
    container: Child,
    bridge: String,
    address: Ipv4Addr,
    overlay: Overlay,
}

impl Machine {
    /// Boots a root file system, with this host as its gateway.
    pub fn boot(overlay: Overlay) -> Self {
        // One of those networks that are set aside for benchmarks; no other process of the tests has it.
        let number = std::process::id().wrapping_mul(8).wrapping_add(7) % (1 << 15);
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number * 4;
        let (here, address) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        let bridge = format!("muster{number:x}");
        // One of a test that was killed may be left.
        let _ = Command::new("ip").args(["link", "delete", &bridge]).output();
        succeed(Command::new("ip").args(["link", "add", &bridge, "type", "bridge"]));
        succeed(Command::new("ip").args(["address", "add", &format!("{here}/30"), "dev", &bridge]));
        succeed(Command::new("ip").args(["link", "set", &bridge, "up"]));
        let network = format!("[Match]\nName=host0\n[Network]\nAddress={address}/30\nGateway={here}\n");
        overlay.write("etc/systemd/network/10-host0.network", 0o644, &network);
        let enabled = overlay.chroot(&["systemctl", "enable", "systemd-networkd.service"]);
        assert!(enabled.status.success(), "{enabled:?}");
        // All rights but to set this host's clock; a daemon of containers needs calls that nspawn filters.
        let container = format!(
            "exec systemd-nspawn --quiet --directory={} --boot --register=no --keep-unit --machine={bridge} \
             --network-bridge={bridge} --link-journal=no --resolv-conf=off --timezone=off \
             --capability=all --drop-capability=CAP_SYS_TIME --system-call-filter='add_key keyctl bpf'",
            overlay.root().display()
        );
        let container = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &container])
            .arg(overlay.place.path().join("console.log"))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("script is missing: apt-get install bsdutils");
        Self { container, bridge, address, overlay }
    }

    /// Its address, which this host reaches.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What it has on its disk.
    pub const fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    fn leader(&self) -> Option<u32> {
        let mut left = vec![self.container.id()];
        while let Some(pid) = left.pop() {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            if ids.split_whitespace().nth(1) == Some("1") {
                return Some(pid);
            }
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            left.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        None
    }

    /// Runs a program in it as root; `None` while it does not run.
    pub fn try_run(&self, words: &[&str]) -> Option<Output> {
        let leader = self.leader()?.to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/", "--target", &leader]);
        command.arg("--").args(words).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Some(command.output().expect("nsenter is missing: apt-get install util-linux"))
    }

    /// Runs a program in it as root that has to succeed. * returns: its standard output, trimmed.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words).unwrap_or_else(|| panic!("it does not run\n{}", self.console()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{words:?}: {}\n{out}\n{err}", output.status);
        out.trim().to_owned()
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
            panic!("waited for {words:?}: {last:?}\n{}", self.console())
        })
    }

    fn console(&self) -> String {
        fs::read_to_string(self.overlay.place.path().join("console.log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(leader) = self.leader() {
            // With its PID 1 everything in it ends.
            let _ = Command::new("kill").args(["-KILL", &leader.to_string()]).status();
        } else {
            let _ = self.container.kill();
        }
        let _ = self.container.wait();
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}
