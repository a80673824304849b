//! The autoscaler as the Nomad job that it ships with, on real Nomad and Consul: its rights come from its identities,
//! and it is updated while it drains a node.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how long nobody leads is timed, and the figures shown"
)]

use muster_test_servers::{Consul, ConsulOptions, Nomad, NomadClient, NomadOptions, wait_for};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests::ground::{Site, request_from};
use tests::job::{NAME, deployed, leader, let_consul_trust, let_nomad_allow, places, register};
use tests::programs::autoscaler;
use tests::work::service;

/// The nodes that are not scaled. Their names are short: the path of a task's API socket may have 107 bytes.
const OTHERS: [&str; 3] = ["a", "b", "c"];
const FIRST: u32 = 3;
const SMALLEST: u32 = 2;
/// The longest that nobody may lead.
const WITHIN: Duration = Duration::from_secs(15);

/// Gives the job the key that its allocations make nodes' tokens with.
fn give_key(nomad: &Nomad) {
    let path = format!("nomad/jobs/{NAME}");
    let variable =
        json!({ "Namespace": "default", "Path": path, "Items": { "node_token_key": "5a".repeat(32) } });
    let answer = nomad.try_call("PUT", &format!("/v1/var/{path}"), &variable.to_string());
    answer.expect("it answers").must_be_success();
}

/// A node identifies with each of the two, and the other takes its token.
fn each_takes_the_tokens_of_the_other(site: &Site, consul: &Consul) {
    let instance = site.cloud.living().remove(0);
    let own = site.cloud.world().private_address(&instance).expect("it has one");
    let cloud: SocketAddr = site.cloud.endpoint().replace("http://", "").parse().expect("an address");
    let lasts = [("X-aws-ec2-metadata-token-ttl-seconds", "60")];
    let token = request_from(own, cloud, "PUT", "/latest/api/token", &lasts, "").body;
    let headers = [("X-aws-ec2-metadata-token", token.as_str())];
    let document =
        request_from(own, cloud, "GET", "/latest/dynamic/instance-identity/rsa2048", &headers, "").body;
    let places = wait_for("both", || Some(places(consul)).filter(|places| places.len() == 2));
    for (one, other) in [(places[0], places[1]), (places[1], places[0])] {
        let body = json!({ "version": 1, "pkcs7": document }).to_string();
        let given = wait_for("a token", || {
            Some(request_from(own, one, "POST", "/v1/identify", &[], &body)).filter(|one| one.status == 200)
        });
        let bearer = format!("Bearer {}", given.json()["token"].as_str().expect("a token"));
        let body = json!({ "version": 1, "instance": instance, "notices": [] }).to_string();
        let answer = request_from(own, other, "POST", "/v1/notices", &[("Authorization", &bearer)], &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Saves the certificate that the account's documents are signed with, for the daemon.
fn trust_the_account(site: &Site) {
    std::fs::create_dir(site.directory().join("aws")).expect("a directory");
    site.write("aws/eu-west-1.pem", &site.cloud.certificate());
}

/// Runs the job, in the version that has so much memory.
fn run(site: &Site, consul: &Consul, memory: u32) {
    let program = autoscaler();
    let values = json!({
        "policy": site.policy(SMALLEST),
        "node_pool": "others",
        "driver": "raw_exec",
        "command": program.get_program().to_str().expect("a path in UTF-8"),
        "consul_address": consul.address(),
        "queue_url": site.cloud.queue(),
        "shared_node_tokens": true,
        "extra_args": [
            "--endpoint", site.cloud.endpoint(), "--log-format", "json", "--identity-certificates",
            site.directory().join("aws").to_str().expect("a path in UTF-8"), "--identity-account",
            site.cloud.world().spec().account
        ],
        "memory": memory
    });
    register(&site.nomad, &values);
}

/// The longest time in which nobody said that they led.
struct Watch {
    seen: Instant,
    gap: Duration,
}

impl Watch {
    fn look(&mut self, consul: &Consul) {
        if leader(consul).is_some() {
            self.gap = self.gap.max(self.seen.elapsed());
            self.seen = Instant::now();
        }
    }
}

#[test]
fn the_job_is_updated_while_it_drains_a_node_and_its_next_leader_finishes_that() {
    let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    let agents = OTHERS.map(|name| consul.join(name));
    let other = |(name, agent): (&str, &Consul)| NomadClient {
        name: name.to_owned(),
        pool: Some("others".to_owned()),
        consul: Some(agent.agent()),
        ..NomadClient::default()
    };
    let clients = OTHERS.into_iter().zip(&agents).map(other).collect();
    let nomad = NomadOptions { clients, consul: Some(consul.agent()), ..NomadOptions::default() };
    let site = Site::start(FIRST, SMALLEST, nomad, None);
    for name in OTHERS {
        // The node's own credentials: what the program has where its job names no role.
        let home = site.nomad.client_directory(name);
        let home = home.parent().expect("its data is in it").join(".aws");
        std::fs::create_dir_all(&home).expect("a directory");
        let key = "[default]\naws_access_key_id = muster\naws_secret_access_key = muster-secret\n";
        std::fs::write(home.join("credentials"), key).expect("a file");
    }
    let_consul_trust(&consul, &site.nomad, &["consul"]);
    let_nomad_allow(&site.nomad);
    give_key(&site.nomad);
    trust_the_account(&site);
    site.nomad.register(&service("web", FIRST, 500, 120));
    wait_for("the work to run", || (site.places("web").len() == 3).then_some(()));

    run(&site, &consul, 128);
    let allocations = wait_for("the job to be deployed", || deployed(&site, 0));
    assert_ne!(allocations[0]["NodeID"], allocations[1]["NodeID"], "two nodes");
    let before = wait_for("a leader", || leader(&consul));
    each_takes_the_tokens_of_the_other(&site, &consul);
    let victim = wait_for("a drain", || site.drained());

    run(&site, &consul, 160);
    let mut watch = Watch { seen: Instant::now(), gap: Duration::ZERO };
    let new = wait_for("the new version to be deployed", || {
        watch.look(&consul);
        deployed(&site, 1)
    });
    let after = wait_for("the next leader", || {
        watch.look(&consul);
        leader(&consul)
    });
    assert_ne!(after, before, "another leads");
    assert_ne!(new[0]["NodeID"], new[1]["NodeID"], "two nodes");
    assert!(
        site.cloud.living().contains(&victim) && site.drains(&victim),
        "the drain was under way all the time"
    );
    println!("updated: nobody led for {:.1} s at the most", watch.gap.as_secs_f64());
    assert!(watch.gap <= WITHIN, "{:?}", watch.gap);

    wait_for("the victim to be gone", || {
        watch.look(&consul);
        let gone = !site.cloud.living().contains(&victim);
        assert!(!gone || site.left("web", &victim).is_some(), "nothing goes before its work has left");
        gone.then_some(())
    });
    assert_eq!((site.cloud.living().len(), site.cloud.target()), (2, SMALLEST));
    assert_eq!(site.cloud.writes(), 2, "one modification, one termination");
}
