//! Real Vault, and OpenBao: one server with its state in memory, initialised and unsealed; or two with theirs on disk, of which
//! one alone leads nobody.

use crate::agent::{Agent, wait_for};
use crate::ground::{Ground, address, port, program};
use crate::http::{Answer, request};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VaultKind {
    /// HashiCorp's Vault.
    #[default]
    Vault,
    /// OpenBao, which has no login by AWS.
    OpenBao,
}

impl VaultKind {
    const fn program(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::OpenBao => "bao",
        }
    }
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct VaultOptions {
    /// Which of the two.
    pub kind: VaultKind,
    /// Whether it answers by HTTPS as well, to clients with a certificate alone; see [`Vault::tls`].
    pub tls: bool,
    /// Whether there is a second server: see [`Vault::kill_peer`].
    pub peer: bool,
}

/// HTTPS: where, and the files, as PEM.
#[derive(Clone, Debug)]
pub struct VaultTls {
    /// `https://…`.
    pub address: String,
    /// Who signed both certificates.
    pub ca: PathBuf,
    /// A client's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A running server, unsealed. Dropped, it ends.
#[derive(Debug)]
pub struct Vault {
    // Before the ground: the agent ends first.
    agent: Agent,
    peer: Option<(Agent, SocketAddr)>,
    kind: VaultKind,
    http: SocketAddr,
    root: String,
    key: String,
    tls: Option<VaultTls>,
    ground: Ground,
}

impl Vault {
    /// Starts a server, initialises and unseals it, and waits until it is active.
    pub fn start(options: &VaultOptions) -> Self {
        let ground = Ground::new();
        let http = port();
        let (mut configuration, cluster) = configuration(http);
        let mut listeners = vec![configuration["listener"][0].clone()];
        let tls = options.tls.then(|| with_tls(ground.path(), &mut listeners));
        configuration["listener"] = json!(listeners);
        if options.peer {
            with_raft(&mut configuration, cluster, ground.path(), None);
        }
        let agent = server(options.kind, ground.path(), &configuration);
        let (kind, peer) = (options.kind, None);
        let mut vault =
            Self { agent, peer, kind, http, root: String::new(), key: String::new(), tls, ground };
        let body = json!({ "secret_shares": 1, "secret_threshold": 1 }).to_string();
        let keys = vault.agent.wait_for("its initialisation", || {
            let answer = request(http, "PUT", "/v1/sys/init", &[], &body).ok()?;
            (answer.status == 200).then(|| answer.json())
        });
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (vault.root, vault.key) = (text(&keys["root_token"]), text(&keys["keys_base64"][0]));
        vault.unseal();
        if options.peer {
            vault.join_peer();
        }
        vault
    }

    /// Starts the second server, and waits until its word counts.
    fn join_peer(&mut self) {
        let at = port();
        let place = self.ground.path().join("peer");
        std::fs::create_dir_all(&place).expect("a directory");
        let (mut configuration, cluster) = configuration(at);
        with_raft(&mut configuration, cluster, &place, Some(&self.address()));
        let agent = server(self.kind, &place, &configuration);
        self.peer = Some((agent, at));
        self.unseal_peer();
        wait_for("its vote", || {
            let seen = self.try_call_as(&self.root, "GET", "sys/storage/raft/configuration", "").ok()?;
            let servers = seen.json()["data"]["config"]["servers"].as_array().cloned()?;
            (servers.iter().filter(|server| server["voter"] == true).count() == 2).then_some(())
        });
    }

    fn unseal_peer(&self) {
        let (_, at) = self.peer.as_ref().expect("it was asked for");
        let body = json!({ "key": self.key }).to_string();
        wait_for("the second server to be unsealed", || {
            let answer = request(*at, "PUT", "/v1/sys/unseal", &[], &body).ok()?;
            (answer.status == 200 && answer.json()["sealed"] == false).then_some(())
        });
    }

