//! The instance metadata service: version 2 only, never by a proxy.

use crate::http::{HttpError, Reply, client, send};
use bootstrap_config::IdentitySettings;
use bootstrap_core::Failure;
use fleet::ports::Clock;
use fleet::{ErrorClass, Timestamp};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SERVICE: &str = "the metadata service";
/// The service is on the host itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// So many requests in a row without an answer are a service that is gone from that endpoint, and not a document that hangs.
const SILENCES: u32 = 3;
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// Where a document is.
pub mod paths {
    /// The signed identity document.
    pub const IDENTITY: &str = "latest/dynamic/instance-identity/rsa2048";
    /// `spot` or `on-demand`.
    pub const LIFE_CYCLE: &str = "latest/meta-data/instance-life-cycle";
    /// The instance's id, unsigned.
    pub const INSTANCE_ID: &str = "latest/meta-data/instance-id";
    /// The keys of the instance's tags.
    pub const TAGS: &str = "latest/meta-data/tags/instance";
    /// An interruption.
    pub const INSTANCE_ACTION: &str = "latest/meta-data/spot/instance-action";
    /// Its older form.
    pub const TERMINATION_TIME: &str = "latest/meta-data/spot/termination-time";
    /// A recommendation.
    pub const REBALANCE: &str = "latest/meta-data/events/recommendations/rebalance";
    /// Scheduled events.
    pub const SCHEDULED: &str = "latest/meta-data/events/maintenance/scheduled";
}

/// A document, and the time that the service has.
#[derive(Clone, Debug)]
pub struct Found {
    /// What stands there.
    pub text: String,
    /// The service's clock, to the second; `None` where it does not say.
    pub date: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Token {
    value: HeaderValue,
    /// In monotonic time.
    until: Duration,
    /// Of the endpoints.
    endpoint: usize,
}

/// What is known of the service.
#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    /// Of the endpoints, the one that gave a token last.
    answers: usize,
    /// Requests in a row that were not answered.
    silences: u32,
}

/// The metadata service of this instance. Clones share what they know of it.
#[derive(Clone)]
pub struct Imds {
    client: Client,
    settings: IdentitySettings,
    clock: Arc<dyn Clock>,
    held: Arc<Mutex<Held>>,
}

impl Imds {
    /// The service of the settings' endpoints.
    pub fn new(settings: &IdentitySettings, clock: Arc<dyn Clock>) -> Result<Self, HttpError> {
        let client = client(SERVICE, None)?;
        Ok(Self { client, settings: settings.clone(), clock, held: Arc::default() })
    }

    /// The endpoint that answers: the last one that gave a token, the first before that.
    pub fn endpoint(&self) -> &str {
        self.settings.endpoints.get(self.locked().answers).map_or("", String::as_str)
    }

    /// A document; `None` where there is none.
    ///
    /// A token that the service does not take any more is fetched anew once. Fails as the service does: `Denied` where
    /// it is switched off, `Transient` where nobody answers.
    pub async fn get(&self, path: &str) -> Result<Option<Found>, Failure> {
        for last in [false, true] {
            let token = self.token().await?;
            let mut request = self.request(Method::GET, token.endpoint, path)?;
            request.headers_mut().insert(TOKEN, token.value);
            let reply = self.send(token.endpoint, request).await?;
            match reply.status {
                200 => return found(path, &reply).map(Some),
                404 => return Ok(None),
                401 if !last => self.locked().token = None,
                _ => return Err(refused(&reply, path)),
            }
        }
        unreachable!("the last round returns")
    }

    /// A document that every instance has.
    pub async fn need(&self, path: &str) -> Result<Found, Failure> {
        let found = self.get(path).await?;
        found.ok_or_else(|| Failure::new(ErrorClass::NotFound, format_args!("{SERVICE} has no {path} (yet)")))
    }

    /// The token at hand, or another one: of the first endpoint that gives one.
    async fn token(&self) -> Result<Token, Failure> {
        let now = self.clock.monotonic();
        if let Some(token) = self.locked().token.as_ref().filter(|token| token.until > now) {
            return Ok(token.clone());
        }
        let mut failure = Failure::lasting(ErrorClass::Denied, format_args!("{SERVICE} has no endpoint"));
        for endpoint in 0..self.settings.endpoints.len() {
            match self.fetch_token(endpoint, now).await {
                Ok(token) => {
                    let mut held = self.locked();
                    (held.token, held.answers) = (Some(token.clone()), endpoint);
                    return Ok(token);
                }
                Err(error) => failure = if endpoint == 0 { error } else { failure },
            }
        }
        Err(failure)
    }

    async fn fetch_token(&self, endpoint: usize, now: Duration) -> Result<Token, Failure> {
        let lifetime = self.settings.token_lifetime;
        let mut request = self.request(Method::PUT, endpoint, "latest/api/token")?;
        request.headers_mut().insert(TTL, HeaderValue::from(lifetime.as_secs()));
        let reply = self.send(endpoint, request).await?;
        if reply.status != 200 {
            return Err(refused(&reply, "a token"));
        }
        let value = HeaderValue::from_bytes(reply.body.trim_ascii());
        let mut value = value.map_err(|_| {
            Failure::new(
                ErrorClass::Malformed,
                format_args!("{SERVICE} gave a token that is no line of text"),
            )
        })?;
        value.set_sensitive(true);
        // A tenth of its life before its end: a clock need not be that good.
        Ok(Token { value, until: now + lifetime * 9 / 10, endpoint })
    }

    fn request(&self, method: Method, endpoint: usize, path: &str) -> Result<Request, Failure> {
        let address = &self.settings.endpoints[endpoint];
        let url = Url::parse(&format!("{address}/{path}"));
        let mut request = Request::new(
            method,
            url.map_err(|error| Failure::lasting(ErrorClass::Malformed, format_args!("{address}: {error}")))?,
        );
        *request.timeout_mut() = Some(ANSWERS_WITHIN);
        Ok(request)
    }

    async fn send(&self, endpoint: usize, request: Request) -> Result<Reply, Failure> {
        let sent = send(&self.client, SERVICE, &self.settings.endpoints[endpoint], request).await;
        let mut held = self.locked();
        held.silences = if sent.is_ok() { 0 } else { held.silences.saturating_add(1) };
        let gone = matches!(sent, Err(HttpError::Unreachable { .. })) || held.silences >= SILENCES;
        if gone {
            // Another endpoint may answer.
            held.token = None;
        }
        // Reading has no effect: what is unclear may be read again.
        sent.map_err(|error| Failure::new(ErrorClass::Transient, error))
    }

    fn locked(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(path: &str, reply: &Reply) -> Result<Found, Failure> {
    let date = reply.date.as_deref().and_then(parse_date);
    let text = String::from_utf8(reply.body.to_vec());
    let text = text.map_err(|_| {
        Failure::new(ErrorClass::Malformed, format_args!("{SERVICE} answered what is no text at {path}"))
    })?;
    Ok(Found { text, date })
}

/// HTTP's date.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH + since)
}

fn refused(reply: &Reply, what: &str) -> Failure {
    match reply.status {
        403 => Failure::new(
            ErrorClass::Denied,
            format_args!(
                "{SERVICE} is switched off for this instance, or does not take its version 2: 403 at {what}"
            ),
        ),
        _ => reply.failure(SERVICE, &format!("give {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_clock_is_read_from_its_answers() {
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:01:40 GMT"), Some(Timestamp::from_secs(100)));
        assert_eq!(parse_date("yesterday"), None);
    }
}
