//! TLS for whoever calls.

use super::watched::{Unusable, Watched};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What is spoken: what the routes are served in.
const ALPN: &[u8] = b"http/1.1";

/// A certificate chain and its key, in PEM files that may be replaced at any time: connections that are opened then
/// are served with the new ones, those that are open go on. One file may hold both.
///
/// TLS 1.2 and 1.3; clients are not asked for certificates.
#[derive(Debug)]
pub struct Tls {
    config: Watched<ServerConfig>,
}

impl Tls {
    /// * `certificate`: the chain, the server's own certificate first.
    /// * `key`: its private key: PKCS #8, PKCS #1 or SEC 1.
    /// * Fails where they cannot be read, or do not fit together.
    pub fn open(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Unusable> {
        let (certificate, key) = (certificate.into(), key.into());
        let paths = vec![certificate.clone(), key.clone()];
        let config = Watched::open("TLS certificate", paths, move || load(&certificate, &key))?;
        Ok(Self { config })
    }

    /// Accepts with what the files hold now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.current())
    }
}

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig, Unusable> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| Unusable::new(certificate, error))?;
    if chain.is_empty() {
        return Err(Unusable::new(certificate, "it holds no certificate in PEM"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| Unusable::new(key, error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Unusable::new(certificate, error))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| Unusable::new(certificate, error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
