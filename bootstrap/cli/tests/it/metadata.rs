//! The metadata service, and what it does to a node that asks it: never by a proxy, by IPv6 too, and never another instance's.

use crate::front::{Does, Front};
use crate::ground::{Cloud, Node, PROXIES, failure_of, state_of};
use bootstrap_core::{Condition, State, Step};
use fleet_cloud::{FaultKind, HttpFault};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Stdio;

#[test]
fn a_node_whose_metadata_service_speaks_ipv6_alone_has_its_parameters_too() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    let front = Front::start(cloud.server.addr(), &node.instance, Ipv6Addr::LOCALHOST.into());
    cloud.put_parameter("/muster/web/watch", "String", "watch {\n  samples = \"7s\"\n}\n");
    let more = format!(
        "parameters {{\n  path = \"/muster/web\"\n  endpoint = \"{}\"\n}}\n",
        cloud.server.endpoint()
    );
    // Nobody is at the first endpoint.
    node.configure(&format!("http://127.0.0.1:9\", \"{}", front.address()), &more);
    node.start();
    node.wait_done();
    let asked = front.asked();
    assert!(asked.iter().any(|asked| asked.contains("iam/security-credentials")), "{asked:#?}");
}

#[test]
fn no_proxy_comes_between_a_node_and_its_metadata() {
    let cloud = Cloud::start();
    let node = Node::new(&cloud, 0, "");
    let mut command = node.command(&["run", "--once"]);
    for name in PROXIES {
        command.env(name, "http://127.0.0.1:9");
    }
    let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
    assert_eq!(ended.code(), Some(0), "{:#?}", node.status());
    assert_eq!(node.status().expect("a status").report.condition, Condition::Done);
}

#[test]
fn a_token_that_is_not_taken_any_more_is_fetched_anew() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    let front = Front::start(cloud.server.addr(), &node.instance, Ipv4Addr::LOCALHOST.into());
    node.configure(&front.address(), "");
    node.start();
    node.wait_done();
    let tokens = || front.asked().iter().filter(|asked| asked.starts_with("PUT latest/api/token")).count();
    let before = tokens();
    front.does(&[("meta-data", Does::Says(401))]);
    muster_test_servers::wait_for("another token", || (tokens() > before).then_some(()));
    front.does(&[]);
    node.verify();
    let seen = node.status().expect("a status").updated;
    let status = node.wait_until("another look", |status| status.updated > seen && status.alarms.is_empty());
    assert_eq!(status.report.condition, Condition::Done);
}

#[test]
fn a_machine_that_is_another_instance_by_now_is_told_to_start_again() {
    let cloud = Cloud::start();
    let mut node = Node::new(&cloud, 0, "");
    let front = Front::start(cloud.server.addr(), &node.instance, Ipv4Addr::LOCALHOST.into());
    node.configure(&front.address(), "");
    node.start();
    node.wait_done();
    let other = cloud.instance(1);
    front.turn_to(&other);
    node.verify();
    let status = node.wait_state(Step::Identity, State::Failed);
    let words = format!("this was {}, and is {other} now", node.instance);
    assert!(failure_of(&status, Step::Identity).contains(&words), "{status:#?}");
    assert_eq!(status.who.expect("it was known").instance, node.instance);
}

#[test]
fn a_tag_that_may_not_be_given_is_an_alarm_and_given_when_it_may() {
    let cloud = Cloud::start();
    let endpoint = cloud.server.endpoint();
    let more = format!("ready {{\n  tag = \"muster:state\"\n  ec2_endpoint = \"{endpoint}\"\n}}\n");
    cloud.server.set_faults(vec![HttpFault::new(FaultKind::Deny, &["CreateTags"])]);
    let mut node = Node::new(&cloud, 0, &more);
    node.start();
    let status = node.wait_done();
    assert!(status.alarms.iter().any(|alarm| alarm.contains("no tag muster:state")), "{status:#?}");
    assert!(node.path().join("run/ready").exists(), "the node is good");
    cloud.server.set_faults(Vec::new());
    node.verify();
    let status = node.wait_until("an end of the alarm", |status| status.alarms.is_empty());
    assert_eq!(state_of(&status, Step::Ready), State::Done);
    let world = cloud.world();
    let shown =
        world.shown_instances().into_iter().find(|shown| shown.id == node.instance).expect("it is there");
    assert_eq!(shown.tags.get("muster:state").map(String::as_str), Some("ready"));
}

#[test]
fn where_the_metadata_has_no_time_the_kernel_says_whether_somebody_keeps_the_clock() {
    let cloud = Cloud::start();
    // Where nobody keeps it, that is soon said.
    let quick = "step \"time\" {\n  attempt = \"2s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"3s\"\n}\n";
    for (kept, code) in [("yes", 0), ("no", 1)] {
        let node = Node::new(&cloud, 0, "");
        let front = Front::start(cloud.server.addr(), &node.instance, Ipv4Addr::LOCALHOST.into());
        front.without_date();
        node.configure(&front.address(), if kept == "no" { quick } else { "" });
        // Whoever speaks for the kernel.
        let programs = node.path().join("programs");
        std::fs::create_dir(&programs).expect("made");
        let program = programs.join("timedatectl");
        std::fs::write(&program, format!("#!/bin/sh\necho {kept}\n")).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        let mut command = node.command(&["run", "--once"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
        let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
        let status = node.status().expect("a status");
        assert_eq!(ended.code(), Some(code), "{status:#?}");
        let failure = failure_of(&status, Step::Time);
        assert_eq!(failure.contains("is not synchronised, as the kernel says"), kept == "no", "{failure}");
    }
}
