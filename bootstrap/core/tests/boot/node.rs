//! A node on which a boot is played.

use bootstrap_core::{
    Boot, Checked, Effect, Entry, Event, Failure, Inputs, Now, OnFailure, Phase, Plan, Retry, Step, Work,
};
use fleet::{ErrorClass, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub(crate) const RETRY: Retry = Retry {
    attempt: Duration::from_secs(10),
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
    deadline: Duration::from_secs(120),
};

pub(crate) fn plans(but: &[(Step, OnFailure)]) -> BTreeMap<Step, Plan> {
    let policy =
        |step| but.iter().find(|(of, _)| *of == step).map_or(OnFailure::Retry, |(_, policy)| *policy);
    Step::ALL
        .into_iter()
        .map(|step| (step, Plan { wanted: true, retry: RETRY, on_failure: policy(step) }))
        .collect()
}

pub(crate) fn at(seconds: u64) -> Now {
    Now {
        wall: Timestamp::from_secs(1000 + i64::try_from(seconds).expect("small")),
        monotonic: Duration::from_secs(seconds),
    }
}

/// A node: what is so on it, what is on its disk, and what was done to it.
#[derive(Clone, Default)]
pub(crate) struct Node {
    pub(crate) so: BTreeSet<Step>,
    pub(crate) disk: BTreeMap<Step, Entry>,
    pub(crate) applied: Vec<Step>,
    /// Says that it was applied, and it is not.
    pub(crate) lies: BTreeSet<Step>,
    /// Fails so many times.
    pub(crate) fails: BTreeMap<Step, u32>,
    pub(crate) lasting: BTreeSet<Step>,
    pub(crate) acts: Vec<(Step, OnFailure)>,
    pub(crate) recovered: Vec<Step>,
}

impl Node {
    pub(crate) fn fails(&mut self, step: Step) -> Option<Failure> {
        if self.lasting.contains(&step) {
            return Some(Failure::lasting(ErrorClass::Malformed, "wrong"));
        }
        let left = self.fails.get_mut(&step).filter(|left| **left > 0)?;
        *left -= 1;
        Some(Failure::new(ErrorClass::Transient, "refused"))
    }

    pub(crate) fn work(&mut self, step: Step, work: Work, attempt: u32) -> Event {
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
pub(crate) fn play(
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
pub(crate) fn walk(boot: &mut Boot, node: &mut Node, until: u64, mut effects: usize) -> Option<Now> {
    let mut now = at(0);
    play(boot, node, Event::Tick, now, &mut effects)?;
    while let Some(wake) = boot.next_wake().filter(|wake| wake.as_secs() < until) {
        now = at(wake.as_millis().div_ceil(1000).try_into().expect("small"));
        play(boot, node, Event::Tick, now, &mut effects)?;
    }
    Some(now)
}

/// The same, of one event and without a crash.
pub(crate) fn tell(boot: &mut Boot, node: &mut Node, event: Event, now: Now) -> Vec<(Step, Work)> {
    play(boot, node, event, now, &mut ALWAYS.clone()).expect("no crash")
}

pub(crate) const ALWAYS: usize = usize::MAX;
