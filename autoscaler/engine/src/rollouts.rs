//! Roll-outs: orders about them, what they are ordered of, and how they are shown.

use crate::calls::CallKind;
use crate::held::Held;
use crate::{CommandError, Engine, Known, Now, Read, Record, RolloutOrder, RolloutStatus, State};
use autoscaler_core::{Course, Member, Observed, Phase, Rollout, WatchedAlarm};
use fleet::{AlarmView, FleetName, LaunchTemplate, Region, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often alarms are asked for that a roll-out watches: CloudWatch evaluates most of them once a minute.
const ALARMS_EVERY: Duration = Duration::from_secs(30);

impl State {
    /// What the fleet launches: where it names its version as `$Latest` or `$Default`, the one that most of its instances
    /// run.
    pub fn launches(&self) -> Option<LaunchTemplate> {
        let launch = self.fleet.as_ref()?.what.launch.clone()?;
        let version = launch.version.or_else(|| self.most_run(&launch.id, |_| true));
        Some(LaunchTemplate { version, ..launch })
    }

    /// The version to go back to from another one.
    fn version_before(&self, template: &str, version: u64) -> Option<u64> {
        let launched = self.launches().and_then(|launch| launch.version);
        launched
            .filter(|other| *other != version)
            .or_else(|| self.most_run(template, |other| other != version))
    }

    /// The version of a template that most instances run, of those that are asked about; of equal ones the newest.
    fn most_run(&self, template: &str, asked: impl Fn(u64) -> bool) -> Option<u64> {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        let launches = self.instances.values().filter_map(|known| known.seen.launch.as_ref());
        for version in launches.filter(|launch| launch.id == template).filter_map(|launch| launch.version) {
            *counts.entry(version).or_default() += 1;
        }
        let most = counts.into_iter().filter(|(version, _)| asked(*version)).max_by_key(|(_, count)| *count);
        most.map(|(version, _)| version)
    }

    pub(crate) fn apply_rollout(&mut self, at: Timestamp, order: &RolloutOrder, by: String, reason: String) {
        let known = &mut self.memory.rollout;
        match (order, known) {
            (RolloutOrder::Start { template, version, image }, _) => {
                let from = self.version_before(template, *version).unwrap_or(*version);
                let (versions, known) = ((from, *version), &mut self.memory.rollout);
                *known = Some(Rollout::begin(template.clone(), versions, image.clone(), (by, reason), at));
            }
            (RolloutOrder::Pause, Some(rollout)) => rollout.pause(by, reason, at),
            (RolloutOrder::Resume, Some(rollout)) => rollout.resume(at),
            (RolloutOrder::Abort, Some(rollout)) => rollout.take_back(at),
            (_, None) => {}
        }
    }

    /// The roll-out that is under way, or the last one, and how far it is.
    pub(crate) fn show_rollout(&self, now: Timestamp) -> Option<RolloutStatus> {
        let rollout = self.memory.rollout.clone()?;
        let members = self.members(now);
        let alive: Vec<Member> = members.filter(|member| member.phase != Phase::Leaving).collect();
        let goal = rollout.goal();
        let runs = |m: &&Member| m.launch.as_ref().is_some_and(|launch| launch.is(&rollout.template, goal));
        let before = |m: &Member| m.launched < rollout.started;
        Some(RolloutStatus {
            done: alive.iter().filter(runs).count(),
            ready: alive.iter().filter(runs).filter(|m| before(m) || rollout.ready.contains(&m.id)).count(),
            of: alive.len(),
            protected: alive.iter().filter(|m| m.protected && !runs(m)).count(),
            alarms: self.alarms.clone().filter(|seen| seen.at >= rollout.started),
            rollout,
        })
    }
}

impl Held {
    /// The alarms that its roll-out watches now; none without one that goes on.
    fn watched_alarms(&self) -> &[String] {
        let rollout = self.state.memory.rollout.as_ref();
        if rollout.is_some_and(Rollout::advances) { self.state.policy.rollout.watched() } else { &[] }
    }
}

impl Engine {
    /// Asks how the alarms are that the region's roll-outs watch, for all of them together.
    pub(crate) fn ask_alarms(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region).filter(|state| state.may("alarms", now.monotonic)) else {
            return;
        };
        let held = state.fleets.iter().filter_map(|name| self.fleets.get(name));
        let watching: Vec<&Held> = held.filter(|held| !held.watched_alarms().is_empty()).collect();
        if !watching.iter().any(|held| self.is_due(held.alarms_asked, ALARMS_EVERY, now)) {
            return;
        }
        let names: BTreeSet<String> =
            watching.iter().flat_map(|held| held.watched_alarms()).cloned().collect();
        let fleets: Vec<FleetName> = watching.iter().map(|held| held.name.clone()).collect();
        for name in &fleets {
            if let Some(held) = self.fleets.get_mut(name) {
                held.alarms_asked = Some(now.monotonic);
            }
        }
        let names: Vec<String> = names.into_iter().collect();
        let kind = CallKind::Alarms { fleets, names: names.clone() };
        self.ask(region, kind, Read::Alarms { names }, &[], now);
    }

    /// * `asked`: the names; those that are not in `found` do not exist.
    pub(crate) fn alarms_told(
        &mut self,
        fleets: &[FleetName],
        asked: &[String],
        found: &[AlarmView],
        at: Timestamp,
        now: Now,
    ) {
        for name in fleets {
            let Some(held) = self.fleets.get_mut(name) else { continue };
            if held.state.alarms.as_ref().is_some_and(|seen| seen.at > at) {
                // An answer that overtook this one is younger.
                continue;
            }
            // Only what was asked for: a policy may name others by now.
            let watched = held.state.policy.rollout.watched().iter().filter(|name| asked.contains(name));
            let seen = watched.map(|name| {
                let view = found.iter().find(|view| view.name == *name);
                WatchedAlarm {
                    name: name.clone(),
                    state: view.map(|view| view.state),
                    since: view.and_then(|view| view.since),
                }
            });
            let seen: Vec<WatchedAlarm> = seen.collect();
            let changed = held.state.alarms.as_ref().is_none_or(|before: &Observed<_>| before.what != seen);
            held.record(Record::Alarms { at, seen: changed.then_some(seen) });
            if changed {
                self.make_due(name, now);
            }
        }
    }
}

