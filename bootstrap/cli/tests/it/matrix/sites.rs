//! The services: real ones, but for AWS and AWX.

use super::{Fault, Look, Proxy, Service, Site};
use crate::agents;
use crate::awx_server::{Awx, KEY, TOKEN};
use crate::ground::{Cloud, Node};
use bootstrap_core::Step;
use muster_test_servers::{
    Consul, ConsulOptions, Nomad, NomadOptions, Registry, Vault, VaultKind, VaultOptions, port, wait_for,
};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Instances of a cloud: one a fault, and one that nothing disturbs.
const INSTANCES: u32 = 16;
const REGISTRY_PASSWORD: &str = "planted-r3g1";

/// A step that is tried again soon. * `attempt`: how long each may take.
fn soon(step: &str, attempt: &str) -> String {
    format!(
        "step \"{step}\" {{\n  attempt = \"{attempt}\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"30m\"\n}}\n"
    )
}

/// What is said of a fault of a service that is asked in the usual way.
fn usual(service: &str, fault: Fault) -> Vec<String> {
    let what = match fault {
        Fault::Refused => "cannot be reached: ",
        Fault::Hangs | Fault::Trickles => "timed out",
        Fault::Cut | Fault::Garbage => "took the request and gave no whole answer",
        Fault::Page => "answered what is no such JSON",
        Fault::Says(status) | Fault::ComeBack(status, _) => {
            return vec![service.to_owned(), status.to_string()];
        }
        Fault::Expired => "is not trusted: its certificate has expired",
        Fault::Stranger => {
            "is not trusted: its certificate was signed by an authority that is not known here"
        }
        Fault::Sealed => "is sealed",
        Fault::Leaderless => "leader",
    };
    vec![service.to_owned(), what.to_owned()]
}

fn all(more: &[Fault]) -> Vec<Fault> {
    Fault::PLAIN.into_iter().chain(Fault::TLS).chain(more.iter().copied()).collect()
}

/// A configuration with the proxy's address, and who signed its certificate as `ca.pem`.
fn configure(cloud: &Cloud, node: &Node, proxy: &Proxy, text: &str) {
    let text = text.replace("PROXY", &proxy.address()).replace("HTTPS", &proxy.at().to_string());
    if proxy.address().starts_with("https") {
        fs::write(node.path().join("ca.pem"), proxy.pem()).expect("written");
    }
    node.configure(&cloud.metadata(&node.instance), &text);
}

/// The metadata service.
pub struct Metadata {
    cloud: Cloud,
}

impl Metadata {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES) }
    }
}

