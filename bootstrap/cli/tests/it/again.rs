//! An agent that is started again on a node that works, while nobody says what the node is to be.

use crate::front::{Does, Front};
use crate::services::{Site, eager};
use bootstrap_core::Step;
use muster_test_servers::{request, wait_for};
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;

const PATH: &str = "/muster/web";

/// Has parameters say what the `nomad` block of the files says, and where the autoscaler is.
fn move_to_parameters(site: &Site) {
    let file = site.node.path().join("bootstrap.hcl");
    let text = fs::read_to_string(&file).expect("it is there");
    let (before, rest) = text.split_once("\nnomad {\n").expect("a block");
    let (block, after) = rest.split_once("\n}\n").expect("its end");
    let endpoint = site.cloud.server.endpoint();
    let parameters = format!("parameters {{\n  path = \"{PATH}\"\n  endpoint = \"{endpoint}\"\n}}\n");
    fs::write(&file, format!("{before}\n{after}\n{parameters}")).expect("written");
    site.cloud.put_parameter(&format!("{PATH}/20-nomad"), "String", &format!("nomad {{\n{block}\n}}\n"));
    let nobody =
        "watch {\n  autoscaler {\n    fleet = \"web\"\n    addresses = [\"http://127.0.0.1:9\"]\n  }\n}\n";
    site.cloud.put_parameter(&format!("{PATH}/30-watch"), "String", nobody);
}

fn running(site: &Site) -> Value {
    wait_for("work that runs", || {
        let rows = site.nomad.call("GET", "/v1/job/work/allocations", &Value::Null);
        let rows = rows.as_array()?;
        assert!(rows.len() < 2, "its work was begun once: {rows:?}");
        rows.iter().find(|row| row["ClientStatus"] == "running").map(|row| row["ID"].clone())
    })
}

#[test]
fn a_node_works_on_while_its_parameters_are_wrong_or_away_and_leaves_when_it_is_interrupted() {
    let mut site = Site::new("\"raw_exec\"", "");
    move_to_parameters(&site);
    site.node.start();
    site.node.wait_done();
    site.nomad.register(&eager("work"));
    let work = running(&site);
    let done = site.node.units.done();
    let stands = |site: &Site, alarm: &str| {
        let status = site.node.wait_done();
        assert!(status.alarms.iter().any(|told| told.contains(alarm)), "{:?}", status.alarms);
        assert!(site.node.path().join("run/ready").exists());
        assert_eq!(site.nomad_node().expect("it is there")["NodePool"], "default");
        assert_eq!(running(site), work);
        assert_eq!(site.node.units.done(), done, "nothing is begun anew");
        assert!(request(site.nomad_http, "GET", "/v1/agent/health", &[], "").is_ok());
    };

    // Somebody writes what makes no sense.
    site.cloud.put_parameter(&format!("{PATH}/40-load"), "String", "watch {\n  samples = 7\n}\n");
    site.node.kill();
    site.node.start();
    stands(&site, "watch.samples: 7 is a number");

    // Nobody gives the instance credentials to read parameters with.
    site.node.kill();
    let cloud = site.cloud.server.addr();
    let front = Front::start(cloud, &site.node.instance, Ipv4Addr::LOCALHOST.into());
    front.does(&[("iam/security-credentials", Does::Says(500))]);
    let file = site.node.path().join("bootstrap.hcl");
    let text = fs::read_to_string(&file).expect("it is there");
    let metadata = site.cloud.metadata(&site.node.instance);
    fs::write(&file, text.replace(&metadata, &front.address())).expect("written");
    site.node.start();
    stands(&site, "what held before goes on");

    // What it is to do when nobody hears of a notice is known as well.
    site.cloud.interrupt(&site.node.instance);
    let left = "terminate nomad.service".to_owned();
    wait_for("the client to leave", || site.node.units.done().contains(&left).then_some(()));
    wait_for("its work to end in order", || {
        let rows = site.nomad.call("GET", "/v1/job/work/allocations", &Value::Null);
        rows.as_array()?.iter().find(|row| row["ID"] == work && row["ClientStatus"] == "complete").map(|_| ())
    });
    assert_eq!(site.node.log().matches("a step could not be done").count(), 0, "{}", Step::Configuration);
}
