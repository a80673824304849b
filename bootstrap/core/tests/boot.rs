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

/// Tells a boot of an event and does what it answers, until nothing is left to do or `effects` of them were done.
///
/// * returns: what was begun; `None`: the process died.
fn play(
    boot: &mut Boot,
    node: &mut Node,
    event: Event,
    now: Now,
    effects: &mut usize,
) -> Option<Vec<(Step, Work)>> {
    let mut begun = Vec::new();
    let mut queue: VecDeque<Effect> = boot.handle(event, now).into();
    while let Some(effect) = queue.pop_front() {
        *effects = effects.checked_sub(1)?;
        match effect {
            Effect::Record(entry) => {
                node.disk.insert(entry.step, entry);
            }
            Effect::Start { step, work, attempt, last, .. } => {
                assert!(step.after().iter().all(|needed| boot.stands(*needed)), "{step} is early");
                assert_eq!(last.as_ref(), node.disk.get(&step), "what is known of {step}");
                begun.push((step, work));
                queue.extend(boot.handle(node.work(step, work, attempt), now));
            }
            Effect::Stop { .. } => {}
            Effect::Act { step, policy, .. } => node.acts.push((step, policy)),
            Effect::Recovered { step } => node.recovered.push(step),
        }
    }
    Some(begun)
}

/// Walks a boot until nothing happens any more before a time, or it crashed.
fn walk(boot: &mut Boot, node: &mut Node, until: u64, mut effects: usize) -> Option<Now> {
    let mut now = at(0);
    play(boot, node, Event::Tick, now, &mut effects)?;
    while let Some(wake) = boot.next_wake().filter(|wake| wake.as_secs() < until) {
        now = at(wake.as_millis().div_ceil(1000).try_into().expect("small"));
        play(boot, node, Event::Tick, now, &mut effects)?;
    }
    Some(now)
}

/// The same, of one event and without a crash.
fn tell(boot: &mut Boot, node: &mut Node, event: Event, now: Now) -> Vec<(Step, Work)> {
    play(boot, node, event, now, &mut ALWAYS.clone()).expect("no crash")
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
    let begun = tell(&mut boot, &mut node, Event::Plans(plans.clone()), now);
    assert_eq!(begun[0], (Step::Vault, Work::Check));
    assert!(!node.applied.contains(&Step::Awx));
    let report = boot.report(now);
    assert_eq!(report.condition, Condition::Done);
    assert_eq!(report.steps[4].state, State::Skipped);
    // Another configuration asks for it after all.
    plans.get_mut(&Step::Awx).expect("a step").wanted = true;
    node.fails = BTreeMap::from([(Step::Awx, 1)]);
    tell(&mut boot, &mut node, Event::Plans(plans), at(20));
    assert!(!boot.stands(Step::Awx), "that it was left out does not make it so");
    tell(&mut boot, &mut node, Event::Tick, at(40));
    assert!(boot.stands(Step::Awx) && node.applied.contains(&Step::Awx));
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
    tell(&mut boot, &mut node, Event::Tick, at(61));
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
    let begun = tell(&mut boot, &mut node, Event::Verify, at(300));
    let checks: Vec<Step> =
        begun.iter().filter(|(_, work)| *work == Work::Check).map(|(step, _)| *step).collect();
    assert_eq!(node.applied, [Step::Vault]);
    assert_eq!(checks.iter().filter(|step| **step == Step::Vault).count(), 2);
    assert_eq!(checks.iter().collect::<BTreeSet<_>>().len(), Step::ALL.len(), "all were looked at");
    assert_eq!(boot.report(at(300)).condition, Condition::Done);
}

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
fn who_says_when_to_come_back_is_believed() {
    let mut boot = Boot::new(&plans(&[]), 1);
    boot.handle(Event::Tick, at(0));
    let throttled = ErrorClass::Throttled { retry_after: Some(Duration::from_secs(30)) };
    let found = Err(Failure::new(throttled, "slow down"));
    boot.handle(Event::Checked { step: Step::Time, attempt: 1, found }, at(0));
    assert_eq!(boot.next_wake(), Some(Duration::from_secs(30)));
}