impl Service for Metadata {
    fn step(&self) -> Step {
        Step::Identity
    }
    fn faults(&self) -> Vec<Fault> {
        Fault::PLAIN.to_vec()
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            // A page is a token as good as any; it is no document.
            Fault::Page => vec!["the identity document is not AWS's".to_owned()],
            Fault::Says(403) => vec!["the metadata service is switched off for this instance".to_owned()],
            _ => usual("the metadata service", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let node = Node::new(&self.cloud, number, "");
        let proxy = Proxy::start(self.cloud.server.addr(), false, fault);
        let metadata = format!("{}/_imds/{}", proxy.address(), node.instance);
        node.configure(&metadata, &format!("{}{}", soon("identity", "30s"), soon("time", "30s")));
        Site::new(node, proxy)
    }
}

/// SSM's Parameter Store.
pub struct Parameters {
    cloud: Arc<Cloud>,
}

impl Parameters {
    pub fn start() -> Self {
        let cloud = Cloud::of(INSTANCES);
        cloud.put_parameter("/muster/web/ready", "String", "ready {\n  tag = \"muster:state\"\n}\n");
        Self { cloud: Arc::new(cloud) }
    }
}

impl Service for Parameters {
    fn step(&self) -> Step {
        Step::Configuration
    }
    fn faults(&self) -> Vec<Fault> {
        Fault::PLAIN.to_vec()
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        let words = match fault {
            Fault::Refused => "refused",
            Fault::Hangs | Fault::Trickles => "timeout",
            Fault::Cut => "end of file before message length reached",
            Fault::Garbage => "invalid HTTP",
            Fault::Page => "the answer is not in AWS's form",
            Fault::Says(status) | Fault::ComeBack(status, _) => {
                return vec!["SSM".to_owned(), status.to_string()];
            }
            _ => unreachable!("it is asked by HTTP"),
        };
        vec!["could not read the parameters beneath /muster/web in SSM: ".to_owned(), words.to_owned()]
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let node = Node::new(&self.cloud, number, "");
        let proxy = Proxy::start(self.cloud.server.addr(), false, fault);
        let ec2 = self.cloud.server.endpoint();
        let text = format!(
            "parameters {{\n  path = \"/muster/web\"\n  endpoint = \"PROXY\"\n}}\nready {{\n  ec2_endpoint = \"{ec2}\"\n}}\n{}",
            soon("configuration", "60s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        let tag = |cloud: &Arc<Cloud>| -> Look {
            let cloud = Arc::clone(cloud);
            Box::new(move |node| {
                let shown = cloud.world().shown_instances();
                let shown = shown.into_iter().find(|shown| shown.id == node.instance).expect("it runs");
                json!(shown.tags.get("muster:state"))
            })
        };
        Site { outside: tag(&self.cloud), beyond: tag(&self.cloud), ..Site::new(node, proxy) }
    }
}

/// AWX, by its callback and its API.
pub struct Callback {
    cloud: Cloud,
    ends_as: &'static str,
    /// Whether the node has a token to look with; else the playbook's last task tells it.
    looks: bool,
}

impl Callback {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES), ends_as: "successful", looks: false }
    }
    /// Whose jobs can be looked at: they are looked for before anybody asks for one.
    pub fn with_token() -> Self {
        Self { looks: true, ..Self::start() }
    }
    /// Whose jobs do not end.
    pub fn running() -> Self {
        Self { ends_as: "", ..Self::with_token() }
    }
    const fn attempt(&self) -> &'static str {
        if self.ends_as.is_empty() { "10m" } else { "5s" }
    }
}

impl Service for Callback {
    fn step(&self) -> Step {
        Step::Awx
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            // Its answer may take minutes: the attempt ends before.
            Fault::Hangs | Fault::Trickles if self.looks => {
                vec!["it did not end within 5s: AWX has not listed its jobs yet".to_owned()]
            }
            Fault::Hangs | Fault::Trickles => {
                vec!["it did not end within 5s: AWX has not answered the callback yet".to_owned()]
            }
            _ if self.looks => usual("AWX", fault),
            Fault::Page => vec!["AWX answered 200 (<html>Log in</html>)".to_owned(), "a proxy's".to_owned()],
            Fault::Says(403) => {
                vec!["AWX answered 403".to_owned(), "the host config key is wrong".to_owned()]
            }
            Fault::Says(404) => {
                vec!["AWX answered 404".to_owned(), "is the number of the job template right?".to_owned()]
            }
            _ => usual("AWX", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let awx = Arc::new(Awx::start());
        awx.state().ends_as = self.ends_as;
        let node = Node::new(&self.cloud, number, "");
        let proxy = Proxy::start(awx.addr(), true, fault);
        fs::write(node.path().join("key"), KEY).expect("written");
        fs::write(node.path().join("token"), TOKEN).expect("written");
        let done = json!({"job": 1, "instance": node.instance, "status": "successful"});
        fs::create_dir_all(node.path().join("state/awx")).expect("made");
        // As old as can be: it is the job's of that number, and no proof that one was asked for.
        let file = node.path().join("state/awx/1.json");
        fs::write(&file, done.to_string()).expect("written");
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(old)).expect("set");
        let token = if self.looks { "token_file = \"$PLACE/token\"\n" } else { "" };
        let text = format!(
            "awx {{\n  address = \"PROXY\"\n  ca_file = \"$PLACE/ca.pem\"\n  template = 7\n  key_file = \"$PLACE/key\"\n  \
             {token}  jitter = \"0s\"\n}}\n{}",
            soon("awx", self.attempt())
        );
        configure(&self.cloud, &node, &proxy, &text);
        let jobs = Arc::clone(&awx);
        let outside: Look = Box::new(move |_| {
            let state = jobs.state();
            json!({"jobs": state.jobs.len(), "at once": state.most_at_once})
        });
        let beyond: Look = Box::new(move |_| {
            let jobs = awx.state().jobs.len();
            if jobs == 0 { Value::Null } else { json!(jobs) }
        });
        let secrets = vec![KEY.to_owned(), TOKEN.to_owned()];
        Site { secrets, outside, beyond, ..Site::new(node, proxy) }
    }
}

