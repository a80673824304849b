//! A world by chance with two autoscalers: everything goes wrong that can, then there is peace, and all has to come
//! right.
//!
//! A [`Fate`] is a list of troubles with their times, drawn from a seed. It is data, so that what was not needed for
//! a failure can be left out ([`crate::shrink`]).

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::harness::secs;
use crate::rolling;
use crate::seat::Way;
use crate::setting::{self, Habits, Setting};
use autoscaler_core::{FleetBuys, Rebalance};
use fleet::{ErrorClass, InstanceId};
use fleet_sim::{Delivery, Effect, Fault, InstancePhase, ScheduledCode, WorldSpec};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a removal that has begun may take at most.
const GRACE: Duration = Duration::from_secs(1200);
/// How long AWS announces an interruption before.
const NOTICE: Duration = Duration::from_secs(120);
/// How many autoscalers there are.
const PROCESSES: usize = 2;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// At EC2's port: throttling, errors, lost answers, slow ones, stuck modifications, no capacity, bad events.
    Cloud(Effect),
    /// Describes lag.
    Lag(Duration),
    /// AWS takes so many instances back, at once.
    Interrupt(u64),
    /// ... or says that it might.
    Rebalance(u64),
    /// An instance is to be retired.
    Schedule,
    /// Agents tell no notices.
    AgentsSilent,
    /// The queue tells nothing.
    QueueSilent,
    /// Messages come so late, and as often again.
    QueueBad { late: Duration, duplicates: u64 },
    /// Agents tell no utilisation.
    MetricsGap,
    /// A process's wall clock is wrong, by so many milliseconds.
    Clock { who: usize, off: i64 },
    /// A process dies, so many effects later.
    Crash { who: usize, after: u64 },
    /// A process freezes so many effects later, then wakes after so long.
    Freeze { who: usize, after: u64, lasts: Duration },
    /// A process is cut off from Consul, altogether or in one direction.
    NoConsul { who: usize, way: Way },
    /// Its session ends by force.
    SessionEnds { who: usize },
    /// A process is cut off from Nomad, ...
    NoNomad { who: usize },
    /// ... from AWS.
    NoAws { who: usize },
    /// Nomad has no leader.
    NomadDown,
    /// A process's disk is full.
    DiskFull { who: usize },
    /// A version of the launch template is rolled out, perhaps one that never serves, and perhaps taken back when this is
    /// over.
    Rollout { broken: bool, back: bool },
}

/// Something that goes wrong from a time on, for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    pub from: Duration,
    pub until: Duration,
    pub what: What,
}

/// All that happens in a world. The seed says whom it hits, and how long the world's own things take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fate {
    pub seed: u64,
    pub setting: Setting,
    pub troubles: Vec<Trouble>,
    /// How long things go wrong.
    pub trouble: Duration,
    /// How long they then have to come right again.
    pub peace: Duration,
    /// Whether the fleet's size never changes, so that what is bought can be held against what AWS takes.
    pub pinned: bool,
    /// Whether the journals are planned again at the end: as dear as the world itself.
    pub replays: bool,
}

/// What came of a world.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What was wrong, in order; empty if all was well.
    pub complaints: Vec<String>,
    /// How often processes died, ...
    pub crashes: u32,
    /// ... and how many writes they began.
    pub writes: usize,
    /// Interruptions that there were.
    pub interruptions: usize,
    /// Choices of whom to let go whose spread could be judged.
    pub choices: usize,
}

impl Fate {
    /// Draws one: eighty minutes of trouble, forty of peace.
    pub fn of(seed: u64) -> Self {
        let trouble = secs(80 * 60);
        let mut chance = Chance::new(seed).fork("troubles");
        let troubles: Vec<Trouble> =
            (0..chance.between(2, 14)).map(|_| some_trouble(&mut chance, trouble)).collect();
        let (peace, replays) = (secs(40 * 60), seed.is_multiple_of(16));
        let setting = Setting::of(seed, trouble);
        Self { seed, setting, troubles, trouble, peace, pinned: false, replays }
    }

    /// The same with another policy: what is done about recommendations, on-demand fallback and droughts, repairs of the spread,
    /// weights, surges.
    pub fn varied(self) -> Self {
        let habits = Habits::of(self.seed, self.trouble);
        Self { setting: Setting { habits, ..self.setting }, ..self }
    }
}