#[test]
fn what_a_step_wants_to_find_again_stays_with_it() {
    let note = |node: &Node| node.disk[&Step::Awx].note.clone();
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    let known = Entry {
        step: Step::Awx,
        phase: Phase::Intent,
        inputs: Inputs::new("0"),
        at: Timestamp::EPOCH,
        note: Some("job 17".to_owned()),
    };
    node.disk.insert(Step::Awx, known.clone());
    boot.resume(Progress::of([known]));
    walk(&mut boot, &mut node, 1000, ALWAYS);
    assert_eq!(note(&node).as_deref(), Some("job 17"), "through another intent and its end");
    assert_eq!(node.disk[&Step::Awx].phase, Phase::Done);
}

#[test]
fn what_was_written_before_the_instance_was_known_stays() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    boot.handle(Event::Tick, at(0));
    let Event::Checked { found, .. } = node.work(Step::Time, Work::Check, 1) else { panic!("a check") };
    let effects = boot.handle(Event::Checked { step: Step::Time, attempt: 1, found }, at(0));
    assert!(
        matches!(effects[..], [Effect::Record(_), Effect::Start { work: Work::Apply, .. }]),
        "{effects:?}"
    );
    boot.resume(Progress::default());
    let outcome = Err(Failure::new(ErrorClass::Unclear, "cut off"));
    boot.handle(Event::Applied { step: Step::Time, attempt: 2, outcome }, at(0));
    let effects = boot.handle(Event::Tick, at(2));
    let Some(Effect::Start { last: Some(last), .. }) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(last.phase, Phase::Intent);
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
fn what_was_done_and_could_not_be_written_is_written_when_the_disk_takes_it() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    node.so = Step::ALL.into_iter().collect();
    boot.handle(Event::Tick, at(0));
    let event = node.work(Step::Time, Work::Check, 1);
    let effects = boot.handle(event, at(0));
    assert!(matches!(&effects[..], [Effect::Record(entry), ..] if entry.phase == Phase::Done), "{effects:?}");
    let full = Failure::new(ErrorClass::Transient, "no space left");
    boot.handle(Event::Unrecorded { step: Step::Time, failure: full }, at(0));
    let effects = boot.handle(Event::Tick, at(2));
    assert!(
        matches!(effects[..], [Effect::Start { step: Step::Time, work: Work::Check, .. }]),
        "{effects:?}"
    );
    let Effect::Start { attempt, .. } = effects[0] else { panic!("a start") };
    let event = node.work(Step::Time, Work::Check, attempt);
    let effects = boot.handle(event, at(2));
    assert!(matches!(&effects[..], [Effect::Record(entry), ..] if entry.phase == Phase::Done), "{effects:?}");
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

/// A boot in which AWX's step was just told to be applied, and that line.
fn applying(progress: Progress, seconds: u64) -> (Boot, u32, Entry) {
    let only = |step: Step| matches!(step, Step::Awx);
    let plans: BTreeMap<Step, Plan> =
        plans(&[]).into_iter().map(|(step, plan)| (step, Plan { wanted: only(step), ..plan })).collect();
    let mut boot = Boot::new(&plans, 1);
    boot.resume(progress);
    let begun = boot.handle(Event::Tick, at(seconds));
    let Some(Effect::Start { step: Step::Awx, work: Work::Check, attempt, .. }) = begun.last() else {
        panic!("{begun:?}")
    };
    let found = Ok((Checked::Needed, Inputs::new("1")));
    let effects = boot.handle(Event::Checked { step: Step::Awx, attempt: *attempt, found }, at(seconds));
    let [Effect::Record(entry), Effect::Start { attempt, .. }] = &effects[..] else { panic!("{effects:?}") };
    let (attempt, entry) = (*attempt, entry.clone());
    (boot, attempt, entry)
}

