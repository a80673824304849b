//! What a loopback cloud is started with.

use fleet::ports::Clock;
use fleet_clock::SystemClock;
use fleet_sim::World;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

/// What a loopback cloud is started with. [`CloudConfig::new`] has the defaults.
pub struct CloudConfig {
    /// Where to listen; port 0: any that is free. 127.0.0.1:0 by default.
    pub listen: SocketAddr,
    /// The world that is served.
    pub world: Arc<Mutex<World>>,
    /// The clock that waits are done on: long polls and injected latency.
    pub clock: Arc<dyn Clock>,
    /// How fast the world's time runs by `clock`, which the server then drives by itself: 1 is real time, and
    /// more than 0. `None`: somebody else advances the world, in step with `clock`, and calls
    /// [`crate::CloudServer::world_moved`] when they have.
    pub speed: Option<f64>,
    /// The host's clock: signatures and credentials are judged by it, however fast the world's time runs.
    pub host: Arc<dyn Clock>,
    /// Who may sign requests. One by default: `muster` with the secret `muster-secret`.
    pub credentials: Vec<Credential>,
    /// The web identity tokens for which `AssumeRoleWithWebIdentity` gives credentials; none by default.
    pub web_identity_tokens: Vec<Secret>,
    /// The queue that gets the world's EventBridge messages; it is there from the start. `muster-events`.
    pub event_queue: String,
    /// The role of the instances, whose credentials IMDS hands out. `muster-node`.
    pub instance_role: String,
    /// The address of the first machine that no fleet holds; others have those that follow. 10.250.0.1.
    pub first_machine: Ipv4Addr,
    /// Decides which requests a fault with a share hits.
    pub seed: u64,
}

impl CloudConfig {
    /// The address of the first machine that no fleet holds, where nothing else is said.
    pub const FIRST_MACHINE: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);

    /// A cloud on any free port of 127.0.0.1, whose world somebody else advances.
    pub fn new(world: Arc<Mutex<World>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            world,
            clock,
            speed: None,
            host: Arc::new(SystemClock::new()),
            credentials: vec![Credential::new("muster", "muster-secret")],
            web_identity_tokens: Vec::new(),
            event_queue: "muster-events".to_owned(),
            instance_role: "muster-node".to_owned(),
            first_machine: Self::FIRST_MACHINE,
            seed: 1,
        }
    }
}

/// An access key that requests may be signed with.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The id of the key, as requests show it. The user of the same name is who signs.
    pub access_key: String,
    /// The secret.
    pub secret: Secret,
}

impl Credential {
    /// An access key and its secret.
    pub fn new(access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret: Secret::new(secret) }
    }
}

/// A text that `Debug` does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
