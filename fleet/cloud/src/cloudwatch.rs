//! CloudWatch: the fleets' and instances' metrics, in RPC v2 CBOR, JSON and Query alike.

use crate::alarms::describe_alarms;
use crate::service::Operation;
use crate::shared::{Context, Failure};
use crate::wire::{AwsError, Data, map};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet::{FleetId, InstanceId, Timestamp};
use fleet_sim::{Metric, MetricPoints};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_world("GetMetricData", get_metric_data),
    Operation::by_gate("GetMetricStatistics", get_metric_statistics),
    Operation::by_gate("ListMetrics", list_metrics),
    Operation::by_world("DescribeAlarms", describe_alarms),
];

const SPOT_FLEETS: &str = "AWS/EC2Spot";
const INSTANCES: &str = "AWS/EC2";

/// The most queries of a GetMetricData.
const MAX_QUERIES: usize = 500;
/// The most data points of a page of GetMetricData, and its default.
const MAX_POINTS: usize = 100_800;
/// The most data points of a GetMetricStatistics.
const MAX_STATISTICS: usize = 1440;
/// The most metrics of a page of ListMetrics.
const MAX_LISTED: usize = 500;

pub(crate) fn validation(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationError", message).with_query_code("ValidationError")
}

fn missing(name: &str) -> AwsError {
    AwsError::new(
        "com.amazonaws.cloudwatch#MissingRequiredParameterException",
        format!("The parameter {name} is required."),
    )
    .with_query_code("MissingParameter")
}

pub(crate) fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("com.amazonaws.cloudwatch#InvalidParameterValueException", message)
        .with_query_code("InvalidParameterValue")
}

/// The series that a namespace, a name and dimensions mean; `None` where there is no such series, which
/// CloudWatch does not call an error.
fn metric_of(metric: &Data) -> Result<Option<Metric>, AwsError> {
    let namespace = metric.get("Namespace").as_str().ok_or_else(|| missing("Namespace"))?;
    let name = metric.get("MetricName").as_str().ok_or_else(|| missing("MetricName"))?;
    let [dimension] = metric.get("Dimensions").items() else { return Ok(None) };
    let value = dimension.get("Value").as_str().unwrap_or_default();
    let fleet = || FleetId::from(value);
    Ok(match (namespace, name, dimension.get("Name").as_str().unwrap_or_default()) {
        (SPOT_FLEETS, "CPUUtilization", "FleetRequestId") => Some(Metric::FleetCpu(fleet())),
        (SPOT_FLEETS, "FulfilledCapacity", "FleetRequestId") => Some(Metric::FulfilledCapacity(fleet())),
        (SPOT_FLEETS, "TargetCapacity", "FleetRequestId") => Some(Metric::TargetCapacity(fleet())),
        (INSTANCES, "CPUUtilization", "InstanceId") => Some(Metric::InstanceCpu(InstanceId::from(value))),
        _ => None,
    })
}

/// How the points of a period become one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stat {
    Average,
    Minimum,
    Maximum,
    Sum,
    SampleCount,
    /// `p90`: 0..=100.
    Percentile(f64),
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Average" => Self::Average,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            "Sum" => Self::Sum,
            "SampleCount" => Self::SampleCount,
            _ => {
                let percent: f64 = text.strip_prefix('p')?.parse().ok()?;
                Self::Percentile((0.0..=100.0).contains(&percent).then_some(percent)?)
            }
        })
    }
    /// * `values`: at least one.
    fn of(self, values: &[f64]) -> f64 {
        let sum: f64 = values.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "a period has few points")]
        let count = values.len() as f64;
        match self {
            Self::Average => sum / count,
            Self::Sum => sum,
            Self::SampleCount => count,
            Self::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Percentile(percent) => {
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..len")]
                let rank = (percent / 100.0 * (count - 1.0)).round() as usize;
                sorted[rank.min(sorted.len() - 1)]
            }
        }
    }
}

