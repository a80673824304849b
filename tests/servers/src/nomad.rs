//! Real Nomad: one server and clients, each a process of its own.

use crate::agent::Agent;
use crate::ground::{Ground, address, port, program, uuid};
use crate::http::{Answer, request};
use crate::{ConsulAgent, metadata, wait_for};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct NomadOptions {
    /// The clients, in order.
    pub clients: Vec<NomadClient>,
    /// Whether access control is on; [`Nomad::token`] is then the one that may do everything.
    pub acl: bool,
    /// Whether its HTTP is HTTPS and asks for clients' certificates; see [`Nomad::tls`]. Without clients only.
    pub tls: bool,
    /// Whether it waits for a second server that never comes, and so has no leader. Without clients only.
    pub leaderless: bool,
    /// Servers beside the first one: two of them make three, and the first alone has no leader. Without TLS.
    pub peers: u8,
    /// Its region; `global` if `None`. Without TLS.
    pub region: Option<String>,
    /// Where the server listens, and where it is for its clients; [`address`] if `None`. For clients that run in another network.
    pub at: Option<Ipv4Addr>,
    /// The server's Consul agent, if any. Where that has access control, workloads get their Consul tokens for their
    /// Nomad identities, by the auth method `nomad-workloads`.
    pub consul: Option<ConsulAgent>,
    /// Where Vault is, for servers and clients, if any. Workloads log in there by their Nomad identities, at the mount `nomad`.
    pub vault: Option<String>,
}

/// A client to start: 2,000 MHz and 1,024 MiB, whatever the machine has, with `raw_exec`.
#[derive(Clone, Debug, Default)]
pub struct NomadClient {
    /// Its name.
    pub name: String,
    /// The EC2 instance that it finds itself on, if any.
    pub instance_id: Option<String>,
    /// Its class.
    pub class: Option<String>,
    /// Its pool; `default` if `None`.
    pub pool: Option<String>,
    /// The socket of the Docker daemon that its driver uses, if any; beside `raw_exec`.
    pub docker: Option<PathBuf>,
    /// What tasks of its driver `exec` see of the host, as paths; `None`: it has no such driver. Beside `raw_exec`. Root alone
    /// has one, and cgroups.
    pub exec: Option<Vec<PathBuf>>,
    /// The interface whose address its work is reached at; `lo` if `None`.
    pub interface: Option<String>,
    /// Its own Consul agent, if any: several clients on one would take each other's services away.
    pub consul: Option<ConsulAgent>,
}

/// The files of TLS, as PEM.
#[derive(Clone, Debug)]
pub struct NomadTls {
    /// Who signed all of them.
    pub ca: PathBuf,
    /// A client's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The name in the server's certificate.
    pub server_name: String,
}

/// A running cluster. Dropped, all of it ends, with everything that it runs.
#[derive(Debug)]
pub struct Nomad {
    // Before the ground: agents end first.
    server: Agent,
    peers: Vec<Agent>,
    clients: Vec<Agent>,
    http: SocketAddr,
    rpc: SocketAddr,
    serf: SocketAddr,
    options: NomadOptions,
    token: Option<String>,
    tls: Option<NomadTls>,
    ground: Ground,
}

impl Nomad {
    /// Starts a server and the clients, and waits until the clients are ready.
    pub fn start(options: NomadOptions) -> Self {
        let ground = Ground::new();
        let at = options.at.unwrap_or_else(address);
        let [http, rpc, serf] = [port(), port(), port()].map(|port| SocketAddr::from((at, port.port())));
        let tls = options.tls.then(|| certificates(ground.path()));
        let start = |name: &str, ports: [SocketAddr; 3]| {
            let directory = directory(&ground, name);
            let configuration = server_configuration(name, &directory, ports, serf, &options, tls.as_ref());
            agent(&directory, &configuration, Vec::new())
        };
        let server = start("server", [http, rpc, serf]);
        let peers = (0..options.peers).map(|peer| start(&format!("peer-{peer}"), [port(), port(), port()]));
        let peers = peers.collect();
        let clients = Vec::new();
        let mut nomad = Self { server, peers, clients, http, rpc, serf, options, token: None, tls, ground };
        nomad.wait_for_leader();
        if nomad.options.acl {
            let token = uuid();
            let body = json!({ "BootstrapSecret": token }).to_string();
            nomad.server.wait_for("access control", || {
                let answer = request(http, "POST", "/v1/acl/bootstrap", &[], &body).ok()?;
                (answer.status == 200).then_some(())
            });
            nomad.token = Some(token);
        }
        for number in 0..nomad.options.clients.len() {
            let client = nomad.client(number);
            nomad.clients.push(client);
        }
        for client in nomad.options.clients.clone() {
            nomad.wait_for_ready(&client.name);
        }
        nomad
    }

