//! The loopback cloud as programs of images see it: in their environment.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::tools;
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer, ImageSpec};
use fleet_sim::{World, WorldSpec};
use serde_json::Value;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// How fast a fast one's time runs.
const SPEED: f64 = 30.0;

/// What a program has in its environment to find the cloud at an endpoint.
pub fn environment(endpoint: String) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "eu-west-1".to_owned()),
        // What the AWS CLI takes.
        ("AWS_DEFAULT_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "muster".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "muster-secret".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
}

/// An account with nothing in it, served until it is dropped.
pub struct Account {
    /// The cloud.
    pub server: CloudServer,
    _runtime: Runtime,
}

impl Account {
    /// Opens one, whose time is the host's.
    #[expect(clippy::new_without_default, reason = "it listens")]
    pub fn new() -> Self {
        Self::at(1.0)
    }

    /// One in which an image takes a second, where EC2 takes half a minute. Its time soon is another than the host's.
    pub fn fast() -> Self {
        Self::at(SPEED)
    }

    fn at(speed: f64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let clock = Arc::new(SystemClock::new());
        let spec = WorldSpec { throttling: false, ..WorldSpec::default() };
        let world = Arc::new(Mutex::new(World::new(spec, 7, clock.wall())));
        let config = CloudConfig { speed: Some(speed), ..CloudConfig::new(world, clock) };
        let server = runtime.block_on(CloudServer::start(config)).expect("it starts");
        Self { server, _runtime: runtime }
    }

    /// An image that is there without having been made. * returns: its id.
    pub fn image(&self, name: &str, age_days: u32, tags: &[(&str, &str)]) -> String {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let spec =
            ImageSpec { name: name.to_owned(), age_seconds: age_days * 86_400, tags, ..ImageSpec::default() };
        self.server.put_image(&spec).0
    }

    /// What a program has in its environment to find it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(self.server.endpoint())
    }

    /// What the AWS CLI says.
    pub fn ask(&self, words: &[&str]) -> Value {
        let bin = tools::aws_clients().unwrap_or_else(|missing| panic!("{missing}"));
        let mut command = Command::new(bin.join("aws"));
        command.args(["--endpoint-url", &self.server.endpoint(), "--output", "json"]).args(words);
        let output = command.envs(self.environment()).env("NO_PROXY", "127.0.0.1").output().expect("it runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// What a channel's parameter says; nothing where there is none.
    pub fn channel(&self, name: &str) -> Option<String> {
        let said = self.ask(&["ssm", "get-parameters", "--names", &format!("/muster/images/{name}")]);
        said["Parameters"][0]["Value"].as_str().map(str::to_owned)
    }
}
