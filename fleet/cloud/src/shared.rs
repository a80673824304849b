//! What all requests share: the world, its time, and what the services keep beside it.

use crate::autoscaling::ScalableTargets;
use crate::config::{CloudConfig, Secret};
use crate::ec2::{Access, Images, Machines, Templates};
use crate::faults::Faults;
use crate::identity::{DocumentSigner, SignerError};
use crate::imds::Tokens;
use crate::keys::{Keys, Principal};
use crate::oidc::OidcProvider;
use crate::sqs::Queues;
use crate::ssm::Parameters;
use crate::wire::AwsError;
use fleet::ports::Clock;
use fleet::{ApiError, Timestamp};
use fleet_sim::World;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What all requests share.
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    /// How the world's time runs.
    pub pace: Pace,
    /// The host's clock.
    pub host: Arc<dyn Clock>,
    pub keys: Mutex<Keys>,
    pub faults: Faults,
    pub parameters: Mutex<Parameters>,
    pub queues: Mutex<Queues>,
    pub templates: Mutex<Templates>,
    pub images: Mutex<Images>,
    pub machines: Mutex<Machines>,
    pub access: Mutex<Access>,
    pub targets: Mutex<ScalableTargets>,
    pub tokens: Mutex<Tokens>,
    /// Told when the world has moved or a message has come: long polls look again.
    pub moved: Notify,
    pub web_identity_tokens: Vec<Secret>,
    pub providers: Mutex<Vec<OidcProvider>>,
    pub instance_role: String,
    pub first_machine: Ipv4Addr,
    signer: OnceLock<Result<DocumentSigner, SignerError>>,
    requests: AtomicU64,
}

impl Shared {
    pub fn new(config: &CloudConfig) -> Self {
        let world_now = locked(&config.world).now();
        Self {
            world: Arc::clone(&config.world),
            pace: Pace {
                began: config.clock.monotonic(),
                world_began: world_now,
                clock: Arc::clone(&config.clock),
                speed: config.speed,
            },
            host: Arc::clone(&config.host),
            keys: Mutex::new(Keys::new(&config.credentials, config.seed)),
            faults: Faults::new(config.seed),
            parameters: Mutex::default(),
            queues: Mutex::new(Queues::new(&config.event_queue)),
            templates: Mutex::default(),
            images: Mutex::default(),
            machines: Mutex::default(),
            access: Mutex::default(),
            targets: Mutex::default(),
            tokens: Mutex::new(Tokens::new(config.seed)),
            moved: Notify::new(),
            web_identity_tokens: config.web_identity_tokens.clone(),
            providers: Mutex::default(),
            instance_role: config.instance_role.clone(),
            first_machine: config.first_machine,
            signer: OnceLock::new(),
            requests: AtomicU64::new(0),
        }
    }
    /// The world, at its time of now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = locked(&self.world);
        self.pace.catch_up(&mut world);
        world
    }
    /// Who signs instance identity documents: a key of this server alone, made when it is first needed, because that
    /// takes a good part of a second.
    pub fn signer(&self) -> Result<&DocumentSigner, &SignerError> {
        self.signer.get_or_init(DocumentSigner::generate).as_ref()
    }
    /// A request id in AWS's form.
    pub fn request_id(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

/// A lock, also after a panic elsewhere: what is kept here is changed in single steps.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the world's time runs.
pub(crate) struct Pace {
    clock: Arc<dyn Clock>,
    speed: Option<f64>,
    began: Duration,
    world_began: Timestamp,
}

impl Pace {
    /// Whether the server itself lets the world's time run.
    pub const fn drives(&self) -> bool {
        self.speed.is_some()
    }
    /// Lets the world's time pass up to now, where the server drives it.
    pub fn catch_up(&self, world: &mut World) {
        if let Some(speed) = self.speed {
            let elapsed = self.clock.monotonic().saturating_sub(self.began);
            let elapsed = Duration::try_from_secs_f64(elapsed.as_secs_f64() * speed).unwrap_or(Duration::MAX);
            world.advance(self.world_began + elapsed);
        }
    }
    /// Waits on the server's clock.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep_until(self.clock.monotonic().saturating_add(duration)).await;
    }
    /// Waits for a while of the world's time.
    pub async fn sleep_world(&self, duration: Duration) {
        let speed = self.speed.unwrap_or(1.0);
        let scaled = Duration::try_from_secs_f64(duration.as_secs_f64() / speed);
        // At least a millisecond: whoever waits for the world looks at it again when they wake.
        self.sleep(scaled.unwrap_or(Duration::MAX).max(Duration::from_millis(1))).await;
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// Refused by the service's face here.
    Refused(AwsError),
    /// Refused by the world, or carried out with its answer lost.
    World(ApiError),
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self::Refused(error)
    }
}
impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::World(error)
    }
}

/// A call on its way: who makes it, and of whom.
pub(crate) struct Context<'a> {
    pub shared: &'a Shared,
    /// The name that calls are counted under.
    pub caller: &'a str,
    /// Who signed.
    pub principal: &'a Principal,
    /// The authority that the caller spoke to.
    pub host: &'a str,
}

impl Context<'_> {
    /// The world, at its time of now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }
}