fn some_rollout(chance: &mut Chance, within: Duration) -> Trouble {
    let from = secs(chance.between(60, within.as_secs()));
    let until = (from + secs(chance.between(120, 2400))).min(within);
    let what = What::Rollout { broken: chance.happens(0.3), back: chance.happens(0.3) };
    Trouble { from, until, what }
}

impl Fate {
    /// The same with a roll-out in its midst.
    pub fn rolling(seed: u64) -> Self {
        let mut fate = Self::of(seed);
        fate.troubles.push(some_rollout(&mut Chance::new(seed).fork("rollout"), fate.trouble));
        fate
    }

    /// The same of a fleet whose size never changes, with more interruptions; in every second one nothing disturbs the calls that
    /// buy.
    pub fn pinned(seed: u64) -> Self {
        let mut fate = Self { pinned: true, ..Self::of(seed) };
        fate.setting.load = setting::constant_load(fate.setting.count);
        let mut chance = Chance::new(seed).fork("taken");
        if chance.happens(0.5) {
            fate.troubles.retain(|trouble| leaves_buying_alone(&trouble.what));
        }
        for _ in 0..chance.between(1, 5) {
            let from = secs(chance.between(300, fate.trouble.as_secs()));
            let what = What::Interrupt(chance.between(1, 3));
            fate.troubles.push(Trouble { from, until: (from + secs(20)).min(fate.trouble), what });
        }
        fate
    }
}

/// Whether a trouble neither disturbs what is written to EC2 or read of it, nor who writes.
const fn leaves_buying_alone(what: &What) -> bool {
    matches!(
        what,
        What::Interrupt(_)
            | What::Rebalance(_)
            | What::Schedule
            | What::AgentsSilent
            | What::QueueSilent
            | What::QueueBad { .. }
            | What::MetricsGap
            | What::NoNomad { .. }
            | What::NomadDown
            | What::Cloud(Effect::Events(_))
    )
}

fn some_trouble(chance: &mut Chance, within: Duration) -> Trouble {
    let from = secs(chance.between(0, within.as_secs()));
    let until = (from + secs(chance.between(20, 1200))).min(within);
    let who = usize::from(chance.happens(0.5));
    let refuse = |share, class, code: &'static str| {
        What::Cloud(Effect::Refuse { action: None, share, class, code: code.into() })
    };
    let what = match chance.between(0, 27) {
        0 => What::Cloud(Effect::throttle(chance.within(0.1, 0.9))),
        1 => refuse(chance.within(0.1, 0.9), ErrorClass::Transient, "InternalError"),
        2 => refuse(chance.within(0.1, 0.9), ErrorClass::Unclear, "RequestTimeout"),
        3 => What::Cloud(Effect::LoseAnswer { action: None, share: chance.within(0.1, 1.0) }),
        4 => What::Cloud(Effect::StuckModifying),
        5 => What::Cloud(Effect::NoCapacity { pool: None }),
        6 => What::Cloud(Effect::Slow { action: None, latency: secs(chance.between(1, 60)) }),
        7 => What::Cloud(Effect::Events(Delivery {
            lost: chance.within(0.0, 0.9),
            doubled: chance.within(0.0, 0.9),
            late: chance.within(0.0, 0.9),
            by: secs(chance.between(1, 300)),
        })),
        8 => What::Lag(secs(chance.between(1, 31))),
        9..=11 => What::Interrupt(chance.between(1, 6)),
        12 => What::Rebalance(chance.between(1, 4)),
        13 => What::Schedule,
        14 => What::AgentsSilent,
        15 => What::QueueSilent,
        16 => What::QueueBad { late: secs(chance.between(0, 150)), duplicates: chance.between(0, 4) },
        17 => What::MetricsGap,
        18 => {
            let off = i64::try_from(chance.between(0, 7200)).expect("small") * 1000 - 3_600_000;
            What::Clock { who, off }
        }
        19 | 20 => What::Crash { who, after: chance.between(1, 60) },
        21 => {
            let lasts = secs(chance.between(1, 180));
            What::Freeze { who, after: chance.between(1, 60), lasts }
        }
        22 => {
            let way = if chance.happens(0.5) { Way::Closed } else { Way::OneWay };
            What::NoConsul { who, way }
        }
        23 => What::SessionEnds { who },
        24 => What::NoNomad { who },
        25 => What::NoAws { who },
        _ => {
            if chance.happens(0.5) {
                What::NomadDown
            } else {
                What::DiskFull { who }
            }
        }
    };
    Trouble { from, until, what }
}

