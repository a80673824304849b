//! Logins, and the life of a token.

use crate::site::{BAO, ROLE, Site, VAULT, text, well};
use bootstrap_vault::{Happened, Keeper, Method, SecretId, Server, VaultError};
use muster_test_servers::{VaultKind, jwt};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

async fn approle_leaves_a_token_that_is_good(kind: VaultKind) {
    let site = Site::new(kind);
    let mut keeper = site.keeper(&[]);
    assert!(!keeper.is_whole(site.now().monotonic));
    let (happened, _) = well(&mut keeper, site.now()).await;
    assert!(matches!(happened[..], [Happened::LoggedIn { lasts }] if lasts.as_secs() == 60));
    assert!(site.vault.knows(&site.read("token")));
    assert_eq!(fs::metadata(site.path("token")).expect("it is there").mode() & 0o7777, 0o600);
    keeper.verify().await.expect("it is really so");
}

#[tokio::test]
async fn approle_leaves_a_token_that_is_good_on_vault() {
    approle_leaves_a_token_that_is_good(VAULT).await;
}

#[tokio::test]
async fn approle_leaves_a_token_that_is_good_on_openbao() {
    approle_leaves_a_token_that_is_good(BAO).await;
}

/// A method whose secret id is wrapped in the file `wrapped`.
fn wrapped(site: &Site, token: &str, keep: Option<PathBuf>) -> Method {
    let file = site.path("wrapped");
    fs::write(&file, token).expect("a file");
    let creation_path = format!("{ROLE}/secret-id");
    site.approle(SecretId::Wrapped { file, creation_path, keep })
}

async fn a_wrapped_secret_id_is_unwrapped_once(kind: VaultKind) {
    let site = Site::new(kind);
    let token = site.vault.wrapped("POST", &format!("{ROLE}/secret-id"));
    let method = wrapped(&site, &token, Some(site.path("kept")));
    let mut keeper = Keeper::new(site.options(method.clone(), &[]), None, 1).expect("options");
    well(&mut keeper, site.now()).await;
    assert_eq!(fs::metadata(site.path("kept")).expect("it is there").mode() & 0o7777, 0o600);
    // An agent that was restarted logs in with what it kept, though the wrapping token is used up.
    let mut again = Keeper::new(site.options(method.clone(), &[]), None, 1).expect("options");
    well(&mut again, site.now()).await;

    // Who comes without having kept anything finds that somebody was there before.
    fs::remove_file(site.path("kept")).expect("it is there");
    let mut other = Keeper::new(site.options(method, &[]), None, 1).expect("options");
    let (stepped, _) = other.step_and_place(site.now()).await;
    assert_eq!(stepped.failures, [VaultError::AlreadyUnwrapped { file: site.path("wrapped") }]);
    assert!(stepped.failures[0].is_alarm() && stepped.failures[0].is_lasting());
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_on_vault() {
    a_wrapped_secret_id_is_unwrapped_once(VAULT).await;
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_on_openbao() {
    a_wrapped_secret_id_is_unwrapped_once(BAO).await;
}

#[tokio::test]
async fn a_wrapping_token_that_something_else_has_made_is_an_alarm_and_stays_unused() {
    let site = Site::new(VAULT);
    let token = site.vault.wrapped("GET", "auth/token/lookup-self");
    let mut keeper = Keeper::new(site.options(wrapped(&site, &token, None), &[]), None, 1).expect("options");
    let (stepped, _) = keeper.step_and_place(site.now()).await;
    let [error @ VaultError::WrongCreationPath { found, .. }] = &stepped.failures[..] else {
        panic!("{:?}", stepped.failures)
    };
    assert_eq!(found, "auth/token/lookup-self");
    assert!(error.is_alarm());
    let lookup = json!({ "token": token }).to_string();
    let left = site.vault.try_call_as("", "POST", "sys/wrapping/lookup", &lookup).expect("it answers");
    assert_eq!(left.status, 200, "{left:?}");
}

#[tokio::test]
async fn a_secret_id_that_is_spent_is_told_apart_from_one_that_was_stolen() {
    let site = Site::new(VAULT);
    site.vault.call("POST", ROLE, &json!({ "token_policies": ["node"], "secret_id_num_uses": 1 }));
    let token = site.vault.wrapped("POST", &format!("{ROLE}/secret-id"));
    let method = wrapped(&site, &token, Some(site.path("kept")));
    let mut keeper = Keeper::new(site.options(method.clone(), &[]), None, 1).expect("options");
    well(&mut keeper, site.now()).await;
    let mut again = Keeper::new(site.options(method, &[]), None, 1).expect("options");
    let (stepped, _) = again.step_and_place(site.now()).await;
    assert_eq!(stepped.failures, [VaultError::SecretIdSpent { file: site.path("wrapped") }]);
    assert!(!stepped.failures[0].is_alarm());
    // A new wrapping token in the same file, and all is well.
    fs::write(site.path("wrapped"), site.vault.wrapped("POST", &format!("{ROLE}/secret-id")))
        .expect("a file");
    well(&mut again, site.now()).await;
}

async fn a_jwt_from_a_file_logs_in(kind: VaultKind) {
    let site = Site::new(kind);
    let now = site.now().wall.secs();
    let claims =
        json!({ "sub": "i-0abc", "aud": "vault", "iss": "muster", "iat": now, "nbf": now, "exp": now + 600 });
    let (token, key) = jwt(&claims);
    site.vault.call("POST", "sys/auth/jwt", &json!({ "type": "jwt" }));
    let config = json!({ "jwt_validation_pubkeys": [key], "bound_issuer": "muster" });
    site.vault.call("POST", "auth/jwt/config", &config);
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["node"],
        "token_ttl": "60s"
    });
    site.vault.call("POST", "auth/jwt/role/node", &role);
    fs::write(site.path("jwt"), format!("{token}\n")).expect("a file");
    let method = |role: &str| Method::Jwt { mount: "jwt".into(), role: role.into(), file: site.path("jwt") };
    let mut keeper = Keeper::new(site.options(method("node"), &[]), None, 1).expect("options");
    well(&mut keeper, site.now()).await;
    assert!(site.vault.knows(&site.read("token")));

    let mut other = Keeper::new(site.options(method("nope"), &[]), None, 1).expect("options");
    let (stepped, _) = other.step_and_place(site.now()).await;
    let [error @ VaultError::Refused { words, .. }] = &stepped.failures[..] else {
        panic!("{:?}", stepped.failures)
    };
    assert!(error.is_lasting() && words.contains("nope"), "{error}");
}

