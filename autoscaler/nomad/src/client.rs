//! One call to Nomad: its address, its token, its bounds, its errors.

use crate::connection::Connection;
use crate::error::{Call, NomadError};
use crate::options::{Options, Secret, WRITE_WITHIN};
use crate::reads::Cache;
use fleet::Timestamp;
use fleet::ports::MayWrite;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::AsyncReadExt as _;

/// No answer that is asked for is larger: lists are read in pages.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Of what explains a failure, as much is kept.
const MAX_MESSAGE_CHARS: usize = 512;
/// A token is some 36 characters, a workload identity some 1,000.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

const TOKEN: HeaderName = HeaderName::from_static("x-nomad-token");
const NEXT_TOKEN: HeaderName = HeaderName::from_static("x-nomad-nexttoken");

/// A client of Nomad. Cheap to clone; clones share connections and what is known of nodes and jobs.
///
/// Nothing is repeated in here, but that another of the addresses is asked where one could not take the call.
#[derive(Clone, Debug)]
pub struct Nomad {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub options: Options,
    connections: Vec<Connection>,
    /// The address that answered last.
    preferred: AtomicUsize,
    /// What time it was by the last answer, in seconds since 1970; 0: none has said.
    told: AtomicU64,
    pub cache: Mutex<Cache>,
    guard: Guard,
}

/// FENCE: says whether a write may be begun, once it was told how.
#[derive(Default)]
struct Guard(OnceLock<MayWrite>);

impl Guard {
    fn may_write(&self) -> bool {
        self.0.get().is_none_or(|may_write| may_write())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Guard(..)" } else { "Guard" })
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub call: Call,
    pub method: Method,
    pub path: &'a [&'a str],
    pub query: &'a [(&'a str, &'a str)],
    pub body: Option<String>,
}

