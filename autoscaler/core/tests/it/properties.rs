//! What holds whatever is seen.

use crate::support::ec2::{Ec2, Fate};
use crate::support::nodes::{node, service};
use crate::support::scene::{NOON, POOLS, Scene, member, sample, seconds, view};
use autoscaler_core::sizing::size;
use autoscaler_core::{
    Action, Budget, Capacity, Diversification, DrainBy, DrainCause, Expected, Fallback, Learned, Member,
    Memory, Observed, Phase, Policy, Rebalance, Removal, RemovalStep, Replacement, ReplacementCause,
    ReplacementStep, Snapshot, check, plan,
};
use fleet::ports::Change;
use fleet::{
    CapacityUnits, ExcessCapacity, FleetState, Health, InstanceId, Market, NodeView, Notice, NoticeKind,
    NoticeSource, Power, Resources, Sample, Saturation, Source, Timestamp, Utilization, Weight,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// A time around noon, sometimes far off it.
fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (-120_i64..=10).prop_map(|s| Timestamp::from_secs(NOON.secs() + s)),
        2 => (-9000_i64..9000).prop_map(|s| Timestamp::from_secs(NOON.secs() + s)),
        1 => any::<i64>().prop_map(Timestamp::from_millis),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        6 => Just(Phase::InService),
        1 => Just(Phase::Requested),
        1 => Just(Phase::Booting),
        1 => Just(Phase::Draining),
        1 => Just(Phase::Leaving),
    ]
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![6 => Just(1.0), 2 => Just(2.0), 1 => Just(4.0), 1 => Just(0.5), 1 => Just(0.0), 1 => Just(f64::NAN)]
}

fn one_member() -> impl Strategy<Value = Member> {
    let numbers = (0_usize..40, 0..POOLS.len(), weight(), weight());
    (numbers, phase(), time(), any::<(bool, bool, bool)>()).prop_map(
        |((number, pool, weight, power), phase, launched, (sick, kept, on_demand))| {
            let mut member = member(number, POOLS[pool], launched);
            member.weight = Weight::new(weight);
            member.power = Power::new(power);
            member.phase = phase;
            member.health = if sick && kept { Health::Unhealthy } else { Health::Healthy };
            member.protected = kept && !sick;
            if on_demand && sick && !kept {
                member.pool.market = Market::OnDemand;
            }
            member
        },
    )
}

fn one_sample() -> impl Strategy<Value = Sample> {
    let figures = (any::<f64>(), any::<f64>(), option::of(any::<f64>()), 0_u64..4000);
    (figures, time(), 0_u32..50).prop_map(|((busy, power, load, period), end, instances)| Sample {
        source: if period % 2 == 0 { Source::Push } else { Source::Cloudwatch },
        end,
        period: Duration::from_secs(period),
        utilization: Utilization::new(busy),
        power: Power::new(power),
        instances,
        saturation: Saturation { load_per_core: load, psi: load, saturated_share: load },
    })
}

fn state() -> impl Strategy<Value = FleetState> {
    prop_oneof![
        8 => Just(FleetState::Active),
        1 => Just(FleetState::Modifying),
        1 => Just(FleetState::Submitted),
        1 => Just(FleetState::Deleted),
    ]
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let fleet = (time(), 0_u32..30, 0_u32..8, 0.0..30.0_f64, state(), any::<bool>());
    let members = option::weighted(0.95, (time(), vec(one_member(), 0..25)));
    let notices = vec((0_usize..40, 0_usize..4, option::of(time())), 0..4);
    (option::weighted(0.95, fleet), members, option::of(one_sample()), notices, any::<u8>()).prop_map(
        |(fleet, members, latest, notices, scalable)| Snapshot {
            fleet: fleet.map(|(at, target, on_demand, fulfilled, state, terminates)| {
                let mut what = view(target, fulfilled);
                what.on_demand_target = on_demand;
                what.state = state;
                if terminates {
                    what.excess = ExcessCapacity::Termination;
                }
                Observed { at, what }
            }),
            members: members.map(|(at, mut what): (_, Vec<Member>)| {
                let mut known = BTreeSet::new();
                what.retain(|m| known.insert(m.id.clone()));
                Observed { at, what }
            }),
            samples: latest.into_iter().collect(),
            latest,
            notices: notices
                .into_iter()
                .map(|(number, kind, deadline)| Notice {
                    instance: InstanceId::new(format!("i-{number:04}")),
                    kind: [
                        NoticeKind::SpotInterruption,
                        NoticeKind::RebalanceRecommendation,
                        NoticeKind::ScheduledEvent,
                        NoticeKind::FleetScaleIn,
                    ][kind],
                    source: NoticeSource::Ec2,
                    at: NOON,
                    deadline,
                })
                .collect(),
            pause: None,
            scalable_target: scalable == 0,
            ..Snapshot::default()
        },
    )
}