/// The points of a series in periods of the length that was asked for, oldest first. A series whose own points
/// are further apart keeps its own distance, as on CloudWatch.
fn in_periods(series: &MetricPoints, period: Duration) -> BTreeMap<Timestamp, Vec<f64>> {
    let mut periods: BTreeMap<Timestamp, Vec<f64>> = BTreeMap::new();
    for (at, value) in &series.points {
        periods.entry(at.floor(period)).or_default().push(*value);
    }
    periods
}

/// The period that a request asks for: a multiple of 60 s here, as basic and detailed monitoring have it.
fn period_of(input: &Data) -> Result<Duration, AwsError> {
    let seconds = input.get("Period").as_u32().ok_or_else(|| missing("Period"))?;
    let legal = seconds > 0 && (seconds % 60 == 0 || [1, 5, 10, 20, 30].contains(&seconds));
    if !legal {
        return Err(invalid(format!(
            "The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, not {seconds}."
        )));
    }
    Ok(Duration::from_secs(seconds.into()))
}

fn range_of(input: &Data) -> Result<(Timestamp, Timestamp), AwsError> {
    let time = |name: &str| input.get(name).as_time().ok_or_else(|| missing(name));
    let (from, to) = (time("StartTime")?, time("EndTime")?);
    if from >= to {
        let message = "The parameter StartTime must be less than the parameter EndTime.";
        return Err(invalid(message));
    }
    Ok((from, to))
}

struct Query {
    id: String,
    label: String,
    metric: Option<Metric>,
    period: Duration,
    stat: Stat,
    shown: bool,
}

fn queries_of(input: &Data) -> Result<Vec<Query>, AwsError> {
    let given = input.get("MetricDataQueries").items();
    if given.is_empty() {
        return Err(missing("MetricDataQueries"));
    }
    if given.len() > MAX_QUERIES {
        let message =
            format!("The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}.");
        return Err(validation(message));
    }
    let mut ids = BTreeSet::new();
    given
        .iter()
        .map(|query| {
            let id = query.get("Id").as_str().ok_or_else(|| missing("MetricDataQueries.member.N.Id"))?;
            let first = id.chars().next().unwrap_or('_');
            if !first.is_ascii_lowercase() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(validation(format!("The value {id} for parameter MetricDataQueries.member.N.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.")));
            }
            if !ids.insert(id) {
                return Err(validation(format!("The value {id} for parameter Id is used more than once.")));
            }
            let stat = query.get("MetricStat");
            if stat.is_null() {
                return Err(validation("Only queries with a MetricStat are simulated, no expressions."));
            }
            let name = stat.get("Stat").as_str().ok_or_else(|| missing("Stat"))?;
            let metric = stat.get("Metric");
            let label = query.get("Label").as_str().or_else(|| metric.get("MetricName").as_str());
            Ok(Query {
                id: id.to_owned(),
                label: label.unwrap_or_default().to_owned(),
                metric: metric_of(metric)?,
                period: period_of(stat)?,
                stat: Stat::parse(name).ok_or_else(|| invalid(format!("The value {name} for parameter Stat is not supported.")))?,
                shown: query.get("ReturnData").as_bool().unwrap_or(true),
            })
        })
        .collect()
}

