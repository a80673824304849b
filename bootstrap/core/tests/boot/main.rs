//! The boot, walked by hand and by chance.

mod looks;
mod node;

use bootstrap_core::{
    Boot, Checked, Condition, Effect, Entry, Event, Failure, Inputs, Now, OnFailure, Phase, Plan, Progress,
    State, Step, Work, blame, critical_chain,
};
use fleet::{ErrorClass, Timestamp};
use node::{ALWAYS, Node, at, plans, tell, walk};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

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
fn nothing_is_configured_signed_or_asked_for_before_the_clock_is_right() {
    let mut node = Node { fails: BTreeMap::from([(Step::Time, u32::MAX)]), ..Node::default() };
    let mut boot = Boot::new(&plans(&[]), 1);
    walk(&mut boot, &mut node, 1000, ALWAYS);
    assert_eq!(node.applied, [Step::Identity], "it is proved by what the instance says of itself");
    assert!(Step::ALL[2..].iter().all(|step| !node.disk.contains_key(step)), "{:?}", node.disk);
    node.fails.clear();
    walk(&mut boot, &mut node, 10_000, ALWAYS);
    assert!(boot.stands(Step::Ready));
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
