//! Utilisation from a Prometheus server: `query_range`, read once a cycle where a policy names it as a source.
//!
//! Reads only, so nothing here is ever unclear: a call that failed did not happen. There are no retries of its
//! own, because the next cycle asks again.

use fleet::chain;
use fleet::ports::Series;
use fleet::{ApiError, ErrorClass, Timestamp, Utilization};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::redirect;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The service's name in errors and metrics.
const SERVICE: &str = "prometheus";
/// The only operation that is used.
const OPERATION: &str = "query_range";
/// A listener that does not even accept by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one request, body included: two cycles must not overlap.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(9);
/// Prometheus refuses more than 11,000 points a series in one answer; longer ranges are asked for in pieces.
const MAX_POINTS: i64 = 10_000;
/// 10,000 points are some 300 KiB of JSON; what is larger is another thing than one series.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Above this an answer is not percent with rounding and late scrapes on it, but something else.
const MAX_PERCENT: f64 = 200.0;

/// Where a Prometheus server is, and how it knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its address, such as `https://prometheus.internal:9090`, with the path prefix where it has one.
    pub address: String,
    /// A file with a bearer token, read at every call so that it can be rotated in place.
    pub token_file: Option<PathBuf>,
}

/// A Prometheus server as a source of utilisation.
#[derive(Clone, Debug)]
pub struct Prometheus {
    client: Client,
    endpoint: Url,
    token_file: Option<PathBuf>,
}

