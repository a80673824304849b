//! The mark that jobs may ask for, `meta.muster_ready`: why it is in the client's configuration, shown on a real Nomad.

use crate::services::Site;
use bootstrap_agent::host::{Units as _, Verb};
use muster_test_servers::{request, wait_for};
use serde_json::{Value, json};
use std::fs;

#[test]
fn dynamic_metadata_takes_a_right_over_every_node_and_outlives_what_it_was_true_of() {
    let mut site = Site::new("\"raw_exec\"", "");
    site.node.start();
    site.node.wait_done();
    let set = |token: &str| {
        let body = json!({"Meta": {"set_by_hand": "true"}}).to_string();
        let token = [("X-Nomad-Token", token)];
        request(site.nomad_http, "POST", "/v1/client/metadata", &token, &body).expect("it answers")
    };
    let token = fs::read_to_string(site.node.path().join("nomad-token")).expect("it is there");
    let refused = set(&token);
    assert_eq!((refused.status, refused.body.trim()), (403, "Permission denied"), "the agent's rights");
    // Of one node alone there is none: what is enough here is enough to drain and to purge any of them.
    let write = site.nomad.new_token("node {\n  policy = \"write\"\n}\n");
    set(&write).must_be_success();

    // A client that is started again, as after a reboot, says it before anybody has looked at the node.
    site.node.units.act(Verb::Restart, "nomad.service").expect("it starts");
    let metadata: Value = wait_for("the client", || {
        let token = [("X-Nomad-Token", write.as_str())];
        let answer = request(site.nomad_http, "GET", "/v1/client/metadata", &token, "").ok()?;
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(metadata["Dynamic"], json!({"set_by_hand": "true"}));
    assert_eq!(metadata["Meta"]["set_by_hand"], "true");
    // The mark goes with the file that the client is started from, which is written before it is.
    assert_eq!(metadata["Static"]["muster_ready"], "true");
}
