//! One call of Vault's HTTP API: bounded, its refusals told apart.

use crate::answer::{self, Envelope};
use crate::tls::Clients;
use crate::wiped::Wiped;
use crate::{Server, VaultError};
use bootstrap_core::Secret;
use bytes::Bytes;
pub(crate) use fleet::chain;
use reqwest::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use rustls::CertificateError;
use std::error::Error;
use std::time::Duration;
use zeroize::Zeroizing;

/// The most of an answer that is read: Vault's own limit of a request is 32 MiB, that of a KV secret in integrated
/// storage 1 MiB.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Speaks to one Vault or OpenBao. Its clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    clients: Clients,
    base: Url,
    namespace: Option<HeaderValue>,
    timeout: Duration,
}

/// What is asked.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Beneath `/v1`.
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(String, String)],
    pub(crate) token: Option<&'a Secret>,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
    /// What is in the body and must not be in an error.
    pub(crate) secrets: Vec<&'a Secret>,
}

impl<'a> Call<'a> {
    pub(crate) const fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, query: &[], token: None, body: None, secrets: Vec::new() }
    }
    pub(crate) fn post(path: &'a str, body: &impl serde::Serialize) -> Self {
        let mut bytes = Wiped::new(MOST_BYTES);
        // What is sent is made of texts: that never fails, and what were too large is refused by Vault as no JSON.
        let _ = serde_json::to_writer(&mut bytes, body);
        Self { method: Method::POST, body: Some(bytes.into_inner()), ..Self::get(path) }
    }
    pub(crate) const fn with(mut self, token: &'a Secret) -> Self {
        self.token = Some(token);
        self
    }
    pub(crate) fn hiding(mut self, secrets: Vec<&'a Secret>) -> Self {
        self.secrets = secrets;
        self
    }
    /// What errors call it.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
    fn strike(&self, text: &str) -> String {
        self.token.iter().chain(&self.secrets).fold(text.to_owned(), |text, secret| secret.strike_from(&text))
    }
}

impl Client {
    /// Checks the address. Certificates are read with the first call, and again when their files have changed.
    pub fn new(server: &Server) -> Result<Self, VaultError> {
        let namespace = match &server.namespace {
            None => None,
            Some(namespace) => Some(HeaderValue::from_str(namespace).map_err(|_| VaultError::Address {
                address: namespace.clone(),
                why: "the namespace has characters that no header can carry".to_owned(),
            })?),
        };
        let base = base(&server.address)?;
        Ok(Self { clients: Clients::new(server), base, namespace, timeout: server.timeout })
    }

