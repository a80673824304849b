//! Utilisation from CloudWatch.

use crate::action::Action;
use crate::client::InRegion;
use crate::errors;
use crate::governor::Toll;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy, StatusCode,
};
use fleet::ports::{MetricQuery, Series};
use fleet::{ApiError, ErrorClass, Timestamp, Utilization};
use std::collections::BTreeMap;
use std::time::Duration;

/// CloudWatch's limit of queries in one GetMetricData.
const QUERIES_AT_ONCE: usize = 500;
/// The datapoints of one page, and what we ask for at most in one call, so that an answer is one page and
/// small in memory.
const DATAPOINTS_AT_ONCE: u64 = 100_800;
/// Pages of one call; we ask for what fits in one.
const MAX_PAGES: u32 = 100;

/// How long CloudWatch keeps points of a period:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>. An hour is taken
/// off, so that a slow request does not reach over the edge.
const RETENTION: [(Duration, Duration); 3] = [
    (Duration::from_secs(60), Duration::from_secs(15 * 86_400 - 3600)),
    (Duration::from_secs(300), Duration::from_secs(63 * 86_400 - 3600)),
    (Duration::from_secs(3600), Duration::from_secs(455 * 86_400 - 3600)),
];

/// One series a query, in order.
pub(crate) async fn read(
    region: &InRegion,
    queries: &[MetricQuery],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Series>, ApiError> {
    let mut points: Vec<BTreeMap<Timestamp, f64>> = vec![BTreeMap::new(); queries.len()];
    let windows = windows(region.clock.wall(), from, to);
    for window in &windows {
        let each =
            usize::try_from((DATAPOINTS_AT_ONCE / window.points().max(1)).max(1)).unwrap_or(QUERIES_AT_ONCE);
        let each = each.min(QUERIES_AT_ONCE);
        for (queries, points) in queries.chunks(each).zip(points.chunks_mut(each)) {
            read_window(region, queries, window, points).await?;
        }
    }
    let finest = windows.iter().map(|window| window.period).min().unwrap_or_default();
    Ok(queries.iter().zip(points).map(|(query, points)| series(query, &points, finest)).collect())
}

/// A stretch of time that is asked for with one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: Timestamp,
    to: Timestamp,
    period: Duration,
    /// Whether CloudWatch counts it as recent: its rates differ.
    recent: bool,
}

impl Window {
    /// How many points of its period lie in it.
    fn points(&self) -> u64 {
        self.to.since(self.from).as_secs().div_ceil(self.period.as_secs())
    }
    /// What CloudWatch's quota counts: 180,000 points a second of the last three hours, 396,000 of older ones.
    fn toll(&self, queries: usize) -> Toll {
        let points = self.points().saturating_mul(u64::try_from(queries).unwrap_or(u64::MAX));
        let counted = if self.recent { points } else { points.saturating_mul(180) / 396 };
        Toll::Datapoints(u32::try_from(counted).unwrap_or(u32::MAX))
    }
}

/// Cuts a time into windows, oldest first: each of the finest period that CloudWatch still has, and of no more
/// points than one page takes.
fn windows(now: Timestamp, from: Timestamp, to: Timestamp) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut end = to;
    for (period, kept) in RETENTION {
        // On the edge of an hour, where points of every period begin.
        let edge = (now - kept).floor(Duration::from_secs(3600)) + Duration::from_secs(3600);
        let oldest = from.max(edge);
        let longest = period.saturating_mul(u32::try_from(DATAPOINTS_AT_ONCE).unwrap_or(u32::MAX));
        while end > oldest {
            let start = oldest.max(end - longest);
            let recent = now.since(start) <= Duration::from_secs(3 * 3600);
            windows.push(Window { from: start, to: end, period, recent });
            end = start;
        }
    }
    windows.reverse();
    windows
}

