//! The base image, as `tests/tools/image` has baked it, is baked once more.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::image::{TREE, changed, variables, with_ansible};
use tests::machine::{Overlay, succeed};
use tests::tools;

/// What the seal changes in a base that was baked before.
const SEALED: [&str; 2] =
    ["seal : Look for keys and logs of this machine", "seal : Leave the machine's id to its first boot"];

/// The base, with something over it that a test may write to.
fn base() -> (PathBuf, Overlay) {
    let root = tools::base_image().unwrap_or_else(|missing| panic!("{missing}"));
    let overlay = Overlay::new(&root);
    (root, overlay)
}

/// Bakes it once more. * `root`: of the image, which stays as it is. * `more`: variables of the playbook.
fn bake(root: &Path, overlay: &Overlay, more: &Value) -> Output {
    let manifest = fs::read_to_string(format!("{}.json", root.display())).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    // Another part of the playbook may have changed since it was baked.
    let same = json!({"image_playbook": manifest["playbook"]}).to_string();
    let mut bake = with_ansible(format!("{TREE}/image/bake-rootfs"));
    bake.args(["--playbook", "base", "--extra-vars", &variables(root), "--extra-vars", &same]);
    bake.args(["--extra-vars", &more.to_string(), "--manifest"]).arg(overlay.root().join("../manifest.json"));
    bake.arg(overlay.root()).output().expect("it runs")
}

#[test]
fn a_base_that_is_baked_once_more_is_changed_by_its_seal_alone_which_takes_what_must_not_be_cloned() {
    let (root, overlay) = base();
    let secrets = [
        "etc/ssh/ssh_host_ed25519_key",
        "home/admin/.ssh/authorized_keys",
        "root/.ssh/authorized_keys",
        "var/lib/systemd/credential.secret",
        "var/lib/systemd/random-seed",
        "var/log/bake.log",
        "var/log/unattended-upgrades/unattended-upgrades.log.1",
        "var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
    ];
    for secret in secrets {
        overlay.write(secret, 0o600, "planted-secret-5a1b");
    }
    overlay.write("etc/machine-id", 0o444, "0123456789abcdef0123456789abcdef\n");
    let baked = bake(&root, &overlay, &json!({}));
    let said = String::from_utf8_lossy(&baked.stderr);
    assert!(baked.status.success(), "{said}");
    assert_eq!(changed(&said), SEALED, "{said}");
    let left: Vec<&str> = secrets.into_iter().filter(|secret| overlay.root().join(secret).exists()).collect();
    assert_eq!(left, Vec::<&str>::new());
    assert_eq!(fs::read_to_string(overlay.root().join("etc/machine-id")).expect("it stays"), "");
}

/// A Debian package that is nowhere else, and an archive of it alone, at `/srv/archive`.
fn put_archive(overlay: &Overlay, name: &str) {
    let place = tempfile::tempdir().expect("a directory");
    let control = place.path().join("DEBIAN");
    fs::create_dir(&control).expect("a directory");
    let text = format!(
        "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: a test <test@invalid>\nDescription: of a test\n"
    );
    fs::write(control.join("control"), text).expect("a file");
    let archive = overlay.root().join("srv/archive");
    fs::create_dir(&archive).expect("a directory");
    succeed(
        Command::new("dpkg-deb").arg("--build").arg(place.path()).arg(archive.join(format!("{name}.deb"))),
    );
    let packages = succeed(Command::new("dpkg-scanpackages").arg(".").current_dir(&archive));
    fs::write(archive.join("Packages"), packages).expect("a file");
    overlay.write("etc/apt/sources.list", 0o644, "deb [trusted=yes] file:/srv/archive ./\n");
}

/// Who bakes a node soon after its base wants a package that the base has not.
#[test]
fn a_package_is_installed_on_an_image_whose_lists_were_removed_a_moment_ago() {
    const NAME: &str = "muster-of-a-test";
    let (root, overlay) = base();
    put_archive(&overlay, NAME);
    assert!(overlay.chroot(&["touch", "/var/lib/apt/lists"]).status.success());
    let baked = bake(&root, &overlay, &json!({ "base_packages": [NAME] }));
    let said = String::from_utf8_lossy(&baked.stderr);
    assert!(baked.status.success(), "{said}");
    assert!(changed(&said).iter().any(|task| task == "base : Install packages"), "{said}");
    let known = overlay.chroot(&["dpkg-query", "--show", "--showformat=${db:Status-Status}", NAME]);
    assert_eq!(String::from_utf8_lossy(&known.stdout), "installed");
}
