//! Samples that the nodes' agents push.

use crate::held::Agent;
use crate::state::silent_for;
use crate::windows::{Closed, WINDOW};
use crate::{Alarm, CompactSample, Effect, Engine, InstanceSeen, Now, Record, Rejection};
use fleet::wire::{AgentSample, MAX_SAMPLES, SampleBatch, SamplesAccepted, VERSION};
use fleet::{FleetName, InstanceId, InstanceState, Source, Timestamp};
use std::net::IpAddr;
use std::time::Duration;

/// The shortest and the longest period of a sample, in milliseconds.
const PERIODS: std::ops::RangeInclusive<u32> = 1_000..=300_000;
/// A sample older than this is of no use to a decision any more.
const TOO_OLD: Duration = Duration::from_secs(600);
/// A sample that ends further ahead than this was stamped by a clock that disagrees with ours: it counts as of now.
const AHEAD: Duration = Duration::from_secs(5);
/// Strangers that are remembered, so that each makes us look once and not with every batch.
const STRANGERS: usize = 1000;
/// A stranger is looked for again after this long.
const STRANGER_AGAIN: Duration = Duration::from_secs(600);
/// Strangers make us look at most this often.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// More batches than this are not lost between two that come: a month's, at one every three seconds.
const MOST_LOST: u64 = 1_000_000;
/// Load per core beyond this is another thing than load per core.
const MOST_LOAD: f64 = 10_000.0;

impl Engine {
    /// Takes in an agent's samples.
    ///
    /// * `peer`: the address that the call came from; must be the claimed instance's private address.
    /// * returns: what to answer, and what is to be done. A batch is taken whole or not at all; samples in it that
    ///   are too late, or known already, are left out of `accepted`.
    pub fn accept_samples(
        &mut self,
        peer: IpAddr,
        batch: &SampleBatch,
        now: Now,
    ) -> (Result<SamplesAccepted, Rejection>, Vec<Effect>) {
        self.note_time(now);
        let answer = self.take_batch(peer, batch, now);
        if let Err(rejection) = &answer {
            *self.metrics.batches_rejected.entry(rejection.label()).or_default() += 1;
        }
        (answer, self.finish(now))
    }

    /// What the newest describe shows of an instance, whose document AWS has signed.
    ///
    /// * returns: `None` while no fleet of ours has shown it; all regions are looked at then, as for any stranger.
    pub fn instance(&mut self, instance: &InstanceId, now: Now) -> (Option<InstanceSeen>, Vec<Effect>) {
        self.note_time(now);
        let held = self.owners.get(instance).and_then(|name| self.fleets.get(name));
        let seen = held.and_then(|held| held.state.instances.get(instance)).map(|known| known.seen.clone());
        if seen.is_none() && self.stopping.is_none() {
            self.meet_stranger(instance, now);
        }
        (seen, self.finish(now))
    }

    fn take_batch(
        &mut self,
        peer: IpAddr,
        batch: &SampleBatch,
        now: Now,
    ) -> Result<SamplesAccepted, Rejection> {
        let SampleBatch { version, instance, sequence, samples } = batch;
        if self.stopping.is_some() {
            return Err(Rejection::Stopping);
        }
        if *version != VERSION {
            return Err(Rejection::Version { version: *version });
        }
        if samples.len() > MAX_SAMPLES {
            return Err(Rejection::TooMany { count: samples.len() });
        }
        let malformed = |(index, sample)| what_is_wrong(sample).map(|what| (index, what));
        if let Some((index, what)) = samples.iter().enumerate().find_map(malformed) {
            return Err(Rejection::Malformed { index, what });
        }
        let Some(name) = self.owners.get(instance).cloned() else {
            self.meet_stranger(instance, now);
            return Err(Rejection::UnknownYet { instance: instance.clone() });
        };
        let Some(held) = self.fleets.get_mut(&name) else {
            return Err(Rejection::UnknownYet { instance: instance.clone() });
        };
        let known = held.state.instances.get(instance);
        if known.and_then(|known| known.seen.private_ip).map(|ip| ip.to_canonical())
            != Some(peer.to_canonical())
        {
            return Err(Rejection::WrongPeer { instance: instance.clone() });
        }
        let newest = samples.iter().map(|sample| sample.end_ms).max();
        let agent = held.agents.get(instance).copied();
        if let Some(agent) = agent {
            // Smaller numbers are an agent that began anew, unless it has nothing new to say.
            let told = newest.is_some_and(|newest| newest > newest_known(agent.last_end, newest, now.wall));
            let anew = *sequence < agent.sequence && told;
            if *sequence <= agent.sequence && !anew {
                return Err(Rejection::Duplicate { sequence: *sequence });
            }
            // No agent loses so many: one that leaps further has begun anew, too.
            let lost = sequence.saturating_sub(agent.sequence).saturating_sub(1);
            if lost <= MOST_LOST {
                self.metrics.batches_lost = self.metrics.batches_lost.saturating_add(lost);
            }
        }
        let accepted = self.take_samples(&name, instance, *sequence, samples, now);
        Ok(SamplesAccepted { accepted })
    }