fn memory() -> impl Strategy<Value = Memory> {
    let step = prop_oneof![
        Just(RemovalStep::Draining),
        Just(RemovalStep::Lowering),
        Just(RemovalStep::Lowered),
        Just(RemovalStep::Terminating)
    ];
    let removal = (step, time(), weight(), option::of(time()), option::of(time()), cause()).prop_map(
        |(step, since, w, drain_until, deadline, cause)| Removal {
            step,
            weight: Weight::new(w),
            drain_until,
            deadline,
            ..Removal::of(
                &member(0, POOLS[0], NOON),
                cause.map_or(DrainCause::ScaleIn, DrainCause::Replaced),
                since,
            )
        },
    );
    let replaced_step = prop_oneof![
        Just(ReplacementStep::Waiting),
        Just(ReplacementStep::Raising),
        Just(ReplacementStep::Raised),
        Just(ReplacementStep::BoughtByFleet),
        Just(ReplacementStep::LeftToFleet)
    ];
    let replacement = (replaced_step, time(), weight(), option::of(time()), option::of(time()), cause())
        .prop_map(|(step, since, w, drain_until, deadline, cause)| Replacement {
            cause: cause.unwrap_or(ReplacementCause::Spread),
            step,
            since,
            weight: Weight::new(w),
            market: Market::Spot,
            drain_until,
            deadline,
        });
    let ids = || (0_usize..40).prop_map(|n| InstanceId::new(format!("i-{n:04}")));
    let replacements = btree_map(ids(), replacement, 0..4);
    let others = (replacements, btree_map(ids(), time(), 0..3), btree_map(ids(), time(), 0..3), fallback());
    let removals = btree_map((0_usize..40).prop_map(|n| InstanceId::new(format!("i-{n:04}"))), removal, 0..4);
    let change = (0_u32..30, 0_u32..8)
        .prop_map(|(target, on_demand_target)| Change::of_target(target, on_demand_target));
    let expected = (change.clone(), option::of(time()), any::<bool>(), option::of(change)).prop_map(
        |(change, written, shown, before)| Expected {
            target: change.target,
            on_demand_target: change.on_demand_target,
            written,
            shown,
            before,
        },
    );
    let times = (option::of(time()), option::of(time()), option::of(time()));
    (option::of(expected), 0_u32..3, removals, times, others).prop_map(
        |(
            expected,
            foreign_writes,
            removals,
            times,
            (mut replacements, mut replaced, restoring, fallback),
        )| {
            let (modifying_since, excess_since, foreign_write_at) = times;
            // An instance is in one book at a time.
            replacements.retain(|id, _| !removals.contains_key(id));
            replaced.retain(|id, _| !replacements.contains_key(id));
            Memory {
                expected,
                foreign_writes,
                foreign_write_at,
                ceded: foreign_writes > 1,
                removals,
                modifying_since,
                excess_since,
                replacements,
                replaced,
                unaccounted: restoring.clone(),
                restoring,
                spot_short_since: excess_since,
                fallback,
                ..Memory::default()
            }
        },
    )
}

fn cause() -> impl Strategy<Value = Option<ReplacementCause>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(ReplacementCause::Notice(NoticeKind::SpotInterruption))),
        1 => Just(Some(ReplacementCause::Notice(NoticeKind::FleetScaleIn))),
        1 => Just(Some(ReplacementCause::Notice(NoticeKind::ScheduledEvent))),
        1 => Just(Some(ReplacementCause::Notice(NoticeKind::RebalanceRecommendation))),
    ]
}

fn fallback() -> impl Strategy<Value = Option<Fallback>> {
    let fallback = (0_u32..4, time(), option::of(time()));
    option::of(fallback.prop_map(|(units, since, tried)| Fallback { units, since, tried }))
}

fn one_node() -> impl Strategy<Value = NodeView> {
    let flags = any::<(bool, bool, bool, bool)>();
    (0_usize..40, flags, option::of(time()), 0_usize..8).prop_map(|(number, flags, drain_until, work)| {
        let mut node = node(&InstanceId::new(format!("i-{number:04}")), vec![service(); work]);
        (node.ready, node.eligible, node.draining) =
            (flags.0 || flags.1, flags.2 || flags.3, flags.3 && !flags.2);
        node.drain_until = drain_until.filter(|_| node.draining);
        node
    })
}

