//! How busy the node is, told in batches.

use super::{Autoscaler, Told};
use crate::node::Node;
use bootstrap_core::{Outbox, Reading, Sampler};
use fleet::wire::SampleBatch;
use std::sync::Arc;
use std::time::Duration;

/// How often the kernel's counters are read: what could run is a mean over these.
const LOOKS: Duration = Duration::from_secs(1);
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Samples until it is dropped.
pub(super) async fn sample(node: Arc<Node>, told: Arc<Told>) {
    let Some(proved) = node.proved() else { return };
    let mut period = node.settings().watch.samples;
    let mut sampler = Sampler::new(period);
    let mut outbox = Outbox::new(proved.document.instance.clone());
    loop {
        node.clock.sleep_until(node.clock.monotonic() + LOOKS).await;
        let settings = node.settings().watch;
        let Some(autoscaler) = settings.autoscaler else { continue };
        if settings.samples != period {
            period = settings.samples;
            sampler = Sampler::new(period);
        }
        let autoscaler = match told.of(&autoscaler) {
            Ok(autoscaler) => autoscaler,
            Err(failure) => {
                tracing::warn!(%failure, "could not make ready to tell the autoscaler of load");
                continue;
            }
        };
        let Some(reading) = read() else { continue };
        if let Some(sample) = sampler.take(reading, node.clock.monotonic(), node.clock.wall()) {
            outbox.push(sample);
        }
        let mut out = outbox.to_send();
        while let Some(batch) = out.take() {
            if send(&node, &autoscaler, &batch).await {
                outbox.settled();
            } else {
                out = outbox.lost();
            }
        }
    }
}

/// * returns: whether it need not come again: somebody has it, or nobody will ever take it.
async fn send(node: &Node, autoscaler: &Autoscaler, batch: &SampleBatch) -> bool {
    let body = serde_json::json!(batch);
    match autoscaler.post_to_all(node, "/v1/samples", &body, ANSWERS_WITHIN).await {
        Ok(replies) => replies.iter().any(|reply| {
            let refused = reply.status >= 400 && reply.status < 500 && reply.status != 429;
            if refused {
                tracing::debug!(
                    status = reply.status,
                    words = reply.words(),
                    "the autoscaler did not take the load"
                );
            }
            refused || reply.is_success()
        }),
        Err(failure) => {
            tracing::debug!(%failure, "could not tell the autoscaler of load");
            false
        }
    }
}

/// The kernel's counters.
fn read() -> Option<Reading> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").ok();
    Reading::parse(&stat, pressure.as_deref())
}