#[test]
fn an_intent_that_was_not_seen_through_keeps_the_time_of_its_beginning() {
    let (_, _, first) = applying(Progress::default(), 0);
    assert_eq!(first.at, at(0).wall);
    // What came of it is looked for since then, however long the power was off.
    let (mut boot, attempt, second) = applying(Progress::of(vec![first]), 500);
    assert_eq!(second.at, at(0).wall);
    let noted = Event::Noted { step: Step::Awx, attempt, note: "job ?".to_owned() };
    let effects = boot.handle(noted, at(501));
    let [Effect::Record(noted)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((noted.at, noted.note.as_deref()), (at(0).wall, Some("job ?")));
    let done = Entry { phase: Phase::Done, at: at(600).wall, ..noted.clone() };
    let (_, _, again) = applying(Progress::of(vec![done]), 700);
    assert_eq!(again.at, at(700).wall, "another run is another beginning");
}

#[test]
fn a_servers_wish_to_be_left_alone_is_minded_within_reason() {
    for (asked, waits) in [(30, 30), (u64::MAX, 900)] {
        let (mut boot, attempt, _) = applying(Progress::default(), 0);
        let class = ErrorClass::Throttled { retry_after: Some(Duration::from_secs(asked)) };
        let outcome = Err(Failure::new(class, "429"));
        boot.handle(Event::Applied { step: Step::Awx, attempt, outcome }, at(1));
        let begun = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Start { .. }));
        assert!(!begun(&boot.handle(Event::Tick, at(waits))));
        assert!(begun(&boot.handle(Event::Tick, at(waits + 1))), "{asked}");
    }
}

#[test]
fn a_step_that_is_taken_out_while_it_fails_keeps_nobody_waiting_and_has_no_consequence() {
    for (policy, seconds, acts) in [(OnFailure::Quarantine, 20, 0), (OnFailure::Quarantine, 200, 1)] {
        let mut node = Node { fails: BTreeMap::from([(Step::Consul, u32::MAX)]), ..Node::default() };
        let mut plans = plans(&[(Step::Consul, policy)]);
        let mut boot = Boot::new(&plans, 1);
        walk(&mut boot, &mut node, seconds, ALWAYS);
        assert_eq!(node.acts.len(), acts);
        plans.get_mut(&Step::Consul).expect("a step").wanted = false;
        tell(&mut boot, &mut node, Event::Plans(plans), at(seconds));
        let report = boot.report(at(seconds));
        assert_eq!((report.condition, boot.stands(Step::Ready)), (Condition::Done, true), "{report:?}");
        let consul = &report.steps[6];
        assert_eq!((consul.state, consul.failures, &consul.failure), (State::Skipped, 0, &None));
        assert_eq!(node.recovered.len(), acts, "what it kept away comes back");
        // Its deadline passes, and nothing comes of it.
        tell(&mut boot, &mut node, Event::Tick, at(seconds + 1000));
        assert_eq!((node.acts.len(), boot.next_wake()), (acts, None));
    }
}

#[test]
fn what_is_under_way_of_a_step_that_is_taken_out_is_cut_off_and_its_end_is_nobodys() {
    let (mut boot, mut node) = (Boot::new(&plans(&[]), 1), Node::default());
    node.so = Step::ALL.into_iter().filter(|step| *step != Step::Consul).collect();
    boot.handle(Event::Tick, at(0));
    let (mut queue, mut begun) = (VecDeque::from([Step::Identity, Step::Time]), None);
    while let Some(step) = queue.pop_front() {
        let event = Event::Checked { step, attempt: 1, found: Ok((Checked::Already, Inputs::new("1"))) };
        for effect in boot.handle(event, at(0)) {
            match effect {
                Effect::Start { step: Step::Consul, attempt, .. } => begun = Some(attempt),
                Effect::Start { step, .. } => queue.push_back(step),
                _ => {}
            }
        }
    }
    let attempt = begun.expect("it was begun");
    let mut plans = plans(&[]);
    plans.get_mut(&Step::Consul).expect("a step").wanted = false;
    let effects = boot.handle(Event::Plans(plans), at(1));
    assert!(effects.contains(&Effect::Stop { step: Step::Consul }), "{effects:?}");
    let late = Event::Checked { step: Step::Consul, attempt, found: Ok((Checked::Needed, Inputs::new("1"))) };
    assert!(boot.handle(late, at(2)).iter().all(|effect| !matches!(effect, Effect::Record(_))));
}

