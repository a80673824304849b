//! `muster-image verify` with a site's servers beside it: the image's agent boots the whole node, against real Vault, Consul and
//! Nomad.

use fleet_cloud::CloudConfig;
use fleet_sim::{FleetSpec, World, WorldSpec};
use muster_machine::Place;
use muster_test_servers::{Consul, ConsulOptions, Nomad, NomadOptions, Vault, VaultOptions, listen_at};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use tests::ground::{Cloud, SERVER_ID};
use tests::image::baked;
use tests::programs::{Running, ended, image};

/// What a template of the agent's renders.
const TEMPLATE: &str = "{{ secret('kv/data/node').word }}\n";

/// Nodes may read one secret.
fn keep_a_secret(vault: &Vault) {
    let rules = "path \"kv/data/node\" {\n  capabilities = [\"read\"]\n}\n";
    vault.call("PUT", "sys/policies/acl/node", &json!({ "policy": rules }));
    vault.mount_kv();
    vault.call("POST", "kv/data/node", &json!({ "data": { "word": "first" } }));
}

/// What the agent is told. The instance's address is not the machine's, so the exporter is where the machine alone reaches it.
fn configuration(cloud: &Cloud, vault: &Vault, consul: &Consul, nomad: &Nomad) -> String {
    let endpoint = cloud.endpoint();
    let escaped = |value: Value| json!(value.to_string()).to_string();
    let of_consul = escaped(json!({ "retry_interval": "1s" }));
    let of_nomad = escaped(json!({ "client": { "options": { "driver.allowlist": "docker" } } }));
    format!(
        r#"
identity {{
  certificates = ["/etc/muster/of-this-test.pem"]
}}
vault {{
  address = "{vault}"
  aws {{
    role         = "node"
    server_id    = "{SERVER_ID}"
    region       = "us-east-1"
    sts_endpoint = "{endpoint}"
  }}
  template "word" {{
    source = "/etc/muster/templates/word.j2"
    path   = "/run/muster/secrets/word"
  }}
}}
monitoring {{
  address = "http://127.0.0.1:9100/metrics"
}}
consul {{
  join  = ["{gossip}"]
  extra = {of_consul}
  ttl   = "10s"
}}
nomad {{
  servers = ["{rpc}"]
  drivers = ["docker"]
  extra   = {of_nomad}
}}
"#,
        vault = vault.address(),
        gossip = consul.gossip(),
        rpc = nomad.rpc(),
    )
}

/// Whoever is told to end takes the machine along, whatever is asked of it just then.
#[test]
fn a_proof_that_is_interrupted_leaves_no_machine() {
    let (root, _) = baked();
    let booted = || {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("Linux tells");
        mounts.lines().filter(|line| line.contains("/muster-image-of-a-proof/")).count()
    };
    let place = tempfile::Builder::new().prefix("muster-image-of-a-proof").rand_bytes(0).tempdir();
    let place = place.expect("nobody else makes it");
    for signal in ["INT", "TERM"] {
        let mut verify = image();
        verify.arg("verify").arg(&root).env("TMPDIR", place.path());
        let mut running = Running::start(&mut verify);
        running.wait_for("a boot", |line| line.contains("asking what it is").then_some(()));
        assert_eq!(booted(), 1);
        running.signal(signal);
        let (status, said) = running.end();
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.contains("the machine is switched off, and nothing of it is left"), "{said}");
        assert_eq!((booted(), fs::read_dir(place.path()).expect("a directory").count()), (0, 0));
    }
}

#[test]
fn an_image_is_proved_by_a_node_that_logs_in_to_vault_and_joins_consul_and_nomad() {
    // A network that nobody has: machines reach this host's address in it by their gateway.
    let place = Place::alone().unwrap_or_else(|error| panic!("{error}"));
    listen_at(place.gateway());
    let cloud = Cloud::serve(SocketAddr::from((place.gateway(), 0)), CloudConfig::FIRST_MACHINE, |now| {
        let fleets = vec![FleetSpec { initial: Some(1), ..FleetSpec::default() }];
        // Its one instance is whoever asks from this host, as what a relay passes on does.
        World::new(WorldSpec { fleets, first_address: place.gateway(), ..WorldSpec::default() }, 5, now)
    });
    let vault = Vault::start(&VaultOptions::default());
    cloud.let_nodes_log_in(&vault);
    keep_a_secret(&vault);
    let consul = Consul::start(&ConsulOptions::default());
    let nomad = Nomad::start(NomadOptions::default());
    let instance = cloud.living()[0].to_string();

    let directory = tempfile::tempdir().expect("a directory");
    let [config, certificate, template] =
        ["agent.hcl", "aws.pem", "word.j2"].map(|name| directory.path().join(name));
    fs::write(&config, configuration(&cloud, &vault, &consul, &nomad)).expect("written");
    fs::write(&certificate, cloud.certificate()).expect("written");
    fs::write(&template, TEMPLATE).expect("written");
    let (root, _) = baked();
    let mut verify = image();
    verify.env("PATH", tests::image::PATH).arg("verify").arg(&root).args(["--timeout", "5m"]);
    let metadata = cloud.endpoint();
    verify.arg("--config").arg(&config).args(["--metadata", metadata.trim_start_matches("http://")]);
    for (from, to) in
        [(&certificate, "/etc/muster/of-this-test.pem"), (&template, "/etc/muster/templates/word.j2")]
    {
        verify.args(["--put", &format!("{}:{to}", from.display())]);
    }
    let (code, out, said) = ended(verify.args(["--format", "json"]));
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{said}"));
    assert_eq!((code, &report["passed"]), (0, &json!(true)), "{report:#}\n{said}");
    assert_eq!(report["facts"]["agent"]["code"], json!(0), "{report:#}");

    // Each server has seen it.
    let logins = vault.call("LIST", "identity/entity-alias/id", &Value::Null);
    assert_eq!(logins["data"]["keys"].as_array().map(Vec::len), Some(1), "{logins}");
    let services = consul.call("GET", "/v1/catalog/service/muster-node", &Value::Null);
    let of_it = services.as_array().expect("a list").iter().any(|service| service["Node"] == *instance);
    assert!(of_it, "{services:#}");
    let nodes = nomad.call("GET", "/v1/nodes", &Value::Null);
    let node = nodes.as_array().expect("a list").iter().find(|node| node["Name"] == *instance);
    let node = node.unwrap_or_else(|| panic!("{nodes:#}"));
    assert_eq!(node["Drivers"]["docker"]["Healthy"], json!(true), "{node:#}");
}
