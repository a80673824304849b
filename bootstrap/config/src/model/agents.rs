//! What the node's own agents are: AWX's job, the exporter, Consul, Nomad.

use super::{HOUR, KeySource, Server, secs};
use std::collections::BTreeMap;
use std::time::Duration;

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