async fn read_window(
    region: &InRegion,
    queries: &[MetricQuery],
    window: &Window,
    points: &mut [BTreeMap<Timestamp, f64>],
) -> Result<(), ApiError> {
    let action = Action::GetMetricData;
    let asked: Vec<_> =
        queries.iter().enumerate().map(|(index, query)| ask(index, query, window.period)).collect();
    let mut token: Option<String> = None;
    let mut refused = 0;
    for _ in 0..MAX_PAGES {
        let send = || {
            let call = region.cloudwatch.get_metric_data().set_metric_data_queries(Some(asked.clone()));
            call.start_time(crate::words::datetime(window.from))
                .end_time(crate::words::datetime(window.to))
                .scan_by(ScanBy::TimestampAscending)
                .max_datapoints(i32::try_from(DATAPOINTS_AT_ONCE).unwrap_or(i32::MAX))
                .set_next_token(token.clone())
                .send()
        };
        // Only the first page costs datapoints: the others go on with what was read for it.
        let toll = if token.is_none() { window.toll(queries.len()) } else { Toll::None };
        let page = region.call(action, toll, send).await?;
        for result in page.metric_data_results() {
            refused += usize::from(result.status_code() == Some(&StatusCode::Forbidden));
            collect(result, points);
        }
        let next = page.next_token.filter(|next| !next.is_empty());
        if next.is_none() {
            if refused > 0 && refused >= queries.len() {
                return Err(errors::local(ErrorClass::Denied, action, "every query was refused"));
            }
            return Ok(());
        }
        if next == token {
            return Err(errors::local(ErrorClass::Malformed, action, "answered the same page token twice"));
        }
        token = next;
    }
    Err(errors::local(ErrorClass::Malformed, action, "pages without end"))
}

/// The query in CloudWatch's words. Its id is its place.
fn ask(index: usize, query: &MetricQuery, period: Duration) -> MetricDataQuery {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let cpu = |namespace: &str, name: &str, value: &str| {
        Metric::builder()
            .namespace(namespace)
            .metric_name("CPUUtilization")
            .dimensions(dimension(name, value))
    };
    let (metric, statistic) = match query {
        MetricQuery::FleetCpu(fleet) => (cpu("AWS/EC2Spot", "FleetRequestId", fleet.id.as_str()), "Average"),
        MetricQuery::InstanceCpu(instance) => (cpu("AWS/EC2", "InstanceId", instance.as_str()), "Average"),
        MetricQuery::Custom { namespace, metric, statistic, dimensions } => {
            let dimensions = dimensions.iter().map(|(name, value)| dimension(name, value)).collect();
            let metric = Metric::builder().namespace(namespace).metric_name(metric);
            (metric.set_dimensions(Some(dimensions)), statistic.as_str())
        }
    };
    let seconds = i32::try_from(period.as_secs()).unwrap_or(i32::MAX);
    let stat = MetricStat::builder().metric(metric.build()).period(seconds).stat(statistic).build();
    MetricDataQuery::builder().id(format!("m{index}")).metric_stat(stat).return_data(true).build()
}

/// Adds what a result holds to the points of its query; a point that comes twice counts once.
fn collect(result: &MetricDataResult, points: &mut [BTreeMap<Timestamp, f64>]) {
    let place = result.id().and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
    let Some(points) = place.and_then(|place| points.get_mut(place)) else { return };
    if let Some(status @ (StatusCode::Forbidden | StatusCode::InternalError)) = result.status_code() {
        tracing::debug!(status = status.as_str(), "metric not answered");
    }
    for (at, percent) in result.timestamps().iter().zip(result.values()) {
        // Not a number, infinite or negative: no measurement of a share.
        if percent.is_finite() && *percent >= 0.0 {
            points.insert(crate::words::time(Some(at)), *percent);
        }
    }
}

/// * `asked`: the finest period that was asked for.
fn series(query: &MetricQuery, points: &BTreeMap<Timestamp, f64>, asked: Duration) -> Series {
    let times: Vec<Timestamp> = points.keys().copied().collect();
    let points = points.iter().map(|(at, percent)| (*at, Utilization::new(percent / 100.0))).collect();
    let period = usual_distance(&times).map(|distance| match query {
        MetricQuery::Custom { .. } => distance,
        MetricQuery::FleetCpu(_) | MetricQuery::InstanceCpu(_) => ec2_period(distance).max(asked),
    });
    Series { period, points }
}

/// The distance that occurs most often, the shorter of two that occur as often: gaps only make some longer.
fn usual_distance(times: &[Timestamp]) -> Option<Duration> {
    let mut counts: BTreeMap<Duration, u32> = BTreeMap::new();
    for pair in times.windows(2) {
        *counts.entry(pair[1].since(pair[0])).or_default() += 1;
    }
    let longest = counts.values().max()?;
    counts.iter().find(|(_, count)| *count == longest).map(|(distance, _)| *distance)
}

