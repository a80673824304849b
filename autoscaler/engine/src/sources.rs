//! Metrics services: who is asked about whom, and what is made of the answers.

use crate::calls::{CallKind, Wanted, WantedOf};
use crate::region::RegionState;
use crate::series::{MeanOf, Reading};
use crate::{Engine, MetricsRequest, Now, PrometheusQuery, Read};
use autoscaler_policy::{CloudwatchMetric, CloudwatchPolicy, PrometheusPolicy, SourcePolicy};
use fleet::ports::{MetricQuery, Series};
use fleet::{FleetName, InstanceId, Region, Source};
use std::time::Duration;

/// The most queries that one GetMetricData takes.
const QUERIES: usize = 500;
/// How far back CloudWatch is read: two five-minute points and their delay.
const CLOUDWATCH_BACK: Duration = Duration::from_secs(20 * 60);
/// How far back Prometheus is read.
const PROMETHEUS_BACK: Duration = Duration::from_secs(5 * 60);
/// The distance of points that Prometheus is asked for, and of the questions.
const PROMETHEUS_STEP: Duration = Duration::from_secs(30);

/// What distinguishes the reading of operators' own metrics: a name that CloudWatch does not know spoils a call.
pub(crate) const CUSTOM: &str = "custom";

/// What is to be asked of the metrics services of one region.
#[derive(Default)]
struct Wants {
    /// AWS's own metrics: all in one call.
    own: Vec<(MetricQuery, Wanted)>,
    /// Operators' metrics.
    custom: Vec<(MetricQuery, Wanted)>,
    /// Expressions, each in a call of its own: one that is wrong must not blind the others.
    prometheus: Vec<(PrometheusPolicy, FleetName)>,
}

impl Engine {
    /// Asks the metrics services about the fleets that no better source tells about: all of a region in one call,
    /// where one fleet's question cannot spoil another's answer.
    pub(crate) fn ask_metrics(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        let mut wants = Wants::default();
        for name in &state.fleets {
            self.want(name, &mut wants, now);
        }
        let Wants { own, custom, prometheus } = wants;
        let due = self.is_due(state.cloudwatch_asked, self.config.metrics_every, now);
        if due && !(own.is_empty() && custom.is_empty()) {
            self.read_cloudwatch(region, &own, &custom, now);
        }
        for (policy, name) in prometheus {
            self.read_prometheus(region, policy, &name, now);
        }
    }

    /// What to ask about one fleet: of the sources in order, those before the first that tells.
    fn want(&self, name: &FleetName, wants: &mut Wants, now: Now) {
        let Some(held) = self.fleets.get(name) else { return };
        for source in &held.policy.sources {
            match source {
                SourcePolicy::Push => {}
                SourcePolicy::Cloudwatch(cloudwatch) => self.want_cloudwatch(name, cloudwatch, wants, now),
                SourcePolicy::Prometheus(prometheus) => {
                    if self.is_due(held.prometheus_asked, PROMETHEUS_STEP, now) {
                        wants.prometheus.push((prometheus.clone(), name.clone()));
                    }
                }
            }
            if held.is_fresh(source, self.config.push_fresh, now.monotonic) {
                break;
            }
        }
    }

    fn want_cloudwatch(&self, name: &FleetName, policy: &CloudwatchPolicy, wants: &mut Wants, now: Now) {
        let Some(held) = self.fleets.get(name) else { return };
        let Some(fleet) = held.fleet_ref() else { return };
        let wanted = |of| Wanted { fleet: name.clone(), of };
        match &policy.metric {
            CloudwatchMetric::Fleet => {
                let of = WantedOf::Fleet(MeanOf::Running);
                wants.own.push((MetricQuery::FleetCpu(fleet), wanted(of)));
            }
            CloudwatchMetric::Instances => {
                for (id, _, _) in held.state.serving(now.wall) {
                    let of = WantedOf::Instance(id.clone());
                    wants.own.push((MetricQuery::InstanceCpu(id.clone()), wanted(of)));
                }
            }
            CloudwatchMetric::Custom { namespace, metric, statistic, dimensions } => {
                let query = MetricQuery::Custom {
                    namespace: namespace.clone(),
                    metric: metric.clone(),
                    statistic: statistic.clone(),
                    dimensions: dimensions.clone().into_iter().collect(),
                };
                wants.custom.push((query, wanted(WantedOf::Fleet(MeanOf::Serving))));
            }
        }
    }

    fn read_cloudwatch(
        &mut self,
        region: &Region,
        own: &[(MetricQuery, Wanted)],
        custom: &[(MetricQuery, Wanted)],
        now: Now,
    ) {
        let Some(state) = self.regions.get_mut(region) else { return };
        state.cloudwatch_asked = Some(now.monotonic);
        let apart = state.custom_apart;
        self.read_together(region, own, "", now);
        if apart {
            for one in custom {
                self.read_together(region, std::slice::from_ref(one), one.1.fleet.as_str(), now);
            }
        } else {
            self.read_together(region, custom, CUSTOM, now);
        }
    }