    /// Folds what is usable of a batch into the windows of its fleet.
    fn take_samples(
        &mut self,
        name: &FleetName,
        instance: &InstanceId,
        sequence: u64,
        samples: &[AgentSample],
        now: Now,
    ) -> usize {
        let Some(held) = self.fleets.get_mut(name) else { return 0 };
        let mut last_end =
            held.agents.get(instance).map_or(Timestamp::from_millis(i64::MIN), |agent| agent.last_end);
        let runs = held
            .state
            .instances
            .get(instance)
            .is_some_and(|known| known.seen.state == InstanceState::Running);
        let mut accepted = 0;
        for sample in samples {
            let ahead = sample.end_ms > now.wall + AHEAD;
            last_end = newest_known(last_end, sample.end_ms, now.wall);
            let usable = sample.end_ms > last_end && now.wall.since(sample.end_ms) <= TOO_OLD;
            last_end = last_end.max(sample.end_ms);
            // A node that is told to go serves no more: what it says is not the fleet's utilisation.
            if !usable || !runs {
                continue;
            }
            let sample = AgentSample { end_ms: if ahead { now.wall } else { sample.end_ms }, ..*sample };
            let period = Duration::from_millis(u64::from(sample.period_ms));
            let known = held.state.instances.get(instance);
            if let Some(launched) =
                known.filter(|known| known.serves_since.is_none()).map(|k| k.seen.launched)
            {
                // An agent speaks from when its node is ready. That of an old node was merely not heard by us.
                let boot = held.state.policy.boot;
                let began = sample.end_ms - period.min(WINDOW);
                let since = if began.since(launched) > silent_for(boot) { launched + boot } else { began };
                held.record(Record::Serves { instance: instance.clone(), since });
            }
            accepted += usize::from(held.windows.add(instance, &sample));
        }
        held.agents.insert(instance.clone(), Agent { sequence, last_end });
        self.metrics.samples_accepted += u64::try_from(accepted).unwrap_or(0);
        self.metrics.samples_dropped += u64::try_from(samples.len() - accepted).unwrap_or(0);
        let closed = held.windows.close_complete(now.wall, &held.state);
        if self.take_windows(name, &closed, now) {
            self.make_due(name, now);
        }
        accepted
    }

    /// Closes the windows of a fleet that have waited long enough.
    pub(crate) fn close_windows(&mut self, name: &FleetName, now: Now) {
        let Some(held) = self.fleets.get_mut(name) else { return };
        if held.windows.oldest().is_none() {
            return;
        }
        let closed = held.windows.close_until(now.wall, self.config.window_grace, &held.state);
        self.take_windows(name, &closed, now);
    }

    /// Takes closed windows as samples of the fleet, unless a source that is preferred tells.
    fn take_windows(&mut self, name: &FleetName, closed: &[Closed], now: Now) -> bool {
        let Some(last) = closed.last() else { return false };
        let few = last.heard.saturating_mul(2) < last.serving;
        if few {
            let alarm = Alarm::AgentsSilent { heard: last.heard, serving: last.serving };
            self.raise(Some(name), "", alarm, now);
        } else {
            self.clear(Some(name), "agents_silent", "", now);
        }
        let Some(held) = self.fleets.get(name) else { return false };
        if !Self::is_pushed(&held.policy.sources) {
            return false;
        }
        let samples: Vec<CompactSample> = closed.iter().map(|closed| closed.sample).collect();
        self.take_fleet_samples(name, Source::Push, &samples, now)
    }

