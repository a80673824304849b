//! How a daemon ends: by real signals, and in real time where something hangs.

use crate::harness::{MINUTE, Stage, fleet_id, world};
use autoscaler::{Daemon, Ended, Handle, Signals};
use autoscaler_engine::{Command, Order};
use fleet::FleetName;
use fleet_sim::Demand;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// However slow the machine is: what takes longer hangs.
const HANGS: Duration = Duration::from_secs(60);

fn web() -> FleetName {
    FleetName::new("web")
}

fn send(signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &std::process::id().to_string()]).status();
    assert!(sent.expect("`kill` runs").success());
}

/// Asks again and again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(HANGS, asked).await.is_ok(), "waited for {what}");
}

async fn min(handle: &Handle) -> u32 {
    handle.fleet(web()).await.expect("it answers").expect("it is known").min
}

/// A daemon that is in the middle of a write which never ends.
async fn writing(stop_deadline: Duration) -> (Stage, Daemon) {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.config.stop_deadline = stop_deadline;
    let hung = Arc::new(Notify::new());
    stage.hung = Some(Arc::clone(&hung));
    write_min(&stage, 5);
    stage.start().await;
    hung.notified().await;
    let daemon = stage.daemon.take().expect("it runs");
    (stage, daemon)
}

fn write_min(stage: &Stage, min: u32) {
    let id = fleet_id(0);
    stage.write_policies(&format!("fleet \"web\" {{\n id = \"{id}\"\n capacity {{\n min = {min}\n }}\n}}\n"));
}

// One test, because signals are for the whole process.
#[tokio::test]
async fn signals_reload_then_stop_and_a_second_one_ends_at_once() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.config.watch_every = Duration::ZERO;
    stage.start().await;
    stage.run(MINUTE).await;
    let (handle, daemon) = (stage.handle(), stage.daemon.take().expect("it runs"));
    let governed = tokio::spawn(Signals::listen().expect("signals are listened to").govern(daemon));
    assert_eq!(min(&handle).await, 1);
    write_min(&stage, 2);
    send("-HUP");
    until("the reload", async || min(&handle).await == 2).await;
    send("-TERM");
    let ended = tokio::time::timeout(HANGS, governed).await.expect("it ends").expect("by itself");
    assert_eq!(ended, Ended::Stopped);

    let (_stage, daemon) = writing(HANGS).await;
    let handle = daemon.handle();
    let governed = tokio::spawn(Signals::listen().expect("signals are listened to").govern(daemon));
    send("-TERM");
    handle.stopping().await;
    assert!(!governed.is_finished(), "it waits for the write");
    send("-INT");
    let ended = tokio::time::timeout(HANGS, governed).await.expect("it ends").expect("by itself");
    assert_eq!(ended, Ended::AtOnce);
}

#[tokio::test]
async fn a_stop_waits_for_a_write_until_its_deadline_and_the_next_start_goes_on() {
    let (mut stage, daemon) = writing(Duration::from_millis(50)).await;
    assert_eq!(daemon.stop().await, Ended::CutOff);
    stage.hung = None;
    stage.start().await;
    stage.run(5 * MINUTE).await;
    assert_eq!(stage.cloud.world().truth(&fleet_id(0)).expect("it is there").target, 5);
}

#[tokio::test]
async fn without_a_state_directory_all_works_and_nothing_is_kept() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.config.state = None;
    stage.start().await;
    stage.run(MINUTE).await;
    let order =
        Command { fleet: None, order: Order::Resume, by: "ann".to_owned(), reason: "a test".to_owned() };
    assert_eq!(stage.handle().operate(order).await, Ok(Ok(())));
    let now = stage.handle().clock().wall();
    assert_eq!(stage.handle().decision_at(web(), now).await, Ok(None));
    assert_eq!(stage.daemon.take().expect("it runs").stop().await, Ended::Stopped);
    let left = std::fs::read_dir(stage.root.path()).expect("it is listed").count();
    assert_eq!(left, 1, "the policies");
}
