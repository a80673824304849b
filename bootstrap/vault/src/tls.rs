//! The HTTP client, made again when a certificate's file has changed.

use crate::client::chain;
use crate::trust::{self, Trusted};
use crate::{Server, VaultError};
use reqwest::{Client, redirect};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Certificates with their chains have a few KiB.
const MOST_BYTES: u64 = 1024 * 1024;

/// A client and the certificates that it was made of.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    server: Server,
    made: Arc<Mutex<Option<Made>>>,
}

#[derive(Clone, Debug)]
struct Made {
    client: Client,
    /// `None`: it is made anew, if that can be.
    of: Option<Of>,
}

/// Authorities, and when our own certificate and its key were written.
type Of = (Trusted, Vec<Option<SystemTime>>);

impl Clients {
    pub(crate) fn new(server: &Server) -> Self {
        // An error says that there is a provider already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { server: server.clone(), made: Arc::default() }
    }

    /// The client of the certificates as they are now. While they cannot be read (half written, say), the one
    /// before goes on.
    pub(crate) async fn get(&self) -> Result<Client, VaultError> {
        let mut made = self.made.lock().await;
        let of = Some(self.changed_at().await);
        if let Some(made) = made.as_ref().filter(|made| made.of == of) {
            return Ok(made.client.clone());
        }
        match (self.make().await, made.as_ref()) {
            (Ok(client), _) => {
                *made = Some(Made { client: client.clone(), of });
                Ok(client)
            }
            (Err(_), Some(before)) => Ok(before.client.clone()),
            (Err(error), None) => Err(error),
        }
    }

    /// Somebody was not trusted: the next client knows whoever is trusted then, however little it shows that a file has changed.
    pub(crate) async fn forget(&self) {
        trust::forget();
        if let Some(made) = self.made.lock().await.as_mut() {
            made.of = None;
        }
    }

    async fn changed_at(&self) -> Of {
        let Server { ca_file, cert_file, key_file, .. } = &self.server;
        let mut times = Vec::new();
        for path in [cert_file, key_file].into_iter().flatten() {
            let metadata = tokio::fs::metadata(path).await;
            times.push(metadata.and_then(|metadata| metadata.modified()).ok());
        }
        (Trusted::now(ca_file.as_deref()), times)
    }

    async fn make(&self) -> Result<Client, VaultError> {
        let Server { address, ca_file, cert_file, key_file, connect_timeout, .. } = &self.server;
        let authorities = match ca_file {
            Some(path) => trust::in_pem(&read(path).await?).map_err(|why| VaultError::unusable(path, why))?,
            None => trust::host(),
        };
        let tls = trust::by(&authorities);
        let tls = if let (Some(cert), Some(key)) = (cert_file, key_file) {
            let unusable = |error: &dyn std::error::Error| VaultError::unusable(cert, chain(error));
            let chain_of_ours: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(&read(cert).await?).collect();
            let key = PrivateKeyDer::from_pem_slice(&read(key).await?);
            let ours = (chain_of_ours.map_err(|e| unusable(&e))?, key.map_err(|e| unusable(&e))?);
            tls.with_client_auth_cert(ours.0, ours.1).map_err(|error| unusable(&error))?
        } else {
            tls.with_no_client_auth()
        };
        let builder = Client::builder()
            .connect_timeout(*connect_timeout)
            // A secret is read every few minutes: nobody keeps a connection open for that.
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("muster-bootstrap/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(trust::verified(tls));
        builder.build().map_err(|error| VaultError::Address { address: address.clone(), why: chain(&error) })
    }
}

/// A file of ours, whole.
pub(crate) async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    bounded(path, MOST_BYTES).await
}

/// A file of ours that has at most so many bytes.
pub(crate) async fn bounded(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let failed = |error: std::io::Error| VaultError::unreadable(path, &error);
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(VaultError::unusable(path, format!("it is no file of at most {limit} bytes")));
    }
    Ok(Zeroizing::new(tokio::fs::read(path).await.map_err(failed)?))
}
