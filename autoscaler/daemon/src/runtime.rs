//! The one task that owns the engine: takes in what happened, one thing after the other, and hands on what is to
//! be done. It never waits for anything but the next thing that happens.

use crate::effects::Calls;
use crate::hooks::Hooks;
use crate::idle::{Activity, Busy, Sleep};
use crate::leadership::Leadership;
use crate::ledgers::{Halves, Ledgers};
use crate::logbook::Logbook;
use crate::metrics::Metrics;
use crate::named::{Named, TaskEnd};
use crate::queue::{Ask, Envelope, Happened, Waiting};
use crate::queues::Queues;
use crate::recorder::Recorder;
use autoscaler_engine::{BatchId, Effect, Engine, Event, NoticesHeard, Now};
use fleet::ports::Clock;
use fleet::wire::NoticesAccepted;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::watch;

/// How long giving leadership up may take at a stop.
const RESIGN_WITHIN: Duration = Duration::from_secs(3);

/// How a daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Gracefully: everything in flight was finished or journaled.
    Stopped,
    /// At the stop's deadline: what was in flight is in the journal as intended, its outcome is not.
    CutOff,
    /// At once, as ordered.
    AtOnce,
    /// By a bug: the words of the panic are in the log.
    Panicked,
}

/// What reaches the engine's task. When a channel is empty and closed nobody is left to use it.
pub(crate) struct Inlets {
    /// Served first; at a stop it is read until the engine is done.
    pub(crate) happened: UnboundedReceiver<Envelope<Happened>>,
    /// At a stop it is dropped with what is in it: whoever asked is told that nobody answers.
    pub(crate) asked: Receiver<Envelope<Ask>>,
}

/// The engine and what it acts through.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) inlets: Inlets,
    pub(crate) calls: Calls,
    pub(crate) recorder: Recorder,
    pub(crate) logbook: Logbook,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Named,
    /// The timer that the engine wants.
    pub(crate) wake: Option<Sleep>,
    /// Who has told something that is on its way to the disk.
    pub(crate) ordered: BTreeMap<BatchId, Vec<Waiting>>,
    /// Told when the stop begins.
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) stop_deadline: Duration,
    /// The hooks of the policies in force.
    pub(crate) hooks: Hooks,
    /// Where several may lead: whether we do, and what we leave to the next.
    pub(crate) leads: Option<Leads>,
    pub(crate) queues: Queues,
}

/// What being one of several takes.
pub(crate) struct Leads {
    pub(crate) leadership: Leadership,
    pub(crate) ledgers: Ledgers,
    pub(crate) halves: Halves,
}

/// Something that happened, of whatever kind.
enum Next {
    Event(Event),
    Ask(Ask),
    Election(autoscaler_leader::Event),
}

impl Runtime {
    /// Runs until the engine has stopped.
    pub(crate) async fn run(mut self) -> Ended {
        if self.leads.is_none() {
            self.queues.read_if(true, &mut self.tasks);
        }
        self.elect(autoscaler_leader::Event::Timer);
        while !*self.stopping.borrow() {
            self.turn().await;
        }
        let deadline = self.stop_deadline;
        // On the host's time: whoever stops a daemon does not wait for a simulated world.
        let ended = match tokio::time::timeout(deadline, self.run_down()).await {
            Ok(()) => Ended::Stopped,
            Err(_) => Ended::CutOff,
        };
        let _ = tokio::time::timeout(RESIGN_WITHIN, self.queues.stop()).await;
        if let Some(leads) = &mut self.leads {
            // Nothing of ours is in flight any more, or its outcome is nobody's: the next may lead at once. Where
            // Consul does not answer the lock runs out by itself.
            let _ = tokio::time::timeout(RESIGN_WITHIN, leads.leadership.resign()).await;
        }
        let in_time = ended == Ended::Stopped;
        tracing::info!(in_time, calls = self.calls.len(), "stopped");
        ended
    }

