//! What the journal promises, against real files.

use autoscaler_journal::{
    Entry, JOURNAL_FILE, Journal, JournalError, Limits, Opened, Reader, Start, StateDir, Stored,
};
use fleet::Timestamp;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn start() -> Timestamp {
    Timestamp::parse("2026-03-01T08:00:00Z").expect("a time")
}

fn open(state: &StateDir, limits: Limits) -> Journal {
    let Opened { journal, set_aside } = Journal::open(state, limits, start()).expect("the journal opens");
    assert_eq!(set_aside, None);
    journal
}

fn entry<'a>(stream: &'a str, at: Timestamp, bytes: &'a [u8]) -> Entry<'a> {
    Entry { stream, at, checkpoint: false, bytes }
}

fn all(directory: &Path, stream: &str, from: Start) -> Vec<Stored> {
    let mut found = Vec::new();
    Reader::open(directory)
        .expect("the journal opens for reading")
        .visit(stream, from, |stored| {
            found.push(stored);
            ControlFlow::Continue(())
        })
        .expect("the journal is read");
    found
}

fn texts(records: &[Stored]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.bytes).into_owned()).collect()
}

fn tidy_all(journal: &mut Journal, now: Timestamp) -> (u64, u64) {
    let (mut packed, mut dropped) = (0, 0);
    loop {
        let tidied = journal.tidy(now).expect("the journal is tidied");
        packed += tidied.packed;
        dropped += tidied.dropped;
        if !tidied.more {
            return (packed, dropped);
        }
    }
}

/// Two streams, a record each every ten seconds for three hours, a checkpoint of `web` at 09:00 and 10:00.
fn three_hours(journal: &mut Journal) {
    for tick in 0..1080_u32 {
        let at = start() + 10 * SECOND * tick;
        let (web, api) = (format!("web {tick}"), format!("api {tick}"));
        let mut entries = vec![entry("web", at, web.as_bytes()), entry("api", at, api.as_bytes())];
        if tick == 360 || tick == 720 {
            entries.push(Entry { checkpoint: true, bytes: b"all of it", ..entry("web", at, b"") });
        }
        journal.append(&entries, false).expect("the journal is appended to");
    }
}

#[test]
fn records_come_back_in_order_whether_packed_or_not() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = open(&state, Limits::default());
    three_hours(&mut journal);
    let before = all(root.path(), "web", Start::Oldest);
    assert_eq!(before.len(), 1082);
    assert!(before.is_sorted_by_key(|record| record.seq));
    let (packed, dropped) = tidy_all(&mut journal, start() + 2 * HOUR + 10 * SECOND);
    assert_eq!((packed, dropped), (2 * 720 + 1, 0), "the present hour is not packed");
    assert_eq!(all(root.path(), "web", Start::Oldest), before);
    tidy_all(&mut journal, start() + 4 * HOUR);
    assert_eq!(all(root.path(), "web", Start::Oldest), before);
    journal.append(&[entry("web", start() + 4 * HOUR, b"later")], true).expect("appends go on");
    assert_eq!(texts(&all(root.path(), "web", Start::Oldest)).last().map(String::as_str), Some("later"));
    assert_eq!(all(root.path(), "nobody", Start::Oldest), []);
    let names: Vec<_> = Reader::open(root.path()).and_then(|r| r.streams()).expect("streams are listed");
    let spans: Vec<_> = names.iter().map(|s| (s.name.as_str(), s.earliest, s.checkpointed)).collect();
    assert_eq!(spans, [("api", start(), false), ("web", start(), true)]);
    assert_eq!(names[1].latest, start() + 4 * HOUR);
}

#[test]
fn a_restore_begins_with_the_last_checkpoint() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = open(&state, Limits::default());
    three_hours(&mut journal);
    for packed_until in [start(), start() + 2 * HOUR + SECOND, start() + 4 * HOUR] {
        tidy_all(&mut journal, packed_until);
        drop(journal);
        journal = open(&state, Limits::default());
        let (mut web, mut api) = (Vec::new(), 0);
        journal
            .restore(|stream, stored| {
                match stream {
                    "web" => web.push(stored),
                    "api" => api += 1,
                    other => panic!("{other} was never written"),
                }
                Ok(())
            })
            .expect("the journal is restored");
        let texts = texts(&web);
        assert_eq!((texts[0].as_str(), texts[1].as_str()), ("all of it", "web 721"));
        assert_eq!((texts.len(), texts[359].as_str()), (360, "web 1079"));
        assert_eq!(api, 1080, "a stream without a checkpoint comes back whole");
    }
}

#[test]
fn a_replay_begins_with_the_last_checkpoint_before_its_time() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = open(&state, Limits::default());
    three_hours(&mut journal);
    for packed_until in [start(), start() + 4 * HOUR] {
        tidy_all(&mut journal, packed_until);
        for (time, first, count) in [
            (start() + 30 * SECOND, "web 0", 1082),
            (start() + HOUR, "all of it", 721),
            (start() + 2 * HOUR - SECOND, "all of it", 721),
            (start() + 9 * HOUR, "all of it", 360),
        ] {
            let found = all(root.path(), "web", Start::CheckpointBefore(time));
            assert_eq!((texts(&found)[0].as_str(), found.len()), (first, count), "{time}");
        }
    }
}

