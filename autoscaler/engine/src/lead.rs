//! One of several processes leads; the others watch, and are ready.
//!
//! A leader may begin writes until its lease ends (FENCE). Whoever begins to lead first takes over what the leader
//! before left (its [`crate::Ledger`]) and looks at everything: no fleet is written to before a describe that was begun
//! after that. Nodes of those that the ledger or a notice says go are emptied sooner.

use crate::calls::CallKind;
use crate::held::Held;
use crate::region::RegionState;
use crate::{Alarm, Effect, Engine, Ledger, LedgerLeft, NotSent, Now, Read, Record, Withheld};
use fleet::{ApiError, FleetName, InstanceId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A ledger that could not be read is asked for again after this long by a leader: nothing is written before.
const LEDGER_AGAIN: Duration = Duration::from_secs(1);

/// What fails for so long is not about to work again with the next try.
const BLIND_AFTER: Duration = Duration::from_secs(20);

/// What one fleet has to wait for before it is written to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenure {
    /// When we began to lead; what was seen before does not count. `None` where we always have.
    pub since: Option<Timestamp>,
    /// Whether what the leader before us left is known.
    pub ledger_known: bool,
    /// The ledger that was handed out last, so that it is written with each change only.
    pub told: Option<Box<Ledger>>,
}

impl Engine {
    /// Whether we lead.
    pub(crate) fn leads(&self, now: Now) -> bool {
        !self.config.lease_needed || self.lease.is_some_and(|until| now.monotonic <= until)
    }

    /// Whether no region that has fleets of ours could be looked at for a while, and perhaps by us alone: whoever can look should lead.
    /// Where one region answers, its fleets keep their leader.
    pub fn is_blind(&self, now: Now) -> bool {
        let reads = ["describe_fleets", "describe_instances"];
        let since = |region: &RegionState| reads.iter().find_map(|read| region.fails_us_since(read));
        let fails = |region: &RegionState| since(region).is_some_and(|at| at + BLIND_AFTER <= now.monotonic);
        let mut regions = self.regions.values().filter(|region| !region.fleets.is_empty()).peekable();
        regions.peek().is_some() && regions.all(fails)
    }

    /// Until when a write that is handed out now may be begun.
    pub(crate) fn permit_until(&self, now: Now) -> Duration {
        let until = now.monotonic + self.config.permit;
        if self.config.lease_needed {
            self.lease.map_or(Duration::ZERO, |lease| lease.min(until))
        } else {
            until
        }
    }

    /// Why a fleet is not written to for reasons of leadership, if it is not.
    pub(crate) fn stands_by(&self, name: &FleetName, now: Now) -> Option<Withheld> {
        let held = self.fleets.get(name)?;
        let Tenure { since, ledger_known, told: _ } = &held.tenure;
        let unread = self.config.shared_ledger && !ledger_known;
        let seen = |at: Option<Timestamp>| since.is_none_or(|since| at.is_some_and(|at| at >= since));
        let looked = seen(held.state.fleet.as_ref().map(|seen| seen.at)) && seen(held.state.instances_at);
        if !self.leads(now) || unread {
            return Some(Withheld::Standby);
        }
        (!looked).then_some(Withheld::NotLooked)
    }

    /// Why a write whose intent is on disk is not begun after all, if it is not.
    pub(crate) fn fenced(&self, now: Now) -> Option<NotSent> {
        (!self.leads(now)).then_some(NotSent::Fenced)
    }

    /// A proof of leadership, or its end.
    pub(crate) fn lease_told(&mut self, until: Option<Duration>, now: Now) {
        let led = self.led;
        self.lease = until;
        let leads = self.leads(now);
        self.led = leads;
        if until.is_none() {
            for held in self.fleets.values_mut() {
                held.tenure.ledger_known = false;
                held.tenure.told = None;
            }
        }
        if !self.config.lease_needed || led == leads {
            return;
        }
        let names: Vec<FleetName> = self.fleets.keys().cloned().collect();
        for name in &names {
            let Some(held) = self.fleets.get_mut(name) else { continue };
            held.record(Record::Leads { at: now.wall, leads });
            if leads {
                held.tenure.since = Some(now.wall);
                held.in_force = None;
            }
            self.write_soon(name, false);
        }
        if leads {
            self.services.ledgers.look = true;
            self.services.nodes.look = true;
            self.ask_ledgers(now);
            self.ask_nodes(now);
            for name in &names {
                self.look_and_plan(name, now);
            }
        }
    }