/// EC2 measures every minute or every five; a series with more gaps than points looks longer than it is.
fn ec2_period(distance: Duration) -> Duration {
    Duration::from_secs(if distance < Duration::from_secs(300) { 60 } else { 300 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::InstanceId;

    const DAY: u64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn days(count: u64) -> Duration {
        Duration::from_secs(count * DAY)
    }

    fn result(points: &[(i64, f64)]) -> MetricDataResult {
        let builder = MetricDataResult::builder().id("m0");
        let time = |seconds: i64| crate::words::datetime(at(seconds));
        points
            .iter()
            .fold(builder, |builder, (seconds, value)| builder.timestamps(time(*seconds)).values(*value))
            .build()
    }

    fn read_back(points: &[(i64, f64)]) -> Series {
        let mut collected = vec![BTreeMap::new()];
        collect(&result(points), &mut collected);
        series(&MetricQuery::InstanceCpu(InstanceId::new("i-1")), &collected[0], Duration::from_secs(60))
    }

    #[test]
    fn what_is_no_share_is_dropped_and_the_rest_is_put_in_order() {
        let series = read_back(&[
            (180, 150.0),
            (60, 50.0),
            (120, f64::NAN),
            (60, 50.0),
            (240, -1.0),
            (300, f64::INFINITY),
        ]);
        assert_eq!(series.points, [(at(60), Utilization::new(0.5)), (at(180), Utilization::new(1.0))]);
    }

    #[test]
    fn the_real_period_is_told_by_the_distance_of_the_points() {
        let minutes: Vec<_> = (0..10).map(|minute| (minute * 60, 1.0)).collect();
        assert_eq!(read_back(&minutes).period, Some(Duration::from_secs(60)));
        let five: Vec<_> = [0, 300, 600, 1500, 1800].map(|seconds| (seconds, 1.0)).to_vec();
        assert_eq!(read_back(&five).period, Some(Duration::from_secs(300)));
        assert_eq!(read_back(&[(0, 1.0), (600, 1.0)]).period, Some(Duration::from_secs(300)));
        assert_eq!(read_back(&[(0, 1.0), (120, 1.0)]).period, Some(Duration::from_secs(60)));
        assert_eq!(read_back(&[(0, 1.0)]).period, None);
    }

    #[test]
    fn two_weeks_are_one_window_of_minutes() {
        let now = at(1_700_000_000);
        let windows = windows(now, now - days(14), now);
        assert_eq!(windows.len(), 1, "{windows:?}");
        assert_eq!((windows[0].period.as_secs(), windows[0].recent), (60, false));
        assert!((20_160..=20_161).contains(&windows[0].points()));
        // 500 queries of a quarter of an hour, in the last three hours.
        let recent = Window { from: now - Duration::from_secs(900), to: now, recent: true, ..windows[0] };
        assert_eq!(recent.toll(500), Toll::Datapoints(7500));
    }

    #[test]
    fn older_time_is_asked_for_in_the_period_that_is_still_kept() {
        let now = at(1_700_000_000);
        let cut = windows(now, now - days(500), now);
        let periods: Vec<_> = cut.iter().map(|window| window.period.as_secs()).collect();
        assert_eq!(periods, [3600, 300, 60]);
        for pair in cut.windows(2) {
            assert_eq!(pair[0].to, pair[1].from, "no gap and no overlap");
            assert_eq!(pair[0].to.secs() % 3600, 0);
        }
        let ages = cut.iter().map(|window| now.since(window.from).as_secs() / DAY).collect::<Vec<_>>();
        assert_eq!(ages, [454, 62, 14], "never older than CloudWatch keeps the period");
        assert!(windows(now, now, now).is_empty());
        assert!(windows(now, now, now - days(1)).is_empty());
    }

    #[test]
    fn a_window_never_asks_for_more_points_than_a_page_takes() {
        let now = at(1_700_000_000);
        for window in windows(now, now - days(455), now + days(200)) {
            assert!(window.points() <= DATAPOINTS_AT_ONCE, "{window:?}");
        }
    }
}
