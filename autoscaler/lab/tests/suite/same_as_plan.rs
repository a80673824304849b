//! The lab decides as the daemon's whole planner does.

use crate::traces;
use autoscaler_core::{Action, Learned, Member, Memory, Observed, Phase, Policy, Snapshot, plan};
use autoscaler_lab::{Channel, Runner, Setting, Trace, backtest};
use fleet::{
    AllocationStrategy, Backend, CapacityUnits, ExcessCapacity, FleetId, FleetKind, FleetState, FleetView,
    Health, InstanceId, Override, Pool, Power, Sample, Saturation, Source, Timestamp, Utilization, Weight,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// A fleet in a cloud that does at once what it is told, with the whole planner in a loop.
struct Cloud {
    policy: Policy,
    learned: Learned,
    memory: Memory,
    members: Vec<Member>,
    launched: usize,
    target: u32,
    boot: Duration,
    latest: Option<Sample>,
    changes: Vec<(u32, u32, u32)>,
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Cloud {
    fn new(policy: &Policy, boot: u32, first: u32, start: Timestamp) -> Self {
        let mut cloud = Self {
            policy: policy.clone(),
            learned: Learned::default(),
            memory: Memory::default(),
            members: Vec::new(),
            launched: 0,
            target: first,
            boot: seconds(u64::from(boot)),
            latest: None,
            changes: Vec::new(),
        };
        cloud.launch(start - seconds(3600));
        cloud.pass(start);
        cloud
    }

    fn launch(&mut self, at: Timestamp) {
        while self.members.len() < self.target as usize {
            self.members.push(Member {
                id: InstanceId::new(format!("i-{:06}", self.launched)),
                // One pool for all: whom to let go is decided by who serves.
                pool: Pool::spot("m5.large", "eu-west-1a"),
                weight: Weight::new(1.0),
                power: Power::new(1.0),
                phase: Phase::Requested,
                since: at,
                launched: at,
                health: Health::Healthy,
                protected: false,
                launch: None,
            });
            self.launched += 1;
        }
    }

    fn pass(&mut self, now: Timestamp) {
        for member in self.members.iter_mut().filter(|m| m.phase == Phase::Requested) {
            if member.launched + self.boot <= now {
                (member.phase, member.since) = (Phase::InService, member.launched + self.boot);
            }
        }
    }

    fn serving(&self) -> usize {
        self.members.iter().filter(|m| m.phase == Phase::InService).count()
    }

    /// A cycle: learn what came, plan and carry out, and see removals through.
    fn cycle(&mut self, samples: Vec<Sample>, now: Timestamp, second: u32) {
        if let Some(newest) = samples.last() {
            self.latest = Some(*newest);
        }
        let mut seen = self.snapshot(samples, now);
        self.learned.learn(&self.policy, &seen, &self.memory, now);
        for round in 0..6 {
            let at = now + Duration::from_millis(round);
            seen = self.snapshot(Vec::new(), at);
            let planned = plan(&self.policy, &seen, &self.memory, &self.learned, at);
            let modifies = planned.plan.actions.iter().any(|action| matches!(action, Action::Modify { .. }));
            if modifies && round > 0 {
                // One change of the target a cycle.
                break;
            }
            self.memory = planned.memory;
            for action in planned.plan.actions {
                match action {
                    Action::Modify { from, change, .. } => {
                        if change.target != from {
                            self.changes.push((second, from, change.target));
                        }
                        self.target = change.target;
                        self.launch(now);
                    }
                    Action::Terminate { instances, .. } => {
                        self.members.retain(|m| !instances.contains(&m.id));
                    }
                    other => unreachable!("nobody empties nodes here: {other:?}"),
                }
            }
        }
    }

    fn snapshot(&self, samples: Vec<Sample>, at: Timestamp) -> Snapshot {
        let view = FleetView {
            id: FleetId::new("sfr-1"),
            backend: Backend::SpotFleet,
            state: FleetState::Active,
            activity: None,
            kind: FleetKind::Maintain,
            target: self.target,
            on_demand_target: 0,
            fulfilled: CapacityUnits::new(self.members.len() as f64),
            excess: ExcessCapacity::NoTermination,
            strategy: Some(AllocationStrategy::PriceCapacityOptimized),
            capacity_rebalance: false,
            overrides: vec![Override {
                instance_type: "m5.large".into(),
                zone: Some("eu-west-1a".into()),
                weight: Weight::new(1.0),
            }],
            launch: None,
            tags: BTreeMap::new(),
            created: Timestamp::EPOCH,
            valid_until: None,
        };
        Snapshot {
            fleet: Some(Observed { at, what: view }),
            members: Some(Observed { at, what: self.members.clone() }),
            samples,
            latest: self.latest,
            ..Snapshot::default()
        }
    }
}

/// Runs the planner through a trace; (second, from, to) of every change of the target.
fn by_the_planner(trace: &Trace, policy: &Policy, setting: &Setting) -> Vec<(u32, u32, u32)> {
    let first = (trace.demand[0] / 0.75 - 1e-6).ceil().clamp(1.0, 20.0) as u32;
    let mut cloud = Cloud::new(policy, setting.boot, first, trace.start);
    let (period, late) = match setting.metric {
        Channel::Push => (1, 0),
        Channel::Cloudwatch1m => (6, 6),
        Channel::Cloudwatch5m => (30, 30),
    };
    let (mut queue, mut steps, mut waiting) = (0.0_f64, Vec::new(), Vec::new());
    for (step, demand) in trace.demand.iter().enumerate() {
        let capacity = cloud.serving() as f64;
        let offered = queue + demand * 10.0;
        let served = offered.min(capacity * 10.0);
        queue = (offered - served).min(capacity * 30.0);
        steps.push((served, capacity, offered / capacity / 10.0));
        let second = (step as u32 + 1) * 10;
        let now = trace.start + seconds(u64::from(second));
        if steps.len() == period {
            let sum = |of: fn(&(f64, f64, f64)) -> f64| steps.iter().map(of).sum::<f64>();
            let push = setting.metric == Channel::Push;
            let load = sum(|s| s.2) / period as f64;
            waiting.push((
                step + late,
                Sample {
                    source: if push { Source::Push } else { Source::Cloudwatch },
                    end: now,
                    period: seconds(period as u64 * 10),
                    utilization: Utilization::new(sum(|s| s.0) / (sum(|s| s.1) * 10.0)),
                    power: Power::new(sum(|s| s.1) / period as f64),
                    instances: if push { capacity as u32 } else { 0 },
                    saturation: Saturation { load_per_core: push.then_some(load), ..Saturation::default() },
                },
            ));
            steps.clear();
        }
        let due = waiting.iter().filter(|(at, _)| *at <= step).map(|(_, sample)| *sample).collect();
        waiting.retain(|(at, _)| *at > step);
        cloud.pass(now);
        cloud.cycle(due, now, second);
    }
    cloud.changes
}

#[test]
fn a_day_is_decided_as_the_whole_planner_decides_it() {
    for (name, metric, boot) in [
        ("wc98", Channel::Cloudwatch1m, 120),
        ("elb", Channel::Cloudwatch1m, 120),
        ("nasa", Channel::Push, 60),
        ("asgcpu", Channel::Cloudwatch5m, 180),
    ] {
        let mut trace = traces::sample(name);
        trace.demand.truncate(8640);
        let policy = Policy { boot: seconds(boot), ..Policy::default() };
        let setting = Setting { boot: boot as u32, metric, ..Setting::default() };
        let course =
            backtest(&trace, None, Runner::Muster, &policy, &setting, true).course.expect("asked for");
        let ours: Vec<_> = course.decisions.iter().map(|c| (c.at, c.from, c.to)).collect();
        assert!(!ours.is_empty(), "{name}");
        assert_eq!(ours, by_the_planner(&trace, &policy, &setting), "{name}");
    }
}

#[test]
fn steps_and_holds_bind_as_in_the_planner() {
    let mut trace = traces::sample("elb");
    trace.demand.truncate(8640);
    let mut policy = Policy::default();
    policy.scale_out.max_step = Some(2);
    policy.scale_in.max_step = Some(1);
    policy.scale_in.hold = seconds(600);
    (policy.capacity.min, policy.capacity.max) = (2, 12);
    let setting = Setting::default();
    let course = backtest(&trace, None, Runner::Muster, &policy, &setting, true).course.expect("asked for");
    let ours: Vec<_> = course.decisions.iter().map(|c| (c.at, c.from, c.to)).collect();
    assert!(ours.iter().all(|(_, from, to)| (2..=12).contains(to) && *to <= from + 2 && to + 1 >= *from));
    assert_eq!(ours, by_the_planner(&trace, &policy, &setting));
}
