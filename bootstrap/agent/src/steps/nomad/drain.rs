//! What a client that leaves gives its work to end: never more than the notice has left.
//!
//! Nomad's client reads `drain_on_shutdown` as it starts, and no signal has it read that anew; a right to drain by the API would
//! be one over every node. So one that has less time left is started again with less, which leaves its work alone, and is told
//! to leave then.

use super::client::Runs;
use super::{NomadClient, configuration, start};
use crate::host::{Contents, Request, Verb};
use crate::node::Node;
use bootstrap_core::Failure;
use fleet::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What it is configured with: of the two minutes of a notice, less what a shutdown itself takes.
pub(super) const CONFIGURED: Duration = Duration::from_secs(90);
/// Work that is stopped at the deadline is given some seconds to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// The longest that the client may take from its restart until its servers hear it again. Two seconds, as a rule.
const RESTARTS_WITHIN: Duration = Duration::from_secs(20);
/// Who has less left gains nothing by a restart.
const LEAST: Duration = Duration::from_secs(40);
const LOOKS: Duration = Duration::from_millis(100);

/// The deadline that a client has to be started again with, so that it has drained its node in time.
///
/// * `left`: until the instance goes.
/// * returns: whole seconds; `None`: what it is configured with fits, or there is no time for a restart.
fn shorter(left: Duration) -> Option<Duration> {
    if left >= CONFIGURED + ENDS_WITHIN || left < LEAST {
        return None;
    }
    // A quarter for what is stopped last, as of a whole notice.
    let drains = left.saturating_sub(RESTARTS_WITHIN) * 3 / 4;
    Some(Duration::from_secs(drains.as_secs()))
}

/// Has the client, which is about to be told to leave, hear that, and drain its node before the instance goes. Takes a
/// quarter of the time that is left, [`RESTARTS_WITHIN`] at the most, and [`RESTARTS_WITHIN`] once more where it is restarted.
///
/// * `again`: it was told already, and what it drains with is as it is.
///
/// Nothing that goes wrong in here keeps it from leaving: with what it was started with, then.
pub(crate) async fn fit_drain(node: &Node, goes: Timestamp, again: bool) {
    let within = RESTARTS_WITHIN.min(goes.since(node.clock.wall()) / 4);
    tokio::select! {
        () = has_started(node) => {}
        () = node.clock.sleep_until(node.clock.monotonic() + within) => {
            tracing::warn!("the client of Nomad, which was just started, is not heard by its servers yet");
        }
    }
    let Some(deadline) = shorter(goes.since(node.clock.wall())).filter(|_| !again) else { return };
    let until = node.clock.monotonic() + RESTARTS_WITHIN;
    let seconds = deadline.as_secs();
    tokio::select! {
        fitted = restart(node, deadline) => match fitted {
            Ok(()) => tracing::info!(seconds, "the client of Nomad drains within what the notice has left"),
            Err(failure) => tracing::warn!(%failure, seconds, "could not have the client of Nomad drain sooner"),
        },
        () = node.clock.sleep_until(until) => {
            tracing::warn!(seconds, "the client of Nomad took too long to start again");
        }
    }
}

/// Waits until nobody starts the client, and its servers hear one that was just started: a signal that comes before it listens
/// to any would end it with its work where that is, and what a restart brings up after the signal would never have heard it.
async fn has_started(node: &Node) {
    let started = *node.client.lock().await;
    let Some(until) = started.map(|started| started + RESTARTS_WITHIN) else { return };
    let Some(nomad) = node.settings().nomad else { return };
    let Ok(client) = NomadClient::new(&nomad) else { return };
    while node.clock.monotonic() < until && client.work().await.is_err() {
        node.clock.sleep_until(node.clock.monotonic() + LOOKS).await;
    }
}

/// Starts the client again where it is, with another deadline, and waits until its servers hear it.
async fn restart(node: &Node, deadline: Duration) -> Result<(), Failure> {
    let settings = node.settings();
    let (Some(nomad), Ok(proved)) = (&settings.nomad, node.identity()) else { return Ok(()) };
    let client = NomadClient::new(nomad)?;
    // One of somebody else, or none: nothing here is known of it.
    let Runs::As { name, pool } = client.runs().await? else { return Ok(()) };
    if name != proved.document.instance.as_str() {
        return Ok(());
    }
    let mut whole = configuration(&settings, nomad, &proved, &pool);
    whole["client"]["drain_on_shutdown"]["deadline"] = json!(format!("{}s", deadline.as_secs()));
    let contents = Contents(format!("{whole:#}\n"));
    let alone = Arc::clone(&node.client).lock_owned().await;
    node.host.ask(Request::Place { file: nomad.file.clone(), contents }).await?;
    start(node, alone, Verb::TryRestart, &nomad.unit).await?;
    // A signal that comes before it listens to any would end it with its work where that is.
    while client.work().await.is_err() {
        node.clock.sleep_until(node.clock.monotonic() + LOOKS).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_leaves_has_drained_before_the_instance_goes() {
        for left in 0..=120 {
            let left = Duration::from_secs(left);
            match shorter(left) {
                Some(deadline) => {
                    assert!(deadline + RESTARTS_WITHIN <= left, "{left:?}: {deadline:?}");
                    assert!(
                        deadline >= Duration::from_secs(15) && deadline < CONFIGURED,
                        "{left:?}: {deadline:?}"
                    );
                }
                None => assert!(left >= CONFIGURED + ENDS_WITHIN || left < LEAST, "{left:?}"),
            }
        }
        let secs = |left: u64| shorter(Duration::from_secs(left)).map(|deadline| deadline.as_secs());
        let found = [117, 100, 99, 50, 40, 39, 0].map(secs);
        assert_eq!(found, [None, None, Some(59), Some(22), Some(15), None, None]);
    }
}
