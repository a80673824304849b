//! Where Nomad is, and how it knows us.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where Nomad is, how it knows us, and what of it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Agents to ask, in order of preference: `https://nomad.internal:4646`, or `unix:///secrets/api.sock`, the
    /// socket that Nomad gives its own tasks. At least one.
    pub addresses: Vec<String>,
    /// The region; the agent's own if `None`.
    pub region: Option<String>,
    /// Namespaces whose blocked evaluations are looked at, and whose events are followed where it is one alone; empty
    /// for all that the token may see. What is on nodes is always looked at in all namespaces.
    pub namespaces: Vec<String>,
    /// The node pool that the fleet's nodes are in; all if `None`.
    pub node_pool: Option<String>,
    /// The class that the fleet's nodes have; any if `None`.
    pub node_class: Option<String>,
    /// A file with an ACL token, read at every call so that it can be rotated in place.
    pub token_file: Option<PathBuf>,
    /// How TLS is spoken, with addresses that begin with `https`.
    pub tls: TlsOptions,
    /// For a connection, TLS included; a listener that does not answer by then is not there.
    pub connect_timeout: Duration,
    /// For one call, its answer included; for one that writes no more than [`WRITE_WITHIN`].
    pub timeout: Duration,
}

/// How long an attempt at a write may take. One that is begun as a lease ends is to be over before anybody else can lead, 6 s
/// later: what comes after that might undo what they have told a node.
pub const WRITE_WITHIN: Duration = Duration::from_secs(5);

impl Default for Options {
    fn default() -> Self {
        Self {
            addresses: vec!["http://127.0.0.1:4646".to_owned()],
            region: None,
            namespaces: Vec::new(),
            node_pool: None,
            node_class: None,
            token_file: None,
            tls: TlsOptions::default(),
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(9),
        }
    }
}

/// The files of TLS, as PEM. They are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Who signs Nomad's certificates; the host's trusted roots if `None`.
    pub ca_file: Option<PathBuf>,
    /// Our certificate (mTLS); goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The name that Nomad's certificate must have: `server.global.nomad`. The address's own if `None`.
    pub server_name: Option<String>,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub const fn new(text: String) -> Self {
        Self(text)
    }
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
