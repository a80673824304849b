//! What is planned in which situation.

use crate::support::scene::{NOON, POOLS, Scene, member, seconds};
use autoscaler_core::{
    Action, Bound, Decision, FailingRead, Hold, Learned, Pause, Phase, Plan, Planned, Remark, RemovalStep,
    Unholdable,
};
use fleet::ports::Change;
use fleet::{
    Backend, CapacityUnits, ExcessCapacity, FleetKind, FleetState, Health, InstanceId, Market, Utilization,
    Weight,
};

fn target_of(plan: &Plan) -> Option<u32> {
    plan.actions.iter().find_map(|action| match action {
        Action::Modify { change, .. } => Some(change.target),
        _ => None,
    })
}

fn holds_with(scene: &Scene, expected: &Hold) {
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "{}", planned.report);
    assert!(planned.report.holds.contains(expected), "{}", planned.report);
}

#[test]
fn a_fleet_that_fits_its_load_is_left_alone() {
    let planned = Scene::of(8, 6).plan();
    assert_eq!((planned.plan.actions.len(), planned.report.decision), (0, Decision::Steady));
    assert!(!planned.look);
}

#[test]
fn what_demand_needs_is_bought_in_one_step() {
    let planned = Scene::of(4, 12).plan();
    assert_eq!(planned.report.decision, Decision::ScaleOut { from: 4, to: 16 });
    let Some(Action::Modify {
        from: 4,
        change: Change { target: 16, on_demand_target: 0, launch: None },
        ..
    }) = planned.plan.actions.first()
    else {
        panic!("{:?}", planned.plan)
    };
    let expected = planned.memory.expected.expect("remembered");
    assert_eq!((expected.target, expected.shown, expected.written), (16, false, Some(NOON)));
}

#[test]
fn what_is_superfluous_is_given_back_by_whole_victims() {
    let planned = Scene::of(12, 6).plan();
    assert_eq!(planned.report.decision, Decision::ScaleIn { from: 12, to: 8 });
    assert_eq!(planned.memory.removals.len(), 4);
    assert!(planned.memory.removals.values().all(|r| r.step == RemovalStep::Lowering));
    assert_eq!(planned.plan.actions.len(), 1, "nobody is terminated before the target has shown");
}

#[test]
fn bounds_hold_whatever_demand_says() {
    let mut scene = Scene::of(4, 20);
    scene.policy.capacity.max = 10;
    let planned = scene.plan();
    assert_eq!(target_of(&planned.plan), Some(10));
    assert_eq!(planned.report.bounds, [Bound::Max]);
    let mut scene = Scene::of(8, 1);
    scene.policy.capacity.min = 5;
    let planned = scene.plan();
    assert_eq!(target_of(&planned.plan), Some(5));
    assert_eq!(planned.report.bounds, [Bound::Min]);
}

#[test]
fn steps_are_no_larger_than_the_policy_allows() {
    let mut scene = Scene::of(4, 12);
    scene.policy.scale_out.max_step = Some(3);
    let planned = scene.plan();
    assert_eq!(target_of(&planned.plan), Some(7));
    assert_eq!(planned.report.bounds, [Bound::ScaleOutStep]);
    let mut scene = Scene::of(12, 6);
    scene.policy.scale_in.max_step = Some(1);
    assert_eq!(target_of(&scene.plan().plan), Some(11));
    scene.policy.scale_in.enabled = false;
    holds_with(&scene, &Hold::ScaleInOff);
}

#[test]
fn bounds_that_have_moved_are_reached_at_once_even_without_samples() {
    let mut scene = Scene::of(4, 3);
    scene.learned = Learned::default();
    scene.seen.latest = None;
    scene.policy.capacity.min = 9;
    scene.policy.scale_out.max_step = Some(1);
    assert_eq!(target_of(&scene.plan().plan), Some(9), "a schedule raised min");
    let mut scene = Scene::of(12, 9);
    scene.learned = Learned::default();
    scene.seen.latest = None;
    scene.policy.capacity.max = 10;
    let planned = scene.plan();
    assert_eq!(target_of(&planned.plan), Some(10));
    assert!(planned.memory.removals.is_empty(), "nobody is chosen where load is not known");
}

