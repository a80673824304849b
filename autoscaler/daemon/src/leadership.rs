//! Who leads, where several autoscalers run: the elector, its calls to Consul, and what the engine is told of it.
//!
//! The elector is fed by the engine's own task: a loop that hangs feeds no check, and leads no longer.

use autoscaler_consul::Consul;
use autoscaler_engine::{ConsulTrouble, LeaderRole, Now};
use autoscaler_leader::{Answer, CallId, Effect, Elector, Event, Fence, Role, SessionId, Status, Trouble};
use fleet::ports::Clock;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// The session that leads now, for whoever writes what only a leader may. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session(Arc<Mutex<Option<SessionId>>>);

impl Session {
    pub(crate) fn set(&self, session: Option<SessionId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }
    pub(crate) fn get(&self) -> Option<SessionId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An elector and its calls.
pub(crate) struct Leadership {
    elector: Elector,
    consul: Consul,
    clock: Arc<dyn Clock>,
    calls: JoinSet<(CallId, Answer)>,
    wake: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    session: Session,
    /// The lease that the engine knows of.
    told: Option<Duration>,
    /// The calls to Consul whose failure has been logged.
    failing: BTreeSet<&'static str>,
    resigned: bool,
}

impl Leadership {
    /// A contender for the lock in Consul. Asks nothing before its first event.
    pub(crate) fn new(consul: Consul, clock: Arc<dyn Clock>) -> Self {
        Self {
            elector: Elector::contender(),
            consul,
            clock,
            calls: JoinSet::new(),
            wake: None,
            session: Session::default(),
            told: None,
            failing: BTreeSet::new(),
            resigned: false,
        }
    }

    pub(crate) fn fence(&self) -> Fence {
        self.elector.fence()
    }

    pub(crate) fn session(&self) -> Session {
        self.session.clone()
    }

    /// Waits for the next thing that happens to the elector.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let wake = async {
                match &mut self.wake {
                    Some(wake) => wake.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(ended) = self.calls.join_next() => match ended {
                    Ok((call, answer)) => return Event::Answered { call, answer },
                    // The elector gives up a call that nobody answers.
                    Err(error) => tracing::error!(%error, "lost a call to Consul to a panic"),
                },
                () = wake => {
                    self.wake = None;
                    return Event::Timer;
                }
            }
        }
    }

    /// Takes in what happened.
    ///
    /// * `blind`: whether AWS does not answer us.
    /// * returns: the lease, where it is another than the engine was told.
    pub(crate) fn handle(&mut self, event: Event, blind: bool) -> Option<autoscaler_engine::Event> {
        let now = self.clock.monotonic();
        self.elector.set_blind(blind, now);
        for effect in self.elector.handle(event, now) {
            self.carry_out(effect);
        }
        self.session.set(self.elector.session().cloned());
        if self.elector.gave_way().is_some_and(|at| at == now) {
            tracing::warn!("let go of the lock: AWS does not answer, and others may be able to act");
        }
        self.say_troubles(now);
        let lease = self.elector.fence().until().filter(|_| self.elector.may_write(now));
        (lease != self.told).then(|| {
            self.told = lease;
            autoscaler_engine::Event::Lease { until: lease }
        })
    }

    /// What we are, for people.
    pub(crate) fn status(&self, now: Now) -> autoscaler_engine::Leadership {
        let Status { role, lease_until, lost_at, session: _, troubles } = self.elector.status(now.monotonic);
        let wall = |at: Duration| now.wall - now.monotonic.saturating_sub(at);
        let role = match role {
            Role::Leader { .. } => LeaderRole::Leader,
            Role::Standby { leader } => {
                LeaderRole::Standby { leader: leader.map(|leader| leader.to_string()) }
            }
            Role::Lost { .. } => LeaderRole::Lost { since: lost_at.map_or(now.wall, wall) },
            Role::Resigned => LeaderRole::Resigned,
        };
        let troubles = troubles.into_iter().map(|trouble| {
            let Trouble { operation, since, failures, failure } = trouble;
            let (operation, message) = (operation.to_owned(), failure.to_string());
            ConsulTrouble { operation, since: wall(since), failures, message }
        });
        let lease = lease_until.map(|until| until.saturating_sub(now.monotonic).as_secs_f64());
        autoscaler_engine::Leadership { role, lease_seconds: lease, troubles: troubles.collect() }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Call { call, request } => {
                let consul = self.consul.clone();
                self.calls.spawn(async move { (call, consul.answer(&request).await) });
            }
            Effect::WakeAt { at } => self.wake = Some(self.clock.sleep_until(at)),
            Effect::Became(role) => say(&role),
            Effect::Resigned => self.resigned = true,
        }
    }

    /// Says once what fails with Consul, and once that it works again.
    fn say_troubles(&mut self, now: Duration) {
        let troubles = self.elector.status(now).troubles;
        for Trouble { operation, failure, .. } in &troubles {
            if self.failing.insert(operation) {
                tracing::warn!(operation, error = %failure, "failed to reach Consul");
            }
        }
        self.failing.retain(|operation| {
            let still = troubles.iter().any(|trouble| trouble.operation == *operation);
            if !still {
                tracing::info!(operation, "reached Consul again");
            }
            still
        });
    }

    /// Gives leadership up, so that the next leader may follow at once. To be bounded by whoever calls it: the lock
    /// runs out by itself.
    pub(crate) async fn resign(&mut self) {
        let mut event = Event::Resign;
        loop {
            let _ = self.handle(event, false);
            if self.resigned {
                return;
            }
            event = self.next().await;
        }
    }
}

fn say(role: &Role) {
    match role {
        Role::Standby { leader } => {
            tracing::info!(leader = leader.as_ref().map_or("nobody", |leader| leader.as_str()), "stood by");
        }
        Role::Leader { term } => tracing::info!(term = term.0, "began to lead"),
        Role::Lost { term } => {
            tracing::warn!(term = term.0, "could not prove leadership any more: wrote nothing from then on");
        }
        Role::Resigned => tracing::info!("gave up leadership"),
    }
}
