//! The format of the lines, and what may stand in them. `docs/decide.schema.json` says the same.

use super::VERSION;
use super::fault::{Fault, quoted};
use ::fleet::{NoticeKind, Timestamp};
use autoscaler_core::Phase;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The end of the year 9999: times beyond it have no date.
const LAST_SECOND: f64 = 253_402_300_799.0;
/// More than any fleet has.
const MOST_UNITS: f64 = 1e9;

/// What a simulator saw of one fleet at one moment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Observation<'a> {
    /// The version of the format; this one where it is not said.
    #[serde(default)]
    pub v: Option<u32>,
    /// Seconds; modulo 86,400 the time of day in UTC.
    pub t: f64,
    /// Whose policy applies, and whose memory.
    #[serde(borrow)]
    pub fleet: Cow<'a, str>,
    /// The fleet's target in force.
    pub target: f64,
    /// Every instance there is.
    #[serde(borrow)]
    pub instances: Vec<InstanceLine<'a>>,
    /// What was measured and could not be seen before.
    #[serde(default)]
    pub samples: Vec<SampleLine>,
    /// What was announced and could not be heard before.
    #[serde(borrow, default)]
    pub notices: Vec<NoticeLine<'a>>,
}

/// An instance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceLine<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// `type/zone`.
    #[serde(borrow)]
    pub pool: Cow<'a, str>,
    pub weight: f64,
    pub state: StateWord,
    /// Since when it is in that state.
    pub since: f64,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateWord {
    Requested,
    Booting,
    InService,
    Draining,
}

/// Utilisation over a period.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleLine {
    pub end: f64,
    pub period: f64,
    /// The units that served in the period.
    pub capacity: f64,
    pub utilization: f64,
    /// Runnable work per core.
    #[serde(default)]
    pub load: Option<f64>,
    /// Share of the period in which some task waited for a CPU.
    #[serde(default)]
    pub psi: Option<f64>,
}

/// Word that an instance is about to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoticeLine<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub kind: KindWord,
    pub at: f64,
    #[serde(default)]
    pub deadline: Option<f64>,
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindWord {
    #[serde(alias = "interruption")]
    SpotInterruption,
    #[serde(alias = "rebalance")]
    RebalanceRecommendation,
    ScheduledEvent,
}

/// What is to be done.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Decided<'a> {
    pub t: f64,
    pub fleet: &'a str,
    pub target: u32,
    pub remove: &'a [::fleet::InstanceId],
    pub reason: &'a str,
}

/// A line that could not be used.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refusal<'a> {
    pub line: u64,
    pub error: &'a str,
}

impl Observation<'_> {
    /// Checks what can be checked without knowing the fleet.
    ///
    /// * returns: the time of the observation.
    pub fn check(&self) -> Result<Timestamp, Fault> {
        if let Some(v) = self.v.filter(|v| *v != VERSION) {
            return Err(Fault::Version { v });
        }
        let number = |path: &str, value, right| Fault::Number { path: path.to_owned(), value, right };
        if !(0.0..=LAST_SECOND).contains(&self.t) {
            return Err(number("t", self.t, "seconds, from 0 on"));
        }
        if self.fleet.is_empty() {
            let (path, value) = ("fleet".to_owned(), String::new());
            return Err(Fault::Text { path, value, right: "the name of a fleet in the policy file" });
        }
        if self.target.fract() != 0.0 || !(0.0..=MOST_UNITS).contains(&self.target) {
            return Err(number("target", self.target, "a whole number of units, 0 or more"));
        }
        for (index, instance) in self.instances.iter().enumerate() {
            instance.check(self.t).map_err(|fault| fault.into_fault("instances", index))?;
        }
        for (index, sample) in self.samples.iter().enumerate() {
            sample.check(self.t).map_err(|fault| fault.into_fault("samples", index))?;
        }
        if let Some(index) = (1..self.samples.len()).find(|i| self.samples[*i].end <= self.samples[i - 1].end)
        {
            let right = "samples come oldest first, each once";
            return Err(number(&format!("samples[{index}].end"), self.samples[index].end, right));
        }
        for (index, notice) in self.notices.iter().enumerate() {
            notice.check(self.t).map_err(|fault| fault.into_fault("notices", index))?;
        }
        Ok(time(self.t))
    }
}

/// What is wrong with an entry of a list.
enum Wrong<'a> {
    Number(&'static str, f64, &'static str),
    Text(&'static str, &'a str, &'static str),
}

