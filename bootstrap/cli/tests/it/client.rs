//! Nomad's client as a unit of a real systemd, the image's own: what the agent asks of root for it is done by PID 1.

use crate::ground::{Cloud, state_of};
use crate::machine::{Machine, UNIT, succeed};
use base64::Engine as _;
use bootstrap_core::{Condition, State, Step};
use muster_test_servers::{Nomad, NomadOptions, Registry, metadata, program, wait_for};
use serde_json::{Value, json};
use std::process::Command;

const CLIENT: &str = "nomad.service";
const EXPORTER: &str = "prometheus-node-exporter.service";
/// The unit of the image.
const SERVICE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../image/ansible/roles/nomad/templates/nomad.service.j2"
));
/// What the agent may do in Nomad.
const RULES: &str = include_str!("../../../policies/nomad.hcl");
/// The instance that the image was made of.
const OTHER: &str = "i-0fedcba9876543210";

/// Of the registry, whose user is `node`.
const PASSWORD: &str = "planted-r3g1-58";

/// The same as Docker keeps it.
fn basic() -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("node:{PASSWORD}"))
}

/// What the client is beside what the agent says of it.
fn extra() -> Value {
    let at = "127.0.0.1";
    json!({
        "bind_addr": at, "disable_update_check": true, "acl": {"enabled": true},
        "advertise": {"http": at, "rpc": at, "serf": at},
        "consul": {"auto_advertise": false, "client_auto_join": false, "server_auto_join": false},
        "client": {
            "network_interface": "lo", "cpu_total_compute": 2000, "memory_total_mb": 1024,
            "options": {
                "driver.allowlist": "raw_exec",
                "fingerprint.denylist": "consul,vault,env_gce,env_azure,env_digitalocean,bridge,cni",
            },
        },
        "plugin": {"raw_exec": {"config": {"enabled": true}}},
    })
}

/// A server of Nomad that the machine reaches, and a machine whose image was made of a node that ran: its client of Nomad
/// is enabled, and poses as that node. * returns: with them, the agent's token.
fn site(cloud: &Cloud, registry: &Registry) -> (Nomad, Machine, String) {
    let (mut nomad, mut at) = (None, None);
    let machine = Machine::new(cloud, |machine| {
        let options = NomadOptions { acl: true, at: Some(machine.here()), ..NomadOptions::default() };
        let rpc = nomad.insert(Nomad::start(options)).rpc();
        let extra = json!(extra().to_string()).to_string();
        let registry = at.insert(machine.reachable(registry.at()));
        format!(
            r#"
host {{
  units = ["{CLIENT}", "{EXPORTER}"]
  file "node_exporter" {{
    path = "/etc/default/prometheus-node-exporter"
    mode = "0644"
  }}
  file "nomad" {{
    path = "/etc/nomad.d/muster.json"
  }}
  directory "nomad" {{
    path = "/var/lib/nomad"
  }}
}}
monitoring {{
}}
nomad {{
  address = "http://127.0.0.1:4646"
  token_file = "/etc/muster/nomad-token"
  servers = ["{rpc}"]
  drivers = ["raw_exec"]
  extra = {extra}
  registry {{
    image = "{registry}/team/app:1"
    auth_file = "/etc/muster/docker.json"
    insecure = true
  }}
}}
watch {{
  autoscaler {{
    fleet = "web"
    addresses = ["http://127.0.0.1:9"]
  }}
}}
step "monitoring" {{
  attempt = "4s"
  pause = "1s"
  most_pause = "1s"
  deadline = "5s"
  on_failure = "quarantine"
}}
"#
        )
    });
    let nomad = nomad.expect("it was started");
    let token = nomad.new_token(RULES);
    machine.write("etc/muster/nomad-token", 0o600, &token);
    machine.drop_in("[Service]\nEnvironment=MUSTER_LOG=debug\n");
    machine.write("etc/muster/docker.json", 0o600, &{
        let at = at.expect("it is reached").to_string();
        json!({"auths": {at: {"auth": basic()}}}).to_string()
    });
    machine.chroot(&["chown", "muster:muster", "/etc/muster/nomad-token", "/etc/muster/docker.json"]);
    succeed(Command::new("cp").arg(program("nomad")).arg(machine.root().join("usr/local/bin/nomad")));
    let service = SERVICE.replace("{{ ansible_managed }}", "").replace("{{ nomad_stop_timeout }}", "90s");
    assert!(!service.contains("{{"), "what the role fills in: {service}");
    machine.write("etc/systemd/system/nomad.service", 0o644, &service);
    let asked = machine.reachable(
        metadata(machine.instance.as_str()).trim_start_matches("http://").parse().expect("an address"),
    );
    let environment = format!(
        "[Service]\nEnvironment=AWS_EC2_METADATA_SERVICE_ENDPOINT=http://{asked}\nEnvironment=NO_PROXY=*\n"
    );
    machine.write("etc/systemd/system/nomad.service.d/test.conf", 0o644, &environment);
    let mut posing = extra();
    posing["name"] = json!(OTHER);
    posing["data_dir"] = json!("/var/lib/nomad");
    posing["client"]["enabled"] = json!(true);
    posing["client"]["servers"] = json!([nomad.rpc()]);
    machine.write("etc/nomad.d/muster.json", 0o600, &posing.to_string());
    machine.chroot(&["systemctl", "enable", CLIENT]);
    (nomad, machine, token)
}

