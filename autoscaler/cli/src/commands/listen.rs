//! Where the daemon listens, and whom it lets speak.

use crate::exit::{Exit, Failure, OrExit};
use autoscaler::http::{Access, Identity, IdentityFiles, Tls, TokenFile};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;

/// The file of token keys in the state directory.
const KEYS: &str = "node-token.key";

/// Where the daemon listens, and whom it lets speak.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// Where agents, operators and Prometheus reach the daemon.
    #[arg(long = "listen", value_name = "ADDRESS", default_value = "127.0.0.1:7575")]
    address: SocketAddr,
    /// Certificate chain in PEM: HTTP is served over TLS then. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Private key of --tls-certificate in PEM; may be the same file.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Serve plain HTTP on an address that other hosts reach: whoever listens in can take the callers' tokens.
    #[arg(long, conflicts_with = "tls_certificate")]
    insecure_http: bool,
    /// AWS's RSA-2048 certificates for instance identity documents, in PEM: a directory of REGION.pem, or one file for
    /// any region. With them each node proves who it is and gets a token for itself alone. EC2's user guide lists
    /// them under "AWS public certificates for instance identity document signatures".
    #[arg(long, value_name = "FILE|DIR", requires = "identity_accounts")]
    identity_certificates: Option<PathBuf>,
    /// Account whose instances may identify. May be given several times.
    #[arg(long = "identity-account", value_name = "ACCOUNT", requires = "identity_certificates")]
    identity_accounts: Vec<String>,
    /// Keys that nodes' tokens are made with, the same for all processes that stand in for each other: one a line,
    /// each of 64 hexadecimal digits, the first makes tokens. Made where it is missing. [default: node-token.key in
    /// the state directory]
    #[arg(long, value_name = "FILE", requires = "identity_certificates")]
    identity_key_file: Option<PathBuf>,
    /// Let nodes identify from other addresses than their instance's private one, through a proxy or address
    /// translation. Whoever can read a node's identity document can speak for it then.
    #[arg(long, requires = "identity_certificates")]
    identity_any_address: bool,
    /// File with tokens that all nodes share, for labs: with one a caller speaks for the instance whose private address
    /// it has.
    #[arg(long, value_name = "FILE")]
    samples_token_file: Option<PathBuf>,
    /// File with the tokens of operators; without it orders are taken from this host alone.
    #[arg(long, value_name = "FILE")]
    operator_token_file: Option<PathBuf>,
}

impl Listen {
    /// Everything that can be wrong about it is said before anything is bound.
    ///
    /// * `state`: the state directory, where keys are kept by default.
    pub fn access(&self, state: &Path) -> Result<Access, Failure> {
        if self.tls_certificate.is_none() && !self.insecure_http && !self.address.ip().is_loopback() {
            return Err(Failure::new(
                Exit::Usage,
                format_args!(
                    "{} is reached by other hosts: serve it over TLS (--tls-certificate, --tls-key), or accept with \
                     --insecure-http that whoever listens in can take tokens",
                    self.address
                ),
            ));
        }
        let identity = match &self.identity_certificates {
            None => None,
            Some(certificates) => {
                let files = IdentityFiles {
                    certificates: certificates.clone(),
                    keys: self.identity_key_file.clone().unwrap_or_else(|| state.join(KEYS)),
                    accounts: self.identity_accounts.iter().cloned().collect(),
                    any_address: self.identity_any_address,
                };
                Some(Identity::open(files).or_exit(Exit::Configuration, "prepare to identify nodes")?)
            }
        };
        Ok(Access {
            identity,
            samples: open(self.samples_token_file.as_ref())?,
            operators: open(self.operator_token_file.as_ref())?,
        })
    }

    /// The certificate and its key, where HTTP is served over TLS.
    pub fn tls(&self) -> Result<Option<Tls>, Failure> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Tls::open(certificate, key).or_exit(Exit::Configuration, "prepare TLS").map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The address as it was given.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens.
    pub async fn bind(&self) -> Result<TcpListener, Failure> {
        TcpListener::bind(self.address)
            .await
            .or_exit(Exit::Unavailable, format_args!("listen on {}", self.address))
    }
}

fn open(path: Option<&PathBuf>) -> Result<Option<TokenFile>, Failure> {
    path.map(TokenFile::open).transpose().or_exit(Exit::Configuration, "start")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Given {
        #[command(flatten)]
        listen: Listen,
    }

    fn given(arguments: &[&str]) -> Result<Listen, clap::Error> {
        Given::try_parse_from([&["run"], arguments].concat()).map(|given| given.listen)
    }

    #[test]
    fn what_other_hosts_reach_is_served_over_tls_or_by_choice() {
        let state = Path::new("/nonexistent");
        let tls = ["--tls-certificate", "/tls.pem", "--tls-key", "/tls.key"];
        for (address, more, taken) in [
            ("127.0.0.1:0", &[][..], true),
            ("[::1]:0", &[], true),
            ("0.0.0.0:0", &[], false),
            ("10.0.0.1:0", &[], false),
            ("0.0.0.0:0", &["--insecure-http"], true),
            ("0.0.0.0:0", &tls, true),
        ] {
            let listen = given(&[&["--listen", address], more].concat()).expect("good arguments");
            assert_eq!(listen.access(state).is_ok(), taken, "{address} {more:?}");
        }
    }

    #[test]
    fn what_belongs_together_is_given_together() {
        for wrong in [
            &["--tls-certificate", "x"][..],
            &["--tls-key", "x"],
            &["--insecure-http", "--tls-certificate", "x", "--tls-key", "x"],
            &["--identity-certificates", "x"],
            &["--identity-account", "123456789012"],
            &["--identity-any-address"],
        ] {
            assert!(given(wrong).is_err(), "{wrong:?}");
        }
        let whole = given(&[
            "--identity-certificates",
            "/none",
            "--identity-account",
            "1",
            "--identity-account",
            "2",
        ]);
        let directory = tempfile::tempdir().expect("a directory");
        let refused = whole.expect("good arguments").access(directory.path()).expect_err("no certificates");
        assert!(format!("{refused:?}").contains("/none"), "{refused:?}");
    }
}
