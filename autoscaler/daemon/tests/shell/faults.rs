//! What a shell must survive.

use crate::harness::{HOUR, MINUTE, SECOND, Stage, daily, fleets, world};
use autoscaler::{Daemon, Everywhere, StartError};
use autoscaler_engine::{Command, Order};
use autoscaler_journal::{JournalError, Limits, Reader, Start};
use fleet::FleetName;
use fleet_sim::{Demand, Effect, Fault};
use std::sync::Arc;
use std::time::Duration;

fn web() -> FleetName {
    FleetName::new("web")
}

#[tokio::test]
async fn a_state_directory_belongs_to_one_daemon() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    let ports = Arc::new(Everywhere::of(stage.cloud.clone()));
    let clock = Arc::new(stage.clock.clone());
    let Err(error) = Daemon::start(stage.config.clone(), ports, clock).await else { panic!("it started") };
    assert!(matches!(error, StartError::State(JournalError::Locked { .. })), "{error}");
    assert_eq!(error.exit_code(), 75);
    assert!(error.to_string().contains(&format!("process {} has it", std::process::id())), "{error}");
}

#[tokio::test]
async fn a_state_directory_that_is_a_file_is_a_slip_that_no_restart_cures() {
    let stage = Stage::new(world(&Demand::constant(1.0)));
    std::fs::write(stage.state(), "not a directory").expect("a file");
    for state in [stage.state().to_owned(), stage.state().join("below")] {
        let config = autoscaler::DaemonConfig { state: Some(state.clone()), ..stage.config.clone() };
        let clock = Arc::new(stage.clock.clone());
        let Err(error) = Daemon::start(config, Arc::new(stage.ports()), clock).await else {
            panic!("it started")
        };
        assert_eq!(error.exit_code(), 78, "{}: {error}", state.display());
    }
}

#[tokio::test]
async fn a_damaged_journal_is_set_aside_and_the_fleet_is_held() {
    let mut stage = Stage::new(world(&Demand::constant(5.5)));
    stage.start().await;
    stage.run(HOUR).await;
    stage.crash().await;
    let path = stage.state().join("journal.db");
    for damage in 0..2 {
        let mut bytes = std::fs::read(&path).expect("it is there");
        if damage == 0 {
            bytes.fill(0x55);
        } else {
            // In the middle of a record: found only when it is read.
            let half = bytes.len() / 2;
            bytes[half..].fill(0x55);
        }
        std::fs::write(&path, bytes).expect("it is damaged");
        stage.start().await;
        stage.run(HOUR).await;
        let fleet = stage.handle().fleet(web()).await.expect("it answers").expect("it is known");
        assert_eq!(fleet.target, Some(8), "held as before");
        stage.crash().await;
    }
    let names = std::fs::read_dir(stage.state()).expect("it is listed").flatten();
    let aside = names.filter(|n| n.file_name().to_string_lossy().starts_with("journal.corrupt-")).count();
    assert!(aside >= 2, "both are kept");
    assert!(Reader::open(stage.state()).is_ok(), "and a sound one is there");
}

#[tokio::test]
async fn damage_that_packing_finds_costs_the_past_and_nothing_else() {
    let mut stage = Stage::new(world(&Demand::constant(5.5)));
    stage.start().await;
    stage.run(30 * MINUTE).await;
    let elsewhere = rusqlite::Connection::open(stage.state().join("journal.db")).expect("it opens");
    let damaged = elsewhere.execute("UPDATE record SET bytes = x'00' WHERE seq = 100", []);
    assert_eq!(damaged, Ok(1));
    drop(elsewhere);
    stage.run(HOUR).await;
    stage.crash().await;
    let reader = Reader::open(stage.state()).expect("a sound one is there");
    let entries: Vec<_> =
        reader.entries(&web(), Start::Oldest).map(|entry| entry.expect("it is sound")).collect();
    let first = entries.first().expect("it goes on");
    assert!(first.is_checkpoint(), "a restart finds all it needs");
    assert!(first.at < stage.cloud.world().start() + HOUR + 2 * MINUTE, "at once: {}", first.at);
    stage.start().await;
    stage.run(10 * MINUTE).await;
    let fleet = stage.handle().fleet(web()).await.expect("it answers").expect("it is known");
    assert_eq!((fleet.target, stage.scores(0).actions), (Some(8), 0));
    assert_eq!(fleet.alarms, []);
}

