//! The HTTP client, made again when a certificate's file has changed.

use crate::Tls;
use crate::refusal::{SERVICE, chain};
use fleet::{ApiError, ErrorClass};
use reqwest::{Certificate, Client, Identity, redirect};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// An agent on our own node that does not even accept by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A client and the certificates it was made of.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    tls: Tls,
    /// Whether the address is `https`.
    secure: bool,
    made: Arc<Mutex<Option<Made>>>,
}

#[derive(Clone, Debug)]
struct Made {
    client: Client,
    of: Vec<Option<SystemTime>>,
}

impl Clients {
    pub(crate) fn new(tls: Tls, secure: bool) -> Self {
        // An error says that there is a provider already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { tls, secure, made: Arc::default() }
    }

    /// The client of the certificates as they are now. While they cannot be read (half written, say), the one
    /// before goes on.
    pub(crate) async fn get(&self) -> Result<Client, ApiError> {
        let mut made = self.made.lock().await;
        let of = self.changed_at().await;
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

    async fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let Tls { ca_file, cert_file, key_file } = &self.tls;
        let mut times = Vec::new();
        for path in [ca_file, cert_file, key_file].into_iter().flatten() {
            let metadata = tokio::fs::metadata(path).await;
            times.push(metadata.and_then(|metadata| metadata.modified()).ok());
        }
        times
    }

    async fn make(&self) -> Result<Client, ApiError> {
        let Tls { ca_file, cert_file, key_file } = &self.tls;
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("muster-autoscaler/", env!("CARGO_PKG_VERSION")));
        if !self.secure {
            // Nobody's certificate is looked at: the host's roots need not be there, nor can our files be wrong.
            return builder.tls_certs_only([]).build().map_err(|error| denied(&chain(&error)));
        }
        if let Some(path) = ca_file {
            let pem = read(path).await?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| wrong(path, &chain(&error)))?;
            builder = builder.tls_certs_only(certificates);
        }
        if let (Some(cert), Some(key)) = (cert_file, key_file) {
            let mut pem = read(cert).await?;
            pem.push(b'\n');
            pem.extend(read(key).await?);
            let identity = Identity::from_pem(&pem).map_err(|error| wrong(cert, &chain(&error)))?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| denied(&chain(&error)))
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, ApiError> {
    tokio::fs::read(path).await.map_err(|error: io::Error| wrong(path, &error.to_string()))
}

fn wrong(path: &std::path::Path, why: &str) -> ApiError {
    denied(&format!("{}: {why}", path.display()))
}

fn denied(why: &str) -> ApiError {
    ApiError::new(ErrorClass::Denied, SERVICE, "connect", None, why)
}