    /// Notices that a lease has run out without a word.
    pub(crate) fn watch_the_lease(&mut self, now: Now) {
        if self.config.lease_needed && self.led && !self.leads(now) {
            self.led = false;
            for held in self.fleets.values_mut() {
                held.record(Record::Leads { at: now.wall, leads: false });
            }
        }
    }

    /// Whose an instance is: as describes have shown it, or as the leader before us has told of it.
    pub(crate) fn owner_of(&self, id: &InstanceId) -> Option<&FleetName> {
        self.owners.get(id).or_else(|| self.owners_by_ledger().get(id).copied())
    }

    /// Whose those are that only the leader before us has seen. Most often there is none.
    pub(crate) fn owners_by_ledger(&self) -> BTreeMap<&InstanceId, &FleetName> {
        let all = self.fleets.iter();
        all.flat_map(|(name, held)| held.state.unseen.iter().map(move |id| (id, name))).collect()
    }

    /// Asks what the leader left: at once where we lead and do not know it, now and then where we stand by.
    pub(crate) fn ask_ledgers(&mut self, now: Now) {
        if !self.config.shared_ledger || self.stopping.is_some() || self.services.ledgers.call.is_some() {
            return;
        }
        let leads = self.leads(now);
        let unknown =
            |name: &&FleetName| self.fleets.get(*name).is_some_and(|held| !held.tenure.ledger_known);
        let names: Vec<FleetName> = if leads {
            self.fleets.keys().filter(unknown).cloned().collect()
        } else {
            self.fleets.keys().cloned().collect()
        };
        let ledgers = &self.services.ledgers;
        let every = if leads { LEDGER_AGAIN } else { self.config.ledgers_every };
        if names.is_empty() || !(ledgers.look || self.is_due(ledgers.asked, every, now)) {
            return;
        }
        let kind = CallKind::Ledgers { fleets: names.clone() };
        let call = self.ask_service(kind, Read::Ledgers { fleets: names }, &[], now);
        let ledgers = &mut self.services.ledgers;
        ledgers.call = Some(call);
        ledgers.asked = Some(now.monotonic);
        ledgers.look = false;
    }

    /// What was left, one for each fleet that was asked about. Where one cannot be read, its fleet alone is not written to; it
    /// is asked for again with each cycle.
    pub(crate) fn ledgers_told(
        &mut self,
        fleets: &[FleetName],
        answer: Result<Vec<LedgerLeft>, ApiError>,
        at: Timestamp,
        now: Now,
    ) {
        self.services.ledgers.call = None;
        let leads = self.leads(now);
        let Some(ledgers) = self.service_ended("ledgers", answer, now) else {
            if leads {
                // Nothing is written before it is known: it is asked for again soon, whenever the next tick is.
                for name in fleets {
                    self.again.insert(name.clone(), now.monotonic + LEDGER_AGAIN);
                }
            }
            return;
        };
        let mut unreadable = BTreeSet::new();
        for (name, left) in fleets.iter().zip(ledgers) {
            let ledger = match left {
                Ok(ledger) => ledger,
                Err(error) => {
                    let (operation, message) = ("ledgers".to_owned(), error.to_string());
                    self.raise(Some(name), "ledgers", Alarm::Malformed { operation, message }, now);
                    unreadable.insert(name);
                    continue;
                }
            };
            self.clear(Some(name), "malformed", "ledgers", now);
            let Some(held) = self.fleets.get_mut(name) else { continue };
            // One that was read before we led may be older than the last words of the leader.
            let current = leads && held.tenure.since.is_none_or(|since| at >= since);
            if leads && (!current || held.tenure.ledger_known) {
                continue;
            }
            let mut known = ledger.clone();
            if let Some(ledger) = known.as_mut().filter(|_| current) {
                // Whoever stands by keeps it as it is. Whoever leads acts upon it, by a clock of its own.
                ledger.memory.take_over(held.state.policy.drain.deadline, now.wall);
            }
            if let Some(ledger) = known.filter(|ledger| !held.state.is_told_by(ledger)) {
                held.record(Record::Ledger(ledger));
                held.in_force = None;
                self.write_soon(name, false);
            }
            let Some(held) = self.fleets.get_mut(name) else { continue };
            if current {
                held.tenure.ledger_known = true;
                held.tenure.told = ledger;
                self.make_due(name, now);
                // It may name instances whose nodes were nobody's to us.
                self.services.nodes.look = true;
            }
        }
        let unknown =
            |(name, held): (&FleetName, &Held)| !held.tenure.ledger_known && !unreadable.contains(name);
        if leads && self.fleets.iter().any(unknown) {
            self.services.ledgers.look = true;
            self.ask_ledgers(now);
        }
        if self.services.nodes.look {
            self.ask_nodes(now);
        }
    }