    /// Where the server answers: `http://…`, or `https://…` with TLS.
    pub fn address(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.http)
    }
    /// Where clients find the server.
    pub const fn rpc(&self) -> SocketAddr {
        self.rpc
    }
    /// The token that may do everything; `None` without access control.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
    /// The files of TLS; `None` without.
    pub const fn tls(&self) -> Option<&NomadTls> {
        self.tls.as_ref()
    }
    /// A directory that ends with the cluster, for a test's own files.
    pub fn directory(&self) -> &Path {
        self.ground.path()
    }
    /// Where a client keeps its own things: `alloc/ID/TASK/secrets` among them.
    pub fn client_directory(&self, name: &str) -> PathBuf {
        self.ground.path().join(name).join("data")
    }

    /// Asks the server, with the token that may do everything. Not with TLS.
    pub fn try_call(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let token = self.token.as_deref().unwrap_or_default();
        request(self.http, method, path, &[("X-Nomad-Token", token)], body)
    }
    /// As [`Nomad::try_call`]; panics unless the answer is a success, and gives its JSON.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.try_call(method, path, &body);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        answer.must_be_success();
        answer.json()
    }
    /// Registers a job given in JSON (the inner object, with `ID`), and gives the answer.
    pub fn register(&self, job: &Value) -> Value {
        self.call("POST", "/v1/jobs", &json!({ "Job": job }))
    }
    /// Stops a job and forgets it.
    pub fn purge(&self, job: &str) {
        self.call("DELETE", &format!("/v1/job/{job}?purge=true"), &Value::Null);
    }
    /// Adds a namespace, if there is none of the name.
    pub fn add_namespace(&self, name: &str) {
        let answer = self.try_call("POST", "/v1/namespace", &json!({ "Name": name }).to_string());
        answer.expect("the server answers").must_be_success();
    }
    /// A new token with these ACL rules, in HCL: its secret.
    pub fn new_token(&self, rules: &str) -> String {
        let name = uuid();
        let answer = self.try_call(
            "POST",
            &format!("/v1/acl/policy/{name}"),
            &json!({ "Name": name, "Rules": rules }).to_string(),
        );
        answer.expect("the server answers").must_be_success();
        let token = json!({ "Name": name, "Type": "client", "Policies": [name] });
        let token = self.call("POST", "/v1/acl/token", &token);
        token["SecretID"].as_str().expect("a token has a secret").to_owned()
    }
    /// The id of the ready node of this name; panics when there is none.
    pub fn node_id(&self, name: &str) -> String {
        self.ready(name).unwrap_or_else(|| panic!("no ready node {name}"))
    }

    /// Federates it with a cluster of another region, and waits until both know of each other.
    pub fn federate(&self, other: &Self) {
        let path = format!("/v1/agent/join?address={}", other.serf);
        let joined = self.call("PUT", &path, &Value::Null);
        assert_eq!(joined["num_joined"], 1, "{joined}");
        for cluster in [self, other] {
            wait_for("both regions", || {
                let regions = cluster.call("GET", "/v1/regions", &Value::Null);
                (regions.as_array()?.len() == 2).then_some(())
            });
        }
    }

    /// Kills the server.
    pub fn kill_server(&mut self) {
        self.server.kill();
    }
    /// Starts the server again on what it has on disk, and waits until it leads.
    pub fn start_server(&mut self) {
        self.server.start_again();
        self.wait_for_leader();
    }
    /// Starts the server again, without waiting for anything.
    pub fn start_server_at_once(&mut self) {
        self.server.start_again();
    }
    /// Sends a signal to the server by its name.
    pub fn signal_server(&self, signal: &str) {
        self.server.signal(signal);
    }
    /// Kills the servers beside the first one, which then has no leader.
    pub fn kill_peers(&mut self) {
        self.peers.iter_mut().for_each(Agent::kill);
    }
    /// Starts them again on what they have on disk, and waits until one of all leads.
    pub fn start_peers(&mut self) {
        self.peers.iter_mut().for_each(Agent::start_again);
        self.wait_for_leader();
    }
    /// Kills a client; its tasks go on.
    pub fn kill_client(&mut self, name: &str) {
        let number = self.number(name);
        self.clients[number].kill();
    }
    /// Starts a killed client again on what it has on disk, and waits until it is ready.
    pub fn start_client(&mut self, name: &str) {
        let number = self.number(name);
        self.clients[number].start_again();
        self.wait_for_ready(name);
    }
    /// Adds a client, and waits until it is ready.
    pub fn add_client(&mut self, client: NomadClient) {
        let name = client.name.clone();
        self.options.clients.push(client);
        let client = self.client(self.options.clients.len() - 1);
        self.clients.push(client);
        self.wait_for_ready(&name);
    }
    /// Sends a signal to a client by its name.
    pub fn signal_client(&self, name: &str, signal: &str) {
        self.clients[self.number(name)].signal(signal);
    }

    fn number(&self, name: &str) -> usize {
        let found = self.options.clients.iter().position(|client| client.name == name);
        found.unwrap_or_else(|| panic!("no client {name}"))
    }

    fn client(&self, number: usize) -> Agent {
        let client = &self.options.clients[number];
        let directory = directory(&self.ground, &client.name);
        let mut environment = vec![("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())];
        if let Some(instance) = &client.instance_id {
            let at = port();
            metadata::serve(at, instance);
            environment = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), format!("http://{at}"))];
        }
        let configuration = client_configuration(&directory, self.rpc, client, &self.options);
        agent(&directory, &configuration, environment)
    }

    fn wait_for_leader(&mut self) {
        let (http, leaderless) = (self.http, self.options.leaderless);
        // With TLS nothing is said here: whoever speaks TLS waits by itself.
        if self.tls.is_none() {
            self.server.wait_for("a leader", || {
                let answer = request(http, "GET", "/v1/status/leader", &[], "").ok()?;
                (leaderless || answer.status == 200 && answer.body.len() > 4).then_some(())
            });
        }
    }

    fn ready(&self, name: &str) -> Option<String> {
        let answer = self.try_call("GET", "/v1/nodes", "").ok()?;
        let nodes = (answer.status == 200).then(|| answer.json())?;
        let healthy = |node: &&Value| node["Drivers"]["raw_exec"]["Healthy"] == true;
        let named = |node: &&Value| node["Name"] == name && node["Status"] == "ready";
        let found = nodes.as_array()?.iter().filter(named).find(healthy)?;
        found["ID"].as_str().map(str::to_owned)
    }

    fn wait_for_ready(&self, name: &str) {
        wait_for(&format!("node {name} to be ready"), || self.ready(name));
    }
}