/// node_exporter.
pub struct Exporter {
    cloud: Cloud,
}

impl Exporter {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES) }
    }
}

impl Service for Exporter {
    fn step(&self) -> Step {
        Step::Monitoring
    }
    fn faults(&self) -> Vec<Fault> {
        Fault::PLAIN.to_vec()
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            Fault::Page => vec!["has no series node_cpu_seconds_total".to_owned()],
            _ => usual("the exporter", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let node = Node::new(&self.cloud, number, "");
        let at = port();
        let proxy = Proxy::start(at, false, fault);
        agents::set_exporter(&node);
        let text = format!(
            "host {{\n  units = [\"prometheus-node-exporter.service\"]\n  file \"node_exporter\" {{\n    \
             path = \"$PLACE/node_exporter.env\"\n    mode = \"0644\"\n  }}\n}}\nmonitoring {{\n  \
             address = \"PROXY/metrics\"\n  arguments = [\"--web.listen-address={at}\"]\n}}\n{}",
            soon("monitoring", "60s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        Site::new(node, proxy)
    }
}

/// OpenBao, by AppRole.
pub struct Secrets {
    cloud: Cloud,
    bao: Arc<Mutex<Vault>>,
}

impl Secrets {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES), bao: Arc::new(Mutex::new(bao())) }
    }
}

fn bao() -> Vault {
    let bao = Vault::start(&VaultOptions { kind: VaultKind::OpenBao, ..VaultOptions::default() });
    let policy = "path \"kv/*\" { capabilities = [\"read\"] }";
    bao.call("PUT", "sys/policies/acl/node", &json!({"policy": policy}));
    bao.call("POST", "sys/auth/approle", &json!({"type": "approle"}));
    bao.call("POST", "auth/approle/role/node", &json!({"token_policies": ["node"], "token_ttl": "20m"}));
    bao.call("POST", "sys/mounts/kv", &json!({"type": "kv"}));
    bao.call("POST", "kv/web", &json!({"password": "planted-kv-77"}));
    bao
}

