//! The boot, walked by hand and by chance.

use bootstrap_core::{
    Boot, Checked, Condition, Effect, Entry, Event, Failure, Inputs, Now, OnFailure, Phase, Plan, Progress,
    Retry, State, Step, Work, blame, critical_chain,
};
use fleet::{ErrorClass, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const RETRY: Retry = Retry {
    attempt: Duration::from_secs(10),
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
    deadline: Duration::from_secs(120),
};

fn plans(but: &[(Step, OnFailure)]) -> BTreeMap<Step, Plan> {
    let policy =
        |step| but.iter().find(|(of, _)| *of == step).map_or(OnFailure::Retry, |(_, policy)| *policy);
    Step::ALL
        .into_iter()
        .map(|step| (step, Plan { wanted: true, retry: RETRY, on_failure: policy(step) }))
        .collect()
}

fn at(seconds: u64) -> Now {
    Now {
        wall: Timestamp::from_secs(1000 + i64::try_from(seconds).expect("small")),
        monotonic: Duration::from_secs(seconds),
    }
}

/// A node: what is so on it, what is on its disk, and what was done to it.
#[derive(Clone, Default)]
struct Node {
    so: BTreeSet<Step>,
    disk: BTreeMap<Step, Entry>,
    applied: Vec<Step>,
    /// Says that it was applied, and it is not.
    lies: BTreeSet<Step>,
    /// Fails so many times.
    fails: BTreeMap<Step, u32>,
    lasting: BTreeSet<Step>,
    acts: Vec<(Step, OnFailure)>,
    recovered: Vec<Step>,
}

impl Node {
    fn fails(&mut self, step: Step) -> Option<Failure> {
        if self.lasting.contains(&step) {
            return Some(Failure::lasting(ErrorClass::Malformed, "wrong"));
        }
        let left = self.fails.get_mut(&step).filter(|left| **left > 0)?;
        *left -= 1;
        Some(Failure::new(ErrorClass::Transient, "refused"))
    }

    fn work(&mut self, step: Step, work: Work, attempt: u32) -> Event {
        if let Some(failure) = self.fails(step) {
            return match work {
                Work::Check => Event::Checked { step, attempt, found: Err(failure) },
                Work::Apply => Event::Applied { step, attempt, outcome: Err(failure) },
            };
        }
        match work {
            Work::Check => {
                let found = if self.so.contains(&step) { Checked::Already } else { Checked::Needed };
                Event::Checked { step, attempt, found: Ok((found, Inputs::new("1"))) }
            }
            Work::Apply => {
                assert_eq!(
                    self.disk.get(&step).map(|entry| entry.phase),
                    Some(Phase::Intent),
                    "{step} was not announced"
                );
                self.applied.push(step);
                if !self.lies.contains(&step) {
                    self.so.insert(step);
                }
                Event::Applied { step, attempt, outcome: Ok(None) }
            }
        }
    }
}

/// Walks a boot until nothing happens any more, or `effects` of them were done: then it crashed.
fn walk(boot: &mut Boot, node: &mut Node, until: u64, mut effects: usize) -> Option<Now> {
    let mut now = at(0);
    let mut queue: VecDeque<Effect> = boot.handle(Event::Tick, now).into();
    loop {
        while let Some(effect) = queue.pop_front() {
            effects = effects.checked_sub(1)?;
            match effect {
                Effect::Record(entry) => {
                    node.disk.insert(entry.step, entry);
                }
                Effect::Start { step, work, attempt, .. } => {
                    assert!(step.after().iter().all(|needed| boot.stands(*needed)), "{step} is early");
                    let event = node.work(step, work, attempt);
                    queue.extend(boot.handle(event, now));
                }
                Effect::Act { step, policy, .. } => node.acts.push((step, policy)),
                Effect::Recovered { step } => node.recovered.push(step),
            }
        }
        match boot.next_wake() {
            Some(wake) if wake.as_secs() < until => {
                now = at((wake.as_millis().div_ceil(1000)).try_into().expect("small"));
                queue.extend(boot.handle(Event::Tick, now));
            }
            _ => return Some(now),
        }
    }
}

const ALWAYS: usize = usize::MAX;

#[test]
fn everything_is_done_once_and_in_order() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    let now = walk(&mut boot, &mut node, 1000, ALWAYS).expect("no crash");
    assert_eq!(node.applied.len(), Step::ALL.len());
    let report = boot.report(now);
    assert_eq!(report.condition, Condition::Done);
    assert!(report.steps.iter().all(|step| step.state == State::Done));
    assert!(node.disk.values().all(|entry| entry.phase == Phase::Done));
    assert!(boot.handle(Event::Tick, now).is_empty());
}