impl Wrong<'_> {
    fn into_fault(self, list: &str, index: usize) -> Fault {
        let path = |field: &str| format!("{list}[{index}].{field}");
        match self {
            Self::Number(field, value, right) => Fault::Number { path: path(field), value, right },
            Self::Text(field, value, right) => Fault::Text { path: path(field), value: quoted(value), right },
        }
    }
}

impl InstanceLine<'_> {
    fn check(&self, now: f64) -> Result<(), Wrong<'_>> {
        if self.id.is_empty() {
            return Err(Wrong::Text("id", &self.id, "the instance's name"));
        }
        if self.pool().is_none() {
            return Err(Wrong::Text("pool", &self.pool, "\"type/zone\", such as \"m5.large/eu-west-1a\""));
        }
        if !(self.weight > 0.0 && self.weight <= MOST_UNITS) {
            return Err(Wrong::Number(
                "weight",
                self.weight,
                "what it counts for in the target, more than 0",
            ));
        }
        if !(-LAST_SECOND..=now).contains(&self.since) {
            return Err(Wrong::Number("since", self.since, "when it came into its state, not after t"));
        }
        Ok(())
    }

    /// Type and zone.
    pub fn pool(&self) -> Option<(&str, &str)> {
        let (instance_type, zone) = self.pool.split_once('/')?;
        let plain = !instance_type.is_empty() && !zone.is_empty() && !zone.contains('/');
        plain.then_some((instance_type, zone))
    }

    /// As the planner calls it.
    pub fn phase(&self) -> Phase {
        match self.state {
            StateWord::Requested => Phase::Requested,
            StateWord::Booting => Phase::Booting,
            StateWord::InService => Phase::InService,
            StateWord::Draining => Phase::Draining,
        }
    }
}

impl SampleLine {
    fn check(&self, now: f64) -> Result<(), Wrong<'static>> {
        // What was computed as a ratio may be a rounding error above 1.
        let share = |value: f64| (0.0..=1.0 + 1e-6).contains(&value);
        if !(-LAST_SECOND..=now).contains(&self.end) {
            return Err(Wrong::Number("end", self.end, "when the period ended, not after t"));
        }
        if !(0.001..=86_400.0).contains(&self.period) {
            return Err(Wrong::Number("period", self.period, "seconds, more than 0 and at most 86400"));
        }
        if !(0.0..=MOST_UNITS).contains(&self.capacity) {
            return Err(Wrong::Number(
                "capacity",
                self.capacity,
                "the units that served in the period, 0 or more",
            ));
        }
        if !share(self.utilization) {
            return Err(Wrong::Number(
                "utilization",
                self.utilization,
                "a share from 0 to 1, as 0.83 for 83 %",
            ));
        }
        if let Some(load) = self.load.filter(|load| !(0.0..=1e6).contains(load)) {
            return Err(Wrong::Number("load", load, "runnable work per core, 0 or more"));
        }
        match self.psi.filter(|psi| !share(*psi)) {
            Some(psi) => Err(Wrong::Number("psi", psi, "a share from 0 to 1")),
            None => Ok(()),
        }
    }
}

impl NoticeLine<'_> {
    fn check(&self, now: f64) -> Result<(), Wrong<'_>> {
        if !(-LAST_SECOND..=now).contains(&self.at) {
            return Err(Wrong::Number("at", self.at, "when it was given, not after t"));
        }
        match self.deadline.filter(|deadline| !(self.at..=LAST_SECOND).contains(deadline)) {
            Some(deadline) => {
                Err(Wrong::Number("deadline", deadline, "when the instance goes, not before at"))
            }
            None => Ok(()),
        }
    }

    /// As the planner calls it.
    pub fn kind(&self) -> NoticeKind {
        match self.kind {
            KindWord::SpotInterruption => NoticeKind::SpotInterruption,
            KindWord::RebalanceRecommendation => NoticeKind::RebalanceRecommendation,
            KindWord::ScheduledEvent => NoticeKind::ScheduledEvent,
        }
    }
}

/// A time of the stream, to the millisecond.
#[expect(clippy::cast_possible_truncation, reason = "checked to lie before the year 10000")]
pub(super) fn time(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0).round() as i64)
}

/// A number of units that was checked to be whole and of a fleet's size.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and small")]
pub(super) fn units(whole: f64) -> u32 {
    whole as u32
}
