//! The autoscaler: found by address or through Consul, and shown who this instance is.
//!
//! Both are done before there is anything to tell, and again and again: when a notice comes, Consul may be the one that is
//! down, and two minutes are short.

use super::beat;
use crate::http::{BEARER, Reply, client, secret_of, send};
use crate::node::Node;
use crate::steps::Consul;
use bootstrap_config::AutoscalerSettings;
use bootstrap_core::{Failure, Secret};
use bootstrap_vault::trust::Trusted;
use fleet::wire::{Identified, Identify, VERSION};
use fleet::{ErrorClass, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use serde_json::Value;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

const SERVICE: &str = "the autoscaler";
/// Another token is fetched so long before this one's end: clocks differ. While nobody waits for it, twice as early.
const EARLY: Duration = Duration::from_secs(300);
/// How often its processes are looked for while nothing is wrong with those that are known.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How often that is thought of.
const THINKS: Duration = Duration::from_secs(5);
const IDENTIFIED_WITHIN: Duration = Duration::from_secs(3);

/// One process of the autoscaler.
#[derive(Clone, Debug)]
struct Process {
    address: String,
    token: Option<(Secret, Timestamp)>,
}

/// What is known of its processes. Stays known while nobody can say anything newer.
#[derive(Debug, Default)]
struct Known {
    processes: Vec<Process>,
    /// Whom notices go to.
    next: usize,
    /// When they were found, in monotonic time.
    found: Option<Duration>,
    /// They may be others by now.
    doubted: bool,
}

/// The autoscaler's processes, and the one that is spoken to.
pub struct Autoscaler {
    settings: AutoscalerSettings,
    client: Client,
    /// What the client was made of.
    trusted: Trusted,
    known: Mutex<Known>,
}

/// The autoscaler of the configuration that holds, for all who tell it something.
#[derive(Default)]
pub struct Told(Mutex<Option<Arc<Autoscaler>>>);

impl Told {
    /// The one of these settings; another one than before where they are others, or others are trusted by now. While whom
    /// to trust cannot be read (half written, say), the one before goes on.
    pub fn of(&self, settings: &AutoscalerSettings) -> Result<Arc<Autoscaler>, Failure> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.as_ref().filter(|held| held.settings == *settings);
        if let Some(before) = before.filter(|held| held.trusted == trusted(settings)) {
            return Ok(Arc::clone(before));
        }
        match (Autoscaler::new(settings), before) {
            (Ok(another), _) => Ok(Arc::clone(held.insert(Arc::new(another)))),
            (Err(_), Some(before)) => Ok(Arc::clone(before)),
            (Err(error), None) => Err(error),
        }
    }
}

/// What a client of the settings would be made of now.
fn trusted(settings: &AutoscalerSettings) -> Trusted {
    Trusted::now(settings.ca_file.as_deref().map(Path::new))
}

