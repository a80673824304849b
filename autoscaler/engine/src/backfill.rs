//! The past, from before we ran: so that the forecast is not blind for its first days.

use crate::calls::CallKind;
use crate::held::{Backfill, Held};
use crate::{Cause, Checkpoint, CompactSample, Engine, MetricsRequest, Now, Read, Record};
use autoscaler_core::Learned;
use autoscaler_policy::{CloudwatchMetric, SourcePolicy};
use fleet::ports::{MetricQuery, Series};
use fleet::{
    Backend, FleetName, FleetRef, Power, Region, Sample, Saturation, Source, Timestamp, vcpus_by_size,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Fleets a call: two weeks of minutes are some 300 KiB a series.
const FLEETS_A_CALL: usize = 5;
/// The most samples that are kept until the past has come.
const MEANWHILE: usize = 2000;
/// FulfilledCapacity is read as if it were percent; from here on it cannot be told from more.
const MOST_UNITS: f64 = 100.0;

/// Whether a fleet's past can be had: its metric, and beside it the capacity that produced it.
pub(crate) fn wanted(held: &Held, back: Duration) -> Backfill {
    let told = held.policy.sources.iter().any(|source| match source {
        SourcePolicy::Cloudwatch(cloudwatch) => cloudwatch.metric != CloudwatchMetric::Instances,
        SourcePolicy::Push | SourcePolicy::Prometheus(_) => false,
    });
    if told && held.policy.backend == Backend::SpotFleet && !back.is_zero() {
        Backfill::Wanted(Vec::new())
    } else {
        Backfill::Done
    }
}

/// The metric that says how much a Spot Fleet held. In units, but read as if it were percent.
fn fulfilled_capacity(fleet: &FleetRef) -> MetricQuery {
    MetricQuery::Custom {
        namespace: "AWS/EC2Spot".to_owned(),
        metric: "FulfilledCapacity".to_owned(),
        statistic: "Average".to_owned(),
        dimensions: vec![("FleetRequestId".to_owned(), fleet.id.as_str().to_owned())],
    }
}

/// The metric that said how busy it was.
fn utilization(held: &Held, fleet: &FleetRef) -> MetricQuery {
    let custom = held.policy.sources.iter().find_map(|source| match source {
        SourcePolicy::Cloudwatch(cloudwatch) => match &cloudwatch.metric {
            CloudwatchMetric::Custom { namespace, metric, statistic, dimensions } => {
                Some(MetricQuery::Custom {
                    namespace: namespace.clone(),
                    metric: metric.clone(),
                    statistic: statistic.clone(),
                    dimensions: dimensions.clone().into_iter().collect(),
                })
            }
            CloudwatchMetric::Fleet | CloudwatchMetric::Instances => None,
        },
        SourcePolicy::Push | SourcePolicy::Prometheus(_) => None,
    });
    custom.unwrap_or_else(|| MetricQuery::FleetCpu(fleet.clone()))
}

impl Engine {
    /// Asks for the past of a few fleets at a time, once the present is known.
    pub(crate) fn ask_backfill(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        if state.backfill_call.is_some() || !state.may("cloudwatch", now.monotonic) {
            return;
        }
        let wanting = |name: &&FleetName| {
            self.fleets.get(*name).is_some_and(|held| {
                let known = held.state.instances_at.is_some() && held.planned.is_some();
                matches!(held.backfill, Backfill::Wanted(_)) && known
            })
        };
        let names: Vec<FleetName> =
            state.fleets.iter().filter(wanting).take(FLEETS_A_CALL).cloned().collect();
        if names.is_empty() {
            return;
        }
        let mut queries = Vec::new();
        for name in &names {
            let Some(held) = self.fleets.get(name) else { continue };
            let Some(fleet) = held.fleet_ref() else { continue };
            queries.push(utilization(held, &fleet));
            queries.push(fulfilled_capacity(&fleet));
        }
        let read =
            MetricsRequest::Cloudwatch { queries, from: now.wall - self.config.backfill, to: now.wall };
        let kind = CallKind::Backfill { fleets: names };
        let call = self.ask(region, kind, Read::Metrics(read), &[], now);
        if let Some(state) = self.regions.get_mut(region) {
            state.backfill_call = Some(call);
        }
    }

    /// The past has come: what has been learned since the start is learned again on top of it.
    pub(crate) fn backfill_told(&mut self, fleets: &[FleetName], series: Option<Vec<Series>>, now: Now) {
        // A failed reading is asked for again when the region says so.
        let Some(series) = series else { return };
        for (name, pair) in fleets.iter().zip(series.chunks(2)) {
            let Some(held) = self.fleets.get_mut(name) else { continue };
            let Backfill::Wanted(meanwhile) = std::mem::take(&mut held.backfill) else { continue };
            let [utilization, fulfilled] = pair else { continue };
            let until = meanwhile.first().map_or(now.wall, |sample| sample.end - sample.period());
            let past = samples_of(held, utilization, fulfilled, until);
            if past.is_empty() {
                continue;
            }
            let mut learned = Learned::default();
            for sample in past.iter().chain(&meanwhile) {
                learned.observe(&held.state.policy, &sample.sample());
            }
            // What was recorded before belongs to the state as it was.
            let mut state = held.state.clone();
            state.learned = learned;
            // With points five minutes apart the next may be long in coming: until then the newest of the past tells.
            state.latest = state.latest.or_else(|| past.last().copied());
            let checkpoint = Checkpoint { cause: Cause::Backfilled, state };
            held.record(Record::Checkpoint(Box::new(checkpoint)));
            self.make_due(name, now);
        }
    }
}

/// Pairs what was busy with what was there, minute by minute, oldest first, until we ran ourselves.
fn samples_of(held: &Held, utilization: &Series, fulfilled: &Series, until: Timestamp) -> Vec<CompactSample> {
    let Some(period) = utilization.period else { return Vec::new() };
    let units: BTreeMap<Timestamp, f64> =
        fulfilled.points.iter().map(|(start, share)| (*start, share.get() * 100.0)).collect();
    let per_unit = power_per_unit(held);
    let mut samples: Vec<CompactSample> = utilization
        .points
        .iter()
        .filter(|(start, _)| *start + period <= until)
        .filter_map(|(start, busy)| {
            let units = units.get(start).copied().filter(|units| (0.01..MOST_UNITS).contains(units))?;
            Some(CompactSample::of(&Sample {
                source: Source::Cloudwatch,
                end: *start + period,
                period,
                utilization: *busy,
                power: Power::new(units * per_unit),
                instances: 0,
                saturation: Saturation::default(),
            }))
        })
        .collect();
    samples.sort_by_key(|sample| sample.end);
    samples
}

/// What a unit of the fleet can do: by what runs now, else by its shopping list.
fn power_per_unit(held: &Held) -> f64 {
    let state = &held.state;
    let now = state.instances.values().fold((0.0, 0.0), |(power, weight), known| {
        (power + state.power(known).get(), weight + state.weight(known).get())
    });
    let listed = || {
        let overrides = state.fleet.iter().flat_map(|seen| &seen.what.overrides);
        overrides.fold((0.0, 0.0), |(power, weight), line| {
            let told = state.policy.power.get(&line.instance_type).map(|power| power.get());
            let of_type = told.or_else(|| vcpus_by_size(&line.instance_type).map(f64::from));
            (power + of_type.unwrap_or(1.0), weight + line.weight.get())
        })
    };
    let usable = |(power, weight): &(f64, f64)| *power > 0.0 && *weight > 0.0;
    let (power, weight) = Some(now).filter(usable).unwrap_or_else(listed);
    if usable(&(power, weight)) { power / weight } else { 1.0 }
}

impl Held {
    /// Keeps what a cycle is about to learn, while the past is still to come.
    pub(crate) fn keep_meanwhile(&mut self) {
        if let Backfill::Wanted(meanwhile) = &mut self.backfill {
            meanwhile.extend(&self.state.fresh);
            if meanwhile.len() > MEANWHILE {
                // Nobody answers: the past is given up.
                self.backfill = Backfill::Done;
            }
        }
    }
}
