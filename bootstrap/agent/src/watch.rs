//! The watchman: what goes on once it is known which instance this is, beside the loop of the steps.

mod autoscaler;
mod consequences;
pub(crate) mod health;
mod load;
mod maintenance;
mod notices;
#[cfg(test)]
pub(crate) mod tests;
mod vault;

pub use autoscaler::{Autoscaler, Told};

use crate::drive::Command;
use crate::node::{Consequence, Node};
use crate::steps::has_served;
use bootstrap_core::Failure;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

/// How often something that cannot be yet is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// When it is time again for what is done so often: at whole multiples of that, so that parts that look equally often wake at once,
/// which costs little more than one of them.
fn beat(now: Duration, every: Duration) -> Duration {
    let every = every.as_nanos().max(1);
    let next = (now.as_nanos() / every + 1) * every;
    Duration::from_nanos(u64::try_from(next).unwrap_or(u64::MAX))
}

/// A client, kept while its settings are the same: its connection with it, which is most of what asking costs.
struct ClientOf<S, C>(Option<(S, C)>);

impl<S: Clone + PartialEq, C: Clone> ClientOf<S, C> {
    /// The client of these settings: the one of before, or another.
    fn of(&mut self, settings: &S, make: impl FnOnce(&S) -> Result<C, Failure>) -> Result<C, Failure> {
        if let Some((of, client)) = &self.0
            && of == settings
        {
            return Ok(client.clone());
        }
        let client = make(settings)?;
        self.0 = Some((settings.clone(), client.clone()));
        Ok(client)
    }
}

/// A part of the watchman has ended, which none of them ever should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watchman's part for {part} has ended{}", if *.panicked { " in a panic" } else { "" })]
pub struct Ended {
    /// Which.
    pub part: &'static str,
    /// Whether a bug ended it.
    pub panicked: bool,
}

/// The parts that run, by their names.
#[derive(Default)]
struct Parts {
    running: JoinSet<()>,
    names: BTreeMap<Id, &'static str>,
}

impl Parts {
    fn spawn(&mut self, part: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(self.running.spawn(work).id(), part);
    }

    /// The first that ends. May be dropped and asked again.
    async fn ended(&mut self) -> Ended {
        let ended = self.running.join_next_with_id().await;
        let (id, panicked) = match ended {
            Some(Ok((id, ()))) => (Some(id), false),
            Some(Err(error)) => (Some(error.id()), error.is_panic()),
            None => (None, false),
        };
        let part = id.and_then(|id| self.names.get(&id).copied()).unwrap_or("everything");
        Ended { part, panicked }
    }
}

/// Runs until it is dropped, or a part of it ends: who watches with half of his eyes is started again.
///
/// * `commands`: the loop of the steps, which looks when something has vanished.
/// * `consequences`: what failed steps mean.
pub async fn watch(
    node: Arc<Node>,
    commands: mpsc::Sender<Command>,
    consequences: mpsc::UnboundedReceiver<Consequence>,
) -> Ended {
    let mut parts = Parts::default();
    let carried = consequences::carry_out(Arc::clone(&node), commands.clone(), consequences);
    parts.spawn("consequences", carried);
    let proved = loop {
        if let Some(proved) = node.proved() {
            break proved;
        }
        node.looked();
        let sleep = node.clock.sleep_until(node.clock.monotonic() + Duration::from_millis(50));
        tokio::select! {
            ended = parts.ended() => return ended,
            () = sleep => {}
        }
    };
    node.set_served(has_served(&node.directories.run, proved.document.instance.as_str()));
    // Notices come whenever they come: also in the middle of the boot.
    let told = Arc::new(Told::default());
    parts.spawn("notices", notices::watch(Arc::clone(&node), Arc::clone(&told)));
    parts.spawn("the autoscaler", autoscaler::keep_known(Arc::clone(&node), Arc::clone(&told)));
    parts.spawn("maintenance", maintenance::keep(Arc::clone(&node)));
    parts.spawn("Vault", vault::keep(Arc::clone(&node)));
    parts.spawn("load", load::sample(Arc::clone(&node), told));
    parts.spawn("Consul's check", health::feed(Arc::clone(&node), commands));
    parts.ended().await
}
