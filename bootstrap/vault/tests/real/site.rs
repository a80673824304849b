//! A Vault with a role for nodes, secrets, and the files of a node.

use bootstrap_core::Now;
use bootstrap_vault::{Destination, Happened, Keeper, Method, SecretId, Server, Template, VaultOptions};
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use muster_test_servers::{Vault, VaultKind, VaultOptions as ServerOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const VAULT: VaultKind = VaultKind::Vault;
pub(crate) const BAO: VaultKind = VaultKind::OpenBao;
/// What a node may.
const POLICY: &str = r#"
path "kv/data/*" { capabilities = ["read"] }
path "pki/issue/node" { capabilities = ["update"] }
path "consul/creds/node" { capabilities = ["read"] }
"#;
pub(crate) const ROLE: &str = "auth/approle/role/node";

pub(crate) struct Site {
    pub(crate) vault: Vault,
    /// On tmpfs.
    pub(crate) place: TempDir,
    clock: SystemClock,
}

impl Site {
    /// A server with AppRole and its role `node`, whose tokens live for a minute, and two at most.
    pub(crate) fn new(kind: VaultKind) -> Self {
        let vault = Vault::start(&ServerOptions { kind, tls: true, ..ServerOptions::default() });
        vault.call("PUT", "sys/policies/acl/node", &json!({ "policy": POLICY }));
        vault.call("POST", "sys/auth/approle", &json!({ "type": "approle" }));
        let role = json!({ "token_policies": ["node"], "token_ttl": "60s", "token_max_ttl": "120s" });
        vault.call("POST", ROLE, &role);
        let place = tempfile::Builder::new().prefix("muster-vault-").tempdir_in("/dev/shm").expect("tmpfs");
        let site = Self { vault, place, clock: SystemClock::new() };
        let role_id = site.vault.call("GET", &format!("{ROLE}/role-id"), &Value::Null);
        fs::write(site.path("role_id"), text(&role_id["data"]["role_id"])).expect("a file");
        site
    }

    /// With KV version 2 at `kv`.
    pub(crate) fn with_kv(self) -> Self {
        self.vault.mount_kv();
        self
    }

    /// With a CA at `pki` that issues certificates of an hour.
    pub(crate) fn with_pki(self) -> Self {
        self.vault.mount_pki(&[("node", false)]);
        self
    }

    pub(crate) fn put(&self, path: &str, data: &Value) {
        self.vault.call("POST", &format!("kv/data/{path}"), &json!({ "data": data }));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A new secret id in the file `secret_id`.
    pub(crate) fn secret_id(&self) -> SecretId {
        let made = self.vault.call("POST", &format!("{ROLE}/secret-id"), &json!({}));
        let file = self.path("secret_id");
        fs::write(&file, text(&made["data"]["secret_id"])).expect("a file");
        SecretId::Plain { file }
    }

    pub(crate) fn approle(&self, secret_id: SecretId) -> Method {
        Method::AppRole { mount: "approle".to_owned(), role_id: self.path("role_id"), secret_id }
    }

    /// What a node would have: its token in the file `token`, and templates by name and text.
    pub(crate) fn options(&self, method: Method, templates: &[(&str, &str)]) -> VaultOptions {
        let mut options = VaultOptions::new(Server::new(self.vault.address()), method);
        options.token_file = Some(Destination::private(self.path("token")));
        for (name, text) in templates {
            let source = self.path(&format!("{name}.tmpl"));
            fs::write(&source, text).expect("a template");
            let destination = Destination { mode: 0o640, ..Destination::private(self.path(name)) };
            let reload = vec![format!("{name}.service")];
            options.templates.push(Template { source, destination, reload, remove_at_stop: true });
        }
        options
    }

    /// A keeper that logs in by AppRole.
    pub(crate) fn keeper(&self, templates: &[(&str, &str)]) -> Keeper {
        let options = self.options(self.approle(self.secret_id()), templates);
        Keeper::new(options, None, 7).expect("options that are right")
    }

    /// The time, and so many seconds.
    pub(crate) fn later(&self, seconds: u64) -> Now {
        let more = Duration::from_secs(seconds);
        Now { wall: self.clock.wall() + more, monotonic: self.clock.monotonic() + more }
    }
    pub(crate) fn now(&self) -> Now {
        self.later(0)
    }
}

/// A step in which nothing goes wrong. * returns: what happened, and the units to reload.
pub(crate) async fn well(keeper: &mut Keeper, now: Now) -> (Vec<Happened>, BTreeSet<String>) {
    let (stepped, reload) = keeper.step_and_place(now).await;
    assert_eq!(stepped.failures, [], "{:?}", stepped.happened);
    assert!(keeper.is_whole(now.monotonic), "{:?}", stepped.happened);
    keeper.reloaded(&reload).expect("marks go");
    (stepped.happened, reload)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
