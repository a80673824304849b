//! Nomad's event stream: what changes, as it changes.

use crate::client::{Nomad, Request, decode};
use crate::error::{Call, NomadError};
use crate::facts::INSTANCE_ATTRIBUTE;
use crate::wire;
use fleet::ports::Clock;
use fleet::{InstanceId, NodeId};
use reqwest::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One write to Nomad's state makes one line; one that ends thousands of allocations is some megabytes.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// Between two tries to connect: doubled from the first, up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

const CALL: Call = Call { operation: "follow events", write: false };

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// The stream begins, for the first time or again: something may have been missed before, so that the
    /// listener has to look at everything once ([`Nomad::survey`]). The first time, what Nomad still keeps of the
    /// past follows; its index tells.
    Began,
    /// A node changed.
    Node(NodeEvent),
    /// An allocation changed.
    Alloc(AllocEvent),
    /// The stream ended; it is taken up again, after a pause that grows.
    Ended(NomadError),
}

/// A node after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// Nomad's word for the change: `NodeDrain`, `NodeRegistration`, … Go by the fields: Nomad 1.10 calls a change
    /// of eligibility `NodeDrain`, too.
    pub kind: String,
    /// The index of the change.
    pub index: u64,
    /// The node.
    pub node: NodeId,
    /// Its instance; `None` where it has none.
    pub instance: Option<InstanceId>,
    /// Nomad's word for how it is: `ready`, `down`, …
    pub status: String,
    /// Whether new work may be placed on it.
    pub eligible: bool,
    /// Whether a drain is under way.
    pub draining: bool,
}

/// An allocation after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocEvent {
    /// Nomad's word for the change: `AllocationUpdated`, …
    pub kind: String,
    /// The index of the change.
    pub index: u64,
    /// The allocation.
    pub alloc: String,
    /// Its node.
    pub node: NodeId,
    /// Its job's namespace.
    pub namespace: String,
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Nomad's word for what is wanted of it: `run`, `stop`, `evict`.
    pub desired: String,
    /// Nomad's word for how it is: `pending`, `running`, `complete`, …
    pub client: String,
}

/// A listener on the event stream, of nodes and allocations.
///
/// It goes on where it was when the stream breaks, by the index of the last change that it heard; Nomad keeps only
/// so many, and nobody can tell whether one was missed, so that each beginning is said ([`Heard::Began`]).
pub struct Follower {
    nomad: Nomad,
    clock: Arc<dyn Clock>,
    /// Of the last change that was heard; 0: from what Nomad still keeps.
    index: u64,
    stream: Option<Response>,
    /// What came of the line that is not whole yet.
    line: Vec<u8>,
    heard: VecDeque<Heard>,
    /// The pause before the next try, and when it ends.
    pause: Duration,
    resume: Option<Duration>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, open) = (self.index, self.stream.is_some());
        f.debug_struct("Follower").field("index", &index).field("open", &open).finish_non_exhaustive()
    }
}

impl Nomad {
    /// A listener on the event stream. Connects when it is first asked.
    ///
    /// The token needs `node:read`, and `read-job` on the one namespace of the options, or on all where they
    /// name none or several.
    pub fn follow(&self, clock: Arc<dyn Clock>) -> Follower {
        Follower {
            nomad: self.clone(),
            clock,
            index: 0,
            stream: None,
            line: Vec::new(),
            heard: VecDeque::new(),
            pause: FIRST_PAUSE,
            resume: None,
        }
    }
}

impl Follower {
    /// The next thing that is heard. Never ends; can be dropped while it waits, and nothing is lost.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let done = match self.stream {
                None => self.begin().await,
                Some(_) => self.hear().await,
            };
            if let Err(error) = done {
                self.end(&error);
                // After what was heard before.
                self.heard.push_back(Heard::Ended(error));
            }
        }
    }

    fn end(&mut self, error: &NomadError) {
        if let NomadError::TooLarge { .. } | NomadError::Malformed { .. } = error {
            // It would come again: skipped, and made up for by looking at everything.
            self.index = 0;
        }
        self.rest();
    }

    fn rest(&mut self) {
        self.stream = None;
        self.line.clear();
        self.resume = Some(self.clock.monotonic() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    async fn begin(&mut self) -> Result<(), NomadError> {
        if let Some(resume) = self.resume {
            self.clock.sleep_until(resume).await;
        }
        let options = &self.nomad.shared.options;
        let namespace = if let [one] = &options.namespaces[..] { one } else { "*" };
        let index = if self.index == 0 { 0 } else { self.index + 1 }.to_string();
        let query =
            [("topic", "Node"), ("topic", "Allocation"), ("namespace", namespace), ("index", &*index)];
        let request = Request { call: CALL, ..Request::read("", &["event", "stream"], &query) };
        self.stream = Some(self.nomad.open(&request).await?);
        self.heard.push_back(Heard::Began);
        Ok(())
    }

    async fn hear(&mut self) -> Result<(), NomadError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let chunk = stream.chunk().await;
        let chunk = chunk.map_err(|error| NomadError::Cut { call: CALL, source: error.without_url() })?;
        let Some(mut rest) = chunk.as_deref() else {
            // It ended as it should: the server stops. What was missed is made up for at the next beginning.
            self.rest();
            return Ok(());
        };
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end])?;
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.read(&line)?;
        }
        self.extend(rest)
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), NomadError> {
        if self.line.len() + part.len() > MAX_LINE_BYTES {
            return Err(NomadError::TooLarge { call: CALL, limit: MAX_LINE_BYTES });
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn read(&mut self, line: &[u8]) -> Result<(), NomadError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let frame: Frame = decode(CALL, line)?;
        // Whoever says something lives: the next break is a new one.
        self.pause = FIRST_PAUSE;
        if let Some(index) = frame.index {
            self.index = index;
        }
        for event in frame.events.into_iter().flatten() {
            self.heard.extend(event.heard()?);
        }
        Ok(())
    }
}

/// A line; `{}` now and then, to say that the server lives.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Frame {
    index: Option<u64>,
    events: Option<Vec<Event>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    topic: String,
    #[serde(rename = "Type")]
    kind: String,
    index: u64,
    payload: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodePayload {
    node: wire::Node,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AllocPayload {
    allocation: wire::Alloc,
}

fn payload_as<T: DeserializeOwned>(payload: Value) -> Result<T, NomadError> {
    serde_json::from_value(payload).map_err(|source| NomadError::Malformed { call: CALL, source })
}

impl Event {
    fn heard(self) -> Result<Option<Heard>, NomadError> {
        let Self { topic, kind, index, payload } = self;
        Ok(match &*topic {
            "Node" => {
                let node = payload_as::<NodePayload>(payload)?.node;
                let instance = node.attributes.get(INSTANCE_ATTRIBUTE).filter(|text| !text.is_empty());
                Some(Heard::Node(NodeEvent {
                    kind,
                    index,
                    node: NodeId::from(&*node.id),
                    instance: instance.map(|text| InstanceId::from(&**text)),
                    eligible: node.scheduling_eligibility == "eligible",
                    draining: node.drain_strategy.is_some(),
                    status: node.status,
                }))
            }
            "Allocation" => {
                let alloc = payload_as::<AllocPayload>(payload)?.allocation;
                Some(Heard::Alloc(AllocEvent {
                    kind,
                    index,
                    alloc: alloc.id,
                    node: NodeId::from(&*alloc.node_id),
                    namespace: alloc.namespace,
                    job: alloc.job_id,
                    group: alloc.task_group,
                    desired: alloc.desired_status,
                    client: alloc.client_status,
                }))
            }
            _ => None,
        })
    }
}
