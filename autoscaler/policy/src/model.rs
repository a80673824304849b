//! A fleet's policy as its file states it: what the engine is handed.

use crate::{Origin, Schedule};
use autoscaler_core::Policy;
use fleet::{Backend, FleetId, FleetName, FleetSelector, Region, Source, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that one `fleet` block says, defaults filled in.
///
/// A plain value: it can be journaled and read back, and two equal ones behave alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetPolicy {
    /// The operator's name of the fleet.
    pub name: FleetName,
    /// Where it runs; `None`: the region that the daemon was started for.
    pub region: Option<Region>,
    /// Whose service.
    pub backend: Backend,
    /// Which fleet is meant.
    pub selector: FleetSelector,
    /// Where utilisation comes from, the preferred one first; never empty, no source twice.
    pub sources: Vec<SourcePolicy>,
    /// What is wanted while no schedule is active.
    pub base: Policy,
    /// What empties nodes where `base.drain.by` is a hook.
    pub drain_hook: Option<DrainHook>,
    /// What is wanted at certain hours, as the file lists them.
    pub schedules: Vec<Schedule>,
    /// Where values come from, by dotted path; what is not in here is a default.
    pub origins: BTreeMap<String, Origin>,
}

impl FleetPolicy {
    /// A policy of defaults: what `fleet "NAME" { id = "ID" }` means.
    ///
    /// The backend follows from the id's prefix; an id of neither kind counts as a Spot Fleet's.
    pub fn of(name: impl Into<FleetName>, id: impl Into<FleetId>) -> Self {
        let id = id.into();
        let backend = backend_of(id.as_str()).unwrap_or(Backend::SpotFleet);
        Self {
            name: name.into(),
            region: None,
            backend,
            selector: FleetSelector::Id(id),
            sources: default_sources(backend),
            base: Policy::default(),
            drain_hook: None,
            schedules: Vec::new(),
            origins: BTreeMap::new(),
        }
    }

    /// The policy in force at a moment, and the names of the schedules that are active then, in file order.
    ///
    /// A schedule only ever raises capacity. Where several are active, the maximum holds: the largest `min`,
    /// and of the targets the one that makes the larger fleet, which is the *lowest* utilisation.
    pub fn at(&self, now: Timestamp) -> (Policy, Vec<&str>) {
        in_force(&self.base, &self.schedules, now)
    }

    /// The next moment after `now` at which [`FleetPolicy::at`] may answer differently: never later than the
    /// first change, and the change itself unless one schedule's windows overlap for months on end.
    ///
    /// * returns: `None` without schedules.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        next_change(&self.schedules, now)
    }
}

/// What [`FleetPolicy::at`] answers, where there is no fleet: of a policy and its schedules.
pub fn in_force<'a>(base: &Policy, schedules: &'a [Schedule], now: Timestamp) -> (Policy, Vec<&'a str>) {
    let mut policy = base.clone();
    let active: Vec<&Schedule> = schedules.iter().filter(|schedule| schedule.is_active(now)).collect();
    for schedule in &active {
        if let Some(min) = schedule.min() {
            policy.capacity.min = policy.capacity.min.max(min);
        }
        if let Some(target) = schedule.target()
            && target < policy.target
        {
            policy.target = target;
        }
    }
    (policy, active.into_iter().map(Schedule::name).collect())
}

/// What [`FleetPolicy::next_change`] answers, where there is no fleet.
pub fn next_change(schedules: &[Schedule], now: Timestamp) -> Option<Timestamp> {
    schedules.iter().filter_map(|schedule| schedule.next_change(now)).min()
}

/// The backend that an id belongs to, by its prefix.
pub(crate) fn backend_of(id: &str) -> Option<Backend> {
    if id.starts_with("sfr-") {
        Some(Backend::SpotFleet)
    } else if id.starts_with("fleet-") {
        Some(Backend::Ec2Fleet)
    } else {
        None
    }
}

/// Where utilisation comes from when a policy does not say: the agents, then CloudWatch.
pub(crate) fn default_sources(backend: Backend) -> Vec<SourcePolicy> {
    vec![SourcePolicy::Push, SourcePolicy::Cloudwatch(CloudwatchPolicy::of(backend))]
}

/// One source of utilisation, with what reading it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePolicy {
    /// The nodes' agents push their samples.
    Push,
    /// Amazon CloudWatch is asked.
    Cloudwatch(CloudwatchPolicy),
    /// A Prometheus server is asked.
    Prometheus(PrometheusPolicy),
}

impl SourcePolicy {
    /// Which source this is.
    pub const fn source(&self) -> Source {
        match self {
            Self::Push => Source::Push,
            Self::Cloudwatch(_) => Source::Cloudwatch,
            Self::Prometheus(_) => Source::Prometheus,
        }
    }
}

/// What to ask CloudWatch for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudwatchPolicy {
    /// Which metric.
    pub metric: CloudwatchMetric,
    /// The distance of the points where it is known; `None`: found out from the answers.
    pub period: Option<Duration>,
}

