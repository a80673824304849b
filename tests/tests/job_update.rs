//! The autoscaler as the Nomad job that it ships with, on real Nomad and Consul: its rights come from its identities,
//! and it is updated while it drains a node.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how long nobody leads is timed, and the figures shown"
)]

use muster_test_servers::{Consul, ConsulOptions, Nomad, NomadClient, NomadOptions, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests::ground::{RIGHTS, Site, get};
use tests::programs::autoscaler;

const JOB: &str = include_str!("../../autoscaler/nomad/job/muster-autoscaler.nomad.hcl");
const CONSUL_RIGHTS: &str = include_str!("../../autoscaler/nomad/job/consul-policy.hcl");
const NAME: &str = "muster-autoscaler";
/// The nodes that are not scaled. Their names are short: the path of a task's API socket may have 107 bytes.
const OTHERS: [&str; 3] = ["a", "b", "c"];
const FIRST: u32 = 3;
const SMALLEST: u32 = 2;
/// The longest that nobody may lead.
const WITHIN: Duration = Duration::from_secs(15);

/// Sets Consul up as the job's README says: Nomad's identities are good for tokens of Consul.
fn let_consul_trust(consul: &Consul, nomad: &Nomad) {
    let put = |path: &str, body: Value| drop(consul.call("PUT", path, &body));
    put(
        "/v1/acl/auth-method",
        json!({ "Name": "nomad-workloads", "Type": "jwt", "Config": {
            "JWKSURL": format!("{}/.well-known/jwks.json", nomad.address()),
            "JWTSupportedAlgs": ["RS256"], "BoundAudiences": ["consul.io"],
            "ClaimMappings": {
                "nomad_namespace": "nomad_namespace", "nomad_job_id": "nomad_job_id",
                "nomad_task": "nomad_task", "nomad_service": "nomad_service"
            }
        } }),
    );
    put(
        "/v1/acl/binding-rule",
        json!({ "AuthMethod": "nomad-workloads", "BindType": "service", "BindName": "${value.nomad_service}",
                "Selector": "\"nomad_service\" in value" }),
    );
    put("/v1/acl/policy", json!({ "Name": NAME, "Rules": CONSUL_RIGHTS }));
    put("/v1/acl/role", json!({ "Name": NAME, "Policies": [{ "Name": NAME }] }));
    put(
        "/v1/acl/binding-rule",
        json!({ "AuthMethod": "nomad-workloads", "BindType": "role", "BindName": NAME,
                "Selector": "value.nomad_job_id == \"muster-autoscaler\" and value.nomad_namespace == \"default\"" }),
    );
}

/// Binds the policy to the job, as its README says.
fn let_nomad_allow(nomad: &Nomad) {
    let policy =
        json!({ "Name": NAME, "Rules": RIGHTS, "JobACL": { "Namespace": "default", "JobID": NAME } });
    let answer = nomad.try_call("POST", &format!("/v1/acl/policy/{NAME}"), &policy.to_string());
    answer.expect("it answers").must_be_success();
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
        "extra_args": ["--endpoint", site.cloud.endpoint(), "--log-format", "json"],
        "memory": memory
    });
    // What JSON writes HCL reads, line for line.
    let lines =
        values.as_object().expect("an object").iter().map(|(name, value)| format!("{name} = {value}\n"));
    let body = json!({ "JobHCL": JOB, "Variables": lines.collect::<String>(), "Canonicalize": true });
    let job = site.nomad.call("POST", "/v1/jobs/parse", &body);
    site.nomad.register(&job);
}

/// The allocations of the newest version of the job that are healthy, when its deployment was successful.
fn deployed(site: &Site, version: u64) -> Option<Vec<Value>> {
    let deployments = site.nomad.call("GET", &format!("/v1/job/{NAME}/deployments"), &Value::Null);
    let newest = deployments.as_array()?.iter().find(|one| one["JobVersion"] == version)?;
    assert_ne!(newest["Status"], "failed", "{newest}");
    (newest["Status"] == "successful").then_some(())?;
    let running = |one: &Value| one["ClientStatus"] == "running" && one["DesiredStatus"] == "run";
    let running: Vec<Value> = site.allocations(NAME).into_iter().filter(running).collect();
    let new = running.len() == 2 && running.iter().all(|one| one["JobVersion"] == version);
    new.then_some(running)
}

/// Where the job's allocations are, healthy or not.
fn places(consul: &Consul) -> Vec<SocketAddr> {
    let services = consul.call("GET", &format!("/v1/catalog/service/{NAME}"), &Value::Null);
    let place =
        |one: &Value| format!("{}:{}", one["ServiceAddress"].as_str()?, one["ServicePort"]).parse().ok();
    services.as_array().into_iter().flatten().filter_map(place).collect()
}

/// Where the one is that says that it leads.
fn leader(consul: &Consul) -> Option<SocketAddr> {
    let leads = |place: &SocketAddr| {
        let status: Option<Value> =
            get(*place, "/v1/fleets").and_then(|body| serde_json::from_str(&body).ok());
        status.is_some_and(|status| status["leads"] == true)
    };
    // One is asked after the other, and a lock that is given back is taken at once: who said so first has to say it still.
    let said: Vec<_> = places(consul).into_iter().filter(leads).collect();
    let leading: Vec<_> = if said.len() < 2 { said } else { said.into_iter().filter(leads).collect() };
    assert!(leading.len() < 2, "two lead: {leading:?}");
    leading.first().copied()
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

/// A service that takes its time to leave.
fn work() -> Value {
    let second = 1_000_000_000_u64;
    json!({
        "ID": "web", "Name": "web", "Type": "service", "Datacenters": ["*"],
        "Spreads": [{ "Attribute": "${node.unique.id}", "Weight": 100 }],
        "TaskGroups": [{
            "Name": "web", "Count": FIRST,
            "Tasks": [{
                "Name": "web", "Driver": "raw_exec",
                "Config": { "command": "/bin/sleep", "args": ["3600"] },
                "ShutdownDelay": 120 * second, "KillTimeout": second,
                "Resources": { "CPU": 500, "MemoryMB": 64 }
            }]
        }]
    })
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
    let_consul_trust(&consul, &site.nomad);
    let_nomad_allow(&site.nomad);
    site.nomad.register(&work());
    wait_for("the work to run", || (site.places("web").len() == 3).then_some(()));

    run(&site, &consul, 128);
    let allocations = wait_for("the job to be deployed", || deployed(&site, 0));
    assert_ne!(allocations[0]["NodeID"], allocations[1]["NodeID"], "two nodes");
    let before = wait_for("a leader", || leader(&consul));
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
