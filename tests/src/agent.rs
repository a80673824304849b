//! The node's agent on an instance of the cloud: the real program, as it watches.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::ground::{Daemon, Site};
use crate::programs::{Running, bootstrap};
use fleet::InstanceId;
use serde_json::Value;
use tempfile::TempDir;

/// Where in the daemon's directory the certificate is that the cloud signs identity documents by.
const CERTIFICATE: &str = "aws.pem";

/// Starts a daemon to which nodes prove who they are by the documents that the cloud has signed.
///
/// Agents speak to it from this host's address, not from their instance's.
pub fn daemon(site: &Site, name: &'static str) -> Daemon {
    site.write(CERTIFICATE, &site.cloud.certificate());
    let account = site.cloud.world().spec().account.clone();
    let identity = ["--identity-certificates", CERTIFICATE, "--identity-account", &account];
    site.daemon_without_queue(name, &[&identity[..], &["--identity-any-address"]].concat())
}

/// An agent that has booted its instance, and tells a daemon what it sees. Dropped, it is killed.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub running: Running,
    place: TempDir,
}

impl Agent {
    /// Starts the agent of an instance, and waits until its boot is done: nothing but who it is has to be found out.
    pub fn start(site: &Site, instance: &InstanceId, daemon: &Daemon) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name: &str| place.path().join(name);
        let certificate = path(CERTIFICATE);
        std::fs::write(&certificate, site.cloud.certificate()).expect("a file");
        let text = format!(
            "identity {{\n  endpoints = [\"{}/_imds/{instance}\"]\n  certificates = [\"{}\"]\n}}\n\
             watch {{\n  samples = \"1s\"\n  autoscaler {{\n    fleet = \"web\"\n    addresses = [\"http://{}\"]\n  }}\n}}\n",
            site.cloud.endpoint(),
            certificate.display(),
            daemon.address(),
        );
        std::fs::write(path("bootstrap.hcl"), text).expect("a file");
        let mut command = bootstrap();
        command.arg("run").arg("--config").arg(path("bootstrap.hcl"));
        command.arg("--state-directory").arg(path("state")).arg("--run-directory").arg(path("run"));
        let mut running = Running::start(&mut command);
        running.wait_for("a boot that is done", |line| line.contains("status=\"ready\"").then_some(()));
        Self { running, place }
    }

    /// Waits until a leader has confirmed the one notice that it has told of.
    pub fn wait_confirmed(&mut self) {
        self.running.wait_for("the autoscaler's word", |line| {
            let is_told = line.contains("told the autoscaler");
            (is_told && line.contains("confirmed=1") && line.contains("leader=true")).then_some(())
        });
    }

    /// What it shows of itself.
    pub fn status(&self) -> Value {
        let text = std::fs::read(self.place.path().join("run/status.json")).expect("a status");
        serde_json::from_slice(&text).expect("JSON")
    }
}
