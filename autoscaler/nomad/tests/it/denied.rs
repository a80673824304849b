//! Access control: what a token may not, and one that is taken away and replaced.

use crate::cluster::{all_running, client, drain, id, job, surveyed, until};
use autoscaler_nomad::facts::DrainDeadline;
use autoscaler_nomad::{Heard, Nomad, NomadError, Options};
use fleet::ErrorClass;
use fleet_clock::SystemClock;
use muster_test_servers::NomadOptions;
use serde_json::{Value, json};
use std::sync::Arc;

/// What an autoscaler needs, and no more; and what it needs beside that to scale groups along.
const ENOUGH: &str = include_str!("../../job/nomad-policy.hcl");
const SCALING: &str = include_str!("../../job/nomad-scaling-policy.hcl");

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_away_is_denied_and_its_successor_in_the_file_works() {
    let clients = vec![client("one", "i-one")];
    let cluster =
        muster_test_servers::Nomad::start(NomadOptions { clients, acl: true, ..NomadOptions::default() });
    let file = cluster.directory().join("token");
    let options =
        Options { addresses: vec![cluster.address()], token_file: Some(file.clone()), ..Options::default() };
    let nomad = Nomad::new(options).expect("good options");
    let node = id(&cluster, "one");

    // One that may read and nothing else.
    let reader = r#"node { policy = "read" }"#;
    std::fs::write(&file, cluster.new_token(reader)).expect("a token");
    nomad.nodes().await.expect("it may read");
    let denied = nomad.drain(&node, &drain(DrainDeadline::AtOnce)).await.expect_err("it may not write");
    assert_eq!(denied.class(), ErrorClass::Denied, "{denied:?}");

    // Enough for all that is done here.
    let token = cluster.new_token(ENOUGH);
    std::fs::write(&file, &token).expect("a token");
    nomad.survey().await.expect("a survey");
    nomad.blocked().await.expect("blocked placements");
    nomad.set_eligible(&node, false).await.expect("ineligible");
    nomad.cancel_drain(&node).await.expect("eligible");
    let mut follower = nomad.follow(Arc::new(SystemClock::new()));
    assert!(matches!(follower.next().await, Heard::Began));

    // Taken away.
    let own = cluster.call("GET", "/v1/acl/tokens", &Value::Null);
    let policies = |one: &&Value| one["Type"] == "client";
    for accessor in own.as_array().expect("tokens").iter().filter(policies) {
        let path = format!("/v1/acl/token/{}", accessor["AccessorID"].as_str().expect("an id"));
        cluster.try_call("DELETE", &path, "").expect("it answers").must_be_success();
    }
    for lost in [nomad.nodes().await.map(drop), nomad.set_eligible(&node, false).await.map(drop)] {
        assert_eq!(lost.expect_err("the token is gone").class(), ErrorClass::Denied);
    }

    // Replaced in place.
    std::fs::write(&file, cluster.new_token(ENOUGH)).expect("a token");
    nomad.drain(&node, &drain(DrainDeadline::AtOnce)).await.expect("the new one may");
    assert_ne!(json!(nomad.nodes().await.expect("nodes")), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_read_every_namespace_sees_no_nodes_rather_than_empty_ones() {
    let clients = vec![client("one", "i-one")];
    let cluster =
        muster_test_servers::Nomad::start(NomadOptions { clients, acl: true, ..NomadOptions::default() });
    cluster.add_namespace("other");
    let mut hidden = job("hidden", "service", 1);
    hidden["Namespace"] = json!("other");
    cluster.register(&hidden);
    let file = cluster.directory().join("token");
    let options =
        Options { addresses: vec![cluster.address()], token_file: Some(file.clone()), ..Options::default() };
    let nomad = Nomad::new(options).expect("good options");

    let narrow = [
        r#"node { policy = "write" }"#,
        r#"node { policy = "write" } namespace "default" { capabilities = ["list-jobs", "read-job"] }"#,
        r#"node { policy = "write" } namespace "*" { capabilities = ["list-jobs"] }"#,
    ];
    for rules in narrow {
        std::fs::write(&file, cluster.new_token(rules)).expect("a token");
        let error = nomad.survey().await.expect_err("it may not see all work");
        assert!(matches!(error, NomadError::NotAllNamespaces { .. }), "{rules}: {error:?}");
        assert_eq!(error.class(), ErrorClass::Denied);
        assert!(error.to_string().contains("read-job in all namespaces"), "{error}");
    }
    std::fs::write(&file, cluster.new_token(ENOUGH)).expect("a token");
    surveyed(&nomad, "the job to run", |nodes| all_running(nodes, "hidden") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_scale_groups_is_a_right_of_its_own_beside_which_the_others_go_on() {
    let clients = vec![client("one", "i-one")];
    let cluster =
        muster_test_servers::Nomad::start(NomadOptions { clients, acl: true, ..NomadOptions::default() });
    cluster.register(&job("web", "service", 1));
    let file = cluster.directory().join("token");
    let options =
        Options { addresses: vec![cluster.address()], token_file: Some(file.clone()), ..Options::default() };
    let nomad = Nomad::new(options).expect("good options");
    let scale = async || nomad.scale("default", "web", "web", 2, "two nodes").await;

    std::fs::write(&file, cluster.new_token(ENOUGH)).expect("a token");
    surveyed(&nomad, "the job to run", |nodes| all_running(nodes, "web") == 1).await;
    assert_eq!(scale().await.expect_err("nobody allowed it").class(), ErrorClass::Denied);

    std::fs::write(&file, cluster.new_token(&format!("{ENOUGH}{SCALING}"))).expect("a token");
    until("no deployment in the way", async || match scale().await {
        Ok(()) => Some(()),
        Err(error) => {
            assert_eq!(error.class(), ErrorClass::Conflict, "{error:?}");
            None
        }
    })
    .await;
    assert_eq!(nomad.group_counts("default", "web").await.expect("counts")["web"].desired, 2);
    // A rule that names a namespace stands in place of the one for all.
    surveyed(&nomad, "both", |nodes| all_running(nodes, "web") == 2).await;
    nomad.blocked().await.expect("blocked placements");
}
