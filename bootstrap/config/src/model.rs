//! What holds: the settings of every step, with their defaults.

use bootstrap_core::{OnFailure, Plan, Retry, Step};
use std::collections::BTreeMap;
use std::time::Duration;

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

/// When the token is revoked, and with it whatever was leased by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revoke {
    /// When the instance shuts down: an agent that is restarted takes nothing from those that use its secrets.
    #[default]
    Shutdown,
    /// Whenever the agent ends.
    Stop,
    /// Never: it lapses by itself.
    Never,
}

impl Revoke {
    /// Its name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Stop => "stop",
            Self::Never => "never",
        }
    }
}

/// `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// Vault or OpenBao; its token is had by a login.
    pub server: Server,
    /// The namespace.
    pub namespace: Option<String>,
    /// A client's certificate.
    pub cert_file: Option<String>,
    /// Its key.
    pub key_file: Option<String>,
    /// Where the token is left for others of the agent's user.
    pub token_file: Option<String>,
    /// How often secrets without a lease are read again.
    pub refresh: Duration,
    /// When the token is revoked.
    pub revoke: Revoke,
    /// Login by AWS IAM.
    pub aws: Option<VaultAws>,
    /// Login by AppRole.
    pub approle: Option<VaultAppRole>,
    /// Login by JWT.
    pub jwt: Option<VaultJwt>,
    /// Files that are made of secrets.
    pub templates: Vec<TemplateSettings>,
}

impl Default for VaultSettings {
    fn default() -> Self {
        Self {
            server: Server::default(),
            namespace: None,
            cert_file: None,
            key_file: None,
            token_file: None,
            refresh: 5 * MINUTE,
            revoke: Revoke::default(),
            aws: None,
            approle: None,
            jwt: None,
            templates: Vec::new(),
        }
    }
}

/// `aws`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAws {
    /// Where the method is mounted.
    pub mount: String,
    /// The role in Vault.
    pub role: String,
    /// What Vault has as `iam_server_id_header_value`.
    pub server_id: Option<String>,
    /// The region that is signed for: that of the STS which Vault asks; `None`: the global one.
    pub region: Option<String>,
    /// The address that is signed for, where it is not that region's.
    pub sts_endpoint: Option<String>,
}

impl Default for VaultAws {
    fn default() -> Self {
        Self {
            mount: "aws".to_owned(),
            role: String::new(),
            server_id: None,
            region: None,
            sts_endpoint: None,
        }
    }
}

/// `approle`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAppRole {
    /// Where the method is mounted.
    pub mount: String,
    /// The file with the role's id.
    pub role_id_file: String,
    /// The file with the secret id, or with a token that it is wrapped in.
    pub secret_id_file: String,
    /// What has to have made the wrapping token; `None`: it is no wrapping token.
    pub creation_path: Option<String>,
    /// Where an unwrapped secret id is kept for another login.
    pub keep_file: Option<String>,
}

impl Default for VaultAppRole {
    fn default() -> Self {
        Self {
            mount: "approle".to_owned(),
            role_id_file: String::new(),
            secret_id_file: String::new(),
            creation_path: None,
            keep_file: None,
        }
    }
}

/// `jwt`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultJwt {
    /// Where the method is mounted.
    pub mount: String,
    /// The role in Vault.
    pub role: String,
    /// The file with the token.
    pub file: String,
}

impl Default for VaultJwt {
    fn default() -> Self {
        Self { mount: "jwt".to_owned(), role: String::new(), file: String::new() }
    }
}

/// `template "NAME"`, in `vault`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSettings {
    /// Its name, for messages.
    pub name: String,
    /// The template's file.
    pub source: String,
    /// Where it is rendered to, for the agent's own user.
    pub path: Option<String>,
    /// The `host` block's `file` that it is rendered to, for anybody else.
    pub file: Option<String>,
    /// The mode of `path`, in octal digits.
    pub mode: String,
    /// The units that are reloaded when it has changed.
    pub reload: Vec<String>,
    /// Whether it may be on a disk.
    pub on_disk: bool,
    /// Whether it is removed when the token is revoked.
    pub remove_at_stop: bool,
}