impl Prometheus {
    /// A source that asks the server at `options.address`. Connects to nothing yet.
    ///
    /// Certificates are verified against the host's trusted roots; redirects are not followed, so that the token
    /// never reaches another host. Fails when the address is no `http` or `https` URL.
    pub fn new(options: Options) -> Result<Self, ApiError> {
        let endpoint = endpoint(&options.address)?;
        let client = crate::tls::client(endpoint.scheme() == "https")
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("muster-autoscaler/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| malformed(&chain(&error)))?;
        Ok(Self { client, endpoint, token_file: options.token_file })
    }

    /// Reads one series of CPU utilisation in percent, over `from..=to` at the distance `step`.
    ///
    /// * `query`: PromQL that gives exactly one series, 0 to 100, such as
    ///   `100 * avg(1 - rate(node_cpu_seconds_total{mode="idle"}[1m]))`.
    /// * `step`: also what each point is taken to be a mean over; at least a second.
    /// * returns: points by the start of their period, oldest first; empty where the server has nothing. What is
    ///   not a number is dropped; what is above 100 % is 100 %.
    ///
    /// A series whose values all lie above 0 and not above 1 is refused: it is a share of 1 that somebody forgot
    /// to multiply, and believing it would give nearly the whole fleet back.
    ///
    /// Errors by class: `Denied` (401, 403, token unreadable), `NotFound` (404: a wrong path prefix),
    /// `Throttled` (429), `Transient` (no connection, cut or slow answers, 5xx), `Malformed` (the query is wrong
    /// or its answer is not one series in percent).
    pub async fn query_range(
        &self,
        query: &str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Series, ApiError> {
        let step = step.max(Duration::from_secs(1));
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let mut points = Vec::new();
        // On multiples of the step, so that two calls see the same points.
        let mut start = from.floor(step).millis();
        while start <= to.millis() {
            let end = start.saturating_add(step_ms.saturating_mul(MAX_POINTS - 1)).min(to.millis());
            let body = self.ask(query, start, end, step).await?;
            points.extend(decode(&body, step)?);
            start = end.saturating_add(step_ms);
        }
        points.sort_by_key(|(at, _)| *at);
        points.dedup_by_key(|(at, _)| *at);
        let period = (points.len() > 1).then_some(step);
        Ok(Series { period, points })
    }

    async fn ask(&self, query: &str, start: i64, end: i64, step: Duration) -> Result<Vec<u8>, ApiError> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
            ("step", format!("{}ms", step.as_millis())),
            // The server gives up before we do, and says why.
            ("timeout", format!("{}s", REQUEST_TIMEOUT.as_secs() - 1)),
        ];
        let mut request =
            self.client.get(self.endpoint.clone()).header(ACCEPT, "application/json").query(&parameters);
        if let Some(authorization) = self.authorization().await? {
            request = request.header(AUTHORIZATION, authorization);
        }
        let response = request.send().await.map_err(transport)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = bounded_body(response).await?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, retry_after, &body)) }
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, ApiError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let denied = |why: &str| {
            ApiError::new(ErrorClass::Denied, SERVICE, OPERATION, None, &format!("{}: {why}", path.display()))
        };
        let token = tokio::fs::read_to_string(path).await.map_err(|error| denied(&error.to_string()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| denied("the token has characters that no header can carry"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The address of `query_range` beneath the server's own address.
fn endpoint(address: &str) -> Result<Url, ApiError> {
    // What stands before an @ may be a password.
    let shown = address.rsplit('@').next().unwrap_or_default();
    let wrong = |why: &str| malformed(&format!("{shown:?} is no address of a Prometheus server: {why}"));
    let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    let path = format!("{}/api/v1/query_range", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(None);
    Ok(url)
}

fn malformed(message: &str) -> ApiError {
    ApiError::new(ErrorClass::Malformed, SERVICE, OPERATION, None, message)
}

fn transport(error: reqwest::Error) -> ApiError {
    // Without the address: it may carry a password.
    ApiError::new(ErrorClass::Transient, SERVICE, OPERATION, None, &chain(&error.without_url()))
}

/// Milliseconds as the decimal seconds that Prometheus reads, exactly.
fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(malformed(&format!("the answer is larger than {MAX_BODY_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Prometheus's envelope of every answer. Unknown fields (`warnings`, `infos`) come and go with its versions.
#[derive(Deserialize)]
struct Envelope {
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    /// Missing for native histograms, which come as `histograms`.
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// What a refusal means. Prometheus explains itself in JSON; proxies before it do not.
fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> ApiError {
    let class = match status.as_u16() {
        401 | 403 => ErrorClass::Denied,
        404 => ErrorClass::NotFound,
        429 => ErrorClass::Throttled { retry_after },
        408 | 500..=599 => ErrorClass::Transient,
        _ => ErrorClass::Malformed,
    };
    let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
    let (code, message) = match envelope {
        Some(Envelope { error_type, error: Some(error), .. }) => (error_type, error),
        _ => (None, String::from_utf8_lossy(body).trim().chars().take(200).collect()),
    };
    let code = code.unwrap_or_else(|| status.as_u16().to_string());
    ApiError::new(class, SERVICE, OPERATION, Some(&code), &message)
}

fn decode(body: &[u8], step: Duration) -> Result<Vec<(Timestamp, Utilization)>, ApiError> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| malformed(&error.to_string()))?;
    let data = envelope.data.ok_or_else(|| malformed("the answer has no data"))?;
    if data.result_type != "matrix" {
        return Err(malformed(&format!("the answer is a {}, not a matrix", data.result_type)));
    }
    let mut streams = data.result.into_iter();
    let Some(stream) = streams.next() else { return Ok(Vec::new()) };
    if streams.next().is_some() {
        return Err(malformed(&format!(
            "the query gives {} series, it must give one: put avg() around it",
            streams.count() + 2
        )));
    }
    let mut points = Vec::with_capacity(stream.values.len());
    let mut largest: f64 = 0.0;
    for (at, text) in &stream.values {
        // Rust reads Prometheus's "NaN", "+Inf" and "-Inf" as it writes them.
        let percent: f64 = text.parse().map_err(|_| malformed(&format!("{text:?} is not a number")))?;
        if !percent.is_finite() {
            continue;
        }
        largest = largest.max(percent);
        points.push((timestamp(*at) - step, Utilization::new(percent / 100.0)));
    }
    if largest > MAX_PERCENT {
        return Err(malformed(&format!("the query gives {largest}, it must give percent, 0 to 100")));
    }
    if largest > 0.0 && largest <= 1.0 {
        return Err(malformed(&format!(
            "the query gives {largest} at most: a share of 1, it seems; it must give percent, so put 100 * before it"
        )));
    }
    Ok(points)
}

/// Prometheus's decimal seconds. Not finite or far beyond any date: saturates.
fn timestamp(seconds: f64) -> Timestamp {
    let millis = (seconds * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted of absurd times")]
    Timestamp::from_millis(millis as i64)
}
