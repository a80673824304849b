//! What is measured: agents' samples, step by step, and series of the CloudWatch kind, minute by minute.
//!
//! All instances in service share their fleet's load evenly, so that a fleet's log serves for each of its
//! instances too: the step loop writes one record a fleet, however many instances it has.

use crate::instances::InstanceData;
use crate::num::{duration, fraction, millis, units};
use crate::service::Step;
use crate::spec::MetricsSpec;
use fleet::wire::AgentSample;
use fleet::{FleetId, InstanceId, Timestamp};
use std::collections::VecDeque;
use std::time::Duration;

/// A series of the CloudWatch kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `AWS/EC2Spot` (or `AWS/EC2` by fleet) `CPUUtilization`: mean over running instances, in percent.
    FleetCpu(FleetId),
    /// `AWS/EC2` `CPUUtilization` by `InstanceId`, in percent.
    InstanceCpu(InstanceId),
    /// `AWS/EC2Spot` `FulfilledCapacity`.
    FulfilledCapacity(FleetId),
    /// `AWS/EC2Spot` `TargetCapacity`.
    TargetCapacity(FleetId),
}

/// The points of a series that can be seen already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricPoints {
    /// Their distance: 1 or 5 minutes.
    pub period: Duration,
    /// (start of the period, mean), oldest first.
    pub points: Vec<(Timestamp, f64)>,
}

const MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// What one fleet measured.
#[derive(Clone, Debug)]
pub(crate) struct MetricLog {
    steps: VecDeque<StepRecord>,
    minutes: VecDeque<Minute>,
    /// Sums over the minute that is not over yet: (value x seconds, seconds).
    cpu: (f64, f64),
    serving: (f64, f64),
}

/// What instances in service saw in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct StepRecord {
    began: Timestamp,
    end: Timestamp,
    utilization: f64,
    load_per_core: f64,
    psi: f64,
}

/// A minute; CPU as shares, `None` where nothing ran or served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Minute {
    start: Timestamp,
    fleet_cpu: Option<f64>,
    serving_cpu: Option<f64>,
    /// In millionths.
    fulfilled: i64,
    target: u32,
}

impl MetricLog {
    pub(crate) fn new(spec: &MetricsSpec) -> Self {
        // Room for all steps at once, so that the step loop never allocates for them.
        let steps = VecDeque::with_capacity(steps_kept(spec));
        let none = (0.0, 0.0);
        Self { steps, minutes: VecDeque::new(), cpu: none, serving: none }
    }
    /// Notes a step that is over.
    ///
    /// * `fulfilled`: in millionths of the fleet's units.
    pub(crate) fn note(
        &mut self,
        spec: &MetricsSpec,
        began: Timestamp,
        step: &Step,
        fulfilled: i64,
        target: u32,
    ) {
        if self.steps.len() >= steps_kept(spec) {
            self.steps.pop_front();
        }
        let Step { end, utilization, load_per_core, psi, .. } = *step;
        self.steps.push_back(StepRecord { began, end, utilization, load_per_core, psi });
        if let Some(cpu) = step.fleet_cpu {
            add(&mut self.cpu, cpu, step.length);
        }
        if step.capacity > 0.0 {
            add(&mut self.serving, utilization, step.length);
        }
        if step.end.floor(MINUTE) == step.end {
            self.end_minute(spec, step.end, fulfilled, target);
        }
    }
    fn end_minute(&mut self, spec: &MetricsSpec, end: Timestamp, fulfilled: i64, target: u32) {
        let start = end - MINUTE;
        let fleet_cpu = mean(std::mem::take(&mut self.cpu));
        let serving_cpu = mean(std::mem::take(&mut self.serving));
        self.minutes.push_back(Minute { start, fleet_cpu, serving_cpu, fulfilled, target });
        let oldest = end - spec.kept;
        while self.minutes.front().is_some_and(|minute| minute.start < oldest) {
            self.minutes.pop_front();
        }
    }

    /// Samples of the fleet's instances that end after `after` and whose time to be seen is not after `now`.
    pub(crate) fn agent_samples<'a>(
        &self,
        spec: &MetricsSpec,
        after: Timestamp,
        now: Timestamp,
        members: &(impl Iterator<Item = &'a InstanceData> + Clone),
        out: &mut Vec<(InstanceId, AgentSample)>,
    ) {
        let first = self.steps.partition_point(|step| step.end <= after);
        let steps = self.steps.range(first..);
        for step in steps.take_while(|step| step.end + spec.push_delay <= now) {
            let samples =
                members.clone().filter_map(|member| Some((member.id.clone(), sample(member, step)?)));
            out.extend(samples);
        }
    }

