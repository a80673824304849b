//! Real Consul: one server that keeps its state on disk, so that it can be restarted.

use crate::agent::{Agent, wait_for};
use crate::ground::{Ground, address, port, program, uuid};
use crate::http::{Answer, request};
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct ConsulOptions {
    /// Whether access control is on, denying by default; [`Consul::token`] is then the one that may do everything.
    pub acl: bool,
    /// Whether it answers by HTTPS as well, to clients with a certificate alone; see [`Consul::tls`].
    pub tls: bool,
    /// Whether it answers names, at [`Consul::dns`].
    pub dns: bool,
    /// Further servers. With one, neither leads without the other; see [`Consul::kill_peers`].
    pub peers: u32,
    /// Where it listens for other agents; [`address`] if `None`. For agents that run in another network.
    pub at: Option<Ipv4Addr>,
}

/// HTTPS: where, and the files, as PEM.
#[derive(Clone, Debug)]
pub struct ConsulTls {
    /// `https://…`.
    pub address: String,
    /// Who signed both certificates.
    pub ca: PathBuf,
    /// A client's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How Nomad reaches a Consul agent.
#[derive(Clone, Debug)]
pub struct ConsulAgent {
    /// Its HTTP.
    pub address: SocketAddr,
    /// The token that may do everything; `None` without access control.
    pub token: Option<String>,
}

/// A running server, which is an agent as well, or an agent that joined one. Dropped, it ends. Start several for
/// several.
#[derive(Debug)]
pub struct Consul {
    // Before the ground: the agent ends first.
    agent: Agent,
    peers: Vec<Agent>,
    http: SocketAddr,
    gossip: SocketAddr,
    dns: Option<SocketAddr>,
    token: Option<String>,
    tls: Option<ConsulTls>,
    ground: Ground,
}

impl Consul {
    /// Starts a server, and waits until it leads and its own node is in the catalogue.
    pub fn start(options: &ConsulOptions) -> Self {
        let ground = Ground::new();
        let (http, mut gossip) = (port(), port());
        let token = options.acl.then(uuid);
        let mut configuration = configuration(ground.path(), http, gossip, token.as_deref());
        if let Some(at) = options.at {
            gossip.set_ip(at.into());
            configuration["bind_addr"] = json!(at.to_string());
            configuration["advertise_addr"] = json!(at.to_string());
        }
        let tls = options.tls.then(|| with_tls(ground.path(), &mut configuration));
        configuration["bootstrap_expect"] = json!(1 + options.peers);
        let dns = options.dns.then(port);
        if let Some(at) = dns {
            configuration["ports"]["dns"] = json!(at.port());
            if let Some(token) = &token {
                configuration["acl"]["tokens"]["dns"] = json!(token);
            }
        }
        let of_agent = agent(ground.path(), &configuration);
        let peers = (1..=options.peers).map(|peer| {
            let directory = ground.path().join(format!("peer-{peer}"));
            std::fs::create_dir_all(&directory).expect("a directory");
            let mut of_peer = self::configuration(&directory, port(), port(), token.as_deref());
            of_peer["node_name"] = json!(format!("peer-{peer}"));
            of_peer["bootstrap_expect"] = configuration["bootstrap_expect"].clone();
            of_peer["retry_join"] = json!([gossip.to_string()]);
            of_peer["retry_interval"] = json!("1s");
            agent(&directory, &of_peer)
        });
        let peers = peers.collect();
        let mut consul = Self { agent: of_agent, peers, http, gossip, dns, token, tls, ground };
        consul.wait_for_leader();
        consul
    }

    /// Starts an agent of another node that joins this server, and waits until it knows the server's leader.
    #[must_use]
    pub fn join(&self, node: &str) -> Self {
        let ground = Ground::new();
        let (http, gossip, token) = (port(), port(), self.token.clone());
        let mut configuration = configuration(ground.path(), http, gossip, token.as_deref());
        configuration["node_name"] = json!(node);
        configuration["server"] = json!(false);
        configuration["retry_join"] = json!([self.gossip.to_string()]);
        configuration["retry_interval"] = json!("1s");
        for of_servers in ["bootstrap_expect", "performance"] {
            configuration.as_object_mut().expect("an object").remove(of_servers);
        }
        if let Some(tokens) = configuration["acl"]["tokens"].as_object_mut() {
            tokens.remove("initial_management");
        }
        let agent = agent(ground.path(), &configuration);
        let mut consul = Self { agent, peers: Vec::new(), http, gossip, dns: None, token, tls: None, ground };
        consul.wait_for_leader();
        consul
    }

    /// What Nomad has to know of it.
    pub fn agent(&self) -> ConsulAgent {
        ConsulAgent { address: self.http, token: self.token.clone() }
    }

    /// Where it answers: `http://…`.
    pub fn address(&self) -> String {
        format!("http://{}", self.http)
    }
    /// Where others of its datacenter join it.
    pub const fn gossip(&self) -> SocketAddr {
        self.gossip
    }
    /// Where it answers names, by UDP and TCP; `None`: nowhere.
    pub const fn dns(&self) -> Option<SocketAddr> {
        self.dns
    }
    /// The token that may do everything; `None` without access control.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
    /// HTTPS; `None` without.
    pub const fn tls(&self) -> Option<&ConsulTls> {
        self.tls.as_ref()
    }
    /// A directory that ends with it, for a test's own files.
    pub fn directory(&self) -> &Path {
        self.ground.path()
    }

