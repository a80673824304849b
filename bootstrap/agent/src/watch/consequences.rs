//! What a failed step means for the node, carried out.

#[cfg(test)]
mod tests;

use super::{AGAIN, health};
use crate::drive::Command;
use crate::host::Request;
use crate::node::{Consequence, Node};
use crate::steps::{self, Consul};
use bootstrap_core::{Breaker, Failure, Step, Verdict};
use fleet::ErrorClass;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often somebody else may change the breaker in between.
const ATTEMPTS: u32 = 5;

/// How often it is asked again whether the instance may end itself: Consul may have been away, or an operator closed the
/// breaker.
const ASKS_AGAIN: Duration = Duration::from_secs(60);

/// The steps for which the instance is to end itself, and why.
#[derive(Default)]
struct Ending {
    steps: BTreeMap<Step, String>,
    asks_next: Duration,
    /// It is counted among those that have ended themselves.
    counted: bool,
    /// It has become ready since it was last to end itself, and the breaker of its image knows.
    closed: bool,
}

/// Carries out until it is dropped; and closes the breaker of the image once the node is ready.
pub(super) async fn carry_out(
    node: Arc<Node>,
    commands: mpsc::Sender<Command>,
    mut consequences: mpsc::UnboundedReceiver<Consequence>,
) {
    // Nomad was not told of it yet.
    let mut owed = false;
    let mut ending = Ending::default();
    loop {
        let pause = node.clock.sleep_until(node.clock.monotonic() + AGAIN * 10);
        tokio::select! {
            consequence = consequences.recv() => match consequence {
                // What one step's recovery settles is not what another one's failure still owes.
                Some(consequence) => {
                    let settled = one(&node, &commands, &mut ending, consequence).await;
                    owed = !settled || owed && node.is_withheld();
                }
                None => return,
            },
            () = pause => {
                if owed {
                    owed = node.is_withheld() && !withhold(&node).await;
                }
                if ending.steps.is_empty() {
                    if ending.counted {
                        ending.counted = !take_back(&node).await;
                    }
                    if !ending.closed && node.is_ready() {
                        ending.closed = close(&node).await;
                    }
                } else if node.clock.monotonic() >= ending.asks_next {
                    end(&node, &mut ending).await;
                }
            }
        }
    }
}

/// * returns: whether nothing is left to be done of it.
async fn one(
    node: &Node,
    commands: &mpsc::Sender<Command>,
    ending: &mut Ending,
    consequence: Consequence,
) -> bool {
    match consequence {
        Consequence::Withhold { step, unhealthy: _, why } => {
            tracing::error!(%step, why, "no new work is to land on this node");
            withhold(node).await
        }
        Consequence::Restore { step } => {
            tracing::info!(%step, "work may land on this node again, as far as this step is concerned");
            if ending.steps.remove(&step).is_some() && ending.steps.is_empty() {
                node.alarm(TERMINATE, None);
                node.publish();
                // It was counted, and it lives: others may end themselves in its place.
                if ending.counted {
                    ending.counted = !take_back(node).await;
                }
            }
            // The steps know how: Nomad's pool and the mark of readiness are looked at.
            let _ = commands.try_send(Command::Verify);
            true
        }
        Consequence::Terminate { step, why } => {
            let done = withhold(node).await;
            ending.steps.insert(step, why);
            end(node, ending).await;
            done
        }
    }
}

/// The alarm of an instance that was to end itself, and stays.
const TERMINATE: &str = "terminate";

/// Ends the instance, if it may.
async fn end(node: &Node, ending: &mut Ending) {
    ending.asks_next = node.clock.monotonic() + ASKS_AGAIN;
    // What was known of the image is so no more.
    ending.closed = false;
    let why = ending.steps.values().map(String::as_str).collect::<Vec<_>>().join("; ");
    let ended = match may_end(node).await {
        Ok(()) => {
            ending.counted = true;
            tracing::error!(why, "this instance ends itself");
            node.host.ask(Request::PowerOff).await.map(|_| ()).map_err(Failure::from)
        }
        Err(failure) => {
            // It may have been written down all the same.
            ending.counted |= failure.class == ErrorClass::Unclear;
            Err(failure)
        }
    };
    // One that may have been powered off after all stays counted: a breaker that forgets such ones would never open.
    let lives = ended.as_ref().is_err_and(|failure| failure.class != ErrorClass::Unclear);
    if lives && ending.counted {
        ending.counted = !take_back(node).await;
    }
    if let Err(failure) = ended {
        let alarm = format!("the instance was to end itself ({why}), and stays: {failure}");
        tracing::error!(alarm, "this instance stays up");
        node.alarm(TERMINATE, Some(alarm));
    }
    node.publish();
}

