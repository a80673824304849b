//! Metrics services: who is asked about whom, and what is made of the answers.

use crate::calls::{CallKind, Wanted, WantedOf};
use crate::series::{MeanOf, Reading};
use crate::{Engine, MetricsRequest, Now, PrometheusQuery, Read};
use autoscaler_policy::{CloudwatchMetric, CloudwatchPolicy, PrometheusPolicy, SourcePolicy};
use fleet::ports::{MetricQuery, Series};
use fleet::{FleetName, InstanceId, Region, Source};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most queries that one GetMetricData takes.
const QUERIES: usize = 500;
/// How far back CloudWatch is read: two five-minute points and their delay.
const CLOUDWATCH_BACK: Duration = Duration::from_secs(20 * 60);
/// How far back Prometheus is read.
const PROMETHEUS_BACK: Duration = Duration::from_secs(5 * 60);
/// The distance of points that Prometheus is asked for, and of the questions.
const PROMETHEUS_STEP: Duration = Duration::from_secs(30);

/// A Prometheus server's address, and the file that holds its token.
type Server = (String, Option<String>);

/// What is to be asked of the metrics services of one region.
#[derive(Default)]
struct Wants {
    cloudwatch: Vec<(MetricQuery, Wanted)>,
    prometheus: BTreeMap<Server, Vec<(PrometheusQuery, Wanted)>>,
}

impl Engine {
    /// Asks the metrics services about the fleets that no better source tells about: all of a region in one call.
    pub(crate) fn ask_metrics(&mut self, region: &Region, now: Now) {
        let Some(state) = self.regions.get(region) else { return };
        let again = |asked: Option<Duration>, every: Duration| {
            asked.is_none_or(|asked| now.monotonic + self.config.cycle / 10 >= asked + every)
        };
        let cloudwatch = again(state.cloudwatch_asked, self.config.metrics_every)
            && state.may("cloudwatch", now.monotonic);
        let prometheus = state.may("prometheus", now.monotonic);
        if !cloudwatch && !prometheus {
            return;
        }
        let mut wants = Wants::default();
        for name in &state.fleets {
            self.want(name, &mut wants, now);
        }
        wants.prometheus.retain(|(address, _), _| {
            prometheus && again(state.prometheus_asked.get(address).copied(), PROMETHEUS_STEP)
        });
        if cloudwatch && !wants.cloudwatch.is_empty() {
            self.read_cloudwatch(region, &wants.cloudwatch, now);
        }
        for ((address, token_file), queries) in wants.prometheus {
            self.read_prometheus(region, address, token_file, queries, now);
        }
    }

    /// What to ask about one fleet: of the sources in order, those before the first that tells.
    fn want(&self, name: &FleetName, wants: &mut Wants, now: Now) {
        let Some(held) = self.fleets.get(name) else { return };
        for source in &held.policy.sources {
            match source {
                SourcePolicy::Push => {}
                SourcePolicy::Cloudwatch(cloudwatch) => self.want_cloudwatch(name, cloudwatch, wants, now),
                SourcePolicy::Prometheus(PrometheusPolicy { address, query, token_file }) => {
                    let wanted = Wanted { fleet: name.clone(), of: WantedOf::Fleet(MeanOf::Serving) };
                    let server = (address.clone(), token_file.clone());
                    wants
                        .prometheus
                        .entry(server)
                        .or_default()
                        .push((PrometheusQuery(query.clone()), wanted));
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
        let mut want = |query, of| wants.cloudwatch.push((query, Wanted { fleet: name.clone(), of }));
        match &policy.metric {
            CloudwatchMetric::Fleet => want(MetricQuery::FleetCpu(fleet), WantedOf::Fleet(MeanOf::Running)),
            CloudwatchMetric::Instances => {
                for (id, _, _) in held.state.serving(now.wall) {
                    want(MetricQuery::InstanceCpu(id.clone()), WantedOf::Instance(id.clone()));
                }
            }
            CloudwatchMetric::Custom { namespace, metric, statistic, dimensions } => {
                let query = MetricQuery::Custom {
                    namespace: namespace.clone(),
                    metric: metric.clone(),
                    statistic: statistic.clone(),
                    dimensions: dimensions.clone().into_iter().collect(),
                };
                want(query, WantedOf::Fleet(MeanOf::Serving));
            }
        }
    }

    fn read_cloudwatch(&mut self, region: &Region, wants: &[(MetricQuery, Wanted)], now: Now) {
        if let Some(state) = self.regions.get_mut(region) {
            state.cloudwatch_asked = Some(now.monotonic);
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
            self.ask_for_series(region, Source::Cloudwatch, read, wanted, now);
        }
    }

    fn read_prometheus(
        &mut self,
        region: &Region,
        address: String,
        token_file: Option<String>,
        queries: Vec<(PrometheusQuery, Wanted)>,
        now: Now,
    ) {
        if let Some(state) = self.regions.get_mut(region) {
            state.prometheus_asked.insert(address.clone(), now.monotonic);
        }
        let (queries, wanted) = queries.into_iter().unzip();
        let read = MetricsRequest::Prometheus {
            address,
            token_file,
            queries,
            from: now.wall - PROMETHEUS_BACK,
            to: now.wall,
            step: PROMETHEUS_STEP,
        };
        self.ask_for_series(region, Source::Prometheus, read, wanted, now);
    }

    fn ask_for_series(
        &mut self,
        region: &Region,
        source: Source,
        read: MetricsRequest,
        wanted: Vec<Wanted>,
        now: Now,
    ) {
        let mut names: Vec<FleetName> = wanted.iter().map(|wanted| wanted.fleet.clone()).collect();
        names.dedup();
        self.ask(region, CallKind::Metrics { source, wanted }, Read::Metrics(read), &names, now);
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
