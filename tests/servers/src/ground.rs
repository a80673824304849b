//! Where servers live: a directory, an address, and a watcher that leaves nothing behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The directory of the programs, found or built on the first call.
///
/// Panics with how to get it where one cannot be had.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static DIRECTORIES: OnceLock<std::sync::Mutex<std::collections::BTreeMap<String, PathBuf>>> =
        OnceLock::new();
    let mut known = DIRECTORIES.get_or_init(Default::default).lock().expect("no other test panicked in here");
    let directory = known.entry(name.to_owned()).or_insert_with(|| {
        let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools");
        let (script, arguments): (_, &[&str]) = match name {
            "bao" => (format!("{tools}/openbao"), &[]),
            _ => (format!("{tools}/hashicorp"), &[name]),
        };
        let output = Command::new(&script).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {script}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} is missing, run tests/run setup first: {}", said.trim());
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    });
    directory.join(name)
}

/// Where everything of this process is to be, in place of loopback.
static PLACE: OnceLock<Ipv4Addr> = OnceLock::new();

/// Has everything that this process starts listen at an address of this host: for machines that have a network of their own.
/// Before anything is started; the first one stands.
pub fn listen_at(address: Ipv4Addr) {
    let _ = PLACE.set(address);
}

/// An address that no other living process of this machine uses: made of the process's id, unless [`listen_at`] said another.
#[must_use]
pub fn address() -> Ipv4Addr {
    if let Some(place) = PLACE.get() {
        return *place;
    }
    // Ids have 22 bits at most; 127.64.0.0/10 has as many.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), middle, low)
}

/// A port on [`address`] that was not given out before. Below those that the kernel hands to callers.
#[must_use]
pub fn port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    SocketAddr::from((address(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// A secret in the form that Nomad and Consul ask for.
pub(crate) fn uuid() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("Linux gives ids");
    text.trim().to_owned()
}

/// Ends every process whose working directory or root is beneath `$1`, then removes that, once its input is closed: by a
/// drop, or by the end of the test's process, however it comes. Tasks that a killed agent leaves are among them.
const WATCHER: &str = r#"
cat >/dev/null
while :; do
    found=
    for place in /proc/[0-9]*/cwd; do
        case "$(readlink "$place" 2>/dev/null)" in
        "$1" | "$1"/*)
            id=${place#/proc/}
            kill -9 "${id%/cwd}" 2>/dev/null && found=1
            ;;
        esac
    done
    # In containers: their root is beneath it, or what is written over their image. What ends meanwhile is no matter.
    for place in $(grep -lsE "^[^ ]+ [^ ]+ [^ ]+ ($1/[^ ]* / |[^ ]+ / .*upperdir=$1/)" /proc/[0-9]*/mountinfo); do
        id=${place#/proc/}
        kill -9 "${id%/mountinfo}" 2>/dev/null && found=1
    done
    [ -n "$found" ] || break
    sleep 0.02
done
awk -v place="$1/" 'index($2, place) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
    umount -l "$mount"
done
rm -rf "$1"
"#;

/// A directory under which everything ends with this value.
#[derive(Debug)]
pub struct Ground {
    directory: PathBuf,
    watcher: Child,
}

impl Ground {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        // Short: the path of a socket, as Nomad has one for each task, has 107 bytes at most.
        let directory = tempfile::Builder::new().prefix("srv-").tempdir().expect("a directory").keep();
        let directory = directory.canonicalize().expect("it is there");
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "watcher"])
            .arg(&directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is sent to all of a terminal's group, or of `timeout`'s, is not for who cleans up after it.
            .process_group(0)
            .spawn()
            .expect("a shell");
        Self { directory, watcher }
    }
    /// The directory: of what is started, the working directory has to be beneath it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // What it could not remove is in a temporary directory.
        let _ = self.watcher.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever presses Ctrl-C ends the whole group of a test; what it started is still cleaned up.
    #[test]
    fn what_ends_a_group_leaves_its_watcher() {
        let ground = Ground::new();
        let id = ground.watcher.id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
        let (_, after_name) = stat.rsplit_once(')').expect("its name is in parentheses");
        let group = after_name.split_whitespace().nth(2).expect("state, parent, group");
        assert_eq!(group, id.to_string(), "the watcher is of the group of who started it");
    }
}
