//! A watch that is half gone is none.

use crate::standin::Bench;
use bootstrap_agent::watch::{Ended, watch};
use bootstrap_config::Settings;
use fleet::Timestamp;
use muster_test_servers::{Plays, StandIn};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

fn bench() -> Bench {
    let service = StandIn::start(|_| Plays::status(404));
    Bench::new(service, Settings::default(), Timestamp::from_secs(1_000_000))
}

#[tokio::test]
async fn a_part_of_the_watch_that_ends_is_the_end_of_the_watch() {
    let bench = bench();
    let (commands, _orders) = mpsc::channel(1);
    // Nobody will ever say what a failed step means: whoever carries that out has nothing to do any more, and ends.
    let (_, none) = mpsc::unbounded_channel();
    let ended = tokio::time::timeout(Duration::from_secs(20), watch(Arc::clone(&bench.node), commands, none));
    let ended = ended.await.expect("it ends");
    assert_eq!(ended, Ended { part: "consequences", panicked: false });
    assert_eq!(ended.to_string(), "the watchman's part for consequences has ended");
}

#[tokio::test]
async fn who_does_not_look_any_more_is_known_by_that() {
    let Bench { node, clock, consequences, service: _service, .. } = bench();
    let (commands, _orders) = mpsc::channel(1);
    let watching = tokio::spawn(watch(Arc::clone(&node), commands, consequences));
    let mut turns = 0;
    while clock.next_wake().is_none() && turns < 10_000 {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(node.is_watched());
    watching.abort();
    assert!(watching.await.is_err_and(|error| error.is_cancelled()));
    clock.advance_to(Duration::from_secs(60));
    assert!(!node.is_watched(), "the watchdog is not fed by a loop that is alone");
}
