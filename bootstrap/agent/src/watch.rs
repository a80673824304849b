//! The watchman: what goes on once it is known which instance this is, beside the loop of the steps.

mod autoscaler;
mod consequences;
pub(crate) mod health;
mod load;
mod maintenance;
mod notices;
mod vault;

pub use autoscaler::Autoscaler;

use crate::drive::Command;
use crate::node::{Consequence, Node};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often something that cannot be yet is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
///
/// * `commands`: the loop of the steps, which looks when something has vanished.
/// * `consequences`: what failed steps mean.
pub async fn watch(
    node: Arc<Node>,
    commands: mpsc::Sender<Command>,
    consequences: mpsc::UnboundedReceiver<Consequence>,
) {
    let mut tasks = JoinSet::new();
    tasks.spawn(consequences::carry_out(Arc::clone(&node), commands.clone(), consequences));
    while node.proved().is_none() {
        node.clock.sleep_until(node.clock.monotonic() + Duration::from_millis(50)).await;
    }
    // Notices come whenever they come: also in the middle of the boot.
    tasks.spawn(notices::watch(Arc::clone(&node)));
    tasks.spawn(maintenance::keep(Arc::clone(&node)));
    tasks.spawn(vault::keep(Arc::clone(&node)));
    tasks.spawn(load::sample(Arc::clone(&node)));
    tasks.spawn(health::feed(Arc::clone(&node), commands));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "a part of the watchman has ended");
        }
    }
}