impl Service for Secrets {
    fn step(&self) -> Step {
        Step::Vault
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[Fault::Sealed])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        let what = match fault {
            Fault::Refused => "no connection to https://",
            Fault::Hangs | Fault::Trickles => "POST auth/approle/login was not answered within",
            Fault::Cut | Fault::Garbage => "POST auth/approle/login",
            Fault::Page => "POST auth/approle/login brought an answer that is none of Vault's",
            Fault::Says(403) => "POST auth/approle/login is not allowed",
            Fault::Says(404) => "POST auth/approle/login: there is nothing",
            Fault::Says(500) => "POST auth/approle/login failed on the server (500)",
            Fault::Says(_) | Fault::ComeBack(..) => "POST auth/approle/login: too many requests",
            Fault::Expired => "certificate expired",
            Fault::Stranger => "no trust between us and https://",
            Fault::Sealed => "Vault is sealed",
            Fault::Leaderless => unreachable!("it is one server"),
        };
        vec![what.to_owned()]
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let sealed = fault == Some(Fault::Sealed);
        let bao = if sealed { Arc::new(Mutex::new(bao())) } else { Arc::clone(&self.bao) };
        let node = Node::new(&self.cloud, number, "");
        let server = bao.lock().expect("whole");
        let at: SocketAddr = server.address().replace("http://", "").parse().expect("an address");
        let proxy = Proxy::start(at, true, fault.filter(|_| !sealed));
        let text = |path: &str, field: &str, method: &str| {
            let answer = server.call(method, path, &json!({}));
            answer["data"][field].as_str().expect("a text").to_owned()
        };
        let role_id = text("auth/approle/role/node/role-id", "role_id", "GET");
        let secret_id = text("auth/approle/role/node/secret-id", "secret_id", "POST");
        fs::write(node.path().join("role_id"), role_id).expect("written");
        // Where it would be read from memory.
        fs::write(node.path().join("run/secret_id"), &secret_id).expect("written");
        fs::write(node.path().join("web.tmpl"), "{{ secret('kv/web').password }}\n").expect("written");
        let text = format!(
            "vault {{\n  address = \"PROXY\"\n  ca_file = \"$PLACE/ca.pem\"\n  token_file = \"$PLACE/run/token\"\n  \
             revoke = \"never\"\n  approle {{\n    role_id_file = \"$PLACE/role_id\"\n    \
             secret_id_file = \"$PLACE/run/secret_id\"\n  }}\n  template \"web\" {{\n    source = \"$PLACE/web.tmpl\"\n    \
             path = \"$PLACE/secret\"\n    on_disk = true\n  }}\n}}\n{}",
            soon("vault", "60s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        if sealed {
            server.seal();
        }
        drop(server);
        let (shown, mended) = (Arc::clone(&bao), bao);
        let mend = move |proxy: &Proxy| {
            if sealed {
                mended.lock().expect("whole").unseal();
            }
            proxy.set(None);
        };
        let outside: Look = Box::new(move |node| {
            let token = fs::read_to_string(node.path().join("run/token")).expect("a token");
            json!({"the token is one": shown.lock().expect("whole").knows(token.trim())})
        });
        let beyond: Look = Box::new(|node| {
            let there = ["run/token", "secret"].into_iter().find(|name| node.path().join(name).exists());
            there.map_or(Value::Null, |name| json!(name))
        });
        let secrets = vec![secret_id, "planted-kv".to_owned()];
        Site { secrets, outside, beyond, mend: Box::new(mend), ..Site::new(node, proxy) }
    }
}

/// Consul: a server, and the node's own agent behind the proxy.
pub struct Catalogue {
    cloud: Cloud,
    consul: Arc<Mutex<Consul>>,
}

impl Catalogue {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES), consul: Arc::new(Mutex::new(consul(0))) }
    }
}

fn consul(peers: u32) -> Consul {
    Consul::start(&ConsulOptions { acl: true, peers, ..ConsulOptions::default() })
}

impl Service for Catalogue {
    fn step(&self) -> Step {
        Step::Consul
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[Fault::Leaderless])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        usual("Consul", fault)
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let leaderless = fault == Some(Fault::Leaderless);
        let consul = if leaderless { Arc::new(Mutex::new(consul(1))) } else { Arc::clone(&self.consul) };
        let mut server = consul.lock().expect("whole");
        let node = Node::new(&self.cloud, number, "");
        let http = port();
        let proxy = Proxy::start(http, true, fault.filter(|_| !leaderless));
        agents::set_units(&node);
        let rules = crate::services::CONSUL_RULES.replace("INSTANCE", node.instance.as_str());
        let token = server.new_token(&rules);
        fs::write(node.path().join("consul-token"), &token).expect("written");
        let extra = json!(agents::consul_extra(http, server.token()).to_string()).to_string();
        let text = format!(
            "host {{\n  units = [\"consul.service\"]\n  file \"consul\" {{\n    path = \"$PLACE/consul.json\"\n  }}\n  \
             directory \"consul\" {{\n    path = \"$PLACE/consul\"\n  }}\n}}\nconsul {{\n  address = \"PROXY\"\n  \
             ca_file = \"$PLACE/ca.pem\"\n  token_file = \"$PLACE/consul-token\"\n  join = [\"{}\"]\n  extra = {extra}\n}}\n{}",
            server.gossip(),
            soon("consul", "110s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        if leaderless {
            server.kill_peers();
        }
        let secrets = vec![token, server.token().expect("access control").to_owned()];
        drop(server);
        let (shown, mended) = (Arc::clone(&consul), consul);
        let mend = move |proxy: &Proxy| {
            if leaderless {
                mended.lock().expect("whole").start_peers();
            }
            proxy.set(None);
        };
        let outside: Look = Box::new(move |node| {
            let path = format!("/v1/health/node/{}", node.instance);
            wait_for("Consul to call the node good", || {
                let checks = shown.lock().expect("whole").call("GET", &path, &Value::Null);
                let of_node = |id: &str| {
                    let id = format!("{id}:ready").replace("INSTANCE", node.instance.as_str());
                    checks.as_array()?.iter().find(|check| check["CheckID"] == id.as_str()).cloned()
                };
                of_node("muster-node-INSTANCE").filter(|check| check["Status"] == "passing").map(|_| ())
            });
            let path = format!("/v1/catalog/node/{}", node.instance);
            let seen = shown.lock().expect("whole").call("GET", &path, &Value::Null);
            let services = seen["Services"].as_object().expect("services").values();
            services.map(|service| service["Service"].clone()).collect()
        });
        Site { secrets, outside, mend: Box::new(mend), ..Site::new(node, proxy) }
    }
}

