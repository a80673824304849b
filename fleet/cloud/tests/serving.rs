//! The server itself, spoken to byte by byte: who is let in, what is bounded, how time passes, how it stops.

use fleet::ports::Clock;
use fleet::{InstanceId, Timestamp};
use fleet_clock::SteppedClock;
use fleet_cloud::{CloudConfig, CloudServer, FaultKind, HttpFault, StartError};
use fleet_sim::{Demand, FleetRequest, FleetSpec, World, WorldSpec};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    server: CloudServer,
    clock: SteppedClock,
    world: Arc<Mutex<World>>,
    /// Its instances and their addresses.
    instances: Vec<(InstanceId, IpAddr)>,
}

/// A world of three instances in service, whose time runs by the clock at `speed`.
async fn serve(speed: Option<f64>) -> Served {
    let request = FleetRequest { target: 3, ..FleetRequest::default() };
    let fleet = FleetSpec { request, initial: Some(3), load: Demand::constant(2.0), ..FleetSpec::default() };
    let spec = WorldSpec {
        fleets: vec![fleet],
        first_address: Ipv4Addr::new(127, 16, 0, 4),
        ..WorldSpec::default()
    };
    let world = World::new(spec, 7, Timestamp::from_secs(1_772_323_200));
    let shown = world.shown_instances().into_iter();
    let instances = shown.filter_map(|instance| Some((instance.id, instance.private_ip?))).collect();
    let world = Arc::new(Mutex::new(world));
    let clock = SteppedClock::new(Timestamp::EPOCH);
    let config = CloudConfig { speed, ..CloudConfig::new(Arc::clone(&world), Arc::new(clock.clone())) };
    let server = CloudServer::start(config).await.expect("it starts");
    Served { server, clock, world, instances }
}

impl Served {
    /// Sends a request from an address and reads until the end: status and what follows the headers.
    async fn ask(&self, from: IpAddr, head: &str, body: &str) -> (u16, String) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from, 0)).expect("an address on loopback");
        let mut stream = socket.connect(self.server.addr()).await.expect("it listens");
        let request =
            format!("{head}\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.expect("sent");
        read_answer(&mut stream).await
    }
    async fn token(&self, from: IpAddr) -> String {
        let head = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60";
        let (status, token) = self.ask(from, head, "").await;
        assert_eq!(status, 200);
        token
    }
    /// What the metadata service says at a path, with a fresh token.
    async fn metadata(&self, from: IpAddr, path: &str) -> (u16, String) {
        let token = self.token(from).await;
        let head = format!("GET /latest/{path} HTTP/1.1\r\nX-aws-ec2-metadata-token: {token}");
        self.ask(from, &head, "").await
    }
}

async fn read_answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time").expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn the_metadata_service_knows_instances_by_their_address() {
    let served = serve(None).await;
    let [(first, at_first), (second, at_second), _] = &served.instances[..] else {
        panic!("three instances")
    };
    assert_eq!(served.metadata(*at_first, "meta-data/instance-id").await, (200, first.to_string()));
    assert_eq!(served.metadata(*at_second, "meta-data/instance-id").await, (200, second.to_string()));
    assert_eq!(served.metadata(*at_first, "meta-data/instance-life-cycle").await, (200, "spot".to_owned()));
    assert_eq!(served.metadata(*at_first, "meta-data/nonsense").await.0, 404);
    assert_eq!(served.metadata(*at_first, "user-data").await.0, 404, "its template has none");
    let (_, document) = served.metadata(*at_first, "dynamic/instance-identity/document").await;
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["instanceId"], first.as_str());
    assert_eq!(document["privateIp"], at_first.to_string());
    // By name, for who has no address of its own.
    let head =
        format!("PUT /_imds/{second}/latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 9");
    assert_eq!(served.ask(HERE, &head, "").await.0, 200);
    let head = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 9";
    assert_eq!(served.ask(HERE, head, "").await.0, 404, "nobody has this address");
}