impl TemplateSettings {
    /// A file of the agent's own, in memory.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: String::new(),
            path: None,
            file: None,
            mode: "0600".to_owned(),
            reload: Vec::new(),
            on_disk: false,
            remove_at_stop: false,
        }
    }
    /// Its mode as a number; `None` where that is none.
    pub fn bits(&self) -> Option<u32> {
        u32::from_str_radix(&self.mode, 8).ok().filter(|mode| *mode <= 0o777)
    }
}

/// `awx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwxSettings {
    /// AWX; its token is for watching the job, and may be missing.
    pub server: Server,
    /// The number of the job template.
    pub template: u32,
    /// The file with the template's host config key.
    pub key_file: Option<String>,
    /// The parameter with it.
    pub key_parameter: Option<String>,
    /// What the job is given as `extra_vars`, beside `instance_id`.
    pub extra_vars: BTreeMap<String, String>,
    /// The callbacks of a fleet that boots together are spread over this time.
    pub jitter: Duration,
    /// How often the same job is asked for again; zero: never.
    pub drift: Duration,
    /// How many drift runs in a row may fail before that has the step's consequence.
    pub drift_failures: u32,
}

impl AwxSettings {
    /// Where the key is.
    pub fn key(&self) -> Option<KeySource> {
        let file = self.key_file.clone().map(KeySource::File);
        file.or_else(|| self.key_parameter.clone().map(KeySource::Parameter))
    }
}

impl Default for AwxSettings {
    fn default() -> Self {
        Self {
            server: Server::default(),
            template: 0,
            key_file: None,
            key_parameter: None,
            extra_vars: BTreeMap::new(),
            jitter: secs(20),
            drift: 6 * HOUR,
            drift_failures: 3,
        }
    }
}

/// `monitoring`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoringSettings {
    /// Where the exporter answers: `http://…/metrics`; `None`: at the instance's private address, port 9100.
    pub address: Option<String>,
    /// The unit that runs it.
    pub unit: String,
    /// The `host` block's `file` that holds its arguments.
    pub arguments_file: String,
    /// The variable of that file.
    pub arguments_variable: String,
    /// What it is started with.
    pub arguments: Vec<String>,
    /// The `host` block's `package` that is installed where the unit is missing.
    pub package: Option<String>,
    /// Series that it must have.
    pub series: Vec<String>,
    /// The series whose label `nodename` must be this node's.
    pub own_series: Option<String>,
}

impl Default for MonitoringSettings {
    fn default() -> Self {
        Self {
            address: None,
            unit: "prometheus-node-exporter.service".to_owned(),
            arguments_file: "node_exporter".to_owned(),
            arguments_variable: "ARGS".to_owned(),
            arguments: Vec::new(),
            package: None,
            series: vec!["node_cpu_seconds_total".to_owned()],
            own_series: Some("node_uname_info".to_owned()),
        }
    }
}

/// `consul`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulSettings {
    /// The agent of this node.
    pub server: Server,
    /// The unit that runs it.
    pub unit: String,
    /// The `host` block's `file` that holds its configuration.
    pub file: String,
    /// The `host` block's `directory` that holds its state: emptied where it is another instance's.
    pub directory: String,
    /// The datacenter.
    pub datacenter: String,
    /// Whom it joins: `retry_join`.
    pub join: Vec<String>,
    /// More of its configuration, as JSON.
    pub extra: Option<String>,
    /// The service that stands for this node.
    pub service: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// How long its check stands without being fed.
    pub ttl: Duration,
}

