//! What the tokens of a node's agent may do, and what becomes of the node once they may do nothing.

use crate::ground::failure_of;
use crate::services::{CONSUL_RULES, NOMAD_RULES, Site, eager};
use bootstrap_core::{State, Step};
use muster_test_servers::{Consul, ConsulOptions, request, wait_for};
use serde_json::{Value, json};
use std::fs;

const QUICK: &str = "step \"consul\" {\n  attempt = \"3s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n}\n";

impl Site {
    /// Waits until a step has failed so often in a row.
    fn wait_failures(&self, step: Step, failures: u32) -> String {
        let status = self.node.wait_until(&format!("{failures} failures of {step}"), |status| {
            status.report.steps.iter().any(|report| report.step == step && report.failures >= failures)
        });
        failure_of(&status, step)
    }
}

#[test]
fn a_token_that_consul_does_not_take_is_told_of_and_its_agent_is_not_started_again_and_again() {
    let mut site = Site::new("\"raw_exec\"", QUICK);
    let file = site.node.path().join("consul-token");
    let good = fs::read_to_string(&file).expect("it is there");
    // Before it has ever joined: the agent has to be started, once.
    fs::write(&file, "00000000-0000-4000-8000-000000000000").expect("written");
    site.node.start();
    let told = site.wait_failures(Step::Consul, 4);
    assert!(told.contains("403"), "{told}");
    assert_eq!(site.did("restart consul.service"), 1, "{:?}", site.node.units.done());
    fs::write(&file, &good).expect("written");
    site.node.wait_done();
    assert_eq!(site.did("restart consul.service"), 1, "{:?}", site.node.units.done());

    // After the boot: somebody revokes it.
    let before = site.node.units.done();
    let own = request(site.consul_http, "GET", "/v1/acl/token/self", &[("X-Consul-Token", &good)], "");
    let id = own.expect("it answers").json()["AccessorID"].as_str().expect("an id").to_owned();
    site.consul.call("DELETE", &format!("/v1/acl/token/{id}"), &Value::Null);
    wait_for("Consul not to take it any more", || {
        site.node.verify();
        site.node.status().filter(|status| failure_of(status, Step::Consul).contains("403"))
    });
    site.wait_failures(Step::Consul, 4);
    assert_eq!(site.node.units.done(), before, "no restart brings a token back");
    // Nor one that is not there.
    fs::remove_file(&file).expect("removed");
    let missing = wait_for("a file that is missing", || {
        let told = failure_of(&site.node.status()?, Step::Consul);
        told.contains("consul-token").then_some(told)
    });
    assert!(missing.contains("cannot be asked"), "{missing}");
    site.prepare();
    site.node.wait_state(Step::Consul, State::Done);
    site.node.wait_done();
    assert_eq!(site.node.units.done(), before, "{:?}", site.node.units.done());
}

#[test]
fn the_token_of_a_node_makes_no_node_of_nomad_ineligible_and_drains_none() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    let node = site.nomad_node().expect("it is there");
    let id = node["ID"].as_str().expect("an id");
    let token = site.nomad.new_token(NOMAD_RULES);
    let at = site.nomad.address().replace("http://", "").parse().expect("an address");
    let ask = |method: &str, path: &str, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        request(at, method, path, &[("X-Nomad-Token", &token)], &body).expect("it answers").status
    };
    for path in ["/v1/nodes".to_owned(), format!("/v1/node/{id}")] {
        assert_eq!(ask("GET", &path, &Value::Null), 200, "{path}");
    }
    // It is one token for all nodes: of each one it may do as little.
    let job = json!({"Job": eager("mine")});
    let dynamic = json!({"NodeID": id, "Meta": {"muster_ready": "true"}});
    for (method, path, body) in [
        ("POST", format!("/v1/node/{id}/eligibility"), json!({"Eligibility": "ineligible"})),
        ("POST", format!("/v1/node/{id}/drain"), json!({"DrainSpec": {"Deadline": 1_000_000_000}})),
        ("POST", format!("/v1/node/{id}/purge"), Value::Null),
        ("POST", format!("/v1/client/metadata?node_id={id}"), dynamic),
        ("POST", "/v1/jobs".to_owned(), job),
        ("PUT", "/v1/system/gc".to_owned(), Value::Null),
    ] {
        assert_eq!(ask(method, &path, &body), 403, "{method} {path}");
    }
    let seen = site.nomad.call("GET", &format!("/v1/node/{id}"), &Value::Null);
    assert_eq!((&seen["SchedulingEligibility"], &seen["Drain"]), (&json!("eligible"), &json!(false)));
}

#[test]
fn the_token_of_a_node_registers_that_node_in_consul_and_no_other() {
    let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    let (own, other) = ("i-0123456789abcdef0", "i-0fedcba9876543210");
    let token = consul.new_token(&CONSUL_RULES.replace("INSTANCE", own));
    let at = consul.address().replace("http://", "").parse().expect("an address");
    let ask = |method: &str, path: &str, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        request(at, method, path, &[("X-Consul-Token", &token)], &body).expect("it answers").status
    };
    let node = |name: &str, service: &str| json!({"Node": name, "Address": "10.0.0.7", "Service": {"Service": service, "ID": format!("{service}-1")}});
    let register = "/v1/catalog/register";
    assert_eq!(ask("PUT", register, &node(own, "muster-node")), 200);
    assert_eq!(ask("PUT", "/v1/kv/muster-bootstrap/breaker/ami-1", &json!({"ended": []})), 200);
    for (method, path, body) in [
        ("PUT", register, node(other, "muster-node")),
        ("PUT", register, node(own, "web")),
        ("PUT", register, node(own, "muster-autoscaler")),
        ("PUT", "/v1/catalog/deregister", json!({"Node": other})),
        // The agent that is asked here is another node's.
        ("PUT", "/v1/agent/maintenance?enable=true", Value::Null),
        ("PUT", "/v1/agent/leave", Value::Null),
        ("PUT", "/v1/agent/service/register", json!({"Name": "web"})),
        ("PUT", "/v1/kv/muster-autoscaler/leader", json!("me")),
        ("PUT", "/v1/acl/policy", json!({"Name": "mine"})),
    ] {
        assert_eq!(ask(method, path, &body), 403, "{method} {path} {body}");
    }
}
