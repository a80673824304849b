//! The real process between the loopback cloud and real Nomad, whose clients are instances of the fleet: nodes are
//! emptied before they go, and notices are acted upon at once.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real processes are timed, and the figures shown"
)]

use fleet::Timestamp;
use muster_test_servers::{NomadOptions, wait_for};
use serde_json::Value;
use std::time::{Duration, Instant};
use tests::ground::{Daemon, Site};
use tests::work::service;

/// How many instances the fleet has at first, and how many its policy leaves it.
const FIRST: u32 = 4;
const SMALLEST: u32 = 3;

/// When each write of a removal was begun: (operation, the log's time).
fn writes(daemon: &mut Daemon) -> Vec<(String, Timestamp)> {
    let lines = daemon.running.lines().iter();
    lines
        .filter(|line| line.contains("\"began a write\""))
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let operation = text(&line["operation"]).or_else(|| text(&line["fields"]["operation"]));
            let at = text(&line["timestamp"]).expect("a line has a time");
            (operation.expect("a write has a name"), Timestamp::parse(&at).expect("a time"))
        })
        .collect()
}

#[test]
fn nodes_are_emptied_before_they_go_and_what_is_interrupted_is_replaced_at_once_and_once() {
    let mut site = Site::start(FIRST, SMALLEST, NomadOptions::default(), None);
    site.nomad.register(&service("web", FIRST, 500, 0));
    wait_for("the work to run", || (site.places("web").len() == 4).then_some(()));
    let mut daemon = site.daemon("state", &[]);
    a_node_is_drained_before_the_target_is_lowered(&site, &mut daemon);
    let (ineligible, raised) = an_interrupted_one_is_replaced_once(&mut site);
    println!(
        "ineligible after {:.3} s, raised after {:.3} s",
        ineligible.as_secs_f64(),
        raised.as_secs_f64()
    );
    daemon.stop();
}

fn a_node_is_drained_before_the_target_is_lowered(site: &Site, daemon: &mut Daemon) {
    let before = site.cloud.living();
    wait_for("one to be gone", || (site.cloud.living().len() == 3).then_some(()));
    let living = site.cloud.living();
    let gone = before.into_iter().find(|one| !living.contains(one)).expect("one is gone");
    assert_eq!(site.cloud.target(), SMALLEST);
    let writes = wait_for("the steps to be told", || {
        let writes = writes(daemon);
        writes.iter().any(|(operation, _)| operation == "terminate").then_some(writes)
    });
    let first = |name: &str| {
        let found = writes.iter().find(|(operation, _)| operation == name);
        found.unwrap_or_else(|| panic!("no {name} among {writes:?}")).1
    };
    let node = site.node(&gone);
    assert_eq!(node["LastDrain"]["Status"], "complete", "{node}");
    let drained = node["LastDrain"]["UpdatedAt"].as_str().expect("a time");
    let drained = Timestamp::parse(drained).expect("a time");
    println!(
        "drain {}, drained {drained}, modify {}, terminate {}",
        first("drain"),
        first("modify"),
        first("terminate")
    );
    assert!(first("drain") <= drained && drained <= first("modify"));
    assert!(first("modify") <= first("terminate"));
    let places = site.places("web");
    assert!(places.len() == 4 && !places.contains(&gone.to_string()), "the work runs on those that stay");
}

/// Interrupts an instance of the fleet, and waits until another has taken its place.
///
/// * returns: how long after the notice its node was ineligible, and the target raised.
fn an_interrupted_one_is_replaced_once(site: &mut Site) -> (Duration, Duration) {
    let before = site.cloud.living();
    let victim = before[0].clone();
    let noticed = Instant::now();
    site.cloud.interrupt(&victim);
    let (mut ineligible, mut raised) = (None, None);
    wait_for("the notice to be acted upon", || {
        if raised.is_none() && site.cloud.target() == SMALLEST + 1 {
            raised = Some(noticed.elapsed());
        }
        if ineligible.is_none() && !site.is_eligible(&victim) {
            ineligible = Some(noticed.elapsed());
        }
        ineligible.zip(raised)
    });
    let new = wait_for("the replacement", || {
        site.cloud.living().into_iter().find(|instance| !before.contains(instance))
    });
    site.add_node(&new, None);
    // A minute before its two are over the target comes down again, and then it goes.
    wait_for("the target to be as before", || (site.cloud.target() == SMALLEST).then_some(()));
    wait_for("the doomed one to be gone", || (!site.cloud.living().contains(&victim)).then_some(()));
    let living = site.cloud.living();
    assert!(living.len() == 3 && living.contains(&new), "replaced once: {living:?}");
    ineligible.zip(raised).expect("both were seen")
}
