//! Consul's maintenance: a node whose work has gone elsewhere leaves every service's answers, and comes back if it stays.
//!
//! Not before its work has gone. Nomad moves allocations in an order of its own, takes each out of Consul before it is told to end,
//! and leaves the others to serve meanwhile: of several nodes that go at once they may be all that a service has.
//!
//! Whoever drains it: an interruption, the autoscaler, an operator. What Consul has survives the agent, a reboot and a
//! stop: so it is read, not remembered. What somebody else has said is theirs to take back.

use super::{AGAIN, ClientOf, beat};
use crate::node::Node;
use crate::steps::{Consul, NomadClient};
use bootstrap_config::{ConsulSettings, NomadSettings};
use bootstrap_core::Failure;
use std::sync::Arc;
use std::time::Duration;

/// How often Nomad is asked how it is, and Consul while the node goes.
const LOOKS: Duration = Duration::from_secs(10);
/// How often Consul is while it stays: a connection for each of them is most of what an idle agent computes.
const SELDOM: Duration = Duration::from_secs(60);
/// By this the agent knows its own words again.
const OURS: &str = "muster-bootstrap: ";

/// Sees to it until it is dropped.
pub(super) async fn keep(node: Arc<Node>) {
    let (mut nomad, mut consul) = (ClientOf(None), ClientOf(None));
    let (mut next_look, mut next_read) = (Duration::ZERO, Duration::ZERO);
    // What Consul has, as far as that is known.
    let mut held = None;
    // Until then there is no work that could go elsewhere, and the steps are asking.
    let mut was_ready = false;
    let mut has_work = true;
    loop {
        was_ready |= node.has_served();
        if !was_ready {
            node.clock.sleep_until(beat(node.clock.monotonic(), AGAIN)).await;
            continue;
        }
        let now = node.clock.monotonic();
        if now >= next_look {
            next_look = beat(now, LOOKS);
            if now >= next_read || held == Some(true) || node.is_leaving() {
                next_read = now + SELDOM;
                held = None;
            }
            has_work = ask_nomad(&node, &mut nomad).await.unwrap_or(has_work);
        }
        let leaves = node.is_leaving() && !has_work;
        if held != Some(leaves) {
            match set(&node, &mut consul, leaves).await {
                Ok(()) => held = Some(leaves),
                Err(failure) => {
                    tracing::debug!(%failure, "could not see to the node's maintenance in Consul");
                    // Leaving is urgent; coming back is not.
                    held = (!leaves).then_some(false);
                    next_read = next_look;
                }
            }
        }
        node.clock.sleep_until(beat(node.clock.monotonic(), AGAIN)).await;
    }
}

/// Asks what work may land here, and whether it is drained. While nobody answers, what was said last holds.
///
/// * returns: whether there may be work here that Nomad sees to; `None`: nobody can say.
async fn ask_nomad(node: &Node, kept: &mut ClientOf<NomadSettings, NomadClient>) -> Option<bool> {
    let Some(nomad) = node.settings().nomad else {
        // A client that the configuration does not have any more is nobody's to speak of.
        node.forget_work();
        return Some(false);
    };
    let asked = async {
        let client = kept.of(&nomad, NomadClient::new)?;
        match client.work().await {
            Ok(work) => {
                node.set_work(work);
                Ok(Some(!work.drained))
            }
            Err(failure) if client.is_gone().await => {
                tracing::debug!(%failure, "Nomad's client of this node is not there");
                Ok(Some(false))
            }
            Err(failure) => Err(failure),
        }
    };
    asked.await.unwrap_or_else(|failure: Failure| {
        tracing::debug!(%failure, "could not ask Nomad of this node");
        None
    })
}

async fn set(node: &Node, kept: &mut ClientOf<ConsulSettings, Consul>, leaves: bool) -> Result<(), Failure> {
    let Some(settings) = node.settings().consul else { return Ok(()) };
    let consul = kept.of(&settings, Consul::new)?;
    match consul.maintenance_reason().await? {
        None if leaves => {
            consul.maintenance(true, &format!("{OURS}the work of this node goes elsewhere")).await
        }
        Some(reason) if !leaves && reason.starts_with(OURS) => {
            tracing::info!("the node stays: its maintenance in Consul ends");
            consul.maintenance(false, "").await
        }
        None | Some(_) => Ok(()),
    }
}
