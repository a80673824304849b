//! A boot whose long steps run side by side, and a node that is told something else than at its boot.

use crate::awx_server::{Awx, KEY, TOKEN};
use crate::ground::state_of;
use crate::services::Site;
use bootstrap_core::{Condition, State, Step};
use muster_test_servers::wait_for;
use serde_json::json;
use std::fs;

#[test]
fn awxs_job_and_consuls_join_do_not_wait_for_each_other() {
    let awx = Awx::start();
    let block = format!(
        "awx {{\n  address = \"{}\"\n  template = 7\n  key_file = \"$PLACE/key\"\n  token_file = \"$PLACE/api\"\n  \
         jitter = \"0s\"\n}}\n",
        awx.address()
    );
    let mut site = Site::new("\"raw_exec\"", &block);
    fs::write(site.node.path().join("key"), KEY).expect("written");
    fs::write(site.node.path().join("api"), TOKEN).expect("written");
    site.node.start();
    // The job does not end.
    wait_for("the job", || (awx.state().jobs.len() == 1).then_some(()));
    let status = site.node.wait_until("Consul joined beside the job", |status| {
        state_of(status, Step::Consul) == State::Done && state_of(status, Step::Awx) == State::Running
    });
    for later in [Step::Monitoring, Step::Nomad, Step::Ready] {
        assert_eq!(state_of(&status, later), State::Waiting, "{later}: {status:#?}");
    }
    awx.end("successful", "");
    site.node.wait_done();
    assert_eq!(awx.state().jobs.len(), 1);
}

#[test]
fn another_configuration_of_consul_is_another_start_and_another_registration_and_the_same_node() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    let own_node = |site: &Site| {
        site.ask_consul(&format!("/v1/catalog/node/{}", site.node.instance))["Node"]["ID"].clone()
    };
    let (id, restarts) = (own_node(&site), site.did("restart consul.service"));
    let (stops, others) = (site.did("stop consul.service"), site.did("restart nomad.service"));
    let file = site.node.path().join("bootstrap.hcl");
    let text = fs::read_to_string(&file).expect("it is there");
    let changed = text.replace("  ttl = \"10s\"\n", "  ttl = \"10s\"\n  tags = [\"blue\"]\n");
    assert_ne!(changed, text);
    fs::write(&file, changed).expect("written");
    site.node.kill();
    site.node.start();
    site.node.wait_done();
    let tags = || site.ask_consul("/v1/catalog/service/muster-node")[0]["ServiceTags"].clone();
    wait_for("the tag", || (tags() == json!(["blue"])).then_some(()));
    let seen = |site: &Site| {
        (
            site.did("restart consul.service"),
            site.did("stop consul.service"),
            site.did("restart nomad.service"),
        )
    };
    assert_eq!(seen(&site), (restarts + 1, stops, others), "{:?}", site.node.units.done());
    // What only its agent is told is placed, and told by a start.
    let text = fs::read_to_string(&file).expect("it is there");
    let changed = text.replace("\\\"retry_interval\\\":\\\"1s\\\"", "\\\"retry_interval\\\":\\\"2s\\\"");
    assert_ne!(changed, text);
    fs::write(&file, changed).expect("written");
    site.node.kill();
    site.node.start();
    site.node.wait_done();
    let placed = fs::read_to_string(site.node.path().join("consul.json")).expect("it is there");
    assert!(placed.contains("\"retry_interval\": \"2s\""), "{placed}");
    assert_eq!(seen(&site), (restarts + 2, stops, others), "{:?}", site.node.units.done());
    assert_eq!(own_node(&site), id, "it is the same node of Consul");
    let status = site.node.status().expect("a status");
    assert_eq!(status.report.condition, Condition::Done);
}
