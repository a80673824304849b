//! CloudWatch's protocol (Smithy RPC v2, CBOR).

use crate::stub::{Reply, Stub, clock, connect, drive};
use ciborium::value::Value;
use fleet::ports::{Clock as _, MetricQuery, Metrics as _};
use fleet::{AlarmState, AlarmView, Backend, FleetRef, Timestamp, Utilization};
use std::time::Duration;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(name, value)| (text(name), value)).collect())
}

fn result(id: &str, status: &str, points: &[(i64, f64)]) -> Value {
    let time = |seconds: i64| Value::Tag(1, Box::new(Value::Integer(seconds.into())));
    map(vec![
        ("Id", text(id)),
        ("Label", text("CPUUtilization")),
        ("StatusCode", text(status)),
        ("Timestamps", Value::Array(points.iter().map(|(seconds, _)| time(*seconds)).collect())),
        ("Values", Value::Array(points.iter().map(|(_, value)| Value::Float(*value)).collect())),
    ])
}

fn page(results: Vec<Value>, next: Option<&str>) -> Reply {
    let mut entries =
        vec![("MetricDataResults", Value::Array(results)), ("Messages", Value::Array(Vec::new()))];
    entries.extend(next.map(|next| ("NextToken", text(next))));
    cbor(200, &map(entries))
}

fn cbor(status: u16, value: &Value) -> Reply {
    let mut body = Vec::new();
    ciborium::into_writer(value, &mut body).expect("a vector takes everything");
    Reply::Whole(
        status,
        "content-type: application/cbor\r\nsmithy-protocol: rpc-v2-cbor\r\nx-amzn-requestid: req-1\r\n",
        body,
    )
}

fn fleet_cpu(id: &str) -> MetricQuery {
    MetricQuery::FleetCpu(FleetRef { backend: Backend::SpotFleet, id: id.into() })
}

fn now() -> Timestamp {
    clock().wall()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let entries = value.as_map().expect("a map");
    entries.iter().find(|(key, _)| key.as_text() == Some(name)).map_or(&Value::Null, |(_, value)| value)
}

#[tokio::test]
async fn one_call_answers_all_queries_over_all_pages_in_their_order() {
    let start = now().secs() - 900;
    let minute = |count: i64| start + count * 60;
    let stub = Stub::answering([
        page(
            vec![
                result("m1", "Complete", &[(minute(0), 12.5), (minute(5), 25.0), (minute(10), 150.0)]),
                result("m0", "PartialData", &[(minute(0), 50.0), (minute(2), 60.0)]),
                result("m9", "Complete", &[(minute(0), 1.0)]),
            ],
            Some("page-2"),
        ),
        page(
            vec![result("m0", "Complete", &[(minute(1), 55.0), (minute(2), 60.0), (minute(3), f64::NAN)])],
            None,
        ),
    ])
    .await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let queries = [
        fleet_cpu("sfr-1"),
        MetricQuery::InstanceCpu("i-1".into()),
        MetricQuery::Custom {
            namespace: "Mine".into(),
            metric: "Busy".into(),
            statistic: "p90".into(),
            dimensions: vec![("Service".into(), "web".into())],
        },
    ];
    let from = now() - Duration::from_secs(900);
    let series = drive(&clock, aws.read(&queries, from, now())).await.expect("a readable answer");
    let [fleet, instance, custom] = &series[..] else { panic!("{series:#?}") };
    let at = |count: i64, share: f64| (Timestamp::from_secs(minute(count)), Utilization::new(share));
    assert_eq!(fleet.points, [at(0, 0.5), at(1, 0.55), at(2, 0.6)]);
    assert_eq!(fleet.period, Some(Duration::from_secs(60)));
    assert_eq!(instance.points, [at(0, 0.125), at(5, 0.25), at(10, 1.0)]);
    assert_eq!(instance.period, Some(Duration::from_secs(300)), "without detailed monitoring");
    assert_eq!((custom.period, custom.points.len()), (None, 0));

    let requests = stub.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].path, "/service/GraniteServiceVersion20100801/operation/GetMetricData");
    let asked: Value = ciborium::from_reader(&requests[0].body[..]).expect("CBOR");
    let queries = field(&asked, "MetricDataQueries").as_array().expect("a list");
    let metric = |index: usize| field(field(&queries[index], "MetricStat"), "Metric");
    assert_eq!(field(metric(0), "Namespace"), &text("AWS/EC2Spot"));
    assert_eq!(field(metric(1), "Namespace"), &text("AWS/EC2"));
    assert_eq!(field(metric(2), "Namespace"), &text("Mine"));
    assert_eq!(field(field(&queries[2], "MetricStat"), "Stat"), &text("p90"));
    assert_eq!(field(field(&queries[0], "MetricStat"), "Period"), &Value::Integer(60.into()));
    let again: Value = ciborium::from_reader(&requests[1].body[..]).expect("CBOR");
    assert_eq!(field(&again, "NextToken"), &text("page-2"));
}

