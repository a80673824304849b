//! How a daemon is set up, and why one may not start.

use autoscaler_journal::{JournalError, Limits};
use fleet::Region;
use fleet::ports::{Answer, Clock, Cloud, MayWrite, Metrics};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How a daemon is set up.
#[derive(Clone)]
pub struct DaemonConfig {
    /// Policy files, and directories whose `*.hcl` files are policy files.
    pub policies: Vec<PathBuf>,
    /// Where the journal is kept; belongs to one process at a time. `None`: nothing survives the process.
    pub state: Option<PathBuf>,
    /// How large the journal may grow.
    pub journal: Limits,
    /// The loop: its distances, dry run, the region of policies that name none.
    pub engine: autoscaler_engine::Config,
    /// The distance of looks at the policy files; zero: only when told to.
    pub watch_every: Duration,
    /// How many requests (samples, questions, orders) may wait for the engine; more are told that it is busy.
    pub queue: usize,
    /// How long a read may take, retries included.
    pub read_deadline: Duration,
    /// How long a write may take. What takes longer counts as unclear.
    pub write_deadline: Duration,
    /// How long a graceful stop may take.
    pub stop_deadline: Duration,
    /// The Nomad whose clients the fleets' instances are; `None`: there is none.
    pub nomad: Option<autoscaler_nomad::Nomad>,
    /// The Consul that says which of several autoscalers leads; `None`: this is the only one.
    pub consul: Option<autoscaler_consul::Consul>,
    /// The queues that notices come by.
    pub queues: Vec<crate::QueueSource>,
    /// How they are read.
    pub reader: crate::notices::ReaderConfig,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            policies: Vec::new(),
            state: None,
            journal: Limits::default(),
            engine: autoscaler_engine::Config::default(),
            // Soon enough for whoever has just saved a file, and nothing to the disk: files are small.
            watch_every: Duration::from_secs(5),
            // Every agent of 200 fleets of 20 at the same moment.
            queue: 4096,
            // 14 days of metrics of 500 series are many pages.
            read_deadline: Duration::from_secs(90),
            write_deadline: Duration::from_secs(30),
            stop_deadline: Duration::from_secs(10),
            nomad: None,
            consul: None,
            queues: Vec::new(),
            reader: crate::notices::ReaderConfig::default(),
        }
    }
}

/// What a region is reached through.
#[derive(Clone)]
pub struct RegionPorts {
    /// Its fleets and instances.
    pub cloud: Arc<dyn Cloud>,
    /// Its metrics service.
    pub metrics: Arc<dyn Metrics>,
}

/// Makes the ports of a region, once a region is first needed.
pub trait Connect: Send + Sync {
    /// The ports of `region`.
    ///
    /// * `clock`: what the ports must wait on (back-off, budgets), but for transport timeouts.
    /// * An error is answered to the call that needed the region; the next call tries again.
    fn connect<'a>(&'a self, region: &'a Region, clock: Arc<dyn Clock>) -> Answer<'a, RegionPorts>;

    /// Told once, before anything is connected: what ports must ask before each attempt at a write, where several
    /// processes may lead.
    fn guard(&self, _may_write: MayWrite) {}

    /// The region of policies that name none, where nobody has said which: asked when such a policy is loaded, at
    /// the start or later. `None` where nobody knows.
    fn default_region(&self) -> Answer<'_, Option<Region>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The same ports for every region: a simulated world, or one account's loopback.
#[derive(Clone)]
pub struct Everywhere(
    /// Them.
    pub RegionPorts,
);

impl Everywhere {
    /// One value that is both ports.
    pub fn of<P: Cloud + Metrics + 'static>(ports: P) -> Self {
        let ports = Arc::new(ports);
        Self(RegionPorts { cloud: Arc::<P>::clone(&ports), metrics: ports })
    }
}

impl Connect for Everywhere {
    fn connect<'a>(&'a self, _region: &'a Region, _clock: Arc<dyn Clock>) -> Answer<'a, RegionPorts> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// Why a daemon did not start: fits after "failed to ".
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policies are wrong.
    #[error("load policies:\n{problems}")]
    Policies {
        /// Everything that is wrong, rendered for people.
        problems: String,
    },
    /// The state directory cannot be had.
    #[error(transparent)]
    State(#[from] JournalError),
    /// The file of messages that could not be read cannot be had.
    #[error("open the dead letters")]
    DeadLetters(#[source] std::io::Error),
    /// The thread of the journal cannot be had.
    #[error("start the journal's thread")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// The exit code of sysexits that says what to do about it.
    pub fn exit_code(&self) -> u8 {
        match self {
            // EX_CONFIG: repeating does not help.
            Self::Policies { .. } => 78,
            // EX_TEMPFAIL: the other process may end, the disk may have room again.
            Self::State(JournalError::Locked { .. } | JournalError::Full { .. })
            | Self::Thread(_)
            | Self::DeadLetters(_) => 75,
            // EX_NOPERM.
            Self::State(JournalError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                77
            }
            // EX_CONFIG: it is no directory, or lies below what is none.
            Self::State(JournalError::Io { source, .. })
                if matches!(source.kind(), ErrorKind::NotADirectory | ErrorKind::AlreadyExists) =>
            {
                78
            }
            // EX_UNAVAILABLE.
            Self::State(_) => 69,
        }
    }
}
