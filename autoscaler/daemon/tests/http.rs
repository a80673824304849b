//! The routes against a real listener, in front of a shell that answers by the book: every refusal can be had.
//! `tests/http_shell.rs` asks the real one.

use autoscaler::http::api::{ErrorBody, Ordered, Ready};
use autoscaler::http::{Access, Images, Limits, Shell, TokenFile, Unanswered, router, serve};
use autoscaler::metrics::Metrics;
use autoscaler_engine::{
    Command, CommandError, Decided, EngineMetrics, FleetStatus, Order, PolicyStatus, Rejection, Status,
};
use fleet::wire::{MAX_BODY_BYTES, NoticeBatch, NoticesAccepted, SampleBatch, SamplesAccepted};
use fleet::{
    AlarmState, AlarmView, ApiError, Backend, ErrorClass, FleetName, FleetSelector, ImageId, ImageView,
    InstanceId, LaunchTemplate, Region, Timestamp,
};
use fleet_identity::Described;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const TOKEN: &str = "a-token-of-the-nodes";

/// A shell that answers what it is told to.
#[derive(Clone, Default)]
struct Fake {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    samples: Option<Result<Result<SamplesAccepted, Rejection>, Unanswered>>,
    order: Option<Result<Result<(), CommandError>, Unanswered>>,
    loaded: bool,
    fleets: Vec<FleetStatus>,
    /// The alarms that exist.
    alarms: Option<Result<Vec<AlarmView>, ApiError>>,
    /// What is seen of images.
    images: Images,
    /// The images that versions were made for.
    made: Vec<ImageId>,
    heard: Vec<(IpAddr, SampleBatch)>,
    orders: Vec<Command>,
    /// A status is answered when this is told.
    gate: Option<Arc<Notify>>,
    /// Told when somebody waits at the gate.
    arrived: Arc<Notify>,
}

impl Fake {
    fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shell for Fake {
    async fn samples(
        &self,
        peer: IpAddr,
        batch: SampleBatch,
    ) -> Result<Result<SamplesAccepted, Rejection>, Unanswered> {
        self.with(|script| {
            let accepted = batch.samples.len();
            script.heard.push((peer, batch));
            script.samples.clone().unwrap_or(Ok(Ok(SamplesAccepted { accepted })))
        })
    }
    async fn notices(
        &self,
        _: IpAddr,
        batch: NoticeBatch,
    ) -> Result<Result<NoticesAccepted, Rejection>, Unanswered> {
        let confirmed = batch.notices.len();
        Ok(Ok(NoticesAccepted { accepted: confirmed, confirmed, leader: true }))
    }
    async fn instance(&self, _: InstanceId) -> Result<Option<Described>, Unanswered> {
        Ok(None)
    }
    async fn operate(&self, command: Command) -> Result<Result<(), CommandError>, Unanswered> {
        self.with(|script| {
            script.orders.push(command);
            script.order.clone().unwrap_or(Ok(Ok(())))
        })
    }
    async fn alarms(&self, region: Region, names: Vec<String>) -> Result<Vec<AlarmView>, ApiError> {
        assert_eq!((region.as_str(), names), ("eu-west-1", ALARMS.map(str::to_owned).to_vec()));
        self.with(|script| script.alarms.clone().expect("asked of a fleet that watches some"))
    }
    async fn images(
        &self,
        region: Region,
        template: String,
        version: u64,
        image: ImageId,
    ) -> Result<Images, ApiError> {
        let asked = (region.as_str(), template.as_str(), version, image.as_str());
        assert_eq!(asked, ("eu-west-1", "lt-1", 3, IMAGE));
        Ok(self.with(|script| script.images.clone()))
    }
    async fn make_version(&self, _: Region, _: String, source: u64, image: ImageId) -> Result<u64, ApiError> {
        self.with(|script| script.made.push(image));
        Ok(source + 1)
    }
    async fn status(&self) -> Result<Status, Unanswered> {
        let (loaded, gate, arrived) =
            self.with(|script| (script.loaded, script.gate.clone(), Arc::clone(&script.arrived)));
        if let Some(gate) = gate {
            arrived.notify_one();
            gate.notified().await;
        }
        let policies = PolicyStatus { loaded: loaded.then_some(NOW), ..PolicyStatus::default() };
        let fleets = self.with(|script| script.fleets.clone());
        Ok(Status { policies, fleets, leads: true, ..Status::empty(NOW) })
    }
    async fn fleet(&self, _: FleetName) -> Result<Option<FleetStatus>, Unanswered> {
        Ok(None)
    }
    async fn decisions(&self, name: FleetName) -> Result<Option<Vec<Decided>>, Unanswered> {
        Ok((name.as_str() == "web").then(Vec::new))
    }
    async fn decision_at(&self, _: FleetName, _: Timestamp) -> Result<Option<Decided>, Unanswered> {
        Err(Unanswered::NotReadable("damaged".into()))
    }
    async fn counters(&self) -> Result<EngineMetrics, Unanswered> {
        Ok(EngineMetrics::default())
    }
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A server on a port of its own.
struct Server {
    address: SocketAddr,
    shell: Fake,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    http: Client,
    _directory: TempDir,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::with_operators(limits, false).await
    }

    /// * `operators`: whether operators need a token.
    async fn with_operators(limits: Limits, operators: bool) -> Self {
        autoscaler::tls::install_provider();
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, TOKEN).expect("a token file");
        let open = || Some(TokenFile::open(&path).expect("a token file"));
        let operators = if operators { open() } else { None };
        let access = Access { samples: open(), operators, ..Access::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let shell = Fake::default();
        let router = router(shell.clone(), access, Metrics::new());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, None, router, limits, async {
            let _ = stopped.await;
        }));
        let http = Client::builder().no_proxy().build().expect("a client");
        Self { address, shell, stop: Some(stop), task, http, _directory: directory }
    }
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.http.get(self.url(path))).await
    }
    async fn push(&self, batch: &Value) -> (StatusCode, Value) {
        answer(self.http.post(self.url("/v1/samples")).bearer_auth(TOKEN).json(batch)).await
    }
    async fn order(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.http.post(self.url(path)).json(body)).await
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("an answer");
    let (status, body) = (response.status(), response.bytes().await.expect("a whole answer"));
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn error(body: &Value) -> String {
    let ErrorBody { error } =
        serde_json::from_value(body.clone()).unwrap_or_else(|_| panic!("{body} is no error"));
    error
}

