//! The judge: knows the world as it really is, and nothing of how the engine works.

use autoscaler_engine::{Answer, Write};
use autoscaler_policy::FleetPolicy;
use fleet::{Family, FleetRef, FleetSelector, FleetState, InstanceId, Market, Pool, Timestamp, Zone};
use fleet_sim::{InstancePhase, InstanceTruth, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What has been done so far, and what was wrong about it.
#[derive(Debug, Default)]
pub struct Truth {
    /// Modifications that were sent, as (fleet, target).
    pub modifications: Vec<(String, u32)>,
    /// The largest on-demand part that was asked for.
    pub most_on_demand: u32,
    /// How often each instance was told to go.
    pub terminations: BTreeMap<InstanceId, u32>,
    /// How often anybody was told.
    pub termination_calls: usize,
    /// Bounds of the policies in force, where a test bends them.
    pub bounds: Option<(u32, u32)>,
    /// How far above the bounds replacements may reach.
    pub surge: u32,
    /// Whether instances are taken back and replaced: then it is not we who choose whom to give up.
    pub replaces: bool,
    /// Whether instances are also replaced that nobody has announced: for a roll-out, the spread, or a risk.
    pub replaces_by_choice: bool,
    /// Whether somebody else writes, too: then the target is theirs as well.
    pub others_write: bool,
    /// Until when a write may have been forgotten: a process died that could not journal it. A second one is then
    /// refused by EC2, and does no harm.
    pub forgotten_until: Option<Timestamp>,
    /// When writes to each fleet were sent, within the last minute.
    writes: BTreeMap<String, VecDeque<Timestamp>>,
    /// When Nomad was told the same of the same node, lately.
    told_nodes: BTreeMap<(InstanceId, &'static str), VecDeque<Timestamp>>,
    /// When each fleet's target was raised by us while an instance was to be replaced, and by how much.
    raised: BTreeMap<String, Vec<(Timestamp, u32)>>,
    /// When somebody of each fleet was asked to let go because less is enough, and by how much the target may follow.
    given_up: BTreeMap<String, Vec<(Timestamp, f64)>>,
    /// When each fleet's target was last lowered by us.
    lowered: BTreeMap<String, Timestamp>,
    /// Whom Nomad was told to drain, and not to restore since.
    pub chosen: BTreeSet<InstanceId>,
    /// Whom the leader has chosen with the one that is judged, and told or not yet.
    pub chosen_with_it: BTreeSet<InstanceId>,
    /// How many choices could be judged.
    pub choices: usize,
    /// Whose eyes and hands it is about: which of several processes.
    pub observer: usize,
    /// What each of them has seen.
    sights: BTreeMap<usize, Sight>,
    /// Whether the wall clock shows another time than the world's.
    pub clock_is_wrong: bool,
    complaints: Vec<String>,
}

/// What one process has seen.
#[derive(Debug, Default)]
struct Sight {
    /// The end of the newest sample that each agent has told, and of the newest that any metrics service has, with
    /// its period.
    told: BTreeMap<InstanceId, Timestamp>,
    told_by_service: Option<(Timestamp, Duration)>,
    /// When the newest describes that were answered were begun: of fleets, of instances.
    described: [Option<Timestamp>; 2],
}

/// For so long a target is raised at most for one that is about to go: a notice, a boot, and what goes wrong.
const RAISED_FOR: Duration = Duration::from_secs(3600);
/// For so long a target may follow one that was asked to let go: its drain, and what goes wrong. If AWS takes it meanwhile, another
/// one's place comes down for it.
const GIVEN_UP_FOR: Duration = Duration::from_secs(900);
/// Writes to one fleet in a minute.
const WRITES_A_MINUTE: usize = 6;
/// So often Nomad is told the same of one node at most, in so long: more is a storm. What goes on for hours is asked again
/// now and then, also by the next process.
const TOLD_AT_MOST: usize = 8;
const TOLD_WITHIN: Duration = Duration::from_secs(600);
/// A look that something is given back upon is not older, on its way to the call included.
const LOOK: Duration = Duration::from_secs(35);
/// Describes, their lag and a cycle are over in this time: what has not changed for as long is known.
const AT_REST: Duration = Duration::from_secs(120);
/// From so many instances up the spread is watched.
const SPREAD_FROM: usize = 4;
/// Weights are decimal fractions: what sums of them come to is compared with this much leeway.
const LEEWAY: f64 = 1e-9;

fn policy_of<'a>(policies: &'a [FleetPolicy], fleet: &FleetRef) -> Option<&'a FleetPolicy> {
    policies.iter().find(|policy| policy.selector == FleetSelector::Id(fleet.id.clone()))
}

