//! The demo, played as a newcomer plays it.

use serde_json::Value;
use std::fs;
use std::process::Command;
use tempfile::TempDir;
use tests::programs::{Running, autoscaler, ended};

/// The demo with these arguments, and the directory that it may keep things in.
fn demo(arguments: &[&str]) -> (Command, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = autoscaler();
    command.arg("demo").args(arguments).env("TMPDIR", directory.path());
    (command, directory)
}

fn leftovers(directory: &TempDir) -> usize {
    fs::read_dir(directory).expect("a directory").count()
}

#[test]
fn an_hour_comes_out_the_same_each_time_and_leaves_nothing_behind() {
    let play = || {
        let (mut command, directory) = demo(&["--for", "1h", "--speed", "max", "--format", "json"]);
        let (code, out, err) = ended(&mut command);
        assert_eq!(code, 0, "{err}");
        assert_eq!(leftovers(&directory), 0);
        out
    };
    let played = play();
    assert_eq!(played, play());
    let report: Value = serde_json::from_str(&played).expect("it is JSON");
    let scores = &report["scores"];
    assert!(scores["actions"].as_u64().is_some_and(|actions| actions >= 1), "{report}");
    assert!(scores["breach80_ratio"].as_f64().is_some_and(|above| above <= 0.25), "{report}");
    assert!(report["cost_over_ideal"].as_f64().is_some_and(|cost| (0.8..1.5).contains(&cost)), "{report}");
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind_either() {
    for signal in ["INT", "TERM"] {
        let (mut command, directory) = demo(&["--speed", "720", "--plain"]);
        let mut running = Running::start(&mut command);
        running.wait_for("a decision", |line| line.contains(" \u{2192} ").then_some(()));
        assert!(leftovers(&directory) > 0, "it has kept a journal there all the while");
        running.signal(signal);
        let (status, written) = running.end();
        assert_eq!(status.code(), Some(130), "{signal}:\n{written}");
        assert_eq!(leftovers(&directory), 0, "{signal}");
    }
}