#[test]
fn nothing_is_given_back_on_missing_or_old_samples_but_bought_on_what_is_known() {
    let mut scene = Scene::of(12, 6);
    scene.seen.latest = None;
    holds_with(&scene, &Hold::NoSamples);
    let mut scene = Scene::of(12, 6);
    if let Some(latest) = &mut scene.seen.latest {
        latest.end = NOON - seconds(91);
    }
    holds_with(&scene, &Hold::SamplesStale { age: seconds(91) });
    if let Some(latest) = &mut scene.seen.latest {
        latest.end = NOON + seconds(91);
    }
    holds_with(&scene, &Hold::SamplesStale { age: seconds(91) });
    let mut scene = Scene::of(4, 12);
    scene.seen.latest = None;
    assert_eq!(target_of(&scene.plan().plan), Some(16));
}

#[test]
fn nothing_is_given_back_when_most_agents_are_silent() {
    let mut scene = Scene::of(12, 6);
    if let Some(latest) = &mut scene.seen.latest {
        latest.instances = 5;
    }
    holds_with(&scene, &Hold::FewReport { reporting: 5, serving: 12 });
}

#[test]
fn nobody_is_chosen_on_half_a_picture() {
    let mut scene = Scene::of(12, 6);
    scene.members().truncate(9);
    let seen = CapacityUnits::new(9.0);
    holds_with(&scene, &Hold::Contradictory { fulfilled: CapacityUnits::new(12.0), seen });
    let mut scene = Scene::of(12, 6);
    scene.seen.members = None;
    let planned = scene.plan();
    assert!(planned.plan.actions.is_empty() && planned.look, "{}", planned.report);
}

#[test]
fn nothing_is_written_upon_an_old_look() {
    for (count, demand) in [(4, 12), (12, 6)] {
        let mut scene = Scene::of(count, demand);
        if let Some(fleet) = &mut scene.seen.fleet {
            fleet.at = NOON - seconds(31);
        }
        let planned = scene.plan();
        assert!(planned.plan.actions.is_empty() && planned.look, "{}", planned.report);
        assert_eq!(planned.report.decision, Decision::Held);
    }
    let mut steady = Scene::of(8, 6);
    if let Some(fleet) = &mut steady.seen.fleet {
        fleet.at = NOON - seconds(120);
    }
    assert!(!steady.plan().look, "a fleet that needs nothing is not looked at for it");
    if let Some(fleet) = &mut steady.seen.fleet {
        fleet.at = NOON - seconds(301);
    }
    holds_with(&steady, &Hold::FleetStale { age: seconds(301) });
}

#[test]
fn a_fleet_that_was_never_seen_is_waited_for() {
    let mut scene = Scene::of(4, 12);
    scene.seen.fleet = None;
    holds_with(&scene, &Hold::FleetUnseen);
}

#[test]
fn fleets_that_cannot_be_held_are_left_alone() {
    for (kind, state, backend, why) in [
        (FleetKind::Request, FleetState::Active, Backend::SpotFleet, Unholdable::AsksOnce),
        (FleetKind::Instant, FleetState::Active, Backend::Ec2Fleet, Unholdable::LaunchesOnce),
        (FleetKind::Maintain, FleetState::Deleted, Backend::SpotFleet, Unholdable::Deleted),
        (FleetKind::Maintain, FleetState::Failed, Backend::SpotFleet, Unholdable::Failed),
        (FleetKind::Maintain, FleetState::Submitted, Backend::SpotFleet, Unholdable::Submitted),
    ] {
        let mut scene = Scene::of(4, 12);
        let view = scene.view();
        (view.kind, view.state, view.backend) = (kind, state, backend);
        holds_with(&scene, &Hold::NotHoldable { why });
    }
    let mut scene = Scene::of(4, 12);
    scene.seen.scalable_target = true;
    holds_with(&scene, &Hold::NotHoldable { why: Unholdable::ScalableTarget });
    let mut scene = Scene::of(4, 12);
    let view = scene.view();
    (view.state, view.backend) = (FleetState::Submitted, Backend::Ec2Fleet);
    assert_eq!(target_of(&scene.plan().plan), Some(16), "an EC2 Fleet can be modified before it is at work");
}

#[test]
fn an_operator_can_have_a_fleet_left_alone() {
    let mut scene = Scene::of(4, 12);
    let until = NOON + seconds(60);
    scene.seen.pause = Some(Pause { until, by: "me".to_owned(), reason: "a look".to_owned() });
    holds_with(&scene, &Hold::Paused { until });
    let scene = scene.later(60);
    assert!(!scene.plan().plan.actions.is_empty(), "a pause ends by itself");
    let mut scene = Scene::of(4, 12);
    scene.policy.observe_only = true;
    holds_with(&scene, &Hold::ObserveOnly);
}