#[tokio::test]
async fn two_weeks_of_many_fleets_are_asked_for_in_answers_of_one_page() {
    let replies = (0..4).map(|_| page(Vec::new(), None));
    let stub = Stub::answering(replies).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let queries: Vec<MetricQuery> = (0..12).map(|index| fleet_cpu(&format!("sfr-{index}"))).collect();
    let from = now() - Duration::from_secs(14 * 86_400);
    let series = drive(&clock, aws.read(&queries, from, now())).await.expect("a readable answer");
    assert_eq!(series.len(), 12);
    let asked = |request: &crate::stub::Request| {
        let value: Value = ciborium::from_reader(&request.body[..]).expect("CBOR");
        field(&value, "MetricDataQueries").as_array().expect("a list").len()
    };
    // 20,160 minutes each: five fit into a page of 100,800 points.
    assert_eq!(stub.requests().iter().map(asked).collect::<Vec<_>>(), [5, 5, 2]);
}

#[tokio::test]
async fn a_metric_that_may_not_be_read_is_empty_and_all_of_them_are_an_error() {
    let refused = |id| result(id, "Forbidden", &[]);
    let fine = result("m1", "Complete", &[(now().secs() - 60, 10.0)]);
    let stub = Stub::answering([
        page(vec![refused("m0"), fine], None),
        page(vec![refused("m0"), refused("m1")], None),
    ])
    .await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let queries = [fleet_cpu("sfr-1"), fleet_cpu("sfr-2")];
    let from = now() - Duration::from_secs(300);
    let series = drive(&clock, aws.read(&queries, from, now())).await.expect("one of two");
    assert_eq!(series.iter().map(|series| series.points.len()).collect::<Vec<_>>(), [0, 1]);
    let error = drive(&clock, aws.read(&queries, from, now())).await.expect_err("none of two");
    assert_eq!(error.class.label(), "denied");
}

#[tokio::test]
async fn cloudwatch_s_errors_have_classes_and_request_ids_too() {
    let error = |kind: &str| map(vec![("__type", text(kind)), ("message", text("in its words"))]);
    let stub = Stub::answering([
        cbor(400, &error("com.amazonaws.cloudwatch#ThrottlingException")),
        cbor(400, &error("com.amazonaws.cloudwatch#InvalidNextToken")),
        cbor(403, &error("com.amazonaws.cloudwatch#AccessDeniedException")),
        Reply::Whole(404, "content-type: text/html\r\n", b"<html>not CloudWatch</html>".to_vec()),
    ])
    .await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let queries = [fleet_cpu("sfr-1")];
    let from = now() - Duration::from_secs(300);
    let mut classes = Vec::new();
    for _ in 0..3 {
        let error = drive(&clock, aws.read(&queries, from, now())).await.expect_err("an error");
        classes.push((error.class.label(), error.request_id));
    }
    let id = || Some("req-1".to_owned());
    assert_eq!(classes, [("malformed", id()), ("denied", id()), ("malformed", None)]);
    assert_eq!(stub.requests().len(), 4, "the first was repeated");
}

