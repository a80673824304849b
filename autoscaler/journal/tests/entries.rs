//! The engine's entries, through the file and back.

use autoscaler_engine::{Entry, Record};
use autoscaler_journal::codec::{Encoded, decode};
use autoscaler_journal::{Journal, JournalError, Limits, Reader, Start, StateDir, Stored};
use fleet::{FleetName, Timestamp};

fn entry(number: i64) -> Entry {
    let record = Record::ClockJumped { by_ms: number };
    Entry { fleet: "web".into(), at: Timestamp::from_secs(10 * number), records: vec![record] }
}

#[test]
fn entries_of_any_number_come_back_as_they_were() {
    let root = tempfile::tempdir().expect("a directory");
    let state = StateDir::take(root.path()).expect("it is ours");
    let mut journal = Journal::open(&state, Limits::default(), Timestamp::EPOCH).expect("it opens").journal;
    // More than are read at a time, over several blocks, the last hour unpacked.
    let written: Vec<Entry> = (0..2000).map(entry).collect();
    for tick in written.chunks(7) {
        let encoded: Vec<Encoded> =
            tick.iter().map(|entry| Encoded::of(entry).expect("it is encoded")).collect();
        let rows: Vec<_> = encoded.iter().map(Encoded::entry).collect();
        journal.append(&rows, false).expect("it is appended");
    }
    while journal.tidy(Timestamp::from_secs(5 * 3600 + 10)).expect("it is tidied").more {}
    let reader = Reader::open(root.path()).expect("it opens for reading");
    let web = FleetName::new("web");
    let read: Vec<Entry> =
        reader.entries(&web, Start::Oldest).map(|entry| entry.expect("it is sound")).collect();
    assert_eq!(read, written);
    assert_eq!(reader.entries(&FleetName::new("api"), Start::Oldest).count(), 0);
}

#[test]
fn bytes_that_are_no_entry_are_an_error_that_names_the_record() {
    for bytes in [&[][..], &[1, 250], &[0, 0], &[255, 255, 255]] {
        let stored = Stored { seq: 41, at: Timestamp::EPOCH, checkpoint: false, bytes: bytes.to_vec() };
        match decode("web", &stored) {
            Err(error @ JournalError::Corrupt { .. }) => {
                assert!(error.to_string().contains("record 41 of web"), "{error}");
            }
            other => panic!("{bytes:?} became {other:?}"),
        }
    }
}