    /// Kills the second server, and waits until the first one, which is alone, leads no more.
    pub fn kill_peer(&mut self) {
        self.peer.as_mut().expect("it was asked for").0.kill();
        wait_for("it to lead nobody", || {
            let answer = request(self.http, "GET", "/v1/sys/health", &[], "").ok()?;
            (answer.status == 429).then_some(())
        });
    }
    /// Starts the second server again, and waits until one of them leads.
    pub fn start_peer(&mut self) {
        self.peer.as_mut().expect("it was asked for").0.start_again();
        self.unseal_peer();
        wait_for("a leader", || {
            let answer = self.try_call_as(&self.root, "GET", "auth/token/lookup-self", "").ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// Which of the two it is.
    pub const fn kind(&self) -> VaultKind {
        self.kind
    }
    /// Its program, to run its other commands, such as `agent`.
    pub fn program(&self) -> PathBuf {
        program(self.kind.program())
    }
    /// Where it answers: `http://…`.
    pub fn address(&self) -> String {
        format!("http://{}", self.http)
    }
    /// The token that may do everything.
    pub fn root(&self) -> &str {
        &self.root
    }
    /// HTTPS; `None` without.
    pub const fn tls(&self) -> Option<&VaultTls> {
        self.tls.as_ref()
    }
    /// A directory that ends with it, for a test's own files.
    pub fn directory(&self) -> &Path {
        self.ground.path()
    }

    /// Asks it with a token.
    pub fn try_call_as(&self, token: &str, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        request(self.http, method, &format!("/v1/{path}"), &[("X-Vault-Token", token)], body)
    }
    /// Asks it, with the token that may do everything; panics unless the answer is a success, and gives its JSON, or
    /// `null` for none.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.try_call_as(&self.root, method, path, &body);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        if answer.body.trim().is_empty() { Value::Null } else { answer.json() }
    }
    /// As [`Vault::call`], with an answer that is wrapped for two minutes: the wrapping token.
    pub fn wrapped(&self, method: &str, path: &str) -> String {
        let headers = [("X-Vault-Token", self.root.as_str()), ("X-Vault-Wrap-TTL", "120")];
        let answer = request(self.http, method, &format!("/v1/{path}"), &headers, "").expect("it answers");
        answer.must_be_success();
        answer.json()["wrap_info"]["token"].as_str().expect("a token").to_owned()
    }

    /// Mounts the engine of secrets with versions at `kv`, and waits until it takes some.
    pub fn mount_kv(&self) {
        self.call("POST", "sys/mounts/kv", &json!({ "type": "kv", "options": { "version": "2" } }));
        wait_for("the secrets engine", || {
            // While it makes itself ready it refuses whatever it is asked.
            let answer = self.try_call_as(&self.root, "GET", "kv/data/none", "").ok()?;
            (answer.status == 404).then_some(())
        });
    }

    /// Mounts the PKI secrets engine at `pki`, with a root of its own. * `roles`: each issues any name for an hour, and
    /// whether a certificate of it is a lease.
    pub fn mount_pki(&self, roles: &[(&str, bool)]) {
        self.call("POST", "sys/mounts/pki", &json!({ "type": "pki" }));
        let root = json!({ "common_name": "muster tests", "ttl": "24h", "key_type": "ec" });
        self.call("POST", "pki/root/generate/internal", &root);
        for (role, generate_lease) in roles {
            let of = json!({
                "allow_any_name": true, "enforce_hostnames": false, "key_type": "ec", "ttl": "1h",
                "generate_lease": generate_lease
            });
            self.call("POST", &format!("pki/roles/{role}"), &of);
        }
    }

    /// Whether it knows a token.
    pub fn knows(&self, token: &str) -> bool {
        let answer = self.try_call_as(token, "GET", "auth/token/lookup-self", "").expect("it answers");
        answer.status == 200
    }

    /// Seals it.
    pub fn seal(&self) {
        self.call("PUT", "sys/seal", &Value::Null);
    }
    /// Unseals it, and waits until it is active.
    pub fn unseal(&mut self) {
        let (http, body) = (self.http, json!({ "key": self.key }).to_string());
        let unsealed = request(http, "PUT", "/v1/sys/unseal", &[], &body).expect("it answers");
        unsealed.must_be_success();
        self.agent.wait_for("it to be active", || {
            let answer = request(http, "GET", "/v1/sys/health", &[], "").ok()?;
            (answer.status == 200).then_some(())
        });
    }
    /// Sends it a signal by its name: `STOP` freezes it, `CONT` wakes it.
    pub fn signal(&self, signal: &str) {
        self.agent.signal(signal);
    }
}

/// A server that answers by HTTP, with its state in memory. * returns: with it, where its cluster is.
fn configuration(http: SocketAddr) -> (Value, SocketAddr) {
    // Each listener has another one for the cluster, on the port after its own unless that is named.
    let cluster = port();
    let plain =
        json!({ "address": http.to_string(), "cluster_address": cluster.to_string(), "tls_disable": true });
    let configuration = json!({
        "api_addr": format!("http://{http}"),
        "disable_mlock": true,
        "listener": [{ "tcp": plain }],
        "log_level": "warn",
        "storage": { "inmem": {} }
    });
    (configuration, cluster)
}

/// Its state is on disk, and its servers'. * `joins`: the one that it joins; `None`: it is the first.
fn with_raft(configuration: &mut Value, cluster: SocketAddr, place: &Path, joins: Option<&str>) {
    let path = place.join("raft");
    std::fs::create_dir_all(&path).expect("a directory");
    let mut raft = json!({ "path": path, "node_id": if joins.is_some() { "second" } else { "first" } });
    if let Some(first) = joins {
        raft["retry_join"] = json!([{ "leader_api_addr": first }]);
    }
    configuration["storage"] = json!({ "raft": raft });
    configuration["cluster_addr"] = json!(format!("https://{cluster}"));
}

fn server(kind: VaultKind, place: &Path, configuration: &Value) -> Agent {
    let file = place.join("vault.json");
    std::fs::write(&file, configuration.to_string()).expect("a configuration");
    let arguments = vec!["server".to_owned(), format!("-config={}", file.display())];
    Agent::start(program(kind.program()), arguments, Vec::new(), place)
}

/// A CA, the server's certificate and a client's; and HTTPS that asks for one.
fn with_tls(ground: &Path, listeners: &mut Vec<Value>) -> VaultTls {
    let place = ground.join("tls");
    std::fs::create_dir_all(&place).expect("a directory");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let write = |name: &str, text: &str| {
        let path = place.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let signed = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let cert = params.signed_by(&key, &ca).expect("a certificate");
        (write(&format!("{name}.pem"), &cert.pem()), write(&format!("{name}.key"), &key.serialize_pem()))
    };
    let https = port();
    let (server_cert, server_key) = signed(&address().to_string());
    let (cert, key) = signed("client");
    let ca = write("ca.pem", &ca.pem());
    listeners.push(json!({ "tcp": {
        "address": https.to_string(),
        "cluster_address": port().to_string(),
        "tls_cert_file": server_cert,
        "tls_key_file": server_key,
        "tls_client_ca_file": ca,
        "tls_require_and_verify_client_cert": true
    } }));
    VaultTls { address: format!("https://{https}"), ca, cert, key }
}
