//! What AWX does on a node: it logs in, and plays the playbook of drift.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::image::{programs, with_ansible};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The user that it logs in as.
pub const USER: &str = "awx";
/// Hosts are new each time.
const ANY_HOST: &str = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes";
/// The command that adds it to a machine which has not booted.
pub const ADD_USER: [&str; 4] = ["useradd", "--create-home", "--shell=/bin/bash", USER];

/// What a machine has to have for it to log in: absolute path, mode, text.
#[must_use]
pub fn access(public_key: &str) -> Vec<(String, u32, String)> {
    let keys = "AuthorizedKeysFile /etc/ssh/keys/%u\n".to_owned();
    vec![
        (format!("/etc/ssh/keys/{USER}"), 0o644, public_key.to_owned()),
        ("/etc/ssh/sshd_config.d/20-site.conf".to_owned(), 0o600, keys),
        (format!("/etc/sudoers.d/{USER}"), 0o440, format!("{USER} ALL=(ALL) NOPASSWD: ALL\n")),
    ]
}

/// The playbook of drift, about to run on one machine.
///
/// * `key`: the private key of [`USER`]. * `variables`: as `--extra-vars` takes them, later ones over earlier ones.
#[must_use]
pub fn drift(machine: IpAddr, key: &Path, variables: &[&str]) -> Command {
    let mut playbook = with_ansible("ansible-playbook");
    playbook
        .args(["--inventory", &format!("{machine},"), "--user", USER, "--private-key"])
        .arg(key)
        .arg(format!("--ssh-common-args={ANY_HOST}"));
    for variables in variables {
        playbook.args(["--extra-vars", variables]);
    }
    playbook.arg("drift.yml").stdin(Stdio::null());
    playbook
}

/// The variables that say where this host has the programs of the image, and which.
#[must_use]
pub fn local_programs() -> Value {
    let place = programs();
    let version = |name: &str| {
        let says = Command::new(place.join(name)).arg("version").output().expect("it runs");
        let says = String::from_utf8_lossy(&says.stdout).into_owned();
        let first = says.lines().next().and_then(|line| line.split('v').nth(1)).unwrap_or_default();
        first.trim().to_owned()
    };
    json!({
        "image_source": "local", "image_local_directory": place, "nomad_version": version("nomad"),
        "consul_version": version("consul"),
    })
}
