//! OpenBao by AppRole, and Vault by AWS.

use super::{INSTANCES, all, configure, soon};
use crate::ground::{Cloud, Node};
use crate::matrix::{Fault, Look, Proxy, Service, Site};
use crate::secrets::{SERVER_ID, vault};
use bootstrap_core::Step;
use muster_test_servers::{Vault, VaultKind, VaultOptions};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// How a node logs in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    AppRole,
    Aws,
}

impl Login {
    const fn mount(self) -> &'static str {
        match self {
            Self::AppRole => "approle",
            Self::Aws => "aws",
        }
    }
}

/// OpenBao by AppRole, or Vault by AWS.
pub struct Secrets {
    cloud: Cloud,
    server: Arc<Mutex<Vault>>,
    login: Login,
}

impl Secrets {
    pub fn start() -> Self {
        let cloud = Cloud::of(INSTANCES);
        Self { cloud, server: Arc::new(Mutex::new(bao(false))), login: Login::AppRole }
    }
    pub fn by_aws() -> Self {
        let cloud = Cloud::of(INSTANCES);
        let server = Arc::new(Mutex::new(vault(&cloud)));
        Self { cloud, server, login: Login::Aws }
    }
}

fn bao(peer: bool) -> Vault {
    let bao = Vault::start(&VaultOptions { kind: VaultKind::OpenBao, peer, ..VaultOptions::default() });
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
        match self.login {
            Login::AppRole => all(&[Fault::Sealed, Fault::Leaderless]),
            // These are the server's own, whoever logs in.
            Login::Aws => all(&[]),
        }
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        let what = match fault {
            Fault::Refused => "no connection to https://",
            Fault::Hangs | Fault::Trickles => "POST auth/approle/login was not answered within",
            Fault::Cut | Fault::Garbage => "POST auth/approle/login",
            Fault::Page => "POST auth/approle/login brought an answer that is none of Vault's",
            Fault::Echoes => "POST auth/approle/login brought an answer that is none of Vault's: status 400",
            Fault::Says(403) => "POST auth/approle/login is not allowed",
            Fault::Says(404) => "POST auth/approle/login: there is nothing",
            Fault::Says(500) => "POST auth/approle/login failed on the server (500)",
            Fault::Says(_) | Fault::ComeBack(..) => "POST auth/approle/login: too many requests",
            Fault::Expired => "certificate expired",
            Fault::Stranger => "no trust between us and https://",
            Fault::Sealed => "Vault is sealed",
            Fault::Leaderless => "POST auth/approle/login: this server is a standby and knows no active one",
        };
        vec![what.replace("approle", self.login.mount())]
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let sealed = fault == Some(Fault::Sealed);
        let leaderless = fault == Some(Fault::Leaderless);
        let itself = sealed || leaderless;
        let bao = if itself { Arc::new(Mutex::new(bao(leaderless))) } else { Arc::clone(&self.server) };
        let node = Node::new(&self.cloud, number, "");
        let mut server = bao.lock().expect("whole");
        let at: SocketAddr = server.address().replace("http://", "").parse().expect("an address");
        let proxy = Proxy::start(at, true, fault.filter(|_| !itself));
        let text = |path: &str, field: &str, method: &str| {
            let answer = server.call(method, path, &json!({}));
            answer["data"][field].as_str().expect("a text").to_owned()
        };
        let (login, template, secrets) = match self.login {
            Login::AppRole => {
                let role_id = text("auth/approle/role/node/role-id", "role_id", "GET");
                let secret_id = text("auth/approle/role/node/secret-id", "secret_id", "POST");
                fs::write(node.path().join("role_id"), role_id).expect("written");
                // Where it would be read from memory.
                fs::write(node.path().join("run/secret_id"), &secret_id).expect("written");
                let login = "approle {\n    role_id_file = \"$PLACE/role_id\"\n    \
                             secret_id_file = \"$PLACE/run/secret_id\"\n  }";
                let secrets = vec![secret_id, "planted-kv".to_owned()];
                (login.to_owned(), "{{ secret('kv/web').password }}\n", secrets)
            }
            Login::Aws => {
                let sts = self.cloud.server.endpoint();
                let login = format!(
                    "aws {{\n    role = \"node\"\n    server_id = \"{SERVER_ID}\"\n    region = \"us-east-1\"\n    \
                     sts_endpoint = \"{sts}\"\n  }}"
                );
                (login, "{{ secret('kv/data/awx').token }}\n", vec!["planted-token".to_owned()])
            }
        };
        fs::write(node.path().join("web.tmpl"), template).expect("written");
        let text = format!(
            "vault {{\n  address = \"PROXY\"\n  ca_file = \"$PLACE/ca.pem\"\n  token_file = \"$PLACE/run/token\"\n  \
             revoke = \"never\"\n  {login}\n  template \"web\" {{\n    source = \"$PLACE/web.tmpl\"\n    \
             path = \"$PLACE/secret\"\n    on_disk = true\n  }}\n}}\n{}",
            soon("vault", "60s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        if sealed {
            server.seal();
        }
        if leaderless {
            server.kill_peer();
        }
        drop(server);
        let (shown, mended) = (Arc::clone(&bao), bao);
        let mend = move |proxy: &Proxy| {
            if sealed {
                mended.lock().expect("whole").unseal();
            }
            if leaderless {
                mended.lock().expect("whole").start_peer();
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
        Site { secrets, outside, beyond, mend: Box::new(mend), ..Site::new(node, proxy) }
    }
}
