//! The autoscaler as the Nomad job that it ships with, as an image: in containers of a real Docker daemon, on real Nomad
//! and Consul, with no right but those of its identities.

use muster_test_servers::{Consul, ConsulOptions, Docker, NomadClient, NomadOptions, wait_for};
use serde_json::json;
use std::fs;
use tests::ground::Site;
use tests::job::{NAME, deployed, leader, let_consul_trust, let_nomad_allow, register};
use tests::programs::{libraries, stripped};

const IMAGE: &str = "muster-autoscaler:test";
/// The nodes that are not scaled. Their names are short: the path of a task's API socket may have 107 bytes.
const OTHERS: [&str; 2] = ["a", "b"];
const FIRST: u32 = 3;
const SMALLEST: u32 = 2;

/// An image of the program and what it needs to run, which also holds what a node's instance profile would give.
fn image(docker: &Docker) {
    let root = tempfile::tempdir().expect("a directory");
    let place = |path: &str| root.path().join(path.trim_start_matches('/'));
    // Each container has a copy.
    stripped(&place(NAME));
    for library in libraries() {
        let copy = place(library.to_str().expect("a path in UTF-8"));
        fs::create_dir_all(copy.parent().expect("it is in a directory")).expect("a directory");
        fs::copy(library, copy).expect("a library");
    }
    fs::create_dir_all(place(".aws")).expect("a directory");
    let key = "[default]\naws_access_key_id = muster\naws_secret_access_key = muster-secret\n";
    fs::write(place(".aws/credentials"), key).expect("a file");
    docker.import(root.path(), IMAGE, &[&format!("ENTRYPOINT [\"/{NAME}\"]"), "ENV HOME=/"]);
}

#[test]
fn the_job_in_containers_leads_and_empties_a_node_before_it_goes() {
    let docker = Docker::start();
    image(&docker);
    let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    let agents = OTHERS.map(|name| consul.join(name));
    let other = |(name, agent): (&str, &Consul)| NomadClient {
        name: name.to_owned(),
        pool: Some("others".to_owned()),
        docker: Some(docker.socket()),
        consul: Some(agent.agent()),
        ..NomadClient::default()
    };
    let clients = OTHERS.into_iter().zip(&agents).map(other).collect();
    let nomad = NomadOptions { clients, consul: Some(consul.agent()), ..NomadOptions::default() };
    let site = Site::start(FIRST, SMALLEST, nomad, None);
    let_consul_trust(&consul, &site.nomad, &["consul"]);
    let_nomad_allow(&site.nomad);

    let values = json!({
        "policy": site.policy(SMALLEST),
        "node_pool": "others",
        "driver": "docker",
        "image": IMAGE,
        "consul_address": consul.address(),
        "queue_url": site.cloud.queue(),
        "extra_args": ["--endpoint", site.cloud.endpoint(), "--log-format", "json"]
    });
    register(&site.nomad, &values);
    let allocations = wait_for("the job to be deployed", || deployed(&site, 0));
    assert_ne!(allocations[0]["NodeID"], allocations[1]["NodeID"], "two nodes");
    let containers = docker.running();
    assert_eq!(containers.len(), 2, "{containers:?}");
    wait_for("a leader", || leader(&consul));

    wait_for("one to be gone", || (site.cloud.living().len() == 2).then_some(()));
    let drained = site.nomad.call("GET", "/v1/nodes", &json!(null));
    let drained = drained.as_array().expect("a list").iter();
    let complete = drained.filter(|node| node["LastDrain"]["Status"] == "complete").count();
    assert_eq!(complete, 1, "who is gone was drained first");
    assert_eq!((site.cloud.target(), site.cloud.writes()), (SMALLEST, 2));
}
