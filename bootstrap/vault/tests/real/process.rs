//! What can be seen of a process from outside, and what it does when there is no room.

use crate::site::{BAO, Site};
use muster_test_servers::wait_for;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// `examples/keep`, which cargo builds along with the tests.
fn keep() -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    let path = test.parent().and_then(|deps| deps.parent()).expect("target/debug/deps").join("examples/keep");
    assert!(path.exists(), "{} is missing: cargo build -p bootstrap-vault --example keep", path.display());
    path
}

/// Its arguments: a login, a token, and a template `web`.
fn arguments(site: &Site, destination: &str) -> Vec<String> {
    site.secret_id();
    fs::write(site.path("web.tmpl"), "password={{ secret('kv/data/web').password }}\n").expect("a template");
    let path = |name: &str| site.path(name).display().to_string();
    let template = format!("{}={destination}", path("web.tmpl"));
    [
        ("--address", site.vault.address()),
        ("--role-id", path("role_id")),
        ("--secret-id", path("secret_id")),
        ("--token", path("token")),
        ("--template", template),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}

#[test]
fn no_secret_is_in_the_arguments_the_environment_or_the_words_of_a_process() {
    let site = Site::new(BAO).with_kv();
    site.put("web", &json!({ "password": "planted-password" }));
    let mut child = Command::new(keep())
        .args(arguments(&site, &site.path("web").display().to_string()))
        .arg("--stay")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_for("the file", || site.path("web").exists().then_some(()));
    let seen = ["cmdline", "environ"].map(|what| {
        let bytes = fs::read(format!("/proc/{}/{what}", child.id())).expect("Linux tells");
        String::from_utf8_lossy(&bytes).into_owned()
    });
    assert_eq!(site.read("web"), "password=planted-password\n");
    let token = site.read("token");
    child.stdin.take().expect("a pipe").flush().expect("a pipe");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert!(!site.vault.knows(&token), "revoked when it ended");
    let secrets = [token, site.read("secret_id"), site.read("role_id"), "planted".to_owned()];
    let words = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    for text in seen.iter().chain(&words) {
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{text}");
    }
    assert!(!site.path("web").exists() && !site.path("token").exists());
    assert!(!site.path(".web.due").exists());
}

/// Runs it where `at` is a file system of its own, with these options of mount.
fn on_a_file_system(site: &Site, at: &str, options: &str) -> (bool, String) {
    let script = r#"mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@""#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", options, at])
        .arg(keep())
        .args(arguments(site, &format!("{at}/web")))
        .output()
        .expect("unshare is part of util-linux");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_full_disk_and_one_that_cannot_be_written_are_told_and_leave_no_half_file() {
    let site = Site::new(BAO).with_kv();
    site.put("web", &json!({ "password": "planted".repeat(10_000) }));
    let place = site.path("small");
    fs::create_dir(&place).expect("a directory");
    let at = place.display().to_string();
    for (options, expect) in
        [("size=16k", "No space left on device"), ("size=16k,ro", "Read-only file system")]
    {
        let (well, said) = on_a_file_system(&site, &at, options);
        assert!(!well && said.contains(expect) && said.contains("could not write"), "{options}: {said}");
        assert!(!said.contains("planted"), "{said}");
    }
    let (well, said) = on_a_file_system(&site, &at, "size=1m");
    assert!(well, "{said}");
}