#[test]
fn a_reader_sees_what_the_writer_has_just_written_and_one_view_of_it() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = open(&state, Limits::default());
    three_hours(&mut journal);
    // One hour in a block, two as records: the reader goes from one to the other.
    assert!(journal.tidy(start() + HOUR).expect("tidied").packed > 0);
    let reader = Reader::open(root.path()).expect("the journal opens for reading");
    let mut seen = 0;
    reader
        .visit("web", Start::Oldest, |_| {
            seen += 1;
            if seen == 1 {
                // Packed under the reader's eyes.
                tidy_all(&mut journal, start() + 9 * HOUR);
            }
            ControlFlow::Continue(())
        })
        .expect("the journal is read");
    assert_eq!(seen, 1082);
}

#[test]
fn the_oldest_blocks_go_when_the_limit_is_reached_and_what_a_restore_needs_never() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let limits = Limits { bytes: 600_000, ..Limits::default() };
    let mut journal = open(&state, limits);
    let mut noise = 1_u64;
    let mut dropped = 0;
    for tick in 0..3600_u32 {
        let at = start() + 10 * SECOND * tick;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()[0]
        })
        .take(400)
        .collect();
        let checkpoint = Entry { checkpoint: true, bytes: b"all of it", ..entry("web", at, b"") };
        // `old` has something in flight since the first hour and nothing since.
        let old = [entry("old", at, b"in flight")];
        let entries = [entry("web", at, &bytes), checkpoint];
        journal.append(if tick % 360 == 0 { &entries } else { &entries[..1] }, false).expect("appended");
        if tick == 5 {
            let checkpoint = Entry { checkpoint: true, bytes: b"of old", ..entry("old", at, b"") };
            journal.append(&[checkpoint], true).expect("appended");
            journal.append(&old, true).expect("appended");
        }
        dropped += tidy_all(&mut journal, at).1;
    }
    assert!(dropped >= 5, "1.4 MB do not fit into 0.6: {dropped} blocks went");
    let size = std::fs::metadata(root.path().join(JOURNAL_FILE)).expect("the file is there").len();
    assert!(size <= 750_000, "{size} bytes");
    let web = all(root.path(), "web", Start::Oldest);
    assert!(web[0].at > start() + HOUR, "the oldest went first");
    assert_eq!(web.last().map(|record| record.at), Some(start() + 3599 * 10 * SECOND));
    assert_eq!(texts(&all(root.path(), "old", Start::LastCheckpoint)), ["of old", "in flight"]);
}

#[test]
fn a_journal_over_its_limit_that_may_drop_nothing_says_so() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = open(&state, Limits { bytes: 64 << 10, ..Limits::default() });
    let big: Vec<u8> = (0..4000_u32).flat_map(u32::to_le_bytes).collect();
    let mut refused = false;
    for tick in 0..40 {
        // Never a checkpoint: everything is needed.
        refused |= match journal.append(&[entry("web", start() + tick * SECOND, &big)], true) {
            Ok(()) => false,
            Err(JournalError::Full { .. }) => true,
            Err(other) => panic!("{other}"),
        };
    }
    assert!(refused, "the file stays below its hard limit");
    assert!(journal.tidy(start()).expect("it is tidied").over_limit);
    let kept = all(root.path(), "web", Start::Oldest);
    assert!(!kept.is_empty() && kept.iter().all(|record| record.bytes == big), "what was kept is whole");
}

#[test]
fn space_that_was_freed_is_given_back() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = open(&state, Limits::default());
    for tick in 0..30_u32 {
        journal
            .append(&[entry("web", start() + SECOND * tick, &vec![b'x'; 1 << 20])], false)
            .expect("appended");
    }
    let size = || std::fs::metadata(root.path().join(JOURNAL_FILE)).expect("the file is there").len();
    tidy_all(&mut journal, start() + 2 * HOUR);
    for _ in 0..10 {
        journal.tidy(start() + 2 * HOUR).expect("tidied");
    }
    drop(journal);
    assert!(size() < 9 << 20, "{} bytes hold 30 MB of the same letter", size());
}

