//! An agent that is killed and started again.

use crate::site::{BAO, Site, VAULT, well};
use bootstrap_vault::{Happened, Keeper, VaultError, VaultOptions};
use muster_test_servers::VaultKind;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

const CERT: &str = "{{ pki('pki/issue/node', common_name='i-0abc.node', ttl='30m').certificate }}\n";
const WEB: &str = "{{ secret('kv/data/web').user }}\n";

/// A site with a secret and a certificate, and a node that leaves what it holds.
fn site(kind: VaultKind) -> (Site, VaultOptions) {
    let site = Site::new(kind).with_kv().with_pki();
    site.put("web", &json!({ "user": "web", "list": [1, true, null, { "a": 1.5 }] }));
    let mut options = site.options(site.approle(site.secret_id()), &[("web", WEB), ("cert", CERT)]);
    options.state_file = Some(site.path("state"));
    (site, options)
}

fn keeper(options: &VaultOptions) -> Keeper {
    Keeper::new(options.clone(), None, 7).expect("options")
}

async fn who_was_killed_asks_for_nothing_twice(kind: VaultKind) {
    let (site, options) = site(kind);
    well(&mut keeper(&options), site.now()).await;
    assert_eq!(fs::metadata(site.path("state")).expect("it is there").mode() & 0o7777, 0o600);
    let (token, cert) = (site.read("token"), site.read("cert"));

    // Another process: the same token, the same certificate, nothing to reload. KV is read again.
    let mut second = keeper(&options);
    let (happened, reload) = well(&mut second, site.now()).await;
    assert!(
        matches!(happened[..], [Happened::Resumed { secrets: 2 }, Happened::Fetched { changed: false, .. }]),
        "{happened:?}"
    );
    assert!(reload.is_empty());
    assert_eq!((site.read("token"), site.read("cert")), (token.clone(), cert.clone()));
    // What it goes on with is renewed in its time.
    let (happened, _) = well(&mut second, site.later(46)).await;
    assert!(happened.iter().any(|one| matches!(one, Happened::Renewed { .. })), "{happened:?}");

    // A token that was revoked meanwhile: a login. The certificate is as good as before.
    site.vault.call("POST", "auth/token/revoke", &json!({ "token": token }));
    let (happened, reload) = well(&mut keeper(&options), site.now()).await;
    assert!(happened.contains(&Happened::TokenLost), "{happened:?}");
    assert!(reload.is_empty());
    assert_ne!(site.read("token"), token);
    assert_eq!(site.read("cert"), cert);

    // Near the end of what was left it is as if nothing had been.
    let (happened, reload) = well(&mut keeper(&options), site.later(1600)).await;
    assert!(matches!(happened[0], Happened::LoggedIn { .. }), "{happened:?}");
    assert!(reload.contains("cert.service"));

    // Who goes for good leaves nothing.
    let mut last = keeper(&options);
    well(&mut last, site.now()).await;
    let (_, stopped) = last.stop().await;
    assert_eq!(stopped, Ok(()));
    assert!(!site.path("state").exists());
}

#[tokio::test]
async fn who_was_killed_asks_for_nothing_twice_on_vault() {
    who_was_killed_asks_for_nothing_twice(VAULT).await;
}

#[tokio::test]
async fn who_was_killed_asks_for_nothing_twice_on_openbao() {
    who_was_killed_asks_for_nothing_twice(BAO).await;
}

#[tokio::test]
async fn who_is_started_while_vault_is_sealed_goes_on_with_what_was_left() {
    let (mut site, options) = site(BAO);
    well(&mut keeper(&options), site.now()).await;
    let cert = site.read("cert");
    fs::remove_file(site.path("cert")).expect("it is there");
    site.vault.seal();
    let mut second = keeper(&options);
    let (stepped, reload) = second.step_and_place(site.now()).await;
    assert!(matches!(stepped.failures[..], [VaultError::Sealed { .. }]), "KV: {:?}", stepped.failures);
    assert!(second.is_whole(site.now().monotonic));
    assert_eq!(site.read("cert"), cert);
    assert!(reload.contains("cert.service"));
    site.vault.unseal();
    well(&mut second, site.later(5)).await;
}

#[tokio::test]
async fn what_is_damaged_or_of_another_login_is_as_good_as_nothing() {
    let (site, options) = site(BAO);
    well(&mut keeper(&options), site.now()).await;
    let state = site.read("state");
    let fresh = async |options: &VaultOptions| {
        let (happened, _) = well(&mut keeper(options), site.now()).await;
        assert!(matches!(happened[0], Happened::LoggedIn { .. }), "{happened:?}");
    };
    for damaged in ["", "{}", &state[..state.len() / 2]] {
        fs::write(site.path("state"), damaged).expect("a file");
        fresh(&options).await;
    }
    // The same server by another name may be another server.
    let mut other = options.clone();
    other.server.address = format!("{}/", options.server.address);
    fresh(&other).await;
}
