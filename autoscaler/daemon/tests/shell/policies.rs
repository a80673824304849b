//! Policies that change under a running daemon.

use crate::harness::{SECOND, Stage, fleet_id, world};
use autoscaler::{Daemon, Everywhere, ReloadError, StartError};
use fleet::{FleetName, Region};
use fleet_sim::Demand;
use std::sync::Arc;

async fn min_in_force(stage: &Stage) -> u32 {
    stage.handle().fleet(FleetName::new("web")).await.expect("it answers").expect("it is known").min
}

fn policy(rest: &str) -> String {
    format!("fleet \"web\" {{\n  id = \"{}\"\n  {rest}\n}}\n", fleet_id(0))
}

#[tokio::test]
async fn a_changed_file_is_taken_over_within_seconds() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(30 * SECOND).await;
    assert_eq!(min_in_force(&stage).await, 1);
    stage.write_policies(&policy("capacity {\n min = 3\n }"));
    stage.run(7 * SECOND).await;
    assert_eq!(min_in_force(&stage).await, 3);
    let second = policy("dry_run = true").replace("web", "api");
    let path = stage.policy_file().with_file_name("second.hcl");
    std::fs::write(&path, second.replace(fleet_id(0).as_str(), fleet_id(9).as_str())).expect("a file more");
    std::fs::write(path.with_file_name(".hidden.hcl"), "not a policy").expect("a hidden file");
    std::fs::write(path.with_file_name("README"), "not a policy").expect("another file");
    stage.run(7 * SECOND).await;
    assert_eq!(stage.handle().status().await.expect("it answers").fleets.len(), 2);
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_policy_and_says_so_until_it_is_mended() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(30 * SECOND).await;
    for bad in [policy("capacity {\n min = 30\n }"), policy("capacty {}"), "fleet {".to_owned()] {
        stage.write_policies(&bad);
        stage.run(7 * SECOND).await;
        assert_eq!(min_in_force(&stage).await, 1);
        let policies = stage.handle().status().await.expect("it answers").policies;
        let problems = policies.problems.expect("it says what is wrong");
        assert!(problems.contains("fleets.hcl:"), "{problems}");
        match stage.handle().reload().await {
            Err(ReloadError::Wrong { problems: told }) => assert_eq!(told, problems),
            other => panic!("{other:?}"),
        }
    }
    std::fs::remove_file(stage.policy_file()).expect("it is gone");
    std::fs::remove_dir(stage.policy_file().with_file_name("")).expect("all of it");
    stage.run(70 * SECOND).await;
    assert_eq!(min_in_force(&stage).await, 1, "a directory that is away for a moment ends nothing");
    stage.write_policies(&policy("capacity {\n min = 2\n }"));
    assert_eq!(stage.handle().reload().await, Ok(1), "at once when told");
    assert_eq!(min_in_force(&stage).await, 2);
    assert_eq!(stage.handle().status().await.expect("it answers").policies.problems, None);
}

#[tokio::test]
async fn a_directory_that_was_emptied_lets_no_fleet_go() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(30 * SECOND).await;
    std::fs::remove_file(stage.policy_file()).expect("it is gone");
    stage.run(70 * SECOND).await;
    let status = stage.handle().status().await.expect("it answers");
    assert_eq!(status.fleets.len(), 1, "the policies of before stay in force");
    let alarms: Vec<_> = status.alarms.iter().map(|alarm| alarm.alarm.label()).collect();
    assert_eq!(alarms, ["policies_rejected"]);
    let problems = status.policies.problems.expect("it says what is wrong");
    assert!(problems.contains("no fleet is named"), "{problems}");
    assert!(matches!(stage.handle().reload().await, Err(ReloadError::Wrong { .. })));
}

#[tokio::test]
async fn a_reload_finds_the_region_out_that_the_start_did_not_need() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.config.engine.region = None;
    stage.write_policies(&policy("region = \"eu-west-1\""));
    stage.start().await;
    stage.run(30 * SECOND).await;
    stage.write_policies(&policy("capacity {\n min = 3\n }"));
    stage.run(7 * SECOND).await;
    assert_eq!(min_in_force(&stage).await, 1, "nobody knows the region");
    let status = stage.handle().status().await.expect("it answers");
    let problems = status.policies.problems.expect("it says what is wrong");
    assert!(problems.contains("the policy of web names no region, nor does AWS's own"), "{problems}");
    stage.crash().await;

    stage.write_policies(&policy("region = \"eu-west-1\""));
    stage.default_region = Some(Region::new("eu-west-1"));
    stage.start().await;
    stage.run(30 * SECOND).await;
    stage.write_policies(&policy("capacity {\n min = 3\n }"));
    stage.run(7 * SECOND).await;
    let fleet = stage.handle().fleet(FleetName::new("web")).await.expect("it answers").expect("it is known");
    assert_eq!(
        (fleet.min, fleet.region.clone(), fleet.alarms),
        (3, stage.default_region.clone(), Vec::new())
    );
    assert!(fleet.seen.is_some(), "and it is looked at there");
}

#[tokio::test]
async fn a_daemon_does_not_start_without_a_region_and_asks_for_it_only_if_a_policy_does() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.config.engine.region = None;
    let clock = Arc::new(stage.clock.clone());
    let started = Daemon::start(stage.config.clone(), Arc::new(stage.ports()), clock).await;
    let Err(error) = started else { panic!("it started") };
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("expected `region` in the policy, or `--region`"), "{error}");
    stage.default_region = Some(Region::new("eu-west-1"));
    stage.start().await;
    stage.run(SECOND).await;
    let region = stage.handle().status().await.expect("it answers").fleets[0].region.clone();
    assert_eq!(region, stage.default_region);
}

#[tokio::test]
async fn a_file_in_the_middle_of_being_written_is_not_judged() {
    let mut stage = Stage::new(world(&Demand::constant(1.0)));
    stage.start().await;
    stage.run(9 * SECOND).await;
    // Seen at 10 s, seen to grow at 11 s, and whole when it is looked at again.
    std::fs::write(stage.policy_file(), "fleet \"w").expect("a part of a file");
    stage.run(3 * SECOND / 2).await;
    std::fs::write(stage.policy_file(), "fleet \"web\" {").expect("more of it");
    stage.run(SECOND).await;
    let policies = stage.handle().status().await.expect("it answers").policies;
    assert_eq!(policies.rejected, None);
    std::fs::write(stage.policy_file(), policy("capacity {\n min = 4\n }")).expect("the whole file");
    stage.run(12 * SECOND).await;
    assert_eq!(min_in_force(&stage).await, 4);
}

#[tokio::test]
async fn a_daemon_does_not_start_on_wrong_policies() {
    let stage = Stage::new(world(&Demand::constant(1.0)));
    stage.write_policies(&policy("capacity {\n min = 30\n }"));
    let ports = Arc::new(Everywhere::of(stage.cloud.clone()));
    let clock = Arc::new(stage.clock.clone());
    let Err(error) = Daemon::start(stage.config.clone(), ports, clock).await else { panic!("it started") };
    assert!(matches!(error, StartError::Policies { .. }), "{error}");
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("fleets.hcl:"), "{error}");
    assert!(!stage.state().exists(), "nothing was begun");
}