fn is_alive(instance: &InstanceTruth) -> bool {
    instance.phase != InstancePhase::Gone
}

/// Whether AWS has said when it ends an instance.
fn is_announced(world: &World, id: &InstanceId) -> bool {
    world.notices(id).is_some_and(|said| said.terminate_at.is_some() || said.scheduled.is_some())
}

impl Truth {
    /// A judge of worlds in which instances are taken back and replaced, so far above the bounds.
    pub fn replacing(surge: u32) -> Self {
        Self { surge, replaces: true, ..Self::default() }
    }

    /// Judges a write at the moment in which it is sent.
    pub fn judge(&mut self, world: &World, policies: &[FleetPolicy], write: &Write) {
        let (Write::Modify { fleet, .. } | Write::Terminate { fleet, .. }) = write else { return };
        self.judge_pace(world, fleet);
        match write {
            Write::Modify { fleet, change } => {
                self.most_on_demand = self.most_on_demand.max(change.on_demand_target);
                let max = policy_of(policies, fleet).map_or(0, |policy| policy.base.capacity.max);
                let now = world.truth(&fleet.id).map_or(0, |truth| truth.target);
                let goes = |member: &InstanceTruth| is_announced(world, &member.id);
                let replaces =
                    || self.replaces_by_choice || world.instance_truths(&fleet.id).iter().any(goes);
                if change.target > now && replaces() {
                    let raised = self.raised.entry(fleet.id.as_str().to_owned()).or_default();
                    raised.push((world.now(), change.target - now));
                }
                if change.target < now {
                    self.lowered.insert(fleet.id.as_str().to_owned(), world.now());
                    // What lies beyond the bounds comes down whatever is known, and what was raised for a while.
                    let bounded = now <= self.bounds.map_or(max, |(_, max)| max);
                    let follows = self.takes_a_raise_back(world, fleet, now - change.target)
                        || follows_the_dead(world, fleet, now - change.target);
                    // Before it goes, or another is bought: then there may be no time for another look.
                    let presses = as_much_is_taken_now(world, fleet, now - change.target);
                    if bounded && !follows && !(presses && self.ignorance_of_load(world, fleet).is_none()) {
                        self.judge_data(world, fleet);
                    }
                }
                self.modifications.push((fleet.id.as_str().to_owned(), change.target));
                match policy_of(policies, fleet) {
                    None => self.complain(world, &format!("modified {}, which nobody gave us", fleet.id)),
                    Some(policy) => {
                        let capacity = policy.base.capacity;
                        let (min, max) = self.bounds.unwrap_or((capacity.min, capacity.max));
                        if !(min..=max + self.surge).contains(&change.target) {
                            let target = change.target;
                            self.complain(world, &format!("CAP: target {target} outside {min}..={max}"));
                        }
                    }
                }
                let busy = world.state_of(&fleet.id) == Some(FleetState::Modifying);
                let forgotten = self.forgotten_until.is_some_and(|until| world.now() < until);
                if busy && !self.others_write && !forgotten {
                    self.complain(world, &format!("MODIFY: {} is being modified", fleet.id));
                }
            }
            Write::Terminate { fleet, instances } => {
                self.termination_calls += 1;
                if !self.replaces {
                    self.judge_spread(world, policies, fleet, instances);
                }
                let lowered = self.lowered.get(fleet.id.as_str());
                let follows = lowered.is_some_and(|at| world.now().since(*at) < Duration::from_secs(1800));
                if !follows && !instances.iter().all(|id| self.terminations.contains_key(id)) {
                    // Who was announced to go has been replaced: that is nothing given back.
                    if instances.iter().all(|id| is_announced(world, id)) {
                        self.judge_looks(world, fleet);
                    } else {
                        self.judge_data(world, fleet);
                    }
                }
                for instance in instances {
                    *self.terminations.entry(instance.clone()).or_default() += 1;
                }
                self.judge_terminations(world, fleet, instances);
            }
            Write::Cordon(_) | Write::Drain { .. } | Write::Restore(_) | Write::ScaleGroup { .. } => {}
        }
    }

