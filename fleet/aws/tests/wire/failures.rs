//! Every way in which an answer can fail to come, and what is made of it.

use crate::stub::{Reply, Stub, clock, config, connect, drive};
use fleet::ports::{Change, Cloud as _};
use fleet::{ApiError, Backend, ErrorClass, FleetRef};
use fleet_aws::{Aws, AwsConfig, Endpoints};
use std::sync::Arc;
use std::time::Duration;

const EMPTY: &str = "<DescribeFleetsResponse><requestId>r</requestId><fleetSet/></DescribeFleetsResponse>";
const MODIFIED: &str = "<ModifySpotFleetRequestResponse><requestId>r</requestId><return>true</return></ModifySpotFleetRequestResponse>";

/// Little patience on the wire where silence is to come, so that the test ends soon.
fn patient_with(replies: &[Reply]) -> AwsConfig {
    let mut config = config("http://127.0.0.1:1");
    if replies.iter().any(|reply| matches!(reply, Reply::Silence)) {
        config.timeouts.read_attempt = Duration::from_secs(1);
        config.timeouts.write_attempt = Duration::from_secs(1);
    }
    config
}

/// What a read makes of these answers, and how many requests it took.
async fn read(replies: Vec<Reply>) -> (Result<usize, ApiError>, usize) {
    let mut config = patient_with(&replies);
    let stub = Stub::answering(replies).await;
    config.endpoints = Endpoints::all(&stub.url);
    let clock = clock();
    let aws = Aws::connect(config, Arc::new(clock.clone())).await;
    let outcome = drive(&clock, aws.describe_fleets(&[Backend::Ec2Fleet])).await;
    (outcome.map(|fleets| fleets.len()), stub.requests().len())
}

/// What a write makes of these answers, and how many requests it took.
async fn write(replies: Vec<Reply>) -> (Result<(), ApiError>, usize) {
    let mut config = patient_with(&replies);
    let stub = Stub::answering(replies).await;
    config.endpoints = Endpoints::all(&stub.url);
    let clock = clock();
    let aws = Aws::connect(config, Arc::new(clock.clone())).await;
    let fleet = FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() };
    let outcome = drive(&clock, aws.modify(&fleet, Change::of_target(5, 0))).await;
    (outcome, stub.requests().len())
}

fn lost_answers(whole: &str) -> Vec<(&'static str, Reply)> {
    vec![
        ("closed after the request", Reply::Closed),
        ("silence", Reply::Silence),
        ("a body cut in half", Reply::Cut(200, whole.as_bytes().to_vec())),
        ("half a document", Reply::xml(&whole[..whole.len() / 2])),
        ("not XML", Reply::xml("{\"surprise\": true}")),
        ("a bare 503", Reply::Whole(503, "content-type: text/html\r\n", b"<html>down</html>".to_vec())),
        ("an empty 500", Reply::Whole(500, "", Vec::new())),
        ("an internal error", Reply::ec2_error(500, "InternalError", "An internal error has occurred")),
        ("a service that is not there", Reply::ec2_error(503, "Unavailable", "The service is unavailable")),
    ]
}