#[test]
fn a_dry_run_plans_and_remembers_nothing_of_it() {
    let mut scene = Scene::of(12, 6);
    scene.policy.dry_run = true;
    let planned = scene.plan();
    assert_eq!(planned.plan.actions.len(), 1);
    assert_eq!(planned.memory, scene.memory);
    assert!(planned.report.remarks.contains(&Remark::DryRun));
}

#[test]
fn a_fleet_that_is_being_modified_is_waited_for_however_long() {
    let mut scene = Scene::of(4, 12);
    scene.view().state = FleetState::Modifying;
    let mut since = None;
    for minute in 0..25_u64 {
        scene = scene.later(60);
        let planned = scene.plan();
        assert_eq!(planned.plan.actions, []);
        let began = *since.get_or_insert(scene.now);
        assert!(planned.report.holds.contains(&Hold::Modifying { since: began }));
        let stuck = planned.report.remarks.contains(&Remark::StuckModifying { since: began });
        assert_eq!(stuck, minute >= 20);
        scene.remember(&planned);
    }
    scene.view().state = FleetState::Active;
    let planned = scene.plan();
    assert_eq!(target_of(&planned.plan), Some(16));
    assert_eq!(planned.memory.modifying_since, None);
}

#[test]
fn the_target_does_not_climb_because_capacity_never_comes() {
    let mut scene = Scene::of(4, 12);
    let planned = scene.plan();
    scene.remember(&planned);
    scene.view().target = 16;
    for _ in 0..100 {
        scene = scene.later(30);
        let planned = scene.plan();
        assert_eq!(planned.plan.actions, [], "{}", planned.report);
        assert!(planned.report.remarks.contains(&Remark::Missing { units: CapacityUnits::new(12.0) }));
        scene.remember(&planned);
    }
}

#[test]
fn what_a_modification_asks_for_is_not_missing_before_it_has_ended() {
    let mut scene = Scene::of(4, 12);
    let planned = scene.plan();
    scene.remember(&planned);
    scene.view().target = 16;
    scene = scene.later(10);
    let missing =
        |planned: &Planned| planned.report.remarks.iter().any(|r| matches!(r, Remark::Missing { .. }));
    scene.view().state = FleetState::Modifying;
    assert!(!missing(&scene.plan()));
    scene.view().state = FleetState::Active;
    assert!(missing(&scene.plan()));
}

#[test]
fn a_read_that_fails_is_told_whatever_else_is_known() {
    let mut scene = Scene::of(4, 3);
    let class = fleet::ErrorClass::Throttled { retry_after: None };
    scene.seen.failing = vec![FailingRead { operation: "describe_instances".to_owned(), class }];
    let told = "remark: describe_instances fails (throttled): what it told before is all that is known";
    assert!(scene.plan().report.to_string().contains(told), "{}", scene.plan().report);
    scene.seen.fleet = None;
    assert!(scene.plan().report.to_string().contains(told), "{}", scene.plan().report);
}

#[test]
fn need_that_falls_while_capacity_is_missing_lowers_the_target_without_victims() {
    let mut scene = Scene::of(8, 6);
    scene.view().target = 14;
    scene.memory.expected = None;
    let planned = scene.plan();
    assert_eq!(target_of(&planned.plan), Some(8));
    assert!(planned.memory.removals.is_empty());
}

#[test]
fn a_fleet_that_would_terminate_by_itself_is_set_right_at_the_same_size() {
    let mut scene = Scene::of(8, 6);
    scene.view().excess = ExcessCapacity::Termination;
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::SetRight { target: 8 });
    assert_eq!(target_of(&planned.plan), Some(8));
}

