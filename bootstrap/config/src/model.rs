//! What holds: the settings of every step, with their defaults.

use bootstrap_core::{OnFailure, Plan, Retry, Step};
use std::collections::BTreeMap;
use std::time::Duration;

mod agents;
mod host;
mod vault;

pub use agents::{AwxSettings, ConsulSettings, MonitoringSettings, NomadSettings, RegistrySettings};
pub use host::{DirectoryRule, FileRule, HostSettings, PackageRule};
pub use vault::{Revoke, TemplateSettings, VaultAppRole, VaultAws, VaultJwt, VaultSettings};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
const MINUTE: Duration = secs(60);
const HOUR: Duration = secs(3600);

/// What a node is to be. A step whose block is missing is not wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Who this instance is.
    pub identity: IdentitySettings,
    /// Whether the clock is right.
    pub time: TimeSettings,
    /// Where more of the configuration is.
    pub parameters: ParametersSettings,
    /// The token of Vault, and the secrets.
    pub vault: Option<VaultSettings>,
    /// The post-configuration by AWX.
    pub awx: Option<AwxSettings>,
    /// The exporter of this node's metrics.
    pub monitoring: Option<MonitoringSettings>,
    /// The Consul agent.
    pub consul: Option<ConsulSettings>,
    /// The Nomad client.
    pub nomad: Option<NomadSettings>,
    /// How everybody learns that the node is good.
    pub ready: ReadySettings,
    /// What is watched afterwards.
    pub watch: WatchSettings,
    /// What may be done as root for the agent; from files of the image alone.
    pub host: HostSettings,
    /// How steps are repeated, and what their failure means, where that differs from the default.
    pub steps: Vec<StepSettings>,
}

impl Settings {
    /// How a step is repeated and what its failure means.
    pub fn step(&self, step: Step) -> StepSettings {
        let given = self.steps.iter().find(|given| given.step == step.name());
        given.cloned().unwrap_or_else(|| StepSettings::of(step.name()))
    }

    /// Whether a step is to be done.
    pub const fn wants(&self, step: Step) -> bool {
        match step {
            Step::Identity | Step::Time | Step::Configuration | Step::Ready => true,
            Step::Vault => self.vault.is_some(),
            Step::Awx => self.awx.is_some(),
            Step::Monitoring => self.monitoring.is_some(),
            Step::Consul => self.consul.is_some(),
            Step::Nomad => self.nomad.is_some(),
        }
    }

    /// What the boot is told of every step.
    pub fn plans(&self) -> BTreeMap<Step, Plan> {
        let plan = |step: Step| {
            let StepSettings { step: _, attempt, pause, most_pause, deadline, on_failure } = self.step(step);
            let retry = Retry { attempt, first: pause, most: most_pause, deadline };
            Plan { wanted: self.wants(step), retry, on_failure }
        };
        Step::ALL.into_iter().map(|step| (step, plan(step))).collect()
    }
}

/// `step "NAME"`: repetition and failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepSettings {
    /// The step's name.
    pub step: String,
    /// The longest that one attempt may take.
    pub attempt: Duration,
    /// The pause after the first failure; each one after it is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub most_pause: Duration,
    /// From its beginning, the time within which it has to be done.
    pub deadline: Duration,
    /// What it means that it is not.
    pub on_failure: OnFailure,
}

impl StepSettings {
    /// The defaults of a step.
    pub fn of(step: &str) -> Self {
        // Metadata may need four minutes after a launch; a playbook takes as long as it takes.
        let (attempt, deadline) = match Step::named(step) {
            Some(Step::Identity | Step::Time) => (secs(30), 5 * MINUTE),
            Some(Step::Awx) => (HOUR, 2 * HOUR),
            Some(Step::Monitoring | Step::Nomad) => (5 * MINUTE, 15 * MINUTE),
            _ => (2 * MINUTE, 10 * MINUTE),
        };
        let on_failure = match Step::named(step) {
            // A node that nobody watches still serves.
            Some(Step::Monitoring) => OnFailure::Ignore,
            _ => OnFailure::Quarantine,
        };
        Self { step: step.to_owned(), attempt, pause: secs(1), most_pause: MINUTE, deadline, on_failure }
    }
}

/// `identity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The metadata services to ask, in this order, each `http://…` without a path.
    pub endpoints: Vec<String>,
    /// PEM files with AWS's certificates for this region's identity documents.
    pub certificates: Vec<String>,
    /// How long a token of the metadata service is asked for; it is asked for again before that.
    pub token_lifetime: Duration,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://169.254.169.254".to_owned(), "http://[fd00:ec2::254]".to_owned()],
            certificates: Vec::new(),
            token_lifetime: 6 * HOUR,
        }
    }
}

/// `time`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSettings {
    /// How far the clock may be from the metadata service's.
    pub most_skew: Duration,
    /// The unit that sets the clock: restarted where it is wrong.
    pub unit: Option<String>,
}

impl Default for TimeSettings {
    fn default() -> Self {
        // AWS refuses a signature that is five minutes off; a token of Nomad's is checked more closely.
        Self { most_skew: secs(10), unit: None }
    }
}

/// `parameters`: SSM Parameter Store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParametersSettings {
    /// The path whose parameters are fragments of this configuration; `None`: there are none.
    pub path: Option<String>,
    /// Where SSM is, if not where AWS has it.
    pub endpoint: Option<String>,
}

/// A server that is asked over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `https://…`, without a path.
    pub address: String,
    /// A file with the token that it is asked with.
    pub token_file: Option<String>,
    /// A PEM file with who may have signed its certificate; `None`: those that the host trusts.
    pub ca_file: Option<String>,
}

/// Where a secret is that a step is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file, such as one that the Vault step wrote.
    File(String),
    /// In a parameter of SSM.
    Parameter(String),
}

/// `ready`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadySettings {
    /// The tag that the instance gives itself: `KEY=ready`; `None`: none.
    pub tag: Option<String>,
    /// Where EC2 is, if not where AWS has it.
    pub ec2_endpoint: Option<String>,
}

/// `watch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSettings {
    /// How often everything is looked at again.
    pub verify: Duration,
    /// How often the metadata service is asked for notices.
    pub notices: Duration,
    /// How often the CPU is sampled.
    pub samples: Duration,
    /// The autoscaler that is told.
    pub autoscaler: Option<AutoscalerSettings>,
    /// After so many nodes of one image in a row that ended themselves, the next one stays up.
    pub breaker: u32,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { verify: 5 * MINUTE, notices: secs(1), samples: secs(10), autoscaler: None, breaker: 3 }
    }
}

/// `autoscaler`, in `watch`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoscalerSettings {
    /// The fleet of its policy that this node is part of.
    pub fleet: String,
    /// Its addresses, `https://…`; none: found through Consul.
    pub addresses: Vec<String>,
    /// The service in Consul that it is found by.
    pub service: Option<String>,
    /// A PEM file with who may have signed its certificate.
    pub ca_file: Option<String>,
    /// A token that a laboratory's nodes share, instead of proving themselves.
    pub token_file: Option<String>,
}
