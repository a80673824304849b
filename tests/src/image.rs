//! The image that tests boot and bake again, and what it is made with.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::machine::succeed;
use crate::programs::bootstrap;
use crate::tools;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The tree that is tested.
pub const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where programs of the system are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The Debian package of the agent that was built with this test, made once.
pub fn package() -> &'static Path {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, made) = MADE.get_or_init(|| {
        let place = tempfile::tempdir().expect("a directory");
        let built = PathBuf::from(bootstrap().get_program()).parent().expect("a folder").to_owned();
        let profile = match built.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let mut command = Command::new(format!("{TREE}/bootstrap/package"));
        command.args(["--no-build", "--fast", "--profile", profile, "--output"]).arg(place.path());
        command.env("CARGO_TARGET_DIR", built.parent().expect("a build directory"));
        let made = PathBuf::from(succeed(&mut command).trim());
        (place, made)
    });
    made
}

/// The image, which nobody writes to, and its manifest.
pub fn baked() -> (PathBuf, Value) {
    let root = tools::image(package()).unwrap_or_else(|missing| panic!("{missing}"));
    let manifest = fs::read_to_string(format!("{}.json", root.display())).expect("a manifest");
    (root, serde_json::from_str(&manifest).expect("JSON"))
}

/// The file of the variables that an image was made with, as `tests/tools/image` left it.
///
/// * `root`: the image.
pub fn site(root: &Path) -> PathBuf {
    root.with_extension("variables.json")
}

/// The same file, as Ansible takes it.
pub fn variables(root: &Path) -> String {
    format!("@{}", site(root).display())
}

/// A program with Ansible's on its PATH, in the directory of the playbooks.
pub fn with_ansible(program: impl AsRef<Path>) -> Command {
    let ansible = tools::ansible().unwrap_or_else(|missing| panic!("{missing}"));
    let mut command = Command::new(program.as_ref());
    command.env("PATH", format!("{}:{PATH}", ansible.display()));
    command.current_dir(format!("{TREE}/image/ansible"));
    command
}

/// Nomad and Consul, as the image got them.
pub fn programs() -> PathBuf {
    muster_test_servers::program("nomad").parent().expect("a directory").to_owned()
}

/// The tasks of a playbook's run that have changed something, by the names of their roles and their own.
#[must_use]
pub fn changed(said: &str) -> Vec<String> {
    let mut task = "";
    let mut changed = Vec::new();
    for line in said.lines() {
        if let Some(named) = line.trim().strip_prefix("TASK [") {
            task = named.split(']').next().unwrap_or_default();
        }
        if line.trim().starts_with("changed: ") && changed.last().is_none_or(|last| last != task) {
            changed.push(task.to_owned());
        }
    }
    changed
}

/// Packer, with its plugin in its place.
#[derive(Debug)]
pub struct Packer {
    /// The program.
    pub program: PathBuf,
    /// A directory of its own, gone when it is dropped.
    pub place: TempDir,
}

impl Packer {
    /// Installs the plugin.
    #[expect(clippy::new_without_default, reason = "it installs a plugin")]
    pub fn new() -> Self {
        let bin = tools::packer().unwrap_or_else(|missing| panic!("{missing}"));
        let packer = Self { program: bin.join("packer"), place: tempfile::tempdir().expect("a directory") };
        let mut install = packer.command("plugins");
        install.args(["install", "--path"]).arg(bin.join("packer-plugin-amazon"));
        succeed(install.arg("github.com/hashicorp/amazon"));
        packer
    }

    /// What it needs in its environment, besides AWS's keys.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let place = self.place.path();
        vec![
            ("PACKER_PLUGIN_PATH", place.join("plugins").display().to_string()),
            ("PACKER_CONFIG_DIR", place.display().to_string()),
            ("CHECKPOINT_DISABLE", "1".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
            ("no_proxy", "127.0.0.1".to_owned()),
        ]
    }

    /// One of its commands, in the tree, with keys that are none.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = with_ansible(&self.program);
        command.arg(verb).current_dir(TREE).envs(self.environment());
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }
}
