//! SIGKILL and power cuts at any moment: wherever the agent dies, the next one ends where an undisturbed one does.

use crate::agents;
use crate::awx_server::{Awx, KEY, TOKEN};
use crate::ground::{Cloud, Node, names, whole};
use bootstrap_core::{Condition, Inputs, Step, spread};
use muster_test_servers::{Vault, VaultKind, VaultOptions, port, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const SEEDS: u64 = 100;
/// Boots at once: each waits more than it computes.
const SIDE_BY_SIDE: usize = 6;
/// A boot that nobody disturbs takes about a quarter of it.
const BOOT: Duration = Duration::from_millis(900);

/// The servers that all nodes have.
struct Servers {
    cloud: Cloud,
    bao: Vault,
    role_id: String,
}

impl Servers {
    fn start() -> Self {
        let cloud = Cloud::of(u32::try_from(SEEDS).expect("few") + 1);
        let bao = Vault::start(&VaultOptions { kind: VaultKind::OpenBao, ..VaultOptions::default() });
        let policy = "path \"kv/*\" { capabilities = [\"read\"] }";
        bao.call("PUT", "sys/policies/acl/node", &json!({"policy": policy}));
        bao.call("POST", "sys/auth/approle", &json!({"type": "approle"}));
        let role = json!({"token_policies": ["node"], "token_ttl": "20m"});
        bao.call("POST", "auth/approle/role/node", &role);
        bao.call("POST", "sys/mounts/kv", &json!({"type": "kv"}));
        bao.call("POST", "kv/awx", &json!({"key": KEY}));
        let role_id = bao.call("GET", "auth/approle/role/node/role-id", &Value::Null);
        let role_id = role_id["data"]["role_id"].as_str().expect("a text").to_owned();
        Self { cloud, bao, role_id }
    }
}

/// A node, and whom it has for itself.
struct Site<'a> {
    node: Node,
    awx: Awx,
    exporter: SocketAddr,
    secrets: TempDir,
    servers: &'a Servers,
}

/// Everything that a boot leaves, but for times and for what is another one each time.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    files: BTreeMap<String, String>,
    progress: BTreeMap<String, (Inputs, Option<String>)>,
    /// Whatever else is in the agent's directories.
    names: Vec<String>,
    jobs: usize,
}

impl<'a> Site<'a> {
    fn new(servers: &'a Servers, number: usize) -> Self {
        let Servers { cloud, bao, role_id } = servers;
        let awx = Awx::start();
        awx.state().ends_as = "successful";
        let secrets =
            tempfile::Builder::new().prefix("muster-secrets-").tempdir_in("/dev/shm").expect("tmpfs");
        let exporter = port();
        let (vault, at, s) = (bao.address(), awx.address(), secrets.path().display());
        let text = format!(
            r#"
host {{
  units = ["prometheus-node-exporter.service"]
  file "node_exporter" {{
    path = "$PLACE/node_exporter.env"
    mode = "0644"
  }}
}}
vault {{
  address = "{vault}"
  token_file = "{s}/token"
  revoke = "never"
  approle {{
    role_id_file = "$PLACE/role_id"
    secret_id_file = "{s}/secret_id"
  }}
  template "awx" {{
    source = "$PLACE/awx.tmpl"
    path = "{s}/awx-key"
  }}
}}
awx {{
  address = "{at}"
  template = 7
  key_file = "{s}/awx-key"
  token_file = "$PLACE/api"
  jitter = "0s"
}}
monitoring {{
  address = "http://{exporter}/metrics"
  arguments = ["--web.listen-address={exporter}"]
}}
"#
        );
        let node = Node::new(cloud, number, &text);
        let site = Self { node, awx, exporter, secrets, servers };
        let place = site.node.path();
        fs::write(place.join("role_id"), role_id).expect("written");
        fs::write(place.join("api"), TOKEN).expect("written");
        fs::write(place.join("awx.tmpl"), "{{ secret('kv/awx').key }}\n").expect("written");
        agents::set_exporter(&site.node);
        site.secret_id();
        site
    }

    /// What whoever launches the instance gives it.
    fn secret_id(&self) {
        let made = self.servers.bao.call("POST", "auth/approle/role/node/secret-id", &json!({}));
        let secret_id = made["data"]["secret_id"].as_str().expect("a text");
        fs::write(self.secrets.path().join("secret_id"), secret_id).expect("written");
    }

