//! The servers that other tests stand on: they start, come back with what they knew, and leave nothing.

use muster_test_servers::{Consul, ConsulOptions, Vault, VaultKind, VaultOptions, wait_for};
use serde_json::{Value, json};

#[test]
fn consul_comes_back_with_what_it_knew_and_leaves_nothing() {
    let mut consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    consul.call("PUT", "/v1/kv/known", &json!("before"));
    let token = consul.new_token(r#"key_prefix "" { policy = "read" }"#);
    consul.kill();
    assert!(consul.try_call("GET", "/v1/status/leader", "").is_err());
    consul.start_again();
    let known = consul.try_call("GET", &format!("/v1/kv/known?raw&token={token}"), "").expect("it answers");
    assert_eq!(known.body, "\"before\"");
    let directory = consul.directory().to_owned();
    drop(consul);
    assert!(!directory.exists());
}

#[test]
fn a_frozen_consul_answers_when_it_wakes() {
    let consul = Consul::start(&ConsulOptions::default());
    consul.signal("STOP");
    consul.signal("CONT");
    let leader = wait_for("an answer", || consul.try_call("GET", "/v1/status/leader", "").ok());
    assert_ne!(leader.json(), Value::Null);
}

#[test]
fn vault_and_openbao_come_unsealed_and_leave_nothing() {
    for kind in [VaultKind::Vault, VaultKind::OpenBao] {
        let mut vault = Vault::start(&VaultOptions { kind, ..VaultOptions::default() });
        assert!(vault.knows(vault.root()));
        vault.seal();
        let sealed = vault.try_call_as(vault.root(), "GET", "sys/mounts", "").expect("it answers");
        assert_eq!(sealed.status, 503);
        vault.unseal();
        assert!(vault.knows(vault.root()));
        let directory = vault.directory().to_owned();
        drop(vault);
        assert!(!directory.exists());
    }
}