/// How nodes are emptied, and what is seen of them.
fn nomad() -> impl Strategy<Value = (Policy, Snapshot)> {
    let by = prop_oneof![2 => Just(DrainBy::Nobody), 3 => Just(DrainBy::Nomad), 1 => Just(DrainBy::Hook)];
    let rebalance = prop_oneof![
        Just(Rebalance::Ignore),
        Just(Rebalance::Cordon),
        Just(Rebalance::Replace),
        Just(Rebalance::ByRisk)
    ];
    let numbers = (0_u32..4, 0_u32..4, 0_u32..5, any::<(bool, bool)>());
    let seen = (option::weighted(0.9, (time(), vec(one_node(), 0..30))), 0_u64..3000, vec(0_usize..40, 0..4));
    (by, rebalance, numbers, seen).prop_map(|(by, rebalance, (repairs, fallback, surge, flags), seen)| {
        let mut policy = Policy::default();
        policy.drain.by = by;
        (policy.interruption.rebalance, policy.interruption.replace) = (rebalance, flags.0);
        policy.drain.interrupt_batch = flags.1;
        policy.diversification.repairs_per_hour = repairs;
        policy.on_demand.fallback = fallback;
        policy.capacity.surge = surge + 1;
        let (nodes, blocked, emptied) = seen;
        let seen = Snapshot {
            nodes: nodes.map(|(at, what)| Observed { at, what }),
            blocked: Resources {
                cpu_mhz: if blocked % 3 == 0 { blocked } else { 0 },
                memory_mib: 0,
                disk_mib: 0,
            },
            emptied: emptied.into_iter().map(|n| InstanceId::new(format!("i-{n:04}"))).collect(),
            ..Snapshot::default()
        };
        (policy, seen)
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let steps = (option::of(0_u32..5), option::of(0_u32..5));
    (0_u32..12, 0_u32..25, steps, any::<bool>(), 1_u32..4).prop_map(|(min, max, steps, enabled, families)| {
        let mut policy = Policy::default();
        (policy.capacity.min, policy.capacity.max) = (min, max);
        (policy.scale_out.max_step, policy.scale_in.max_step) = steps;
        policy.scale_in.enabled = enabled;
        policy.diversification.families = families;
        policy.diversification.max_pool_share = 0.4;
        policy.diversification.max_zone_share = if families == 3 { 1.0 } else { 0.55 };
        policy
    })
}

fn scene() -> impl Strategy<Value = Scene> {
    (policy(), snapshot(), memory(), 1_u32..20, nomad()).prop_map(|(policy, seen, memory, demand, nomad)| {
        let (rules, nodes) = nomad;
        let capacity = Capacity { surge: rules.capacity.surge, ..policy.capacity };
        let repairs_per_hour = rules.diversification.repairs_per_hour;
        let diversification = Diversification { repairs_per_hour, ..policy.diversification };
        Scene {
            policy: Policy {
                capacity,
                diversification,
                scale_out: policy.scale_out,
                scale_in: policy.scale_in,
                ..rules
            },
            seen: Snapshot { nodes: nodes.nodes, blocked: nodes.blocked, emptied: nodes.emptied, ..seen },
            memory,
            ..Scene::of(8, demand)
        }
    })
}

/// A scene in which something is likely to be done: all was seen just now, and agrees.
fn lively() -> impl Strategy<Value = Scene> {
    (scene(), 0_u32..30, any::<bool>()).prop_map(|(mut scene, target, adopted)| {
        if let Some(members) = &mut scene.seen.members {
            members.at = NOON;
            if let Some(nodes) = &mut scene.seen.nodes {
                nodes.at = NOON;
            }
            let units: f64 = members.what.iter().map(|m| m.weight.get()).sum();
            if let Some(fleet) = &mut scene.seen.fleet {
                fleet.at = NOON;
                fleet.what.fulfilled = CapacityUnits::new(units.min(fleet.what.fulfilled.get()));
                fleet.what.target = target;
                fleet.what.on_demand_target = fleet.what.on_demand_target.min(target);
            }
        }
        scene.seen.latest = Some(sample(NOON - seconds(1), 0.5, 30.0));
        if adopted {
            scene.memory = Memory::default();
        }
        scene
    })
}

fn never_breaks(scene: &Scene) -> Result<(), TestCaseError> {
    let planned = plan(&scene.policy, &scene.seen, &scene.memory, &scene.learned, scene.now);
    let budget = Budget { writes_last_minute: 0, writes_per_minute: 10 };
    let breaches =
        check(&scene.policy, &scene.seen, &scene.memory, &planned.memory, &planned.plan, budget, scene.now);
    prop_assert!(breaches.is_empty(), "{breaches:?}\n{}\n{:?}", planned.report, planned.plan);
    prop_assert!(!planned.report.to_string().is_empty() && !planned.report.one_line().is_empty());
    let (min, max) = (scene.policy.capacity.min, scene.policy.capacity.max);
    for action in &planned.plan.actions {
        if let Action::Modify { change, .. } = action {
            let most = max.max(min).saturating_add(scene.policy.capacity.surge);
            prop_assert!((min..=most).contains(&change.target), "{change:?}");
            if planned.memory.replacements.is_empty() {
                prop_assert!(change.target <= max.max(min), "{change:?}");
            }
        }
    }
    // The same again, after a way through the journal.
    let bytes = postcard::to_stdvec(&(&scene.memory, &scene.learned)).expect("serialises");
    let (memory, learned): (Memory, Learned) = postcard::from_bytes(&bytes).expect("reads back");
    let again = plan(&scene.policy, &scene.seen, &memory, &learned, scene.now);
    prop_assert_eq!(&again, &planned);
    let journaled = postcard::to_stdvec(&(&planned.plan, &planned.report, &scene.seen)).expect("serialises");
    prop_assert!(!journaled.is_empty());
    Ok(())
}

/// What fails becomes a named test of its own, not a seed in a file.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn no_plan_breaks_an_invariant_whatever_is_seen(scene in scene()) {
        never_breaks(&scene)?;
    }

    #[test]
    fn no_plan_breaks_an_invariant_where_something_is_done(scene in lively()) {
        never_breaks(&scene)?;
    }

    #[test]
    fn the_order_of_the_instances_does_not_matter(scene in lively(), turn in 0_usize..25) {
        let mut scene = scene;
        let sorted = plan(&scene.policy, &scene.seen, &scene.memory, &scene.learned, scene.now);
        if let Some(members) = &mut scene.seen.members {
            let turn = turn % members.what.len().max(1);
            members.what.rotate_left(turn);
            let turned = plan(&scene.policy, &scene.seen, &scene.memory, &scene.learned, scene.now);
            prop_assert_eq!(turned, sorted);
        }
    }

    #[test]
    fn nothing_that_samples_say_makes_learning_panic_or_grow(samples in vec(one_sample(), 0..60)) {
        let policy = Policy::default();
        let mut learned = Learned::default();
        for sample in &samples {
            let seen = Snapshot { samples: vec![*sample], ..Snapshot::default() };
            learned.learn(&policy, &seen, &Memory::default(), NOON);
            learned.observe(&policy, sample);
        }
        if let Some(sizing) = size(&policy, &learned, Power::new(1.0), NOON) {
            prop_assert!(sizing.buy <= sizing.keep);
            prop_assert!(sizing.needed.get() <= f64::from(policy.capacity.max));
        }
        let bytes = postcard::to_stdvec(&learned).expect("serialises");
        prop_assert!(bytes.len() <= 32 * 1024, "{} bytes", bytes.len());
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn whatever_happens_to_the_calls_the_fleet_ends_at_its_need(
        count in 2_u32..16,
        demand in 1_u32..12,
        lag in prop_oneof![Just(0_u64), Just(10), Just(30)],
        slow in prop_oneof![Just(5_u64), Just(15), Just(300)],
        fates in vec(0_u8..4, 0..12),
        losses in vec((0_usize..200, 0_usize..16), 0..3),
    ) {
        let mut ec2 = Ec2::of(count, demand);
        (ec2.lag, ec2.modifying_for, ec2.learning) = (lag, slow, false);
        let mut fates = fates.into_iter().map(|f| match f {
            0 => Fate::Works,
            1 => Fate::Refused,
            2 => Fate::WorksUnheard,
            _ => Fate::Lost,
        });
        for tick in 0..420 {
            if let Some((_, index)) = losses.iter().find(|(at, _)| *at == tick) {
                let id = ec2.alive.get(*index).map(|m| m.id.clone());
                if let Some(id) = id {
                    ec2.lose(&id);
                }
            }
            let _ = ec2.tick(&mut |_| fates.next().unwrap_or(Fate::Works));
        }
        let need = (f64::from(demand) / 0.75).ceil() as usize;
        let there = ec2.alive.len();
        prop_assert_eq!(there, need);
        prop_assert_eq!(ec2.target as usize, there);
        prop_assert!(ec2.scene.memory.removals.is_empty(), "{:?}", ec2.scene.memory);
        prop_assert_eq!(ec2.scene.memory.foreign_writes, 0);
        // On its own outcome nothing is planned.
        for _ in 0..30 {
            let planned = ec2.tick(&mut |_| Fate::Works);
            prop_assert_eq!(&planned.plan.actions, &[], "{}", planned.report);
        }
    }
}

#[test]
fn more_demand_never_asks_for_less() {
    let asked = |count: u32, demand: u32| {
        let planned = Scene::of(count, demand).plan();
        planned.plan.actions.iter().find_map(|a| match a {
            Action::Modify { change, .. } => Some(change.target),
            _ => None,
        })
    };
    for count in [1, 4, 8, 15, 20] {
        let targets: Vec<u32> = (1..=19).map(|demand| asked(count, demand).unwrap_or(count)).collect();
        assert!(targets.is_sorted(), "from {count}: {targets:?}");
    }
}