    /// PACE: Nomad is not told the same of one node again and again.
    pub fn judge_node(&mut self, world: &World, write: &Write) {
        let (Write::Cordon(node) | Write::Drain { node, .. } | Write::Restore(node)) = write else { return };
        let now = world.now();
        let told = self.told_nodes.entry((node.instance.clone(), write.label())).or_default();
        told.push_back(now);
        while told.front().is_some_and(|at| now.since(*at) >= TOLD_WITHIN) {
            told.pop_front();
        }
        let count = told.len();
        if count > TOLD_AT_MOST {
            let (label, instance) = (write.label(), &node.instance);
            let minutes = TOLD_WITHIN.as_secs() / 60;
            self.complain(world, &format!("PACE: {label} of {instance} {count} times in {minutes} minutes"));
        }
    }

    /// Whether a target comes down by no more than it was raised by lately, for instances that were announced to go.
    fn takes_a_raise_back(&self, world: &World, fleet: &FleetRef, units: u32) -> bool {
        let raised = self.raised.get(fleet.id.as_str()).into_iter().flatten();
        let lately = raised.filter(|(at, _)| world.now().since(*at) < RAISED_FOR);
        let given_up = self.given_up.get(fleet.id.as_str()).into_iter().flatten();
        let given_up = given_up.filter(|(at, _)| world.now().since(*at) < GIVEN_UP_FOR);
        let raised: f64 = lately.map(|(_, units)| f64::from(*units)).sum();
        let given_up: f64 = given_up.map(|(_, units)| units).sum();
        raised + given_up + LEEWAY >= f64::from(units)
    }

    /// A target has come down.
    pub fn has_followed(&mut self, fleet: &FleetRef) {
        self.given_up.remove(fleet.id.as_str());
    }

    /// One is asked to let go because less is enough. If that was known just then, the target may follow; if not, that is judged when it
    /// does.
    pub fn gives_up(&mut self, world: &World, fleet: &FleetRef, instance: &InstanceId) {
        if self.clock_is_wrong || self.ignorance(world, fleet).is_some() {
            return;
        }
        let members = world.instance_truths(&fleet.id);
        let weight = members.iter().find(|member| member.id == *instance).map_or(0.0, |m| m.weight.get());
        self.given_up.entry(fleet.id.as_str().to_owned()).or_default().push((world.now(), weight));
    }

    /// OWN and ONCE: the victims are the fleet's, and the fleet will not buy others in their place.
    fn judge_terminations(&mut self, world: &World, fleet: &FleetRef, instances: &[InstanceId]) {
        let members = world.instance_truths(&fleet.id);
        for instance in instances {
            if !members.iter().any(|member| member.id == *instance) {
                self.complain(world, &format!("OWN: {instance} is not of {}", fleet.id));
            }
        }
        // Who has died since the last look that may be acted upon is not known to have.
        let now = world.now();
        let seems_alive =
            |member: &&InstanceTruth| is_alive(member) || member.ended.is_some_and(|at| now.since(at) < LOOK);
        let target = world.truth(&fleet.id).map_or(0, |truth| truth.target);
        let on_demand = world.on_demand_target_of(&fleet.id);
        for (market, asked) in
            [(Market::Spot, target.saturating_sub(on_demand)), (Market::OnDemand, on_demand)]
        {
            let of = |member: &&InstanceTruth| member.pool.market == market;
            let stays: f64 = members
                .iter()
                .filter(of)
                .filter(seems_alive)
                .filter(|member| !instances.contains(&member.id))
                .map(|member| member.weight.get())
                .sum();
            let mut alive = members.iter().filter(of).filter(|member| is_alive(member));
            let hits = alive.any(|member| instances.contains(&member.id));
            if hits && stays < f64::from(asked) - 1e-6 {
                self.complain(world, &format!("ONCE: {stays} units would stay where {asked} are asked for"));
            }
        }
    }

