//! A thousand fleets.

use crate::harness::{MINUTE, Stage, fleets};
use autoscaler_engine::Entry;
use autoscaler_journal::{Reader, Start};
use fleet::FleetName;
use fleet_sim::Demand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_fleets_are_held_by_one_daemon() {
    let mut stage = Stage::new(fleets(1000, &Demand::constant(2.0)));
    stage.start().await;
    stage.handle().idle().await;
    let status = stage.handle().status().await.expect("it answers");
    assert_eq!(status.fleets.len(), 1000);
    stage.run(5 * MINUTE).await;
    let status = stage.handle().status().await.expect("it answers");
    assert_eq!(status.alarms, [], "the journal keeps up");
    assert!(status.fleets.iter().all(|fleet| fleet.decided.is_some()), "each has been decided on");
    stage.crash().await;
    let reader = Reader::open(stage.state()).expect("the journal is there");
    let web = FleetName::new("web0500");
    let entries = reader.entries(&web, Start::Oldest).map(|entry| entry.expect("it is sound"));
    assert_eq!(entries.filter(Entry::is_checkpoint).count(), 1, "nothing was lost on the way to it");
    stage.start().await;
    stage.run(MINUTE).await;
    let status = stage.handle().status().await.expect("it answers");
    assert!(status.fleets.iter().all(|fleet| fleet.target == Some(3)), "{:?}", status.fleets[0]);
}
