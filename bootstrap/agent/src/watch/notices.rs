//! Notices: read every second, told at once, and acted upon by the node itself when nobody hears.

use super::Autoscaler;
use crate::host::{Request, Verb};
use crate::imds::paths;
use crate::node::Node;
use bootstrap_core::{Answered, Failure, Watch, WatchEffect};
use fleet::wire::{AgentNotice, NoticeBatch, NoticesAccepted};
use fleet::{NoticeKind, Timestamp};
use fleet_notices::imds;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Who has not answered by then is asked again, or another one is.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1500);

/// How long before it goes an instance is told, where no time is said.
const NOTICE: Duration = Duration::from_secs(120);

/// Watches until it is dropped.
pub(super) async fn watch(node: Arc<Node>) {
    let Some(proved) = node.proved() else { return };
    let mut watchman = Watchman {
        watch: Watch::new(proved.document.instance.clone()),
        known: Known::default(),
        autoscaler: Arc::new(Mutex::new(None)),
        sending: JoinSet::new(),
        node,
    };
    let mut next_look = watchman.node.clock.monotonic();
    loop {
        let now = watchman.node.clock.monotonic();
        if now >= next_look {
            next_look = now + watchman.node.settings().watch.notices;
            watchman.look().await;
        }
        let wake = watchman.watch.next_wake().map_or(next_look, |wake| wake.min(next_look));
        let sleep = watchman.node.clock.sleep_until(wake);
        tokio::select! {
            Some(answered) = watchman.sending.join_next(), if !watchman.sending.is_empty() => {
                if let Ok((sequence, answer)) = answered {
                    let now = watchman.node.clock.monotonic();
                    let effects = watchman.watch.answered(sequence, answer, now);
                    watchman.carry_out(effects);
                }
            }
            () = sleep => {
                let effects = watchman.watch.tick(watchman.node.clock.monotonic());
                watchman.carry_out(effects);
            }
        }
    }
}

/// What each document said when it was last read.
#[derive(Clone, Debug, Default)]
struct Known {
    interruption: Option<AgentNotice>,
    rebalance: Option<AgentNotice>,
    scheduled: Option<AgentNotice>,
}

struct Watchman {
    node: Arc<Node>,
    watch: Watch,
    known: Known,
    autoscaler: Arc<Mutex<Option<Autoscaler>>>,
    sending: JoinSet<(u64, Answered)>,
}

impl Watchman {
    /// Reads what the metadata service announces; what cannot be read stays as it was.
    async fn look(&mut self) {
        let seen = self.node.clock.wall();
        if let Some(read) = self.read(paths::INSTANCE_ACTION).await {
            let notice =
                read.and_then(|text| told(paths::INSTANCE_ACTION, imds::instance_action(&text, seen)));
            // The older document stands where an older service has no newer one.
            let notice = match notice {
                Some(notice) => Some(notice),
                None => match self.read(paths::TERMINATION_TIME).await {
                    Some(read) => read.and_then(|text| imds::termination_time(&text, seen)),
                    None => self.known.interruption,
                },
            };
            if notice.is_none() {
                self.see_whether_it_stays(seen);
            }
            // Of an interruption nobody has heard that it was taken back, and its time is the first that was said.
            self.known.interruption = self.known.interruption.or(notice);
            self.node.set_interrupted(self.known.interruption.is_some());
        }
        if let Some(read) = self.read(paths::REBALANCE).await {
            self.known.rebalance = read.and_then(|text| told(paths::REBALANCE, imds::rebalance(&text, seen)));
        }
        if let Some(read) = self.read(paths::SCHEDULED).await {
            self.known.scheduled =
                read.and_then(|text| told(paths::SCHEDULED, imds::scheduled(&text, seen)).flatten());
        }
        let Known { interruption, rebalance, scheduled } = self.known.clone();
        let notices: Vec<AgentNotice> = [interruption, rebalance, scheduled].into_iter().flatten().collect();
        self.say(&notices);
        let effects = self.watch.seen(&notices, self.node.clock.monotonic());
        self.carry_out(effects);
    }

    /// Nothing is announced any more, and the time of what was is over: the instance was stopped or hibernated, and is back.
    fn see_whether_it_stays(&mut self, now: Timestamp) {
        let known = self.known.interruption.map(|notice| goes_at(&notice));
        let until = known.into_iter().chain(self.node.left_until()).max();
        if until.is_some_and(|until| until <= now) {
            tracing::info!("the interruption is over, and the instance is still here");
            self.known.interruption = None;
            self.watch.stays();
            self.node.stays();
        }
    }