    /// Records what a source told of a fleet, where it is news and nobody better tells.
    ///
    /// * returns: whether there was any news.
    pub(crate) fn take_fleet_samples(
        &mut self,
        name: &FleetName,
        source: Source,
        samples: &[CompactSample],
        now: Now,
    ) -> bool {
        let push_fresh = self.config.push_fresh;
        let Some(held) = self.fleets.get_mut(name) else { return false };
        let known = held.known_to(source);
        let news: Vec<CompactSample> =
            samples.iter().copied().filter(|sample| known.is_none_or(|known| sample.end > known)).collect();
        if news.is_empty() || held.is_outranked(source, push_fresh, now.monotonic) {
            return false;
        }
        *self.metrics.fleet_samples.entry(source_label(source)).or_default() +=
            u64::try_from(news.len()).unwrap_or(0);
        held.heard.insert(source, now.monotonic);
        let newest = news.iter().map(|sample| sample.end).max();
        held.told.extend(newest.map(|end| (source, end)));
        held.quiet_since = Some(now.monotonic);
        held.record(Record::Samples(news));
        true
    }

    /// An instance speaks that no describe has shown: perhaps it is too young. All regions are looked at, once
    /// for each stranger and not too often: an agent of somebody else's fleet must not keep us asking.
    pub(crate) fn meet_stranger(&mut self, instance: &InstanceId, now: Now) {
        let met = self.strangers.get(instance).is_some_and(|met| now.monotonic < *met + STRANGER_AGAIN);
        let looked = self.strangers.values().max().is_some_and(|met| now.monotonic < *met + LOOK_EVERY);
        if met || looked {
            return;
        }
        if self.strangers.len() >= STRANGERS {
            self.strangers.retain(|_, met| now.monotonic < *met + STRANGER_AGAIN);
        }
        if self.strangers.len() >= STRANGERS {
            return;
        }
        self.strangers.insert(instance.clone(), now.monotonic);
        let names: Vec<FleetName> = self.fleets.keys().cloned().collect();
        for name in &names {
            if let Some(held) = self.fleets.get_mut(name) {
                held.instances_asked = None;
            }
        }
        let regions: Vec<_> = self.regions.keys().cloned().collect();
        for region in &regions {
            self.observe(region, now);
        }
    }
}

/// The end of the newest sample that an agent need not tell again, as a sample that ends at `end` has to see it.
///
/// A clock that ran ahead and was set right begins afresh: what it told of the future has not been told.
fn newest_known(last_end: Timestamp, end: Timestamp, now: Timestamp) -> Timestamp {
    let set_right = last_end > now + AHEAD && end <= now + AHEAD;
    if set_right { Timestamp::from_millis(i64::MIN) } else { last_end }
}

/// The metric label.
pub(crate) const fn source_label(source: Source) -> &'static str {
    match source {
        Source::Push => "push",
        Source::Cloudwatch => "cloudwatch",
        Source::Prometheus => "prometheus",
    }
}

/// What makes a sample unusable, if anything does.
fn what_is_wrong(sample: &AgentSample) -> Option<String> {
    let AgentSample { end_ms, period_ms, utilization, load_per_core, psi } = *sample;
    let share = |name: &str, value: f64| {
        (!(0.0..=1.0).contains(&value)).then(|| format!("{name} {value} is not between 0 and 1"))
    };
    if !PERIODS.contains(&period_ms) {
        return Some(format!(
            "period_ms {period_ms} is not between {} and {}",
            PERIODS.start(),
            PERIODS.end()
        ));
    }
    if end_ms.millis() <= 0 {
        return Some(format!("end_ms {} is no time", end_ms.millis()));
    }
    if let Some(load) = load_per_core
        && !(0.0..=MOST_LOAD).contains(&load)
    {
        return Some(format!("load_per_core {load} is not between 0 and {MOST_LOAD}"));
    }
    share("utilization", utilization).or_else(|| share("psi", psi?))
}