fn directory(ground: &Ground, name: &str) -> PathBuf {
    let directory = ground.path().join(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn agent(directory: &Path, configuration: &str, environment: Vec<(String, String)>) -> Agent {
    let file = directory.join("nomad.hcl");
    std::fs::write(&file, configuration).expect("a configuration");
    let arguments = vec!["agent".to_owned(), format!("-config={}", file.display())];
    Agent::start(program("nomad"), arguments, environment, directory)
}

fn common(
    name: &str,
    directory: &Path,
    [http, rpc, serf]: [SocketAddr; 3],
    acl: bool,
    region: Option<&str>,
    consul: Option<&ConsulAgent>,
) -> String {
    let address = http.ip();
    let data = directory.join("data").display().to_string();
    let [http, rpc, serf] = [http, rpc, serf].map(|at| at.port());
    let consul = consul.map(consul_agent).unwrap_or_default();
    let region = region.unwrap_or("global");
    format!(
        r#"
name = "{name}"
region = "{region}"
data_dir = "{data}"
plugin_dir = "{data}"
bind_addr = "{address}"
disable_update_check = true
log_level = "INFO"
ports {{
  http = {http}
  rpc = {rpc}
  serf = {serf}
}}
advertise {{
  http = "{address}"
  rpc = "{address}"
  serf = "{address}"
}}
acl {{
  enabled = {acl}
}}
consul {{
  auto_advertise = false
  client_auto_join = false
  server_auto_join = false
{consul}}}
"#
    )
}

/// Nomad's `vault` block, where there is one.
fn vault(options: &NomadOptions) -> String {
    let Some(address) = &options.vault else { return String::new() };
    format!(
        r#"
vault {{
  enabled = true
  address = "{address}"
  jwt_auth_backend_path = "nomad"
  default_identity {{
    aud = ["vault.io"]
    ttl = "1h"
  }}
}}
"#
    )
}

/// The lines of Nomad's `consul` block that say which agent is its own.
fn consul_agent(agent: &ConsulAgent) -> String {
    let address = agent.address;
    let Some(token) = &agent.token else { return format!("  address = \"{address}\"\n") };
    format!(
        r#"  address = "{address}"
  token = "{token}"
  service_identity {{
    aud = ["consul.io"]
    ttl = "1h"
  }}
  task_identity {{
    aud = ["consul.io"]
    ttl = "1h"
  }}
"#
    )
}

fn server_configuration(
    name: &str,
    directory: &Path,
    ports: [SocketAddr; 3],
    join: SocketAddr,
    options: &NomadOptions,
    tls: Option<&NomadTls>,
) -> String {
    let mut text =
        common(name, directory, ports, options.acl, options.region.as_deref(), options.consul.as_ref());
    let expect = if options.leaderless { 2 } else { 1 + options.peers };
    // The first one has nobody to join, and waits for the others.
    let join = if ports[2] == join { String::new() } else { format!("\"{join}\"") };
    write!(
        text,
        r#"
server {{
  enabled = true
  bootstrap_expect = {expect}
  raft_multiplier = 1
  server_join {{
    retry_join = [{join}]
    retry_interval = "1s"
  }}
}}
"#
    )
    .expect("text");
    text.push_str(&vault(options));
    if let Some(NomadTls { ca, .. }) = tls {
        let place = ca.parent().expect("it is in a directory").display();
        write!(
            text,
            r#"
tls {{
  http = true
  ca_file = "{place}/nomad-agent-ca.pem"
  cert_file = "{place}/global-server-nomad.pem"
  key_file = "{place}/global-server-nomad-key.pem"
  verify_https_client = true
}}
"#
        )
        .expect("text");
    }
    text
}

fn client_configuration(
    directory: &Path,
    server: SocketAddr,
    client: &NomadClient,
    options: &NomadOptions,
) -> String {
    static PARTS: AtomicU16 = AtomicU16::new(0);
    let consul = client.consul.as_ref();
    let (ports, region) = ([port(), port(), port()], options.region.as_deref());
    let mut text = common(&client.name, directory, ports, options.acl, region, consul);
    let consul = if consul.is_some() { "" } else { "consul," };
    let no_vault = if options.vault.is_some() { "" } else { "vault," };
    let class = client.class.as_deref().unwrap_or_default();
    let (driver, plugin) = client.docker.as_deref().map(docker_plugin).unwrap_or_default();
    let (isolated, chroot) = client.exec.as_deref().map(chroot).unwrap_or_default();
    let pool = client.pool.as_deref().unwrap_or("default");
    let interface = client.interface.as_deref().unwrap_or("lo");
    let vault = vault(options);
    // All clients are on one address: each has its own part of the ports that tasks are given.
    // Below those that the kernel hands to callers.
    let first = 20_000 + 500 * (PARTS.fetch_add(1, Ordering::Relaxed) % 25);
    let last = first + 499;
    write!(
        text,
        r#"
client {{
  enabled = true
  servers = ["{server}"]
  node_class = "{class}"
  node_pool = "{pool}"
  network_interface = "{interface}"
  cpu_total_compute = 2000
  memory_total_mb = 1024
  min_dynamic_port = {first}
  max_dynamic_port = {last}
  options {{
    "driver.allowlist" = "raw_exec{driver}{isolated}"
    "fingerprint.denylist" = "{consul}{no_vault}env_gce,env_azure,env_digitalocean,bridge,cni"
  }}
{chroot}}}
{vault}
plugin "raw_exec" {{
  config {{
    enabled = true
  }}
}}
{plugin}"#
    )
    .expect("text");
    text
}

/// The name of the driver `exec`, to be added to others, and what its tasks see of the host.
fn chroot(paths: &[PathBuf]) -> (&'static str, String) {
    // Links are copied as links, and what they lead to is not there.
    let line = |path: &PathBuf| {
        let is = path.canonicalize().expect("it is there");
        format!("    \"{}\" = \"{}\"\n", is.display(), path.display())
    };
    let lines: String = paths.iter().map(line).collect();
    (",exec", format!("  chroot_env {{\n{lines}  }}\n"))
}

/// The driver's name, to be added to others, and its configuration. Clients that share a daemon leave each other's
/// containers alone.
fn docker_plugin(socket: &Path) -> (&'static str, String) {
    let socket = socket.display();
    let plugin = format!(
        r#"plugin "docker" {{
  config {{
    endpoint = "unix://{socket}"
    gc {{
      image = false
      dangling_containers {{
        enabled = false
      }}
    }}
  }}
}}
"#
    );
    (",docker", plugin)
}

/// A CA, the server's certificate and a client's, made by Nomad's own commands.
fn certificates(ground: &Path) -> NomadTls {
    let place = ground.join("tls");
    std::fs::create_dir_all(&place).expect("a directory");
    for arguments in [
        &["tls", "ca", "create"][..],
        &["tls", "cert", "create", "-server"],
        &["tls", "cert", "create", "-cli"],
    ] {
        let output = Command::new(program("nomad")).args(arguments).current_dir(&place).output();
        let output = output.expect("nomad runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    NomadTls {
        ca: place.join("nomad-agent-ca.pem"),
        cert: place.join("global-cli-nomad.pem"),
        key: place.join("global-cli-nomad-key.pem"),
        server_name: "server.global.nomad".to_owned(),
    }
}
