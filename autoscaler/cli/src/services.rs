//! The services beside AWS: Nomad, whose clients the fleets' instances are, and Consul, which says who leads.
//!
//! The options and variables are those of Nomad's and Consul's own programs, but that a token comes from a file: on a
//! command line or in the environment it would be there for everybody on the host to read.

use crate::exit::{Exit, Failure};
use autoscaler_consul::Consul;
use autoscaler_nomad::Nomad;
use fleet::{ApiError, ErrorClass};
use std::path::PathBuf;

/// Where Nomad is.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Nomad")]
pub struct NomadArgs {
    /// Address of a Nomad agent, or unix:///PATH of a task's own API socket. May be given several times: the first
    /// that answers is asked. Without one, no node is seen or drained.
    #[arg(
        id = "nomad_addresses",
        long = "nomad-address",
        value_name = "URL",
        env = "NOMAD_ADDR",
        value_delimiter = ','
    )]
    addresses: Vec<String>,
    /// File with the ACL token; read at every call, so that it can be replaced at any time.
    #[arg(
        id = "nomad_token_file",
        long = "nomad-token-file",
        value_name = "FILE",
        requires = "nomad_addresses"
    )]
    token_file: Option<PathBuf>,
    /// Nomad's region; the agent's own otherwise.
    #[arg(id = "nomad_region", long = "nomad-region", value_name = "REGION", env = "NOMAD_REGION")]
    region: Option<String>,
    /// Namespace whose blocked evaluations count as demand; may be given several times. All otherwise. What runs on
    /// nodes is looked at in every namespace: the token needs read-job in all of them.
    #[arg(id = "nomad_namespaces", long = "nomad-namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// The node pool that the fleets' nodes are in; all of them otherwise.
    #[arg(id = "nomad_node_pool", long = "nomad-node-pool", value_name = "POOL")]
    node_pool: Option<String>,
    /// Certificates of those who sign Nomad's; those that the host trusts otherwise.
    #[arg(id = "nomad_ca_file", long = "nomad-ca-cert", value_name = "FILE", env = "NOMAD_CACERT")]
    ca_file: Option<PathBuf>,
    /// Our certificate (mTLS); read again when it changes.
    #[arg(
        id = "nomad_cert_file",
        long = "nomad-client-cert",
        value_name = "FILE",
        env = "NOMAD_CLIENT_CERT",
        requires = "nomad_key_file"
    )]
    cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(id = "nomad_key_file", long = "nomad-client-key", value_name = "FILE", env = "NOMAD_CLIENT_KEY")]
    key_file: Option<PathBuf>,
    /// The name that Nomad's certificate must have; the address's own otherwise.
    #[arg(
        id = "nomad_server_name",
        long = "nomad-tls-server-name",
        value_name = "NAME",
        env = "NOMAD_TLS_SERVER_NAME"
    )]
    server_name: Option<String>,
}

impl NomadArgs {
    /// The client; `None` where no address is given. Connects to nothing yet.
    pub fn connect(&self) -> Result<Option<Nomad>, Failure> {
        if self.addresses.is_empty() {
            return Ok(None);
        }
        let options = autoscaler_nomad::Options {
            addresses: self.addresses.clone(),
            region: self.region.clone(),
            namespaces: self.namespaces.clone(),
            node_pool: self.node_pool.clone(),
            token_file: self.token_file.clone(),
            tls: autoscaler_nomad::TlsOptions {
                ca_file: self.ca_file.clone(),
                cert_file: self.cert_file.clone(),
                key_file: self.key_file.clone(),
                server_name: self.server_name.clone(),
            },
            ..autoscaler_nomad::Options::default()
        };
        Nomad::new(options).map(Some).map_err(|error| refused("Nomad", &ApiError::from(&error)))
    }
}

/// Where Consul is.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Consul")]
pub struct ConsulArgs {
    /// Address of the Consul agent of this node. With it, several autoscalers may run: one leads, the others stand
    /// by. Without, this is the only one.
    #[arg(id = "consul_address", long = "consul-address", value_name = "URL")]
    address: Option<String>,
    /// File with the ACL token; read at every call, so that it can be replaced at any time.
    #[arg(
        id = "consul_token_file",
        long = "consul-token-file",
        value_name = "FILE",
        requires = "consul_address"
    )]
    token_file: Option<PathBuf>,
    /// Where the lock and the ledgers are among Consul's keys. Autoscalers of the same fleets share one.
    #[arg(
        id = "consul_prefix",
        long = "consul-prefix",
        value_name = "PREFIX",
        default_value = "muster-autoscaler"
    )]
    prefix: String,
    /// Certificates of those who sign Consul's; those that the host trusts otherwise.
    #[arg(id = "consul_ca_file", long = "consul-ca-cert", value_name = "FILE", env = "CONSUL_CACERT")]
    ca_file: Option<PathBuf>,
    /// Our certificate (mTLS); read again when it changes.
    #[arg(
        id = "consul_cert_file",
        long = "consul-client-cert",
        value_name = "FILE",
        env = "CONSUL_CLIENT_CERT",
        requires = "consul_key_file"
    )]
    cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(
        id = "consul_key_file",
        long = "consul-client-key",
        value_name = "FILE",
        env = "CONSUL_CLIENT_KEY"
    )]
    key_file: Option<PathBuf>,
}

impl ConsulArgs {
    /// The client; `None` where no address is given. Connects to nothing yet.
    ///
    /// * `holder`: what the lock says of us while we have it: where our HTTP is.
    /// * `start`: what tells this start of the process from every other.
    pub fn connect(&self, holder: &str, start: &str) -> Result<Option<Consul>, Failure> {
        let Some(address) = &self.address else { return Ok(None) };
        let options = autoscaler_consul::Options {
            token_file: self.token_file.clone(),
            prefix: self.prefix.clone(),
            tls: autoscaler_consul::Tls {
                ca_file: self.ca_file.clone(),
                cert_file: self.cert_file.clone(),
                key_file: self.key_file.clone(),
            },
            holder: holder.to_owned(),
            ..autoscaler_consul::Options::new(address, start)
        };
        Consul::new(options).map(Some).map_err(|error| refused("Consul", &error))
    }
}

fn refused(whose: &str, error: &ApiError) -> Failure {
    let exit = if error.class() == ErrorClass::Denied { Exit::Denied } else { Exit::Configuration };
    Failure::new(exit, format!("failed to use the options for {whose}: {error}"))
}
