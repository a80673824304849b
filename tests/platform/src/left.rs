//! What a platform that ended has left of itself.

use rustix::fs::{FlockOperation, flock};
use rustix::process::{getpid, set_child_subreaper};
use std::fs::{self, File};
use std::process::Command;
use tempfile::TempDir;

/// Held by the platform that is played: its network has a name and addresses that there is one of on a host.
const LOCK: &str = "/run/muster-platform.lock";

/// Where everything of this process is put that is to be gone at its end.
pub struct Ground {
    place: TempDir,
    bridge: &'static str,
    _alone: File,
}

impl Ground {
    /// From here on: temporary files of this process come into a directory of its own, and a program that has lost who started it
    /// becomes this process's. Before anything is started.
    ///
    /// * `bridge`: the machines' network. One that an earlier platform left, which was killed, is removed.
    /// * returns: an error in words where another platform is played on this host.
    pub fn new(bridge: &'static str) -> Result<Self, String> {
        let alone = File::create(LOCK).unwrap_or_else(|error| panic!("cannot make {LOCK}: {error}"));
        flock(&alone, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            format!("another platform is played on this host ({LOCK}: {error}): wait for its end, or press Ctrl-C in it")
        })?;
        if fs::exists(network(bridge)).unwrap_or(true) {
            // Whoever cannot remove it is told so by what cannot be made anew.
            let _ = Command::new("ip").args(["link", "delete", bridge]).output();
        }
        // Short, as the paths of sockets are.
        let place = tempfile::Builder::new().prefix("mp-").tempdir().expect("a directory");
        tempfile::env::override_temp_dir(place.path()).expect("nobody has made a temporary file");
        set_child_subreaper(Some(getpid())).expect("the kernel does");
        Ok(Self { place, bridge, _alone: alone })
    }

    /// Everything that is still there; none: nothing.
    pub fn behind(&self) -> Vec<String> {
        // The package that this program had made of the agent is kept to its end, and goes with the directory.
        let kept = tests::image::package().parent();
        let files = fs::read_dir(self.place.path()).expect("it is there").flatten().map(|entry| entry.path());
        let files = files.filter(|path| Some(path.as_path()) != kept);
        let files = files.map(|path| format!("the files {}", path.display()));
        [of_machines(self.bridge), programs(), files.collect()].concat()
    }
}

/// What this process, or what it has started, has started and does still run. What has ended and nobody asks about is nothing.
fn programs() -> Vec<String> {
    let of_ours = |status: &str| {
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        of("PPid:") == Some(&getpid().as_raw_pid().to_string())
            && of("State:").is_some_and(|state| !state.starts_with('Z'))
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let running = all
        .filter(|entry| fs::read_to_string(entry.path().join("status")).is_ok_and(|status| of_ours(&status)));
    let words = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    running
        .map(|entry| format!("the program {}", String::from_utf8_lossy(&words(entry)).replace('\0', " ")))
        .collect()
}

fn network(bridge: &str) -> String {
    format!("/sys/class/net/{bridge}")
}

/// Interfaces, control groups, mounts and machines.
fn of_machines(bridge: &str) -> Vec<String> {
    let mut left = Vec::new();
    if fs::exists(network(bridge)).unwrap_or(true) {
        left.push(format!("the network {bridge}"));
    }
    for place in ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"] {
        let names = fs::read_dir(place).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        left.extend(names.filter(|name| name.starts_with("muster-i-")).map(|name| format!("{place}/{name}")));
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let ours = |line: &&str| line.starts_with("overlay ") && line.contains("/muster-image-");
    left.extend(mounts.lines().filter(ours).map(|line| format!("the mount {line}")));
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains("systemd-nspawn") && words.contains(bridge) {
            left.push(format!("the process {words}"));
        }
    }
    left
}
