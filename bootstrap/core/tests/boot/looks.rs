//! Looks at what stands already.

use super::node::{ALWAYS, Node, at, plans, tell, walk};
use bootstrap_core::{Boot, Condition, Effect, Event, Failure, Now, OnFailure, Step, Work};
use fleet::ErrorClass;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[test]
fn a_look_that_is_asked_for_in_the_middle_of_another_one_is_had_after_it() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    walk(&mut boot, &mut node, 1000, ALWAYS);
    let (mut looks, mut vault, mut asked) = (BTreeMap::<Step, u32>::new(), None, false);
    let mut queue: VecDeque<Effect> = boot.handle(Event::Verify, at(300)).into();
    loop {
        let Some(effect) = queue.pop_front() else {
            // Nothing goes on but the look at Vault. Settings change now, and that is said.
            let Some(attempt) = vault.take() else { break };
            if !std::mem::replace(&mut asked, true) {
                queue.extend(boot.handle(Event::Verify, at(300)));
            }
            queue.extend(boot.handle(node.work(Step::Vault, Work::Check, attempt), at(300)));
            continue;
        };
        let Effect::Start { step, work: Work::Check, attempt, .. } = effect else { continue };
        *looks.entry(step).or_default() += 1;
        if step == Step::Vault {
            vault = Some(attempt);
        } else {
            queue.extend(boot.handle(node.work(step, Work::Check, attempt), at(300)));
        }
    }
    assert_eq!(looks[&Step::Configuration], 2);
    assert_eq!(looks[&Step::Vault], 2, "the first one may have been by the settings of before");
    assert_eq!(boot.report(at(300)).condition, Condition::Done);
}

/// The looks that are begun, each with its attempt.
fn begun(effects: Vec<Effect>) -> impl Iterator<Item = (Step, u32)> {
    effects.into_iter().filter_map(|effect| match effect {
        Effect::Start { step, work: Work::Check, attempt, .. } => Some((step, attempt)),
        _ => None,
    })
}

/// Asks for a look again and again, and has at most one end each time: of those that may, the one that was begun first.
///
/// * returns: how often each step was looked at.
fn asked_without_end(
    boot: &mut Boot,
    node: &mut Node,
    turns: u32,
    may_end: impl Fn(u32, Step) -> bool,
) -> BTreeMap<Step, u32> {
    let (mut looks, mut under_way) = (BTreeMap::new(), VecDeque::new());
    for turn in 0..turns {
        let mut effects = boot.handle(Event::Verify, at(301));
        let ends = under_way.iter().position(|(step, _)| may_end(turn, *step));
        if let Some((step, attempt)) = ends.and_then(|place| under_way.remove(place)) {
            *looks.entry(step).or_default() += 1;
            effects.extend(boot.handle(node.work(step, Work::Check, attempt), at(301)));
        }
        under_way.extend(begun(effects));
    }
    looks
}

#[test]
fn looks_that_are_asked_for_faster_than_they_end_keep_nobody_from_being_looked_at() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    walk(&mut boot, &mut node, 1000, ALWAYS);
    let looks = asked_without_end(&mut boot, &mut node, 300, |_, _| true);
    for step in Step::ALL {
        assert!(looks.get(&step).is_some_and(|looks| *looks >= 10), "{step}: {looks:?}");
    }
}

#[test]
fn looks_at_two_branches_of_which_neither_comes_to_an_end_keep_those_before_them_not_waiting() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    walk(&mut boot, &mut node, 1000, ALWAYS);
    // Nothing joins them any more.
    node.lasting.insert(Step::Nomad);
    tell(&mut boot, &mut node, Event::Verify, at(300));
    // Those of Consul and of monitoring take their time, out of step.
    let looks = asked_without_end(&mut boot, &mut node, 400, |turn, step| match step {
        Step::Consul => turn % 6 == 0,
        Step::Monitoring => turn % 6 == 3,
        _ => true,
    });
    for step in [Step::Identity, Step::Vault, Step::Awx, Step::Consul, Step::Monitoring] {
        assert!(looks.get(&step).is_some_and(|looks| *looks >= 10), "{step}: {looks:?}");
    }
}

