//! Where the autoscalers run, from Consul: each says on which instance it is, and all of them know of all, so that
//! whoever leads takes nobody's instance away.

use crate::idle::Activity;
use crate::leadership::Session;
use crate::queue::{Envelope, Happened};
use autoscaler_consul::Consul;
use autoscaler_leader::SessionId;
use fleet::ports::Clock;
use fleet::{ApiError, InstanceId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The distance of looks. One that has just come is protected before anybody can have been emptied.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The distance of looks until we have said where we are: there is no session before we are registered.
const UNSAID_EVERY: Duration = Duration::from_secs(1);
/// A member counts for so long after its key was held last: it may have lost its session, or been started anew, and
/// Consul's lock delay then keeps it from its own key for 5 s.
const KEPT_FOR: Duration = Duration::from_secs(20);

/// What tells and learns it. Runs on its own, so that no answer of Consul's keeps the lock waiting.
pub(crate) struct Peers {
    pub(crate) consul: Consul,
    /// Where we run, as far as that is known.
    own: Option<InstanceId>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) happened: UnboundedSender<Envelope<Happened>>,
    activity: Arc<Activity>,
}

impl Peers {
    pub(crate) fn new(
        consul: Consul,
        own: Option<InstanceId>,
        clock: &Arc<dyn Clock>,
        happened: &UnboundedSender<Envelope<Happened>>,
        activity: &Arc<Activity>,
    ) -> Self {
        let (clock, activity) = (Arc::clone(clock), Arc::clone(activity));
        Self { consul, own, clock, happened: happened.clone(), activity }
    }

    /// Ends when there is no engine any more. What cannot be read leaves everything as it was.
    pub(crate) async fn run(self, session: Session) {
        let (mut held, mut fails) = (Held::default(), false);
        loop {
            let (said, looked) = self.look(&session).await;
            match &looked {
                Ok(_) if fails => tracing::info!("read again where the autoscalers run"),
                Err(error) if !fails => {
                    tracing::warn!(%error, "failed to learn where the autoscalers run: the last ones count");
                }
                _ => {}
            }
            fails = looked.is_err();
            let now = self.clock.monotonic();
            let changed = match looked {
                Ok(seen) => held.look(seen.into_keys(), now),
                Err(_) => held.stay(now),
            };
            if let Some(peers) = changed {
                let envelope = Envelope { what: Happened::Peers(peers), busy: self.activity.begin() };
                if self.happened.send(envelope).is_err() {
                    return;
                }
            }
            self.clock.sleep_until(now + if said { LOOK_EVERY } else { UNSAID_EVERY }).await;
        }
    }

    /// Looks who is where, and says where we are unless that stands there.
    ///
    /// * returns: whether there is nothing (more) to be said, and who is where.
    async fn look(&self, session: &Session) -> (bool, Result<BTreeMap<InstanceId, SessionId>, ApiError>) {
        let mut seen = self.consul.read_peers().await;
        let (Some(own), Ok(peers)) = (&self.own, &mut seen) else { return (self.own.is_none(), seen) };
        let Some(session) = session.get() else { return (false, seen) };
        if peers.get(own) == Some(&session) {
            return (true, seen);
        }
        match self.consul.say_where(own, &session).await {
            Ok(said) => {
                if said {
                    peers.insert(own.clone(), session);
                }
                (said, seen)
            }
            Err(error) => (false, Err(error)),
        }
    }
}

/// Who was where, and when that was last seen, in monotonic time.
#[derive(Debug, Default)]
struct Held {
    last: BTreeMap<InstanceId, Duration>,
    told: BTreeSet<InstanceId>,
}

impl Held {
    /// It could not be looked: nobody's time passes.
    fn stay(&mut self, now: Duration) -> Option<BTreeSet<InstanceId>> {
        self.last.values_mut().for_each(|at| *at = now);
        None
    }

    /// * returns: who counts, where that has changed.
    fn look(
        &mut self,
        seen: impl IntoIterator<Item = InstanceId>,
        now: Duration,
    ) -> Option<BTreeSet<InstanceId>> {
        self.last.extend(seen.into_iter().map(|id| (id, now)));
        self.last.retain(|_, at| now.saturating_sub(*at) < KEPT_FOR);
        let count: BTreeSet<InstanceId> = self.last.keys().cloned().collect();
        (count != self.told).then(|| {
            self.told.clone_from(&count);
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[&str]) -> BTreeSet<InstanceId> {
        of.iter().map(|id| InstanceId::from(*id)).collect()
    }

    #[test]
    fn a_member_counts_for_a_while_after_it_was_seen_and_changes_alone_are_told() {
        let mut held = Held::default();
        let mut look = |seen: &[&str], at: u64| held.look(ids(seen), Duration::from_secs(at));
        assert_eq!(look(&[], 0), None, "nobody, as before");
        assert_eq!(look(&["i-1", "i-2"], 5), Some(ids(&["i-1", "i-2"])));
        assert_eq!(look(&["i-2", "i-1"], 10), None);
        assert_eq!(look(&["i-1"], 15), None, "it may be on its way back");
        assert_eq!(look(&["i-1"], 29), None);
        assert_eq!(look(&["i-1"], 30), Some(ids(&["i-1"])));
        assert_eq!(look(&["i-1", "i-2"], 35), Some(ids(&["i-1", "i-2"])), "back");
    }

    #[test]
    fn while_consul_is_away_nobody_ceases_to_count() {
        let mut held = Held::default();
        assert_eq!(held.look(ids(&["i-1"]), Duration::from_secs(5)), Some(ids(&["i-1"])));
        assert_eq!(held.stay(Duration::from_secs(600)), None);
        assert_eq!(
            held.look(ids(&[]), Duration::from_secs(605)),
            None,
            "its session may have ended meanwhile"
        );
        assert_eq!(held.look(ids(&[]), Duration::from_secs(620)), Some(ids(&[])));
    }
}
