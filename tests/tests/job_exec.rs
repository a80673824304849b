//! The autoscaler as the Nomad job that it ships with, as the plain program under the driver `exec`: fetched by Nomad, in a
//! root of its own, as nobody, on real Nomad, Consul and Vault, with no right but those of its identities: in AWS, too. Whoever
//! meets it trusts the certificate that it has of Vault's PKI.

use muster_test_servers::{Consul, ConsulOptions, NomadClient, NomadOptions, Vault, VaultOptions, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use tests::ground::Site;
use tests::job::{NAME, deployed, let_consul_trust, let_nomad_allow, let_vault_trust, places, register};
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

/// An authority of Vault's, which signs for the autoscaler alone. * returns: its certificate, in PEM.
fn certifies(vault: &Vault) -> String {
    vault.call("POST", "sys/mounts/pki", &json!({ "type": "pki", "config": { "max_lease_ttl": "8760h" } }));
    let root = json!({ "common_name": "the site's", "ttl": "8760h" });
    let root = vault.call("POST", "pki/root/generate/internal", &root);
    let role = json!({
        "allowed_domains": [format!("{NAME}.service.consul")], "allow_bare_domains": true, "max_ttl": "72h",
    });
    vault.call("POST", "pki/roles/muster", &role);
    root["data"]["certificate"].as_str().expect("a certificate").to_owned()
}

/// As the job's README says: the job's identity is good for its certificate.
fn let_vault_certify(vault: &Vault) {
    let rules = "path \"pki/issue/muster\" {\n  capabilities = [\"update\"]\n}\n";
    vault.call("PUT", &format!("sys/policies/acl/{NAME}"), &json!({ "policy": rules }));
    let role = json!({
        "role_type": "jwt", "bound_audiences": ["vault.io"], "user_claim": "sub", "token_type": "service",
        "bound_claims": { "nomad_namespace": "default", "nomad_job_id": NAME },
        "token_policies": [NAME], "token_period": "30m",
    });
    vault.call("POST", &format!("auth/nomad/role/{NAME}"), &role);
}

/// Whether the one at this address leads, as whoever trusts nobody but this authority hears it.
fn leads(at: SocketAddr, authority: &Path) -> bool {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "5", "--noproxy", "*", "--cacert"]).arg(authority);
    let said =
        curl.arg(format!("https://{at}/v1/fleets")).output().expect("curl is missing: apt-get install curl");
    serde_json::from_slice(&said.stdout).is_ok_and(|status: Value| status["leads"] == true)
}

#[test]
fn the_job_as_a_plain_program_leads_by_its_identities_alone() {
    let vault = Vault::start(&VaultOptions::default());
    let authority = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&authority, certifies(&vault)).expect("written");
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
    let nomad = NomadOptions {
        clients,
        consul: Some(consul.agent()),
        vault: Some(vault.address()),
        ..NomadOptions::default()
    };
    let site = Site::start(FIRST, SMALLEST, nomad, None);
    let_consul_trust(&consul, &site.nomad, &["consul"]);
    let_nomad_allow(&site.nomad);
    site.cloud.trust(&site.nomad, NAME);
    let_vault_trust(&vault, &site.nomad);
    let_vault_certify(&vault);

    let values = json!({
        "policy": site.policy(SMALLEST),
        "node_pool": "others",
        "driver": "exec",
        "binary": served(),
        "role_arn": ROLE,
        "consul_address": consul.address(),
        "queue_url": site.cloud.queue(),
        "tls_role": "pki/issue/muster",
        "extra_args": ["--endpoint", site.cloud.endpoint(), "--log-format", "json"]
    });
    register(&site.nomad, &values);
    let allocations = wait_for("the job to be deployed", || deployed(&site, 0));
    assert_ne!(allocations[0]["NodeID"], allocations[1]["NodeID"], "two nodes");
    let trusted = || places(&consul).into_iter().filter(|at| leads(*at, authority.path())).count();
    wait_for("a leader with a certificate that is trusted", || (trusted() == 1).then_some(()));

    wait_for("one to be gone", || (site.cloud.living().len() == 2).then_some(()));
    let drained = site.nomad.call("GET", "/v1/nodes", &json!(null));
    let drained = drained.as_array().expect("a list").iter();
    let complete = drained.filter(|node| node["LastDrain"]["Status"] == "complete").count();
    assert_eq!(complete, 1, "who is gone was drained first");
    assert_eq!((site.cloud.target(), site.cloud.writes()), (SMALLEST, 2));
}