#[tokio::test]
async fn a_read_whose_answer_was_lost_is_asked_again() {
    for (name, reply) in lost_answers(EMPTY) {
        let (outcome, requests) = read(vec![reply, Reply::xml(EMPTY)]).await;
        assert_eq!((outcome, requests), (Ok(0), 2), "{name}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_unclear_and_sent_once() {
    for (name, reply) in lost_answers(MODIFIED) {
        let (outcome, requests) = write(vec![reply, Reply::xml(MODIFIED)]).await;
        let error = outcome.expect_err(name);
        assert_eq!((error.class, requests), (ErrorClass::Unclear, 1), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_read_that_never_succeeds_ends_with_its_last_error() {
    let (outcome, requests) = read(vec![Reply::ec2_error(500, "InternalError", "no"); 20]).await;
    let error = outcome.expect_err("nothing but errors");
    assert_eq!((error.class, requests), (ErrorClass::Transient, 5));
}

#[tokio::test]
async fn what_was_refused_for_its_rate_is_sent_again_be_it_a_write() {
    let refused = || Reply::ec2_error(503, "RequestLimitExceeded", "Request limit exceeded.");
    let (outcome, requests) = read(vec![refused(), refused(), Reply::xml(EMPTY)]).await;
    assert_eq!((outcome, requests), (Ok(0), 3));
    let (outcome, requests) = write(vec![refused(), Reply::xml(MODIFIED)]).await;
    assert_eq!((outcome, requests), (Ok(()), 2));
}

#[tokio::test]
async fn a_no_is_final_and_keeps_what_support_asks_for() {
    for (status, code, class) in [
        (403, "UnauthorizedOperation", ErrorClass::Denied),
        (400, "InvalidSpotFleetRequestId.NotFound", ErrorClass::NotFound),
        (400, "FleetNotInModifiableState", ErrorClass::Conflict),
        (400, "InvalidParameterValue", ErrorClass::Malformed),
        (404, "SomethingNew", ErrorClass::Malformed),
    ] {
        let (outcome, requests) = write(vec![Reply::ec2_error(status, code, "EC2's own words")]).await;
        let error = outcome.expect_err(code);
        assert_eq!((error.class, requests), (class, 1), "{code}");
        assert_eq!(error.code.as_deref(), Some(code));
        assert_eq!(error.message, "EC2's own words");
        assert_eq!(error.request_id, Some(format!("req-{code}")));
        assert_eq!(error.to_string(), format!("ec2 ModifySpotFleetRequest answered {code}: EC2's own words"));
    }
    let (outcome, _) =
        read(vec![Reply::Whole(401, "content-type: text/html\r\n", b"who are you".to_vec())]).await;
    assert_eq!(outcome.expect_err("a proxy's no").class, ErrorClass::Denied);
    let (outcome, _) = read(vec![Reply::Whole(404, "", Vec::new())]).await;
    assert_eq!(outcome.expect_err("not EC2 at all").class, ErrorClass::Malformed);
}

#[tokio::test]
async fn a_server_s_wish_for_a_pause_is_granted() {
    let later = Reply::Whole(429, "retry-after: 9\r\n", Vec::new());
    let stub = Stub::answering([later, Reply::xml(EMPTY)]).await;
    let clock = clock();
    let aws = connect(&stub, &clock).await;
    let start = fleet::ports::Clock::monotonic(&clock);
    drive(&clock, aws.describe_fleets(&[Backend::Ec2Fleet])).await.expect("an answer after the pause");
    let took = fleet::ports::Clock::monotonic(&clock).checked_sub(start).unwrap();
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(11), "{took:?}");
}

#[tokio::test]
async fn a_write_that_met_nobody_is_not_unclear() {
    // A port that was free a moment ago, and a name that cannot be resolved.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("a bound port").port()
    };
    for url in [format!("http://127.0.0.1:{port}"), "http://nowhere.invalid".to_owned()] {
        let clock = clock();
        let aws = Aws::connect(config(&url), Arc::new(clock.clone())).await;
        let fleet = FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() };
        let modify = aws.modify(&fleet, Change::of_target(5, 0));
        let error = drive(&clock, modify).await.expect_err("nobody there");
        assert_eq!(error.class, ErrorClass::Transient, "{url}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_accepts_no_connection_in_time_met_nobody() {
    // A backlog of one that nobody empties: further connections stay half open.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("a bound port");
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream);
        assert!(queued.len() < 1000, "the queue never fills");
    }
    let mut config = config(&format!("http://{address}"));
    config.timeouts.connect = Duration::from_millis(50);
    let clock = clock();
    let aws = Aws::connect(config, Arc::new(clock.clone())).await;
    let fleet = FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() };
    let modify = aws.modify(&fleet, Change::of_target(5, 0));
    let error = drive(&clock, modify).await.expect_err("nobody there");
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}