/// Has every look end but one at Vault, which goes on.
///
/// * returns: who was looked at, and the attempt at Vault.
fn but_vault(
    effects: Vec<Effect>,
    boot: &mut Boot,
    node: &mut Node,
    now: Now,
) -> (BTreeSet<Step>, Option<u32>) {
    let (mut looked, mut vault) = (BTreeSet::new(), None);
    let mut queue: VecDeque<(Step, u32)> = begun(effects).collect();
    while let Some((step, attempt)) = queue.pop_front() {
        looked.insert(step);
        if step == Step::Vault {
            vault = Some(attempt);
        } else {
            queue.extend(begun(boot.handle(node.work(step, Work::Check, attempt), now)));
        }
    }
    (looked, vault)
}

#[test]
fn one_that_is_given_up_in_the_middle_of_its_work_is_cut_off_before_it_is_looked_at_again() {
    let (mut boot, mut node) = (Boot::new(&plans(&[(Step::Vault, OnFailure::Ignore)]), 1), Node::default());
    node.fails = BTreeMap::from([(Step::Vault, u32::MAX)]);
    walk(&mut boot, &mut node, 1, ALWAYS);
    // Another attempt hangs, another look is asked for, and its deadline comes.
    boot.handle(Event::Tick, at(20));
    boot.handle(Event::Verify, at(21));
    let effects = boot.handle(Event::Tick, at(121));
    let of_vault: Vec<&Effect> = effects
        .iter()
        .filter(|effect| {
            matches!(
                effect,
                Effect::Stop { step: Step::Vault }
                    | Effect::Act { step: Step::Vault, .. }
                    | Effect::Start { step: Step::Vault, .. }
            )
        })
        .collect();
    assert!(matches!(of_vault[..], [Effect::Stop { .. }, Effect::Act { .. }, ..]), "{of_vault:?}");
}

#[test]
fn who_fails_while_another_look_is_asked_for_keeps_nobody_waiting_and_has_that_look() {
    for policy in [OnFailure::Ignore, OnFailure::Quarantine, OnFailure::Retry] {
        let (mut boot, mut node) = (Boot::new(&plans(&[(Step::Vault, policy)]), 1), Node::default());
        walk(&mut boot, &mut node, 1000, ALWAYS);
        let mut now = at(300);
        if policy == OnFailure::Ignore {
            // It was given up before.
            node.fails = BTreeMap::from([(Step::Vault, u32::MAX)]);
            tell(&mut boot, &mut node, Event::Verify, now);
            while let Some(wake) = boot.next_wake() {
                now = at(wake.as_secs() + 1);
                tell(&mut boot, &mut node, Event::Tick, now);
            }
            node.fails.clear();
            assert_eq!(node.acts, [(Step::Vault, policy)]);
        }
        let effects = boot.handle(Event::Verify, now);
        let attempt = but_vault(effects, &mut boot, &mut node, now).1.expect("a look at Vault");
        let mut effects = boot.handle(Event::Verify, now);
        let found = Err(Failure::new(ErrorClass::Transient, "refused"));
        effects.extend(boot.handle(Event::Checked { step: Step::Vault, attempt, found }, now));
        let (looked, again) = but_vault(effects, &mut boot, &mut node, now);
        assert!(looked.contains(&Step::Ready), "{policy:?}: {looked:?}");
        assert_eq!(again.is_some(), policy == OnFailure::Ignore, "who pauses looks by itself");
        let attempt = again.unwrap_or_else(|| {
            now = at(310);
            let effects = boot.handle(Event::Tick, now);
            but_vault(effects, &mut boot, &mut node, now).1.expect("its next attempt")
        });
        let effects = boot.handle(node.work(Step::Vault, Work::Check, attempt), now);
        but_vault(effects, &mut boot, &mut node, now);
        assert_eq!(boot.report(now).condition, Condition::Done, "{policy:?}");
    }
}

