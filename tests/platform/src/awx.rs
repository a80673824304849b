//! AWX: a stand-in that answers as one, and runs the playbook that it is asked for.

use crate::timeline::Timeline;
use muster_test_servers::awx::Awx;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use tests::ground::Cloud;
use tests::machine::succeed;

/// Between two looks at what it was asked for.
const LOOK: Duration = Duration::from_millis(200);

/// AWX. Dropped, it begins nothing any more, and what runs is waited for.
pub struct Controller {
    awx: Arc<Awx>,
    keys: TempDir,
    ends: Arc<AtomicBool>,
    runner: Option<JoinHandle<()>>,
    done: Arc<Mutex<Vec<Ended>>>,
}

/// A job that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The instance that it was for.
    pub instance: String,
    /// Whether it was successful.
    pub successful: bool,
    /// What it had to mend, as the playbook says.
    pub mended: Vec<String>,
}

impl Controller {
    /// Starts it. * `variables`: what the site says of its nodes, as `--extra-vars` takes it.
    pub fn start(cloud: Arc<Cloud>, variables: String, timeline: Timeline) -> Self {
        let keys = tempfile::tempdir().expect("a directory");
        succeed(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(keys.path().join("key")),
        );
        let awx = Arc::new(Awx::start());
        let (ends, done) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Ended>>>::default());
        let runs = Runs {
            awx: Arc::clone(&awx),
            cloud,
            variables,
            programs: tests::awx::local_programs().to_string(),
            key: keys.path().join("key"),
            timeline,
            done: Arc::clone(&done),
        };
        let ended = Arc::clone(&ends);
        let runner = thread::spawn(move || runs.until(&ended));
        Self { awx, keys, ends, runner: Some(runner), done }
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        self.awx.address()
    }
    /// The key that it logs in with, as nodes know it.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.keys.path().join("key.pub")).expect("a key")
    }
    /// The jobs that ended.
    pub fn ended(&self) -> Vec<Ended> {
        self.done.lock().expect("whole").clone()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(runner) = self.runner.take() {
            let _ = runner.join();
        }
    }
}

struct Runs {
    awx: Arc<Awx>,
    cloud: Arc<Cloud>,
    variables: String,
    /// Where this host has the programs of the image, as `--extra-vars` takes it.
    programs: String,
    key: PathBuf,
    timeline: Timeline,
    done: Arc<Mutex<Vec<Ended>>>,
}

impl Runs {
    /// Begins each job once, side by side, until it is to end.
    fn until(self, ends: &AtomicBool) {
        let (runs, mut begun, mut running) = (Arc::new(self), 0, Vec::new());
        while !ends.load(Ordering::Relaxed) {
            let jobs = runs.awx.state().jobs.clone();
            for (at, job) in jobs.into_iter().enumerate().skip(begun) {
                begun = at + 1;
                let runs = Arc::clone(&runs);
                running.push(thread::spawn(move || runs.run(at + 1, &job.variables)));
            }
            thread::sleep(LOOK);
        }
        for one in running {
            let _ = one.join();
        }
    }

    fn run(&self, number: usize, asked: &Value) {
        let instance = asked["instance_id"].as_str().unwrap_or_default().to_owned();
        let begun = self.timeline.now();
        let launched =
            crate::cloud::launched(&self.cloud).into_iter().find(|one| one.id.as_str() == instance);
        let Some(launched) = launched else {
            return self.awx.end_job(number, "failed", "no such host");
        };
        // Else it would take the account's certificate, which the site put there, for drift.
        let asked = json!({
            "instance_id": instance, "awx_job_id": number, "monitoring_labels": {"fleet": "web"},
            "muster_identity_certificates": self.cloud.certificate(),
        });
        let variables = [self.variables.as_str(), &self.programs, &asked.to_string()];
        let mut playbook = tests::awx::drift(launched.address.into(), &self.key, &variables);
        let output = playbook.output().expect("Ansible runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let successful = output.status.success();
        self.awx.end_job(number, if successful { "successful" } else { "failed" }, &said);
        let took = self.timeline.now().saturating_sub(begun);
        let mended = mended(&said);
        self.timeline.say(&format!(
            "AWX job {number} for {instance}: {} after {:.1} s, mended: {}",
            if successful { "successful" } else { "failed" },
            took.as_secs_f64(),
            if mended.is_empty() { "nothing".to_owned() } else { mended.join("; ") }
        ));
        if !successful {
            self.timeline.say(&said);
        }
        self.done.lock().expect("whole").push(Ended { instance, successful, mended });
    }
}

/// What a playbook's own account says that it changed: the names of its tasks.
fn mended(said: &str) -> Vec<String> {
    let mut task = "";
    let mut all = Vec::new();
    for line in said.lines() {
        if let Some(rest) = line.strip_prefix("TASK [") {
            task = rest.split(']').next().unwrap_or_default();
        } else if line.starts_with("changed: ") && all.last().is_none_or(|last| last != task) {
            all.push(task.to_owned());
        }
    }
    all
}