#[tokio::test]
async fn a_jwt_from_a_file_logs_in_on_vault() {
    a_jwt_from_a_file_logs_in(VAULT).await;
}

#[tokio::test]
async fn a_jwt_from_a_file_logs_in_on_openbao() {
    a_jwt_from_a_file_logs_in(BAO).await;
}

#[tokio::test]
async fn a_token_is_renewed_in_time_and_another_is_had_before_its_greatest_age() {
    let site = Site::new(VAULT);
    let mut keeper = site.keeper(&[]);
    well(&mut keeper, site.now()).await;
    let first = site.read("token");
    let due = keeper.next_wake(site.now().monotonic).saturating_sub(site.now().monotonic);
    assert!((38..=45).contains(&due.as_secs()), "two thirds of a minute: {due:?}");
    let (happened, _) = well(&mut keeper, site.later(46)).await;
    assert!(matches!(happened[..], [Happened::Renewed { .. }]), "{happened:?}");
    assert_eq!(site.read("token"), first);
    // As if it had been held for as long as the role allows, all but a little.
    let (happened, _) = well(&mut keeper, site.later(46 + 57)).await;
    assert!(matches!(happened[..], [Happened::LoggedIn { .. }]), "{happened:?}");
    assert_ne!(site.read("token"), first);
}

async fn a_token_that_was_revoked_is_had_anew(kind: VaultKind) {
    let site = Site::new(kind).with_kv();
    site.put("web", &json!({ "user": "web" }));
    let mut keeper = site.keeper(&[("web", "{{ secret('kv/data/web').user }}")]);
    well(&mut keeper, site.now()).await;
    let revoke = |token: String| site.vault.call("POST", "auth/token/revoke", &json!({ "token": token }));
    // By looking.
    revoke(site.read("token"));
    assert!(matches!(keeper.verify().await, Err(VaultError::TokenInvalid { .. })));
    let (happened, _) = well(&mut keeper, site.now()).await;
    assert!(matches!(happened[..], [Happened::LoggedIn { .. }]), "{happened:?}");
    // By a renewal.
    revoke(site.read("token"));
    let (happened, _) = well(&mut keeper, site.later(46)).await;
    assert!(matches!(happened[..], [Happened::TokenLost, Happened::LoggedIn { .. }]), "{happened:?}");
    // By reading a secret, while the token itself is not due.
    revoke(site.read("token"));
    site.put("web", &json!({ "user": "web2" }));
    let mut options =
        site.options(site.approle(site.secret_id()), &[("web", "{{ secret('kv/data/web').user }}")]);
    options.refresh = std::time::Duration::from_secs(5);
    let mut eager = Keeper::new(options, None, 7).expect("options");
    well(&mut eager, site.now()).await;
    revoke(site.read("token"));
    let (happened, _) = well(&mut eager, site.later(10)).await;
    assert!(happened.contains(&Happened::TokenLost), "{happened:?}");
    assert!(site.vault.knows(&site.read("token")));
}

#[tokio::test]
async fn a_token_that_was_revoked_is_had_anew_on_vault() {
    a_token_that_was_revoked_is_had_anew(VAULT).await;
}

