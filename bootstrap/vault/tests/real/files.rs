//! Where files come to lie, and where not.

use crate::site::{Site, VAULT, well};
use bootstrap_vault::place::PlaceError;
use bootstrap_vault::{Destination, Keeper, VaultError};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// A directory that is on a disk, unlike `/dev/shm`.
fn on_disk() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("muster-vault-")
        .tempdir_in(env!("CARGO_MANIFEST_DIR"))
        .expect("a directory")
}

#[tokio::test]
async fn a_token_is_left_in_memory_alone_unless_it_is_allowed_on_a_disk() {
    let site = Site::new(VAULT);
    let disk = on_disk();
    let mut options = site.options(site.approle(site.secret_id()), &[]);
    let path = disk.path().join("token");
    options.token_file = Some(Destination::private(&path));
    let mut keeper = Keeper::new(options.clone(), None, 1).expect("options");
    let (stepped, _) = keeper.step_and_place(site.now()).await;
    let refused = VaultError::Place(PlaceError::NotInMemory { path: path.clone() });
    assert_eq!(stepped.failures, [refused]);
    assert!(stepped.failures[0].is_lasting() && !path.exists() && !keeper.is_whole(site.now().monotonic));

    options.token_file = Some(Destination { require_tmpfs: false, ..Destination::private(&path) });
    let mut keeper = Keeper::new(options, None, 1).expect("options");
    well(&mut keeper, site.now()).await;
    assert!(site.vault.knows(&fs::read_to_string(&path).expect("it is there")));
}

#[tokio::test]
async fn a_file_has_the_mode_and_group_that_it_should_and_gets_them_back() {
    let site = Site::new(VAULT).with_kv();
    site.put("web", &json!({ "user": "web" }));
    let mut options =
        site.options(site.approle(site.secret_id()), &[("web", "{{ secret('kv/data/web').user }}")]);
    let gid = fs::metadata(site.place.path()).expect("it is there").gid();
    options.templates[0].destination.group = Some(gid.to_string());
    let mut keeper = Keeper::new(options.clone(), None, 1).expect("options");
    well(&mut keeper, site.now()).await;
    let mode = || fs::metadata(site.path("web")).expect("it is there").mode() & 0o7777;
    assert_eq!(mode(), 0o640);
    std::process::Command::new("chmod").arg("666").arg(site.path("web")).status().expect("chmod runs");
    let mut again = Keeper::new(options.clone(), None, 1).expect("options");
    let (_, reload) = well(&mut again, site.now()).await;
    assert_eq!(mode(), 0o640);
    assert!(reload.is_empty(), "its contents are the same");

    // So it is where somebody changes it under a keeper that runs.
    for spoil in ["chmod 666 web", "echo other >web", "rm web"] {
        let spoil = format!("cd {} && {spoil}", site.place.path().display());
        std::process::Command::new("sh").args(["-c", &spoil]).status().expect("sh runs");
        again.verify().await.expect("the token is good");
        assert!(!again.is_whole(site.now().monotonic), "{spoil}");
        well(&mut again, site.now()).await;
        assert_eq!(
            (mode(), fs::read_to_string(site.path("web")).expect("it is there").as_str()),
            (0o640, "web")
        );
        again.verify().await.expect("the token is good");
        assert!(again.is_whole(site.now().monotonic), "{spoil}");
    }

    options.templates[0].destination.owner = Some("nobody-of-that-name".into());
    let mut nobody = Keeper::new(options, None, 1).expect("options");
    let (stepped, _) = nobody.step_and_place(site.now()).await;
    assert!(
        matches!(stepped.failures[..], [VaultError::Place(PlaceError::Nobody { kind: "user", .. })]),
        "{:?}",
        stepped.failures
    );
    assert_eq!(stepped.rendered.len(), 1, "it is given again");
}