/// Nodes of a name, as the servers have them.
fn nodes(nomad: &Nomad, name: &str) -> Vec<Value> {
    let all = nomad.call("GET", "/v1/nodes", &Value::Null);
    let all = all.as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|node| node["Name"] == name).collect()
}

/// Work of a node that takes a moment to end, and writes down each time that it begins.
fn job_of(node: &str) -> Value {
    let script = "echo $$ >>/var/tmp/work; trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done";
    json!({
        "ID": "work", "Name": "work", "Type": "service", "Datacenters": ["dc1"], "NodePool": "default",
        // The servers do not miss the client that posed yet.
        "Constraints": [{"LTarget": "${node.unique.name}", "Operand": "=", "RTarget": node}],
        "TaskGroups": [{
            "Name": "work", "Count": 1,
            "Tasks": [{
                "Name": "work", "Driver": "raw_exec", "Config": {"command": "/bin/sh", "args": ["-c", script]},
                "KillSignal": "SIGTERM", "Resources": {"CPU": 50, "MemoryMB": 16},
            }],
        }],
    })
}

fn status_of_work(nomad: &Nomad) -> String {
    let rows = nomad.call("GET", "/v1/job/work/allocations", &Value::Null);
    rows[0]["ClientStatus"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_client_is_stopped_emptied_started_kept_from_work_and_left_by_pid_1() {
    let cloud = Cloud::start();
    let registry = Registry::start(PASSWORD);
    let (nomad, mut machine, token) = site(&cloud, &registry);
    machine.boot();
    let posed = machine.wait_until("the client that poses", || nodes(&nomad, OTHER).first().cloned());
    machine.wait_active();

    // Stopped, emptied and started: what the image brought along is gone, its id with it.
    let own = |what: &str, is: &dyn Fn(&Value) -> bool| {
        machine
            .wait_until(what, || nodes(&nomad, machine.instance.as_str()).into_iter().find(|node| is(node)))
    };
    let works = |node: &Value| node["NodePool"] == "default" && node["Status"] == "ready";
    let node = own("a node that works", &works);
    assert_ne!(node["ID"], posed["ID"], "an id of its own");
    assert_eq!(nodes(&nomad, machine.instance.as_str()).len(), 1);
    let journal = machine.run(&["journalctl", "--no-pager", "--unit=muster-host.service", "--output=cat"]);
    assert!(journal.contains("carried a request out"), "{journal}");
    let client = || machine.property(CLIENT, "MainPID");
    assert_eq!(machine.property(CLIENT, "ActiveState"), "active");
    assert_eq!(machine.property(CLIENT, "NRestarts"), "0");

    // Started again in place: new work is kept away, and what runs runs on.
    nomad.register(&job_of(machine.instance.as_str()));
    machine.wait_until("work that runs", || (status_of_work(&nomad) == "running").then_some(()));
    let before = client();
    machine.run(&["systemctl", "mask", "--runtime", "--now", EXPORTER]);
    machine.run(&["systemctl", "reload", UNIT]);
    own("the pool where no job is placed", &|node| {
        node["NodePool"] == "muster-proving" && node["Status"] == "ready"
    });
    assert_ne!(client(), before, "another process");
    let status = machine.status().expect("a status");
    assert_eq!(state_of(&status, Step::Monitoring), State::Failed);
    machine.run(&["systemctl", "unmask", "--runtime", EXPORTER]);
    own("the pool that it works in", &works);
    machine.wait_until("everything to stand", || {
        machine.status().filter(|status| status.report.condition == Condition::Done)
    });
    assert_eq!(status_of_work(&nomad), "running");
    assert_eq!(machine.run(&["cat", "/var/tmp/work"]).lines().count(), 1, "its work was left alone");

    // Told to leave: it drains its node, ends, and stays away.
    cloud.interrupt(&machine.instance);
    machine.wait_until("the end of the client", || {
        (machine.property(CLIENT, "ActiveState") == "inactive").then_some(())
    });
    assert_eq!(status_of_work(&nomad), "complete", "its work had ended before");
    let node = own("a node that was drained", &|node| node["SchedulingEligibility"] == "ineligible");
    assert_eq!(node["LastDrain"]["Status"], "complete", "{node:#}");
    let seen = machine.status().expect("a status").updated;
    machine.run(&["systemctl", "reload", UNIT]);
    machine.wait_until("another look", || {
        machine.status().filter(|status| status.updated > seen && status.report.condition == Condition::Done)
    });
    assert_eq!(machine.property(CLIENT, "ActiveState"), "inactive");
    assert_eq!(machine.property(CLIENT, "NRestarts"), "0", "systemd does not bring it back");
    wait_for("the servers to miss it", || {
        nodes(&nomad, machine.instance.as_str()).into_iter().find(|node| node["Status"] == "down")
    });
    let journal = machine.run(&["journalctl", "--no-pager", "--all", "--output=verbose"]);
    assert!(journal.contains("came this far"));
    for secret in [&token, PASSWORD, &basic()] {
        assert!(!journal.contains(secret), "a secret is in the journal");
    }
}
