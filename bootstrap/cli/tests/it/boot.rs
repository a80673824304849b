//! The boot as far as it needs nobody but the metadata service, and the commands that ask.

use crate::ground::{Cloud, Node, failure_of, state_of};
use bootstrap_core::{Condition, State, Step};
use std::fs;

#[test]
fn a_node_proves_who_it_is_and_is_ready() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    node.start();
    let status = node.wait_done();
    let who = status.who.as_ref().expect("it is known");
    assert_eq!(who.instance, node.instance);
    assert_eq!(state_of(&status, Step::Nomad), State::Skipped);
    let ready = fs::read_to_string(node.path().join("run/ready")).expect("it says so");
    assert_eq!(ready.trim(), node.instance.as_str());
    let metrics = fs::read_to_string(node.path().join("run/metrics/muster_bootstrap.prom")).expect("metrics");
    assert!(metrics.contains("muster_bootstrap_ready 1"), "{metrics}");
    assert!(metrics.contains("muster_bootstrap_step_state{step=\"identity\",state=\"done\"} 1"), "{metrics}");
    let seconds = metrics
        .lines()
        .find_map(|line| line.strip_prefix("muster_bootstrap_step_seconds{step=\"identity\"} "));
    let shown = status.report.steps[0].seconds.expect("it took some");
    assert_eq!(seconds.and_then(|seconds| seconds.parse().ok()), Some(shown), "{metrics}");
    let launched =
        metrics.lines().find_map(|line| line.strip_prefix("muster_bootstrap_launch_to_ready_seconds "));
    let seconds: f64 = launched.and_then(|seconds| seconds.parse().ok()).expect("a time");
    assert!(seconds > 3600.0, "it had run for hours when the agent came: {seconds}");
    let shown = node.command(&["status", "--wait"]).output().expect("it runs");
    assert_eq!(shown.status.code(), Some(0));
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.starts_with(&format!("done: {} (", node.instance)), "{text}");
    let blame = node.command(&["analyze", "blame"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&blame.stdout).contains("s identity"));
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_document_that_aws_has_not_signed_proves_nothing() {
    let (cloud, other) = (Cloud::start(), Cloud::start());
    let mut node = Node::new(&cloud, 0, "");
    let quick = "step \"identity\" {\n  attempt = \"9s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"10s\"\n}\n";
    node.configure(&other.metadata(&other.instance(0)), quick);
    node.start();
    let status = node
        .wait_until("what is wrong", |status| failure_of(status, Step::Identity).contains("is not AWS's"));
    assert_eq!(status.who, None);
    let status = node.wait_state(Step::Identity, State::Failed);
    assert_eq!(status.report.condition, Condition::Failed);
    assert!(!node.path().join("run/ready").exists());
    assert_eq!(status.who, None);
    let shown = node.command(&["status"]).output().expect("it runs");
    assert_eq!(shown.status.code(), Some(1));
}

#[test]
fn a_wrong_file_is_told_at_once_with_its_place() {
    let cloud = Cloud::start();
    let node = Node::new(&cloud, 0, "nomad {\n  nodepool = \"web\"\n}\n");
    let ran = node.command(&["run"]).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(78));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("bootstrap.hcl:6:3") && said.contains("did you mean `node_pool`?"), "{said}");
}

#[test]
fn a_killed_agent_takes_up_where_it_was_and_a_reboot_too() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    node.start();
    node.wait_done();
    node.kill();
    node.start();
    node.wait_done();
    node.reboot();
    node.start();
    let status = node.wait_done();
    assert!(status.alarms.is_empty(), "{status:?}");
    let lines =
        fs::read_dir(node.path().join("state").join(node.instance.as_str())).expect("progress").count();
    assert!(lines >= 3, "a line a step");
}

#[test]
fn a_metadata_service_that_falls_silent_is_an_alarm_and_takes_no_work_away() {
    let cloud = Cloud::start();
    let quick = "step \"identity\" {\n  attempt = \"3s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"3s\"\n}\n\
                 step \"time\" {\n  attempt = \"3s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"3s\"\n}\n";
    let mut node = Node::new(&cloud, 0, quick);
    node.start();
    node.wait_done();
    drop(cloud);
    node.verify();
    let status = node.wait_until("an alarm", |status| !status.alarms.is_empty());
    assert!(status.alarms.iter().any(|alarm| alarm.contains("the metadata service")), "{:?}", status.alarms);
    node.verify();
    let status = node.wait_until("another look", |later| later.updated > status.updated);
    assert_eq!(status.report.condition, Condition::Done);
    assert!(node.path().join("run/ready").exists());
    // Nor does one that is silent while another process of the agent begins.
    node.kill();
    node.start();
    let status = node.wait_done();
    assert!(status.alarms.iter().any(|alarm| alarm.contains("the metadata service")), "{:?}", status.alarms);
    assert_eq!(status.who.map(|who| who.instance), Some(node.instance.clone()));
    assert!(node.path().join("run/ready").exists());
    // After a reboot nobody knows what instance this is before it is asked.
    node.reboot();
    node.start();
    node.wait_state(Step::Identity, State::Failed);
    assert!(!node.path().join("run/ready").exists());
}