fn batch() -> Value {
    json!({"version": 1, "instance": "i-1", "sequence": 0,
        "samples": [{"end_ms": 1_800_000_000_000_i64, "period_ms": 10_000, "utilization": 0.5}]})
}

#[tokio::test]
async fn samples_reach_the_engine_with_the_address_that_they_came_from() {
    let server = Server::start(Limits::default()).await;
    assert_eq!(server.push(&batch()).await, (StatusCode::OK, json!({"accepted": 1})));
    let (peer, heard) = server.shell.with(|script| script.heard.remove(0));
    assert_eq!(peer, IpAddr::from([127, 0, 0, 1]));
    assert_eq!((heard.instance.as_str(), heard.samples.len()), ("i-1", 1));
}

#[tokio::test]
async fn strangers_are_refused_before_their_body_is_read() {
    let server = Server::start(Limits::default()).await;
    let post = || server.http.post(server.url("/v1/samples")).body("x".repeat(MAX_BODY_BYTES + 1));
    for request in [post(), post().bearer_auth("another-token-of-16"), post().header("authorization", TOKEN)]
    {
        let (status, body) = answer(request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(error(&body), "an agent's bearer token is needed");
    }
    assert_eq!(server.shell.with(|script| script.heard.len()), 0);
}

#[tokio::test]
async fn a_body_that_is_no_batch_is_refused_with_the_reason() {
    let server = Server::start(Limits::default()).await;
    let (status, body) =
        server.push(&json!({"version": 1, "instance": "i-1", "sequence": 0, "cpu": []})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error(&body).contains("unknown field `cpu`"), "{body}");

    let large =
        server.http.post(server.url("/v1/samples")).bearer_auth(TOKEN).body("x".repeat(MAX_BODY_BYTES + 1));
    let (status, body) = answer(large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(error(&body), "the body is larger than 65536 bytes");
}

#[tokio::test]
async fn what_the_engine_refuses_is_told_apart() {
    let server = Server::start(Limits::default()).await;
    let instance = || "i-1".into();
    for (answer, status) in [
        (Ok(Err(Rejection::Version { version: 2 })), StatusCode::BAD_REQUEST),
        (Ok(Err(Rejection::TooMany { count: 361 })), StatusCode::BAD_REQUEST),
        (Ok(Err(Rejection::Malformed { index: 0, what: "odd".into() })), StatusCode::BAD_REQUEST),
        (Ok(Err(Rejection::WrongPeer { instance: instance() })), StatusCode::FORBIDDEN),
        (Ok(Err(Rejection::UnknownYet { instance: instance() })), StatusCode::NOT_FOUND),
        (Ok(Err(Rejection::Stopping)), StatusCode::SERVICE_UNAVAILABLE),
        (Err(Unanswered::Busy), StatusCode::TOO_MANY_REQUESTS),
        (Err(Unanswered::NotRunning), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        server.shell.with(|script| script.samples = Some(answer.clone()));
        let (found, body) = server.push(&batch()).await;
        assert_eq!(found, status, "{answer:?}");
        assert!(!error(&body).is_empty());
    }
    let again = Ok(Err(Rejection::Duplicate { sequence: 0 }));
    server.shell.with(|script| script.samples = Some(again));
    assert_eq!(
        server.push(&batch()).await,
        (StatusCode::OK, json!({"accepted": 0})),
        "a repeated batch is fine"
    );
}

#[tokio::test]
async fn busy_says_when_to_come_again() {
    let server = Server::start(Limits::default()).await;
    server.shell.with(|script| script.samples = Some(Err(Unanswered::Busy)));
    let request = server.http.post(server.url("/v1/samples")).bearer_auth(TOKEN).json(&batch());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test]
async fn orders_reach_the_engine_with_who_and_why() {
    let server = Server::start(Limits::default()).await;
    let says = |extra: Value| {
        let mut body = json!({"by": "jo", "reason": "launch"});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        body
    };
    let (status, body) = server.order("/v1/fleets/web/pause", &says(json!({"for": "1h30m"}))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let ordered: Ordered = serde_json::from_value(body).expect("an Ordered");
    assert_eq!(ordered.until, Some(NOW + Duration::from_secs(5400)));
    let order = says(json!({"min": 8, "target": "60%", "for": "1h"}));
    for (path, body) in [
        ("/v1/fleets/web/override", order),
        ("/v1/fleets/web/end-override", says(json!({}))),
        ("/v1/fleets/web%2Fodd/resume", says(json!({}))),
        ("/v1/all/pause", says(json!({"for": "5m"}))),
        ("/v1/all/resume", says(json!({}))),
    ] {
        let (status, body) = server.order(path, &body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    let heard: Vec<_> = server.shell.with(|script| std::mem::take(&mut script.orders));
    assert!(heard.iter().all(|command| command.by == "jo" && command.reason == "launch"), "{heard:?}");
    let heard: Vec<_> =
        heard.iter().map(|c| (c.fleet.as_ref().map_or("*", FleetName::as_str), c.order.clone())).collect();
    let hour = Duration::from_secs(3600);
    let target = Some("60%".parse().expect("a share"));
    assert_eq!(
        heard,
        [
            ("web", Order::Pause { lasts: hour + hour / 2 }),
            ("web", Order::Override { min: Some(8), max: None, target, lasts: hour }),
            ("web", Order::EndOverride),
            ("web/odd", Order::Resume),
            ("*", Order::Pause { lasts: hour / 12 }),
            ("*", Order::Resume),
        ]
    );
}

#[tokio::test]
async fn orders_that_make_no_sense_change_nothing() {
    let server = Server::start(Limits::default()).await;
    for (body, says) in [
        (json!({"for": "1h", "by": "jo", "reason": " "}), "reason: 1 to 500 characters"),
        (json!({"for": "1h", "by": "", "reason": "x"}), "by: 1 to 500 characters"),
        (
            json!({"for": "1h", "by": "jo", "reason": "fire\n\u{1b}[31m"}),
            "reason: line ends and other control",
        ),
        (json!({"for": "1h", "by": "j\u{9b}o", "reason": "x"}), "by: line ends and other control"),
        (json!({"for": "soon", "by": "jo", "reason": "x"}), "for: \"soon\" is not a duration"),
        (json!({"for": "1h", "by": "jo"}), "missing field `reason`"),
        (json!({"for": "1h", "by": "jo", "reason": "x", "min": 8}), "unknown field `min`"),
    ] {
        let (status, answer) = server.order("/v1/fleets/web/pause", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(error(&answer).contains(says), "{answer}");
    }
    let target = json!({"target": "60", "for": "1h", "by": "jo", "reason": "x"});
    assert_eq!(server.order("/v1/fleets/web/override", &target).await.0, StatusCode::BAD_REQUEST);
    let request = server.http.post(server.url("/v1/fleets/web/resume")).body(r#"{"by":"jo","reason":"x"}"#);
    assert_eq!(
        answer(request).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a form of a web page gets nowhere"
    );
    assert_eq!(server.shell.with(|script| script.orders.len()), 0);

    let order = json!({"for": "1h", "by": "jo", "reason": "x"});
    let unknown = CommandError::UnknownFleet { name: "wbe".into(), nearest: Some("web".into()) };
    for (refused, status, says) in [
        (Ok(Err(unknown)), StatusCode::NOT_FOUND, "did you mean web?"),
        (Ok(Err(CommandError::Lasts)), StatusCode::BAD_REQUEST, "between 1s and 30d"),
        (
            Ok(Err(CommandError::MinAboveMax { fleet: "web".into(), min: 9, max: 8 })),
            StatusCode::UNPROCESSABLE_ENTITY,
            "min 9 is above max 8",
        ),
        (Err(Unanswered::NotJournaled("disk full".into())), StatusCode::SERVICE_UNAVAILABLE, "disk full"),
    ] {
        server.shell.with(|script| script.order = Some(refused));
        let (found, body) = server.order("/v1/fleets/web/pause", &order).await;
        assert_eq!(found, status);
        assert!(error(&body).contains(says), "{body}");
    }
}

/// A fleet whose roll-outs watch alarms.
fn to_roll(watches: &[&str]) -> FleetStatus {
    let selector = FleetSelector::Id("sfr-1".into());
    FleetStatus {
        region: Some("eu-west-1".into()),
        launch: Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(3) }),
        watches: watches.iter().map(|name| (*name).to_owned()).collect(),
        ..FleetStatus::unseen("web".into(), Backend::SpotFleet, selector)
    }
}

const IMAGE: &str = "ami-0123456789abcdef0";
/// The alarms of CloudWatch that its roll-outs watch.
const ALARMS: [&str; 2] = ["web-5xx", "web-late"];

fn start_of(what: &Value) -> Value {
    let mut body = json!({"by": "jo", "reason": "kernel"});
    body.as_object_mut().expect("an object").extend(what.as_object().expect("an object").clone());
    body
}

#[tokio::test]
async fn a_roll_out_begins_only_when_the_alarms_that_it_watches_are_there_and_not_off() {
    let server = Server::start(Limits::default()).await;
    server.shell.with(|script| script.fleets = vec![to_roll(&ALARMS)]);
    let alarm = |name: &str, state| AlarmView { name: name.to_owned(), state, since: Some(NOW) };
    let fine = alarm("web-5xx", AlarmState::Ok);
    let denied = ApiError::new(ErrorClass::Denied, "cloudwatch", "DescribeAlarms", None, "no right");
    for (alarms, status, says) in [
        (
            Ok(vec![fine.clone(), alarm("web-late", AlarmState::Alarm)]),
            StatusCode::UNPROCESSABLE_ENTITY,
            "alarm web-late is off since 2027-01-15T08:00:00Z",
        ),
        (
            Ok(vec![fine.clone()]),
            StatusCode::UNPROCESSABLE_ENTITY,
            "no alarm of CloudWatch in eu-west-1 is called web-late",
        ),
        (Err(denied), StatusCode::BAD_GATEWAY, "the alarms that the policy names were not read"),
    ] {
        server.shell.with(|script| script.alarms = Some(alarms));
        for what in [json!({"version": 4}), json!({"image": IMAGE})] {
            let (found, body) = server.order("/v1/fleets/web/rollout-start", &start_of(&what)).await;
            assert_eq!(found, status, "{body}");
            assert!(error(&body).contains(says), "{body}");
        }
    }
    assert_eq!(server.shell.with(|script| (script.orders.len(), script.made.len())), (0, 0));
    // Too little was measured: nobody says that anything is wrong.
    let quiet = alarm("web-late", AlarmState::InsufficientData);
    server.shell.with(|script| script.alarms = Some(Ok(vec![fine, quiet])));
    server.order("/v1/fleets/web/rollout-start", &start_of(&json!({"version": 4}))).await;
    assert_eq!(server.shell.with(|script| script.orders.len()), 1);
}

#[tokio::test]
async fn an_image_that_could_not_be_launched_is_refused_before_anything_is_made() {
    let server = Server::start(Limits::default()).await;
    server.shell.with(|script| script.fleets = vec![to_roll(&[])]);
    let view = |id: &str, state: &str, architecture: &str| {
        let architecture = Some(architecture.to_owned());
        Some(ImageView { id: id.into(), state: state.to_owned(), architecture })
    };
    let present = view("ami-0fedcba9876543210", "available", "x86_64");
    for (wanted, says) in [
        (None, "image ami-0123456789abcdef0 does not exist in eu-west-1, was deregistered"),
        (view(IMAGE, "pending", "x86_64"), "is `pending`: wait until it is `available`"),
        (view(IMAGE, "failed", "x86_64"), "is `failed`: it takes one that is `available`"),
        (view(IMAGE, "disabled", "x86_64"), "is `disabled`: it takes one that is `available`"),
        (
            view(IMAGE, "available", "arm64"),
            "is of arm64, and the fleet launches ami-0fedcba9876543210, which is of x86_64: it takes one of x86_64",
        ),
    ] {
        server.shell.with(|script| script.images = Images { wanted, present: present.clone() });
        let (status, body) =
            server.order("/v1/fleets/web/rollout-start", &start_of(&json!({"image": IMAGE}))).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(error(&body).contains(says), "{body}");
    }
    assert_eq!(server.shell.with(|script| (script.orders.len(), script.made.len())), (0, 0));
    // One whose predecessor nobody may see, or that fits.
    for present in [None, present] {
        let images = Images { wanted: view(IMAGE, "available", "x86_64"), present };
        server.shell.with(|script| script.images = images);
        server.order("/v1/fleets/web/rollout-start", &start_of(&json!({"image": IMAGE}))).await;
    }
    assert_eq!(server.shell.with(|script| (script.orders.len(), script.made.len())), (2, 2));
}

#[tokio::test]
async fn with_an_operator_token_file_loopback_is_not_enough() {
    let server = Server::with_operators(Limits::default(), true).await;
    let order = json!({"by": "jo", "reason": "x"});
    assert_eq!(server.order("/v1/fleets/web/resume", &order).await.0, StatusCode::UNAUTHORIZED);
    let request = server.http.post(server.url("/v1/fleets/web/resume")).bearer_auth(TOKEN).json(&order);
    assert_eq!(answer(request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn ready_says_what_is_missing_and_health_does_not_care() {
    let server = Server::start(Limits::default()).await;
    let (status, body) = server.get("/v1/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let ready: Ready = serde_json::from_value(body).expect("a Ready");
    assert_eq!(ready, Ready { ready: false, reasons: vec!["no policies are loaded yet".into()] });
    assert_eq!(server.get("/v1/health").await.0, StatusCode::OK);
    server.shell.with(|script| script.loaded = true);
    assert_eq!(server.get("/v1/ready").await, (StatusCode::OK, json!({"ready": true, "reasons": []})));
}

#[tokio::test]
async fn every_error_is_json() {
    let server = Server::start(Limits::default()).await;
    for (path, status) in [
        ("/", StatusCode::NOT_FOUND),
        ("/v1/fleets/nobody", StatusCode::NOT_FOUND),
        ("/v1/fleets/nobody/decisions", StatusCode::NOT_FOUND),
        ("/v1/fleets/nobody/decisions?at=2026-03-01T08:00:00Z", StatusCode::NOT_FOUND),
        ("/v1/fleets/web/decisions?at=yesterday", StatusCode::BAD_REQUEST),
        ("/v1/fleets/web/decisions?limit=-1", StatusCode::BAD_REQUEST),
        ("/v1/fleets/web/decisions?from=1", StatusCode::BAD_REQUEST),
        ("/v1/fleets/web/decisions?at=2026-03-01T08:00:00Z", StatusCode::INTERNAL_SERVER_ERROR),
        ("/v1/samples", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (found, body) = server.get(path).await;
        assert_eq!(found, status, "{path}");
        assert!(!error(&body).is_empty(), "{path}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let server = Server::start(Limits::default()).await;
    for path in [
        "/v1/fleets/a",
        "/v1/fleets/b",
        "/v1/fleets",
        "/v1/fleets/",
        "/made/up/1",
        "/made/up/2",
        "/v1/health",
    ] {
        server.get(path).await;
    }
    let response = server.http.get(server.url("/metrics")).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], autoscaler::metrics::CONTENT_TYPE);
    let text = response.text().await.expect("text");
    let counted: Vec<&str> =
        text.lines().filter(|line| line.starts_with("muster_http_requests_total")).collect();
    assert_eq!(
        counted,
        [
            r#"muster_http_requests_total{route="/v1/fleets",status="200"} 2.0"#,
            r#"muster_http_requests_total{route="/v1/fleets/{name}",status="404"} 2.0"#,
            r#"muster_http_requests_total{route="/v1/health",status="200"} 1.0"#,
            r#"muster_http_requests_total{route="other",status="404"} 2.0"#,
        ]
    );
}

/// Writes raw bytes, and reads until the server closes.
fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(request).expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server ends the connection by itself");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_dawdle_are_cut_off() {
    let short = Duration::from_millis(200);
    let server = Server::start(Limits { head: short, request: short, ..Limits::default() }).await;
    let address = server.address;
    let head = tokio::task::spawn_blocking(move || raw(address, b"GET /v1/health HTTP/1.1\r\nHo")).await;
    let head = head.expect("no panic");
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    let body =
        format!("POST /v1/samples HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 9\r\n\r\n{{");
    let body = tokio::task::spawn_blocking(move || raw(address, body.as_bytes())).await.expect("no panic");
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("took too long"), "{body}");
}

#[tokio::test]
async fn many_connections_take_turns() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() }).await;
    let calls = (0..20).map(|_| {
        let http = Client::builder().no_proxy().build().expect("a client");
        let url = server.url("/v1/health");
        tokio::spawn(async move { http.get(url).send().await.map(|response| response.status()) })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.expect("no panic").expect("an answer"), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_closes_idle_connections() {
    let mut server = Server::start(Limits::default()).await;
    server.get("/v1/health").await;
    let gate = Arc::new(Notify::new());
    let arrived = server.shell.with(|script| {
        script.gate = Some(Arc::clone(&gate));
        Arc::clone(&script.arrived)
    });
    let waiting = tokio::spawn(answer(server.http.get(server.url("/v1/fleets"))));
    arrived.notified().await;
    server.stop.take().expect("not stopped yet").send(()).expect("it runs");
    gate.notify_one();
    assert_eq!(waiting.await.expect("no panic").0, StatusCode::OK);
    tokio::time::timeout(Duration::from_secs(2), &mut server.task)
        .await
        .expect("idle connections do not hold it up")
        .expect("no panic");
    assert!(server.http.get(server.url("/v1/health")).send().await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stop_waits_for_nobody_longer_than_it_may() {
    let limits = Limits { stop: Duration::from_millis(50), ..Limits::default() };
    let mut server = Server::start(limits).await;
    let arrived = server.shell.with(|script| {
        script.gate = Some(Arc::new(Notify::new()));
        Arc::clone(&script.arrived)
    });
    let waiting = server.http.get(server.url("/v1/fleets")).send();
    let waiting = tokio::spawn(waiting);
    arrived.notified().await;
    server.stop.take().expect("not stopped yet").send(()).expect("it runs");
    (&mut server.task).await.expect("it ends");
    assert!(waiting.await.expect("no panic").is_err(), "cut off");
}
