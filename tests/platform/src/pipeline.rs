//! An image's way by the pipeline's own commands: proved, baked, published, promoted.

use crate::timeline::Timeline;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tests::account;
use tests::ground::Cloud;
use tests::image::{PATH, Packer, TREE, package, programs};
use tests::mirror::Mirror;

/// Between two looks whether the platform is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Somewhere that the pipeline runs, with what it needs in its environment.
pub struct Pipeline {
    timeline: Timeline,
    place: TempDir,
    program: PathBuf,
    packer: Packer,
    environment: Vec<(String, String)>,
    _mirror: Mirror,
}

impl Pipeline {
    /// * `program`: `muster-image`, with `muster-autoscaler` beside it. * `site`: a file with what the site says of its images.
    /// * `operators`: the file of the token that the autoscaler takes orders by, where there is one. * `timeline`: it says when all
    ///   is to end.
    pub fn new(
        cloud: &Cloud,
        program: PathBuf,
        site: &Path,
        operators: Option<&Path>,
        timeline: &Timeline,
    ) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let known = tests::awx::local_programs();
        let mirror = mirror(cloud, &known);
        let site = variables(site, &mirror, &known, place.path());
        let packer = Packer::new();
        let ansible = tests::tools::ansible().unwrap_or_else(|missing| panic!("{missing}"));
        let path = |path: &Path| path.display().to_string();
        let bin = packer.program.parent().expect("it is in a directory").to_owned();
        let ours = program.parent().expect("it is in a directory");
        let mut environment: Vec<(String, String)> = packer
            .environment()
            .into_iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("NO_PROXY"))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let more = [
            ("NO_PROXY", "*".to_owned()),
            ("HOME", std::env::home_dir().map(|home| path(&home)).unwrap_or_default()),
            ("PATH", format!("{}:{}:{}:{PATH}", path(ours), path(&bin), path(&ansible))),
            ("PKR_VAR_endpoint", cloud.endpoint()),
            ("MUSTER_IMAGE_PROGRAMS", path(&programs())),
            ("PACKAGE", path(package())),
            ("SITE", path(&site)),
        ];
        let operators = operators.map(|operators| ("MUSTER_OPERATOR_TOKEN_FILE", path(operators)));
        let more = account::environment(cloud.endpoint()).into_iter().chain(more).chain(operators);
        environment.extend(more.map(|(name, value)| (name.to_owned(), value)));
        let timeline = timeline.clone();
        Self { timeline, place, program, packer, environment, _mirror: mirror }
    }

    /// Runs `muster-image` with these words, in which `$NAME` is of its environment.
    fn image(&self, words: &str) -> String {
        // Packer's plugin is beneath a directory of its own, which has to be there still.
        assert!(self.packer.place.path().is_dir());
        let words = words.split(' ').map(|word| match word.strip_prefix('$') {
            Some(name) => {
                let known = self.environment.iter().find(|(known, _)| known == name);
                known.unwrap_or_else(|| panic!("nobody says what {word} is")).1.clone()
            }
            None => word.replace('@', &self.place.path().display().to_string()),
        });
        let mut command = Command::new(&self.program);
        command.args(words).current_dir(TREE).env_clear();
        self.succeed(command.envs(self.environment.iter().map(|(name, value)| (name, value))))
    }

    /// Runs a command to its end, and tells it to end when the platform is told to. * returns: what it printed.
    fn succeed(&self, command: &mut Command) -> String {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = Pid::from_child(&child);
        let runs = AtomicBool::new(true);
        let output = thread::scope(|scope| {
            scope.spawn(|| {
                while runs.load(Ordering::Relaxed) {
                    if self.timeline.ends() {
                        // One that has ended by itself does not mind.
                        let _ = kill_process(pid, Signal::TERM);
                        return;
                    }
                    thread::sleep(LOOK);
                }
            });
            let output = child.wait_with_output();
            runs.store(false, Ordering::Relaxed);
            output
        });
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{command:?}: {}: {}", output.status, text(&output.stderr));
        text(&output.stdout)
    }

    /// Boots the root file system and proves it.
    pub fn verify(&self, root: &Path) {
        self.image(&format!("verify {} --report @/report.json", root.display()));
    }

    /// Has Packer make an AMI of a base on a machine. * returns: its id.
    pub fn bake_base(&self) -> String {
        self.bake("--build base --extra-vars $SITE")
    }

    /// The same of a node, on the newest base.
    pub fn bake_node(&self) -> String {
        self.bake("--build node --package $PACKAGE --extra-vars $SITE")
    }

    fn bake(&self, words: &str) -> String {
        self.image(&format!("bake {words} --manifest @/image.json"));
        self.made()["ami"].as_str().expect("an image").to_owned()
    }

    /// What Packer made last.
    fn made(&self) -> Value {
        let text = fs::read_to_string(self.place.path().join("image.json")).expect("a manifest");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Boots what Packer made last, and proves it: its root file system, on a machine of its own.
    pub fn verify_baked(&self, root: &Path) {
        let mut manifest = self.made();
        manifest["image"] = manifest["build"].clone();
        manifest["size_bytes"] = 0.into();
        fs::write(self.place.path().join("baked.json"), manifest.to_string()).expect("a file");
        self.image(&format!("verify {} --manifest @/baked.json --report @/report.json", root.display()));
    }

    /// Has the channel canary be at it.
    pub fn publish(&self) {
        self.image("publish --manifest @/image.json --report @/report.json --channel canary");
    }

    /// A script of the pipeline: its name, and its words. * `leader`: the autoscaler that leads.
    fn script(&self, words: &str, leader: SocketAddr) -> String {
        let words = words.replace('@', &self.place.path().display().to_string());
        let mut words = words.split(' ');
        let mut command =
            Command::new(Path::new(TREE).join("image/jenkins").join(words.next().expect("a name")));
        command.args(words).current_dir(TREE).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.succeed(command.env("MUSTER_ADDRESS", format!("http://{leader}")).env("BUILD_TAG", "platform"))
    }
    /// Has the fleet brought to the image that was published.
    pub fn roll_out(&self, leader: SocketAddr) {
        self.script("roll-out web @/image.json", leader);
    }
    /// Watches until that has ended well, and the fleet was well for a while.
    pub fn watch(&self, leader: SocketAddr) {
        self.script("watch web 5s", leader);
    }

    /// The channel stable comes to this image.
    pub fn promote(&self, leader: SocketAddr) {
        self.script("promote @/image.json 0s", leader);
    }
}

/// Where the machine that is baked has Nomad and Consul from: it has no way out of its network.
fn mirror(cloud: &Cloud, known: &Value) -> Mirror {
    let version = |name: &str| known[format!("{name}_version")].as_str().expect("a version").to_owned();
    let (nomad, consul) = (version("nomad"), version("consul"));
    let place = programs();
    Mirror::of(&[(&place.join("nomad"), &nomad), (&place.join("consul"), &consul)], cloud.address())
}

/// What the site says of its images, and where the mirror is. * returns: a file in the directory.
fn variables(site: &Path, mirror: &Mirror, versions: &Value, place: &Path) -> PathBuf {
    let text = fs::read_to_string(site).expect("the image's variables");
    let mut known: Value = serde_json::from_str(&text).expect("JSON");
    known["image_release_url"] = mirror.url().into();
    for name in ["nomad", "consul"] {
        let version = versions[format!("{name}_version")].as_str().expect("a version");
        known[format!("{name}_version")] = version.into();
        known[format!("{name}_sha256")] = json!({ "amd64": mirror.sha256(name, version) });
    }
    let file = place.join("site.json");
    fs::write(&file, known.to_string()).expect("a file");
    file
}
