//! The Prometheus source against answers recorded from Prometheus 2.42, played back by a local listener.
//! `tests/tests/prometheus.rs` asks a real server.

use autoscaler::prometheus::{Options, Prometheus};
use fleet::ports::Series;
use fleet::{ApiError, ErrorClass, Timestamp};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

const QUERY: &str = "100 * avg(1 - rate(node_cpu_seconds_total{mode=\"idle\"}[1m]))";
const STEP: Duration = Duration::from_secs(10);
const FROM: Timestamp = Timestamp::from_secs(1_795_360_300);
const TO: Timestamp = Timestamp::from_secs(1_795_360_320);

/// A listener that gives these answers, one a connection, and tells what it was asked.
fn server(answers: Vec<Vec<u8>>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("a bound listener"));
    let (heard, hears) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            // Nobody listens any more once the test has seen enough.
            let _ = heard.send(head.join("\n"));
            let _ = stream.write_all(&answer);
        }
    });
    (address, hears)
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

fn matrix(values: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":[{values}]}}]}}}}"#
    );
    answer("200 OK", "Content-Type: application/json\r\n", &body)
}

fn source(address: String) -> Prometheus {
    Prometheus::new(Options { address, token_file: None }).expect("a source")
}

async fn read(answer: Vec<u8>) -> Result<Series, ApiError> {
    let (address, _heard) = server(vec![answer]);
    source(address).query_range(QUERY, FROM, TO, STEP).await
}

#[tokio::test]
async fn points_carry_the_start_of_their_period_and_what_is_no_number_is_dropped() {
    let values = r#"[1795360310,"50"],[1795360320,"NaN"],[1795360330,"+Inf"],[1795360340.5,"102.4"],
        [1795360340.5,"10"],[1795360300,"-0.001"]"#;
    let series = read(matrix(values)).await.expect("a series");
    let shown: Vec<_> = series.points.iter().map(|(at, share)| (at.millis(), share.get())).collect();
    assert_eq!(
        shown,
        [(1_795_360_290_000, 0.0), (1_795_360_300_000, 0.5), (1_795_360_330_500, 1.0)],
        "oldest first, without duplicates, 0..=1"
    );
    assert_eq!(series.period, Some(STEP));
}

#[tokio::test]
async fn a_server_that_has_nothing_gives_an_empty_series() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    let series = read(answer("200 OK", "", body)).await.expect("a series");
    assert_eq!(series, Series { period: None, points: Vec::new() });
}

#[tokio::test]
async fn the_request_is_what_prometheus_reads() {
    let directory = tempfile::tempdir().expect("a directory");
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "first\n").expect("a token file");
    let (address, heard) = server(vec![matrix(""), matrix("")]);
    let options = Options { address: format!("{address}/prom/"), token_file: Some(token_file.clone()) };
    let source = Prometheus::new(options).expect("a source");

    source.query_range(QUERY, FROM, TO, STEP).await.expect("a series");
    let first = heard.recv().expect("a request");
    assert!(
        first.starts_with("GET /prom/api/v1/query_range?query=100+*+avg%281+-+rate%28node_cpu"),
        "{first}"
    );
    assert!(first.contains("&start=1795360300.000&end=1795360320.000&step=10000ms&timeout=8s "), "{first}");
    assert!(first.contains("authorization: Bearer first"), "{first}");

    std::fs::write(&token_file, "second").expect("a rotated token");
    source.query_range(QUERY, FROM, TO, STEP).await.expect("a series");
    assert!(heard.recv().expect("a request").contains("authorization: Bearer second"));

    std::fs::remove_file(&token_file).expect("no token any more");
    let error = source.query_range(QUERY, FROM, TO, STEP).await.expect_err("no token");
    assert_eq!(error.class, ErrorClass::Denied);
}