    /// PACE: not more than so many writes to one fleet in a minute.
    fn judge_pace(&mut self, world: &World, fleet: &FleetRef) {
        let now = world.now();
        let writes = self.writes.entry(fleet.id.as_str().to_owned()).or_default();
        writes.push_back(now);
        while writes.front().is_some_and(|at| now.since(*at) >= Duration::from_secs(60)) {
            writes.pop_front();
        }
        let count = writes.len();
        if count > WRITES_A_MINUTE {
            self.complain(world, &format!("PACE: {count} writes to {} within a minute", fleet.id));
        }
    }

    fn sight(&mut self) -> &mut Sight {
        self.sights.entry(self.observer).or_default()
    }

    /// What was wrong so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// An agent has told of so long.
    pub fn heard(&mut self, instance: &InstanceId, end: Timestamp) {
        let newest = self.sight().told.entry(instance.clone()).or_insert(end);
        *newest = end.max(*newest);
    }

    /// A call was answered that was begun at `at`.
    pub fn answered(&mut self, answer: &Answer, at: Timestamp) {
        match answer {
            Answer::Fleets(Ok(_)) => self.described(0, at),
            Answer::Instances(Ok(_)) => self.described(1, at),
            Answer::Metrics(Ok(series)) => {
                for series in series {
                    let Some(period) = series.period else { continue };
                    let end = series.points.last().map(|(start, _)| *start + period);
                    let newest = end.map(|end| (end, period));
                    let sight = self.sight();
                    sight.told_by_service = sight.told_by_service.max(newest);
                }
            }
            _ => {}
        }
    }

    /// Answers overtake each other: the newest question counts.
    fn described(&mut self, what: usize, at: Timestamp) {
        let newest = &mut self.sight().described[what];
        *newest = (*newest).max(Some(at));
    }

    /// DATA: nothing is given back where nobody has told how busy the fleet is, or nobody has looked at it.
    fn judge_data(&mut self, world: &World, fleet: &FleetRef) {
        // With a wrong wall clock nobody knows how old a sample is.
        if !self.clock_is_wrong
            && let Some(what) = self.ignorance(world, fleet)
        {
            self.complain(world, &format!("DATA: {} shrinks, {what}", fleet.id));
        }
    }

    /// DATA: whoever lets go has looked at the fleet lately.
    fn judge_looks(&mut self, world: &World, fleet: &FleetRef) {
        if !self.clock_is_wrong
            && let Some(what) = self.blindness(world)
        {
            self.complain(world, &format!("DATA: {} shrinks, {what}", fleet.id));
        }
    }

    /// What of the fleet nobody knows now, if anything.
    fn ignorance(&mut self, world: &World, fleet: &FleetRef) -> Option<String> {
        self.ignorance_of_load(world, fleet).or_else(|| self.blindness(world))
    }

    /// What of its load nobody knows now, if anything.
    fn ignorance_of_load(&mut self, world: &World, fleet: &FleetRef) -> Option<String> {
        let now = world.now();
        let members = world.instance_truths(&fleet.id);
        let Sight { told, told_by_service, described: _ } = self.sight();
        let told_by_service = *told_by_service;
        let told = members.iter().filter_map(|member| told.get(&member.id)).max().copied();
        let minute = Duration::from_secs(60);
        let by_agents = told.is_some_and(|end| now.since(end) <= minute + Duration::from_secs(35));
        let by_service = told_by_service.is_some_and(|(end, period)| now.since(end) <= minute + period * 3);
        if !by_agents && !by_service {
            let (told, by) =
                (told.map(|end| now.since(end)), told_by_service.map(|(end, p)| (now.since(end), p)));
            return Some(format!("its load was told {told:?} ago, by services {by:?}"));
        }
        None
    }

    /// What nobody has looked at lately, if anything.
    fn blindness(&mut self, world: &World) -> Option<String> {
        let described = self.sight().described;
        ["fleets", "instances"].into_iter().zip(described).find_map(|(what, at)| {
            let age = at.map(|at| world.now().since(at));
            age.is_none_or(|age| age > LOOK).then(|| format!("{what} were seen {age:?} ago"))
        })
    }