/// Nomad: a server, and the node's own client behind the proxy.
pub struct Cluster {
    cloud: Cloud,
    nomad: Arc<Mutex<Nomad>>,
}

impl Cluster {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES), nomad: Arc::new(Mutex::new(nomad(0))) }
    }
}

/// Servers with a job that lands on every node where it may.
fn nomad(peers: u8) -> Nomad {
    let nomad = Nomad::start(NomadOptions { acl: true, peers, ..NomadOptions::default() });
    nomad.register(&json!({
        "ID": "eager", "Name": "eager", "Type": "system", "Datacenters": ["dc1"], "NodePool": "default",
        "TaskGroups": [{
            "Name": "work", "Count": 1,
            "Tasks": [{
                "Name": "sleep", "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["3600"]},
                "Resources": {"CPU": 50, "MemoryMB": 16},
            }],
        }],
    }));
    nomad
}

/// A node whose client is to join these servers. * `more`: of the `nomad` block, the address among it.
fn client(cloud: &Cloud, nomad: &Nomad, number: usize, http: SocketAddr) -> (Node, String, String) {
    let node = Node::new(cloud, number, "");
    agents::set_units(&node);
    let token = nomad.new_token(crate::services::NOMAD_RULES);
    fs::write(node.path().join("nomad-token"), &token).expect("written");
    let extra = json!(agents::nomad_extra(http).to_string()).to_string();
    let text = format!(
        "host {{\n  units = [\"nomad.service\"]\n  file \"nomad\" {{\n    path = \"$PLACE/nomad.json\"\n  }}\n  \
         directory \"nomad\" {{\n    path = \"$PLACE/nomad\"\n  }}\n}}\n{}nomad {{\n  token_file = \"$PLACE/nomad-token\"\n  \
         servers = [\"{}\"]\n  drivers = [\"raw_exec\"]\n  extra = {extra}\n",
        soon("nomad", "4m"),
        nomad.rpc()
    );
    (node, token, text)
}

/// The node as the servers have it.
fn seen(nomad: &Nomad, node: &Node) -> Option<Value> {
    let nodes = nomad.call("GET", "/v1/nodes", &Value::Null);
    let mut ours = nodes.as_array()?.iter().filter(|seen| seen["Name"] == node.instance.as_str());
    let first = ours.next().cloned();
    assert!(ours.next().is_none(), "an instance is one node of Nomad: {nodes:#}");
    first
}

fn allocations(nomad: &Nomad, seen: &Value) -> usize {
    let id = seen["ID"].as_str().expect("an id");
    let allocations = nomad.call("GET", &format!("/v1/node/{id}/allocations"), &Value::Null);
    allocations.as_array().map_or(0, Vec::len)
}

/// A node that is in its pool, with work.
fn works(nomad: &Arc<Mutex<Nomad>>) -> Look {
    let nomad = Arc::clone(nomad);
    Box::new(move |node| {
        wait_for("a node in its pool, with work", || {
            let nomad = nomad.lock().expect("whole");
            let seen = seen(&nomad, node)?;
            let fine = seen["NodePool"] == "default" && seen["Status"] == "ready";
            (fine && allocations(&nomad, &seen) == 1).then(|| seen["SchedulingEligibility"].clone())
        })
    })
}