    async fn run_down(&mut self) {
        while !self.turn().await {}
    }

    /// Takes in the next thing that happens. * returns: whether the engine has stopped.
    async fn turn(&mut self) -> bool {
        let (next, busy) = self.next().await;
        let now = Now { wall: self.clock.wall(), monotonic: self.clock.monotonic() };
        let effects = match next {
            Next::Event(event) => self.take_in(event, now),
            Next::Ask(ask) => self.answer(ask, now),
            Next::Election(event) => self.elect_now(event, now),
        };
        let mut stopped = false;
        for effect in effects {
            stopped |= self.carry_out(effect);
        }
        // Only now: everything that follows from it is on its way.
        drop(busy);
        stopped
    }

    async fn next(&mut self) -> (Next, Busy) {
        loop {
            tokio::select! {
                // What is under way comes before what is new, and the timer before requests: a flood of samples
                // must not keep the engine from its cycle.
                biased;
                Some(Envelope { what, busy }) = self.inlets.happened.recv() => {
                    // The first of two halves is nothing yet.
                    if let Some(event) = self.event_of(what) {
                        return (Next::Event(event), busy);
                    }
                }
                ended = self.calls.next() => {
                    return (Next::Event(Event::Answered { call: ended.call, answer: ended.answer }), ended.busy);
                }
                event = next_of_election(&mut self.leads) => {
                    return (Next::Election(event), self.activity.begin());
                }
                busy = wait_for(&mut self.wake) => {
                    self.wake = None;
                    return (Next::Event(Event::Timer), busy);
                }
                Some(Envelope { what, busy }) = self.inlets.asked.recv() => return (Next::Ask(what), busy),
                TaskEnd { name, panic } = self.tasks.next() => match panic {
                    None => tracing::info!(name, "ended a task"),
                    Some(panic) => tracing::error!(name, panic, "lost a task to a panic"),
                },
            }
        }
    }

    fn take_in(&mut self, event: Event, now: Now) -> Vec<Effect> {
        match &event {
            Event::Recorded { batch, result } => {
                for waiting in self.ordered.remove(batch).unwrap_or_default() {
                    waiting.answer(result);
                }
            }
            Event::PoliciesLoaded(fleets) => {
                self.queues.note_the_deaf(fleets);
                self.hooks.set(fleets);
            }
            Event::Stop => {
                tracing::info!("began to stop");
                self.stopping.send_replace(true);
            }
            _ => {}
        }
        let effects = self.engine.handle(event, now);
        if let Some(message) = self.engine.take_put_off() {
            self.queues.put_off(&message);
        }
        effects
    }

    /// Answers a request; nobody minds if whoever asked has gone.
    fn answer(&mut self, ask: Ask, now: Now) -> Vec<Effect> {
        match ask {
            Ask::Samples { peer, batch, reply } => {
                let (answer, effects) = self.engine.accept_samples(peer, &batch, now);
                let _ = reply.send(answer);
                return effects;
            }
            Ask::Notices { peer, batch, reply } => {
                let (answer, effects) = self.engine.accept_notices(peer, &batch, now);
                match answer {
                    Ok(NoticesHeard { batch: written, accepted, heeds: leader }) => {
                        let accepted = NoticesAccepted { accepted, confirmed: batch.notices.len(), leader };
                        let waiting = Waiting::Notices(accepted, reply);
                        self.ordered.entry(written).or_default().push(waiting);
                    }
                    Err(rejection) => drop(reply.send(Err(rejection.into()))),
                }
                return effects;
            }
            Ask::Instance { id, reply } => {
                let (seen, effects) = self.engine.instance(&id, now);
                let _ = reply.send(seen);
                return effects;
            }
            Ask::Operate { command, reply } => {
                Logbook::order(&command);
                let (answer, effects) = self.engine.operate(command, now);
                match answer {
                    Ok(batch) => self.ordered.entry(batch).or_default().push(Waiting::Order(reply)),
                    Err(error) => drop(reply.send(Err(error.into()))),
                }
                return effects;
            }
            Ask::Heard { region, news } => {
                return self.engine.handle(Event::Heard { region, message: None, news }, now);
            }
            Ask::Status { reply } => {
                let mut status = self.engine.status(now);
                status.leadership = self.leads.as_ref().map(|leads| leads.leadership.status(now));
                drop(reply.send(status));
            }
            Ask::Counters { reply } => drop(reply.send(self.engine.metrics().clone())),
            Ask::Fleet { name, reply } => drop(reply.send(self.engine.fleet_status(&name, now))),
            Ask::Decisions { name, reply } => drop(reply.send(self.engine.decisions(&name))),
        }
        Vec::new()
    }