    /// Asks, and reads a success. A 403 is told apart by looking the token up.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Envelope, VaultError> {
        match self.ask(&call).await {
            Err(VaultError::Denied { call: name, words }) => match call.token {
                None => Err(VaultError::Denied { call: name, words }),
                Some(token) => {
                    self.look_up(token).await.map_err(|error| match error {
                        VaultError::TokenInvalid { .. } => VaultError::TokenInvalid { call: name.clone() },
                        other => other,
                    })?;
                    Err(VaultError::Denied { call: name, words })
                }
            },
            other => other,
        }
    }

    /// Whether a token is one of Vault's. Its policies have to allow `auth/token/lookup-self`; `default` does.
    pub(crate) async fn look_up(&self, token: &Secret) -> Result<(), VaultError> {
        let call = Call::get("auth/token/lookup-self").with(token);
        match self.ask(&call).await {
            Ok(_) => Ok(()),
            Err(VaultError::Denied { call, .. }) => Err(VaultError::TokenInvalid { call }),
            Err(other) => Err(other),
        }
    }

    /// Asks within the time that is allowed, redirection included.
    async fn ask(&self, call: &Call<'_>) -> Result<Envelope, VaultError> {
        let asked = tokio::time::timeout(self.timeout, self.exchange(call)).await;
        asked.unwrap_or_else(|_| Err(VaultError::TimedOut { call: call.name(), after: self.timeout }))
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Envelope, VaultError> {
        let mut url = self.base.clone();
        let path = call.path.split('/').filter(|part| !part.is_empty());
        url.path_segments_mut()
            .map_err(|()| VaultError::Address { address: self.address(), why: "it has no host".to_owned() })?
            .push("v1")
            .extend(path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut response = self.send(call, url).await?;
        // A standby that does not forward names the active server; as Vault's own client, once, and never from HTTPS
        // to HTTP. The token goes along: whoever can redirect us has been trusted with it already.
        if matches!(response.status().as_u16(), 301 | 302 | 307 | 308) {
            let next = Self::redirection(call, &response)?;
            response = self.send(call, next).await?;
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(call, response).await?;
        if status.is_success() {
            return answer::envelope(body.as_slice())
                .map_err(|why| VaultError::Garbage { call: call.name(), why });
        }
        Err(refusal(call, status, &headers, body.as_slice()))
    }

    async fn send(&self, call: &Call<'_>, url: Url) -> Result<Response, VaultError> {
        let client = self.clients.get().await?;
        let mut request = client.request(call.method.clone(), url).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = call.token {
            // What no header can carry is no token.
            let token = header(token).ok_or_else(|| VaultError::TokenInvalid { call: call.name() })?;
            request = request.header("X-Vault-Token", token);
        }
        if let Some(body) = &call.body {
            request = request
                .header("Content-Type", "application/json")
                .body(Bytes::from_owner(Body(body.clone())));
        }
        match request.send().await {
            Ok(response) => Ok(response),
            Err(error) => {
                let error = self.transport(call, error);
                if matches!(error, VaultError::Certificate { .. }) {
                    self.clients.forget().await;
                }
                Err(error)
            }
        }
    }

    async fn body(&self, call: &Call<'_>, mut response: Response) -> Result<Wiped, VaultError> {
        let mut body = Wiped::new(MOST_BYTES);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(call, error))? {
            if !body.append(&chunk) {
                return Err(VaultError::TooLarge { call: call.name(), limit: MOST_BYTES });
            }
        }
        Ok(body)
    }

    fn redirection(call: &Call<'_>, response: &Response) -> Result<Url, VaultError> {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        let wrong =
            |to: String, why: &str| VaultError::Redirected { call: call.name(), to, why: why.to_owned() };
        let url = response.url().join(to).map_err(|_| wrong(String::new(), "it does not say where to"))?;
        let origin = url.origin().ascii_serialization();
        if to.is_empty() || !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(origin, "that is no address of Vault"));
        }
        if response.url().scheme() == "https" && url.scheme() != "https" {
            return Err(wrong(origin, "it is not encrypted there"));
        }
        Ok(url)
    }

    /// The server, without what may be a password.
    fn address(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// A call that got no whole answer.
    fn transport(&self, call: &Call<'_>, error: reqwest::Error) -> VaultError {
        let why = call.strike(&chain(&error));
        let address = self.address();
        let tls = causes(&error).find_map(of_tls);
        if tls.is_some_and(is_about_trust) {
            let why = match tls {
                // Said by whom we have it verified, and not shown by TLS.
                Some(rustls::Error::InvalidCertificate(CertificateError::Other(why))) => why.to_string(),
                _ => chain(&error.without_url()),
            };
            VaultError::Certificate { address, why: call.strike(&why) }
        } else if error.is_timeout() && !error.is_connect() {
            VaultError::TimedOut { call: call.name(), after: self.timeout }
        } else if error.is_connect() {
            VaultError::Unreachable { address, why: call.strike(&chain(&error.without_url())) }
        } else if error.is_builder() {
            VaultError::Address { address, why }
        } else {
            VaultError::Cut { call: call.name(), why: call.strike(&chain(&error.without_url())) }
        }
    }
}