    /// What a boot that has ended has left.
    fn left(&self) -> Left {
        let place = self.node.path();
        let port = self.exporter.to_string();
        let instance = self.node.instance.as_str();
        let read = |path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            text.replace(&port, "EXPORTER")
                .replace(&place.display().to_string(), "PLACE")
                .replace(instance, "INSTANCE")
        };
        let files =
            [place.join("node_exporter.env"), place.join("run/ready"), self.secrets.path().join("awx-key")];
        let files = files.iter().map(|path| (name_of(path), read(path))).collect();
        let state = place.join("state").join(instance);
        let progress = whole(&state).into_iter().map(|name| {
            let line: Value = serde_json::from_str(&read(&state.join(&name))).expect("a line");
            assert_eq!(line["phase"], "done", "{name}: {line}");
            // Where things are differs from node to node.
            let inputs = line["inputs"].as_str().expect("a digest");
            // That of the last step is a time.
            let note = line["note"].as_str().filter(|_| name != "ready.json").map(str::to_owned);
            let note = note.map(|note| if inputs.is_empty() { note } else { note.replace(inputs, "INPUTS") });
            (name, (Inputs::none(), note))
        });
        let progress = progress.collect();
        let token = fs::read_to_string(self.secrets.path().join("token")).expect("a token");
        assert!(self.servers.bao.knows(token.trim()), "the token that is there is one");
        let mut left: Vec<String> = Vec::new();
        for (directory, of) in [
            (place.to_owned(), ""),
            (place.join("run"), "run/"),
            (self.secrets.path().to_owned(), "secrets/"),
        ] {
            left.extend(whole(&directory).into_iter().map(|name| format!("{of}{name}")));
        }
        for directory in ["run/metrics", "run/host/requests"] {
            left.extend(whole(&place.join(directory)).into_iter().map(|name| format!("{directory}/{name}")));
        }
        Left { files, progress, names: left, jobs: self.awx.state().jobs.len() }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}

/// Kills a boot at moments of the seed, and lets the last one end. * returns: what it left.
fn disturbed(servers: &Servers, seed: u64) -> Left {
    let number = usize::try_from(seed).expect("small") + 1;
    let mut site = Site::new(servers, number);
    let chance = |of: u64, number: u64| spread(Duration::from_millis(of), seed, number).as_millis();
    let kills = 1 + chance(4, 0);
    for kill in 0..u64::try_from(kills).expect("few") {
        site.node.start();
        // Early moments are as many as late ones, and one may be after the end.
        thread::sleep(spread(BOOT, seed, 10 + kill));
        if chance(4, 100 + kill) == 0 {
            // What the power cut takes is what is in memory.
            site.node.reboot();
            site.node.units.kill("prometheus-node-exporter.service");
        } else {
            site.node.kill();
        }
    }
    site.node.start();
    site.node.wait_done();
    wait_for("root to be done", || {
        names(&site.node.path().join("run/host/requests")).is_empty().then_some(())
    });
    let done = site.node.units.done();
    let restarts = done.iter().filter(|done| done.starts_with("restart")).count();
    let starts = usize::try_from(kills).expect("few") + 1;
    assert!(restarts >= 1 && restarts <= starts, "{restarts} restarts in {starts} starts: {done:?}");
    assert_eq!(restarts, done.len(), "nothing else is done: {done:?}");
    assert!(site.awx.state().callbacks <= starts, "one question a start at most");
    assert_eq!(site.awx.state().most_at_once, 1);
    site.left()
}

#[test]
fn a_hundred_boots_that_are_killed_anywhere_end_as_one_that_is_not() {
    let servers = Servers::start();
    let mut site = Site::new(&servers, 0);
    site.node.start();
    let status = site.node.wait_done();
    assert_eq!(status.report.condition, Condition::Done);
    assert!(status.report.steps.iter().any(|step| step.step == Step::Monitoring));
    let undisturbed = site.left();
    assert_eq!(undisturbed.jobs, 1);
    assert_eq!(site.node.units.done(), ["restart prometheus-node-exporter.service"]);
    let next = AtomicU64::new(0);
    let failed: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE)
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= SEEDS {
                            return failed;
                        }
                        let well = catch_unwind(AssertUnwindSafe(|| {
                            assert_eq!(disturbed(&servers, seed), undisturbed, "seed {seed}");
                        }));
                        if well.is_err() {
                            failed.push(seed);
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it is caught")).collect()
    });
    assert!(failed.is_empty(), "seeds that ended otherwise: {failed:?}");
}
