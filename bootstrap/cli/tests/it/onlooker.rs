//! Whoever looks at the arguments and the environment of everything that runs on this host, machines among it.

use crate::secrets::must_lack;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What lives for less may be missed: root's part of the agent stays for two seconds.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until it is told to stop, or dropped.
pub struct Onlooker {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    thread: Option<JoinHandle<BTreeSet<Vec<u8>>>>,
}

impl Onlooker {
    /// Begins to look.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&looks));
        let thread = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
                    let read = |what: &str| fs::read(entry.path().join(what));
                    seen.extend(["cmdline", "environ"].into_iter().flat_map(read));
                }
                counted.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            seen
        });
        Self { stop, looks, thread: Some(thread) }
    }

    /// Stops, and fails where one of these was seen.
    ///
    /// * `marks`: what has to have been seen, or nothing is shown by it.
    pub fn saw_none_of(mut self, secrets: &[String], marks: &[&str]) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take().map(|thread| thread.join().expect("it looks")).unwrap_or_default();
        let seen = seen.iter().map(|text| String::from_utf8_lossy(text).replace('\0', " "));
        let seen: Vec<(String, String)> = seen
            .map(|text| (format!("what is seen of {}", text.chars().take(60).collect::<String>()), text))
            .collect();
        for mark in marks {
            assert!(seen.iter().any(|(_, text)| text.contains(mark)), "nobody has seen {mark}");
        }
        must_lack(&seen, secrets);
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn whoever_looks_sees_a_secret_in_an_environment() {
    let secret = "planted-onlooker-2d8e".to_owned();
    let mut showing = Command::new("sleep");
    let mut showing = showing.arg("60.25").env("SHOWN", &secret).spawn().expect("it starts");
    let onlooker = Onlooker::start();
    muster_test_servers::wait_for("a look", || (onlooker.looks.load(Ordering::Relaxed) > 1).then_some(()));
    let _ = showing.kill();
    let _ = showing.wait();
    let told = catch_unwind(AssertUnwindSafe(|| onlooker.saw_none_of(&[secret], &["sleep 60.25"])));
    let told = told.expect_err("it is shown");
    let told = told.downcast_ref::<String>().expect("words");
    assert!(told.contains("a secret is shown in what is seen of"), "{told}");
}