    /// A document: `None` where it cannot be read, `Some(None)` where there is none.
    async fn read(&self, path: &str) -> Option<Option<String>> {
        match self.node.imds.get(path).await {
            Ok(found) => Some(found.map(|found| found.text)),
            Err(failure) => {
                tracing::debug!(path, %failure, "could not look for notices");
                None
            }
        }
    }

    fn say(&self, notices: &[AgentNotice]) {
        let words: Vec<String> = notices.iter().map(in_words).collect();
        if self.node.notices() != words {
            for notice in &words {
                tracing::warn!(notice, "the metadata service announces");
            }
            self.node.set_notices(words);
        }
    }

    fn carry_out(&mut self, effects: Vec<WatchEffect>) {
        for effect in effects {
            match effect {
                WatchEffect::Send(batch) => self.send(batch),
                WatchEffect::Leave { deadline } => self.leave(deadline),
            }
        }
    }

    fn send(&mut self, batch: NoticeBatch) {
        let (node, autoscaler) = (Arc::clone(&self.node), Arc::clone(&self.autoscaler));
        self.sending.spawn(async move {
            let sequence = batch.sequence.unwrap_or_default();
            let answer = match tell(&node, &autoscaler, &batch).await {
                Ok(accepted) => {
                    tracing::info!(
                        sequence,
                        confirmed = accepted.confirmed,
                        leader = accepted.leader,
                        "told the autoscaler"
                    );
                    Answered::Accepted(accepted)
                }
                Err(failure) => {
                    tracing::warn!(sequence, %failure, "could not tell the autoscaler");
                    Answered::Failed
                }
            };
            (sequence, answer)
        });
    }

    /// Nobody hears: the client of Nomad drains its own node as it stops.
    fn leave(&self, deadline: Option<Timestamp>) {
        let Some(nomad) = self.node.settings().nomad else { return };
        if self.node.has_left() {
            // A process of the agent before this one told it to: a second signal would cut its drain.
            return;
        }
        tracing::error!(
            ?deadline,
            "nobody confirmed the interruption: the client of Nomad leaves, and drains this node"
        );
        let request = Request::Unit { verb: Verb::Terminate, unit: nomad.unit };
        let until = deadline.unwrap_or_else(|| self.node.clock.wall() + NOTICE);
        self.node.set_left(until);
        let node = Arc::clone(&self.node);
        // Draining takes its time; the looks go on.
        tokio::spawn(async move {
            match node.host.ask(request).await {
                Ok(_) => node.keep_left(until),
                Err(error) => tracing::error!(%error, "could not have the client of Nomad leave"),
            }
        });
    }
}

/// A document that cannot be understood is worth a line, and no more.
fn told<T>(path: &str, read: Result<T, fleet_notices::Unread>) -> Option<T> {
    read.map_err(
        |error| tracing::warn!(path, %error, "could not understand a document of the metadata service"),
    )
    .ok()
}

/// When the instance goes, at the latest.
fn goes_at(notice: &AgentNotice) -> Timestamp {
    notice.deadline_ms.unwrap_or(notice.at_ms + NOTICE)
}

fn in_words(notice: &AgentNotice) -> String {
    let kind = match notice.kind {
        NoticeKind::SpotInterruption => "interruption",
        NoticeKind::RebalanceRecommendation => "rebalance recommendation",
        NoticeKind::ScheduledEvent => "scheduled event",
        // The metadata service calls none of these one.
        NoticeKind::FleetScaleIn => "scale-in",
    };
    notice.deadline_ms.map_or_else(|| kind.to_owned(), |deadline| format!("{kind} at {deadline}"))
}

async fn tell(
    node: &Node,
    autoscaler: &Mutex<Option<Autoscaler>>,
    batch: &NoticeBatch,
) -> Result<NoticesAccepted, Failure> {
    let settings = node.settings().watch.autoscaler;
    let Some(settings) = settings else {
        return Err(Failure::new(fleet::ErrorClass::NotFound, "no autoscaler is configured"));
    };
    let mut held = autoscaler.lock().await;
    if !held.as_ref().is_some_and(|held| held.is_of(&settings)) {
        *held = Some(Autoscaler::new(&settings)?);
    }
    let Some(autoscaler) = held.as_mut() else { unreachable!("it was made above") };
    let body = serde_json::json!(batch);
    let reply = autoscaler.post(node, "/v1/notices", &body, ANSWERS_WITHIN).await;
    let accepted = match reply {
        Ok(reply) if reply.is_success() => reply.json::<NoticesAccepted>("the autoscaler"),
        Ok(reply) => Err(reply.failure("the autoscaler", "take the notices")),
        Err(failure) => Err(failure),
    };
    if !accepted.as_ref().is_ok_and(|accepted| accepted.leader) {
        autoscaler.turn();
    }
    accepted
}