    /// Asks it, with the token that may do everything.
    pub fn try_call(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let token = self.token.as_deref().unwrap_or_default();
        request(self.http, method, path, &[("X-Consul-Token", token)], body)
    }
    /// As [`Consul::try_call`]; panics unless the answer is a success, and gives its JSON.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.try_call(method, path, &body);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        answer.must_be_success();
        answer.json()
    }
    /// A new token with these ACL rules, in HCL: its secret. With access control only.
    pub fn new_token(&self, rules: &str) -> String {
        let policy = self.call("PUT", "/v1/acl/policy", &json!({ "Name": uuid(), "Rules": rules }));
        let token = self.call("PUT", "/v1/acl/token", &json!({ "Policies": [{ "ID": policy["ID"] }] }));
        token["SecretID"].as_str().expect("a token has a secret").to_owned()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.agent.kill();
    }
    /// Starts it again on what it has on disk, and waits until it leads.
    pub fn start_again(&mut self) {
        self.agent.start_again();
        self.wait_for_leader();
    }
    /// Kills the further servers, and waits until the one that is left knows that nobody leads.
    pub fn kill_peers(&mut self) {
        self.peers.iter_mut().for_each(Agent::kill);
        wait_for("nobody to lead", || {
            let answer = self.try_call("GET", "/v1/status/leader", "").ok()?;
            (answer.status == 200 && answer.body.trim() == "\"\"").then_some(())
        });
    }
    /// Starts the further servers again.
    pub fn start_peers(&mut self) {
        self.peers.iter_mut().for_each(Agent::start_again);
    }
    /// Starts it again, without waiting for anything.
    pub fn start_again_at_once(&mut self) {
        self.agent.start_again();
    }
    /// Sends it a signal by its name: `STOP` freezes it, `CONT` wakes it.
    pub fn signal(&self, signal: &str) {
        self.agent.signal(signal);
    }

    fn wait_for_leader(&mut self) {
        let (http, token) = (self.http, self.token.clone().unwrap_or_default());
        self.agent.wait_for("a leader", || {
            let answer = request(http, "GET", "/v1/catalog/nodes", &[("X-Consul-Token", &token)], "").ok()?;
            // A node of its own in the catalogue: sessions can be bound to it.
            (answer.status == 200 && answer.body.contains("\"Node\"")).then_some(())
        });
    }
}

/// A CA, the server's certificate and a client's, made by Consul's own commands; and HTTPS that asks for one.
fn with_tls(ground: &Path, configuration: &mut Value) -> ConsulTls {
    let place = ground.join("tls");
    std::fs::create_dir_all(&place).expect("a directory");
    let https = port();
    let own = format!("-additional-ipaddress={}", https.ip());
    for arguments in [
        &["tls", "ca", "create"][..],
        &["tls", "cert", "create", "-server", &own],
        &["tls", "cert", "create", "-client"],
    ] {
        let output = Command::new(program("consul")).args(arguments).current_dir(&place).output();
        let output = output.expect("consul runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    configuration["ports"]["https"] = json!(https.port());
    configuration["tls"] = json!({ "https": {
        "ca_file": place.join("consul-agent-ca.pem"),
        "cert_file": place.join("dc1-server-consul-0.pem"),
        "key_file": place.join("dc1-server-consul-0-key.pem"),
        "verify_incoming": true
    } });
    ConsulTls {
        address: format!("https://{https}"),
        ca: place.join("consul-agent-ca.pem"),
        cert: place.join("dc1-client-consul-0.pem"),
        key: place.join("dc1-client-consul-0-key.pem"),
    }
}

fn agent(directory: &Path, configuration: &Value) -> Agent {
    let file = directory.join("consul.json");
    std::fs::write(&file, configuration.to_string()).expect("a configuration");
    let arguments = vec!["agent".to_owned(), format!("-config-file={}", file.display())];
    Agent::start(program("consul"), arguments, Vec::new(), directory)
}

fn configuration(directory: &Path, http: SocketAddr, gossip: SocketAddr, token: Option<&str>) -> Value {
    let address = address().to_string();
    let mut configuration = json!({
        "node_name": "consul",
        "data_dir": directory.join("data"),
        "server": true,
        "bootstrap_expect": 1,
        "bind_addr": address,
        "client_addr": address,
        "advertise_addr": address,
        "disable_update_check": true,
        "log_level": "INFO",
        "performance": { "raft_multiplier": 1 },
        "ports": {
            "http": http.port(),
            "server": port().port(),
            "serf_lan": gossip.port(),
            "serf_wan": port().port(),
            "dns": -1,
            "grpc": -1,
            "grpc_tls": -1
        },
        "ui_config": { "enabled": false }
    });
    if let Some(token) = token {
        configuration["acl"] = json!({
            "enabled": true,
            "default_policy": "deny",
            "tokens": { "initial_management": token, "agent": token }
        });
    }
    configuration
}