#[test]
fn victims_keep_the_spread_and_are_no_loss_first() {
    let mut scene = Scene::of(12, 8);
    // The c5 pools are nearly empty: taking from them would leave one family.
    for (n, member) in scene.members().iter_mut().enumerate() {
        member.pool =
            crate::support::scene::member(n, POOLS[if n == 0 { 1 } else { 2 * (n % 2) }], NOON).pool;
    }
    let planned = scene.plan();
    assert_eq!(planned.memory.removals.len(), 1);
    assert!(!planned.memory.removals.contains_key("i-0000"), "the last of its family stays");

    let mut scene = Scene::of(12, 8);
    scene.members()[5].health = Health::Unhealthy;
    assert!(scene.plan().memory.removals.contains_key("i-0005"), "what is broken goes first");

    let mut scene = Scene::of(12, 8);
    scene.members()[6].phase = Phase::Booting;
    assert!(scene.plan().memory.removals.contains_key("i-0006"), "then what does not serve yet");

    let planned = Scene::of(12, 8).plan();
    assert!(planned.memory.removals.contains_key("i-0011"), "else the youngest of the fullest pools");
}

#[test]
fn victims_keep_the_zones_where_no_pool_holds_too_much() {
    // Three of four pools lie in one zone: 9 of 12 instances, just as many as may.
    let zones = ["eu-west-1a", "eu-west-1a", "eu-west-1a", "eu-west-1b"];
    let types = ["m5.large", "c5.large", "r5.large", "m5.large"];
    let mut scene = Scene::of(12, 8);
    for (n, member) in scene.members().iter_mut().enumerate() {
        member.pool = fleet::Pool::spot(types[n % 4], zones[n % 4]);
        // Whom everything but the zones speaks against.
        if n % 4 == 3 {
            member.phase = Phase::Booting;
        }
    }
    let victims = |scene: &Scene| {
        let planned = scene.plan();
        let ids = planned.memory.removals.keys().map(|id| id.as_str().to_owned());
        ids.collect::<Vec<_>>()
    };
    let in_smaller_zone = |id: &String| ["i-0003", "i-0007", "i-0011"].contains(&id.as_str());
    let chosen = victims(&scene);
    assert!(!chosen.is_empty() && !chosen.iter().any(in_smaller_zone), "{chosen:?}");
    scene.policy.diversification.max_zone_share = 1.0;
    let chosen = victims(&scene);
    assert!(!chosen.is_empty() && chosen.iter().all(in_smaller_zone), "not watched: {chosen:?}");
}

#[test]
fn protected_instances_are_never_chosen() {
    let mut scene = Scene::of(12, 6);
    for member in scene.members() {
        member.protected = true;
    }
    holds_with(&scene, &Hold::NoVictim);
    scene.members()[3].protected = false;
    let planned = scene.plan();
    assert_eq!(planned.memory.removals.keys().map(InstanceId::as_str).collect::<Vec<_>>(), ["i-0003"]);
    assert_eq!(target_of(&planned.plan), Some(11));
}

#[test]
fn weighted_victims_never_go_below_what_is_needed() {
    // Five instances of weight 4 where 14 units are needed: one may go, two would leave 12.
    let mut scene = Scene::of(20, 10);
    scene.members().truncate(5);
    for member in scene.members() {
        member.weight = Weight::new(4.0);
        member.power = fleet::Power::new(4.0);
    }
    let planned = scene.plan();
    assert_eq!(planned.memory.removals.len(), 1);
    assert_eq!(target_of(&planned.plan), Some(16));
    // With 17 needed none may go.
    let mut scene = Scene { learned: Scene::of(20, 12).learned, ..scene };
    scene.policy.capacity.min = 17;
    holds_with(&scene, &Hold::NoVictim);
}

#[test]
fn power_and_weight_are_two_things() {
    // The fleet counts instances; each can do the work of 2.
    let mut scene = Scene::of(4, 12);
    for member in scene.members() {
        member.power = fleet::Power::new(2.0);
    }
    assert_eq!(target_of(&scene.plan().plan), Some(8));
}

#[test]
fn on_demand_instances_go_only_when_nothing_else_may() {
    let mut scene = Scene::of(12, 6);
    scene.view().on_demand_target = 6;
    scene.memory.expected = None;
    for (n, member) in scene.members().iter_mut().enumerate() {
        if n < 6 {
            member.pool.market = Market::OnDemand;
        }
    }
    let planned = scene.plan();
    let Some(Action::Modify { change, .. }) = planned.plan.actions.first() else { panic!("no change") };
    assert_eq!(*change, Change::of_target(8, 6));
    assert!(planned.memory.removals.keys().all(|id| id.as_str() >= "i-0006"), "only spot goes");
}