#[tokio::test]
async fn what_was_ordered_before_the_damage_stays_in_force() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(MINUTE).await;
    let bend = Order::Override { min: Some(7), max: None, target: None, lasts: 9 * HOUR };
    let order = Command { fleet: None, order: bend, by: "ann".to_owned(), reason: "a sale".to_owned() };
    assert_eq!(stage.handle().operate(order).await, Ok(Ok(())));
    stage.run(20 * MINUTE).await;
    stage.crash().await;
    let elsewhere = rusqlite::Connection::open(stage.state().join("journal.db")).expect("it opens");
    let damaged = elsewhere.execute("UPDATE record SET bytes = x'00' WHERE seq = 100", []);
    assert_eq!(damaged, Ok(1));
    drop(elsewhere);
    for life in 0..2 {
        stage.start().await;
        stage.run(20 * MINUTE).await;
        let fleet = stage.handle().fleet(web()).await.expect("it answers").expect("it is known");
        assert_eq!((fleet.min, fleet.target, fleet.ceded), (7, Some(7), false), "in life {life}");
        stage.crash().await;
    }
}

#[tokio::test]
async fn without_room_for_its_journal_a_daemon_alarms_and_still_scales_out() {
    let load = Demand::points([
        (Duration::ZERO, 2.0),
        (2 * HOUR, 2.0),
        (2 * HOUR + 5 * MINUTE, 10.0),
        (9 * HOUR, 10.0),
    ]);
    let mut stage = Stage::new(fleets(5, &load));
    // Room for half an hour of records, and nothing that could be dropped.
    stage.config.journal = Limits { bytes: 1, ..Limits::default() };
    stage.start().await;
    stage.run(HOUR).await;
    let status = stage.handle().status().await.expect("it answers");
    let labels: Vec<_> = status.alarms.iter().map(|alarm| alarm.alarm.label()).collect();
    assert_eq!(labels, ["journal_failing"]);
    stage.run(2 * HOUR).await;
    for fleet in stage.handle().status().await.expect("it answers").fleets {
        assert!(fleet.target >= Some(14), "{:?}", fleet.target);
    }
}

#[tokio::test]
async fn a_throttled_api_and_lost_answers_are_ridden_out() {
    let mut stage = Stage::new(world(&daily(2.0, 12.0)));
    stage.latency = 2 * SECOND;
    stage.cloud.world().inject(Fault::lasting(Effect::throttle(0.3)));
    stage.cloud.world().inject(Fault::lasting(Effect::LoseAnswer { action: None, share: 0.1 }));
    stage.start().await;
    stage.run(24 * HOUR).await;
    let scores = stage.scores(0);
    assert!(scores.breach80_ratio < 0.05, "{scores:?}");
    assert!(scores.cost_unit_hours < 1.3 * scores.ideal_unit_hours, "{scores:?}");
}

#[tokio::test]
async fn a_wall_clock_that_jumps_stops_nothing() {
    let mut stage = Stage::new(world(&Demand::constant(5.5)));
    stage.start().await;
    stage.run(HOUR).await;
    for jump in [3_600_000, -7_200_000] {
        stage.clock.jump_wall(jump);
        stage.run(HOUR).await;
        let fleet = stage.handle().fleet(web()).await.expect("it answers").expect("it is known");
        assert_eq!(fleet.target, Some(8), "after a jump of {jump} ms");
        assert!(fleet.seen.is_some());
    }
    assert!(stage.scores(0).actions <= 2);
}
