//! Secrets in files: KV, certificates, leases.

use crate::site::{BAO, Site, VAULT, well};
use bootstrap_vault::{Happened, Keeper, TemplateError, VaultError};
use muster_test_servers::{Consul, ConsulOptions, VaultKind};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const WEB: &str = "user={{ secret('kv/data/web').user }}\npassword={{ secret('kv/data/web').password }}\n";

fn units(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn a_file_follows_its_secret(kind: VaultKind) {
    let site = Site::new(kind).with_kv();
    site.put("web", &json!({ "user": "web", "password": "one" }));
    site.put("db", &json!({ "host": "db1" }));
    let mut options = site
        .options(site.approle(site.secret_id()), &[("web", WEB), ("db", "{{ secret('kv/data/db').host }}")]);
    options.refresh = Duration::from_secs(20);
    let mut keeper = Keeper::new(options, None, 7).expect("options");
    let (_, reload) = well(&mut keeper, site.now()).await;
    assert_eq!(reload, units(&["db.service", "web.service"]));
    assert_eq!(site.read("web"), "user=web\npassword=one\n");

    // Nothing is due, nothing is asked, nothing is written.
    let (happened, reload) = well(&mut keeper, site.now()).await;
    assert_eq!((happened, reload), (vec![], units(&[])));
    // Read again, and the same: nothing is written.
    let (happened, reload) = well(&mut keeper, site.later(21)).await;
    assert!(
        happened.iter().all(|one| matches!(one, Happened::Fetched { changed: false, .. })),
        "{happened:?}"
    );
    assert_eq!((happened.len(), reload), (2, units(&[])));

    site.put("web", &json!({ "user": "web", "password": "two" }));
    let mut old = site.keeper(&[("old", "{{ secret('kv/data/web', version=1).password }}")]);
    well(&mut old, site.now()).await;
    assert_eq!(site.read("old"), "one");
    let wake = keeper.next_wake(site.later(21).monotonic);
    assert!(wake <= site.later(42).monotonic && wake > site.later(30).monotonic, "{wake:?}");
    let (_, reload) = well(&mut keeper, site.later(43)).await;
    assert_eq!(reload, units(&["web.service"]), "its own unit alone");
    assert_eq!(site.read("web"), "user=web\npassword=two\n");

    // Whoever starts anew on the same files has nothing to reload.
    let mut anew = site.keeper(&[("web", WEB), ("db", "{{ secret('kv/data/db').host }}")]);
    let (_, reload) = well(&mut anew, site.now()).await;
    assert_eq!(reload, units(&[]));
    // A file that somebody has removed is found missing, and comes back.
    fs::remove_file(site.path("db")).expect("it is there");
    anew.verify().await.expect("the token is good");
    assert!(!anew.is_whole(site.now().monotonic));
    let (_, reload) = well(&mut anew, site.now()).await;
    assert_eq!(reload, units(&["db.service"]));
}

#[tokio::test]
async fn a_file_follows_its_secret_on_vault() {
    a_file_follows_its_secret(VAULT).await;
}

#[tokio::test]
async fn a_file_follows_its_secret_on_openbao() {
    a_file_follows_its_secret(BAO).await;
}

#[tokio::test]
async fn a_secret_that_is_missing_or_deleted_is_told_and_what_was_written_stays() {
    let site = Site::new(VAULT).with_kv();
    let mut options = site.options(site.approle(site.secret_id()), &[("web", WEB)]);
    options.refresh = Duration::from_secs(20);
    let mut keeper = Keeper::new(options, None, 7).expect("options");
    let (stepped, _) = keeper.step_and_place(site.now()).await;
    assert!(
        matches!(&stepped.failures[..], [VaultError::NotFound { call, .. }] if call == "GET kv/data/web")
    );
    assert!(!stepped.failures[0].is_lasting(), "somebody may write it yet");
    site.put("web", &json!({ "user": "web", "password": "one" }));
    well(&mut keeper, site.now()).await;
    site.vault.call("DELETE", "kv/data/web", &serde_json::Value::Null);
    let (stepped, _) = keeper.step_and_place(site.later(21)).await;
    assert!(matches!(stepped.failures[..], [VaultError::NotFound { .. }]), "{:?}", stepped.failures);
    assert_eq!(site.read("web"), "user=web\npassword=one\n");

    // KV version 1's path on version 2: Vault's own hint is passed on.
    let mut keeper = site.keeper(&[("old", "{{ secret('kv/web').user }}")]);
    let (stepped, _) = keeper.step_and_place(site.now()).await;
    let [error] = &stepped.failures[..] else { panic!("{:?}", stepped.failures) };
    assert!(matches!(error, VaultError::Denied { .. } | VaultError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_field_that_is_missing_is_told_with_the_names_that_are_there() {
    let site = Site::new(VAULT).with_kv();
    site.put("web", &json!({ "user": "planted-user", "password": "planted-password" }));
    let mut keeper = site.keeper(&[("web", "a\n{{ secret('kv/data/web').pass }}\n")]);
    let (stepped, _) = keeper.step_and_place(site.now()).await;
    let [error @ VaultError::Template(TemplateError::UnknownField { line: 2, known, .. })] =
        &stepped.failures[..]
    else {
        panic!("{:?}", stepped.failures)
    };
    assert_eq!(known, &["password", "user"]);
    assert!(error.is_lasting() && !format!("{error} {error:?}").contains("planted"), "{error}");
    assert!(!site.path("web").exists());
}

/// The PEM blocks of a text.
fn blocks(text: &str) -> usize {
    text.matches("-----BEGIN").count()
}

async fn a_certificate_is_issued_once_and_again_before_it_ends(kind: VaultKind) {
    const CALL: &str =
        "pki('pki/issue/node', common_name='i-0abc.node', ttl='30m', alt_names=['a.node', 'b.node'])";
    let site = Site::new(kind).with_pki();
    let cert = format!("{{% set c = {CALL} %}}\n{{{{ c.certificate }}}}\n{{{{ c.ca_chain }}}}\n");
    let key = format!("{{{{ {CALL}.private_key }}}}\n");
    let mut keeper =
        site.keeper(&[("cert", &cert), ("key", &key), ("ca", &format!("{{{{ {CALL}.issuing_ca }}}}"))]);
    let (happened, reload) = well(&mut keeper, site.now()).await;
    assert_eq!(reload.len(), 3);
    let issued = happened.iter().filter(|one| matches!(one, Happened::Fetched { .. })).count();
    assert_eq!(issued, 1, "one certificate for three files: {happened:?}");
    let first = site.read("cert");
    assert_eq!((blocks(&first), blocks(&site.read("key")), blocks(&site.read("ca"))), (2, 1, 1));

    // Long before its end only the token is renewed; near its end, 10 to 20 % of half an hour, it is issued anew.
    let (_, reload) = well(&mut keeper, site.later(1200)).await;
    assert_eq!(reload, units(&[]));
    let (_, reload) = well(&mut keeper, site.later(1700)).await;
    assert_eq!(reload, units(&["cert.service", "key.service"]), "the CA is the same");
    assert_ne!(site.read("cert"), first);
}

#[tokio::test]
async fn a_certificate_is_issued_once_and_again_before_it_ends_on_vault() {
    a_certificate_is_issued_once_and_again_before_it_ends(VAULT).await;
}

#[tokio::test]
async fn a_certificate_is_issued_once_and_again_before_it_ends_on_openbao() {
    a_certificate_is_issued_once_and_again_before_it_ends(BAO).await;
}

#[tokio::test]
async fn a_lease_is_renewed_replaced_with_the_token_and_ends_with_it() {
    let site = Site::new(VAULT);
    let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    site.vault.call("POST", "sys/mounts/consul", &json!({ "type": "consul" }));
    let address = consul.address();
    let access = json!({ "address": address.trim_start_matches("http://"), "token": consul.token() });
    site.vault.call("POST", "consul/config/access", &access);
    let role = json!({ "node_identities": ["web:dc1"], "ttl": "60s", "max_ttl": "600s" });
    site.vault.call("POST", "consul/roles/node", &role);
    let known = |token: &str| {
        let answer = consul.try_call("GET", &format!("/v1/acl/token/self?token={token}"), "");
        answer.expect("it answers").status
    };

    let mut keeper = site.keeper(&[("consul", "{{ secret('consul/creds/node').token }}")]);
    well(&mut keeper, site.now()).await;
    let first = site.read("consul");
    let (happened, reload) = well(&mut keeper, site.later(46)).await;
    let renewed = Happened::LeaseRenewed { path: "consul/creds/node".into() };
    assert!(happened.contains(&renewed), "{happened:?}");
    assert_eq!((site.read("consul"), reload), (first.clone(), units(&[])));
    // Another token of Vault's, another of Consul's: the first ends with the token that it was had by.
    let (happened, reload) = well(&mut keeper, site.later(46 + 57)).await;
    assert!(happened.iter().any(|one| matches!(one, Happened::LoggedIn { .. })), "{happened:?}");
    let second = site.read("consul");
    assert_ne!(second, first);
    assert_eq!(reload, units(&["consul.service"]));

    // A token that was revoked took its leases with it, whether or not they were due.
    assert_eq!(known(&second), 200);
    site.vault.call("POST", "auth/token/revoke", &json!({ "token": site.read("token") }));
    keeper.verify().await.expect_err("it was revoked");
    let (_, reload) = well(&mut keeper, site.later(46 + 60)).await;
    assert_eq!(reload, units(&["consul.service"]));
    let third = site.read("consul");
    assert_ne!(third, second);

    assert_eq!(known(&third), 200);
    let (_, stopped) = keeper.stop().await;
    assert_eq!(stopped, Ok(()));
    muster_test_servers::wait_for("the lease to end", || (known(&third) == 403).then_some(()));
}