    /// Reads metrics in as few calls as they fit into.
    fn read_together(&mut self, region: &Region, wants: &[(MetricQuery, Wanted)], of: &str, now: Now) {
        if !self.regions.get(region).is_some_and(|state| state.may_of("cloudwatch", of, now.monotonic)) {
            return;
        }
        // A fleet's instances stay in one call: only together they make a mean.
        let mut rest = wants;
        while !rest.is_empty() {
            let mut end = rest.len().min(QUERIES);
            while end < rest.len() && end > 1 && rest[end - 1].1.fleet == rest[end].1.fleet {
                end -= 1;
            }
            if end == 1 && rest.len() > QUERIES {
                // One fleet of more than 500 instances: the first 500 speak for the rest.
                end = QUERIES;
            }
            let (chunk, after) = rest.split_at(end);
            rest = after;
            let (queries, wanted): (Vec<_>, Vec<_>) = chunk.iter().cloned().unzip();
            let read = MetricsRequest::Cloudwatch { queries, from: now.wall - CLOUDWATCH_BACK, to: now.wall };
            self.ask_for_series(region, Source::Cloudwatch, read, wanted, of, now);
        }
    }

    fn read_prometheus(&mut self, region: &Region, policy: PrometheusPolicy, name: &FleetName, now: Now) {
        let may = |state: &RegionState| state.may_of("prometheus", name.as_str(), now.monotonic);
        if !self.regions.get(region).is_some_and(may) {
            return;
        }
        if let Some(held) = self.fleets.get_mut(name) {
            held.prometheus_asked = Some(now.monotonic);
        }
        let PrometheusPolicy { address, query, token_file } = policy;
        let read = MetricsRequest::Prometheus {
            address,
            token_file,
            queries: vec![PrometheusQuery(query)],
            from: now.wall - PROMETHEUS_BACK,
            to: now.wall,
            step: PROMETHEUS_STEP,
        };
        let wanted = vec![Wanted { fleet: name.clone(), of: WantedOf::Fleet(MeanOf::Serving) }];
        self.ask_for_series(region, Source::Prometheus, read, wanted, name.as_str(), now);
    }

    fn ask_for_series(
        &mut self,
        region: &Region,
        source: Source,
        read: MetricsRequest,
        wanted: Vec<Wanted>,
        of: &str,
        now: Now,
    ) {
        let mut names: Vec<FleetName> = wanted.iter().map(|wanted| wanted.fleet.clone()).collect();
        names.dedup();
        let kind = CallKind::Metrics { source, wanted, of: of.to_owned() };
        self.ask(region, kind, Read::Metrics(read), &names, now);
    }

    /// A metrics service's answer: a series for each that was wanted.
    pub(crate) fn metrics_told(&mut self, source: Source, wanted: &[Wanted], series: Vec<Series>, now: Now) {
        let mut rest: Vec<(&Wanted, Series)> = wanted.iter().zip(series).collect();
        while let Some((first, _)) = rest.first() {
            let name = first.fleet.clone();
            let of_fleet: Vec<_>;
            let split = rest.iter().position(|(wanted, _)| wanted.fleet != name).unwrap_or(rest.len());
            (of_fleet, rest) = {
                let after = rest.split_off(split);
                (rest, after)
            };
            self.fleet_told(&name, source, of_fleet, now);
        }
    }

    fn fleet_told(&mut self, name: &FleetName, source: Source, told: Vec<(&Wanted, Series)>, now: Now) {
        let Some(held) = self.fleets.get(name) else { return };
        let configured = held.policy.sources.iter().find_map(|listed| match listed {
            SourcePolicy::Cloudwatch(cloudwatch) if source == Source::Cloudwatch => cloudwatch.period,
            SourcePolicy::Prometheus(_) if source == Source::Prometheus => Some(PROMETHEUS_STEP),
            _ => None,
        });
        let period = configured.or_else(|| held.latest_period());
        let known = held.known_to(source);
        let reading = Reading { source, period, known, now: now.wall };
        let mut of_instances: Vec<(InstanceId, Series)> = Vec::new();
        let mut samples = Vec::new();
        for (wanted, series) in told {
            match &wanted.of {
                WantedOf::Fleet(mean_of) => samples.extend(reading.of_fleet(&series, *mean_of, &held.state)),
                WantedOf::Instance(id) => of_instances.push((id.clone(), series)),
            }
        }
        samples.extend(reading.of_instances(&of_instances, &held.state));
        if self.take_fleet_samples(name, source, &samples, now) {
            self.make_due(name, now);
        }
    }
}