/// Whether an order about a roll-out makes sense for what is known of its fleet.
pub(crate) fn check(held: &Held, order: &RolloutOrder) -> Result<(), CommandError> {
    let known = held.state.memory.rollout.as_ref();
    let under_way = known.filter(|rollout| !rollout.is_over());
    match order {
        RolloutOrder::Start { template, version, image: _ } => {
            if let Some(rollout) = under_way {
                return Err(CommandError::RollsOut { template: rollout.template.clone(), to: rollout.to });
            }
            let found = held.state.fleet.as_ref().and_then(|seen| seen.what.launch.clone());
            let Some(launch) = found.filter(|launch| launch.id == *template) else {
                let found = held.state.fleet.as_ref().and_then(|seen| seen.what.launch.as_ref());
                return Err(CommandError::OtherTemplate { found: found.map(|launch| launch.id.clone()) });
            };
            let runs = |known: &Known| {
                known.seen.launch.as_ref().is_some_and(|launch| launch.is(template, *version))
            };
            let all = launch.is(template, *version) && held.state.instances.values().all(runs);
            if all { Err(CommandError::RunsAlready { version: *version }) } else { Ok(()) }
        }
        RolloutOrder::Pause | RolloutOrder::Resume => {
            under_way.map(|_| ()).ok_or(CommandError::NothingRollsOut)
        }
        // One that has ended can be taken back, too; one that was taken back cannot.
        RolloutOrder::Abort => {
            let forward = known.filter(|rollout| rollout.course == Course::Forward);
            forward.map(|_| ()).ok_or(CommandError::NothingRollsOut)
        }
    }
}