/// A request's body, wiped when it was sent.
struct Body(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn header(token: &Secret) -> Option<HeaderValue> {
    let bytes = Bytes::from_owner(Body(Zeroizing::new(token.expose().trim().as_bytes().to_vec())));
    let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The refusal that an answer is.
fn refusal(call: &Call<'_>, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> VaultError {
    let words = answer::words(body, |text| call.strike(text));
    let (call, status) = (call.name(), status.as_u16());
    let said = words.to_ascii_lowercase();
    // Texts that say more than the status they come with, seen on Vault 1.21 and OpenBao 2.7.
    if said.contains("is sealed") {
        return VaultError::Sealed { call };
    }
    if said.contains("not initialized") {
        return VaultError::Uninitialised { call };
    }
    if said.contains("active cluster node not found") || said.contains("node not active") {
        return VaultError::NotElected { call };
    }
    let retry_after = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
    let retry_after = retry_after.map(Duration::from_secs);
    match status {
        401 | 403 => VaultError::Denied { call, words },
        404 => VaultError::NotFound { call, words },
        429 => VaultError::Throttled { call, retry_after },
        // Whoever balances the load says when there will be a server.
        503 if retry_after.is_some() => VaultError::Throttled { call, retry_after },
        // Vault answers 400 when it could not ask STS, which may be better a little later.
        400 if said.contains("error making upstream request") => VaultError::Failing { call, status, words },
        408 | 412 | 500.. => VaultError::Failing { call, status, words },
        300..400 => {
            VaultError::Redirected { call, to: String::new(), why: "it was redirected before".to_owned() }
        }
        _ if words.is_empty() => {
            VaultError::Garbage { call, why: format!("status {status} without a word of Vault's") }
        }
        _ => VaultError::Refused { call, status, words },
    }
}

fn base(address: &str) -> Result<Url, VaultError> {
    // What stands before an @ may be a password.
    let shown = address.rsplit('@').next().unwrap_or_default();
    let wrong = |why: &str| VaultError::Address { address: shown.to_owned(), why: why.to_owned() };
    let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    url.set_query(None);
    url.set_fragment(None);
    // An empty last segment would stay as a double slash.
    url.path_segments_mut().map_err(|()| wrong("it has no host"))?.pop_if_empty();
    Ok(url)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Whether TLS refused: not that the connection broke in the middle of it.
const fn is_about_trust(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(_)
            | rustls::Error::InvalidCertRevocationList(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::UnsupportedNameType
            | rustls::Error::AlertReceived(_)
    )
}

/// An error of TLS, which travels within the system's: those show it as their own.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut error = error;
    while let Some(within) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        error = within;
    }
    error.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::ErrorClass::{self, Denied, Malformed, NotFound, Transient};

    #[test]
    fn the_text_says_more_than_the_status() {
        let check = |status: u16, body: &str, expect: &str, class: ErrorClass, lasting: bool| {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = refusal(&Call::get("kv/data/web"), status, &HeaderMap::new(), body.as_bytes());
            let shown = format!("{error:?}");
            assert!(shown.starts_with(expect), "{shown}");
            assert_eq!((error.class(), error.is_lasting()), (class, lasting), "{shown}");
        };
        check(503, r#"{"errors":["Vault is sealed"]}"#, "Sealed", Transient, false);
        check(503, r#"{"errors":["OpenBao is sealed"]}"#, "Sealed", Transient, false);
        check(400, r#"{"errors":["Vault is not initialized"]}"#, "Uninitialised", Transient, false);
        let standby = r#"{"errors":["local node not active but active cluster node not found"]}"#;
        check(500, standby, "NotElected", Transient, false);
        check(403, r#"{"errors":["permission denied"]}"#, "Denied", Denied, true);
        check(404, r#"{"errors":[]}"#, "NotFound", NotFound, false);
        check(400, r#"{"errors":["invalid role or secret ID"]}"#, "Refused", Malformed, true);
        check(400, r#"{"errors":["error making upstream request: x"]}"#, "Failing", Transient, false);
        check(502, "<html>Bad Gateway</html>", "Failing", Transient, false);
        check(418, "teapot", "Garbage", Malformed, false);
    }

    #[test]
    fn what_was_sent_is_struck_from_what_comes_back() {
        let (token, jwt) = (Secret::new("hvs.planted"), Secret::new("eyJ.planted"));
        let call = Call::get("auth/jwt/login").with(&token).hiding(vec![&jwt]);
        let body = r#"{"errors":["cannot verify eyJ.planted with hvs.planted"]}"#;
        let error = refusal(&call, StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
        assert!(!format!("{error} {error:?}").contains("planted"), "{error}");
    }

    #[test]
    fn an_address_keeps_its_path_and_shows_no_password() {
        let url = |address: &str| base(address).map(|url| url.to_string());
        assert_eq!(url("https://vault:8200").as_deref(), Ok("https://vault:8200/"));
        assert_eq!(url("http://proxy/vault/").as_deref(), Ok("http://proxy/vault"));
        for wrong in ["vault:8200", "ftp://user:planted@vault", "http://", ""] {
            let error = url(wrong).expect_err("no address");
            assert!(error.is_lasting() && !error.to_string().contains("planted"), "{error}");
        }
    }
}
