//! Consul's agent as a unit of a real systemd, the image's own: what the agent asks of root for it is done by PID 1.

use crate::ground::Cloud;
use crate::machine::{Machine, UNIT, succeed};
use crate::services::CONSUL_RULES;
use bootstrap_core::Condition;
use muster_test_servers::{Consul, ConsulOptions, program};
use serde_json::{Value, json};
use std::process::Command;

const AGENT: &str = "consul.service";
const FILE: &str = "/etc/consul.d/muster.json";
/// The unit of the image.
const SERVICE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../image/ansible/roles/consul/templates/consul.service.j2"
));
/// The id of the node that the image was made of.
const OTHER: &str = "0bd2b3f0-7a0c-4e57-9d0b-5a3d4ad9c6c1";

/// A server of Consul that the machine reaches, and a machine whose image was made of a node that ran. * returns: with them, the
/// agent's token.
fn site(cloud: &Cloud) -> (Consul, Machine, String) {
    let mut consul = None;
    let machine = Machine::new(cloud, |machine| {
        let options = ConsulOptions { acl: true, at: Some(machine.here()), ..ConsulOptions::default() };
        let consul = consul.insert(Consul::start(&options));
        let extra = json!({
            "disable_update_check": true, "retry_interval": "1s",
            // Addresses that are set aside for benchmarks are no private ones to Consul: it finds none by itself.
            "bind_addr": machine.there().to_string(),
            "ports": {"dns": -1, "grpc": -1, "grpc_tls": -1},
            "acl": {"enabled": true, "default_policy": "deny", "tokens": {"agent": consul.token()}},
        });
        let (extra, join) = (json!(extra.to_string()).to_string(), consul.gossip());
        format!(
            r#"
host {{
  units = ["{AGENT}", "prometheus-node-exporter.service"]
  file "node_exporter" {{
    path = "/etc/default/prometheus-node-exporter"
    mode = "0644"
  }}
  file "consul" {{
    path = "{FILE}"
    group = "consul"
    mode = "0640"
  }}
  directory "consul" {{
    path = "/var/lib/consul"
  }}
}}
monitoring {{
}}
consul {{
  token_file = "/etc/muster/consul-token"
  join = ["{join}"]
  extra = {extra}
}}
watch {{
  verify = "10s"
}}
"#
        )
    });
    let consul = consul.expect("it was started");
    let token = consul.new_token(&CONSUL_RULES.replace("INSTANCE", machine.instance.as_str()));
    machine.write("etc/muster/consul-token", 0o600, &token);
    machine.drop_in("[Service]\nEnvironment=MUSTER_LOG=debug\n");
    machine.chroot(&["chown", "muster:muster", "/etc/muster/consul-token"]);
    // As the role does it.
    machine.chroot(&[
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir=/var/lib/consul",
        "consul",
    ]);
    machine.chroot(&["install", "--directory", "--group=consul", "--mode=0750", "/etc/consul.d"]);
    machine.chroot(&[
        "install",
        "--directory",
        "--owner=consul",
        "--group=consul",
        "--mode=0750",
        "/var/lib/consul",
    ]);
    succeed(Command::new("cp").arg(program("consul")).arg(machine.root().join("usr/local/bin/consul")));
    let service = SERVICE.replace("{{ ansible_managed }}", "");
    assert!(!service.contains("{{"), "what the role fills in: {service}");
    machine.write("etc/systemd/system/consul.service", 0o644, &service);
    machine.write("var/lib/consul/node-id", 0o600, OTHER);
    machine.chroot(&["chown", "consul:consul", "/var/lib/consul/node-id"]);
    (consul, machine, token)
}