#[tokio::test]
async fn metadata_needs_a_token_of_its_own_instance() {
    let served = serve(None).await;
    let [(_, at_first), (_, at_second), _] = &served.instances[..] else { panic!("three instances") };
    let path = "GET /latest/meta-data/instance-id HTTP/1.1";
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds";
    assert_eq!(served.ask(*at_first, path, "").await.0, 401, "version 1 is refused");
    let others = served.token(*at_second).await;
    let head = format!("{path}\r\nX-aws-ec2-metadata-token: {others}");
    assert_eq!(served.ask(*at_first, &head, "").await.0, 401);
    for (head, status) in [
        (format!("PUT /latest/api/token HTTP/1.1\r\n{ttl}: 21601"), 400),
        (format!("PUT /latest/api/token HTTP/1.1\r\n{ttl}: 0"), 400),
        ("PUT /latest/api/token HTTP/1.1\r\nX-Other: 1".to_owned(), 400),
        (format!("PUT /latest/api/token HTTP/1.1\r\n{ttl}: 60\r\nX-Forwarded-For: 10.0.0.1"), 403),
        (format!("PUT /latest/meta-data/ HTTP/1.1\r\n{ttl}: 60"), 403),
    ] {
        assert_eq!(served.ask(*at_first, &head, "").await.0, status, "{head}");
    }
}

#[tokio::test]
async fn a_notice_shows_in_the_metadata_of_its_instance_alone() {
    let served = serve(None).await;
    let [(first, at_first), (_, at_second), _] = &served.instances[..] else { panic!("three instances") };
    let paths = ["meta-data/spot/instance-action", "meta-data/events/recommendations/rebalance"];
    for path in paths {
        assert_eq!(served.metadata(*at_first, path).await.0, 404);
    }
    let body = format!("{{\"instance\": \"{first}\"}}");
    for change in ["interrupt", "rebalance"] {
        assert_eq!(served.ask(HERE, &format!("POST /_muster/{change} HTTP/1.1"), &body).await.0, 200);
    }
    // Two minutes from the world's now, 2026-03-01T00:00:00Z.
    let action = r#"{"action":"terminate","time":"2026-03-01T00:02:00Z"}"#;
    assert_eq!(served.metadata(*at_first, paths[0]).await, (200, action.to_owned()));
    let rebalance = r#"{"noticeTime":"2026-03-01T00:00:00Z"}"#;
    assert_eq!(served.metadata(*at_first, paths[1]).await, (200, rebalance.to_owned()));
    for path in paths {
        assert_eq!(served.metadata(*at_second, path).await.0, 404);
    }
}

#[tokio::test]
async fn who_does_not_sign_is_refused_and_what_is_too_large_is_not_read() {
    let served = serve(None).await;
    let form = "Action=DescribeInstances&Version=2016-11-15";
    let (status, body) = served.ask(HERE, "POST / HTTP/1.1", form).await;
    assert_eq!(status, 403);
    assert!(body.contains("<Code>MissingAuthenticationToken</Code>"), "{body}");
    let large = "x".repeat(1024 * 1024 + 1);
    assert_eq!(served.ask(HERE, "POST / HTTP/1.1", &large).await.0, 413);
    assert_eq!(served.ask(HERE, "GET /favicon.ico HTTP/1.1", "").await.0, 404);
    assert_eq!(served.ask(HERE, "POST /_muster/interrupt HTTP/1.1", "{}").await.0, 400);
    assert_eq!(
        served.ask(HERE, "POST /_muster/load HTTP/1.1", "{\"fleet\": \"x\", \"demand\": 1}").await.0,
        404
    );
}