    /// SPREAD: where another instance could have gone, no family is given up, and no pool or zone comes to hold much more
    /// than it may.
    fn judge_spread(
        &mut self,
        world: &World,
        policies: &[FleetPolicy],
        fleet: &FleetRef,
        instances: &[InstanceId],
    ) {
        let members = world.instance_truths(&fleet.id);
        let told_before = |member: &&InstanceTruth| self.terminations.contains_key(&member.id);
        let were: Vec<&InstanceTruth> = members.iter().filter(|m| is_alive(m) && !told_before(m)).collect();
        self.judge_spread_without(world, policies, fleet, &were, instances, &BTreeSet::new());
    }

    /// SPREAD, in worlds in which instances are taken back, too: judged when somebody is asked to let go because less is enough,
    /// of a fleet that has been at rest for so long that whoever chose knew it as it is.
    ///
    /// * `others_go`: somebody is on the way out for another reason, and no candidate.
    /// * `no_choice`: who could not go in its place: batch work runs there that the policy waits for.
    pub fn judge_choice(
        &mut self,
        world: &World,
        policies: &[FleetPolicy],
        fleet: &FleetRef,
        instance: &InstanceId,
        others_go: bool,
        no_choice: &BTreeSet<InstanceId>,
    ) {
        let now = world.now();
        let members = world.instance_truths(&fleet.id);
        let lately = |at: &Timestamp| now.since(*at) < AT_REST;
        let moved = |m: &InstanceTruth| {
            [Some(m.requested), m.in_service, m.ended].iter().flatten().any(lately)
                || m.interruption.is_some()
        };
        let at_risk = |m: &InstanceTruth| world.notices(&m.id).is_some_and(|said| said.rebalance.is_some());
        let unknown =
            members.iter().any(|m| moved(m) && (is_alive(m) || m.ended.as_ref().is_some_and(lately)));
        if unknown || others_go || self.clock_is_wrong || members.iter().any(|m| is_alive(m) && at_risk(m)) {
            return;
        }
        let with_it = |m: &InstanceTruth| self.chosen.contains(&m.id) || self.chosen_with_it.contains(&m.id);
        let goes = |m: &InstanceTruth| m.id != *instance && with_it(m);
        let were: Vec<&InstanceTruth> = members.iter().filter(|m| is_alive(m) && !goes(m)).collect();
        self.choices += 1;
        self.judge_spread_without(world, policies, fleet, &were, std::slice::from_ref(instance), no_choice);
    }

    fn judge_spread_without(
        &mut self,
        world: &World,
        policies: &[FleetPolicy],
        fleet: &FleetRef,
        were: &[&InstanceTruth],
        instances: &[InstanceId],
        no_choice: &BTreeSet<InstanceId>,
    ) {
        let Some(policy) = policy_of(policies, fleet) else { return };
        let rule = policy.base.diversification;
        let are: Vec<&InstanceTruth> = were.iter().filter(|m| !instances.contains(&m.id)).copied().collect();
        if are.len() < SPREAD_FROM || are.len() == were.len() {
            return;
        }
        let (before, after) = (Spread::of(were), Spread::of(&are));
        let wanted = usize::try_from(rule.families).unwrap_or(usize::MAX).min(before.families);
        // What it would be with another one in a victim's place, no heavier.
        let choices = || {
            let victims = were.iter().filter(|member| instances.contains(&member.id));
            victims.flat_map(|victim| {
                let like = |other: &InstanceTruth| {
                    other.weight <= victim.weight && other.pool.market == victim.pool.market
                };
                let others = are.iter().filter(move |other| like(other) && !no_choice.contains(&other.id));
                others.map(|other| {
                    let remain = are.iter().filter(|member| member.id != other.id).copied();
                    Spread::of(&remain.chain([*victim]).collect::<Vec<_>>())
                })
            })
        };
        if after.families < wanted && choices().any(|other| other.families > after.families) {
            let (had, has) = (before.families, after.families);
            self.complain(world, &format!("SPREAD: {} had {had} families and has {has}", fleet.id));
        }
        // Whole instances only: one more than its share. Where nobody could have gone who leaves less of the one and breaks no more of
        // the rest, nobody else was to be chosen: the last one of its market may have to go whatever that does.
        let no_worse = |other: &Spread| {
            other.families >= after.families.min(wanted)
                && other.largest <= after.largest.max(rule.max_pool_share) + LEEWAY
                && other.largest_zone <= after.largest_zone.max(rule.max_zone_share) + LEEWAY
        };
        let shares: [(&str, f64, Share); 2] = [
            ("pool", rule.max_pool_share, |spread| spread.largest),
            ("zone", rule.max_zone_share, |spread| spread.largest_zone),
        ];
        for (what, most, share) in shares {
            let (largest, allowed, id) = (share(&after), most.max(share(&before)) + after.one, &fleet.id);
            let avoidable = || choices().any(|other| no_worse(&other) && share(&other) < largest - LEEWAY);
            if largest > allowed && avoidable() {
                self.complain(
                    world,
                    &format!("SPREAD: a {what} of {id} holds {largest} of it, of at most {allowed}"),
                );
            }
        }
    }

