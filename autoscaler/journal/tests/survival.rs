//! What is left when the process or the disk gives out: real kills, a real full file system.

use autoscaler_journal::{Entry, Journal, JournalError, Limits, Opened, StateDir};
use fleet::Timestamp;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tells a child of these tests that it is one, and where to write.
const CHILD: &str = "MUSTER_JOURNAL_TEST_CHILD";

#[expect(clippy::disallowed_methods, reason = "how a test tells its own child what to do")]
fn child_directory() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

fn child(program: &str, before: &[&str], test: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(before)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

fn this_test() -> String {
    std::env::current_exe().expect("this test has a path").display().to_string()
}

fn open(directory: &Path) -> (StateDir, Journal) {
    let state = StateDir::take(directory).expect("the lock of a killed process is gone");
    // A short block, so that packing is met by kills too.
    let limits = Limits { block: Duration::from_secs(5), ..Limits::default() };
    let Opened { journal, set_aside } = Journal::open(&state, limits, Timestamp::EPOCH).expect("it opens");
    assert_eq!(set_aside, None, "a kill damages nothing");
    (state, journal)
}

/// (the highest number that was ever written durably, how many records there are).
fn numbers(journal: &Journal) -> Vec<u64> {
    let mut numbers = Vec::new();
    journal
        .restore(|_, stored| {
            numbers.push(u64::from_le_bytes(stored.bytes[..8].try_into().expect("eight bytes")));
            Ok(())
        })
        .expect("the journal is whole");
    numbers
}

/// A record that says its number and then 300 bytes that no packing makes small.
fn numbered(number: u64) -> Vec<u8> {
    let mut noise = number;
    let noise = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.to_be_bytes()[0]
    });
    number.to_le_bytes().into_iter().chain(noise.take(300)).collect()
}

/// Says a line to the parent; begins with a line of its own, as the test harness may stand in the middle of one.
fn tell(line: &str) {
    writeln!(std::io::stdout(), "\n{line}").expect("the parent listens");
}

/// Not a test by itself: what the tests below start and kill.
#[test]
fn a_child_appends_until_it_is_killed() {
    let Some(directory) = child_directory() else { return };
    let (_state, mut journal) = open(&directory);
    let mut number = numbers(&journal).len() as u64;
    loop {
        let at = Timestamp::from_millis(i64::try_from(number).expect("small") * 100);
        let bytes: Vec<Vec<u8>> = (number..number + 3).map(numbered).collect();
        let entries: Vec<Entry<'_>> =
            bytes.iter().map(|bytes| Entry { stream: "web", at, checkpoint: false, bytes }).collect();
        let durable = number.is_multiple_of(2);
        match journal.append(&entries, durable) {
            Ok(()) => {}
            Err(error @ JournalError::Full { .. }) => {
                tell(&format!("full {error}"));
                return;
            }
            Err(error) => panic!("{error}"),
        }
        number += 3;
        // Acknowledged: from here on it must never be missed, durable or not, as only the process dies.
        tell(&format!("wrote {number}"));
        // Packing needs space, too; what could not be packed stays as it is.
        assert!(matches!(journal.tidy(at), Ok(_) | Err(JournalError::Full { .. })));
    }
}

#[test]
fn nothing_acknowledged_is_missed_however_often_the_process_is_killed() {
    let root = tempfile::tempdir().expect("a directory");
    let mut acknowledged = 0;
    for round in 0..25_u32 {
        let mut running = child(&this_test(), &[], "a_child_appends_until_it_is_killed", root.path())
            .spawn()
            .expect("the child starts");
        let lines = BufReader::new(running.stdout.take().expect("its output")).lines();
        // Killed after another number of records each time: in the middle of an append, a commit, a packing.
        let until = acknowledged + 3 + u64::from(round * 37 % 211);
        for line in lines {
            let line = line.expect("a line");
            let Some(number) = line.strip_prefix("wrote ") else { continue };
            acknowledged = number.parse().expect("a number");
            if acknowledged >= until {
                running.kill().expect("it is killed");
            }
        }
        running.wait().expect("it has ended");
        let (_state, journal) = open(root.path());
        let found = numbers(&journal);
        assert!(found.len() as u64 >= acknowledged, "{} of {acknowledged} are left", found.len());
        assert_eq!(found.len() % 3, 0, "a tick is written whole or not at all");
        assert!(
            (0_u64..).zip(&found).all(|(index, number)| index == *number),
            "each is there once, in order"
        );
    }
    assert!(acknowledged > 2000);
}

#[test]
fn a_full_disk_refuses_records_and_loses_none() {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join("small");
    std::fs::create_dir(&directory).expect("a directory");
    // A file system of its own, in a mount namespace of its own; the kernel removes both with the child. What
    // is on it at the end is copied out by the same shell.
    let script = "mount -t tmpfs -o size=4m tmpfs \"$0\" && \"$@\" && cp -a \"$0\" \"$0.after\"";
    let arguments = [
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        &directory.display().to_string(),
        &this_test(),
    ];
    let output = child("unshare", &arguments, "a_child_appends_until_it_is_killed", &directory)
        .output()
        .expect("`unshare` (util-linux) runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "a tmpfs in a user namespace is needed (sysctl kernel.unprivileged_userns_clone=1): {text}"
    );
    let last = |prefix| text.lines().filter_map(|line| line.strip_prefix(prefix)).next_back();
    let acknowledged: u64 = last("wrote ").and_then(|n| n.parse().ok()).expect("some were written");
    assert_eq!(last("full "), Some("append to the journal: no space is left"), "{text}");
    assert!(acknowledged > 2000, "only {acknowledged} fitted");
    let (_state, mut journal) = open(&directory.with_extension("after"));
    let found = numbers(&journal);
    assert_eq!(found.len() as u64, acknowledged, "what was refused is not there, what was not is");
    let entry = Entry { stream: "web", at: Timestamp::EPOCH, checkpoint: false, bytes: &[0; 8] };
    journal.append(&[entry], true).expect("with space it goes on");
}