#[test]
fn what_runs_beyond_the_target_is_given_back_once_describes_have_settled() {
    let mut scene = Scene::of(8, 6);
    for n in 8..10 {
        scene.members().push(member(n, POOLS[n % 4], NOON - seconds(500)));
    }
    scene.view().fulfilled = CapacityUnits::new(10.0);
    let planned = scene.plan();
    assert!(planned.report.holds.contains(&Hold::ExcessHeld { since: NOON }), "{}", planned.report);
    scene.remember(&planned);
    let scene = scene.later(100);
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::Trim { instances: 2 });
    assert!(
        matches!(&planned.plan.actions[..], [Action::Terminate { instances, .. }] if instances.len() == 2)
    );
    assert!(planned.memory.removals.values().all(|r| r.step == RemovalStep::Terminating));
}

#[test]
fn what_the_fleet_does_not_count_is_left_to_go_by_itself_for_as_long_as_a_notice_runs() {
    let mut scene = Scene::of(8, 6);
    // One is marked and nobody has heard of it: the fleet has bought another, and counts eight.
    scene.members().push(member(8, POOLS[0], NOON - seconds(500)));
    let planned = scene.plan();
    scene.remember(&planned);
    let mut scene = scene.later(100);
    let planned = scene.plan();
    assert!(planned.report.holds.contains(&Hold::ExcessHeld { since: NOON }), "{}", planned.report);
    assert_eq!(planned.plan.actions, []);
    scene.remember(&planned);
    let scene = scene.later(120);
    // That one has gone, and the next is marked: its successor came just now.
    let mut another = scene.clone();
    let launched = another.now - seconds(60);
    another.members().last_mut().expect("there is one").launched = launched;
    let planned = another.plan();
    assert!(planned.report.holds.contains(&Hold::ExcessHeld { since: NOON }), "{}", planned.report);
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::Trim { instances: 1 }, "nothing has taken it");
}

#[test]
fn writes_are_remembered_for_a_minute_and_no_others() {
    let scene = Scene::of(8, 10);
    let planned = scene.plan();
    assert!(matches!(planned.report.decision, Decision::ScaleOut { .. }), "{}", planned.report);
    assert_eq!(planned.memory.writes, [NOON]);
    let counted = |after: u64| planned.memory.writes_last_minute(NOON + seconds(after));
    assert_eq!([0, 59, 62].map(counted), [1, 1, 0]);
    assert_eq!(Scene::of(8, 6).plan().memory.writes, [], "nothing is written");
    let mut dry = Scene::of(8, 10);
    dry.policy.dry_run = true;
    assert_eq!(dry.plan().memory.writes, [], "nor here");
}

#[test]
fn facts_worth_attention_are_remarked() {
    let mut scene = Scene::of(8, 6);
    let at = NOON + seconds(3600);
    let view = scene.view();
    view.valid_until = Some(at);
    view.capacity_rebalance = true;
    view.overrides.retain(|o| o.instance_type.as_str() == "m5.large");
    let remarks = scene.plan().report.remarks;
    for remark in
        [Remark::Ends { at }, Remark::CapacityRebalanceOn, Remark::FewFamilies { configured: 1, wanted: 2 }]
    {
        assert!(remarks.contains(&remark), "{remarks:?}");
    }
}

#[test]
fn zones_that_are_too_few_for_the_policy_are_remarked() {
    let remarks = |zones: &[Option<&str>], largest: f64| {
        let mut scene = Scene::of(8, 6);
        scene.policy.diversification.max_zone_share = largest;
        for (line, zone) in scene.view().overrides.iter_mut().zip(zones.iter().cycle()) {
            line.zone = zone.map(Into::into);
        }
        let remarks = scene.plan().report.remarks.into_iter();
        remarks.filter(|remark| matches!(remark, Remark::FewZones { .. })).collect::<Vec<_>>()
    };
    let largest = Utilization::new(0.75);
    assert_eq!(remarks(&[Some("a")], 0.75), [Remark::FewZones { configured: 1, largest }]);
    let largest = Utilization::new(0.4);
    assert_eq!(remarks(&[Some("a"), Some("b")], 0.4), [Remark::FewZones { configured: 2, largest }]);
    for (zones, largest) in
        [(&[Some("a")][..], 1.0), (&[Some("a"), Some("b")], 0.5), (&[Some("a"), None], 0.75), (&[None], 0.75)]
    {
        assert_eq!(remarks(zones, largest), [], "{zones:?}, {largest}");
    }
}