fn get_metric_data(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let queries = queries_of(input)?;
    let (from, to) = range_of(input)?;
    let ascending = match input.get("ScanBy").as_str() {
        None | Some("TimestampDescending") => false,
        Some("TimestampAscending") => true,
        Some(other) => return Err(validation(format!("{other} is not a value of ScanBy.")).into()),
    };
    let most = match input.get("MaxDatapoints") {
        Data::Null => MAX_POINTS,
        given => given
            .as_i64()
            .and_then(|most| usize::try_from(most).ok())
            .filter(|most| (1..=MAX_POINTS).contains(most))
            .ok_or_else(|| validation("MaxDatapoints must be from 1 to 100800."))?,
    };
    let skipped = match input.get("NextToken").as_str() {
        None => 0,
        Some(token) => read_token(token).ok_or_else(|| {
            AwsError::new("com.amazonaws.cloudwatch#InvalidNextToken", "The specified nextToken is invalid.")
                .with_query_code("InvalidNextToken")
        })?,
    };
    // The world is asked for all, so that a query of a series that is not there counts as one, too.
    let metrics: Vec<Metric> = queries.iter().filter_map(|query| query.metric.clone()).collect();
    let mut series = context.world().read_metrics(context.caller, &metrics, from, to)?.into_iter();

    let mut passed = 0;
    let mut results = Vec::new();
    let (start, end) = (skipped, skipped + most);
    for query in &queries {
        let points = query.metric.as_ref().and_then(|_| series.next()).unwrap_or_default();
        let mut points: Vec<(Timestamp, f64)> = in_periods(&points, query.period)
            .into_iter()
            .map(|(at, values)| (at, query.stat.of(&values)))
            .collect();
        if !ascending {
            points.reverse();
        }
        let (before, after) = (passed, passed + points.len());
        passed = after;
        let on_page = &points[start.clamp(before, after) - before..end.clamp(before, after) - before];
        if !query.shown {
            continue;
        }
        results.push(map([
            ("Id", query.id.as_str().into()),
            ("Label", query.label.as_str().into()),
            ("Timestamps", Data::list(on_page.iter().map(|(at, _)| *at))),
            ("Values", Data::list(on_page.iter().map(|(_, value)| *value))),
            ("StatusCode", if after > end { "PartialData" } else { "Complete" }.into()),
        ]));
    }
    let token = (passed > end).then(|| token_of(end));
    Ok(map([
        ("MetricDataResults", Data::List(results)),
        ("NextToken", token.into()),
        ("Messages", Data::List(vec![])),
    ]))
}

/// The token that says where a page ended.
pub(crate) fn token_of(end: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("points:{end}"))
}

pub(crate) fn read_token(token: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix("points:")?.parse().ok()
}

fn get_metric_statistics(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let metric = metric_of(input)?;
    let (from, to) = range_of(input)?;
    let period = period_of(input)?;
    let named = input.get("Statistics").texts();
    let extended = input.get("ExtendedStatistics").texts();
    if named.is_empty() && extended.is_empty() {
        let message = "At least one of the parameters Statistics and ExtendedStatistics must be specified.";
        return Err(AwsError::new("com.amazonaws.cloudwatch#InvalidParameterCombinationException", message)
            .with_query_code("InvalidParameterCombination")
            .into());
    }
    let parse = |names: &[&str]| -> Result<Vec<(String, Stat)>, AwsError> {
        let stat = |name: &&str| Some(((*name).to_owned(), Stat::parse(name)?));
        names
            .iter()
            .map(|name| stat(name).ok_or_else(|| invalid(format!("{name} is no statistic."))))
            .collect()
    };
    let (named, extended) = (parse(&named)?, parse(&extended)?);
    let asked = to.since(from).as_secs() / period.as_secs().max(1);
    if asked > u64::try_from(MAX_STATISTICS).unwrap_or(u64::MAX) {
        let message = format!(
            "You have requested up to {asked} datapoints, which exceeds the limit of {MAX_STATISTICS}."
        );
        return Err(AwsError::new("com.amazonaws.cloudwatch#InvalidParameterCombinationException", message)
            .with_query_code("InvalidParameterCombination")
            .into());
    }
    let series = match metric {
        None => MetricPoints::default(),
        Some(metric) => context.world().metric(&metric, from, to),
    };
    let points = in_periods(&series, period)
        .into_iter()
        .map(|(at, values)| {
            let of = |stats: &[(String, Stat)]| -> Vec<(String, Data)> {
                stats.iter().map(|(name, stat)| (name.clone(), stat.of(&values).into())).collect()
            };
            let mut point = vec![("Timestamp".to_owned(), at.into()), ("Unit".to_owned(), "Percent".into())];
            point.extend(of(&named));
            if !extended.is_empty() {
                point.push(("ExtendedStatistics".to_owned(), Data::Map(of(&extended))));
            }
            Data::Map(point)
        })
        .collect();
    let label = input.get("MetricName").as_str().unwrap_or_default();
    Ok(map([("Label", label.into()), ("Datapoints", Data::List(points))]))
}