#[test]
fn what_is_no_journal_is_set_aside_and_a_fresh_one_begun() {
    let garbage: Vec<u8> = (0..100_000_u32).map(|n| (n * 7919 % 251).to_le_bytes()[0]).collect();
    let with_tables = {
        let root = tempfile::tempdir().expect("a directory");
        let state = StateDir::take(root.path()).expect("it is ours");
        let mut journal = open(&state, Limits::default());
        three_hours(&mut journal);
        tidy_all(&mut journal, start() + 9 * HOUR);
        drop(journal);
        std::fs::read(root.path().join(JOURNAL_FILE)).expect("the file is read")
    };
    let truncated = with_tables[..with_tables.len() / 2].to_vec();
    let mut newer = with_tables.clone();
    newer[60..64].copy_from_slice(&1_000_000_u32.to_be_bytes());
    let mut foreign = with_tables.clone();
    foreign[68..72].copy_from_slice(&7_u32.to_be_bytes());
    for (name, bytes) in
        [("garbage", garbage), ("truncated", truncated), ("newer", newer), ("foreign", foreign)]
    {
        let root = tempfile::tempdir().expect("a directory");
        let state = StateDir::take(root.path()).expect("it is ours");
        std::fs::write(root.path().join(JOURNAL_FILE), &bytes).expect("it is damaged");
        let opened = Journal::open(&state, Limits::default(), start()).expect("it opens all the same");
        let mut journal = opened.journal;
        let set_aside = if let Some(set_aside) = opened.set_aside {
            set_aside
        } else {
            // What is cut off shows when it is read.
            let error = journal.restore(|_, _| Ok(())).expect_err(name);
            assert!(error.is_unreadable(), "{name}: {error}");
            let opened = journal.replace_damaged(start(), &error).expect("a fresh one is begun");
            journal = opened.journal;
            opened.set_aside.expect("the damaged one is kept")
        };
        assert_eq!(set_aside.path, root.path().join("journal.corrupt-20260301T080000Z"), "{name}");
        assert_eq!(std::fs::read(&set_aside.path).expect("it is there").len(), bytes.len(), "{name}");
        journal.append(&[entry("web", start(), b"new")], true).expect("the fresh one works");
        assert_eq!(texts(&all(root.path(), "web", Start::Oldest)), ["new"], "{name}");
    }
}

#[test]
fn damage_in_the_middle_is_found_when_it_is_read_and_never_passed_on() {
    for packed in [false, true] {
        let root = tempfile::tempdir().expect("a directory");
        let state = StateDir::take(root.path()).expect("it is ours");
        let mut journal = open(&state, Limits::default());
        three_hours(&mut journal);
        if packed {
            tidy_all(&mut journal, start() + 9 * HOUR);
        }
        drop(journal);
        // One bit: in a record, or in the middle of a block.
        let elsewhere = rusqlite::Connection::open(root.path().join(JOURNAL_FILE)).expect("it opens");
        let (table, row) = if packed {
            ("block", "SELECT max(block.id) FROM block JOIN stream ON stream = stream.id AND name = 'web'")
        } else {
            ("record", "SELECT seq FROM record WHERE bytes = CAST('web 1000' AS BLOB)")
        };
        let row: i64 = elsewhere.query_row(row, [], |row| row.get(0)).expect("it is there");
        let read = format!("SELECT bytes FROM {table} WHERE rowid = ?1");
        let mut bytes: Vec<u8> = elsewhere.query_row(&read, [row], |row| row.get(0)).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let write = format!("UPDATE {table} SET bytes = ?2 WHERE rowid = ?1");
        assert_eq!(elsewhere.execute(&write, rusqlite::params![row, bytes]), Ok(1));
        drop(elsewhere);
        let journal = open(&state, Limits::default());
        let mut counts = std::collections::BTreeMap::new();
        let count = |stream: &str, stored: Stored| {
            let texts = String::from_utf8_lossy(&stored.bytes);
            assert!(texts == "all of it" || texts.starts_with(stream), "never passed on: {texts}");
            *counts.entry(stream.to_owned()).or_insert(0) += 1;
            Ok(())
        };
        let error = journal.restore(count).expect_err("the damage shows");
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
        let expected = if packed { [("api", 1080), ("web", 0)] } else { [("api", 1080), ("web", 280)] };
        for (stream, expected) in expected {
            assert_eq!(counts.get(stream).copied().unwrap_or(0), expected, "{stream}, packed: {packed}");
        }
    }
}

#[test]
fn files_are_for_their_owner_alone() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(&root.path().join("state")).expect("it is ours");
    let mut journal = open(&state, Limits::default());
    journal.append(&[entry("web", start(), b"secret enough")], true).expect("appended");
    let mut names = Vec::new();
    for file in std::fs::read_dir(state.path()).expect("the directory is listed") {
        let file = file.expect("an entry");
        let mode = file.metadata().expect("its mode").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        names.push(file.file_name().into_string().expect("a name"));
    }
    names.sort();
    assert_eq!(names, ["journal.db", "journal.db-shm", "journal.db-wal", "lock"]);
}

#[test]
fn a_journal_is_read_where_nothing_may_be_written() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = open(&state, Limits::default());
    three_hours(&mut journal);
    drop(journal);
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::copy(root.path().join(JOURNAL_FILE), copy.path().join(JOURNAL_FILE)).expect("it is copied");
    let read_only = std::fs::Permissions::from_mode(0o500);
    std::fs::set_permissions(copy.path(), read_only).expect("nothing may be written");
    assert_eq!(all(copy.path(), "web", Start::Oldest).len(), 1082);
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o700)).expect("it may again");
    let error = Reader::open(&copy.path().join("elsewhere")).expect_err("nothing is there");
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
}
