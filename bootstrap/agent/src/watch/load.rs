//! How busy the node is, told in batches.

use super::notices::whole;
use super::{Autoscaler, Told, beat};
use crate::node::Node;
use bootstrap_core::{Outbox, Reading, Sampler, runnable};
use fleet::wire::SampleBatch;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often it is looked what could run, which is told as a mean.
const LOOKS: Duration = Duration::from_secs(1);
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// The processes of the autoscaler that need not have a batch again.
type Settled = BTreeSet<String>;

/// Samples until it is dropped, from when the node is ready: what a boot computes, and AWX's job in it, is no load of the fleet's, and
/// would have it grow by another node that boots.
///
/// Whoever is told may hang: the kernel's counters are read all the same.
pub(super) async fn sample(node: Arc<Node>, told: Arc<Told>) {
    let Some(proved) = node.proved() else { return };
    let mut period = node.settings().watch.samples;
    let mut sampler = Sampler::new(period);
    let mut outbox = Outbox::new(proved.document.instance.clone());
    let mut settled = Settled::new();
    let mut sending: JoinSet<(Settled, bool)> = JoinSet::new();
    let mut next_look = node.clock.monotonic();
    loop {
        let next = tokio::select! {
            Some(sent) = sending.join_next(), if !sending.is_empty() => {
                let (by, everybody) = whole(sent);
                if everybody {
                    outbox.settled();
                }
                // It goes once more to those that lack it.
                let again = if everybody { None } else { outbox.lost() };
                settled = if again.is_some() { by } else { Settled::new() };
                again.or_else(|| outbox.to_send())
            }
            () = node.clock.sleep_until(next_look) => {
                let planned = std::mem::replace(&mut next_look, beat(node.clock.monotonic(), LOOKS));
                let settings = node.settings().watch;
                // Work may be here from before the agent was started again.
                let is_in_service = node.has_served();
                if settings.samples != period || !is_in_service {
                    period = settings.samples;
                    sampler = Sampler::new(period);
                }
                if settings.autoscaler.is_none() || !is_in_service {
                    continue;
                }
                let Some(runnable) = read("loadavg").as_deref().and_then(runnable) else { continue };
                if !sampler.look(runnable, planned) {
                    continue;
                }
                let Some(reading) = counters() else { continue };
                let (now, wall) = (node.clock.monotonic(), node.clock.wall());
                if let Some(sample) = sampler.take(reading, planned, now, wall) {
                    outbox.push(sample);
                }
                outbox.to_send()
            }
        };
        let Some(batch) = next else { continue };
        let (node, told) = (Arc::clone(&node), Arc::clone(&told));
        let by = settled.clone();
        sending.spawn(async move { send(&node, &told, &batch, by).await });
    }
}

/// Sends a batch to every process that has not settled it: the leader, whoever that is, decides by it, and a standby has to know
/// what it will decide upon.
///
/// * returns: who has it, or will never take it; whether these are all.
async fn send(node: &Node, told: &Told, batch: &SampleBatch, mut by: Settled) -> (Settled, bool) {
    // Taken out of the configuration since: nobody waits for it.
    let Some(settings) = node.settings().watch.autoscaler else { return (by, true) };
    let found = match told.of(&settings) {
        Ok(autoscaler) => autoscaler.all(node).await.map(|all| (autoscaler, all)),
        Err(failure) => Err(failure),
    };
    let (autoscaler, all) = match found {
        Ok(found) => found,
        Err(failure) => {
            tracing::debug!(%failure, "could not tell the autoscaler of load");
            return (by, false);
        }
    };
    let mut everybody = true;
    for address in all {
        if by.contains(&address) {
            continue;
        }
        if settles(node, &autoscaler, &address, batch).await {
            by.insert(address);
        } else {
            everybody = false;
        }
    }
    (by, everybody)
}

/// * returns: whether it need not come to this process again: it has it, or will never take it.
async fn settles(node: &Node, autoscaler: &Autoscaler, address: &str, batch: &SampleBatch) -> bool {
    let body = serde_json::json!(batch);
    match autoscaler.post(node, address, "/v1/samples", &body, ANSWERS_WITHIN).await {
        Ok(reply) if reply.is_success() => true,
        Ok(reply) => {
            let (status, words) = (reply.status, reply.words());
            tracing::debug!(address, status, words, "the autoscaler did not take the load");
            (400..500).contains(&status) && status != 429
        }
        Err(failure) => {
            tracing::debug!(address, %failure, "a process of the autoscaler did not answer");
            autoscaler.doubt();
            false
        }
    }
}

/// The kernel's counters.
fn counters() -> Option<Reading> {
    Reading::parse(&read("stat")?, read("pressure/cpu").as_deref())
}

/// A file of `/proc`.
fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{name}")).ok()
}
