//! The Prometheus source against a real Prometheus, which in its turn scrapes what the daemon shows: both ends of
//! the trade.

use autoscaler::metrics::Metrics;
use autoscaler::prometheus::{Options, Prometheus};
use autoscaler_core::{Plan, Report};
use autoscaler_engine::{Decided, EngineMetrics, FleetStatus, Status};
use fleet::ports::{Clock, Series};
use fleet::{ApiError, Backend, ErrorClass, FleetSelector, Timestamp, Utilization};
use fleet_clock::SystemClock;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tests::programs::{Running, on_path};

const STEP: Duration = Duration::from_secs(1);

/// A Prometheus that scrapes a daemon's metrics and itself, once a second.
struct Server {
    address: String,
    _process: Running,
    _directory: TempDir,
}

impl Server {
    fn start() -> Self {
        let program = on_path("prometheus", "apt-get install prometheus");
        let directory = tempfile::tempdir().expect("a directory");
        // The port is free now; whoever takes it in between makes the start fail loudly.
        let own =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let configuration = configuration(own, daemon());
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, configuration).expect("a configuration");
        let mut process = Running::start(&mut command(&program, &file, directory.path(), own));
        process.wait_for("the server to be ready", |line| {
            line.contains("ready to receive web requests").then_some(())
        });
        Self { address: format!("http://{own}"), _process: process, _directory: directory }
    }

    async fn read(&self, query: &str) -> Result<Series, ApiError> {
        let options = Options { address: self.address.clone(), token_file: None };
        let now = SystemClock::new().wall();
        Prometheus::new(options)?.query_range(query, now - Duration::from_secs(60), now, STEP).await
    }

    /// Asks until there is something.
    async fn read_some(&self, query: &str) -> Series {
        let mut interval = tokio::time::interval(Duration::from_millis(250));
        let something = async {
            loop {
                interval.tick().await;
                let series = self.read(query).await.expect("an answer");
                if series.points.len() > 1 {
                    return series;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), something)
            .await
            .expect("Prometheus scrapes once a second")
    }
}

fn configuration(own: SocketAddr, daemon: SocketAddr) -> String {
    format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n\
         - {{ job_name: self, static_configs: [{{ targets: ['{own}'] }}] }}\n\
         - {{ job_name: muster, static_configs: [{{ targets: ['{daemon}'] }}] }}\n"
    )
}

fn command(program: &Path, file: &Path, directory: &Path, own: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address={own}"));
    command
}

/// Shows the metrics of a daemon that holds one fleet at 63 %, to whoever asks.
fn daemon() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    let body = Metrics::new().render(status(), EngineMetrics::default());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                autoscaler::metrics::CONTENT_TYPE,
                body.len()
            );
            // One read is enough of a request that nobody looks at. Who went away is not missed.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    address
}

fn status() -> Status {
    let at = Timestamp::from_secs(1_800_000_000);
    let report = Report { utilization: Some(Utilization::new(0.63)), ..Report::default() };
    let selector = FleetSelector::Id("sfr-1".into());
    let web = FleetStatus {
        target: Some(4),
        decided: Some(Decided { at, plan: Plan::default(), withheld: None, report }),
        ..FleetStatus::unseen("web".into(), Backend::SpotFleet, selector)
    };
    Status { fleets: vec![web], ..Status::empty(at) }
}

#[tokio::test]
async fn what_the_daemon_shows_comes_back_as_utilisation() {
    let server = Server::start();
    let series = server.read_some("100 * muster_fleet_utilization_ratio{fleet=\"web\"}").await;
    assert!(series.points.iter().all(|(_, share)| share.get() == 0.63), "{series:?}");
    assert_eq!(series.period, Some(STEP));
    let gaps: Vec<_> = series.points.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
    assert!(gaps.iter().all(|gap| *gap == STEP), "{gaps:?}");
    let now = SystemClock::new().wall();
    let newest = series.points.last().expect("some points").0;
    assert!(now.since(newest) < Duration::from_secs(30), "{newest} at {now}");
}

#[tokio::test]
async fn prometheus_understands_every_metric() {
    let server = Server::start();
    server.read_some("100 * up{job=\"muster\"}").await;
    let typed = server.read_some("2 * count(scrape_samples_scraped{job=\"muster\"} > 20)").await;
    assert!(!typed.points.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_empty_and_what_is_no_number_is_dropped() {
    let server = Server::start();
    for query in ["nothing_of_that_name", "vector(0) / 0", "vector(1) / 0"] {
        let series = server.read(query).await.expect(query);
        assert_eq!(series.points, [], "{query}");
    }
    let series =
        server.read("vector(100) / (1 - (time() % 2))").await.expect("every other point is a number");
    assert!(!series.points.is_empty());
    assert!(series.points.iter().all(|(_, share)| share.get() == 1.0), "{series:?}");
}

#[tokio::test]
async fn queries_that_cannot_be_used_say_why() {
    let server = Server::start();
    server.read_some("100 * up{job=\"self\"}").await;
    for (query, says) in [
        ("avg(", "unclosed left parenthesis"),
        ("100 * scrape_samples_scraped", "it must give one"),
        ("vector(0.5)", "put 100 * before it"),
        ("vector(12345)", "it must give percent"),
        ("up * on(nothing) up", "many-to-many"),
    ] {
        let error = server.read(query).await.expect_err(query);
        assert_eq!(error.class, ErrorClass::Malformed, "{error}");
        assert!(error.to_string().contains(says), "{query}: {error}");
    }
}

#[tokio::test]
async fn two_weeks_of_minutes_come_in_pieces_that_prometheus_allows() {
    let server = Server::start();
    let options = Options { address: server.address.clone(), token_file: None };
    let source = Prometheus::new(options).expect("a source");
    let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
    let now = SystemClock::new().wall();
    let series = source.query_range("vector(75)", now - day * 14, now, minute).await.expect("a series");
    assert!((20_160..=20_161).contains(&series.points.len()), "{} points", series.points.len());
    assert!(series.points.windows(2).all(|pair| pair[1].0.since(pair[0].0) == minute));
}

#[test]
fn the_rules_that_are_shipped_ring_for_what_they_are_about_and_for_nothing_of_a_site_that_is_well() {
    let program = on_path("promtool", "apt-get install prometheus");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../autoscaler/prometheus");
    for (command, file) in [("check", "muster.rules.yml"), ("test", "muster.rules.test.yml")] {
        let told = Command::new(&program).args([command, "rules", file]).current_dir(&rules).output();
        let told = told.expect("promtool runs");
        let said = [told.stdout, told.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(told.status.success(), "{command}: {said:?}");
    }
}