/// The world of a fate, with what goes wrong at EC2's port.
fn some_world(fate: &Fate) -> WorldSpec {
    let mut spec = fate.setting.world();
    let faults = fate.troubles.iter().filter_map(|trouble| match &trouble.what {
        What::Cloud(effect) => {
            Some(Fault { from: trouble.from, until: Some(trouble.until), effect: effect.clone() })
        }
        _ => None,
    });
    spec.faults = faults.collect();
    spec
}

/// The cluster of a fate, before anything has happened.
pub fn cluster(fate: &Fate) -> Cluster {
    let Setting { at_marking, habits, .. } = &fate.setting;
    let mut cluster =
        Cluster::new(some_world(fate), fate.seed, PROCESSES).policy(|policy| habits.bend(policy));
    cluster.nomad.batch = habits.batch;
    if fate.pinned {
        let size = cluster.truth_of(0).target;
        cluster = cluster.policy(|policy| {
            (policy.capacity.min, policy.capacity.max) = (size, size);
            if *at_marking {
                policy.interruption.fleet_buys = FleetBuys::AtMarking;
            }
        });
    }
    let at_risk = !matches!(habits.rebalance, Rebalance::Ignore | Rebalance::Cordon);
    cluster.truth.replaces_by_choice = habits.repairs > 0 || at_risk;
    if fate.troubles.iter().any(|trouble| matches!(trouble.what, What::Rollout { .. })) {
        cluster.rolls_out = true;
        cluster.truth.replaces_by_choice = true;
        cluster = cluster.policy(|policy| {
            policy.rollout.surge = habits.rolls;
            policy.rollout.canary_for = secs(120);
        });
    }
    cluster
}

/// Lives through a fate. Ends early with the first complaint.
pub fn run(fate: &Fate) -> Outcome {
    let mut cluster = cluster(fate);
    live(fate, &mut cluster)
}

/// The same in a cluster that the caller looks into afterwards.
pub fn live(fate: &Fate, cluster: &mut Cluster) -> Outcome {
    let mut chance = Chance::new(fate.seed).fork("victims");
    let mut outcome = Outcome::default();
    let mut times: Vec<Duration> =
        fate.troubles.iter().flat_map(|trouble| [trouble.from, trouble.until]).collect();
    times.push(fate.trouble);
    times.sort_unstable();
    times.dedup();
    for at in times {
        cluster.run_until(at);
        for trouble in &fate.troubles {
            if trouble.until == at {
                ends(cluster, &trouble.what);
            }
        }
        for trouble in fate.troubles.iter().filter(|trouble| trouble.from <= at && at < trouble.until) {
            // Also what goes on, in case that another one of its kind has just ended.
            begins(cluster, trouble, at, &mut chance, &mut outcome);
        }
        if !cluster.all_complaints().is_empty() {
            break;
        }
    }
    if cluster.all_complaints().is_empty() {
        let mut until = fate.trouble + fate.peace;
        cluster.run_until(until);
        let patience = until + rolling::PATIENCE;
        while rolling::goes_on(cluster) && until < patience {
            until += secs(60);
            cluster.run_until(until);
        }
        // What has just begun may end, before it is judged.
        let patience = until + GRACE;
        while (cluster.leaving() > 0 || cluster.holds_excess()) && until < patience {
            until += secs(10);
            cluster.run_until(until);
        }
        came_right(&fate.setting.habits, cluster, &mut outcome.complaints);
        rolling::came_right(cluster, &mut outcome.complaints);
        outcome.complaints.extend(bought_once(fate, cluster));
    }
    outcome.choices = cluster.truth.choices;
    outcome.complaints.splice(0..0, cluster.all_complaints());
    if outcome.complaints.is_empty() && fate.replays {
        outcome.complaints.extend(cluster.diverged());
    }
    outcome.crashes = cluster.crashes;
    outcome.writes = cluster.processes.iter().map(|process| process.writes).sum();
    outcome
}