    /// A series.
    ///
    /// * `detailed`: whether its points are 1 or 5 minutes apart.
    /// * `from`, `to`: of the starts of its periods, `to` not included.
    pub(crate) fn points(
        &self,
        value: impl Fn(&Minute) -> Option<(f64, f64)>,
        detailed: bool,
        from: Timestamp,
        to: Timestamp,
        now: Timestamp,
    ) -> MetricPoints {
        let period = if detailed { MINUTE } else { FIVE_MINUTES };
        let mut points = Vec::new();
        let mut sum = (0.0, 0.0);
        let first = self.minutes.partition_point(|minute| minute.start < from.floor(period));
        let mut minutes = self.minutes.range(first..).peekable();
        while let Some(minute) = minutes.next() {
            let start = minute.start.floor(period);
            if start >= to || start + period + period > now {
                // As late as it is long.
                break;
            }
            if let Some((value, weight)) = value(minute) {
                add(&mut sum, value, weight);
            }
            let over = minutes.peek().is_none_or(|next| next.start.floor(period) != start);
            if over && let Some(mean) = mean(std::mem::take(&mut sum)).filter(|_| start >= from) {
                points.push((start, mean));
            }
        }
        MetricPoints { period, points }
    }
}

/// For those who make a series of it: values with their weights in the mean of a longer period.
impl Minute {
    /// Mean utilisation of what ran, in percent.
    pub(crate) fn fleet_cpu(&self) -> Option<(f64, f64)> {
        self.fleet_cpu.map(|cpu| (cpu * 100.0, 1.0))
    }
    /// Utilisation of an instance, in percent, over the part of the minute in which it ran.
    pub(crate) fn instance_cpu(&self, instance: &InstanceData, boot_utilization: f64) -> Option<(f64, f64)> {
        let end = self.start + MINUTE;
        let within = |from: Option<Timestamp>, until: Option<Timestamp>| {
            let from = from?.max(self.start);
            Some((until.unwrap_or(end).min(end).millis() - from.millis()).max(0))
        };
        let first = |a: Option<Timestamp>, b: Option<Timestamp>| a.into_iter().chain(b).min();
        let InstanceData { running, in_service, drained, ended, .. } = *instance;
        let ran = within(running, ended)?;
        let booting = within(running, first(in_service, ended))?;
        let serving = within(in_service, first(drained, ended)).unwrap_or(0);
        let busy = fraction(serving) * self.serving_cpu.unwrap_or(0.0) + fraction(booting) * boot_utilization;
        (ran > 0).then(|| (busy / fraction(ran) * 100.0, fraction(ran)))
    }
    /// Fulfilled capacity at its end.
    pub(crate) fn fulfilled(&self) -> (f64, f64) {
        (units(self.fulfilled), 1.0)
    }
    /// The target at its end.
    pub(crate) fn target(&self) -> (f64, f64) {
        (f64::from(self.target), 1.0)
    }
}

fn add(sum: &mut (f64, f64), value: f64, weight: f64) {
    sum.0 += value * weight;
    sum.1 += weight;
}

fn mean((sum, weight): (f64, f64)) -> Option<f64> {
    (weight > 0.0).then(|| sum / weight)
}

fn steps_kept(spec: &MetricsSpec) -> usize {
    let kept = spec.steps_kept.as_millis() / crate::spec::ServiceSpec::STEP.as_millis();
    // At least the last one, at most a week.
    usize::try_from(kept).unwrap_or(usize::MAX).clamp(1, 60_480)
}

/// What an instance's agent says of a step: nothing unless it was there from its beginning to its end.
fn sample(member: &InstanceData, step: &StepRecord) -> Option<AgentSample> {
    let served = member.in_service.is_some_and(|since| since <= step.began);
    let was_there = member.ended.is_none_or(|ended| ended > step.end);
    if !(served && was_there) {
        return None;
    }
    let whole = millis(duration(step.end.millis() - step.began.millis()));
    // A node that takes no more work is idle; one that began to drain within the step was busy until then.
    let until = member.drained.map_or(step.end, |drained| drained.clamp(step.began, step.end));
    let share = fraction(until.millis() - step.began.millis()) / fraction(whole);
    Some(AgentSample {
        end_ms: step.end,
        period_ms: u32::try_from(whole).unwrap_or(u32::MAX),
        utilization: step.utilization * share,
        load_per_core: Some(step.load_per_core * share),
        psi: Some(step.psi * share),
    })
}
