//! An agent that dies leaves no image of its memory, and so none of its secrets.

use crate::ground::{Cloud, Node};
use crate::secrets::{configuration, memory, templates, vault};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

/// What other processes have in their environment, and with it in their memory.
const PLANTED: &str = "planted-dump-60b3";

/// Whether the kernel wrote its memory when it died of a signal.
///
/// Sent until it dies: the first SIGSEGV that no fault of its own caused only takes Rust's handler away.
fn dumps_at(mut child: Child, signal: &str) -> bool {
    let id = child.id().to_string();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        muster_test_servers::wait_for("it to die", || {
            let sent = Command::new("kill").args([signal, &id]).status().expect("it runs");
            let ended = child.try_wait().expect("it is ours");
            assert!(sent.success() || ended.is_some(), "{signal} cannot be sent to {id}");
            ended
        })
    }));
    let ended = ended.unwrap_or_else(|_| {
        let status = fs::read_to_string(format!("/proc/{id}/status"));
        panic!("{signal} does not end it: {status:#?}")
    });
    assert!(ended.signal().is_some(), "{signal}: {ended}");
    ended.core_dumped()
}

/// Whether a text stands anywhere in what a process may write of its memory.
fn remembers(pid: u32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("Linux tells");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("root may");
    let of = |number: &str| u64::from_str_radix(number, 16).expect("a number");
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (from, to) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let mut bytes = vec![0; usize::try_from(of(to) - of(from)).expect("it fits")];
        // What cannot be read is the kernel's, and not of its pages.
        let read = memory.read_at(&mut bytes, of(from)).unwrap_or_default();
        bytes[..read].windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[test]
fn an_agent_that_dies_leaves_no_memory_behind() {
    let place = tempfile::tempdir().expect("a directory");
    let mut other = Command::new("sh");
    let other = other.args(["-c", "ulimit -c unlimited; exec sleep 60"]).current_dir(place.path());
    let other = other.env("PLANTED", PLANTED).spawn().expect("it starts");
    muster_test_servers::wait_for("the limit to be off", || {
        let limits = fs::read_to_string(format!("/proc/{}/limits", other.id())).ok()?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size"))?;
        // The soft limit and the hard one.
        (core.split_whitespace().filter(|word| *word == "unlimited").count() == 2).then_some(())
    });
    assert!(dumps_at(other, "-SEGV"), "this host dumps nobody: sysctl kernel.core_pattern=core");
    // What a dump shows is what is looked for in the memory of one that leaves none.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("Linux tells");
    if !pattern.starts_with(['|', '/']) {
        let dumps = fs::read_dir(place.path()).expect("a directory").flatten();
        let mut dumps = dumps.map(|dump| fs::read(dump.path()).expect("root may"));
        assert!(dumps.any(|dump| dump.windows(PLANTED.len()).any(|part| part == PLANTED.as_bytes())));
    }
    let (cloud, secrets) = (Cloud::start(), memory());
    let vault = vault(&cloud);
    // Not SIGQUIT: who is started in the background of a shell may ignore it.
    for signal in ["-ABRT", "-SYS", "-SEGV"] {
        let place = tempfile::tempdir().expect("a directory");
        let mut node = Node::new(&cloud, 0, &configuration(&vault, secrets.path(), ""));
        templates(&node);
        node.start_in(place.path());
        node.wait_done();
        let token = fs::read_to_string(secrets.path().join("token")).expect("a token");
        assert!(remembers(node.pid(), &token), "it renews it by itself");
        let limits = fs::read_to_string(format!("/proc/{}/limits", node.pid())).expect("Linux tells");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
        // Root still may look: the journal's tools and the other tests do.
        assert!(!fs::read(format!("/proc/{}/environ", node.pid())).expect("root may").is_empty());
        assert!(!dumps_at(node.take(), signal), "{signal}");
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 0);
    }
}
