//! What Consul is told of this node, again and again: a check that nobody feeds is one of a node that is gone.

use super::{AGAIN, ClientOf, beat};
use crate::drive::Command;
use crate::node::Node;
use crate::steps::{Consul, Health, register_again};
use bootstrap_config::ConsulSettings;
use bootstrap_core::{Condition, Failure};
use fleet::ErrorClass;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Feeds until it is dropped.
pub(super) async fn feed(node: Arc<Node>, commands: mpsc::Sender<Command>) {
    let mut kept = ClientOf(None);
    loop {
        let settings = node.settings();
        let pause = settings.consul.as_ref().map_or(AGAIN, |consul| consul.ttl / 3);
        node.clock.sleep_until(beat(node.clock.monotonic(), pause)).await;
        // An agent that is started again says nothing of a node that works before it has looked; of one that it finds failed it does.
        let condition = node.status().map(|status| status.report.condition);
        let is_known = node.is_ready() || (node.has_served() && condition == Some(Condition::Failed));
        if !is_known {
            continue;
        }
        match say_by(&node, &mut kept).await {
            Ok(true) => {}
            Ok(false) => match again(&node).await {
                Ok(()) => {}
                // Its agent may have lost more than that.
                Err(failure) => {
                    tracing::warn!(%failure, "Consul does not know this node's check any more");
                    // A loop that is busy looks soon anyway.
                    let _ = commands.try_send(Command::Verify);
                }
            },
            Err(failure) => tracing::debug!(%failure, "could not tell Consul of this node"),
        }
    }
}

/// Registers what has vanished, and says it once more.
async fn again(node: &Node) -> Result<(), Failure> {
    register_again(node).await?;
    if say(node).await? {
        return Ok(());
    }
    Err(Failure::new(ErrorClass::Conflict, "it was registered again, and Consul does not know it"))
}

/// * returns: whether Consul knows the check.
pub(crate) async fn say(node: &Node) -> Result<bool, Failure> {
    say_by(node, &mut ClientOf(None)).await
}

async fn say_by(node: &Node, kept: &mut ClientOf<ConsulSettings, Consul>) -> Result<bool, Failure> {
    let settings = node.settings();
    let (Some(consul), Some(proved)) = (settings.consul, node.proved()) else { return Ok(true) };
    let (health, words) = health(node);
    kept.of(&consul, Consul::new)?.feed(&proved, health, &words).await
}

fn health(node: &Node) -> (Health, String) {
    let condition = node.status().map(|status| status.report.condition);
    if node.is_unhealthy() {
        return (Health::Critical, "a step has failed, and says that the node is unhealthy".to_owned());
    }
    match condition {
        Some(Condition::Done) => (Health::Passing, "everything stands".to_owned()),
        Some(Condition::Degraded) => (Health::Passing, "degraded: something is left out".to_owned()),
        Some(Condition::Failed) => (Health::Warning, "a step has failed: no new work lands here".to_owned()),
        Some(Condition::Running) | None => (Health::Warning, "not ready yet".to_owned()),
    }
}
