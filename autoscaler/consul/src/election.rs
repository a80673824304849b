//! What an elector asks for, as calls of Consul's HTTP API.

use crate::Options;
use crate::client::{Call, Client, Reply};
use crate::refusal::malformed;
use autoscaler_leader::{ANSWER_WITHIN, Answer, CHECK_TTL, Failure, LOCK_DELAY, Lock, Request, SessionId};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleet::ApiError;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// How long the registration of a process that is gone stays in the catalogue, for people to see.
const FORGOTTEN_AFTER: &str = "10m";

/// One Consul agent, for one start of one process.
#[derive(Clone, Debug)]
pub struct Consul {
    pub(crate) client: Client,
    pub(crate) options: Options,
}

/// A key as Consul shows it. Unknown fields come with its versions.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    pub(crate) modify_index: u64,
    pub(crate) session: Option<String>,
    /// In base64; `null` where it is empty.
    pub(crate) value: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

impl Consul {
    /// A client of the agent at `options.address`. Connects to nothing yet.
    ///
    /// Fails when the address is none, or when what we say of ourselves is empty or too long.
    pub fn new(options: Options) -> Result<Self, ApiError> {
        let client = Client::new(&options)?;
        let holder = options.holder.len();
        if options.instance.is_empty() || options.service.is_empty() || holder > Lock::MAX_HOLDER {
            let limit = Lock::MAX_HOLDER;
            let why =
                format!("instance and service must not be empty, holder ({holder} bytes) at most {limit}");
            return Err(malformed("connect", &why));
        }
        Ok(Self { client, options })
    }

    /// Carries a request out. Every failure is in the answer; takes [`ANSWER_WITHIN`] at most, and for a
    /// [`Request::Watch`] a sixteenth of its wait more than the two together.
    ///
    /// Errors by class: `Denied` (401, 403, a token or certificate that cannot be read), `Throttled` (429, rate
    /// limits), `Transient` (no connection, no leader), `Unclear` (cut off while something was to change),
    /// `Malformed` (not Consul, or not one that we know).
    pub async fn answer(&self, request: &Request) -> Answer {
        match request {
            Request::Register => Answer::Registered(self.register().await.map_err(Failure::Api)),
            Request::CreateSession { instead_of } => {
                let created = self.create_session(instead_of.as_ref()).await;
                Answer::SessionCreated(created.map_err(Failure::Api))
            }
            Request::Renew => Answer::Renewed(self.renew().await),
            Request::Acquire { session } => Answer::Acquired(self.acquire(session).await),
            Request::Watch { after, wait } => {
                Answer::Watched(self.watch(*after, *wait).await.map_err(Failure::Api))
            }
            Request::Withdraw { session } => {
                Answer::Withdrawn(self.withdraw(session.as_ref()).await.map_err(Failure::Api))
            }
        }
    }

    fn check_id(&self) -> String {
        format!("{}:deciding", self.options.instance)
    }

    /// A key's path beneath `/v1`: its segments are the slashes' own.
    pub(crate) fn path_of(key: &str) -> Vec<&str> {
        std::iter::once("kv").chain(key.split('/')).collect()
    }

    pub(crate) fn lock_key(&self) -> String {
        format!("{}/leader", self.options.prefix.trim_matches('/'))
    }

    async fn register(&self) -> Result<(), ApiError> {
        let body = json!({
            "ID": self.options.instance,
            "Name": self.options.service,
            "Check": {
                "CheckID": self.check_id(),
                "Name": "the deciding loop runs",
                "TTL": seconds(CHECK_TTL),
                "Status": "passing",
                "DeregisterCriticalServiceAfter": FORGOTTEN_AFTER,
            },
        });
        let query = [("replace-existing-checks", "true")];
        let path = ["agent", "service", "register"];
        let call = put("register", &path, &query, body.to_string().into_bytes(), ANSWER_WITHIN);
        self.client.send(call).await?.success()?;
        Ok(())
    }

    async fn create_session(&self, instead_of: Option<&SessionId>) -> Result<SessionId, ApiError> {
        let within = ANSWER_WITHIN / 2;
        if let Some(before) = instead_of {
            self.end_session("create_session", before, within).await?;
        }
        // Ends with our check, and with our node where nobody is left to say that the check is critical. Its own
        // TTL is of no use: it may take twice as long, and would have to be renewed, too.
        let body = json!({
            "Name": self.options.service,
            "Behavior": "release",
            "LockDelay": seconds(LOCK_DELAY),
            "NodeChecks": ["serfHealth"],
            "ServiceChecks": [{ "ID": self.check_id() }],
        });
        let path = ["session", "create"];
        let call = put("create_session", &path, &[], body.to_string().into_bytes(), within);
        let created: Created = self.client.send(call).await?.success()?.json()?;
        Ok(SessionId(created.id.into()))
    }