#[tokio::test]
async fn a_long_range_is_asked_for_in_pieces() {
    let (address, heard) = server(vec![matrix(r#"[1000,"10"]"#), matrix(r#"[101000,"20"]"#)]);
    let (from, to) = (Timestamp::EPOCH, Timestamp::from_secs(150_000));
    let series = source(address).query_range(QUERY, from, to, STEP).await.expect("a series");
    assert_eq!(series.points.len(), 2);
    assert!(heard.recv().expect("a request").contains("&start=0.000&end=99990.000&"));
    assert!(heard.recv().expect("a request").contains("&start=100000.000&end=150000.000&"));
}

#[tokio::test]
async fn refusals_are_told_apart_by_class() {
    use ErrorClass::{Denied, Malformed, NotFound, Throttled, Transient};
    let bad_data =
        r#"{"status":"error","errorType":"bad_data","error":"1:5: parse error: unclosed left parenthesis"}"#;
    let execution =
        r#"{"status":"error","errorType":"execution","error":"many-to-many matching not allowed"}"#;
    let timeout =
        r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    let later = Throttled { retry_after: Some(Duration::from_secs(7)) };
    for (status, headers, body, class, says) in [
        ("400 Bad Request", "", bad_data, Malformed, "answered bad_data: 1:5: parse error"),
        ("422 Unprocessable Entity", "", execution, Malformed, "answered execution: many-to-many"),
        ("503 Service Unavailable", "", timeout, Transient, "answered timeout: query timed out"),
        ("404 Not Found", "", "404 page not found\n", NotFound, "answered 404: 404 page not found"),
        ("401 Unauthorized", "", "Unauthorized\n", Denied, "answered 401: Unauthorized"),
        ("403 Forbidden", "", "", Denied, "answered 403"),
        ("429 Too Many Requests", "Retry-After: 7\r\n", "", later, "answered 429"),
        ("500 Internal Server Error", "", "<html>oops</html>", Transient, "answered 500: <html>"),
        ("302 Found", "Location: http://127.0.0.1:9/\r\n", "", Malformed, "answered 302"),
    ] {
        let error = read(answer(status, headers, body)).await.expect_err(status);
        assert_eq!(error.class, class, "{status}");
        assert!(error.to_string().contains(says), "{status}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_one_series_in_percent_is_malformed() {
    let two = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"i":"1"},
        "values":[[1,"0.1"]]},{"metric":{"i":"2"},"values":[[1,"0.1"]]}]}}"#;
    let scalar = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    for (answer, says) in [
        (matrix(r#"[1795360310,"6320"]"#), "gives 6320, it must give percent"),
        (matrix(r#"[1795360310,"0.632"],[1795360320,"0"]"#), "put 100 * before it"),
        (matrix(r#"[1795360310,"much"]"#), "\"much\" is not a number"),
        (matrix(r"[1795360310,0.5]"), "invalid type"),
        (answer("200 OK", "", two), "gives 2 series, it must give one"),
        (answer("200 OK", "", scalar), "a vector, not a matrix"),
        (answer("200 OK", "", r#"{"status":"success"}"#), "no data"),
        (answer("200 OK", "", "<html>"), "expected value"),
        (answer("200 OK", "", &" ".repeat(2_000_000)), "larger than"),
    ] {
        let error = read(answer).await.expect_err(says);
        assert_eq!(error.class, ErrorClass::Malformed, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_fails_is_transient_and_names_no_password() {
    let whole = matrix(r#"[1795360310,"0.5"]"#);
    let cut = whole[..whole.len() - 5].to_vec();
    let error = read(cut).await.expect_err("half an answer");
    assert_eq!(error.class, ErrorClass::Transient, "{error}");

    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let source = source(format!("http://user:secret@{free}"));
    let error = source.query_range(QUERY, FROM, TO, STEP).await.expect_err("nobody listens");
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.message.contains("refused"), "{error}");
    assert!(!error.message.contains("secret"), "{error}");
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    for address in ["prometheus:9090", "ftp://prometheus", "", "http://"] {
        let error =
            Prometheus::new(Options { address: address.into(), token_file: None }).expect_err(address);
        assert_eq!(error.class, ErrorClass::Malformed);
    }
}
