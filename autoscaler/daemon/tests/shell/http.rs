//! The daemon over HTTP: agents push from their own addresses, operators look and give orders.

use crate::harness::{HOUR, MINUTE, Stage, fleet_id};
use autoscaler::http::api::{Decisions, FleetStatus, Ready, Status};
use autoscaler::http::{Access, Limits, TokenFile};
use fleet::{InstanceId, Timestamp};
use fleet_sim::{Demand, FleetRequest, FleetSpec, World, WorldSpec};
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const TOKEN: &str = "a-token-of-the-nodes";

/// A world whose instances have addresses of this host, so that somebody can really speak from them.
fn world() -> World {
    let fleet = FleetSpec {
        id: Some(fleet_id(0)),
        request: FleetRequest::default(),
        initial: None,
        load: Demand::constant(3.0),
    };
    let spec = WorldSpec {
        fleets: vec![fleet],
        first_address: Ipv4Addr::new(127, 16, 0, 4),
        ..WorldSpec::default()
    };
    World::new(spec, 7, Timestamp::parse("2026-03-02T00:00:00Z").expect("a time"))
}

struct Served {
    stage: Stage,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        autoscaler::tls::install_provider();
        let mut stage = Stage::new(world());
        stage.start().await;
        let token = stage.root.path().join("token");
        std::fs::write(&token, TOKEN).expect("a token file");
        let access = Access { samples: Some(TokenFile::open(token).expect("a token")), operators: None };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let handle = stage.handle();
        let task = tokio::spawn(async move { handle.serve(listener, access, Limits::default()).await });
        Self { stage, address, task }
    }
    async fn get<T: DeserializeOwned>(&self, path: &str) -> (StatusCode, T) {
        let client = Client::builder().no_proxy().build().expect("a client");
        let response = client.get(format!("http://{}{path}", self.address)).send().await.expect("an answer");
        let (status, body) = (response.status(), response.text().await.expect("a whole answer"));
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    }
    async fn post(&self, path: &str, from: Option<IpAddr>, body: &Value) -> (StatusCode, Value) {
        let client = Client::builder().no_proxy().local_address(from).build().expect("a client");
        let request = client.post(format!("http://{}{path}", self.address)).bearer_auth(TOKEN).json(body);
        let response = request.send().await.expect("an answer");
        (response.status(), response.json().await.expect("JSON"))
    }
}

#[tokio::test]
async fn agents_speak_for_the_instance_that_they_run_on_and_no_other() {
    let mut served = Served::start().await;
    served.stage.run(MINUTE).await;
    let (_, web): (_, FleetStatus) = served.get("/v1/fleets/web").await;
    let mine: &InstanceId = &web.instances[0].id;
    let address = served.stage.cloud.world().private_address(mine).expect("it has one");
    let end = served.stage.cloud.world().now().floor(std::time::Duration::from_secs(10));
    let batch = |instance: &str, sequence: u64| {
        json!({"version": 1, "instance": instance, "sequence": sequence,
            "samples": [{"end_ms": end, "period_ms": 10_000, "utilization": 0.5}]})
    };
    // The harness's agents have sent some batches: a new boot counts from 0 again, so theirs are far behind.
    let (status, body) = served.post("/v1/samples", Some(address), &batch(mine.as_str(), 1_000)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, body) = served.post("/v1/samples", None, &batch(mine.as_str(), 1_001)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let (status, body) = served.post("/v1/samples", Some(address), &batch("i-0123456789abcdef0", 0)).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    let odd = json!({"version": 9, "instance": mine, "sequence": 0, "samples": []});
    let (status, body) = served.post("/v1/samples", Some(address), &odd).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn an_operator_sees_what_is_and_gives_orders() {
    let mut served = Served::start().await;
    served.stage.run(MINUTE).await;
    let (status, ready): (_, Ready) = served.get("/v1/ready").await;
    assert_eq!((status, ready.reasons), (StatusCode::OK, Vec::new()));

    let order = json!({"min": 6, "for": "1h", "by": "ann", "reason": "a sale begins"});
    let (status, body) = served.post("/v1/fleets/web/override", None, &order).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    served.stage.run(HOUR / 2).await;
    let (_, status): (_, Status) = served.get("/v1/fleets").await;
    let web = &status.fleets[0];
    assert_eq!((web.name.as_str(), web.min, web.target), ("web", 6, Some(6)));
    assert_eq!(web.bent.as_ref().map(|bent| bent.by.as_str()), Some("ann"));

    let (_, last): (_, Decisions) = served.get("/v1/fleets/web/decisions?limit=1").await;
    assert_eq!(last.decisions.len(), 1);
    assert_eq!(Some(&last.decisions[0]), web.decided.as_ref());
    let at = status.at - HOUR / 4;
    let (_, then): (_, Decisions) = served.get(&format!("/v1/fleets/web/decisions?at={at}")).await;
    let then = &then.decisions[0];
    assert!(then.at <= at && at.since(then.at) <= MINUTE, "{} is not the decision of {at}", then.at);
    let (_, before): (_, Decisions) = served.get("/v1/fleets/web/decisions?at=2020-01-01T00:00:00Z").await;
    assert_eq!(before.decisions, []);

    let end = json!({"by": "ann", "reason": "it is over"});
    for (path, nothing_to_end) in [
        ("/v1/fleets/web/resume", true),
        ("/v1/all/resume", true),
        ("/v1/fleets/web/end-override", false),
        ("/v1/fleets/web/end-override", true),
    ] {
        let (code, body) = served.post(path, None, &end).await;
        assert_eq!((code, &body["nothing_to_end"]), (StatusCode::OK, &json!(nothing_to_end)), "{path}");
    }
    let (code, body) = served.post("/v1/fleets/web/override", None, &order).await;
    assert_eq!((code, &body["nothing_to_end"]), (StatusCode::OK, &json!(false)));
    let pause = json!({"for": "1h", "by": "ann", "reason": "a look"});
    assert_eq!(served.post("/v1/fleets/web/pause", None, &pause).await.0, StatusCode::OK);
    let (_, body) = served.post("/v1/all/resume", None, &end).await;
    assert_eq!(body["nothing_to_end"], json!(false));

    let client = Client::builder().no_proxy().build().expect("a client");
    let metrics = client.get(format!("http://{}/metrics", served.address)).send().await.expect("an answer");
    let text = metrics.text().await.expect("text");
    for line in [
        "muster_fleet_target_units{fleet=\"web\"} 6.0",
        "muster_fleet_overridden{fleet=\"web\"} 1.0",
        "muster_policy_rejected 0.0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "no {line} in\n{text}");
    }
}

#[tokio::test]
async fn http_ends_with_the_daemon() {
    let mut served = Served::start().await;
    served.stage.run(MINUTE).await;
    served.stage.handle().stop();
    served.task.await.expect("it ends without a panic");
}
