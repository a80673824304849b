//! Where Consul is, how it knows us, and what is ours in it.

use std::path::PathBuf;

/// Where Consul is, how it knows us, and what is ours in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The agent of our own node, such as `http://127.0.0.1:8500`.
    pub address: String,
    /// A file with the ACL token's secret; `None`: the anonymous token.
    pub token_file: Option<PathBuf>,
    /// Certificates, for an address with `https`.
    pub tls: Tls,
    /// Where our keys are: `PREFIX/leader` is the lock, `PREFIX/ledger/NAME` a ledger, `PREFIX/at/INSTANCE` says that a
    /// member runs there.
    pub prefix: String,
    /// The name of the service whose check the deciding loop feeds. Not the one that serves our HTTP: this has
    /// neither address nor port.
    pub service: String,
    /// What tells this start of this process from every other, those before it on the same node included. A
    /// second start with the name of the first would keep the first one's session, and with it its lock, alive.
    pub instance: String,
    /// What the lock says of us while we have it, for the standby and for people; at most
    /// [`autoscaler_leader::Lock::MAX_HOLDER`] bytes.
    pub holder: String,
}

impl Options {
    /// An agent at `address`, without a token and with the default names.
    ///
    /// * `instance`: see [`Options::instance`]; also what the lock says of us.
    pub fn new(address: &str, instance: &str) -> Self {
        Self {
            address: address.to_owned(),
            token_file: None,
            tls: Tls::default(),
            prefix: "muster-autoscaler".to_owned(),
            service: "muster-autoscaler-election".to_owned(),
            instance: instance.to_owned(),
            holder: instance.to_owned(),
        }
    }
}

/// Certificates, in PEM files that may be replaced at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who may have signed Consul's certificate; `None`: those that the host trusts.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, with the chain to what Consul trusts. Goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}