#[tokio::test]
async fn the_worlds_time_runs_at_its_speed_and_by_nobody_else() {
    let served = serve(Some(60.0)).await;
    let now = || served.world.lock().expect("no panic").now();
    let began = now();
    served.clock.advance_to(Duration::from_secs(10));
    let (_, state) = served.ask(HERE, "GET /_muster/state HTTP/1.1", "").await;
    assert!(state.contains("2026-03-01T00:10:00Z"), "{state}");
    assert_eq!(now().since(began), Duration::from_secs(600));
    let (status, refusal) = served.ask(HERE, "POST /_muster/advance HTTP/1.1", "{\"by\": \"1m\"}").await;
    assert_eq!(status, 409, "{refusal}");
    assert_eq!(now().since(began), Duration::from_secs(600));
    assert_eq!(served.clock.wall(), Timestamp::from_secs(10), "the host's time is another");
}

#[tokio::test]
async fn a_world_that_runs_by_itself_moves_while_nobody_asks() {
    let served = serve(Some(60.0)).await;
    let now = || served.world.lock().expect("no panic").now();
    let began = now();
    // The task that paces sleeps on the clock: it is woken, and has gone on when it sleeps again.
    let moved = async {
        while now().since(began) < Duration::from_secs(60) {
            if let Some(next) = served.clock.next_wake() {
                served.clock.advance_to(next);
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, moved).await.expect("it moves on");
}

#[tokio::test]
async fn a_stop_ends_what_is_idle_at_once_and_what_hangs_in_time() {
    let served = serve(None).await;
    let address = served.instances[0].1;
    // An idle connection that is kept alive, and a request that will never be answered.
    let mut idle = TcpStream::connect(served.server.addr()).await.expect("it listens");
    idle.write_all(b"GET /_muster/calls HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut begun = [0; 12];
    idle.read_exact(&mut begun).await.expect("an answer");
    assert_eq!(&begun, b"HTTP/1.1 200");
    served.server.set_faults(vec![HttpFault::new(FaultKind::Latency { millis: 3_600_000 }, &["imds"])]);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(address, 0)).expect("an address on loopback");
    let mut hangs = socket.connect(served.server.addr()).await.expect("it listens");
    hangs.write_all(b"GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    while served.clock.next_wake().is_none() {
        tokio::task::yield_now().await;
    }

    let addr = served.server.addr();
    timeout(PATIENCE, served.server.stop()).await.expect("it stops");
    let mut rest = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut rest)).await.expect("closed").expect("closed in order");
    timeout(PATIENCE, hangs.read_to_end(&mut rest)).await.expect("closed").ok();
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_cannot_be_served_is_said() {
    let served = serve(None).await;
    let again = CloudConfig {
        listen: served.server.addr(),
        ..CloudConfig::new(Arc::clone(&served.world), Arc::new(served.clock.clone()))
    };
    let taken = CloudServer::start(again).await.err();
    assert!(matches!(taken, Some(StartError::Listen { .. })), "{taken:?}");
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let odd = CloudConfig {
            speed: Some(speed),
            ..CloudConfig::new(Arc::clone(&served.world), Arc::new(served.clock.clone()))
        };
        assert!(matches!(CloudServer::start(odd).await.err(), Some(StartError::Speed { .. })), "{speed}");
    }
}

#[tokio::test]
async fn an_instance_proves_who_it_is_with_its_signed_document() {
    let served = serve(None).await;
    let (id, address) = served.instances[0].clone();
    let (status, certificate) = served.ask(HERE, "GET /_muster/identity-certificate HTTP/1.1", "").await;
    assert_eq!(status, 200, "{certificate}");
    let certificate: serde_json::Value = serde_json::from_str(&certificate).expect("JSON");
    let mut trust = fleet_identity::Trust::default();
    trust.add_pem(None, certificate["pem"].as_str().expect("a text")).expect("a certificate");

    let (status, signed) = served.metadata(address, "dynamic/instance-identity/rsa2048").await;
    assert_eq!(status, 200, "{signed}");
    let document = trust.open(&signed).expect("verified");
    assert_eq!((&document.instance, document.private_ip), (&id, Some(address)));
    let (status, plain) = served.metadata(address, "dynamic/instance-identity/document").await;
    assert_eq!(status, 200);
    assert!(plain.contains(document.instance.as_str()) && plain.contains(&document.account), "{plain}");
}