/// A boot that stands, in which AWX's job runs once more.
fn running_again(fresh: bool) -> (Boot, Node, u32) {
    let mut node = Node { so: Step::ALL.into_iter().collect(), ..Node::default() };
    let mut boot = Boot::new(&plans(&[]), 1);
    let seconds = if fresh { 0 } else { 300 };
    if !fresh {
        walk(&mut boot, &mut node, 100, ALWAYS);
    }
    let event = if fresh { Event::Tick } else { Event::Verify };
    let (mut queue, mut job) = (VecDeque::from(boot.handle(event, at(seconds))), None);
    while let Some(effect) = queue.pop_front() {
        match effect {
            Effect::Start { step: Step::Awx, work: Work::Check, attempt, .. } => {
                let found = Ok((Checked::Again, Inputs::new("1")));
                queue.extend(boot.handle(Event::Checked { step: Step::Awx, attempt, found }, at(seconds)));
            }
            Effect::Start { step: Step::Awx, work: Work::Apply, attempt, .. } => job = Some(attempt),
            Effect::Start { step, work, attempt, .. } => {
                queue.extend(boot.handle(node.work(step, work, attempt), at(seconds)));
            }
            Effect::Record(entry) => drop(node.disk.insert(entry.step, entry)),
            other => panic!("{other:?}"),
        }
    }
    (boot, node, job.expect("the job was begun"))
}

#[test]
fn what_is_done_once_more_keeps_nobody_from_being_looked_at() {
    for fresh in [true, false] {
        let (mut boot, mut node, job) = running_again(fresh);
        assert!(boot.stands(Step::Ready), "the others stand while it runs");
        assert_eq!(node.disk[&Step::Awx].phase, Phase::Intent, "it is announced");
        assert_eq!(boot.report(at(600)).condition, Condition::Done);
        node.so.remove(&Step::Nomad);
        tell(&mut boot, &mut node, Event::Verify, at(600));
        assert_eq!(node.applied, [Step::Nomad], "what decays meanwhile is mended");
        let outcome = Ok(Some("ended 18".to_owned()));
        tell(&mut boot, &mut node, Event::Applied { step: Step::Awx, attempt: job, outcome }, at(700));
        let line = &node.disk[&Step::Awx];
        assert_eq!((line.phase, line.note.as_deref()), (Phase::Done, Some("ended 18")));
    }
}

#[test]
fn what_fails_once_more_is_tried_again_with_longer_and_longer_pauses() {
    let (mut boot, mut node, mut job) = running_again(false);
    let mut pauses = Vec::new();
    for round in 0..4 {
        let now = at(1000 * (round + 1));
        let outcome = Err(Failure::new(ErrorClass::Transient, "503"));
        boot.handle(Event::Applied { step: Step::Awx, attempt: job, outcome }, now);
        let wake = boot.next_wake().expect("it is tried again");
        pauses.push(wake.saturating_sub(now.monotonic));
        let now = Now { monotonic: wake, ..now };
        let effects = boot.handle(Event::Tick, now);
        let Some(Effect::Start { attempt, .. }) = effects.last() else { panic!("{effects:?}") };
        let found = Ok((Checked::Again, Inputs::new("1")));
        let effects = boot.handle(Event::Checked { step: Step::Awx, attempt: *attempt, found }, now);
        let Some(Effect::Start { work: Work::Apply, attempt, .. }) = effects.last() else {
            panic!("{effects:?}")
        };
        job = *attempt;
        node.acts.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Act { step, policy, .. } => Some((*step, *policy)),
            _ => None,
        }));
    }
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
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
    let begun = |effects: &[Effect]| {
        let steps = effects.iter().filter_map(|effect| match effect {
            Effect::Start { step, .. } => Some(*step),
            _ => None,
        });
        steps.collect::<Vec<_>>()
    };
    // Before the configuration was read, nobody is looked at by what it said last time.
    let effects = boot.handle(Event::Verify, at(300));
    assert_eq!(begun(&effects), [Step::Identity, Step::Time]);
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
