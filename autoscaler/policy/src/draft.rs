//! What a file says of a fleet before it is known to make sense.

use crate::model::{CloudwatchMetric, CloudwatchPolicy, DrainHook, PrometheusPolicy, SourcePolicy};
use crate::{FleetPolicy, Schedule};
use autoscaler_core::{Policy, ScaledGroup, Workload};
use fleet::{Backend, FleetSelector, Source, Utilization};
use std::collections::BTreeMap;
use std::time::Duration;

/// A file.
#[derive(Debug, Default)]
pub(crate) struct FileDraft {
    pub(crate) fleets: Vec<Draft>,
}

/// A `fleet` block: what the tables read into, and what they show of a [`FleetPolicy`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) tag: Option<TagDraft>,
    pub(crate) backend: Option<Backend>,
    pub(crate) region: Option<String>,
    /// The sources in the order in which the file names them.
    pub(crate) sources: Vec<Source>,
    pub(crate) push: PushDraft,
    pub(crate) cloudwatch: CloudwatchDraft,
    pub(crate) prometheus: PrometheusDraft,
    pub(crate) base: Policy,
    pub(crate) hook: Option<HookDraft>,
    pub(crate) workload: WorkloadDraft,
    pub(crate) schedules: Vec<ScheduleDraft>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TagDraft {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Pushed samples need no settings; the type is what their empty block is read into.
#[derive(Clone, Debug, Default)]
pub(crate) struct PushDraft;

#[derive(Clone, Debug, Default)]
pub(crate) struct CloudwatchDraft {
    pub(crate) by: Option<&'static str>,
    pub(crate) namespace: Option<String>,
    pub(crate) metric: Option<String>,
    pub(crate) statistic: Option<String>,
    pub(crate) dimensions: BTreeMap<String, String>,
    pub(crate) period: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PrometheusDraft {
    pub(crate) address: String,
    pub(crate) query: String,
    pub(crate) token_file: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct HookDraft {
    pub(crate) command: Vec<String>,
    pub(crate) url: String,
    pub(crate) token_file: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct WorkloadDraft {
    pub(crate) kind: Option<&'static str>,
    pub(crate) groups: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) per_unit: u32,
}

impl Default for WorkloadDraft {
    fn default() -> Self {
        Self { kind: None, groups: Vec::new(), namespace: "default".to_owned(), per_unit: 1 }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ScheduleDraft {
    pub(crate) name: String,
    pub(crate) start: String,
    pub(crate) zone: String,
    pub(crate) lasts: Duration,
    pub(crate) min: Option<u32>,
    pub(crate) target: Option<Utilization>,
}

impl ScheduleDraft {
    /// A schedule of defaults.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            start: String::new(),
            zone: "UTC".to_owned(),
            lasts: Duration::ZERO,
            min: None,
            target: None,
        }
    }
}

impl CloudwatchDraft {
    /// Whether it asks for a metric of the operator's own.
    pub(crate) fn is_custom(&self) -> bool {
        self.namespace.is_some()
            || self.metric.is_some()
            || self.statistic.is_some()
            || !self.dimensions.is_empty()
    }

    fn policy(&self, backend: Backend) -> CloudwatchPolicy {
        let metric = if self.is_custom() {
            CloudwatchMetric::Custom {
                namespace: self.namespace.clone().unwrap_or_default(),
                metric: self.metric.clone().unwrap_or_default(),
                statistic: self.statistic.clone().unwrap_or_else(|| STATISTIC.to_owned()),
                dimensions: self.dimensions.clone(),
            }
        } else {
            match self.by {
                Some("fleet") => CloudwatchMetric::Fleet,
                Some(_) => CloudwatchMetric::Instances,
                None => CloudwatchPolicy::of(backend).metric,
            }
        };
        CloudwatchPolicy { metric, period: self.period }
    }
}

/// The statistic of a metric of the operator's own where the file names none.
pub(crate) const STATISTIC: &str = "Average";

impl Draft {
    /// A fleet of defaults.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Whose service, as the file says or as the id tells.
    pub(crate) fn backend(&self) -> Option<Backend> {
        self.backend.or_else(|| crate::model::backend_of(self.id.as_deref()?))
    }

    /// The policy that a draft without problems means. Total: what a problem left open gets a stand-in.
    pub(crate) fn policy(self) -> FleetPolicy {
        let mut policy = FleetPolicy::of(self.name.as_str(), self.id.as_deref().unwrap_or_default());
        policy.backend = self.backend().unwrap_or(Backend::SpotFleet);
        if let (None, Some(TagDraft { key, value })) = (&self.id, self.tag) {
            policy.selector = FleetSelector::Tag { key, value };
        }
        policy.region = self.region.map(Into::into);
        let source = |source: &Source| match source {
            Source::Push => SourcePolicy::Push,
            Source::Cloudwatch => SourcePolicy::Cloudwatch(self.cloudwatch.policy(policy.backend)),
            Source::Prometheus => {
                let PrometheusDraft { address, query, token_file } = self.prometheus.clone();
                SourcePolicy::Prometheus(PrometheusPolicy { address, query, token_file })
            }
        };
        policy.sources = if self.sources.is_empty() {
            crate::model::default_sources(policy.backend)
        } else {
            self.sources.iter().map(source).collect()
        };
        policy.drain_hook = self.hook.as_ref().and_then(HookDraft::policy);
        policy.base = Policy { workload: self.workload.policy(), ..self.base };
        policy.schedules = self.schedules.iter().filter_map(ScheduleDraft::policy).collect();
        policy
    }
}

impl WorkloadDraft {
    fn policy(&self) -> Workload {
        match self.kind {
            Some("system") => Workload::System,
            Some("service") => {
                Workload::Service(self.groups.iter().map(|group| self.scaled_group(group)).collect())
            }
            Some(_) => Workload::Spreads,
            None => Workload::Unknown,
        }
    }

    /// A group as a file names it: `JOB/GROUP`, which has been checked by then. Job ids may hold slashes themselves.
    fn scaled_group(&self, text: &str) -> ScaledGroup {
        let (job, group) = text.rsplit_once('/').unwrap_or((text, text));
        ScaledGroup {
            namespace: self.namespace.clone(),
            job: job.to_owned(),
            group: group.to_owned(),
            per_unit: self.per_unit,
        }
    }
}

impl HookDraft {
    fn policy(&self) -> Option<DrainHook> {
        let Self { command, url, token_file } = self;
        if !command.is_empty() {
            return Some(DrainHook::Command(command.clone()));
        }
        (!url.is_empty()).then(|| DrainHook::Webhook { url: url.clone(), token_file: token_file.clone() })
    }
}

impl From<&DrainHook> for HookDraft {
    fn from(hook: &DrainHook) -> Self {
        match hook {
            DrainHook::Command(command) => Self { command: command.clone(), ..Self::default() },
            DrainHook::Webhook { url, token_file } => {
                Self { url: url.clone(), token_file: token_file.clone(), ..Self::default() }
            }
        }
    }
}

impl ScheduleDraft {
    /// The schedule; `None` where something in it is wrong, which has been reported by then.
    fn policy(&self) -> Option<Schedule> {
        Schedule::new(&self.name, &self.start, &self.zone, self.lasts, self.min, self.target).ok()
    }
}

impl From<&FleetPolicy> for Draft {
    /// What a file would have to say for this policy.
    fn from(policy: &FleetPolicy) -> Self {
        let FleetPolicy { name, region, backend, selector, sources, base, drain_hook, schedules, origins: _ } =
            policy;
        let mut draft = Self::named(name.as_str());
        match selector {
            FleetSelector::Id(id) => draft.id = Some(id.as_str().to_owned()),
            FleetSelector::Tag { key, value } => {
                draft.tag = Some(TagDraft { key: key.clone(), value: value.clone() });
            }
        }
        draft.backend = Some(*backend);
        draft.region = region.as_ref().map(|region| region.as_str().to_owned());
        for source in sources {
            draft.sources.push(source.source());
            match source {
                SourcePolicy::Push => {}
                SourcePolicy::Cloudwatch(cloudwatch) => draft.cloudwatch = cloudwatch.into(),
                SourcePolicy::Prometheus(PrometheusPolicy { address, query, token_file }) => {
                    let (address, query) = (address.clone(), query.clone());
                    draft.prometheus = PrometheusDraft { address, query, token_file: token_file.clone() };
                }
            }
        }
        draft.workload = (&base.workload).into();
        draft.base = base.clone();
        draft.hook = drain_hook.as_ref().map(HookDraft::from);
        draft.schedules = schedules.iter().map(ScheduleDraft::from).collect();
        draft
    }
}

impl From<&CloudwatchPolicy> for CloudwatchDraft {
    fn from(CloudwatchPolicy { metric, period }: &CloudwatchPolicy) -> Self {
        let draft = Self { period: *period, ..Self::default() };
        match metric {
            CloudwatchMetric::Fleet => Self { by: Some("fleet"), ..draft },
            CloudwatchMetric::Instances => Self { by: Some("instance"), ..draft },
            CloudwatchMetric::Custom { namespace, metric, statistic, dimensions } => Self {
                namespace: Some(namespace.clone()),
                metric: Some(metric.clone()),
                statistic: Some(statistic.clone()),
                dimensions: dimensions.clone(),
                ..draft
            },
        }
    }
}

impl From<&Workload> for WorkloadDraft {
    fn from(workload: &Workload) -> Self {
        let of_kind = |kind| Self { kind, ..Self::default() };
        match workload {
            Workload::Unknown => of_kind(None),
            Workload::System => of_kind(Some("system")),
            Workload::Spreads => of_kind(Some("spreads")),
            Workload::Service(groups) => {
                let usual = Self::default();
                Self {
                    kind: Some("service"),
                    groups: groups.iter().map(|g| format!("{}/{}", g.job, g.group)).collect(),
                    namespace: groups.first().map_or(usual.namespace, |g| g.namespace.clone()),
                    per_unit: groups.first().map_or(usual.per_unit, |g| g.per_unit),
                }
            }
        }
    }
}

impl From<&Schedule> for ScheduleDraft {
    fn from(schedule: &Schedule) -> Self {
        Self {
            name: schedule.name().to_owned(),
            start: schedule.start().to_owned(),
            zone: schedule.zone().to_owned(),
            lasts: schedule.lasts(),
            min: schedule.min(),
            target: schedule.target(),
        }
    }
}