/// A node that has work, or might.
fn may_work(nomad: &Arc<Mutex<Nomad>>) -> Look {
    let nomad = Arc::clone(nomad);
    Box::new(move |node| {
        let nomad = nomad.lock().expect("whole");
        // Servers without a leader have no nodes to show.
        let asked = nomad.try_call("GET", "/v1/nodes", "").expect("it answers");
        let Some(seen) = (asked.status == 200).then(|| seen(&nomad, node)).flatten() else {
            return Value::Null;
        };
        let away = seen["NodePool"] == "muster-proving" && allocations(&nomad, &seen) == 0;
        if away { Value::Null } else { seen }
    })
}

impl Service for Cluster {
    fn step(&self) -> Step {
        Step::Nomad
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[Fault::Leaderless])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        usual("Nomad", fault)
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let leaderless = fault == Some(Fault::Leaderless);
        let nomad = if leaderless { Arc::new(Mutex::new(nomad(1))) } else { Arc::clone(&self.nomad) };
        let http = port();
        let proxy = Proxy::start(http, true, fault.filter(|_| !leaderless));
        let mut server = nomad.lock().expect("whole");
        let (node, token, text) = client(&self.cloud, &server, number, http);
        let text = format!("{text}  address = \"PROXY\"\n  ca_file = \"$PLACE/ca.pem\"\n}}\n");
        configure(&self.cloud, &node, &proxy, &text);
        if leaderless {
            server.kill_peers();
        }
        drop(server);
        let (outside, beyond, mended) = (works(&nomad), may_work(&nomad), nomad);
        let mend = move |proxy: &Proxy| {
            if leaderless {
                mended.lock().expect("whole").start_peers();
            }
            proxy.set(None);
        };
        Site { secrets: vec![token], outside, beyond, mend: Box::new(mend), ..Site::new(node, proxy) }
    }
}

/// The registry that work is pulled from, tried while Nomad's client is proved.
pub struct Images {
    cloud: Cloud,
    nomad: Arc<Mutex<Nomad>>,
    registry: Registry,
}

impl Images {
    pub fn start() -> Self {
        let registry = Registry::start(REGISTRY_PASSWORD);
        Self { cloud: Cloud::of(INSTANCES), nomad: Arc::new(Mutex::new(nomad(0))), registry }
    }
}

impl Service for Images {
    fn step(&self) -> Step {
        Step::Nomad
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            Fault::Says(403) => {
                vec!["the registry ".to_owned(), "does not take the credentials of".to_owned()]
            }
            Fault::Says(404) => vec!["the registry ".to_owned(), "has no team/app:1".to_owned()],
            Fault::Page => vec!["the registry ".to_owned(), "answered what is no manifest".to_owned()],
            _ => usual("the registry", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let http = port();
        let proxy = Proxy::start(self.registry.at(), true, fault);
        let server = self.nomad.lock().expect("whole");
        let (node, token, text) = client(&self.cloud, &server, number, http);
        drop(server);
        use_registry(&node, proxy.at());
        let text = format!(
            "{text}  address = \"http://{http}\"\n  registry {{\n    image = \"HTTPS/team/app:1\"\n    \
             auth_file = \"$PLACE/docker.json\"\n    ca_file = \"$PLACE/ca.pem\"\n  }}\n}}\n"
        );
        configure(&self.cloud, &node, &proxy, &text);
        let secrets = vec![token, REGISTRY_PASSWORD.to_owned(), basic()];
        let (outside, beyond) = (works(&self.nomad), may_work(&self.nomad));
        Site { secrets, outside, beyond, ..Site::new(node, proxy) }
    }
}

/// What Docker keeps of user and password.
fn basic() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("node:{REGISTRY_PASSWORD}"))
}

fn use_registry(node: &Node, at: SocketAddr) {
    let auths = json!({"auths": {at.to_string(): {"auth": basic()}}});
    fs::write(node.path().join("docker.json"), auths.to_string()).expect("written");
}
