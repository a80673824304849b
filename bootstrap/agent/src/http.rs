//! One way to ask a server: verified TLS, no proxy, no redirects, and bounds on time and size.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bootstrap_config::Server;
use bootstrap_core::{Failure, Secret};
use bootstrap_vault::Wiped;
use bootstrap_vault::trust::{self, Trusted};
use bytes::Bytes;
use fleet::ErrorClass;
use fleet::chain;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Body, Client, Method, Request, Url, redirect};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// Who does not even accept by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// No answer that a step reads is larger.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// A token is a line.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// Why there is no answer. What the server says in an answer is the caller's to read.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody took the request: nothing was done.
    #[error("{service} at {address} cannot be reached: {why}")]
    Unreachable {
        /// Consul, AWX, …
        service: &'static str,
        /// Where.
        address: String,
        /// The transport's words.
        why: String,
    },
    /// Its certificate does not convince us: nothing was asked.
    #[error("{service} at {address} is not trusted: {why}")]
    Untrusted {
        /// Consul, AWX, …
        service: &'static str,
        /// Where.
        address: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// The request may have been taken.
    #[error("{service} at {address} took the request and gave no whole answer: {why}")]
    Cut {
        /// Consul, AWX, …
        service: &'static str,
        /// Where.
        address: String,
        /// The transport's words.
        why: String,
    },
    /// What is needed to ask is not there, or makes no sense.
    #[error("{service} cannot be asked: {why}")]
    Unusable {
        /// Consul, AWX, …
        service: &'static str,
        /// What.
        why: String,
    },
}

impl HttpError {
    /// What to make of it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::Untrusted { .. } => ErrorClass::Transient,
            Self::Cut { .. } => ErrorClass::Unclear,
            Self::Unusable { .. } => ErrorClass::Denied,
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        // A token that is missing may be on its way: somebody renders it.
        Self::new(error.class(), error)
    }
}

/// An answer. What was sent that nobody may see does not show in anything that is said of it: a server, or a proxy in between,
/// may show its request.
#[derive(Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Location`, without what was sent.
    pub location: Option<String>,
    /// `Retry-After` in seconds; its other form, a date, is not one of the services'.
    pub retry_after: Option<Duration>,
    /// `WWW-Authenticate`, without what was sent.
    pub challenge: Option<String>,
    /// `Date`, as it stands.
    pub date: Option<String>,
    /// The body as it stands, [`MAX_BODY_BYTES`] at most. It may hold secrets: those that were asked for, or sent.
    pub body: Zeroizing<Vec<u8>>,
    sent: Vec<Secret>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}

impl Reply {
    /// Whether the status is 2xx.
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self, service: &str) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // It may show a piece of the answer.
            let why = strike(&self.sent, &error.to_string());
            Failure::new(
                ErrorClass::Malformed,
                format_args!("{service} answered what is no such JSON: {why}"),
            )
        })
    }
    /// The body as text, without what was sent.
    pub fn text(&self) -> String {
        strike(&self.sent, &String::from_utf8_lossy(&self.body))
    }
    /// What of the body was sent in the body of the request, and is not to be seen, is struck out as well.
    #[must_use]
    pub fn hiding(mut self, secret: &Secret) -> Self {
        self.sent.extend(forms(secret.expose()));
        self
    }
    /// The body for people: its first line, cut.
    pub fn words(&self) -> String {
        let text = self.text();
        let line = text.trim().lines().next().unwrap_or_default().chars();
        // It may reach a terminal.
        let line: String = line.map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect();
        if line.is_empty() { "nothing more".to_owned() } else { line }
    }
    /// What an answer means that is none that was asked for.
    pub fn failure(&self, service: &str, what: &str) -> Failure {
        let class = match self.status {
            401 | 403 => ErrorClass::Denied,
            404 => ErrorClass::NotFound,
            409 => ErrorClass::Conflict,
            429 => ErrorClass::Throttled { retry_after: self.retry_after },
            503 if self.retry_after.is_some() => ErrorClass::Throttled { retry_after: self.retry_after },
            500.. => ErrorClass::Unclear,
            _ => ErrorClass::Malformed,
        };
        Failure::new(class, format_args!("{service} would not {what}: {} {}", self.status, self.words()))
    }
}

