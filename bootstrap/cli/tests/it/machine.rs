//! An instance with systemd as its PID 1: a container of `systemd-nspawn` in which the agent, its units and the real
//! exporter are installed as in an image.
//!
//! It has a network of its own, a bridge to this machine; what tests start on loopback is reached through [`Machine::reachable`].

use crate::ground::Cloud;
use bootstrap_agent::status::Status;
use fleet::InstanceId;
use muster_test_servers::wait_for;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use tempfile::TempDir;

const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
pub const UNIT: &str = "muster-bootstrap.service";

/// A network of four addresses that no other machine of the tests has: of those that are set aside for benchmarks.
struct Network {
    bridge: String,
    /// This machine's address in it.
    here: Ipv4Addr,
    /// The instance's.
    there: Ipv4Addr,
}

impl Network {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id().wrapping_mul(8) + NEXT.fetch_add(1, Ordering::Relaxed);
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (number % (1 << 15)) * 4;
        let network = Self {
            bridge: format!("muster{:x}", number % (1 << 15)),
            here: Ipv4Addr::from(base + 1),
            there: Ipv4Addr::from(base + 2),
        };
        // One of a test that was killed may be left.
        let _ = Command::new("ip").args(["link", "delete", &network.bridge]).output();
        succeed(Command::new("ip").args(["link", "add", &network.bridge, "type", "bridge"]));
        let address = format!("{}/30", network.here);
        succeed(Command::new("ip").args(["address", "add", &address, "dev", &network.bridge]));
        succeed(Command::new("ip").args(["link", "set", &network.bridge, "up"]));
        network
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}

