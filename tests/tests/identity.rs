//! A node of the simulated account proves who it is to the real program, over TLS: with curl, as an agent would.

use fleet::ports::Clock;
use fleet::{FleetId, InstanceId};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer, Credential};
use fleet_sim::{Demand, FleetRequest, FleetSpec, World, WorldSpec};
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::programs::{Running, autoscaler, ended, on_path, run};

const KEY: (&str, &str) = ("muster", "muster-secret");
const HISTORY: Duration = Duration::from_secs(3600);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An account whose instances have addresses of this host, so that one can speak from them.
fn account(clock: &dyn Clock) -> World {
    let request = FleetRequest { target: 3, ..FleetRequest::default() };
    let fleet = FleetSpec { request, initial: Some(3), load: Demand::constant(2.0), ..FleetSpec::default() };
    let spec = WorldSpec {
        fleets: vec![fleet],
        first_address: Ipv4Addr::new(127, 16, 0, 4),
        ..WorldSpec::default()
    };
    let mut world = World::new(spec, 5, clock.wall() - HISTORY);
    world.advance(clock.wall());
    world
}

fn policy(fleet: &FleetId) -> String {
    format!(
        "fleet \"web\" {{\n  id = \"{fleet}\"\n  region = \"eu-west-1\"\n  source \"cloudwatch\" {{}}\n  \
         workload {{\n    kind = \"spreads\"\n  }}\n}}\n"
    )
}

/// Makes `tls.pem` and `tls.key` for this host.
fn certify(directory: &Path) {
    let mut command = Command::new(on_path("openssl", "apt-get install openssl"));
    command.current_dir(directory).args(["req", "-x509", "-newkey", "ec", "-pkeyopt"]);
    command.args([
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "tls.key",
        "-out",
        "tls.pem",
        "-days",
        "7",
    ]);
    command.args(["-subj", "/CN=muster", "-addext", "subjectAltName=IP:127.0.0.1"]);
    // A server's certificate, not an authority's.
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    let (code, _, err) = ended(&mut command);
    assert_eq!(code, 0, "{err}");
}

/// Asks with curl from an address. * returns: the status, 0 where there was no answer, and the body.
fn curl(directory: &Path, from: IpAddr, arguments: &[&str]) -> (u16, String) {
    let mut command = Command::new(on_path("curl", "apt-get install curl"));
    command.current_dir(directory).args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]);
    command.args(["--cacert", "tls.pem", "--write-out", "\n%{http_code}", "--interface", &from.to_string()]);
    let (_, out, err) = ended(command.args(arguments));
    let (body, status) = out.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), format!("{body}{err}"))
}

/// An instance's signed document, from its metadata service.
fn document(directory: &Path, endpoint: &str, from: IpAddr) -> String {
    let url = |path: &str| format!("{endpoint}/latest/{path}");
    let lasts = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let (status, token) = curl(directory, from, &["--request", "PUT", "--header", lasts, &url("api/token")]);
    assert_eq!(status, 200, "{token}");
    let token = format!("X-aws-ec2-metadata-token: {token}");
    let (status, document) =
        curl(directory, from, &["--header", &token, &url("dynamic/instance-identity/rsa2048")]);
    assert_eq!(status, 200, "{document}");
    document
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A daemon that serves the account over TLS and trusts its metadata service. * returns: it and its URL.
fn daemon(home: &Path, endpoint: &str, account: &str) -> (Running, String) {
    let mut command = autoscaler();
    command.current_dir(home).args(["run", "--policy", "web.hcl", "--state", "state"]);
    command.args(["--listen", "127.0.0.1:0", "--tls-certificate", "tls.pem", "--tls-key", "tls.key"]);
    command.args(["--identity-certificates", "aws", "--identity-account", account]);
    command.args(["--endpoint", endpoint, "--log-format", "json"]);
    command.env("AWS_ACCESS_KEY_ID", KEY.0).env("AWS_SECRET_ACCESS_KEY", KEY.1);
    let mut running = Running::start(&mut command);
    let address = running.address();
    running.wait_for("a decision", |line| line.contains("\"decided to").then_some(()));
    (running, format!("https://{address}"))
}

#[test]
fn a_node_of_the_account_identifies_and_announces_what_it_hears() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let world = account(&*clock);
    let (fleet, account) = (world.fleets()[0].id.clone(), world.spec().account.clone());
    let shown = world.shown_instances().into_iter();
    let nodes: Vec<(InstanceId, IpAddr)> =
        shown.filter_map(|node| Some((node.id, node.private_ip?))).collect();
    let config = CloudConfig {
        speed: Some(1.0),
        credentials: vec![Credential::new(KEY.0, KEY.1)],
        ..CloudConfig::new(Arc::new(Mutex::new(world)), Arc::clone(&clock))
    };
    let server = runtime.block_on(CloudServer::start(config)).expect("the cloud starts");
    let endpoint = server.endpoint();
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    certify(home);
    fs::write(home.join("web.hcl"), policy(&fleet)).expect("a policy");
    fs::create_dir(home.join("aws")).expect("a directory");
    let (_, pem) = curl(home, HERE, &[&format!("{endpoint}/_muster/identity-certificate")]);
    fs::write(home.join("aws/eu-west-1.pem"), value(&pem)["pem"].as_str().expect("a text")).expect("a file");
    let (running, url) = daemon(home, &endpoint, &account);
    let ca = home.join("tls.pem");
    let (code, out, err) = run(["status", "--address", &url, "--ca-file", ca.to_str().expect("text")]);
    assert_eq!(code, 0, "{out}{err}");

    let [(mine, own), (other, elsewhere), ..] = nodes.as_slice() else { panic!("three instances serve") };
    let identify = |from: IpAddr, document: &str| {
        let body = json!({"version": 1, "pkcs7": document}).to_string();
        curl(home, from, &["--data", &body, &format!("{url}/v1/identify")])
    };
    let signed = document(home, &endpoint, *own);
    let (status, body) = identify(*elsewhere, &signed);
    assert_eq!(status, 403, "another's document: {body}");
    let (status, body) = identify(*own, &signed);
    assert_eq!(status, 200, "{body}");
    let token = format!("Authorization: Bearer {}", value(&body)["token"].as_str().expect("a token"));

    let announce = |from: IpAddr, instance: &InstanceId| {
        let notice = json!({"kind": "rebalance_recommendation", "at_ms": clock.wall()});
        let body = json!({"version": 1, "instance": instance, "notices": [notice]}).to_string();
        curl(home, from, &["--header", &token, "--data", &body, &format!("{url}/v1/notices")])
    };
    for accepted in [1, 0] {
        let (status, body) = announce(*own, mine);
        let expected = json!({"accepted": accepted, "confirmed": 1, "leader": true});
        assert_eq!((status, value(&body)), (200, expected));
    }
    assert_eq!(announce(*own, other).0, 403, "for another");
    assert_eq!(announce(*elsewhere, other).0, 403, "with another's token");
    let clear = url.replace("https", "http");
    assert_eq!(curl(home, HERE, &[&format!("{clear}/v1/health")]).0, 0, "nothing is served in the clear");
    running.signal("TERM");
    let (status, said) = running.end();
    assert!(status.success());
    assert!(!said.contains("mn1."), "tokens are not logged: {said}");
    runtime.block_on(server.stop());
}