fn begins(
    cluster: &mut Cluster,
    trouble: &Trouble,
    at: Duration,
    chance: &mut Chance,
    outcome: &mut Outcome,
) {
    let first = trouble.from == at;
    match trouble.what {
        What::Lag(lag) => cluster.world.set_describe_lag(lag),
        What::AgentsSilent => cluster.agents_tell = false,
        What::QueueSilent => cluster.queue_tells = false,
        What::QueueBad { late, duplicates } => (cluster.late, cluster.duplicates) = (late, duplicates),
        What::MetricsGap => cluster.mute = true,
        What::Clock { who, off } => cluster.processes[who].wall_off = off,
        What::NoConsul { who, way } => cluster.processes[who].consul = way,
        What::NoNomad { who } => cluster.processes[who].nomad_off = true,
        What::NoAws { who } => cluster.processes[who].aws_off = true,
        What::NomadDown => cluster.nomad.down = true,
        What::DiskFull { who } => cluster.processes[who].disk.full = true,
        What::Interrupt(count) if first => {
            for instance in some_of(cluster, count, chance) {
                if cluster.world.interrupt(&instance) {
                    outcome.interruptions += 1;
                    if !cluster.taken.insert(instance.clone()) {
                        cluster.announced_twice.insert(instance);
                    }
                }
            }
        }
        What::Rebalance(count) if first => {
            for instance in some_of(cluster, count, chance) {
                cluster.world.recommend_rebalance(&instance);
            }
        }
        What::Schedule if first => {
            for instance in some_of(cluster, 1, chance) {
                cluster.world.schedule(&instance, ScheduledCode::InstanceRetirement, secs(3600));
                cluster.taken.insert(instance);
            }
        }
        What::Crash { who, after } if first => cluster.processes[who].dies_in = Some(after),
        What::Freeze { who, after, lasts } if first => {
            cluster.processes[who].freezes_in = Some((after, lasts));
        }
        What::SessionEnds { who } if first => cluster.end_sessions(who),
        What::Rollout { broken, .. } if first => rolling::begins(cluster, broken),
        What::Cloud(_)
        | What::Interrupt(_)
        | What::Rebalance(_)
        | What::Schedule
        | What::Crash { .. }
        | What::Freeze { .. }
        | What::SessionEnds { .. }
        | What::Rollout { .. } => {}
    }
}

fn ends(cluster: &mut Cluster, what: &What) {
    match *what {
        What::Lag(_) => cluster.world.set_describe_lag(Duration::ZERO),
        What::AgentsSilent => cluster.agents_tell = true,
        What::QueueSilent => cluster.queue_tells = true,
        What::QueueBad { .. } => (cluster.late, cluster.duplicates) = (Duration::ZERO, 0),
        What::MetricsGap => cluster.mute = false,
        What::Clock { who, .. } => cluster.processes[who].wall_off = 0,
        What::NoConsul { who, .. } => cluster.processes[who].consul = Way::Open,
        What::NoNomad { who } => cluster.processes[who].nomad_off = false,
        What::NoAws { who } => cluster.processes[who].aws_off = false,
        What::NomadDown => cluster.nomad.down = false,
        What::DiskFull { who } => cluster.processes[who].disk.full = false,
        // A process that has not come so far lives.
        What::Crash { who, .. } => cluster.processes[who].dies_in = None,
        What::Freeze { who, .. } => cluster.processes[who].freezes_in = None,
        What::Rollout { back: true, .. } => rolling::is_taken_back(cluster),
        What::Cloud(_)
        | What::Interrupt(_)
        | What::Rebalance(_)
        | What::Schedule
        | What::SessionEnds { .. }
        | What::Rollout { back: false, .. } => {}
    }
}

