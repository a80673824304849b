//! One call of Consul's HTTP API: bounded, with the token of the moment, its refusals classified.

use crate::Options;
use crate::refusal::{Effect, SERVICE, malformed, refusal, transport};
use crate::tls::Clients;
use fleet::{ApiError, ErrorClass};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest ledger in base64 is 342 KiB.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// A token is a UUID; what is larger is another file.
const MAX_TOKEN_BYTES: usize = 4096;

/// Calls one agent.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    clients: Clients,
    base: Url,
    token_file: Option<PathBuf>,
}

/// What is sent.
pub(crate) struct Call<'a> {
    /// The metric label.
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// Segments beneath `/v1`; escaped as they are.
    pub(crate) path: &'a [&'a str],
    /// Names with values, or without.
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Vec<u8>,
    /// For all of it.
    pub(crate) within: Duration,
}

/// A whole answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// `X-Consul-Index`, where there is one.
    pub(crate) index: Option<u64>,
    pub(crate) body: Vec<u8>,
    retry_after: Option<Duration>,
    operation: &'static str,
    effect: Effect,
}

impl Client {
    pub(crate) fn new(options: &Options) -> Result<Self, ApiError> {
        let base = base(&options.address)?;
        let token_file = options.token_file.clone();
        let clients = Clients::new(options.tls.clone(), base.scheme() == "https");
        Ok(Self { clients, base, token_file })
    }

    /// Sends a call; an answer with any status is a reply.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Reply, ApiError> {
        let Call { operation, method, path, query, body, within } = call;
        let effect = if method == Method::GET { Effect::Read } else { Effect::Write };
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| malformed(operation, "no address"))?.push("v1").extend(path);
        let client = self.clients.get().await?;
        let mut request = client.request(method, url).query(query).timeout(within).body(body);
        if let Some(path) = &self.token_file {
            request = request.header("X-Consul-Token", token(operation, path).await?);
        }
        let failed = |error| transport(operation, effect, error);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let index = number(response.headers(), "x-consul-index");
        let retry_after = number(response.headers(), RETRY_AFTER.as_str()).map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(malformed(
                    operation,
                    &format!("the answer is larger than {MAX_BODY_BYTES} bytes"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, index, body, retry_after, operation, effect })
    }
}

impl Reply {
    /// What was called.
    pub(crate) const fn operation(&self) -> &'static str {
        self.operation
    }

    /// The refusal that this is.
    pub(crate) fn refused(&self) -> ApiError {
        refusal(self.operation, self.effect, self.status, self.retry_after, &self.body)
    }

    /// Itself, if it is a success.
    pub(crate) fn success(self) -> Result<Self, ApiError> {
        if self.status.is_success() { Ok(self) } else { Err(self.refused()) }
    }

    /// Its body, as JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| malformed(self.operation, &error.to_string()))
    }

    /// Whether its text has this in it.
    pub(crate) fn says(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text)
    }
}

fn base(address: &str) -> Result<Url, ApiError> {
    // What stands before an @ may be a password.
    let shown = address.rsplit('@').next().unwrap_or_default();
    let wrong =
        |why: &str| malformed("connect", &format!("{shown:?} is no address of a Consul agent: {why}"));
    let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    url.set_query(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    // An empty last segment would stay as a double slash.
    url.path_segments_mut().map_err(|()| wrong("it has no host"))?.pop_if_empty();
    Ok(url)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The token as its file has it now, so that it can be rotated in place.
async fn token(operation: &str, path: &Path) -> Result<HeaderValue, ApiError> {
    let denied = |why: &str| {
        ApiError::new(ErrorClass::Denied, SERVICE, operation, None, &format!("{}: {why}", path.display()))
    };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| denied(&error.to_string()))?;
    if text.len() > MAX_TOKEN_BYTES {
        return Err(denied("it is too large to be a token"));
    }
    let mut value = HeaderValue::from_str(text.trim())
        .map_err(|_| denied("the token has characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
