//! A client of Nomad that leaves by itself: within what its notice has left; and one of whom nobody knows whose it is.

use crate::front::Front;
use crate::ground::{Cloud, Node, Program, failure_of};
use crate::services::{Site, eager};
use bootstrap_core::{State, Step};
use fleet::Timestamp;
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use muster_test_servers::{Nomad, NomadOptions, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

const NOBODY: &str =
    "watch {\n  autoscaler {\n    fleet = \"web\"\n    addresses = [\"http://127.0.0.1:9\"]\n  }\n}\n";

#[test]
fn a_client_that_hears_late_of_its_end_drains_within_what_is_left() {
    let mut site = Site::new("\"raw_exec\"", NOBODY);
    let front = Front::start(site.cloud.server.addr(), &site.node.instance, Ipv4Addr::LOCALHOST.into());
    let file = site.node.path().join("bootstrap.hcl");
    let text = fs::read_to_string(&file).expect("it is there");
    let metadata = site.cloud.metadata(&site.node.instance);
    fs::write(&file, text.replace(&metadata, &front.address())).expect("written");
    site.node.start();
    site.node.wait_done();
    // Its work does not end before it has to.
    let mut job = eager("work");
    let task = &mut job["TaskGroups"][0]["Tasks"][0];
    task["Config"] =
        json!({"command": "/bin/sh", "args": ["-c", "trap '' INT TERM; while :; do sleep 0.1; done"]});
    task["KillTimeout"] = json!(25_000_000_000_u64);
    site.nomad.register(&job);
    let running = || {
        let rows = site.nomad.call("GET", "/v1/job/work/allocations", &Value::Null);
        (rows[0]["ClientStatus"] == "running").then_some(())
    };
    wait_for("work that runs", running);

    let goes = SystemClock::new().wall() + Duration::from_secs(95);
    let action = json!({"action": "terminate", "time": goes.to_string()});
    front.says("spot/instance-action", Some(&action.to_string()));
    let node = site.nomad_node().expect("it is there");
    let path = format!("/v1/node/{}", node["ID"].as_str().expect("an id"));
    let strategy = wait_for("the drain", || {
        let node = site.nomad.call("GET", &path, &Value::Null);
        node["DrainStrategy"].is_object().then(|| node["DrainStrategy"].clone())
    });
    let ends =
        strategy["ForceDeadline"].as_str().and_then(|text| Timestamp::parse(text).ok()).expect("a time");
    assert!(ends < goes, "{strategy} is after {goes}");
    assert!(strategy["Deadline"].as_u64().expect("a time") >= 15_000_000_000, "{strategy}");
    let done = site.node.units.done();
    let last: Vec<&str> = done.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(last, ["terminate nomad.service", "try-restart nomad.service"], "{done:?}");
    assert_eq!(running(), Some(()), "a restart leaves work alone");
}

#[test]
fn a_client_of_whom_nobody_can_say_whose_it_is_is_left_alone_and_told_of() {
    let cloud = Cloud::start();
    // Somebody else's, with access control of its own: it does not take this node's token.
    let foreign = Nomad::start(NomadOptions { acl: true, ..NomadOptions::default() });
    let more = format!(
        "host {{\n  units = [\"nomad.service\"]\n  file \"nomad\" {{\n    path = \"$PLACE/nomad.json\"\n  }}\n  \
         directory \"nomad\" {{\n    path = \"$PLACE/nomad\"\n  }}\n}}\n\
         nomad {{\n  address = \"{}\"\n  token_file = \"$PLACE/nomad-token\"\n  servers = [\"127.0.0.1:9\"]\n}}\n\
         step \"nomad\" {{\n  pause = \"1s\"\n  most_pause = \"1s\"\n}}\n",
        foreign.address()
    );
    let mut node = Node::new(&cloud, 0, &more);
    let sleep =
        Program { path: "/bin/sleep".into(), arguments: vec!["600".to_owned()], ..Program::default() };
    node.units.set("nomad.service", sleep);
    fs::write(node.path().join("nomad-token"), "00000000-0000-4000-8000-000000000000").expect("written");
    let work = node.path().join("nomad/alloc/work");
    fs::create_dir_all(&work).expect("made");
    node.start();
    let status = node.wait_state(Step::Nomad, State::Retrying);
    let failure = failure_of(&status, Step::Nomad);
    for words in ["403", "nomad-token", "agent:read", "systemctl disable --now nomad.service"] {
        assert!(failure.contains(words), "{words}: {failure}");
    }
    assert!(work.exists() && node.units.done().is_empty(), "{:?}", node.units.done());
    // Whoever had it stops it.
    drop(foreign);
    wait_for("a client of its own", || {
        node.units.done().contains(&"restart nomad.service".to_owned()).then_some(())
    });
    assert!(!work.exists(), "what was another's is gone");
}