impl CloudwatchPolicy {
    /// The default of a backend: only Spot Fleets have a metric of their own, EC2 Fleets are read by instance.
    pub fn of(backend: Backend) -> Self {
        let metric = match backend {
            Backend::SpotFleet => CloudwatchMetric::Fleet,
            Backend::Ec2Fleet => CloudwatchMetric::Instances,
        };
        Self { metric, period: None }
    }
}

/// Which of CloudWatch's metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloudwatchMetric {
    /// `AWS/EC2Spot` by fleet: one metric, but an unweighted mean that counts booting instances.
    Fleet,
    /// `AWS/EC2` by instance: right for mixed sizes, one paid metric an instance.
    Instances,
    /// A metric of the operator's own, in percent.
    Custom {
        /// The namespace.
        namespace: String,
        /// The metric's name.
        metric: String,
        /// `Average`, `p90`, …
        statistic: String,
        /// Names and values.
        dimensions: BTreeMap<String, String>,
    },
}

/// What empties a node where Nomad does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainHook {
    /// A program with its arguments. The instance, the deadline and the cause come in its environment
    /// (`MUSTER_INSTANCE`, `MUSTER_DEADLINE`, `MUSTER_CAUSE`); its exit with 0 says that the node is empty.
    Command(Vec<String>),
    /// An address that is sent the same as JSON; 200 says that the node is empty, 202 that it must be asked again.
    Webhook {
        /// The address.
        url: String,
        /// A file that holds a bearer token, read again when it changes.
        token_file: Option<String>,
    },
}

/// What to ask Prometheus for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrometheusPolicy {
    /// The server, such as `http://prometheus.service.consul:9090`.
    pub address: String,
    /// A PromQL expression that gives one series: the fleet's mean CPU utilisation in percent, 0 to 100.
    pub query: String,
    /// A file that holds a bearer token, read again when it changes.
    pub token_file: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::Utilization;

    const DAY: Duration = Duration::from_secs(86_400);

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect(text)
    }

    fn schedule(name: &str, start: &str, hours: u64, min: Option<u32>, target: Option<f64>) -> Schedule {
        let lasts = Duration::from_secs(hours * 3600);
        Schedule::new(name, start, "UTC", lasts, min, target.map(Utilization::new)).expect(start)
    }

    #[test]
    fn overlapping_schedules_take_the_larger_fleet_of_each() {
        let mut fleet = FleetPolicy::of("web", "sfr-1");
        fleet.base.capacity.min = 2;
        fleet.schedules = vec![
            schedule("day", "0 8 * * *", 10, Some(6), Some(0.70)),
            schedule("noon", "0 11 * * *", 2, Some(4), Some(0.50)),
            schedule("night", "0 22 * * *", 2, Some(1), Some(0.90)),
        ];
        let seen = |text: &str| {
            let (policy, active) = fleet.at(time(text));
            (policy.capacity.min, policy.target.get(), active.join(" "))
        };
        assert_eq!(seen("2026-03-02T07:59:59.999Z"), (2, 0.75, String::new()));
        assert_eq!(seen("2026-03-02T08:00:00Z"), (6, 0.70, "day".into()));
        assert_eq!(seen("2026-03-02T12:00:00Z"), (6, 0.50, "day noon".into()));
        assert_eq!(seen("2026-03-02T23:00:00Z"), (2, 0.75, "night".into()), "never lowers capacity");
        assert_eq!(fleet.at(time("2026-03-02T12:00:00Z")).0.capacity.max, fleet.base.capacity.max);
    }

    #[test]
    fn walking_from_change_to_change_misses_none() {
        let mut fleet = FleetPolicy::of("web", "sfr-1");
        assert_eq!(fleet.next_change(time("2026-03-02T00:00:00Z")), None);
        fleet.schedules = vec![
            schedule("day", "0 8 * * *", 10, Some(6), None),
            schedule("halves", "*/30 11 * * *", 1, Some(7), None),
        ];
        let start = time("2026-03-02T00:00:00Z");
        let mut changes = Vec::new();
        let mut now = start;
        while let Some(next) = fleet.next_change(now).filter(|next| *next < start + DAY) {
            assert!(next > now, "{next} does not lie after {now}");
            let mut minute = now;
            while minute < next {
                assert_eq!(fleet.at(minute), fleet.at(now), "{minute} differs from {now}");
                minute = minute + Duration::from_secs(60);
            }
            changes.push(next.to_string()[11..16].to_owned());
            now = next;
        }
        assert_eq!(changes, ["08:00", "11:00", "12:30", "18:00"]);
    }

    #[test]
    fn the_backend_follows_from_the_id() {
        assert_eq!(FleetPolicy::of("a", "sfr-1").backend, Backend::SpotFleet);
        let ec2 = FleetPolicy::of("a", "fleet-1");
        assert_eq!(ec2.backend, Backend::Ec2Fleet);
        let by_instance =
            SourcePolicy::Cloudwatch(CloudwatchPolicy { metric: CloudwatchMetric::Instances, period: None });
        assert_eq!(ec2.sources, [SourcePolicy::Push, by_instance]);
    }
}
