//! Whole days: held well, the same every time, and however often the daemon dies.

use crate::harness::{HOUR, MINUTE, SECOND, Stage, daily, fleet_id, world};
use autoscaler::Ended;
use autoscaler_engine::{Replayed, replay};
use autoscaler_journal::{Reader, Start};
use fleet::FleetName;
use fleet::ports::Clock;
use fleet_sim::{Demand, Scores};
use std::time::Duration;

fn web() -> FleetName {
    FleetName::new("web")
}

/// Plans the whole journal again.
fn replayed(stage: &Stage) -> Replayed {
    let reader = Reader::open(stage.state()).expect("the journal is there");
    let entries = reader.entries(&web(), Start::Oldest).map(|entry| entry.expect("it is sound"));
    replay(entries, autoscaler_core::plan)
}

async fn a_day(latency: Duration) -> (Scores, u64, Stage) {
    let mut stage = Stage::new(world(&daily(2.0, 12.0)));
    stage.latency = latency;
    stage.start().await;
    stage.run(24 * HOUR).await;
    stage.handle().idle().await;
    let hash = stage.cloud.world().state_hash();
    (stage.scores(0), hash, stage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_held_replays_and_is_small_on_disk() {
    let (scores, _, mut stage) = a_day(Duration::ZERO).await;
    assert!(scores.actions > 10, "{scores:?}");
    assert!(scores.breach80_ratio < 0.02, "{scores:?}");
    assert!(scores.cost_unit_hours < 1.2 * scores.ideal_unit_hours, "{scores:?}");
    let stopped = stage.daemon.take().expect("it runs").stop().await;
    assert_eq!(stopped, Ended::Stopped);

    let Replayed { cycles, divergences, .. } = replayed(&stage);
    assert!(cycles >= 8640, "{cycles} cycles");
    assert_eq!(divergences, []);

    let used = std::fs::metadata(stage.state().join("journal.db")).expect("it is there").len();
    assert!(used < 2_000_000, "a day of a fleet takes {used} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_the_same_every_time_even_when_calls_take_their_time() {
    for latency in [Duration::ZERO, Duration::from_millis(1300)] {
        let (first, first_world, _) = a_day(latency).await;
        let (second, second_world, _) = a_day(latency).await;
        assert_eq!(first, second, "with a latency of {latency:?}");
        assert_eq!(first_world, second_world, "with a latency of {latency:?}");
    }
}

#[tokio::test]
async fn a_daemon_that_dies_again_and_again_ends_in_the_same_place() {
    // Up, down, and then level: where it ends does not depend on the way.
    let load = Demand::points([
        (Duration::ZERO, 3.0),
        (HOUR, 3.0),
        (HOUR + 10 * MINUTE, 11.0),
        (2 * HOUR, 11.0),
        (2 * HOUR + 10 * MINUTE, 4.0),
        (9 * HOUR, 4.0),
    ]);
    let mut undisturbed = Stage::new(world(&load));
    undisturbed.start().await;
    undisturbed.run(5 * HOUR).await;

    let mut stage = Stage::new(world(&load));
    stage.latency = Duration::from_millis(700);
    stage.start().await;
    let (end, mut steps, mut deaths) = (5 * HOUR, 0_u32, 0);
    // Killed after so many steps, wherever that is: a step leaves the daemon in the middle of what it set off.
    while stage.step(end).await {
        steps += 1;
        if steps.is_multiple_of(211) {
            stage.crash().await;
            stage.start().await;
            deaths += 1;
        }
    }
    assert!(deaths > 20, "died {deaths} times");
    let expected = undisturbed.cloud.world().truth(&fleet_id(0)).expect("it is there").target;
    let right = stage.cloud.world();
    let found = right.truth(&fleet_id(0)).expect("it is there").target;
    // The samples that each death swallowed are missing from what is known of the load: headroom may differ.
    assert!(found.abs_diff(expected) <= 1, "{found} in place of {expected}");
    let running = right.shown_instances().iter().filter(|instance| is_there(instance)).count();
    assert_eq!(running, found as usize, "every removal took exactly one");
    drop(right);
    assert_eq!(replayed(&stage).divergences, [], "a restart folds to what was");
}

fn is_there(instance: &fleet::Instance) -> bool {
    matches!(instance.state, fleet::InstanceState::Pending | fleet::InstanceState::Running)
}

#[tokio::test]
async fn a_restart_knows_the_load_of_before() {
    let mut stage = Stage::new(world(&Demand::constant(9.0)));
    stage.start().await;
    stage.run(HOUR).await;
    stage.crash().await;
    // Nobody says anything any more: what is known is from the journal.
    stage.agents = false;
    stage.start().await;
    stage.handle().idle().await;
    stage.run(20 * SECOND).await;
    let fleet = stage.handle().fleet(web()).await.expect("it answers").expect("it is known");
    let report = fleet.decided.expect("it has decided").report;
    let demand = report.demand.expect("demand is known").get();
    assert!((17.0..19.0).contains(&demand), "nine instances' worth of two cores: {demand}");
}

#[tokio::test]
async fn past_decisions_are_explained_from_the_journal() {
    let mut stage = Stage::new(world(&daily(2.0, 12.0)));
    stage.start().await;
    stage.run(3 * HOUR).await;
    let handle = stage.handle();
    let early = stage.cloud.world().start() + HOUR;
    let then = handle.decision_at(web(), early).await.expect("it answers").expect("it is kept");
    assert!(then.at <= early && early.since(then.at) <= 20 * SECOND, "{} for {early}", then.at);
    assert!(then.report.demand.is_some());
    let before = stage.cloud.world().start() - HOUR;
    assert_eq!(handle.decision_at(web(), before).await, Ok(None));
    let last = handle.decisions(web()).await.expect("it answers").expect("it is known");
    let now = stage.clock.wall();
    let again = handle.decision_at(web(), now).await.expect("it answers").expect("it is kept");
    assert_eq!(last.last(), Some(&again), "made again from the journal, it is the same to the bit");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let mut stage = Stage::new(world(&daily(2.0, 12.0)));
    stage.config.engine.dry_run = true;
    stage.start().await;
    stage.run(12 * HOUR).await;
    assert_eq!(stage.scores(0).actions, 0);
    let decisions = stage.handle().decisions(web()).await.expect("it answers").expect("it is known");
    assert!(decisions.iter().any(|decided| !decided.plan.actions.is_empty()), "it says what it would do");
}