#[test]
fn what_is_so_already_is_not_done_again() {
    let mut node = Node { so: Step::ALL.into_iter().collect(), ..Node::default() };
    let mut boot = Boot::new(&plans(&[]), 1);
    walk(&mut boot, &mut node, 1000, ALWAYS);
    assert!(node.applied.is_empty());
    assert!(boot.stands(Step::Ready));
}

#[test]
fn steps_wait_for_the_configuration() {
    let known: BTreeMap<_, _> =
        plans(&[]).into_iter().filter(|(step, _)| *step <= Step::Configuration).collect();
    let (mut boot, mut node) = (Boot::new(&known, 1), Node::default());
    let now = walk(&mut boot, &mut node, 1000, ALWAYS).expect("no crash");
    assert_eq!(node.applied, [Step::Identity, Step::Time, Step::Configuration]);
    let mut plans = plans(&[]);
    plans.get_mut(&Step::Awx).expect("a step").wanted = false;
    let effects = boot.handle(Event::Plans(plans), now);
    assert!(
        matches!(effects[..], [Effect::Start { step: Step::Vault, work: Work::Check, .. }]),
        "{effects:?}"
    );
    let Effect::Start { step, work, attempt, .. } = effects[0].clone() else { panic!("a start") };
    let mut queue: VecDeque<Effect> = boot.handle(node.work(step, work, attempt), now).into();
    while let Some(effect) = queue.pop_front() {
        match effect {
            Effect::Record(entry) => drop(node.disk.insert(entry.step, entry)),
            Effect::Start { step, work, attempt, .. } => {
                queue.extend(boot.handle(node.work(step, work, attempt), now));
            }
            effect => panic!("{effect:?}"),
        }
    }
    assert!(!node.applied.contains(&Step::Awx));
    let report = boot.report(now);
    assert_eq!(report.condition, Condition::Done);
    assert_eq!(report.steps[4].state, State::Skipped);
}

#[test]
fn a_failure_is_tried_again_until_it_comes_off() {
    let mut node = Node { fails: BTreeMap::from([(Step::Vault, 4)]), ..Node::default() };
    let mut boot = Boot::new(&plans(&[(Step::Vault, OnFailure::Terminate)]), 1);
    let now = walk(&mut boot, &mut node, 1000, ALWAYS).expect("no crash");
    assert!(node.acts.is_empty());
    assert_eq!(boot.report(now).condition, Condition::Done);
    assert!(now.monotonic >= Duration::from_secs(7), "1, 2, 4 and 8 s, half of each by chance: {now:?}");
}

#[test]
fn the_consequence_comes_at_the_deadline_and_once() {
    for policy in OnFailure::ALL {
        let mut node = Node { fails: BTreeMap::from([(Step::Consul, u32::MAX)]), ..Node::default() };
        let mut boot = Boot::new(&plans(&[(Step::Consul, policy)]), 1);
        let now = walk(&mut boot, &mut node, 1000, ALWAYS).expect("no crash");
        assert_eq!(node.acts, [(Step::Consul, policy)]);
        let report = boot.report(now);
        let (condition, ready) = match policy {
            OnFailure::Ignore => (Condition::Degraded, true),
            OnFailure::Retry => (Condition::Running, false),
            _ => (Condition::Failed, false),
        };
        assert_eq!((report.condition, boot.stands(Step::Ready)), (condition, ready), "{policy:?}");
    }
}

#[test]
fn what_repeating_does_not_help_has_its_consequence_at_once_and_is_looked_at_again() {
    let mut node = Node { lasting: BTreeSet::from([Step::Awx]), ..Node::default() };
    let mut boot = Boot::new(&plans(&[(Step::Awx, OnFailure::Quarantine)]), 1);
    walk(&mut boot, &mut node, 30, ALWAYS);
    assert_eq!(node.acts, [(Step::Awx, OnFailure::Quarantine)]);
    assert!(!boot.stands(Step::Ready));
    node.lasting.clear();
    let mut queue: VecDeque<Effect> = boot.handle(Event::Tick, at(61)).into();
    while let Some(effect) = queue.pop_front() {
        match effect {
            Effect::Record(entry) => drop(node.disk.insert(entry.step, entry)),
            Effect::Start { step, work, attempt, .. } => {
                queue.extend(boot.handle(node.work(step, work, attempt), at(61)));
            }
            Effect::Recovered { step } => node.recovered.push(step),
            Effect::Act { .. } => panic!("{effect:?}"),
        }
    }
    assert_eq!(node.recovered, [Step::Awx]);
    assert_eq!(boot.report(at(61)).condition, Condition::Done);
}

