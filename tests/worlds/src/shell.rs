//! What a shell does with calls: carries them to the world and brings the answers back.

use crate::harness::CALLER;
use autoscaler_engine::{Answer, MetricsRequest, NodesSeen, Read, Write};
use fleet::ports::{MetricQuery, Series};
use fleet::{ApiError, Backend, ErrorClass, FleetId, FleetRef, InstanceState, Timestamp, Utilization};
use fleet_sim::{Action, Metric, MetricPoints, ModifyFleet, World};
use std::time::Duration;

/// A question, and how long its answer takes.
pub fn read(world: &mut World, read: Read) -> (Answer, Duration) {
    match read {
        Read::Fleets { backends } => {
            let latency = world.latency(Action::DESCRIBE_SPOT_FLEET_REQUESTS);
            let found: Result<Vec<_>, ApiError> =
                backends.iter().map(|backend| world.describe_fleets(CALLER, *backend, &[])).collect();
            (Answer::Fleets(found.map(|found| found.into_iter().flatten().collect())), latency)
        }
        Read::Instances { fleets } => {
            let latency = world.latency(Action::DESCRIBE_INSTANCES);
            let mut shown = Vec::new();
            for backend in [Backend::SpotFleet, Backend::Ec2Fleet] {
                let ids: Vec<FleetId> =
                    fleets.iter().filter(|f| f.backend == backend).map(|f| f.id.clone()).collect();
                if ids.is_empty() {
                    continue;
                }
                match world.describe_instances(CALLER, &ids, &[]) {
                    Ok(found) => shown.extend(found),
                    Err(error) => return (Answer::Instances(Err(error)), latency),
                }
            }
            shown.retain(|instance| {
                instance.state != InstanceState::Terminated || instance.ended_by.is_some()
            });
            (Answer::Instances(Ok(shown)), latency)
        }
        Read::FleetInstances { fleet: FleetRef { backend, id } } => {
            let found = world.fleet_instances(CALLER, backend, &id);
            let listed = found.map(|found| found.into_iter().map(|i| (i.id, i.health)).collect());
            (Answer::FleetInstances(listed), Duration::ZERO)
        }
        Read::History { fleet: FleetRef { backend, id }, since } => {
            let found = world.history(CALLER, backend, &id, since);
            let events = found.map(|found| found.iter().map(fleet_sim::FleetRecord::to_event).collect());
            (Answer::History(events), Duration::ZERO)
        }
        Read::ScalableTargets { fleets } => {
            let found = world.scalable_targets(CALLER);
            let ours = found.map(|found| found.into_iter().filter(|fleet| fleets.contains(fleet)).collect());
            (Answer::ScalableTargets(ours), Duration::ZERO)
        }
        Read::Alarms { names } => {
            let found = world.alarms(CALLER, &names);
            let found = found.map(|found| found.into_iter().map(|(name, alarm)| alarm.view(name)).collect());
            (Answer::Alarms(found), Duration::ZERO)
        }
        Read::Marks => (Answer::Marks(world.marks(CALLER)), Duration::ZERO),
        Read::Prices { types } => (Answer::Prices(world.spot_prices(CALLER, &types)), Duration::ZERO),
        Read::Nodes { .. } => (Answer::Nodes(Ok(NodesSeen::default())), Duration::ZERO),
        Read::Ledgers { fleets } => {
            (Answer::Ledgers(Ok(fleets.iter().map(|_| Ok(None)).collect())), Duration::ZERO)
        }
        Read::Metrics(MetricsRequest::Cloudwatch { queries, from, to }) => {
            let latency = world.latency(Action::GET_METRIC_DATA);
            (Answer::Metrics(metrics(world, &queries, from, to)), latency)
        }
        Read::Metrics(MetricsRequest::Prometheus { queries, from, to, .. }) => {
            // A server whose expressions are ids of fleets.
            let known: Vec<FleetId> = world.fleets().into_iter().map(|fleet| fleet.id).collect();
            if !queries.iter().all(|query| known.contains(&FleetId::new(query.0.as_str()))) {
                let class = ErrorClass::Malformed;
                let error =
                    ApiError::new(class, "prometheus", "query_range", Some("bad_data"), "no expression");
                return (Answer::Metrics(Err(error)), Duration::ZERO);
            }
            let queries: Vec<Metric> =
                queries.iter().map(|query| Metric::FleetCpu(FleetId::new(query.0.as_str()))).collect();
            let found = queries.iter().map(|metric| series(world.metric(metric, from, to)));
            (Answer::Metrics(Ok(found.collect())), Duration::ZERO)
        }
    }
}

fn metrics(
    world: &mut World,
    queries: &[MetricQuery],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Series>, ApiError> {
    let metric_of = |query: &MetricQuery| match query {
        MetricQuery::FleetCpu(fleet) => Some(Metric::FleetCpu(fleet.id.clone())),
        MetricQuery::InstanceCpu(instance) => Some(Metric::InstanceCpu(instance.clone())),
        MetricQuery::Custom { metric, dimensions, .. } if metric == "FulfilledCapacity" => {
            dimensions.first().map(|(_, id)| Metric::FulfilledCapacity(FleetId::new(id.as_str())))
        }
        MetricQuery::Custom { .. } => None,
    };
    let wanted: Vec<Metric> = queries.iter().filter_map(metric_of).collect();
    if wanted.len() != queries.len() {
        return Err(ApiError::new(
            ErrorClass::Malformed,
            "cloudwatch",
            "GetMetricData",
            None,
            "no such metric",
        ));
    }
    let found = world.read_metrics(CALLER, &wanted, from, to)?;
    Ok(found.into_iter().map(series).collect())
}

fn series(points: MetricPoints) -> Series {
    let MetricPoints { period, points } = points;
    Series {
        period: (points.len() >= 2).then_some(period),
        points: points.into_iter().map(|(at, percent)| (at, Utilization::new(percent / 100.0))).collect(),
    }
}

/// A write, and how long its answer takes.
pub fn write(world: &mut World, write: Write) -> (Answer, Duration) {
    match write {
        Write::Modify { fleet: FleetRef { backend, id }, change } => {
            let done = world.modify_fleet(CALLER, backend, &id, ModifyFleet::from(change));
            (Answer::Modified(done), world.latency(Action::MODIFY_SPOT_FLEET_REQUEST))
        }
        Write::Terminate { fleet: _, instances } => {
            let ended = world.terminate_instances(CALLER, &instances);
            let ended = ended.map(|ended| ended.into_iter().map(|end| (end.instance, end.current)).collect());
            (Answer::Terminated(ended), world.latency(Action::TERMINATE_INSTANCES))
        }
        Write::Cordon(_) | Write::Drain { .. } | Write::Restore(_) | Write::ScaleGroup { .. } => {
            (Answer::Done(Ok(())), Duration::ZERO)
        }
    }
}
