//! The autoscaler: found by address or through Consul, and shown who this instance is.

use crate::http::{BEARER, Reply, client, secret_of, send};
use crate::node::Node;
use crate::steps::Consul;
use bootstrap_config::AutoscalerSettings;
use bootstrap_core::{Failure, Secret};
use fleet::wire::{Identified, Identify, VERSION};
use fleet::{ErrorClass, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

const SERVICE: &str = "the autoscaler";
/// Another token is fetched so long before this one's end: clocks differ.
const EARLY: Duration = Duration::from_secs(300);

/// One process of the autoscaler.
#[derive(Clone, Debug)]
struct Process {
    address: String,
    token: Option<(Secret, Timestamp)>,
}

/// The autoscaler's processes, and the one that is spoken to.
pub struct Autoscaler {
    settings: AutoscalerSettings,
    client: Client,
    processes: Vec<Process>,
    next: usize,
}

impl Autoscaler {
    /// The autoscaler of the settings; nobody is asked yet.
    pub fn new(settings: &AutoscalerSettings) -> Result<Self, Failure> {
        let client = client(SERVICE, settings.ca_file.as_deref())?;
        Ok(Self { settings: settings.clone(), client, processes: Vec::new(), next: 0 })
    }

    /// Whether it is what these settings say.
    pub fn is_of(&self, settings: &AutoscalerSettings) -> bool {
        self.settings == *settings
    }

    /// The next call goes to another process: this one has failed, or does not lead.
    pub fn turn(&mut self) {
        self.next += 1;
        if self.next >= self.processes.len() {
            // Once around: they may be others by now.
            self.next = 0;
            self.processes.clear();
        }
    }

    /// Sends JSON to the process that is spoken to. * `path`: `/v1/notices`.
    ///
    /// Identifies first where there is no token that holds, and once more where the token is refused.
    pub async fn post(
        &mut self,
        node: &Node,
        path: &str,
        body: &Value,
        within: Duration,
    ) -> Result<Reply, Failure> {
        if self.processes.is_empty() {
            self.find(node).await?;
        }
        for last in [false, true] {
            let token = self.token(node, within).await?;
            let reply = self.send(path, body, Some(&token), within).await?;
            if reply.status != 401 || last {
                return Ok(reply);
            }
            self.processes[self.next].token = None;
        }
        unreachable!("the last round returns")
    }

    /// Sends JSON to every process: a standby has to know what it will decide upon. * returns: the answers that came.
    ///
    /// Fails where no process is known; one that does not answer is for the next time.
    pub async fn post_to_all(
        &mut self,
        node: &Node,
        path: &str,
        body: &Value,
        within: Duration,
    ) -> Result<Vec<Reply>, Failure> {
        if self.processes.is_empty() {
            self.find(node).await?;
        }
        let mut replies = Vec::new();
        for process in 0..self.processes.len() {
            self.next = process;
            match self.post(node, path, body, within).await {
                Ok(reply) => replies.push(reply),
                Err(failure) => tracing::debug!(%failure, "a process of the autoscaler did not answer"),
            }
        }
        if replies.len() < self.processes.len() {
            // They may be others by now.
            self.processes.clear();
        }
        self.next = 0;
        Ok(replies)
    }

    async fn find(&mut self, node: &Node) -> Result<(), Failure> {
        let addresses = match (&self.settings.service, node.settings().consul) {
            (Some(service), Some(consul)) => Consul::new(&consul)?.healthy(service).await?,
            _ => self.settings.addresses.clone(),
        };
        if addresses.is_empty() {
            let what = "no process of the autoscaler is healthy in Consul";
            return Err(Failure::new(ErrorClass::NotFound, what));
        }
        self.processes = addresses.into_iter().map(|address| Process { address, token: None }).collect();
        self.next = 0;
        Ok(())
    }

    async fn token(&mut self, node: &Node, within: Duration) -> Result<Secret, Failure> {
        if let Some(file) = &self.settings.token_file {
            let token = secret_of(Path::new(file));
            return token.map_err(|why| Failure::new(ErrorClass::NotFound, format_args!("its token: {why}")));
        }
        let now = node.clock.wall();
        if let Some((token, until)) = &self.processes[self.next].token
            && now + EARLY < *until
        {
            return Ok(token.clone());
        }
        let pkcs7 = node.identity()?.pkcs7.clone();
        let body = serde_json::json!(Identify { version: VERSION, pkcs7 });
        let reply = self.send("/v1/identify", &body, None, within).await?;
        if !reply.is_success() {
            return Err(reply.failure(SERVICE, "take this node for what it is"));
        }
        let Identified { token, expires } = reply.json(SERVICE)?;
        let token = Secret::new(token);
        self.processes[self.next].token = Some((token.clone(), expires));
        Ok(token)
    }

    async fn send(
        &self,
        path: &str,
        body: &Value,
        token: Option<&Secret>,
        within: Duration,
    ) -> Result<Reply, Failure> {
        let address = &self.processes[self.next].address;
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