    /// Looks at the world after every step.
    pub fn watch(&mut self, world: &World, policies: &[FleetPolicy]) {
        let highest = policies.iter().map(|policy| policy.base.capacity.max).min().unwrap_or_default();
        let highest = self.bounds.map_or(highest, |(_, max)| max) + self.surge;
        // Most often nobody is above anybody's bounds.
        if self.others_write || world.targets().all(|(_, target)| target <= highest) {
            return;
        }
        for fleet in world.fleets() {
            let Some(policy) = policy_of(policies, &fleet) else { continue };
            let Some(truth) = world.truth(&fleet.id) else { continue };
            let max = self.bounds.map_or(policy.base.capacity.max, |(_, max)| max);
            let asked = self.modifications.iter().any(|(id, _)| *id == fleet.id.as_str());
            if asked && truth.target > max + self.surge {
                self.complain(
                    world,
                    &format!("CAP: {} asks for {} of at most {max}", fleet.id, truth.target),
                );
            }
        }
    }

    fn complain(&mut self, world: &World, what: &str) {
        let at = world.now().since(world.start());
        self.complaints.push(format!("after {} s: {what}", at.as_secs()));
    }

    /// Nothing was wrong.
    pub fn assert_clean(&self) {
        let complaints = &self.complaints;
        assert!(complaints.is_empty(), "{} complaints, first: {:?}", complaints.len(), complaints.first());
    }
}

/// Whether as many have died lately as a target comes down by: then they are not bought again.
fn follows_the_dead(world: &World, fleet: &FleetRef, units: u32) -> bool {
    let lately = |at: Timestamp| world.now().since(at) < Duration::from_secs(900);
    let members = world.instance_truths(&fleet.id);
    let died = members.iter().filter(|member| member.ended.is_some_and(lately));
    died.map(|member| member.weight.get()).sum::<f64>() >= f64::from(units)
}

/// Whether AWS takes as much within a minute as a target comes down by.
fn as_much_is_taken_now(world: &World, fleet: &FleetRef, units: u32) -> bool {
    let soon = world.now() + Duration::from_secs(60);
    let members = world.instance_truths(&fleet.id);
    let is_taken = |member: &&InstanceTruth| {
        let said = world.notices(&member.id).and_then(|said| said.terminate_at);
        is_alive(member) && said.is_some_and(|at| at <= soon)
    };
    members.iter().filter(is_taken).map(|member| member.weight.get()).sum::<f64>() >= f64::from(units)
}

/// One of the shares that a spread is judged by.
type Share = fn(&Spread) -> f64;

/// How instances are spread.
struct Spread {
    families: usize,
    /// The share of the largest pool, by weight.
    largest: f64,
    /// The share of the largest zone, by weight.
    largest_zone: f64,
    /// The share of the heaviest instance.
    one: f64,
}

impl Spread {
    fn of(members: &[&InstanceTruth]) -> Self {
        let mut pools: BTreeMap<&Pool, f64> = BTreeMap::new();
        let mut zones: BTreeMap<&Zone, f64> = BTreeMap::new();
        for member in members {
            *pools.entry(&member.pool).or_default() += member.weight.get();
            *zones.entry(&member.pool.zone).or_default() += member.weight.get();
        }
        let families: BTreeSet<Family> = pools.keys().map(|pool| Family::of(&pool.instance_type)).collect();
        let total: f64 = pools.values().sum();
        let largest = pools.values().copied().fold(0.0, f64::max) / total;
        let largest_zone = zones.values().copied().fold(0.0, f64::max) / total;
        let one = members.iter().map(|member| member.weight.get()).fold(0.0, f64::max) / total;
        Self { families: families.len(), largest, largest_zone, one }
    }
}