#[expect(clippy::unnecessary_wraps, reason = "one of a table of operations, most of which can fail")]
fn list_metrics(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let mut all = Vec::new();
    {
        let world = context.world();
        for fleet in world.fleets() {
            for name in ["CPUUtilization", "FulfilledCapacity", "TargetCapacity"] {
                all.push((SPOT_FLEETS, name, "FleetRequestId", fleet.id.to_string()));
            }
        }
        for instance in world.shown_instances() {
            all.push((INSTANCES, "CPUUtilization", "InstanceId", instance.id.to_string()));
        }
    }
    let same = |wanted: &Data, value: &str| wanted.as_str().is_none_or(|wanted| wanted == value);
    all.retain(|(namespace, name, dimension, value)| {
        same(input.get("Namespace"), namespace)
            && same(input.get("MetricName"), name)
            && input.get("Dimensions").items().iter().all(|wanted| {
                wanted.get("Name").as_str() == Some(dimension) && same(wanted.get("Value"), value)
            })
    });
    let skipped = input.get("NextToken").as_str().and_then(read_token).unwrap_or(0);
    let more = all.len() > skipped.saturating_add(MAX_LISTED);
    let page = all.into_iter().skip(skipped).take(MAX_LISTED).map(|(namespace, name, dimension, value)| {
        let dimensions = vec![map([("Name", dimension.into()), ("Value", value.into())])];
        map([
            ("Namespace", namespace.into()),
            ("MetricName", name.into()),
            ("Dimensions", Data::List(dimensions)),
        ])
    });
    let token = more.then(|| token_of(skipped + MAX_LISTED));
    Ok(map([("Metrics", Data::List(page.collect())), ("NextToken", token.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_periods_are_made_of_shorter_ones_and_never_the_other_way_round() {
        let at = Timestamp::from_secs;
        let minutes = |step: i64| MetricPoints {
            period: Duration::from_secs(60),
            points: (0..5).zip([10.0, 20.0, 30.0, 40.0, 90.0]).map(|(n, v)| (at(n * step), v)).collect(),
        };
        let five = in_periods(&minutes(60), Duration::from_secs(300));
        assert_eq!(five.len(), 1);
        let values = &five[&at(0)];
        for (stat, expected) in [
            (Stat::Average, 38.0),
            (Stat::Sum, 190.0),
            (Stat::Minimum, 10.0),
            (Stat::Maximum, 90.0),
            (Stat::SampleCount, 5.0),
            (Stat::Percentile(50.0), 30.0),
            (Stat::Percentile(99.9), 90.0),
        ] {
            assert_eq!(stat.of(values), expected, "{stat:?}");
        }
        let sparse = in_periods(&minutes(300), Duration::from_secs(60));
        assert_eq!(
            sparse.keys().copied().collect::<Vec<_>>(),
            (0..5).map(|n| at(n * 300)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn odd_queries_are_refused_in_cloudwatchs_words() {
        let query = |id: &str| map([("Id", id.into()), ("MetricStat", map([("Period", 60i64.into())]))]);
        let many = (0..501).map(|n| query(&format!("m{n}"))).collect();
        for (queries, code) in [
            (vec![], "com.amazonaws.cloudwatch#MissingRequiredParameterException"),
            (many, "ValidationError"),
            (vec![query("M")], "ValidationError"),
            (vec![map([("Id", "e".into()), ("Expression", "SUM(METRICS())".into())])], "ValidationError"),
        ] {
            let input = map([("MetricDataQueries", Data::List(queries))]);
            assert_eq!(queries_of(&input).err().map(|error| error.code).as_deref(), Some(code));
        }
        assert_eq!(Stat::parse("p101"), None);
        assert_eq!(Stat::parse("tm99"), None);
    }
}
