//! An image's way by the pipeline's own commands: proved, baked, published, promoted.

use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tests::ground::Cloud;
use tests::image::{PATH, Packer, TREE, package, programs};
use tests::machine::succeed;

/// Somewhere that the pipeline runs, with what it needs in its environment.
pub struct Pipeline {
    place: TempDir,
    program: PathBuf,
    packer: Packer,
    environment: Vec<(String, String)>,
}

impl Pipeline {
    /// * `program`: `muster-image`, with `muster-autoscaler` beside it. * `site`: a file with what the site says of its images.
    /// * `operators`: the file of the token that the autoscaler takes orders by.
    pub fn new(cloud: &Cloud, program: PathBuf, site: &Path, operators: &Path) -> Self {
        cloud.put_tagged_image("muster-base", &[("muster:image", "base"), ("muster:architecture", "amd64")]);
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
        let here = cloud.endpoint();
        let more = [
            ("AWS_ENDPOINT_URL", here.clone()),
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "muster".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "muster-secret".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("NO_PROXY", "*".to_owned()),
            ("HOME", std::env::home_dir().map(|home| path(&home)).unwrap_or_default()),
            ("PATH", format!("{}:{}:{}:{PATH}", path(ours), path(&bin), path(&ansible))),
            ("PKR_VAR_endpoint", here),
            ("MUSTER_IMAGE_PROGRAMS", path(&programs())),
            ("PACKAGE", path(package())),
            ("SITE", path(site)),
            ("MUSTER_OPERATOR_TOKEN_FILE", path(operators)),
        ];
        environment.extend(more.map(|(name, value)| (name.to_owned(), value)));
        Self { place: tempfile::tempdir().expect("a directory"), program, packer, environment }
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
        succeed(command.envs(self.environment.iter().map(|(name, value)| (name, value))))
    }

    /// Boots the root file system and proves it.
    pub fn verify(&self, root: &Path) {
        self.image(&format!("verify {} --report @/report.json", root.display()));
    }

    /// Has Packer make an AMI, and the channel canary be at it. * returns: its id.
    pub fn publish(&self) -> String {
        self.image("bake --build rehearsal --package $PACKAGE --extra-vars $SITE --manifest @/image.json");
        self.image("publish --manifest @/image.json --report @/report.json --channel canary");
        let text = fs::read_to_string(self.place.path().join("image.json")).expect("a manifest");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        manifest["ami"].as_str().expect("an image").to_owned()
    }

    /// A script of the pipeline: its name, and its words. * `leader`: the autoscaler that leads.
    fn script(&self, words: &str, leader: SocketAddr) -> String {
        let words = words.replace('@', &self.place.path().display().to_string());
        let mut words = words.split(' ');
        let mut command =
            Command::new(Path::new(TREE).join("image/jenkins").join(words.next().expect("a name")));
        command.args(words).current_dir(TREE).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        succeed(command.env("MUSTER_ADDRESS", format!("http://{leader}")).env("BUILD_TAG", "platform"))
    }
    /// Has the fleet brought to the image that was published.
    pub fn roll_out(&self, leader: SocketAddr) {
        self.script("roll-out web @/image.json", leader);
    }
    /// Watches until that has ended well, and the fleet was well for a while.
    pub fn watch(&self, leader: SocketAddr) {
        self.script("watch web 5s", leader);
    }

    /// The channel stable comes to what canary is at.
    pub fn promote(&self) {
        self.image("promote --from canary --to stable --after 0s");
    }
}