/// Finds and identifies until it is dropped.
pub(super) async fn keep_known(node: Arc<Node>, told: Arc<Told>) {
    loop {
        if let Some(settings) = node.settings().watch.autoscaler {
            let made = match told.of(&settings) {
                Ok(autoscaler) => autoscaler.make_ready(&node).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = made {
                tracing::debug!(%failure, "could not make ready to tell the autoscaler");
            }
        }
        node.clock.sleep_until(beat(node.clock.monotonic(), THINKS)).await;
    }
}

impl Autoscaler {
    /// The autoscaler of the settings; nobody is asked yet.
    pub fn new(settings: &AutoscalerSettings) -> Result<Self, Failure> {
        // Before it is read: what changes meanwhile is another one.
        let trusted = trusted(settings);
        let client = client(SERVICE, settings.ca_file.as_deref())?;
        Ok(Self { settings: settings.clone(), client, trusted, known: Mutex::default() })
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        // Nothing in here is left half done by a panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for its processes where that is due, and identifies to each that has no token for a while to come.
    ///
    /// Fails with the first thing that cannot be done; what is known stays.
    pub async fn make_ready(&self, node: &Node) -> Result<(), Failure> {
        let now = node.clock.monotonic();
        let is_due = {
            let known = self.locked();
            known.doubted || known.found.is_none_or(|found| found + LOOK_AGAIN <= now)
        };
        let mut made = if is_due { self.find(node).await } else { Ok(()) };
        for address in self.addresses() {
            if self.settings.token_file.is_none() && self.held(&address, node, EARLY * 2).is_none() {
                let identified = self.identify(node, &address, IDENTIFIED_WITHIN).await;
                made = made.and(identified.map(|_| ()));
            }
        }
        made
    }

    /// The process that is spoken to. Looks for it where none is known.
    pub async fn current(&self, node: &Node) -> Result<String, Failure> {
        if self.locked().processes.is_empty() {
            self.find(node).await?;
        }
        let known = self.locked();
        let process = known.processes.get(known.next).or_else(|| known.processes.first());
        process.map(|process| process.address.clone()).ok_or_else(nobody)
    }

    /// The next call goes to another process: this one has failed, or does not lead. Nothing, where it is not the current
    /// one any more.
    pub fn turn_from(&self, address: &str) {
        let mut known = self.locked();
        if known.processes.get(known.next).is_none_or(|process| process.address != address) {
            return;
        }
        known.next += 1;
        if known.next >= known.processes.len() {
            // Once around.
            (known.next, known.doubted) = (0, true);
        }
    }

    /// Sends JSON to a process. * `path`: `/v1/notices`.
    ///
    /// Identifies first where there is no token that holds, and once more where the token is refused.
    pub async fn post(
        &self,
        node: &Node,
        address: &str,
        path: &str,
        body: &Value,
        within: Duration,
    ) -> Result<Reply, Failure> {
        for last in [false, true] {
            let token = self.token(node, address, within).await?;
            let reply = self.send(address, path, body, Some(&token), within).await?;
            if reply.status != 401 || last {
                return Ok(reply);
            }
            self.set_token(address, None);
        }
        unreachable!("the last round returns")
    }

    /// Its processes, of which one leads. Looks for them where none is known.
    pub async fn all(&self, node: &Node) -> Result<Vec<String>, Failure> {
        if self.locked().processes.is_empty() {
            self.find(node).await?;
        }
        Ok(self.addresses())
    }

    /// They may be others by now: one of those that are known did not answer.
    pub fn doubt(&self) {
        self.locked().doubted = true;
    }

    fn addresses(&self) -> Vec<String> {
        self.locked().processes.iter().map(|process| process.address.clone()).collect()
    }

    /// Finds its processes anew; those that were known keep their tokens. Where nobody can say, what was known stays.
    async fn find(&self, node: &Node) -> Result<(), Failure> {
        let addresses = match (&self.settings.service, node.settings().consul) {
            (Some(service), Some(consul)) => Consul::new(&consul)?.healthy(service).await?,
            _ => self.settings.addresses.clone(),
        };
        if addresses.is_empty() {
            return Err(nobody());
        }
        let mut known = self.locked();
        let current = known.processes.get(known.next).map(|process| process.address.clone());
        let mut before = std::mem::take(&mut known.processes);
        let process = |address: String| {
            let at = before.iter().position(|process| process.address == address);
            at.map_or(Process { address, token: None }, |at| before.swap_remove(at))
        };
        let processes: Vec<Process> = addresses.into_iter().map(process).collect();
        let at = processes.iter().position(|process| Some(&process.address) == current.as_ref());
        *known = Known {
            processes,
            next: at.unwrap_or_default(),
            found: Some(node.clock.monotonic()),
            doubted: false,
        };
        Ok(())
    }

    /// A token that is at hand, and holds for so long.
    fn held(&self, address: &str, node: &Node, long: Duration) -> Option<Secret> {
        let known = self.locked();
        let process = known.processes.iter().find(|process| process.address == address)?;
        let (token, until) = process.token.as_ref()?;
        (node.clock.wall() + long < *until).then(|| token.clone())
    }

    fn set_token(&self, address: &str, token: Option<(Secret, Timestamp)>) {
        let mut known = self.locked();
        if let Some(process) = known.processes.iter_mut().find(|process| process.address == address) {
            process.token = token;
        }
    }

    async fn token(&self, node: &Node, address: &str, within: Duration) -> Result<Secret, Failure> {
        if let Some(file) = &self.settings.token_file {
            let token = secret_of(Path::new(file));
            return token.map_err(|why| Failure::new(ErrorClass::NotFound, format_args!("its token: {why}")));
        }
        if let Some(token) = self.held(address, node, EARLY) {
            return Ok(token);
        }
        match self.identify(node, address, within).await {
            Ok(token) => Ok(token),
            // One that is about to lapse is better than none.
            Err(failure) => self.held(address, node, Duration::ZERO).ok_or(failure),
        }
    }

    async fn identify(&self, node: &Node, address: &str, within: Duration) -> Result<Secret, Failure> {
        let pkcs7 = node.identity()?.pkcs7.clone();
        // Whoever has it may pose as this node.
        let proof = Secret::new(pkcs7.as_str());
        let body = serde_json::json!(Identify { version: VERSION, pkcs7 });
        let reply = self.send(address, "/v1/identify", &body, None, within).await?.hiding(&proof);
        if !reply.is_success() {
            return Err(reply.failure(SERVICE, "take this node for what it is"));
        }
        // An error of this reader could show a piece of the token.
        let Identified { token, expires } = serde_json::from_slice(&reply.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::new(
                ErrorClass::Malformed,
                format_args!(
                    "{SERVICE} answered what is no such JSON: no token that can be read, line {line}, column {column}"
                ),
            )
        })?;
        let token = Secret::new(token);
        self.set_token(address, Some((token.clone(), expires)));
        Ok(token)
    }

    async fn send(
        &self,
        address: &str,
        path: &str,
        body: &Value,
        token: Option<&Secret>,
        within: Duration,
    ) -> Result<Reply, Failure> {
        let malformed = |why: &dyn std::fmt::Display| {
            Failure::new(ErrorClass::Malformed, format_args!("{address}: {why}"))
        };
        let url = Url::parse(&format!("{address}{path}")).map_err(|error| malformed(&error))?;
        let mut request = Request::new(Method::POST, url);
        *request.timeout_mut() = Some(within);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            let line = Zeroizing::new(format!("{}{}", BEARER.1, token.expose()));
            let mut value =
                HeaderValue::from_str(&line).map_err(|_| malformed(&"its token is no line of text"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(BEARER.0, value);
        }
        *request.body_mut() = Some(body.to_string().into());
        Ok(send(&self.client, SERVICE, address, request).await?)
    }
}

fn nobody() -> Failure {
    Failure::new(ErrorClass::NotFound, "no process of the autoscaler is healthy in Consul")
}
