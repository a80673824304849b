//! The HTTP clients of one agent: built from files, and built anew when the files change.

use crate::error::NomadError;
use crate::options::{Options, TlsOptions};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Url, redirect};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The event stream says something every 30 s at the latest; what is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// No file of certificates is larger.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// One agent.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The address as it is asked: with the name in the certificate for a host, where that is given.
    pub base: Url,
    options: Options,
    socket: Option<PathBuf>,
    /// Whose address is looked up, where it is not the host in `base`.
    host: Option<String>,
    built: Mutex<Option<Built>>,
}

/// The clients, and the files that they were built from.
#[derive(Clone, Debug)]
struct Built {
    seen: Seen,
    clients: Clients,
}

/// What is seen of files without reading them; moves when they are replaced or written.
type Seen = Vec<Option<(SystemTime, u64, u64)>>;

/// Clients for calls, which end, and for the event stream, which does not.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub calls: Client,
    pub stream: Client,
}

impl Connection {
    pub fn new(address: &str, options: &Options) -> Result<Self, NomadError> {
        // What stands before an @ may be a password.
        let shown = address.rsplit('@').next().unwrap_or_default().to_owned();
        let wrong = |why: &str| NomadError::Address { address: shown.clone(), why: why.to_owned() };
        let (mut base, socket) = match address.strip_prefix("unix://") {
            Some(path) => (Url::parse("http://localhost"), Some(PathBuf::from(path))),
            None => (Url::parse(address), None),
        };
        let url = base.as_mut().map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it must begin with http://, https:// or unix://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("user and password have no place in it: use a token file"));
        }
        let mut host = None;
        if let (Some(name), "https") = (&options.tls.server_name, url.scheme()) {
            host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
            url.set_host(Some(name)).map_err(|error| wrong(&error.to_string()))?;
        }
        let base = url.clone();
        let connection = Self { base, options: options.clone(), socket, host, built: Mutex::new(None) };
        connection.clients()?;
        Ok(connection)
    }

    /// The clients, built anew where a file has changed. Files that cannot be used, as happens in the middle of a
    /// rotation, leave those that are there in use.
    pub fn clients(&self) -> Result<Clients, NomadError> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen(&self.options.tls);
        match &*built {
            Some(known) if known.seen == seen => return Ok(known.clients.clone()),
            _ => {}
        }
        match (self.build(), &mut *built) {
            (Ok(clients), built) => {
                *built = Some(Built { seen, clients: clients.clone() });
                Ok(clients)
            }
            (Err(error), Some(known)) => {
                tracing::warn!(error = %error, "kept the TLS files in use that were read before");
                // Tried again when they change again.
                known.seen = seen;
                Ok(known.clients.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn build(&self) -> Result<Clients, NomadError> {
        // An error says that one is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let calls = self.builder()?.timeout(self.options.timeout);
        let stream = self.builder()?.read_timeout(SILENCE);
        let build = |builder: ClientBuilder| {
            builder.build().map_err(|error| {
                let tls = &self.options.tls;
                let path = tls.cert_file.clone().or_else(|| tls.ca_file.clone()).unwrap_or_default();
                NomadError::Tls { path, why: crate::error::chain(&error) }
            })
        };
        Ok(Clients { calls: build(calls)?, stream: build(stream)? })
    }

    fn builder(&self) -> Result<ClientBuilder, NomadError> {
        let mut builder = Client::builder()
            .connect_timeout(self.options.connect_timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("muster-autoscaler/", env!("CARGO_PKG_VERSION")));
        if let Some(socket) = &self.socket {
            builder = builder.unix_socket(socket.clone());
        }
        if let Some(host) = &self.host {
            builder = builder.dns_resolver(Arc::new(Elsewhere(host.clone())));
        }
        if self.base.scheme() == "http" {
            // Nobody's certificate is looked at: the host's roots need not be read, nor can our files be wrong.
            return Ok(builder.tls_certs_only([]));
        }
        let TlsOptions { ca_file, cert_file, key_file, server_name: _ } = &self.options.tls;
        if let Some(path) = ca_file {
            let pem = read(path)?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| bad(path, &error))?;
            if certificates.is_empty() {
                return Err(NomadError::Tls { path: path.clone(), why: "it has no certificate".to_owned() });
            }
            builder = builder.tls_certs_only(certificates);
        }
        match (cert_file, key_file) {
            (Some(cert), Some(key)) => {
                let mut pem = read(cert)?;
                pem.push(b'\n');
                pem.extend(read(key)?);
                builder = builder.identity(Identity::from_pem(&pem).map_err(|error| bad(cert, &error))?);
            }
            (None, None) => {}
            (Some(path), None) | (None, Some(path)) => {
                let why = "a certificate and its key go together, and one is missing".to_owned();
                return Err(NomadError::Tls { path: path.clone(), why });
            }
        }
        Ok(builder)
    }
}

fn bad(path: &Path, error: &reqwest::Error) -> NomadError {
    NomadError::Tls { path: path.to_owned(), why: crate::error::chain(error) }
}

fn read(path: &Path) -> Result<Vec<u8>, NomadError> {
    let bad = |why: String| NomadError::Tls { path: path.to_owned(), why };
    let size = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(bad(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read(path).map_err(|error| bad(error.to_string()))
}

fn seen(tls: &TlsOptions) -> Seen {
    use std::os::unix::fs::MetadataExt as _;
    let look = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    [&tls.ca_file, &tls.cert_file, &tls.key_file].into_iter().flatten().map(look).collect()
}

/// Looks up one host whatever name is asked for: that of the certificate.
struct Elsewhere(String);

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let found: Vec<_> = found.collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