/// A server, ready to be asked.
#[derive(Clone, Debug)]
pub struct Http {
    service: &'static str,
    server: Server,
    token: Option<(HeaderName, &'static str)>,
    /// The client, and whom it trusts; `None`: it is made anew for the next request.
    made: Arc<Mutex<Option<(Trusted, Client)>>>,
}

impl Http {
    /// A server of the configuration.
    ///
    /// * `service`: for messages: "AWX".
    /// * `token`: the header that its token goes into, and what stands before it (`Bearer `).
    ///
    /// Reads the CA's file, and again when it has changed, as the host's roots; the token's is read for every request, because
    /// whoever renews it writes it anew.
    pub fn new(
        service: &'static str,
        server: &Server,
        token: Option<(&'static str, &'static str)>,
    ) -> Result<Self, HttpError> {
        let token = token.map(|(header, before)| (HeaderName::from_static(header), before));
        let http = Self { service, server: server.clone(), token, made: Arc::default() };
        http.client()?;
        Ok(http)
    }

    /// A client of those who are trusted now. While whom to trust cannot be read (half written, say), the one before goes on.
    fn client(&self) -> Result<Client, HttpError> {
        let ca_file = self.server.ca_file.as_deref();
        let of = Trusted::now(ca_file.map(Path::new));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let before = made.as_ref().map(|(trusted, client)| (*trusted == of, client.clone()));
        match before {
            Some((true, before)) => Ok(before),
            before => match (client(self.service, ca_file), before) {
                (Ok(client), _) => {
                    *made = Some((of, client.clone()));
                    Ok(client)
                }
                (Err(_), Some((_, before))) => Ok(before),
                (Err(error), None) => Err(error),
            },
        }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.server.address
    }

    /// `GET`.
    pub async fn get(&self, path: &str, within: Duration) -> Result<Reply, HttpError> {
        self.ask(Method::GET, path, None, within).await
    }

    /// Any request, with a body of JSON where there is one.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
        within: Duration,
    ) -> Result<Reply, HttpError> {
        self.request(method, path, body.map(|body| body.to_string().into()), within).await
    }

    /// `POST` of JSON that holds a secret: it is overwritten when it is let go.
    pub async fn post_secret(
        &self,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        secret: &Secret,
        within: Duration,
    ) -> Result<Reply, HttpError> {
        let body = Bytes::from_owner(body).into();
        Ok(self.request(Method::POST, path, Some(body), within).await?.hiding(secret))
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Body>,
        within: Duration,
    ) -> Result<Reply, HttpError> {
        let unusable = |why: String| HttpError::Unusable { service: self.service, why };
        let url = Url::parse(&format!("{}{path}", self.server.address));
        let url = url.map_err(|error| unusable(format!("its address {:?}: {error}", self.server.address)))?;
        let mut request = Request::new(method, url);
        *request.timeout_mut() = Some(within);
        if let (Some((header, before)), Some(file)) = (&self.token, self.server.token_file.as_deref()) {
            let token = secret_of(Path::new(file)).map_err(unusable)?;
            let line = Zeroizing::new(format!("{before}{}", token.expose()));
            let value = HeaderValue::from_str(&line);
            let mut value =
                value.map_err(|_| unusable(format!("the token in {file} is not one line of text")))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header.clone(), value);
        }
        if let Some(body) = body {
            *request.body_mut() = Some(body);
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(reqwest::header::CONTENT_TYPE, json);
        }
        let reply = send(&self.client()?, self.service, &self.server.address, request).await;
        if matches!(reply, Err(HttpError::Untrusted { .. })) {
            // It may be another one within a tick of the disk's clock.
            *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        reply
    }
}

/// `authorization` with `Bearer `, as AWX and Nomad's newer clients take it.
pub const BEARER: (&str, &str) = ("authorization", "Bearer ");