#[tokio::test]
async fn a_token_that_was_revoked_is_had_anew_on_openbao() {
    a_token_that_was_revoked_is_had_anew(BAO).await;
}

#[tokio::test]
async fn what_the_policies_do_not_allow_is_told_apart_from_a_bad_token() {
    let site = Site::new(VAULT).with_kv();
    let mut keeper = site.keeper(&[("web", "{{ secret('sys/mounts').x }}")]);
    let (stepped, _) = keeper.step_and_place(site.now()).await;
    let [error @ VaultError::Denied { call, .. }] = &stepped.failures[..] else {
        panic!("{:?}", stepped.failures)
    };
    assert_eq!(call, "GET sys/mounts");
    assert!(error.is_lasting());
    assert!(site.vault.knows(&site.read("token")), "the token is left for others all the same");
}

#[tokio::test]
async fn a_sealed_vault_is_waited_for() {
    let mut site = Site::new(VAULT);
    let mut keeper = site.keeper(&[]);
    site.vault.seal();
    let (stepped, _) = keeper.step_and_place(site.now()).await;
    let [error @ VaultError::Sealed { .. }] = &stepped.failures[..] else { panic!("{:?}", stepped.failures) };
    assert!(!error.is_lasting());
    assert!(keeper.next_wake(site.now().monotonic) > site.now().monotonic, "after a pause");
    site.vault.unseal();
    well(&mut keeper, site.now()).await;
}

#[tokio::test]
async fn a_namespace_is_asked_for() {
    let site = Site::new(BAO);
    site.vault.call("POST", "sys/namespaces/team", &json!({}));
    site.vault.call("POST", "team/sys/auth/approle", &json!({ "type": "approle" }));
    site.vault.call("POST", &format!("team/{ROLE}"), &json!({ "token_ttl": "60s" }));
    let role_id = site.vault.call("GET", &format!("team/{ROLE}/role-id"), &Value::Null);
    let secret_id = site.vault.call("POST", &format!("team/{ROLE}/secret-id"), &json!({}));
    fs::write(site.path("role_id"), text(&role_id["data"]["role_id"])).expect("a file");
    fs::write(site.path("secret_id"), text(&secret_id["data"]["secret_id"])).expect("a file");
    let mut options = site.options(site.approle(SecretId::Plain { file: site.path("secret_id") }), &[]);
    let mut outside = Keeper::new(options.clone(), None, 1).expect("options");
    assert!(matches!(outside.step(site.now()).await.failures[..], [VaultError::Refused { status: 400, .. }]));
    options.server.namespace = Some("team".into());
    well(&mut Keeper::new(options, None, 1).expect("options"), site.now()).await;
}

#[tokio::test]
async fn certificates_of_both_sides_are_checked() {
    let site = Site::new(VAULT);
    let tls = site.vault.tls().expect("HTTPS").clone();
    let failures = async |server: Server| {
        let mut options = site.options(site.approle(site.secret_id()), &[]);
        options.server = server;
        let mut keeper = Keeper::new(options, None, 1).expect("options");
        keeper.step_and_place(site.now()).await.0.failures
    };
    let bare = Server::new(tls.address);
    let known = Server { ca_file: Some(tls.ca), ..bare.clone() };
    let both = Server { cert_file: Some(tls.cert), key_file: Some(tls.key), ..known.clone() };
    assert_eq!(failures(both).await, []);
    for (server, what) in [(bare, "a CA that is not known"), (known, "no certificate of ours")] {
        let failures = failures(server).await;
        assert!(matches!(failures[..], [VaultError::Certificate { .. }]), "{what}: {failures:?}");
    }
}

#[tokio::test]
async fn a_node_that_goes_leaves_no_token_behind() {
    let site = Site::new(VAULT).with_kv();
    site.put("web", &json!({ "user": "web" }));
    let mut keeper = site.keeper(&[("web", "{{ secret('kv/data/web').user }}")]);
    well(&mut keeper, site.now()).await;
    let token = site.read("token");
    let (remove, stopped) = keeper.stop().await;
    assert_eq!((remove, stopped), (vec![site.path("web")], Ok(())));
    assert!(!site.vault.knows(&token), "it is dead");
    assert!(!site.path("token").exists());
    let again = site.vault.try_call_as(&token, "GET", "kv/data/web", "").expect("it answers");
    assert_eq!(again.status, 403, "{again:?}");
    // Where Vault is away the files go all the same.
    let site = Site::new(BAO);
    let mut keeper = site.keeper(&[]);
    well(&mut keeper, site.now()).await;
    site.vault.seal();
    let (_, stopped) = keeper.stop().await;
    assert!(matches!(stopped, Err(VaultError::Sealed { .. })), "{stopped:?}");
    assert!(!site.path("token").exists());
}