/// Some instances that serve, by chance.
fn some_of(cluster: &Cluster, count: u64, chance: &mut Chance) -> Vec<InstanceId> {
    let mut serving: Vec<InstanceId> = (0..cluster.policies.len())
        .flat_map(|index| cluster.members(index))
        .filter(|member| member.phase == InstancePhase::InService)
        .map(|member| member.id)
        .collect();
    let mut taken = Vec::new();
    for _ in 0..count {
        if serving.is_empty() {
            break;
        }
        let place = usize::try_from(chance.between(0, serving.len() as u64)).expect("small");
        taken.push(serving.swap_remove(place));
    }
    taken
}

/// ONCE: of a fleet whose size never changes exactly one is bought for each that AWS has taken; one more where bursts overlap, or where
/// one was asked for because of a scheduled event before AWS marked the same instance, and bought one itself; and where calls were
/// disturbed, or those who make them, at most two: what is beyond the target then has gone again.
fn bought_once(fate: &Fate, cluster: &Cluster) -> Option<String> {
    // Where spot has nothing to give, or more is replaced than AWS takes, the one says nothing of the other.
    if !fate.pinned || fate.setting.habits != Habits::default() {
        return None;
    }
    let members = cluster.members(0);
    let size = usize::try_from(cluster.policies[0].base.capacity.max).expect("small");
    let bought = cluster.nomad.ever.len() - size;
    let is_gone = |id: &&InstanceId| members.iter().all(|m| m.id != **id || m.phase == InstancePhase::Gone);
    let gone = cluster.taken.iter().filter(is_gone).count();
    let disturbed = fate.troubles.iter().any(|trouble| !leaves_buying_alone(&trouble.what));
    let bursts = || fate.troubles.iter().filter(|trouble| matches!(trouble.what, What::Interrupt(_)));
    let follows = |burst: &&Trouble| {
        bursts().any(|before| before.from < burst.from && burst.from <= before.from + NOTICE)
    };
    let asked_before = if fate.setting.at_marking { cluster.announced_twice.len() } else { 0 };
    let overlaps = bursts().filter(follows).count();
    let most = if disturbed { gone * 2 } else { gone + overlaps + asked_before };
    (bought < gone || bought > most).then(|| format!("ONCE: {bought} were bought for {gone} that AWS took"))
}

/// After some peace every fleet is what it asks for and serves its load, nothing is under way, and no node is left
/// over.
fn came_right(habits: &Habits, cluster: &mut Cluster, complaints: &mut Vec<String>) {
    if cluster.leader().is_none() {
        complaints.push("PEACE: nobody leads".to_owned());
    }
    for index in 0..cluster.policies.len() {
        let truth = cluster.truth_of(index);
        let capacity = cluster.policies[index].base.capacity;
        let surge = capacity.surge;
        if !(capacity.min..=capacity.max + surge).contains(&truth.target) {
            complaints.push(format!("PEACE: the target is out of bounds: {truth:?}"));
        }
        if truth.billed + 1e-6 < f64::from(truth.target) {
            complaints.push(format!("PEACE: less than is asked for: {truth:?}"));
        }
        let heaviest = if habits.weighted { 2.0 } else { 1.0 };
        // Repairs of the spread are nobody's trouble: they go on for as long as their budget lasts, one after the other, and whoever is
        // replaced lives beside its successor until that serves.
        let repaired = if habits.repairs > 0 { cluster.repaired(index) } else { 0.0 };
        if truth.billed - repaired >= f64::from(truth.target) + heaviest && !cluster.lacks_room() {
            complaints.push(format!("PEACE: more than is asked for: {truth:?}"));
        }
        if truth.utilization >= 0.9 && truth.target < capacity.max {
            complaints.push(format!("PEACE: too small: {truth:?}"));
        }
    }
    // What AWS calls at risk takes no new work for as long as it lives, by the policy.
    let world = &cluster.world;
    let at_risk = |id: &InstanceId| world.notices(id).is_some_and(|notices| notices.rebalance.is_some());
    let serving: Vec<InstanceId> = (0..cluster.policies.len())
        .flat_map(|index| cluster.members(index))
        .filter(|member| member.phase == InstancePhase::InService)
        .map(|member| member.id)
        .collect();
    let unused = cluster.nomad.ineligible().filter(|id| serving.contains(id) && !at_risk(id)).count();
    if unused > cluster.leaving() {
        complaints.push(format!("PEACE: {unused} nodes take no work, and nobody accounts for them"));
    }
}