/// A client: TLS by rustls and ring, the host's roots or the ones of a file.
pub fn client(service: &'static str, ca_file: Option<&str>) -> Result<Client, HttpError> {
    // An error says that there is a provider already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let unusable = |why: String| HttpError::Unusable { service, why };
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(1)
        .user_agent(concat!("muster-bootstrap/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| unusable(format!("its CA in {path}: {error}")))?;
        let trusted = trust::of_file(&pem).map_err(|why| unusable(format!("its CA in {path}: {why}")))?;
        builder = builder.tls_backend_preconfigured(trusted);
    } else {
        builder = builder.tls_backend_preconfigured(trust::of_host());
    }
    builder.build().map_err(|error| unusable(chain(&error)))
}

/// Sends a request, and reads its answer as far as it may be large.
pub async fn send(
    client: &Client,
    service: &'static str,
    address: &str,
    request: Request,
) -> Result<Reply, HttpError> {
    let cut = |why: String| HttpError::Cut { service, address: address.to_owned(), why };
    let sent = secrets_of(request.headers());
    let mut response = client.execute(request).await.map_err(|error| {
        let (nobody, distrust) = (error.is_connect(), distrust(&error));
        let (why, at) = (chain(&error.without_url()), address.to_owned());
        match distrust {
            Some(why) => {
                trust::forget();
                HttpError::Untrusted { service, address: at, why }
            }
            None if nobody => HttpError::Unreachable { service, address: at, why },
            None => cut(why),
        }
    })?;
    let header = |headers: &HeaderMap, name| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(|text| strike(&sent, text))
    };
    let mut reply = Reply {
        status: response.status().as_u16(),
        location: header(response.headers(), LOCATION),
        retry_after: header(response.headers(), RETRY_AFTER)
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs),
        challenge: header(response.headers(), WWW_AUTHENTICATE),
        date: header(response.headers(), DATE),
        body: Zeroizing::default(),
        sent: Vec::new(),
    };
    let mut body = Wiped::new(MAX_BODY_BYTES);
    while let Some(piece) = response.chunk().await.map_err(|error| cut(chain(&error.without_url())))? {
        if !body.append(&piece) {
            return Err(cut(format!("it is larger than {MAX_BODY_BYTES} bytes")));
        }
    }
    (reply.body, reply.sent) = (body.into_inner(), sent);
    Ok(reply)
}

/// What of a request's head nobody may see: each value that is marked so, and what stands in it.
fn secrets_of(headers: &HeaderMap) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for value in headers.values().filter(|value| value.is_sensitive()) {
        let Ok(text) = value.to_str() else { continue };
        // `Bearer TOKEN`, `Basic BASE64`: whoever shows it may show either part.
        let token = text.rsplit(' ').next().unwrap_or(text);
        secrets.extend(forms(token));
        let plain = text.starts_with("Basic ").then(|| STANDARD.decode(token)).and_then(Result::ok);
        let plain = plain.map(Zeroizing::new);
        let plain = plain.as_deref().and_then(|plain| std::str::from_utf8(plain).ok());
        if let Some((_, password)) = plain.and_then(|plain| plain.split_once(':')) {
            secrets.extend(forms(password));
        }
    }
    secrets
}

/// A secret as it stands, and as JSON writes it.
fn forms(secret: &str) -> Vec<Secret> {
    let json = serde_json::to_string(secret).map(Zeroizing::new).unwrap_or_default();
    let json = json.get(1..json.len().saturating_sub(1)).filter(|json| *json != secret);
    std::iter::once(secret).chain(json).map(Secret::new).collect()
}

fn strike(secrets: &[Secret], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| secret.strike_from(&text))
}

/// What is wrong with a server's certificate, in words; `None` where that is not why a request failed.
fn distrust(error: &reqwest::Error) -> Option<String> {
    use rustls::{CertificateError as Why, Error as Tls};
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let tls = causes.filter_map(|cause| {
        // TLS's errors travel within the system's, which show them as their own.
        let mut cause = cause;
        while let Some(within) = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            cause = within;
        }
        cause.downcast_ref::<Tls>()
    });
    tls.into_iter().find_map(|error| match error {
        Tls::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. }) => {
            Some(format!("its certificate has expired: {error}"))
        }
        // An authority that was made anew has its name, and not its key.
        Tls::InvalidCertificate(Why::UnknownIssuer | Why::BadSignature) => {
            Some("its certificate was signed by an authority that is not known here: see ca_file".to_owned())
        }
        // It is said by whom we have it verified.
        Tls::InvalidCertificate(Why::Other(why)) => Some(why.to_string()),
        Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented | Tls::AlertReceived(_) => {
            Some(error.to_string())
        }
        _ => None,
    })
}

/// A secret that a file holds, without the line's end. * fails: in words that name the file.
pub fn secret_of(path: &Path) -> Result<Secret, String> {
    use std::io::Read as _;
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    // Room for all of it: a text that has to move leaves its contents behind.
    let room = usize::try_from(MAX_TOKEN_BYTES).unwrap_or(0) + 64;
    let mut text = Zeroizing::new(String::with_capacity(room));
    let read = file.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| format!("{shown}: {error}"))?;
    let line = Secret::new(text.trim());
    if line.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_TOKEN_BYTES {
        return Err(format!("{shown} is larger than {MAX_TOKEN_BYTES} bytes"));
    }
    Ok(line)
}
