//! Who is protected is never given back, by whatever protects them.

use autoscaler_core::Protect;
use autoscaler_engine::{Event, Record, State};
use fleet::{InstanceId, Timestamp};
use fleet_sim::{Demand, InstancePhase};
use muster_worlds::harness::{Harness, fleet, minutes, world};
use std::collections::BTreeMap;

/// A way to protect an instance.
type Protects = fn(&mut Harness, &InstanceId);

/// Eight instances, of which two are needed after half an hour.
fn shrinking() -> Harness {
    let load = Demand::points([(minutes(30), 5.6), (minutes(31), 1.4)]);
    Harness::new(world(vec![fleet(8, load)]), 3)
}

fn alive(harness: &Harness) -> Vec<InstanceId> {
    let members = harness.world.instance_truths(&harness.id(0)).into_iter();
    members.filter(|member| member.phase != InstancePhase::Gone).map(|member| member.id).collect()
}

/// Whom an unprotected fleet of this world gives back.
fn given_back() -> Vec<InstanceId> {
    let mut harness = shrinking();
    harness.run_until(minutes(20));
    let before = alive(&harness);
    harness.run_until(minutes(180));
    let after = alive(&harness);
    before.into_iter().filter(|id| !after.contains(id)).collect()
}

fn tags(key: &str, value: &str) -> BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

fn tag(harness: &mut Harness, id: &InstanceId, tags: &BTreeMap<String, String>) {
    harness.world.create_tags("somebody", &[id.as_str()], tags).expect("it lives");
}

#[test]
fn nobody_is_given_back_who_is_protected_by_tag_by_policy_or_by_our_running_there() {
    let would_go = given_back();
    assert!(would_go.len() >= 5, "{would_go:?}");
    let ways: [(&str, Protects); 5] = [
        ("the tag", |harness, id| tag(harness, id, &tags("muster:protected", "true"))),
        ("the instance that we run on", |harness, id| harness.config.own_instance = Some(id.clone())),
        ("an instance that another autoscaler runs on", |harness, id| {
            harness.run_until(minutes(1));
            harness.happen(Event::Peers([id.clone()].into()));
        }),
        ("the policy's instances", |harness, id| {
            harness.policies[0].base.protect.instances.insert(id.clone());
        }),
        ("the policy's tags", |harness, id| {
            harness.policies[0].base.protect.tags = tags("Role", "primary");
            tag(harness, id, &tags("Role", "primary"));
        }),
    ];
    for (what, protect) in ways {
        let mut harness = shrinking();
        // By the ids of a world that is the same in all else.
        protect(&mut harness, &would_go[0]);
        harness.run_until(minutes(180));
        let alive = alive(&harness);
        assert!(alive.contains(&would_go[0]), "{what}: {alive:?}");
        assert!(alive.len() <= 4, "others go: {alive:?}");
        let shown: Vec<InstanceId> =
            harness.status(0).instances.into_iter().filter(|i| i.protected).map(|i| i.id).collect();
        assert_eq!(shown, would_go[..1], "{what}");
        harness.conclude();
    }
}

#[test]
fn who_comes_to_run_on_an_instance_protects_it_from_then_on_and_until_it_runs_there_no_more() {
    let would_go = given_back();
    let mut harness = shrinking();
    harness.run_until(minutes(20));
    let protected = |harness: &Harness| -> Vec<InstanceId> {
        harness.status(0).instances.into_iter().filter(|i| i.protected).map(|i| i.id).collect()
    };
    tag(&mut harness, &would_go[1], &tags("muster:protected", "true"));
    harness.happen(Event::Peers([would_go[0].clone(), "i-elsewhere".into()].into()));
    assert_eq!(protected(&harness), would_go[..1], "before EC2 was asked again");
    harness.happen(Event::Peers([would_go[1].clone()].into()));
    harness.run_until(minutes(21));
    assert_eq!(protected(&harness), would_go[1..2]);
    harness.happen(Event::Peers([].into()));
    harness.run_until(minutes(22));
    assert_eq!(protected(&harness), would_go[1..2], "its tag protects it as before");
    harness.run_until(minutes(180));
    assert!(!alive(&harness).contains(&would_go[0]), "{:?}", alive(&harness));
    harness.conclude();
}

#[test]
fn tags_that_say_something_else_protect_nobody() {
    let would_go = given_back();
    let mut harness = shrinking();
    harness.policies[0].base.protect.tags = tags("Role", "primary");
    for (id, tags) in would_go.iter().zip([tags("muster:protected", "false"), tags("Role", "replica")]) {
        tag(&mut harness, id, &tags);
    }
    harness.run_until(minutes(180));
    assert!(alive(&harness).len() <= 3, "{:?}", alive(&harness));
    harness.conclude();
}

#[test]
fn a_policy_that_is_read_again_protects_from_then_on() {
    let mut harness = shrinking().policy(|policy| policy.scale_in.max_step = Some(1));
    harness.run_until(minutes(20));
    for id in alive(&harness) {
        tag(&mut harness, &id, &tags("Role", "primary"));
    }
    while harness.truth_terminations() == 0 {
        let next = harness.elapsed() + minutes(1);
        harness.run_until(next);
    }
    let left = alive(&harness);
    assert!(left.len() > 4, "{left:?}");
    harness.policies[0].base.protect.tags = tags("Role", "primary");
    harness.reload();
    harness.run_until(minutes(180));
    let (going, after) = (left.len() - alive(&harness).len(), alive(&harness));
    assert!(going <= 1, "whoever was told before: {left:?}, {after:?}");
    harness.conclude();
}

#[test]
fn whom_tags_protect_is_not_known_before_they_were_looked_at() {
    let at = Timestamp::from_secs(1_790_000_400);
    let policy = |of: &[(&str, &str)]| {
        let tags = of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let protect = Protect { tags, ..Protect::default() };
        Record::Policy(Box::new(autoscaler_core::Policy { protect, ..autoscaler_core::Policy::default() }))
    };
    let looked = || Record::Instances { at, seen: Vec::new(), missing: Vec::new(), gone: Vec::new() };
    let mut state = State::default();
    state.apply(&looked());
    state.apply(&policy(&[]));
    assert!(state.snapshot(at).members.is_some());
    state.apply(&policy(&[("Role", "primary")]));
    assert!(state.snapshot(at).members.is_none());
    state.apply(&looked());
    state.apply(&policy(&[("Role", "primary")]));
    assert!(state.snapshot(at).members.is_some(), "the same again");
}
