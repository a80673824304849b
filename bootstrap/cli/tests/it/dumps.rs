//! An agent that dies leaves no image of its memory, and so none of its secrets.

use crate::ground::{Cloud, Node};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

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

#[test]
fn an_agent_that_dies_leaves_no_memory_behind() {
    let place = tempfile::tempdir().expect("a directory");
    let mut other = Command::new("sh");
    let other = other.args(["-c", "ulimit -c unlimited; exec sleep 60"]).current_dir(place.path()).spawn();
    let other = other.expect("it starts");
    muster_test_servers::wait_for("the limit to be off", || {
        let limits = fs::read_to_string(format!("/proc/{}/limits", other.id())).ok()?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size"))?;
        // The soft limit and the hard one.
        (core.split_whitespace().filter(|word| *word == "unlimited").count() == 2).then_some(())
    });
    assert!(dumps_at(other, "-SEGV"), "this host dumps nobody: sysctl kernel.core_pattern=core");
    let cloud = Cloud::start();
    // Not SIGQUIT: who is started in the background of a shell may ignore it.
    for signal in ["-ABRT", "-SYS", "-SEGV"] {
        let place = tempfile::tempdir().expect("a directory");
        let mut node = Node::new(&cloud, 0, "");
        node.start_in(place.path());
        node.wait_done();
        let limits = fs::read_to_string(format!("/proc/{}/limits", node.pid())).expect("Linux tells");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
        // Root still may look: the journal's tools and the other tests do.
        assert!(!fs::read(format!("/proc/{}/environ", node.pid())).expect("root may").is_empty());
        assert!(!dumps_at(node.take(), signal), "{signal}");
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 0);
    }
}
