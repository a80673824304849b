//! One fleet of a stream: what a line shows becomes a snapshot, and a plan becomes an answer.

use super::fault::{Fault, quoted};
use super::wire::{Decided, InstanceLine, NoticeLine, Observation, SampleLine, time, units};
use ::fleet::{
    CapacityUnits, ExcessCapacity, FleetId, FleetKind, FleetSelector, FleetState, FleetView, Health,
    InstanceId, Notice, NoticeSource, Pool, Power, Sample, Saturation, Source, Timestamp, Utilization,
    Weight,
};
use autoscaler_core::{
    Action, Budget, Decision, Hold, Learned, Member, Memory, Observed, Phase, Plan, Planned, Policy, Remark,
    Report, Snapshot, check, plan,
};
use autoscaler_policy::FleetPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Means over less than this come from agents, which are seconds late; others from CloudWatch, which is as late as
/// its periods are long. Where load is told, too, it is the agents who tell it.
const AGENTS_BELOW: Duration = Duration::from_secs(60);

/// The daemon looks again at a fleet as soon as a write is done. So long does that take here.
const LOOK_AFTER_WRITE: Duration = Duration::from_millis(1);

/// A fleet, from line to line.
pub(super) struct Driver<'p> {
    name: String,
    source: &'p FleetPolicy,
    /// The policy in force, and until when nothing can change it.
    policy: Policy,
    in_force_until: Option<Timestamp>,
    memory: Memory,
    learned: Learned,
    seen: Snapshot,
    /// Instances that were named in an answer, as long as they are there.
    told: BTreeSet<InstanceId>,
    /// The target in force.
    target: u32,
    /// The time of the last observation.
    last: Timestamp,
    /// The answer's own: kept so that its space is reused.
    remove: Vec<InstanceId>,
    reason: String,
}

impl<'p> Driver<'p> {
    /// * `name`: as the stream calls it.
    /// * `now`: the time of its first observation.
    pub fn new(source: &'p FleetPolicy, name: &str, now: Timestamp) -> Self {
        let view = FleetView {
            id: match &source.selector {
                FleetSelector::Id(id) => id.clone(),
                FleetSelector::Tag { .. } => FleetId::new(name),
            },
            backend: source.backend,
            // At rest, and as muster sets it.
            state: FleetState::Active,
            activity: None,
            kind: FleetKind::Maintain,
            target: 0,
            on_demand_target: 0,
            fulfilled: CapacityUnits::ZERO,
            excess: ExcessCapacity::NoTermination,
            strategy: None,
            capacity_rebalance: false,
            overrides: Vec::new(),
            launch: None,
            tags: BTreeMap::new(),
            created: now,
            valid_until: None,
        };
        let seen = Snapshot {
            fleet: Some(Observed { at: now, what: view }),
            members: Some(Observed { at: now, what: Vec::new() }),
            ..Snapshot::default()
        };
        Self {
            name: name.to_owned(),
            source,
            policy: source.at(now).0,
            in_force_until: source.next_change(now),
            memory: Memory::default(),
            learned: Learned::default(),
            seen,
            told: BTreeSet::new(),
            target: 0,
            last: now,
            remove: Vec::new(),
            reason: String::new(),
        }
    }
}

