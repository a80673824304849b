//! The autoscaler as the Nomad job that it ships with, as the plain program under the driver `exec`: fetched by Nomad, in a
//! root of its own, as nobody, on real Nomad and Consul, with no right but those of its identities: in AWS, too.

use muster_test_servers::{Consul, ConsulOptions, NomadClient, NomadOptions, wait_for};
use serde_json::json;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use tests::ground::Site;
use tests::job::{NAME, deployed, leader, let_consul_trust, let_nomad_allow, register};
use tests::programs::{libraries, stripped};

/// The nodes that are not scaled. Their names are short: the path of a task's API socket may have 107 bytes.
const OTHERS: [&str; 2] = ["a", "b"];
const FIRST: u32 = 3;
const SMALLEST: u32 = 2;
const ROLE: &str = "arn:aws:iam::123456789012:role/muster-autoscaler";

/// Serves the program on loopback, as whoever keeps releases does. * returns: where.
fn served() -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join(NAME);
    stripped(&program);
    let program = std::fs::read(program).expect("it was made");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut asked =
                BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
            let whole = asked.next().is_some_and(|line| line.starts_with("GET "));
            asked.take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", program.len());
            // Who hangs up has what it wanted.
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(if whole { &program } else { &[] });
        }
    });
    format!("http://{address}/{NAME}")
}

#[test]
fn the_job_as_a_plain_program_leads_by_its_identities_alone() {
    let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    let agents = OTHERS.map(|name| consul.join(name));
    // What it sees of its host.
    let mut seen = libraries();
    seen.extend(["/etc/passwd", "/etc/hosts", "/etc/nsswitch.conf"].map(PathBuf::from));
    let other = |(name, agent): (&str, &Consul)| NomadClient {
        name: name.to_owned(),
        pool: Some("others".to_owned()),
        exec: Some(seen.clone()),
        consul: Some(agent.agent()),
        ..NomadClient::default()
    };
    let clients = OTHERS.into_iter().zip(&agents).map(other).collect();
    let nomad = NomadOptions { clients, consul: Some(consul.agent()), ..NomadOptions::default() };
    let site = Site::start(FIRST, SMALLEST, nomad, None);
    let_consul_trust(&consul, &site.nomad, &["consul"]);
    let_nomad_allow(&site.nomad);
    site.cloud.trust(&site.nomad, NAME);

    let values = json!({
        "policy": site.policy(SMALLEST),
        "node_pool": "others",
        "driver": "exec",
        "binary": served(),
        "role_arn": ROLE,
        "consul_address": consul.address(),
        "queue_url": site.cloud.queue(),
        "extra_args": ["--endpoint", site.cloud.endpoint(), "--log-format", "json"]
    });
    register(&site.nomad, &values);
    let allocations = wait_for("the job to be deployed", || deployed(&site, 0));
    assert_ne!(allocations[0]["NodeID"], allocations[1]["NodeID"], "two nodes");
    wait_for("a leader", || leader(&consul));

    wait_for("one to be gone", || (site.cloud.living().len() == 2).then_some(()));
    let drained = site.nomad.call("GET", "/v1/nodes", &json!(null));
    let drained = drained.as_array().expect("a list").iter();
    let complete = drained.filter(|node| node["LastDrain"]["Status"] == "complete").count();
    assert_eq!(complete, 1, "who is gone was drained first");
    assert_eq!((site.cloud.target(), site.cloud.writes()), (SMALLEST, 2));
}
