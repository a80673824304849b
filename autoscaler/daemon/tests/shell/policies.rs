//! Policies that change under a running daemon.

use crate::harness::{SECOND, Stage, fleet_id, world};
use autoscaler::{Daemon, Everywhere, ReloadError, StartError};
use fleet::FleetName;
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