    /// Hands an effect on. * returns: whether it was the last one.
    fn carry_out(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Read { call, region, read } => self.calls.read(call, region, read),
            Effect::Write { call, region, write, permit } => {
                Logbook::write(&region, &write);
                self.calls.write(call, region, write, permit);
            }
            Effect::Record { batch, durable, entries, ledgers } => {
                if let Some(leads) = self.leads.as_mut().filter(|_| !ledgers.is_empty()) {
                    leads.halves.expect(batch);
                    leads.ledgers.write(batch, ledgers, self.activity.begin());
                }
                self.metrics.count(&entries);
                self.logbook.note(&entries, &self.engine);
                self.recorder.record(batch, durable, entries);
            }
            Effect::Acknowledge { messages } => self.queues.acknowledge(&messages),
            Effect::WakeAt { at } => self.wake = Some(self.activity.sleep(&*self.clock, at)),
            Effect::Alarm(change) => Logbook::alarm(&change),
            Effect::Stopped => return true,
        }
        false
    }
}

impl Runtime {
    /// What the engine is to be told of it; `None` where that is not known yet.
    fn event_of(&mut self, happened: Happened) -> Option<Event> {
        Some(match happened {
            Happened::Recorded { batch, result } | Happened::LedgersWritten { batch, result } => {
                let whole = match &mut self.leads {
                    Some(leads) => leads.halves.came(batch, result),
                    None => Some(result),
                };
                Event::Recorded { batch, result: whole? }
            }
            Happened::NodesMoved => Event::NodesMoved,
            Happened::Peers(peers) => Event::Peers(peers),
            Happened::Heard { region, message, news } => {
                Event::Heard { region, message: Some(message), news }
            }
            Happened::PoliciesLoaded(fleets) => Event::PoliciesLoaded(fleets),
            Happened::PoliciesRejected { problems } => Event::PoliciesRejected { problems },
            Happened::Stop => Event::Stop,
        })
    }

    /// Something happened to the elector, or it begins.
    fn elect(&mut self, event: autoscaler_leader::Event) {
        let now = Now { wall: self.clock.wall(), monotonic: self.clock.monotonic() };
        for effect in self.elect_now(event, now) {
            self.carry_out(effect);
        }
    }

    fn elect_now(&mut self, event: autoscaler_leader::Event, now: Now) -> Vec<Effect> {
        let blind = self.engine.is_blind(now);
        let lease = self.leads.as_mut().and_then(|leads| leads.leadership.handle(event, blind));
        let Some(lease) = lease else { return Vec::new() };
        if let Event::Lease { until } = lease {
            self.queues.read_if(until.is_some(), &mut self.tasks);
        }
        self.engine.handle(lease, now)
    }
}

/// Waits for what happens to the elector; for ever where there is none.
async fn next_of_election(leads: &mut Option<Leads>) -> autoscaler_leader::Event {
    match leads {
        Some(leads) => leads.leadership.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for a timer that may not be set.
async fn wait_for(wake: &mut Option<Sleep>) -> Busy {
    match wake {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}