    async fn renew(&self) -> Result<Lock, Failure> {
        let lock = self.read_lock(&[("consistent", "")], ANSWER_WITHIN / 2).await?;
        let id = self.check_id();
        let path = ["agent", "check", "update", &id];
        // Always the same text: a new one would be carried to the servers each time.
        let body = json!({ "Status": "passing", "Output": "" });
        let call = put("renew", &path, &[], body.to_string().into_bytes(), ANSWER_WITHIN / 2);
        let reply = self.client.send(call).await?;
        // 404 since Consul 1.11, 500 before.
        if reply.status == StatusCode::NOT_FOUND || reply.says("nknown check") {
            return Err(Failure::CheckGone);
        }
        reply.success()?;
        Ok(lock)
    }

    async fn acquire(&self, session: &SessionId) -> Result<bool, Failure> {
        let reply = self.lock_call("acquire", session, ANSWER_WITHIN).await?;
        if reply.says("invalid session") {
            return Err(Failure::SessionGone);
        }
        Ok(reply.success()?.json()?)
    }

    async fn watch(&self, after: u64, wait: Duration) -> Result<Lock, ApiError> {
        let (after_text, wait_text) = (after.to_string(), seconds(wait));
        let all = [("index", after_text.as_str()), ("wait", wait_text.as_str())];
        let query = if after == 0 { &[] } else { &all[..] };
        // Consul adds up to a sixteenth, so that not all come back at once.
        self.read_lock(query, wait + wait / 16 + ANSWER_WITHIN).await
    }

    async fn withdraw(&self, session: Option<&SessionId>) -> Result<(), ApiError> {
        let within = ANSWER_WITHIN / 3;
        let mut first = Ok(());
        if let Some(session) = session {
            // Given back before the session ends, or the lock delay would keep it from the next.
            let released = self.lock_call("release", session, within).await.and_then(Reply::success);
            first = first.and(released.map(drop));
            first = first.and(self.end_session("withdraw", session, within).await);
        }
        let path = ["agent", "service", "deregister", &self.options.instance];
        let reply = self.client.send(put("withdraw", &path, &[], Vec::new(), within)).await;
        let gone = |reply: &Reply| reply.status == StatusCode::NOT_FOUND || reply.says("nknown service");
        let deregistered = reply.and_then(|reply| if gone(&reply) { Ok(reply) } else { reply.success() });
        first.and(deregistered.map(drop))
    }

    /// Ends a session. One that has ended already is no failure: Consul says nothing of it.
    async fn end_session(
        &self,
        operation: &'static str,
        session: &SessionId,
        within: Duration,
    ) -> Result<(), ApiError> {
        let path = ["session", "destroy", &session.0];
        self.client.send(put(operation, &path, &[], Vec::new(), within)).await?.success()?;
        Ok(())
    }

    /// Takes the lock or gives it back.
    async fn lock_call(
        &self,
        verb: &'static str,
        session: &SessionId,
        within: Duration,
    ) -> Result<Reply, ApiError> {
        let key = self.lock_key();
        let query = [(verb, session.0.as_str())];
        let holder = self.options.holder.clone().into_bytes();
        self.client.send(put(verb, &Self::path_of(&key), &query, holder, within)).await
    }

    async fn read_lock(&self, query: &[(&str, &str)], within: Duration) -> Result<Lock, ApiError> {
        let key = self.lock_key();
        let (entry, index) = self.read_key("read_lock", &key, query, within).await?;
        let Some(Entry { session, value, .. }) = entry else { return Ok(Lock { index, ..Lock::default() }) };
        let holder = value.and_then(|value| BASE64_STANDARD.decode(value).ok()).map(|bytes| {
            let bounded = &bytes[..bytes.len().min(Lock::MAX_HOLDER)];
            String::from_utf8_lossy(bounded).into_owned().into()
        });
        Ok(Lock { session: session.map(|id| SessionId(id.into())), holder, index })
    }

    /// Reads a key, and the index to wait from. A key that is not there is none.
    pub(crate) async fn read_key(
        &self,
        operation: &'static str,
        key: &str,
        query: &[(&str, &str)],
        within: Duration,
    ) -> Result<(Option<Entry>, u64), ApiError> {
        let path = Self::path_of(key);
        let call = Call { operation, method: Method::GET, path: &path, query, body: Vec::new(), within };
        let reply = self.client.send(call).await?;
        // Without it, something else answered: a proxy's own 404, say, must not be taken for a lock that is free.
        let index = reply.index.filter(|index| *index > 0);
        let index = |reply: &Reply| index.ok_or_else(|| malformed(reply.operation(), "no X-Consul-Index"));
        if reply.status == StatusCode::NOT_FOUND {
            return Ok((None, index(&reply)?));
        }
        let reply = reply.success()?;
        let index = index(&reply)?;
        let entries: Vec<Entry> = reply.json()?;
        let entry = entries.into_iter().next().ok_or_else(|| malformed(operation, "no entry"))?;
        Ok((Some(entry), index))
    }
}

pub(crate) fn put<'a>(
    operation: &'static str,
    path: &'a [&'a str],
    query: &'a [(&'a str, &'a str)],
    body: Vec<u8>,
    within: Duration,
) -> Call<'a> {
    Call { operation, method: Method::PUT, path, query, body, within }
}

/// As Consul reads durations.
fn seconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