/// Keeps new work away: everywhere that it could come from. * returns: whether Nomad's client is kept out of its pool.
async fn withhold(node: &Node) -> bool {
    if let Err(error) = steps::withdraw(&node.directories.run) {
        tracing::warn!(%error, "could not take the mark of readiness away");
    }
    let withheld = steps::withhold(node).await;
    match &withheld {
        // This boot has not begun any client.
        Err(failure) if node.loaded().is_none() => {
            tracing::debug!(%failure, "no client to take out of its pool");
        }
        Err(failure) => tracing::error!(%failure, "could not take the node out of its pool in Nomad"),
        Ok(()) => {}
    }
    if let Err(failure) = health::say(node).await {
        tracing::debug!(%failure, "could not tell Consul of this node");
    }
    withheld.is_ok()
}

/// Where the nodes of an image keep who of them ended itself.
fn key(node: &Node) -> Option<String> {
    let image = node.proved()?.document.image.clone()?;
    Some(format!("muster-bootstrap/breaker/{image}"))
}

/// Whether this node may end itself: it is written down, where all nodes of its image see it.
///
/// Fails where it may not, and where nobody can be asked: a fleet that burns through its instances is worse than one
/// that stands still.
async fn may_end(node: &Node) -> Result<(), Failure> {
    let settings = node.settings();
    let proved = node.identity()?;
    let consul = settings.consul.as_ref().zip(key(node)).ok_or_else(|| {
        Failure::lasting(
            ErrorClass::Denied,
            "without Consul nobody knows how many nodes of this image have ended themselves",
        )
    });
    let (consul, key) = consul?;
    let consul = Consul::new(consul)?;
    let limit = usize::try_from(settings.watch.breaker).unwrap_or(usize::MAX);
    let asks = |breaker: &mut Breaker| match breaker.ask(&proved.document.instance, limit) {
        Verdict::Open { ended } => {
            let what = format!("{ended} nodes of this image have ended themselves in a row");
            Err(Failure::lasting(ErrorClass::Denied, what))
        }
        Verdict::May => Ok(true),
    };
    change(&consul, &key, asks).await
}

/// Changes the breaker of an image, unless somebody else has in between: then it is looked at anew.
///
/// * `changes`: whether there is anything to write; or why nothing may be.
async fn change(
    consul: &Consul,
    key: &str,
    changes: impl Fn(&mut Breaker) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    for _ in 0..ATTEMPTS {
        let (mut breaker, index) = read(consul, key).await?;
        if !changes(&mut breaker)? || consul.set_value(key, &serde_json::json!(breaker), index).await? {
            return Ok(());
        }
    }
    Err(Failure::new(ErrorClass::Conflict, "others change the breaker all the time"))
}

async fn read(consul: &Consul, key: &str) -> Result<(Breaker, u64), Failure> {
    match consul.value(key).await? {
        Some((text, index)) => {
            let breaker = serde_json::from_slice(&text);
            let breaker = breaker.map_err(|error| {
                Failure::new(ErrorClass::Malformed, format_args!("the key {key}: {error}"))
            })?;
            Ok((breaker, index))
        }
        None => Ok((Breaker::default(), 0)),
    }
}

/// A node of the image is ready: the image is good. * returns: whether that is known now.
async fn close(node: &Node) -> bool {
    settle(node, Breaker::close).await
}

/// This node was to end itself, and lives. * returns: whether that is known now.
async fn take_back(node: &Node) -> bool {
    let Some(proved) = node.proved() else { return true };
    settle(node, |breaker| breaker.take_back(&proved.document.instance)).await
}

/// Changes the breaker of the image in this node's favour. * returns: whether it is so now.
async fn settle(node: &Node, changes: impl Fn(&mut Breaker) -> bool) -> bool {
    let settings = node.settings();
    let Some((settings, key)) = settings.consul.as_ref().zip(key(node)) else { return true };
    let Ok(consul) = Consul::new(settings) else { return false };
    change(&consul, &key, |breaker| Ok(changes(breaker))).await.is_ok()
}