    /// The ledgers that have changed, of the fleets of a batch.
    pub(crate) fn changed_ledgers(
        &mut self,
        fleets: &[FleetName],
        now: Now,
    ) -> Vec<(FleetName, Box<Ledger>)> {
        if !self.config.shared_ledger || !self.leads(now) {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for name in fleets {
            let Some(held) = self.fleets.get_mut(name).filter(|held| held.tenure.ledger_known) else {
                continue;
            };
            if held.tenure.told.as_ref().is_some_and(|told| held.state.is_told_by(told)) {
                continue;
            }
            let ledger = Box::new(held.state.ledger());
            held.tenure.told = Some(ledger.clone());
            changed.push((name.clone(), ledger));
        }
        changed
    }

    /// Hands out a question to no region.
    pub(crate) fn ask_service(
        &mut self,
        kind: CallKind,
        read: Read,
        names: &[FleetName],
        now: Now,
    ) -> crate::CallId {
        let region = self.some_region();
        let call = crate::calls::Call { region: region.clone(), kind, at: now.wall, begun: now.monotonic };
        let id = self.calls.open(call);
        for name in names {
            if self.waiting.contains_key(name)
                && let Some(held) = self.fleets.get_mut(name)
            {
                held.awaiting.insert(id);
            }
        }
        self.out.push(Effect::Read { call: id, region, read });
        id
    }

    /// A region for calls that belong to none.
    pub(crate) fn some_region(&self) -> fleet::Region {
        let known = || self.regions.keys().next().cloned();
        self.config.region.clone().or_else(known).unwrap_or_else(|| fleet::Region::new("none"))
    }
}

#[cfg(test)]
mod tests {
    use crate::{InstanceSeen, Ledger, Record, State};
    use autoscaler_core::{Memory, Replacement, ReplacementCause, ReplacementStep};
    use fleet::{Health, InstanceId, InstanceState, Market, NoticeKind, Pool, Timestamp, Weight};

    const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn instance(id: &str) -> InstanceSeen {
        InstanceSeen {
            id: id.into(),
            pool: Pool::spot("m5.large", "eu-west-1a"),
            state: InstanceState::Running,
            health: Health::Healthy,
            launched: AT,
            vcpus: Some(2),
            private_ip: None,
            protected: false,
            launch: None,
        }
    }

    fn look(at: Timestamp, ids: &[&str]) -> Record {
        let seen = ids.iter().map(|id| instance(id)).collect();
        Record::Instances { at, seen, missing: Vec::new(), gone: Vec::new() }
    }

    /// The leader before us has entered these, each with its deadline.
    fn told(going: &[(&str, Option<Timestamp>)], protected: &[&str]) -> Record {
        let entry = |deadline| Replacement {
            cause: ReplacementCause::Notice(NoticeKind::SpotInterruption),
            step: ReplacementStep::Waiting,
            since: AT,
            weight: Weight::new(1.0),
            market: Market::Spot,
            drain_until: None,
            deadline,
        };
        let replacements = going.iter().map(|(id, deadline)| ((*id).into(), entry(*deadline))).collect();
        let protected = protected.iter().map(|id| (*id).into()).collect();
        let memory = Memory { replacements, protected, ..Memory::default() };
        Record::Ledger(Box::new(Ledger { memory, ..Ledger::default() }))
    }

    #[test]
    fn unseen_is_whom_the_ledger_alone_knows_with_a_deadline_and_unprotected_until_somebody_looks() {
        let (soon, none) = (Some(AT), None);
        let mut state = State::default();
        state.apply(&look(AT, &["i-1"]));
        let going = [("i-1", soon), ("i-2", soon), ("i-3", soon), ("i-4", none), ("i-5", soon)];
        state.apply(&told(&going, &["i-3"]));
        state.policy.protect.instances.insert("i-5".into());
        let unseen = |state: &State| state.snapshot(AT).unseen;
        assert_eq!(unseen(&state), [InstanceId::from("i-2")]);
        // A peer is protected from now on: nobody has looked for that.
        state.apply(&look(AT, &["i-1"]));
        assert_eq!(unseen(&state), [InstanceId::from("i-2")]);
        state.apply(&look(AT + std::time::Duration::from_secs(1), &["i-1"]));
        assert_eq!(unseen(&state), [] as [InstanceId; 0]);
    }
}