#[test]
fn what_is_mended_late_has_those_after_it_looked_at_once_more() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    walk(&mut boot, &mut node, 1000, ALWAYS);
    node.so.remove(&Step::Vault);
    node.fails = BTreeMap::from([(Step::Vault, 1)]);
    tell(&mut boot, &mut node, Event::Verify, at(300));
    assert!(boot.stands(Step::Ready), "the others were looked at, and hold");
    let begun = tell(&mut boot, &mut node, Event::Tick, at(302));
    let looked: BTreeSet<Step> = begun.iter().map(|(step, _)| *step).collect();
    assert_eq!(looked, BTreeSet::from([Step::Vault, Step::Awx, Step::Consul]));
    assert_eq!(boot.report(at(302)).steps[3].failures, 0, "it came off");
}

#[test]
fn what_the_node_goes_on_without_is_tried_again_with_the_next_look_and_keeps_nobody_waiting() {
    let mut node = Node { fails: BTreeMap::from([(Step::Vault, u32::MAX)]), ..Node::default() };
    let mut boot = Boot::new(&plans(&[(Step::Vault, OnFailure::Ignore)]), 1);
    walk(&mut boot, &mut node, 1000, ALWAYS);
    let begun = tell(&mut boot, &mut node, Event::Verify, at(2000));
    assert!(begun.contains(&(Step::Vault, Work::Check)) && begun.contains(&(Step::Ready, Work::Check)));
    assert_eq!(boot.next_wake(), None, "nobody is waited for");
    assert_eq!(boot.report(at(2000)).condition, Condition::Degraded);
    node.fails.clear();
    tell(&mut boot, &mut node, Event::Verify, at(3000));
    assert_eq!(node.recovered, [Step::Vault]);
    assert_eq!(boot.report(at(3000)).condition, Condition::Done);
}

#[test]
fn what_has_decayed_is_mended_and_those_after_it_are_looked_at() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    walk(&mut boot, &mut node, 1000, ALWAYS);
    node.applied.clear();
    node.so.remove(&Step::Vault);
    let begun = tell(&mut boot, &mut node, Event::Verify, at(300));
    let checks: Vec<Step> =
        begun.iter().filter(|(_, work)| *work == Work::Check).map(|(step, _)| *step).collect();
    assert_eq!(node.applied, [Step::Vault]);
    assert_eq!(checks.iter().filter(|step| **step == Step::Vault).count(), 2);
    assert_eq!(checks.iter().collect::<BTreeSet<_>>().len(), Step::ALL.len(), "all were looked at");
    assert_eq!(boot.report(at(300)).condition, Condition::Done);
}

#[test]
fn what_is_left_out_hides_nothing_that_is_read_anew_from_those_behind_it() {
    let mut plans = plans(&[]);
    for step in [Step::Vault, Step::Awx] {
        plans.get_mut(&step).expect("a plan").wanted = false;
    }
    let (mut boot, mut node) = (Boot::new(&plans, 1), Node::default());
    walk(&mut boot, &mut node, 100, ALWAYS);
    assert!(boot.stands(Step::Ready));
    let steps_of = |effects: &[Effect]| {
        let steps = effects.iter().filter_map(|effect| match effect {
            Effect::Start { step, .. } => Some(*step),
            _ => None,
        });
        steps.collect::<Vec<_>>()
    };
    // Before the configuration was read, nobody is looked at by what it said last time.
    let effects = boot.handle(Event::Verify, at(300));
    assert_eq!(steps_of(&effects), [Step::Identity, Step::Time]);
    assert!(
        [Step::Vault, Step::Awx, Step::Monitoring].iter().all(|step| boot.stands(*step)),
        "it all stands meanwhile"
    );
    let mut order = Vec::new();
    let mut queue: VecDeque<Effect> = effects.into();
    while let Some(effect) = queue.pop_front() {
        if let Effect::Start { step, work, attempt, .. } = effect {
            order.push(step);
            queue.extend(boot.handle(node.work(step, work, attempt), at(301)));
        }
    }
    let wanted: Vec<Step> = Step::ALL.into_iter().filter(|step| plans[step].wanted).collect();
    assert_eq!(order, wanted);
}
