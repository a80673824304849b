//! The daemon over HTTP: agents push from their own addresses, operators look and give orders.

use crate::harness::{HOUR, MINUTE, Stage, fleet_id};
use autoscaler::http::api::{Decisions, FleetStatus, Ready, Status};
use autoscaler::http::{Access, Identity, IdentityFiles, Limits, TokenFile};
use fleet::{InstanceId, Timestamp};
use fleet_cloud::DocumentSigner;
use fleet_sim::{Demand, FleetRequest, FleetSpec, World, WorldSpec};
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const TOKEN: &str = "a-token-of-the-nodes";
const ACCOUNT: &str = "123456789012";

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
        Self::start_trusting(None).await
    }
    /// * `signer`: whose documents prove who a node is.
    async fn start_trusting(signer: Option<&DocumentSigner>) -> Self {
        autoscaler::tls::install_provider();
        let mut stage = Stage::new(world());
        stage.start().await;
        let token = stage.root.path().join("token");
        std::fs::write(&token, TOKEN).expect("a token file");
        let samples = Some(TokenFile::open(token).expect("a token"));
        let identity = signer.map(|signer| {
            let certificates = stage.root.path().join("aws.pem");
            std::fs::write(&certificates, signer.certificate()).expect("a certificate");
            let keys = stage.root.path().join("node-token.key");
            let accounts = BTreeSet::from([ACCOUNT.to_owned()]);
            let files = IdentityFiles { certificates, keys, accounts, any_address: false };
            Identity::open(files).expect("certificates and keys")
        });
        let access = Access { samples, identity, ..Access::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let handle = stage.handle();
        let task = tokio::spawn(async move { handle.serve(listener, None, access, Limits::default()).await });
        Self { stage, address, task }
    }
    async fn get<T: DeserializeOwned>(&self, path: &str) -> (StatusCode, T) {
        let client = Client::builder().no_proxy().build().expect("a client");
        let response = client.get(format!("http://{}{path}", self.address)).send().await.expect("an answer");
        let (status, body) = (response.status(), response.text().await.expect("a whole answer"));
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    }
    async fn post(&self, path: &str, from: Option<IpAddr>, body: &Value) -> (StatusCode, Value) {
        self.post_as(TOKEN, path, from, body).await
    }
    async fn post_as(
        &self,
        token: &str,
        path: &str,
        from: Option<IpAddr>,
        body: &Value,
    ) -> (StatusCode, Value) {
        let client = Client::builder().no_proxy().local_address(from).build().expect("a client");
        let request = client.post(format!("http://{}{path}", self.address)).bearer_auth(token).json(body);
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
async fn a_node_is_who_the_newest_describe_says_that_it_is() {
    let signer = DocumentSigner::generate().expect("a key");
    let mut served = Served::start_trusting(Some(&signer)).await;
    served.stage.run(MINUTE).await;
    let (_, web): (_, FleetStatus) = served.get("/v1/fleets/web").await;
    let (mine, other) = (&web.instances[0].id, &web.instances[1].id);
    let shown = served.stage.cloud.world().shown_instances();
    let seen = |id: &InstanceId| shown.iter().find(|seen| seen.id == *id).expect("it is shown").clone();
    let document = |id: &InstanceId| {
        let seen = seen(id);
        let region = seen.pool.zone.as_str().trim_end_matches(char::is_alphabetic).to_owned();
        let document = json!({"accountId": ACCOUNT, "instanceId": id, "region": region,
            "pendingTime": seen.launched.to_string(), "privateIp": seen.private_ip});
        let pkcs7 = signer.sign(document.to_string().as_bytes(), seen.launched).expect("a signature");
        json!({"version": 1, "pkcs7": pkcs7})
    };
    let address = seen(mine).private_ip;
    let (status, body) = served.post("/v1/identify", address, &document(other)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "another's document: {body}");
    let (status, body) = served.post("/v1/identify", address, &document(mine)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let token = body["token"].as_str().expect("a token").to_owned();

    let end = served.stage.cloud.world().now().floor(std::time::Duration::from_secs(10));
    let batch = |instance: &InstanceId| {
        json!({"version": 1, "instance": instance, "sequence": 1_000,
            "samples": [{"end_ms": end, "period_ms": 10_000, "utilization": 0.5}]})
    };
    for (instance, from, status) in [
        (mine, address, StatusCode::OK),
        (other, address, StatusCode::FORBIDDEN),
        // The token is its own, and somebody else speaks.
        (mine, seen(other).private_ip, StatusCode::FORBIDDEN),
    ] {
        let (found, body) = served.post_as(&token, "/v1/samples", from, &batch(instance)).await;
        assert_eq!(found, status, "{body}");
    }
}

#[tokio::test]
async fn notices_are_answered_when_they_are_on_disk_and_may_be_told_again() {
    let mut served = Served::start().await;
    served.stage.run(MINUTE).await;
    let (_, web): (_, FleetStatus) = served.get("/v1/fleets/web").await;
    let mine = web.instances[0].id.clone();
    let address = served.stage.cloud.world().private_address(&mine).expect("it has one");
    let now = served.stage.cloud.world().now();
    let batch = |kinds: &[&str]| {
        let notice = |kind: &&str| json!({"kind": kind, "at_ms": now, "deadline_ms": now + MINUTE * 2});
        let notices: Vec<Value> = kinds.iter().map(notice).collect();
        json!({"version": 1, "instance": mine, "notices": notices})
    };
    for (kinds, accepted, confirmed) in [
        (&["spot_interruption"][..], 1, 1),
        (&["spot_interruption"], 0, 1),
        (&["spot_interruption", "rebalance_recommendation"], 1, 2),
        (&[], 0, 0),
    ] {
        let (status, body) = served.post("/v1/notices", Some(address), &batch(kinds)).await;
        // Nobody empties nodes here: of an interruption, the agent has to do it.
        let heeds = !kinds.contains(&"spot_interruption");
        let expected = json!({"accepted": accepted, "confirmed": confirmed, "leader": heeds});
        assert_eq!((status, body), (StatusCode::OK, expected), "{kinds:?}");
    }
    let (status, body) = served.post("/v1/notices", None, &batch(&["spot_interruption"])).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "from elsewhere: {body}");
    let order = json!({"for": "1h", "by": "ann", "reason": "a look"});
    let (status, body) = served.post("/v1/fleets/web/pause", None, &order).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (_, body) = served.post("/v1/notices", Some(address), &batch(&["rebalance_recommendation"])).await;
    assert_eq!(body["leader"], false, "nothing is done for a fleet that is paused: {body}");
    for kind in ["fleet_scale_in", "doom"] {
        let (status, body) = served.post("/v1/notices", Some(address), &batch(&[kind])).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
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