#[test]
fn consuls_agent_is_emptied_started_and_joined_by_pid_1_and_left_alone_unless_it_has_to_be_started_anew() {
    let cloud = Cloud::start();
    let (consul, mut machine, token) = site(&cloud);
    let ask = |path: &str| consul.call("GET", path, &Value::Null);
    machine.boot();
    machine.wait_active();

    // It has joined as this instance, with an id of its own, and with its services.
    let instance = machine.instance.clone();
    let found = ask("/v1/catalog/nodes");
    let ours: Vec<&Value> =
        found.as_array().expect("a list").iter().filter(|node| node["Node"] == instance.as_str()).collect();
    assert_eq!(ours.len(), 1, "{found}");
    assert_ne!(ours[0]["ID"], OTHER, "what the image brought along is gone");
    let checks = || ask(&format!("/v1/health/node/{instance}"));
    machine.wait_until("checks that pass", || {
        let checks = checks();
        let checks = checks.as_array()?;
        (checks.len() == 3 && checks.iter().all(|check| check["Status"] == "passing")).then_some(())
    });
    assert_eq!(machine.property(AGENT, "ActiveState"), "active");
    assert_eq!(machine.property(AGENT, "NRestarts"), "0");
    let process = || machine.property(AGENT, "MainPID");
    assert_eq!(machine.run(&["stat", "--format=%U", &format!("/proc/{}", process())]), "consul");
    assert_eq!(machine.run(&["stat", "--format=%U:%G %a", FILE]), "root:consul 640");

    // Its file comes back when somebody changes it, without a restart: it has not read the other one.
    let done = |status: &bootstrap_agent::status::Status| status.report.condition == Condition::Done;
    let kept = || machine.run(&["cat", FILE]);
    let (before, of) = (kept(), process());
    let looks = || {
        machine
            .run(&["journalctl", "--no-pager", "--output=cat", "--unit", UNIT])
            .matches("as it should be")
            .count()
    };
    // Since more than the second that systemd tells.
    let seen = looks();
    machine.wait_until("looks at what runs", || (looks() > seen + 2).then_some(()));
    machine.run(&["sh", "-c", &format!("echo '{{}}' >{FILE}")]);
    machine.run(&["systemctl", "reload", UNIT]);
    machine.wait_until("its file", || (kept() == before).then_some(()));
    machine.wait_until("everything to stand", || machine.status().filter(done));
    assert_eq!(process(), of, "it was left alone");

    // What somebody has started from another file is started anew.
    machine.run(&["sh", "-c", &format!("sed --in-place 's/\"datacenter\": \"dc1\"/\"datacenter\": \"dc1\", \"log_level\": \"trace\"/' {FILE}")]);
    assert_ne!(kept(), before);
    machine.run(&["systemctl", "restart", AGENT]);
    let of = process();
    machine.run(&["systemctl", "reload", UNIT]);
    machine.wait_until("its file", || (kept() == before).then_some(()));
    machine.wait_until("another process", || (process() != of && process() != "0").then_some(()));
    machine.wait_until("everything to stand", || machine.status().filter(done));

    // One that is killed is systemd's to start again; its node and its services are there again.
    let of = process();
    machine.run(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", AGENT]);
    machine.wait_until("another process", || (process() != of && process() != "0").then_some(()));
    machine.wait_until("checks that pass", || {
        let checks = checks();
        let checks = checks.as_array()?;
        (checks.len() == 3 && checks.iter().all(|check| check["Status"] == "passing")).then_some(())
    });

    // After a reboot the agent starts it again: it is not enabled.
    assert_eq!(machine.property(AGENT, "UnitFileState"), "disabled");
    machine.reboot();
    machine.wait_active();
    assert_eq!(machine.property(AGENT, "ActiveState"), "active");
    let again = ask("/v1/catalog/nodes");
    let again = again.as_array().expect("a list").iter().find(|node| node["Node"] == instance.as_str());
    assert_eq!(again.expect("it is there")["ID"], ours[0]["ID"], "the same node");
    let journal = machine.run(&["journalctl", "--no-pager", "--all", "--output=verbose"]);
    assert!(journal.contains("came this far") && !journal.contains(&token), "its token is in the journal");
}