impl Default for ConsulSettings {
    fn default() -> Self {
        Self {
            server: Server { address: "http://127.0.0.1:8500".to_owned(), ..Server::default() },
            unit: "consul.service".to_owned(),
            file: "consul".to_owned(),
            directory: "consul".to_owned(),
            datacenter: "dc1".to_owned(),
            join: Vec::new(),
            extra: None,
            service: "muster-node".to_owned(),
            tags: Vec::new(),
            ttl: secs(30),
        }
    }
}

/// `nomad`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NomadSettings {
    /// The client of this node.
    pub server: Server,
    /// The unit that runs it.
    pub unit: String,
    /// The `host` block's `file` that holds its configuration.
    pub file: String,
    /// The `host` block's `directory` that holds its state: emptied where it is another instance's.
    pub directory: String,
    /// The datacenter.
    pub datacenter: String,
    /// The servers; none: found through Consul.
    pub servers: Vec<String>,
    /// The pool that it works in.
    pub node_pool: String,
    /// The pool that it is in until it is proved: no job may name it.
    pub proving_pool: String,
    /// Its class.
    pub node_class: Option<String>,
    /// The drivers that must be healthy.
    pub drivers: Vec<String>,
    /// Its metadata, beside image, pool and life cycle.
    pub meta: BTreeMap<String, String>,
    /// More of its configuration, as JSON.
    pub extra: Option<String>,
    /// The private registry whose images it runs.
    pub registry: Option<RegistrySettings>,
}

impl Default for NomadSettings {
    fn default() -> Self {
        Self {
            server: Server { address: "http://127.0.0.1:4646".to_owned(), ..Server::default() },
            unit: "nomad.service".to_owned(),
            file: "nomad".to_owned(),
            directory: "nomad".to_owned(),
            datacenter: "dc1".to_owned(),
            servers: Vec::new(),
            node_pool: "default".to_owned(),
            proving_pool: "muster-proving".to_owned(),
            node_class: None,
            drivers: vec!["docker".to_owned()],
            meta: BTreeMap::new(),
            extra: None,
            registry: None,
        }
    }
}

/// `registry`, in `nomad`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// The image whose manifest is fetched as a proof: `registry.example.com/app:1`.
    pub image: String,
    /// Docker's `config.json` with the credentials, as the driver reads it.
    pub auth_file: String,
    /// A PEM file with who may have signed its certificate.
    pub ca_file: Option<String>,
    /// Asks by HTTP without TLS; for a laboratory.
    pub insecure: bool,
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

/// `host`: what may be done as root on the agent's behalf, and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// The units that may be started, stopped, restarted, reloaded.
    pub units: Vec<String>,
    /// Whether the instance may be powered off: what `terminate` needs.
    pub power_off: bool,
    /// The files that may be written.
    pub files: Vec<FileRule>,
    /// The packages that may be installed.
    pub packages: Vec<PackageRule>,
    /// The directories that may be emptied.
    pub directories: Vec<DirectoryRule>,
}

/// `file "NAME"`, in `host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    /// What the agent calls it.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its owner: a user's name or number.
    pub owner: String,
    /// Its group: a name or number.
    pub group: String,
    /// Its mode, in octal digits.
    pub mode: String,
}

impl FileRule {
    /// A file of root's own.
    pub fn named(name: &str) -> Self {
        let root = || "root".to_owned();
        Self {
            name: name.to_owned(),
            path: String::new(),
            owner: root(),
            group: root(),
            mode: "0600".to_owned(),
        }
    }
    /// Its mode as a number; `None` where that is none.
    pub fn bits(&self) -> Option<u32> {
        u32::from_str_radix(&self.mode, 8).ok().filter(|mode| *mode <= 0o7777)
    }
}

/// `package "NAME"`, in `host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageRule {
    /// What the agent calls it.
    pub name: String,
    /// The file in the image: a Debian package.
    pub path: String,
    /// Its version.
    pub version: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// `directory "NAME"`, in `host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryRule {
    /// What the agent calls it.
    pub name: String,
    /// Where it is.
    pub path: String,
}