#[tokio::test]
async fn no_time_and_no_queries_cost_no_call() {
    let stub = Stub::answering([]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    assert_eq!(drive(&clock, aws.read(&[], now() - Duration::from_secs(60), now())).await, Ok(Vec::new()));
    let series = drive(&clock, aws.read(&[fleet_cpu("sfr-1")], now(), now())).await.expect("nothing to ask");
    assert_eq!(series.len(), 1);
    assert!(stub.requests().is_empty());
}

fn alarm(name: &str, state: &str) -> Value {
    map(vec![
        ("AlarmName", text(name)),
        ("AlarmArn", text(&format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}"))),
        ("StateValue", text(state)),
        (
            "StateReason",
            text("Threshold Crossed: 1 out of the last 1 datapoints [9.0] was greater than 5.0."),
        ),
        ("StateUpdatedTimestamp", Value::Tag(1, Box::new(Value::Float(1_772_366_500.25)))),
        ("StateTransitionedTimestamp", Value::Tag(1, Box::new(Value::Float(1_772_366_400.5)))),
    ])
}

fn alarms(of_metrics: Vec<Value>, composite: Vec<Value>, next: Option<&str>) -> Reply {
    let mut entries =
        vec![("MetricAlarms", Value::Array(of_metrics)), ("CompositeAlarms", Value::Array(composite))];
    entries.extend(next.map(|next| ("NextToken", text(next))));
    cbor(200, &map(entries))
}

#[tokio::test]
async fn alarms_are_asked_for_by_name_a_hundred_at_once_and_of_both_kinds() {
    let stub = Stub::answering([
        alarms(vec![alarm("web-5xx", "OK")], vec![], Some("page-2")),
        alarms(vec![alarm("n-7", "INSUFFICIENT_DATA")], vec![alarm("web", "ALARM")], None),
        alarms(vec![], vec![], None),
    ])
    .await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let mut names: Vec<String> = (0..99).map(|number| format!("n-{number}")).collect();
    names.extend(["web-5xx".to_owned(), "web".to_owned()]);
    let found = drive(&clock, aws.alarms(&names)).await.expect("a readable answer");
    let since = Some(Timestamp::from_millis(1_772_366_400_500));
    let view = |name: &str, state| AlarmView { name: name.to_owned(), state, since };
    assert_eq!(
        found,
        [
            view("web-5xx", AlarmState::Ok),
            view("n-7", AlarmState::InsufficientData),
            view("web", AlarmState::Alarm)
        ]
    );
    let requests = stub.requests();
    assert_eq!(requests[0].path, "/service/GraniteServiceVersion20100801/operation/DescribeAlarms");
    let asked: Vec<Value> =
        requests.iter().map(|request| ciborium::from_reader(&request.body[..]).expect("CBOR")).collect();
    let count = |asked: &Value| field(asked, "AlarmNames").as_array().expect("a list").len();
    assert_eq!(asked.iter().map(count).collect::<Vec<_>>(), [100, 100, 1]);
    let both = Value::Array(vec![text("MetricAlarm"), text("CompositeAlarm")]);
    assert_eq!(field(&asked[0], "AlarmTypes"), &both, "composite ones are left out otherwise");
    assert_eq!(field(&asked[0], "MaxRecords"), &Value::Integer(100.into()));
    assert_eq!(field(&asked[1], "NextToken"), &text("page-2"));
}

#[tokio::test]
async fn an_alarm_in_a_state_that_nobody_knows_is_no_answer() {
    let stub = Stub::answering([alarms(vec![alarm("web", "FINE")], vec![], None)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let error = drive(&clock, aws.alarms(&["web".to_owned()])).await.expect_err("it is not known");
    assert_eq!(error.class.label(), "malformed");
    assert!(error.to_string().contains("alarm web is in a state that is not known"), "{error}");
}
