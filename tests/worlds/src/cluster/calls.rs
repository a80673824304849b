//! Calls that processes make, and how they fare.

use super::Cluster;
use crate::harness::start;
use crate::seat::Way;
use autoscaler_core::DrainCause;
use autoscaler_engine::{Answer, CallId, Read, Write};
use autoscaler_leader::{ANSWER_WITHIN, LOCK_DELAY};
use fleet::{ApiError, ErrorClass, FleetSelector, InstanceId, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(40);
/// Nobody else has a lock for so long after it was lost; a step of the world is a second.
const NOBODY_ELSE: Duration = LOCK_DELAY.saturating_add(Duration::from_secs(1));
/// How long a call to EC2 or Nomad is waited for where nobody answers.
const UNANSWERED: Duration = Duration::from_secs(10);

impl Cluster {
    pub(super) fn answer_later(&mut self, who: usize, call: CallId, answer: Answer, latency: Duration) {
        let now = self.world.now();
        self.processes[who].answers.put(now + LATENCY + latency, (call, answer, now));
    }

    pub(super) fn read(&mut self, who: usize, read: Read) -> (Answer, Duration) {
        let now = self.world.now();
        let process = &mut self.processes[who];
        match read {
            Read::Nodes { .. } if self.nomad.down => {
                let error = ApiError::new(ErrorClass::Transient, "nomad", "nodes", None, "no leader");
                (read.failed(error), Duration::ZERO)
            }
            Read::Nodes { .. } if self.nomad.denies => {
                self.nomad.looks += 1;
                let error = ApiError::new(ErrorClass::Denied, "nomad", "nodes", None, "Permission denied");
                (read.failed(error), Duration::ZERO)
            }
            Read::Nodes { .. } if process.nomad_off => (read.failed(nobody_answered("nomad")), UNANSWERED),
            Read::Nodes { .. } => {
                self.nomad.looks += 1;
                let mut seen = self.nomad.seen();
                // As the daemon does: Nomad says what time it is.
                for node in seen.nodes.iter_mut().filter(|_| process.wall_off != 0) {
                    let ours = |at: Timestamp| Timestamp::from_millis(at.millis() + process.wall_off);
                    node.drain_until = node.drain_until.map(ours);
                }
                (Answer::Nodes(Ok(seen)), Duration::ZERO)
            }
            Read::Ledgers { fleets } => {
                let way = process.consul;
                let seat = process.seat.as_mut();
                let found = seat.map(|seat| seat.read(&mut self.consul, way, &fleets, now));
                let none = || Ok(fleets.iter().map(|_| Ok(None)).collect());
                let latency = if way == Way::Open { Duration::ZERO } else { ANSWER_WITHIN };
                (Answer::Ledgers(found.unwrap_or_else(none)), latency)
            }
            read if process.aws_off => (read.failed(nobody_answered("ec2")), UNANSWERED),
            read => crate::shell::read(&mut self.world, read),
        }
    }

    pub(super) fn write(&mut self, who: usize, write: Write) -> (Answer, Duration) {
        self.processes[who].writes += 1;
        self.judge_leads(who, &write);
        if let Some(answer) = self.spoil.as_mut().and_then(|spoil| spoil(&write)) {
            return (answer, Duration::ZERO);
        }
        let (fleet, instances) = match write {
            Write::Modify { .. } => (None, &[][..]),
            Write::Terminate { ref fleet, ref instances } => (Some(fleet), &instances[..]),
            node => return self.write_node(who, node),
        };
        if fleet.is_some() {
            self.judge_drained(instances);
        }
        self.truth.observer = who;
        self.truth.clock_is_wrong = self.processes[who].wall_off != 0;
        self.truth.judge(&self.world, &self.policies, &write);
        if self.processes[who].aws_off {
            return (write.failed(nobody_answered("ec2")), UNANSWERED);
        }
        let lowers = match &write {
            Write::Modify { fleet, change } => {
                let now = self.world.truth(&fleet.id).map_or(0, |truth| truth.target);
                (change.target < now).then(|| fleet.clone())
            }
            _ => None,
        };
        let (answer, latency) = crate::shell::write(&mut self.world, write);
        if let Some(fleet) = lowers.filter(|_| matches!(answer, Answer::Done(Ok(())))) {
            self.truth.has_followed(&fleet);
        }
        (answer, latency)
    }

    /// FENCE: who writes has the lock, or had it so lately that nobody else can have it yet.
    fn judge_leads(&mut self, who: usize, write: &Write) {
        if self.leader() == Some(who) {
            return;
        }
        let now = self.world.now();
        let lately = self.processes[who].led.is_some_and(|at| now.since(at) <= NOBODY_ELSE);
        if self.is_led() {
            self.complain(&format!("FENCE: {who} began {write:?} where another one leads"));
        } else if !lately {
            self.complain(&format!("FENCE: {who} began {write:?} long after it had led"));
        }
    }

    /// DRAIN: who is told to go has been emptied, or was given its time.
    fn judge_drained(&mut self, instances: &[InstanceId]) {
        let now = self.world.now();
        for instance in instances {
            let left = self.nomad.work_on(instance, now);
            let overdue = self.drains.get(instance).is_some_and(|until| *until <= now);
            if left > 0 && !overdue {
                let until = self.drains.get(instance).map(|until| until.since(start()));
                self.complain(&format!(
                    "DRAIN: {instance} had {left} at its end, was to drain until {until:?}"
                ));
            }
        }
    }

    /// SPREAD: whom to let go where less is enough is judged when it is first asked to.
    fn judge_choice(&mut self, who: usize, write: &Write) {
        let (node, cause) = match write {
            Write::Drain { node, cause, .. } => (node, *cause),
            Write::Restore(node) => {
                self.truth.chosen.remove(&node.instance);
                return;
            }
            _ => return,
        };
        let chosen_now = self.truth.chosen.insert(node.instance.clone());
        let policy = self.policies.iter().find(|policy| policy.name == node.fleet);
        let id = policy.and_then(|policy| match &policy.selector {
            FleetSelector::Id(id) => Some(id.clone()),
            FleetSelector::Tag { .. } => None,
        });
        let fleet = self.world.fleets().into_iter().find(|fleet| Some(&fleet.id) == id.as_ref());
        let Some(fleet) = fleet.filter(|_| chosen_now && cause == DrainCause::ScaleIn) else { return };
        self.truth.observer = who;
        self.truth.clock_is_wrong = self.processes[who].wall_off != 0;
        self.truth.gives_up(&self.world, &fleet, &node.instance);
        // Work that has no place elsewhere, and a version that is rolled out, decide otherwise.
        if self.lacks_room() || self.rolls_out {
            return;
        }
        let others_go = self.nomad.ineligible().any(|id| !self.truth.chosen.contains(id));
        let waits = policy.is_some_and(|policy| !policy.base.drain.interrupt_batch);
        let no_choice = if waits { self.nomad.with_batch_work(self.world.now()) } else { BTreeSet::new() };
        // Several are told one after the other: who was chosen with it goes, too.
        let with_it: Vec<InstanceId> = self.removals(who, &node.fleet).map(|going| going.instance).collect();
        self.truth.chosen_with_it = with_it.into_iter().filter(|id| *id != node.instance).collect();
        self.truth.judge_choice(&self.world, &self.policies, &fleet, &node.instance, others_go, &no_choice);
    }

    /// A write to Nomad. Nomad is told how long a drain may last, not until when: a wrong clock does not matter.
    fn write_node(&mut self, who: usize, mut write: Write) -> (Answer, Duration) {
        self.judge_choice(who, &write);
        let process = &self.processes[who];
        match &mut write {
            Write::Drain { node, deadline, .. } => {
                *deadline = Timestamp::from_millis(deadline.millis() - process.wall_off);
                self.drains.insert(node.instance.clone(), *deadline);
            }
            Write::Restore(node) => drop(self.drains.remove(&node.instance)),
            _ => {}
        }
        if process.nomad_off {
            return (write.failed(nobody_answered("nomad")), UNANSWERED);
        }
        if !self.nomad.down {
            self.truth.judge_node(&self.world, &write);
        }
        let error = || ApiError::new(ErrorClass::NotFound, "nomad", "node", None, "no such node");
        let known = !self.nomad.down && self.nomad.write(&write, self.world.now());
        (Answer::Done(known.then_some(()).ok_or_else(error)), Duration::ZERO)
    }
}

fn nobody_answered(service: &'static str) -> ApiError {
    ApiError::new(ErrorClass::Unclear, service, "call", None, "no answer in time")
}
