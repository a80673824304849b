//! How long a node takes to be left.

use crate::{alloc, node, seconds};
use autoscaler_nomad::facts::{AllocFact, DrainDeadline, drain_deadline, latest_deadline};
use fleet::{Timestamp, Work, WorkKind};
use proptest::prelude::*;

fn of_group(mut one: AllocFact, group: &str, grace: u64, max_parallel: u32) -> AllocFact {
    let (job, group) = ("shop".to_owned(), group.to_owned());
    one.work = Work { job, group, grace: seconds(grace), ..one.work };
    AllocFact { max_parallel, ..one }
}

#[test]
fn the_longest_grace_on_the_node_counts_and_not_the_sum() {
    let mut system = of_group(alloc("c", 1, 1), "agent", 300, 1);
    system.work.kind = WorkKind::System;
    let web = |id| of_group(alloc(id, 1, 1), "web", 35, 1);
    let node = node("n", vec![web("a"), web("b"), system]);
    assert_eq!(node.grace(true), seconds(35));
    assert_eq!(node.grace(false), seconds(300));
    assert_eq!(super::node("empty", Vec::new()).grace(true), seconds(0));
}

#[test]
fn an_orderly_drain_takes_its_groups_batch_by_batch() {
    let web = |id| of_group(alloc(id, 1, 1), "web", 20, 2);
    let api = |id| of_group(alloc(id, 1, 1), "api", 5, 1);
    let node = node("n", vec![web("a"), web("b"), web("c"), api("d")]);
    // Two batches of web, each 20 s to end and 10 s to be healthy elsewhere.
    assert_eq!(node.in_turn(true), seconds(60));
}

#[test]
fn groups_that_no_deadline_helps_are_named() {
    let web = of_group(alloc("a", 1, 1), "web", 20, 1);
    let queue = of_group(alloc("b", 1, 1), "queue", 121, 1);
    let slow = node("n", vec![web, queue]).cannot_leave_within(seconds(120), true);
    let named: Vec<_> = slow.iter().map(|group| (&*group.job, &*group.group, group.grace)).collect();
    assert_eq!(named, [("shop", "queue", seconds(121))]);
}

#[test]
fn the_deadline_leaves_time_for_the_grace_and_the_margin() {
    let now = Timestamp::from_secs(1000);
    let leaves_at = now + seconds(120);
    assert_eq!(latest_deadline(leaves_at, seconds(10), seconds(35)), now + seconds(75));
    assert_eq!(drain_deadline(now, leaves_at, seconds(10), seconds(35)), DrainDeadline::Within(seconds(75)));
}

#[test]
fn a_deadline_that_has_passed_is_at_once() {
    let now = Timestamp::from_secs(1000);
    let deadline = |grace| drain_deadline(now, now + seconds(120), seconds(10), seconds(grace));
    assert_eq!(deadline(110), DrainDeadline::AtOnce);
    assert_eq!(deadline(1_000_000), DrainDeadline::AtOnce);
    assert_eq!(drain_deadline(now, now - seconds(1), seconds(0), seconds(0)), DrainDeadline::AtOnce);
}

proptest! {
    #[test]
    fn what_is_told_at_the_deadline_has_ended_before_the_margin(
        left in 0u64..1000, margin in 0u64..200, grace in 0u64..1000,
    ) {
        let now = Timestamp::from_secs(5000);
        let told_at = match drain_deadline(now, now + seconds(left), seconds(margin), seconds(grace)) {
            DrainDeadline::Within(time) => now + time,
            other => {
                prop_assert_eq!(other, DrainDeadline::AtOnce);
                // Only where there was no time to lose.
                prop_assert!(left <= margin + grace);
                return Ok(());
            }
        };
        prop_assert_eq!(told_at + seconds(grace) + seconds(margin), now + seconds(left));
    }
}
