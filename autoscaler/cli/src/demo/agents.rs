//! The agents of the simulated instances: each pushes its samples to the daemon over HTTP, from its own address.

use anyhow::{Context, Result};
use fleet::wire::{SampleBatch, SamplesAccepted, VERSION};
use fleet::{InstanceId, Timestamp};
use fleet_sim::World;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Pushes what the world's instances measured.
pub struct Agents {
    daemon: SocketAddr,
    token: String,
    /// What was measured up to here has been sent.
    sent: Timestamp,
    known: BTreeMap<InstanceId, Agent>,
}

struct Agent {
    http: reqwest::Client,
    sequence: u64,
}

impl Agents {
    /// Agents that speak to the daemon at `daemon` with the bearer token `token`.
    pub fn new(daemon: SocketAddr, token: String, start: Timestamp) -> Self {
        Self { daemon, token, sent: start, known: BTreeMap::new() }
    }

    /// Sends what can be sent by now, and waits for the answers.
    pub async fn push(&mut self, world: &Mutex<World>) -> Result<()> {
        let mut samples = Vec::new();
        let addresses = {
            let world = world.lock().unwrap_or_else(PoisonError::into_inner);
            world.agent_samples(self.sent, &mut samples);
            addresses(&world, samples.iter().map(|(instance, _)| instance))
        };
        let Some(newest) = samples.iter().map(|(_, sample)| sample.end_ms).max() else { return Ok(()) };
        self.sent = newest;
        let mut batches: BTreeMap<InstanceId, SampleBatch> = BTreeMap::new();
        for (instance, sample) in samples {
            let batch = batches.entry(instance.clone()).or_insert_with(|| SampleBatch {
                version: VERSION,
                instance,
                sequence: 0,
                samples: Vec::new(),
            });
            batch.samples.push(sample);
        }
        self.known.retain(|instance, _| batches.contains_key(instance));
        for (instance, mut batch) in batches {
            let Some(address) = addresses.get(&instance) else { continue };
            let agent = match self.known.entry(instance) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Agent::new(*address)?),
            };
            batch.sequence = agent.sequence;
            agent.sequence += 1;
            agent.send(self.daemon, &self.token, &batch).await?;
        }
        Ok(())
    }
}

fn addresses<'a>(
    world: &World,
    instances: impl Iterator<Item = &'a InstanceId>,
) -> BTreeMap<InstanceId, IpAddr> {
    instances.filter_map(|id| Some((id.clone(), world.private_address(id)?))).collect()
}

impl Agent {
    fn new(address: IpAddr) -> Result<Self> {
        let http = autoscaler::tls::client(false)
            .local_address(address)
            .no_proxy()
            .pool_max_idle_per_host(1)
            .timeout(Duration::from_secs(10))
            .build()
            .with_context(|| format!("failed to bind an agent to {address}"))?;
        Ok(Self { http, sequence: 0 })
    }

    /// An answer that refuses the batch is the daemon's own decision (an instance that it has not been shown
    /// yet, say); only a daemon that does not answer ends the demo.
    async fn send(&self, daemon: SocketAddr, token: &str, batch: &SampleBatch) -> Result<()> {
        let answer = self
            .http
            .post(format!("http://{daemon}/v1/samples"))
            .bearer_auth(token)
            .json(batch)
            .send()
            .await
            .context("failed to push samples to the daemon")?;
        if answer.status().is_success() {
            let _: SamplesAccepted = answer.json().await.context("failed to read the answer to samples")?;
        }
        Ok(())
    }
}