#[test]
fn what_was_applied_and_is_not_so_is_a_failure() {
    let mut node = Node { lies: BTreeSet::from([Step::Monitoring]), ..Node::default() };
    let mut boot = Boot::new(&plans(&[(Step::Monitoring, OnFailure::Unhealthy)]), 1);
    let now = walk(&mut boot, &mut node, 1000, ALWAYS).expect("no crash");
    assert_eq!(node.acts, [(Step::Monitoring, OnFailure::Unhealthy)]);
    let report = boot.report(now);
    let failure = report.steps[5].failure.clone().expect("it failed");
    assert_eq!(failure.what, "it was applied, and is not so");
}

#[test]
fn what_has_decayed_is_mended_and_those_after_it_are_looked_at() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    walk(&mut boot, &mut node, 1000, ALWAYS);
    node.applied.clear();
    node.so.remove(&Step::Vault);
    let mut checks = Vec::new();
    let mut queue: VecDeque<Effect> = boot.handle(Event::Verify, at(300)).into();
    while let Some(effect) = queue.pop_front() {
        match effect {
            Effect::Record(entry) => drop(node.disk.insert(entry.step, entry)),
            Effect::Start { step, work, attempt, .. } => {
                checks.extend((work == Work::Check).then_some(step));
                assert!(boot.stands(Step::Ready), "the node goes on meanwhile");
                queue.extend(boot.handle(node.work(step, work, attempt), at(300)));
            }
            effect => panic!("{effect:?}"),
        }
    }
    assert_eq!(node.applied, [Step::Vault]);
    assert_eq!(checks.iter().filter(|step| **step == Step::Vault).count(), 2);
    assert_eq!(checks.iter().collect::<BTreeSet<_>>().len(), Step::ALL.len(), "all were looked at");
    assert_eq!(boot.report(at(300)).condition, Condition::Done);
}

#[test]
fn an_answer_of_an_earlier_attempt_is_nobodys() {
    let mut boot = Boot::new(&plans(&[]), 1);
    boot.handle(Event::Tick, at(0));
    let late =
        Event::Checked { step: Step::Identity, attempt: 77, found: Ok((Checked::Already, Inputs::none())) };
    boot.handle(late, at(1));
    assert!(!boot.stands(Step::Identity));
}

#[test]
fn a_disk_that_takes_nothing_is_a_failure_of_the_step() {
    let mut boot = Boot::new(&plans(&[]), 1);
    boot.handle(Event::Tick, at(0));
    let needed =
        Event::Checked { step: Step::Time, attempt: 1, found: Ok((Checked::Needed, Inputs::none())) };
    let effects = boot.handle(needed, at(0));
    assert!(matches!(effects[..], [Effect::Record(_), Effect::Start { work: Work::Apply, .. }]));
    let full = Failure::new(ErrorClass::Transient, "no space left");
    boot.handle(Event::Unrecorded { step: Step::Time, failure: full }, at(0));
    let report = boot.report(at(0));
    assert_eq!(report.steps[1].state, State::Retrying);
}

#[test]
fn the_time_of_a_boot_is_accounted_for() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    node.fails = BTreeMap::from([(Step::Consul, 5), (Step::Awx, 1)]);
    let now = walk(&mut boot, &mut node, 1000, ALWAYS).expect("no crash");
    let report = boot.report(now);
    assert_eq!(blame(&report)[0].0, Step::Consul);
    let chain: Vec<Step> = critical_chain(&report).iter().map(|link| link.step).collect();
    assert_eq!(chain[..3], [Step::Ready, Step::Nomad, Step::Consul], "AWX was not what was waited for");
    assert_eq!(chain[3..5], [Step::Vault, Step::Configuration]);
    assert_eq!(
        serde_json::from_str::<bootstrap_core::Report>(&serde_json::to_string(&report).expect("JSON"))
            .expect("JSON"),
        report
    );
}

proptest! {
    /// Wherever the process dies, the next one ends where an undisturbed one does.
    #[test]
    fn a_crash_anywhere_ends_as_an_undisturbed_boot(
        seed: u64,
        crashes in prop::collection::vec(0_usize..30, 0..6),
        fails in prop::collection::btree_map((0_usize..9).prop_map(|n| Step::ALL[n]), 0_u32..4, 0..9),
    ) {
        let mut node = Node { fails, ..Node::default() };
        let mut ended = None;
        for crash in crashes.into_iter().chain([ALWAYS]) {
            let mut boot = Boot::new(&plans(&[]), seed);
            boot.resume(Progress::of(node.disk.values().cloned()));
            ended = walk(&mut boot, &mut node, 100_000, crash).map(|now| boot.report(now).condition);
        }
        prop_assert_eq!(ended, Some(Condition::Done));
        prop_assert_eq!(node.so.len(), Step::ALL.len());
        prop_assert!(node.disk.values().all(|entry| entry.phase == Phase::Done));
        let once: BTreeSet<Step> = node.applied.iter().copied().collect();
        prop_assert_eq!(once.len(), node.applied.len(), "what is so is not applied again");
    }
}