impl Driver<'_> {
    /// What is to be done about what was seen. Where that cannot be used, nothing has changed.
    ///
    /// * `line`: checked for itself.
    /// * `now`: its time.
    pub fn decide(&mut self, line: &Observation<'_>, now: Timestamp) -> Result<Decided<'_>, Fault> {
        if now < self.last {
            return Err(Fault::Backwards { now, last: self.last });
        }
        let same_herd = self.is_same_herd(&line.instances);
        if !same_herd {
            refuse_twins(&line.instances)?;
        }
        self.last = now;
        self.put_in_force(now);
        self.look(line, same_herd, now);
        self.learned.learn(&self.policy, &self.seen, &self.memory, now);
        let target = self.plan_and_carry_out(now);
        Ok(Decided { t: line.t, fleet: &self.name, target, remove: &self.remove, reason: &self.reason })
    }

    /// Applies the schedules, where one may have begun or ended.
    fn put_in_force(&mut self, now: Timestamp) {
        if self.in_force_until.is_some_and(|until| until <= now) {
            self.policy = self.source.at(now).0;
            self.in_force_until = self.source.next_change(now);
        }
    }

    /// Plans, and does in one answer what the daemon does in one go: it lowers the target, looks again, and
    /// terminates those whom the target does not count any more.
    ///
    /// * returns: the target from now on; whom to remove and why is left in the answer's own fields.
    fn plan_and_carry_out(&mut self, now: Timestamp) -> u32 {
        self.remove.clear();
        let shown = self.target;
        let (plan, mut report) = self.plan(now);
        // The shopping list is not part of what a simulator tells.
        report
            .remarks
            .retain(|remark| !matches!(remark, Remark::FewFamilies { .. } | Remark::FewZones { .. }));
        self.reason = report.one_line();
        let target = self.carry_out(plan, now + LOOK_AFTER_WRITE);
        if target < shown {
            let memory = self.memory.clone();
            let (again, _) = self.plan(now + LOOK_AFTER_WRITE);
            if again.actions.iter().any(|action| matches!(action, Action::Modify { .. })) {
                // One change of the target an answer: the next line will have it planned afresh.
                self.memory = memory;
            } else {
                self.carry_out(again, now + LOOK_AFTER_WRITE);
            }
        }
        target
    }

    /// One plan, judged by the checker. Its memory is kept, unless it is refused.
    fn plan(&mut self, now: Timestamp) -> (Plan, Report) {
        let Planned { plan, mut report, memory, due: _, look: _ } =
            plan(&self.policy, &self.seen, &self.memory, &self.learned, now);
        // Calls cost nothing here: there is no PACE to keep.
        let budget = Budget { writes_last_minute: 0, writes_per_minute: u32::MAX };
        let breaches = check(&self.policy, &self.seen, &self.memory, &memory, &plan, budget, now);
        let Some(breach) = breaches.first() else {
            self.memory = memory;
            return (plan, report);
        };
        let invariant = format!("{:?}", breach.invariant).to_uppercase();
        report.decision = Decision::Held;
        report.holds.insert(0, Hold::Refused { invariant });
        (Plan::default(), report)
    }

    /// Writes the steps of a plan into the answer, and the target into what is seen.
    ///
    /// * `shows`: when a look would show it.
    /// * returns: the target from now on.
    fn carry_out(&mut self, plan: Plan, shows: Timestamp) -> u32 {
        // A dry run plans as if, and does nothing.
        let actions = if self.policy.dry_run { Vec::new() } else { plan.actions };
        for action in actions {
            match action {
                Action::Modify { change, .. } => {
                    self.target = change.target;
                    self.show_fleet(shows);
                }
                Action::Terminate { instances, .. } => {
                    self.told.extend(instances.iter().cloned());
                    self.remove.extend(instances);
                }
                // Nobody empties nodes here.
                Action::Cordon { .. }
                | Action::Drain { .. }
                | Action::Restore { .. }
                | Action::ScaleGroup { .. } => {}
            }
        }
        self.target
    }
}