impl<'a> Request<'a> {
    pub const fn read(operation: &'static str, path: &'a [&'a str], query: &'a [(&'a str, &'a str)]) -> Self {
        Self { call: Call { operation, write: false }, method: Method::GET, path, query, body: None }
    }
    pub fn write(operation: &'static str, path: &'a [&'a str], body: &serde_json::Value) -> Self {
        let body = Some(body.to_string());
        Self { call: Call { operation, write: true }, method: Method::POST, path, query: &[], body }
    }
}

impl Nomad {
    /// A client of the agents in `options`. Connects to nothing yet.
    ///
    /// Certificates are verified, redirects are not followed, so that the token reaches nobody else. Fails when
    /// an address cannot be one (`Malformed`), or the files of TLS cannot be used (`Denied`).
    pub fn new(options: Options) -> Result<Self, NomadError> {
        let connections = options.addresses.iter().map(|address| Connection::new(address, &options));
        let connections = connections.collect::<Result<Vec<_>, _>>()?;
        if connections.is_empty() {
            let why = "no address is given".to_owned();
            return Err(NomadError::Address { address: String::new(), why });
        }
        let (preferred, told, cache) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::default());
        let guard = Guard::default();
        Ok(Self { shared: Arc::new(Shared { options, connections, preferred, told, cache, guard }) })
    }

    /// Asks `may_write` immediately before each attempt at a write, at every address (FENCE). Counts for all clones; the
    /// first one that is given stays.
    pub fn guard(&self, may_write: MayWrite) {
        // Once is enough: it is the process that leads or does not.
        let _ = self.shared.guard.0.set(may_write);
    }

    /// What time it was for the agent that answered last, by its `Date`, to the second; `None` where none has said.
    ///
    /// Times in Nomad's answers are by its servers' clocks. Whoever compares them with their own asks right after a call.
    pub fn told_time(&self) -> Option<Timestamp> {
        let seconds = self.shared.told.load(Ordering::Relaxed);
        (seconds > 0).then(|| Timestamp::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
    }

    /// Asks, and reads the whole answer, which is JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<T, NomadError> {
        let (body, _) = self.exchange(request).await?;
        decode(request.call, &body)
    }

    /// Asks for a list, page by page.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
    ) -> Result<Vec<T>, NomadError> {
        /// Some 1.5 MiB of allocations.
        const PER_PAGE: &str = "1000";
        /// What is longer is not read to its end; 100,000 lines.
        const MAX_PAGES: usize = 100;
        let mut found: Vec<T> = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = request.query.to_vec();
            query.push(("per_page", PER_PAGE));
            if let Some(token) = &next {
                query.push(("next_token", token));
            }
            let (body, headers) = self.exchange(&Request { query: &query, ..request.clone() }).await?;
            let page: Option<Vec<T>> = decode(request.call, &body)?;
            found.extend(page.into_iter().flatten());
            next = headers.get(NEXT_TOKEN).and_then(|token| token.to_str().ok()).map(str::to_owned);
            if next.as_ref().is_none_or(String::is_empty) {
                return Ok(found);
            }
        }
        Err(NomadError::TooLarge { call: request.call, limit: MAX_PAGES * MAX_BODY_BYTES })
    }

    async fn exchange(&self, request: &Request<'_>) -> Result<(Vec<u8>, HeaderMap), NomadError> {
        let response = self.begin(request, Extent::Whole).await?;
        let headers = response.headers().clone();
        Ok((body(request.call, response).await?, headers))
    }

    /// Opens a stream: as a call, but without a bound in time for the whole of it.
    pub(crate) async fn open(&self, request: &Request<'_>) -> Result<Response, NomadError> {
        self.begin(request, Extent::Stream).await
    }

    /// Asks one address after the other, that which answered last first, while nothing is done and another might.
    ///
    /// * returns: an answer that is a success; its body is still to be read.
    async fn begin(&self, request: &Request<'_>, extent: Extent) -> Result<Response, NomadError> {
        let connections = &self.shared.connections;
        let first = self.shared.preferred.load(Ordering::Relaxed);
        let mut tried = 0;
        loop {
            let number = (first + tried) % connections.len();
            // The last thing before each attempt: a lease may have run out while another address was waited for.
            if request.call.write && !self.shared.guard.may_write() {
                return Err(NomadError::Fenced { call: request.call });
            }
            let answer = self.begin_at(&connections[number], request, extent).await;
            tried += 1;
            match answer {
                Err(error) if error.elsewhere() && tried < connections.len() => {
                    tracing::debug!(error = %error, "asked another Nomad agent");
                }
                answer => {
                    if answer.is_ok() {
                        self.shared.preferred.store(number, Ordering::Relaxed);
                    }
                    return answer;
                }
            }
        }
    }

    async fn begin_at(
        &self,
        connection: &Connection,
        request: &Request<'_>,
        extent: Extent,
    ) -> Result<Response, NomadError> {
        let clients = connection.clients()?;
        let client = match extent {
            Extent::Whole => clients.calls,
            Extent::Stream => clients.stream,
        };
        let response = send(request.call, self.builder(&client, &connection.base, request).await?).await?;
        if let Some(seconds) = date_of(response.headers()) {
            self.shared.told.store(seconds, Ordering::Relaxed);
        }
        Ok(response)
    }

    async fn builder(
        &self,
        client: &reqwest::Client,
        base: &Url,
        request: &Request<'_>,
    ) -> Result<RequestBuilder, NomadError> {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // An id with a slash in it stays one part.
            path.pop_if_empty().push("v1").extend(request.path);
        }
        let mut builder = client.request(request.method.clone(), url).query(request.query);
        if let Some(region) = &self.shared.options.region {
            builder = builder.query(&[("region", region)]);
        }
        if let Some(token) = self.token(request.call).await? {
            builder = builder.header(TOKEN, token);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        if request.call.write {
            builder = builder.timeout(self.shared.options.timeout.min(WRITE_WITHIN));
        }
        Ok(builder)
    }

    /// The token, as the file has it now.
    async fn token(&self, call: Call) -> Result<Option<HeaderValue>, NomadError> {
        let Some(path) = &self.shared.options.token_file else { return Ok(None) };
        let bad = |why: String| NomadError::Token { call, path: path.clone(), why };
        let file = tokio::fs::File::open(path).await.map_err(|error| bad(error.to_string()))?;
        let mut text = String::new();
        let read = file.take(MAX_TOKEN_BYTES).read_to_string(&mut text).await;
        read.map_err(|error| bad(error.to_string()))?;
        let token = Secret::new(text.trim().to_owned());
        if token.reveal().is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        let value = HeaderValue::from_str(token.reveal());
        let mut value = value.map_err(|_| bad("it has characters that no header can carry".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// How much of an answer a call waits for.
#[derive(Clone, Copy)]
enum Extent {
    Whole,
    Stream,
}

/// Reads an answer's JSON.
pub(crate) fn decode<T: DeserializeOwned>(call: Call, body: &[u8]) -> Result<T, NomadError> {
    serde_json::from_slice(body).map_err(|source| NomadError::Malformed { call, source })
}

async fn send(call: Call, builder: RequestBuilder) -> Result<Response, NomadError> {
    let response = builder.send().await.map_err(|error| lost(call, error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|text| text.to_str().ok());
    let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    // What explains it may be cut off; the status stands.
    let message = body(call, response).await.unwrap_or_default();
    let message = String::from_utf8_lossy(&message).trim().chars().take(MAX_MESSAGE_CHARS).collect();
    Err(NomadError::Status { call, status: status.as_u16(), message, retry_after })
}

/// Seconds since 1970 by an answer's `Date`.
fn date_of(headers: &HeaderMap) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// A call that came to no answer: never sent, or sent and lost.
fn lost(call: Call, error: reqwest::Error) -> NomadError {
    let source = error.without_url();
    if source.is_connect() || source.is_builder() {
        NomadError::Unreachable { call, source }
    } else {
        NomadError::Cut { call, source }
    }
}

async fn body(call: Call, mut response: Response) -> Result<Vec<u8>, NomadError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(call, error))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(NomadError::TooLarge { call, limit: MAX_BODY_BYTES });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