/// Runs a program that has to succeed. * returns: its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The root file system that all machines are copies of.
fn original() -> PathBuf {
    let script = format!("{TREE}/tests/tools/rootfs");
    let output =
        Command::new(&script).output().unwrap_or_else(|error| panic!("cannot run {script}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "a root file system is missing, run tests/run setup as root first: {}",
        said.trim()
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The Debian package of the program that is tested, made once.
pub fn package() -> PathBuf {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, made) = MADE.get_or_init(|| {
        let place = tempfile::tempdir().expect("a directory");
        let built =
            Path::new(env!("CARGO_BIN_EXE_muster-bootstrap")).parent().expect("a folder of a profile");
        let profile = match built.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let said = succeed(
            Command::new(format!("{TREE}/bootstrap/package"))
                .args(["--no-build", "--fast", "--profile", profile, "--output"])
                .arg(place.path())
                .env("CARGO_TARGET_DIR", built.parent().expect("a build directory")),
        );
        (place, PathBuf::from(said.trim()))
    });
    made.clone()
}

/// An instance that has not booted, or has.
pub struct Machine {
    pub instance: InstanceId,
    container: Option<Child>,
    network: Network,
    place: TempDir,
}

impl Machine {
    /// An instance with the agent installed and enabled.
    ///
    /// * `configuration`: beside `identity`.
    pub fn new(cloud: &Cloud, configuration: impl FnOnce(&Self) -> String) -> Self {
        let place = tempfile::Builder::new().prefix("muster-machine-").tempdir().expect("a directory");
        let network = Network::new();
        let machine = Self { instance: cloud.instance(0), container: None, network, place };
        let root = machine.root();
        succeed(Command::new("cp").args(["--archive", "--reflink=auto", "--"]).arg(original()).arg(&root));
        machine.write("etc/hostname", 0o644, &format!("{}\n", machine.instance));
        let address = format!("[Match]\nName=host0\n[Network]\nAddress={}/30\n", machine.network.there);
        machine.write("etc/systemd/network/10-host0.network", 0o644, &address);
        // The journal outlives a reboot.
        fs::create_dir_all(root.join("var/log/journal")).expect("made");
        machine.install();
        machine.write("etc/muster/aws-identity.pem", 0o644, &cloud.certificate());
        let metadata = machine.reachable(cloud.server.addr());
        let (instance, more) = (&machine.instance, configuration(&machine));
        let text = format!(
            "identity {{\n  endpoints = [\"http://{metadata}/_imds/{instance}\"]\n  \
             certificates = [\"/etc/muster/aws-identity.pem\"]\n}}\n{more}"
        );
        machine.write("etc/muster/bootstrap.hcl", 0o644, &text);
        machine
    }

    /// Installs the package of the agent, as it is done in an image.
    fn install(&self) {
        fs::copy(package(), self.root().join("muster.deb")).expect("copied");
        self.chroot(&["dpkg", "--install", "/muster.deb"]);
        self.chroot(&["systemctl", "enable", "systemd-networkd.service"]);
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// Runs a program in its file system, before it has booted.
    pub fn chroot(&self, words: &[&str]) {
        succeed(Command::new("chroot").arg(self.root()).args(words));
    }

    /// Writes a file of it. * `path`: without the first `/`.
    pub fn write(&self, path: &str, mode: u32, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
    }

    /// Writes settings of the agent's unit that stand over those of the package.
    pub fn drop_in(&self, text: &str) {
        self.write(&format!("etc/systemd/system/{UNIT}.d/test.conf"), 0o644, text);
    }

    /// Where the instance reaches what listens on this machine's loopback.
    pub fn reachable(&self, inside: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((self.network.here, 0)).expect("a port");
        let at = listener.local_addr().expect("it listens");
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Who cannot be reached is found to have hung up.
                let Ok(far) = TcpStream::connect(inside) else { continue };
                for (mut from, mut to) in
                    [(near.try_clone().expect("a handle"), far.try_clone().expect("a handle")), (far, near)]
                {
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        at
    }

    /// This machine's address in the instance's network.
    pub const fn here(&self) -> Ipv4Addr {
        self.network.here
    }

    /// The instance's own.
    pub const fn there(&self) -> Ipv4Addr {
        self.network.there
    }

    /// Switches it on.
    pub fn boot(&mut self) {
        assert!(self.container.is_none(), "it runs");
        let (root, bridge) = (self.root(), &self.network.bridge);
        // Under a pseudo-terminal: with its output in a plain file it hangs.
        // A reboot ends it with 133, for whoever keeps it to start it again.
        let container = format!(
            "while :; do systemd-nspawn --quiet --directory={} --boot --register=no --keep-unit --machine={bridge} \
             --hostname={} --network-bridge={bridge} --link-journal=no; code=$?; [ $code = 133 ] || exit $code; done",
            root.display(),
            self.instance
        );
        let child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &container])
            .arg(self.place.path().join("console.log"))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("script is missing: apt-get install bsdutils");
        self.container = Some(child);
    }

    /// The id of its PID 1 on this machine; `None` while it has none.
    pub fn leader(&self) -> Option<u32> {
        fn below(pid: u32) -> Vec<u32> {
            let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
        }
        let mut left = below(self.container.as_ref()?.id());
        while let Some(pid) = left.pop() {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            if ids.split_whitespace().nth(1) == Some("1") {
                return Some(pid);
            }
            left.extend(below(pid));
        }
        None
    }

    /// Runs a program in it as root; `None` while it does not run.
    pub fn try_run(&self, words: &[&str]) -> Option<Output> {
        let leader = self.leader()?;
        let output = Command::new("nsenter")
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/", "--target"])
            .arg(leader.to_string())
            .arg("--")
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output();
        Some(output.expect("nsenter is missing: apt-get install util-linux"))
    }

    /// Runs a program in it as root that has to succeed. * returns: its standard output.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words).unwrap_or_else(|| panic!("it does not run\n{}", self.console()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {}: {said}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// What answers at an address of its own network, its loopback among them; empty where nothing does.
    pub fn fetch(&self, url: &str) -> String {
        let Some(leader) = self.leader() else { return String::new() };
        let output = Command::new("nsenter")
            .args([
                "--net",
                "--target",
                &leader.to_string(),
                "curl",
                "--silent",
                "--noproxy",
                "*",
                "--max-time",
                "10",
                url,
            ])
            .output();
        String::from_utf8_lossy(&output.expect("curl is missing: apt-get install curl").stdout).into_owned()
    }

    /// A property of a unit, as `systemctl show` says it.
    pub fn property(&self, unit: &str, property: &str) -> String {
        let asked = ["systemctl", "show", "--value", "--property", property, unit];
        let output = self.try_run(&asked).filter(|output| output.status.success());
        output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    pub fn status(&self) -> Option<Status> {
        let output = self.try_run(&["cat", "/run/muster/status.json"])?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until something holds; what the machine says is told where it never does.
    pub fn wait_until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let look = || {
            assert!(!self.console().contains("Script done"), "it has ended");
            look()
        };
        let look = std::panic::AssertUnwindSafe(look);
        std::panic::catch_unwind(move || wait_for(what, { look }.0)).unwrap_or_else(|_| {
            let journal = self.try_run(&["journalctl", "--no-pager", "--lines=80", "--boot"]);
            let journal = journal
                .map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).into_owned());
            panic!("waited for {what}\n{:#?}\n{journal}\n{}", self.status(), self.console())
        })
    }

    /// Waits until the unit is active and the agent says that everything stands. * returns: its process there.
    pub fn wait_active(&self) -> u32 {
        self.wait_until("an active unit", || (self.property(UNIT, "ActiveState") == "active").then_some(()));
        self.run(&["muster-bootstrap", "status", "--wait", "--timeout", "2m"]);
        self.property(UNIT, "MainPID").parse().expect("it runs")
    }

    /// The journal of this boot, an entry a line, as JSON.
    pub fn journal(&self) -> Vec<serde_json::Value> {
        let text = self.run(&["journalctl", "--no-pager", "--boot", "--all", "--output=json"]);
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.place.path().join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned()
    }

    /// Boots it again, in order, and returns once its new PID 1 runs.
    pub fn reboot(&self) {
        let leader = self.leader();
        // The container ends while it answers.
        let _ = self.try_run(&["systemctl", "--no-block", "reboot"]);
        self.wait_until("another boot", || self.leader().filter(|now| Some(*now) != leader));
    }

    /// Switches it off, in order, and waits for that.
    pub fn power_off(&mut self) {
        let _ = self.try_run(&["systemctl", "--no-block", "poweroff"]);
        self.wait_off();
    }

    /// Waits until it is off: what reboots is not.
    pub fn wait_off(&mut self) {
        let mut container = self.container.take().expect("it runs");
        let ended = wait_for("the end of the machine", || container.try_wait().expect("a child"));
        assert!(ended.success(), "{ended}\n{}", self.console());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(leader) = self.leader() {
            // With its PID 1 everything in it ends.
            let _ = Command::new("kill").args(["-KILL", &leader.to_string()]).status();
        }
        if let Some(mut container) = self.container.take() {
            for _ in 0..200 {
                if container.try_wait().is_ok_and(|ended| ended.is_some()) {
                    return;
                }
                thread::sleep(std::time::Duration::from_millis(25));
            }
            let _ = container.kill();
            let _ = container.wait();
        }
    }
}