impl Driver<'_> {
    /// Whether these are the instances of the line before, in the same order: so it mostly is.
    fn is_same_herd(&self, instances: &[InstanceLine<'_>]) -> bool {
        let members = self.members();
        members.len() == instances.len() && members.iter().zip(instances).all(|(m, i)| m.id.as_str() == i.id)
    }

    fn members(&self) -> &[Member] {
        self.seen.members.as_ref().map_or(&[], |members| &members.what)
    }

    /// Takes in what a line shows.
    fn look(&mut self, line: &Observation<'_>, same_herd: bool, now: Timestamp) {
        self.target = units(line.target);
        self.show_members(&line.instances, same_herd, now);
        self.show_fleet(now);
        let serving = self.members().iter().filter(|m| m.phase == Phase::InService).count();
        self.seen.samples.clear();
        for sample in &line.samples {
            let sample = to_sample(sample, serving);
            if self.seen.latest.is_none_or(|latest| latest.end <= sample.end) {
                self.seen.latest = Some(sample);
            }
            self.seen.samples.push(sample);
        }
        for notice in &line.notices {
            hear(&mut self.seen.notices, notice);
        }
        if !self.seen.notices.is_empty() {
            let members = self.seen.members.as_ref().map_or(&[][..], |members| &members.what);
            self.seen.notices.retain(|notice| members.iter().any(|m| m.id == notice.instance));
        }
    }

    fn show_fleet(&mut self, at: Timestamp) {
        let alive = self.members().iter().filter(|m| m.phase != Phase::Leaving);
        let fulfilled = CapacityUnits::new(alive.map(|m| m.weight.get()).sum());
        if let Some(fleet) = &mut self.seen.fleet {
            fleet.at = at;
            fleet.what.target = self.target;
            fleet.what.fulfilled = fulfilled;
        }
    }

    fn show_members(&mut self, instances: &[InstanceLine<'_>], same_herd: bool, now: Timestamp) {
        let Some(members) = &mut self.seen.members else { return };
        members.at = now;
        if !same_herd {
            let mut before: BTreeMap<InstanceId, Member> =
                members.what.drain(..).map(|member| (member.id.clone(), member)).collect();
            let known = instances.iter().map(|i| before.remove(&*i.id).unwrap_or_else(|| to_member(i)));
            members.what.extend(known);
            // Whoever is left has gone.
            self.told.retain(|id| !before.contains_key(id));
        }
        for (member, instance) in members.what.iter_mut().zip(instances) {
            update(member, instance);
            // One that lets go of its work because it was told to is not capacity any more, and not told again.
            if member.phase == Phase::Draining && self.told.contains(&member.id) {
                member.phase = Phase::Leaving;
            }
        }
    }
}

/// Refuses a line that lists an instance twice.
fn refuse_twins(instances: &[InstanceLine<'_>]) -> Result<(), Fault> {
    let mut met = BTreeSet::new();
    match instances.iter().position(|instance| !met.insert(&*instance.id)) {
        Some(index) => {
            Err(Fault::Twice { path: format!("instances[{index}].id"), value: quoted(&instances[index].id) })
        }
        None => Ok(()),
    }
}

/// An instance that was not there before. It was launched when it came into the first state that shows of it.
fn to_member(instance: &InstanceLine<'_>) -> Member {
    Member {
        id: InstanceId::new(&*instance.id),
        pool: to_pool(instance),
        weight: Weight::new(instance.weight),
        power: Power::new(instance.weight),
        phase: instance.phase(),
        since: time(instance.since),
        launched: time(instance.since),
        health: Health::Healthy,
        protected: false,
        launch: None,
    }
}

fn to_pool(instance: &InstanceLine<'_>) -> Pool {
    let (instance_type, zone) = instance.pool().unwrap_or_default();
    Pool::spot(instance_type, zone)
}

/// Brings an instance up to date. Capacity is measured in units, so that a unit of weight is a unit of power.
fn update(member: &mut Member, instance: &InstanceLine<'_>) {
    let pool = (member.pool.instance_type.as_str(), member.pool.zone.as_str());
    if instance.pool() != Some(pool) {
        member.pool = to_pool(instance);
    }
    member.weight = Weight::new(instance.weight);
    member.power = Power::new(instance.weight);
    member.phase = instance.phase();
    member.since = time(instance.since);
}

/// * `serving`: how many instances serve: the mean is over all of them.
fn to_sample(line: &SampleLine, serving: usize) -> Sample {
    let SampleLine { end, period, capacity, utilization, load, psi } = *line;
    let period = Duration::from_secs_f64(period);
    let by_agents = period < AGENTS_BELOW || load.is_some() || psi.is_some();
    Sample {
        source: if by_agents { Source::Push } else { Source::Cloudwatch },
        end: time(end),
        period,
        utilization: Utilization::new(utilization),
        power: Power::new(capacity),
        instances: u32::try_from(serving).unwrap_or(u32::MAX),
        saturation: Saturation { load_per_core: load, psi, saturated_share: None },
    }
}

/// Notes a notice. Of one kind there is one for an instance, with the earliest deadline that was told.
fn hear(known: &mut Vec<Notice>, line: &NoticeLine<'_>) {
    let deadline = line.deadline.map(time);
    let same = |notice: &&mut Notice| notice.instance.as_str() == line.id && notice.kind == line.kind();
    match known.iter_mut().find(same) {
        Some(notice) => {
            notice.deadline = [notice.deadline, deadline].into_iter().flatten().min();
        }
        None => known.push(Notice {
            instance: InstanceId::new(&*line.id),
            kind: line.kind(),
            source: NoticeSource::Agent,
            at: time(line.at),
            deadline,
        }),
    }
}
