//! Progress on a real disk: half written, full, read-only, copied, damaged.

use bootstrap_agent::progress::{Store, StoreError};
use bootstrap_core::{Entry, Inputs, Phase, Progress, Step};
use fleet::{ErrorClass, InstanceId, Timestamp};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn node() -> InstanceId {
    InstanceId::new("i-0123456789abcdef0")
}

fn line(step: Step, phase: Phase) -> Entry {
    let note = Some("job 17".to_owned());
    Entry { step, phase, inputs: Inputs::new("d1"), at: Timestamp::from_secs(1), note }
}

struct Disk {
    directory: tempfile::TempDir,
    store: Store,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("boot")).expect("it is made");
        Self { directory, store }
    }
    fn file(&self, step: Step) -> std::path::PathBuf {
        self.directory.path().join("boot").join(node().as_str()).join(format!("{step}.json"))
    }
}

#[test]
fn what_was_recorded_is_there_for_the_next_process_and_for_its_owner_alone() {
    let disk = Disk::new();
    assert_eq!(disk.store.load(&node()).expect("it loads"), (Progress::default(), Vec::new()));
    disk.store.record(&node(), &line(Step::Awx, Phase::Intent)).expect("it is written");
    disk.store.record(&node(), &line(Step::Awx, Phase::Done)).expect("it is written");
    disk.store.record(&node(), &line(Step::Vault, Phase::Intent)).expect("it is written");
    let again = Store::open(&disk.directory.path().join("boot")).expect("it is there");
    let (progress, damaged) = again.load(&node()).expect("it loads");
    assert_eq!(progress.get(Step::Awx), Some(&line(Step::Awx, Phase::Done)));
    assert_eq!(progress.get(Step::Vault), Some(&line(Step::Vault, Phase::Intent)));
    assert_eq!(progress.get(Step::Nomad), None);
    assert!(damaged.is_empty());
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&disk.file(Step::Awx)), 0o600);
    assert_eq!(mode(disk.file(Step::Awx).parent().expect("a directory")), 0o700);
}

#[test]
fn what_a_crash_left_half_written_is_not_read() {
    let disk = Disk::new();
    disk.store.record(&node(), &line(Step::Awx, Phase::Intent)).expect("it is written");
    let half = disk.file(Step::Awx).with_file_name(".new-abc123");
    fs::write(half, "{\"step\":\"awx\",\"pha").expect("it is written");
    let (progress, damaged) = disk.store.load(&node()).expect("it loads");
    assert_eq!(progress.get(Step::Awx), Some(&line(Step::Awx, Phase::Intent)));
    assert!(damaged.is_empty());
}

#[test]
fn a_damaged_line_is_told_and_costs_no_other() {
    let disk = Disk::new();
    disk.store.record(&node(), &line(Step::Vault, Phase::Done)).expect("it is written");
    disk.store.record(&node(), &line(Step::Awx, Phase::Done)).expect("it is written");
    let vault = fs::read(disk.file(Step::Vault)).expect("it is there");
    let large = vec![b' '; 100_000];
    for (content, why) in [
        (&b"{\"step\":"[..], "EOF"),
        (b"", "EOF"),
        (b"\xff\xfe", "expected value"),
        (b"{\"step\":\"awx\",\"of_tomorrow\":1}", "unknown field `of_tomorrow`"),
        (&vault, "it is the line of vault"),
        (&large, "larger than 65536 bytes"),
    ] {
        fs::write(disk.file(Step::Awx), content).expect("it is written");
        let (progress, damaged) = disk.store.load(&node()).expect("it loads");
        assert_eq!(progress.get(Step::Awx), None);
        assert_eq!(progress.get(Step::Vault), Some(&line(Step::Vault, Phase::Done)));
        assert_eq!(damaged.len(), 1);
        assert_eq!(damaged[0].path, disk.file(Step::Awx));
        assert!(damaged[0].why.contains(why), "{}", damaged[0].why);
    }
    disk.store.record(&node(), &line(Step::Awx, Phase::Intent)).expect("it is mended");
    assert!(disk.store.load(&node()).expect("it loads").1.is_empty());
}

#[test]
fn a_disk_of_another_instance_is_known_as_a_copy() {
    let disk = Disk::new();
    let other = InstanceId::new("i-0fedcba9876543210");
    disk.store.record(&other, &line(Step::Nomad, Phase::Done)).expect("it is written");
    fs::create_dir(disk.directory.path().join("boot/lost+found")).expect("it is made");
    assert_eq!(disk.store.others(&node()).expect("a list"), std::slice::from_ref(&other));
    assert_eq!(disk.store.load(&node()).expect("it loads").0, Progress::default(), "it starts afresh");
    disk.store.forget(&other).expect("it goes");
    disk.store.forget(&other).expect("again");
    assert!(disk.store.others(&node()).expect("a list").is_empty());
}

#[test]
fn a_step_can_be_reset() {
    let disk = Disk::new();
    assert!(!disk.store.reset(&node(), Step::Awx).expect("nothing is there"));
    disk.store.record(&node(), &line(Step::Awx, Phase::Done)).expect("it is written");
    assert!(disk.store.reset(&node(), Step::Awx).expect("it goes"));
    assert_eq!(disk.store.load(&node()).expect("it loads").0, Progress::default());
}

#[test]
fn a_file_system_that_takes_nothing_is_named_and_keeps_what_it_has() {
    let disk = Disk::new();
    disk.store.record(&node(), &line(Step::Awx, Phase::Intent)).expect("it is written");
    // What root cannot write either: a directory stands where the line is to be.
    fs::create_dir(disk.file(Step::Vault)).expect("it is made");
    let error =
        disk.store.record(&node(), &line(Step::Vault, Phase::Intent)).expect_err("it cannot be replaced");
    assert!(error.to_string().starts_with("write ") && error.to_string().contains("vault.json"), "{error}");
    assert_eq!(error.class(), ErrorClass::Transient);
    let (progress, _) = disk.store.load(&node()).expect("it loads");
    assert_eq!(progress.get(Step::Awx), Some(&line(Step::Awx, Phase::Intent)));
    let left = fs::read_dir(disk.file(Step::Awx).parent().expect("a directory")).expect("a list");
    assert_eq!(left.count(), 2, "nothing half written is left");
    let blocked = disk.directory.path().join("file");
    fs::write(&blocked, "").expect("it is written");
    let error = Store::open(&blocked.join("boot")).expect_err("a file is no directory");
    assert!(error.to_string().starts_with("create "), "{error}");
}

#[test]
fn only_an_instance_becomes_a_path() {
    let disk = Disk::new();
    for id in ["", "i-", "../etc", "i-../../etc", "i-a/b", "m-1"] {
        let error = disk.store.load(&InstanceId::new(id)).expect_err(id);
        assert!(matches!(error, StoreError::NotAnInstance { .. }) && error.class() == ErrorClass::Malformed);
    }
}
