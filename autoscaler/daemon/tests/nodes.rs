//! Nodes that prove who they are, over TLS, against a real listener; behind it a shell that knows two instances.

use autoscaler::http::{
    Access, Identity, IdentityFiles, Images, Limits, Shell, Tls, TokenFile, Unanswered, router, serve,
};
use autoscaler::metrics::Metrics;
use autoscaler_engine::{Command, CommandError, Decided, EngineMetrics, FleetStatus, Rejection, Status};
use fleet::wire::{Identified, NoticeBatch, NoticesAccepted, SampleBatch, SamplesAccepted};
use fleet::{
    AlarmView, ApiError, ErrorClass, FleetName, ImageId, InstanceId, InstanceState, Region, Timestamp,
};
use fleet_cloud::DocumentSigner;
use fleet_identity::Described;
use reqwest::{Certificate, Client, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const SHARED: &str = "a-token-of-all-nodes";
const A: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12));
const ACCOUNT: &str = "123456789012";

/// A shell that takes everything, of two instances.
#[derive(Clone)]
struct Fake {
    now: Arc<Mutex<Timestamp>>,
    instances: Arc<Mutex<BTreeMap<InstanceId, Described>>>,
    /// Looking an instance up waits for this, where it is set.
    gate: Arc<Mutex<Option<Arc<Notify>>>>,
    /// Who waits at the gate, or has.
    waiting: Arc<AtomicUsize>,
    /// How often an instance was looked up: of one that nobody knows, EC2 is asked.
    looked_up: Arc<AtomicUsize>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fake {
    fn new() -> Self {
        let described = |id: &str, address: IpAddr| Described {
            id: id.into(),
            zone: "eu-west-1a".into(),
            state: InstanceState::Running,
            launched: NOW,
            private_ip: Some(address),
        };
        let instances = [described("i-a", A), described("i-b", B)];
        let instances = instances.into_iter().map(|instance| (instance.id.clone(), instance)).collect();
        Self {
            now: Arc::new(Mutex::new(NOW)),
            instances: Arc::new(Mutex::new(instances)),
            gate: Arc::default(),
            waiting: Arc::default(),
            looked_up: Arc::default(),
        }
    }
}

impl Fake {
    /// As the engine does: who speaks must have the instance's address.
    fn hears_from(&self, peer: IpAddr, instance: &InstanceId) -> Result<(), Rejection> {
        let own = locked(&self.instances).get(instance).and_then(|known| known.private_ip);
        if own == Some(peer) { Ok(()) } else { Err(Rejection::WrongPeer { instance: instance.clone() }) }
    }
}

impl Shell for Fake {
    async fn samples(
        &self,
        peer: IpAddr,
        batch: SampleBatch,
    ) -> Result<Result<SamplesAccepted, Rejection>, Unanswered> {
        let accepted = batch.samples.len();
        Ok(self.hears_from(peer, &batch.instance).map(|()| SamplesAccepted { accepted }))
    }
    async fn notices(
        &self,
        peer: IpAddr,
        batch: NoticeBatch,
    ) -> Result<Result<NoticesAccepted, Rejection>, Unanswered> {
        let confirmed = batch.notices.len();
        let accepted = NoticesAccepted { accepted: confirmed, confirmed, leader: false };
        Ok(self.hears_from(peer, &batch.instance).map(|()| accepted))
    }
    async fn instance(&self, id: InstanceId) -> Result<Option<Described>, Unanswered> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        let gate = locked(&self.gate).clone();
        if let Some(gate) = gate {
            let mut opens = std::pin::pin!(gate.notified());
            // It waits from here on, so that whoever counts it may open the gate.
            opens.as_mut().enable();
            self.waiting.fetch_add(1, Ordering::SeqCst);
            opens.await;
        }
        Ok(locked(&self.instances).get(&id).cloned())
    }
    async fn operate(&self, _: Command) -> Result<Result<(), CommandError>, Unanswered> {
        Err(Unanswered::NotRunning)
    }
    async fn alarms(&self, _: Region, _: Vec<String>) -> Result<Vec<AlarmView>, ApiError> {
        Ok(Vec::new())
    }
    async fn images(&self, _: Region, _: String, _: u64, _: ImageId) -> Result<Images, ApiError> {
        Ok(Images::default())
    }
    async fn make_version(&self, _: Region, _: String, _: u64, _: ImageId) -> Result<u64, ApiError> {
        Err(ApiError::new(ErrorClass::Denied, "ec2", "CreateLaunchTemplateVersion", None, "no"))
    }
    async fn status(&self) -> Result<Status, Unanswered> {
        Err(Unanswered::NotRunning)
    }
    async fn fleet(&self, _: FleetName) -> Result<Option<FleetStatus>, Unanswered> {
        Ok(None)
    }
    async fn decisions(&self, _: FleetName) -> Result<Option<Vec<Decided>>, Unanswered> {
        Ok(None)
    }
    async fn decision_at(&self, _: FleetName, _: Timestamp) -> Result<Option<Decided>, Unanswered> {
        Ok(None)
    }
    async fn counters(&self) -> Result<EngineMetrics, Unanswered> {
        Ok(EngineMetrics::default())
    }
    fn now(&self) -> Timestamp {
        *locked(&self.now)
    }
}

/// Who signs documents, made once: keys take time.
fn aws() -> &'static DocumentSigner {
    static AWS: OnceLock<DocumentSigner> = OnceLock::new();
    AWS.get_or_init(|| DocumentSigner::generate().expect("a key"))
}

fn document(change: impl FnOnce(&mut Value)) -> String {
    let mut document = json!({"accountId": ACCOUNT, "instanceId": "i-a", "region": "eu-west-1", "privateIp": A,
        "pendingTime": NOW.to_string(), "imageId": "ami-1", "instanceType": "m5.large", "version": "2017-09-30"});
    change(&mut document);
    document.to_string()
}

fn sign(document: &str) -> String {
    aws().sign(document.as_bytes(), NOW).expect("a signature")
}

fn of(instance: &str, address: IpAddr) -> String {
    sign(&document(|document| {
        document["instanceId"] = json!(instance);
        document["privateIp"] = json!(address);
    }))
}

/// What a server is started with, on disk.
struct Disk {
    directory: TempDir,
}

impl Disk {
    fn new() -> Self {
        autoscaler::tls::install_provider();
        let disk = Self { directory: tempfile::tempdir().expect("a directory") };
        std::fs::create_dir(disk.path("aws")).expect("a directory");
        std::fs::write(disk.path("aws/eu-west-1.pem"), aws().certificate()).expect("a certificate");
        std::fs::write(disk.path("shared"), SHARED).expect("a token");
        disk.certify();
        disk
    }
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
    /// Puts a new certificate and key in place of the old ones. * returns: the certificate.
    fn certify(&self) -> String {
        let (certificate, key) = certified();
        replace(&self.path("tls.pem"), &certificate);
        replace(&self.path("tls.key"), &key);
        certificate
    }
    fn access(&self, change: impl FnOnce(&mut IdentityFiles)) -> Access {
        let mut files = IdentityFiles {
            certificates: self.path("aws"),
            keys: self.path("node-token.key"),
            accounts: BTreeSet::from([ACCOUNT.to_owned()]),
            any_address: false,
        };
        change(&mut files);
        let identity = Some(Identity::open(files).expect("certificates and keys"));
        Access {
            identity,
            samples: Some(TokenFile::open(self.path("shared")).expect("a token")),
            operators: None,
        }
    }
    fn tls(&self) -> Tls {
        Tls::open(self.path("tls.pem"), self.path("tls.key")).expect("a certificate and its key")
    }
    fn certificate(&self) -> String {
        std::fs::read_to_string(self.path("tls.pem")).expect("a certificate")
    }
}

/// A self-signed certificate for this host and its key, in PEM.
fn certified() -> (String, String) {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// As agents that rotate certificates do: a file appears whole or not at all.
fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("a file");
    std::fs::rename(draft, path).expect("in place");
}

struct Server {
    address: SocketAddr,
    shell: Fake,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    disk: Arc<Disk>,
}

impl Server {
    async fn start() -> Self {
        let disk = Arc::new(Disk::new());
        let access = disk.access(|_| ());
        Self::with(disk, access, Limits::default()).await
    }
    async fn with(disk: Arc<Disk>, access: Access, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let shell = Fake::new();
        let router = router(shell.clone(), access, Metrics::new());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, Some(disk.tls()), router, limits, async {
            let _ = stopped.await;
        }));
        Self { address, shell, stop: Some(stop), task, disk }
    }
    fn client(&self, from: IpAddr) -> Client {
        client(from, &self.disk.certificate())
    }
    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
    async fn post(&self, from: IpAddr, path: &str, token: Option<&str>, body: &Value) -> (StatusCode, Value) {
        let request = self.client(from).post(self.url(path)).json(body);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let response = request.send().await.expect("an answer");
        (response.status(), response.json().await.expect("JSON"))
    }
    async fn identify(&self, from: IpAddr, pkcs7: &str) -> (StatusCode, Value) {
        self.post(from, "/v1/identify", None, &json!({"version": 1, "pkcs7": pkcs7})).await
    }
    async fn token(&self, instance: &str, address: IpAddr) -> String {
        let (status, body) = self.identify(address, &of(instance, address)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_value::<Identified>(body).expect("a token").token
    }
    /// Sends samples and notices of an instance. * returns: the two statuses.
    async fn speak(&self, from: IpAddr, token: &str, instance: &str) -> (u16, u16) {
        let (samples, _) = self.post(from, "/v1/samples", Some(token), &samples(instance)).await;
        let (notices, _) = self.post(from, "/v1/notices", Some(token), &notices(instance)).await;
        (samples.as_u16(), notices.as_u16())
    }
    async fn stop(mut self) {
        let _ = self.stop.take().expect("it runs").send(());
        self.task.await.expect("it ends");
    }
}

fn client(from: IpAddr, certificate: &str) -> Client {
    let certificate = Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
    let client = Client::builder().no_proxy().local_address(from).tls_certs_only([certificate]);
    client.timeout(Duration::from_secs(20)).build().expect("a client")
}

fn samples(instance: &str) -> Value {
    json!({"version": 1, "instance": instance, "sequence": 0,
        "samples": [{"end_ms": NOW, "period_ms": 10_000, "utilization": 0.5}]})
}

fn notices(instance: &str) -> Value {
    json!({"version": 1, "instance": instance, "sequence": 7,
        "notices": [{"kind": "spot_interruption", "at_ms": NOW, "deadline_ms": NOW + Duration::from_secs(120)}]})
}

#[tokio::test]
async fn a_node_that_proved_who_it_is_speaks_for_itself_alone() {
    let server = Server::start().await;
    let (status, body) = server.identify(A, &of("i-a", A)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let mine: Identified = serde_json::from_value(body).expect("a token");
    assert_eq!(mine.expires, NOW + Duration::from_secs(12 * 3600));
    assert!(!format!("{mine:?}").contains(&mine.token), "tokens are not printed");

    assert_eq!(server.speak(A, &mine.token, "i-a").await, (200, 200));
    assert_eq!(server.speak(A, &mine.token, "i-b").await, (403, 403), "for another");
    assert_eq!(server.speak(B, &mine.token, "i-a").await, (403, 403), "from another");
    assert_eq!(server.speak(B, &mine.token, "i-b").await, (403, 403), "with another's token");
    assert_eq!(
        server.speak(B, &server.token("i-b", B).await, "i-b").await,
        (200, 200),
        "the other for itself"
    );
    let (_, body) = server.post(A, "/v1/notices", Some(&mine.token), &notices("i-b")).await;
    assert_eq!(body["error"], "this token is that of i-a, and speaks for no other instance");
    let (_, body) = server.post(A, "/v1/notices", Some(&mine.token), &notices("i-a")).await;
    assert_eq!(body, json!({"accepted": 1, "confirmed": 1, "leader": false}));
}

#[tokio::test]
async fn a_token_holds_until_it_expires_and_only_unchanged() {
    let server = Server::start().await;
    let token = server.token("i-a", A).await;
    assert_eq!(server.speak(A, &token.replace("i-a", "i-b"), "i-b").await, (401, 401), "forged");
    let elsewhere = Server::start().await.token("i-a", A).await;
    let (status, body) = server.post(A, "/v1/samples", Some(&elsewhere), &samples("i-a")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "of a process with keys of its own");
    assert_eq!(body["error"], "the node's token is refused: it was not made here: identify again");
    assert_eq!(server.speak(A, &token[..token.len() - 2], "i-a").await, (401, 401), "cut");
    *locked(&server.shell.now) = NOW + Duration::from_secs(12 * 3600 - 1);
    assert_eq!(server.speak(A, &token, "i-a").await, (200, 200));
    *locked(&server.shell.now) = NOW + Duration::from_secs(12 * 3600);
    let (status, body) = server.post(A, "/v1/samples", Some(&token), &samples("i-a")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(body["error"], "the node's token is refused: it has expired: identify again");
    let again = server.token("i-a", A).await;
    assert_eq!(server.speak(A, &again, "i-a").await, (200, 200));
}

#[tokio::test]
async fn a_shared_token_is_still_possible_and_nothing_goes_without_one() {
    let server = Server::start().await;
    assert_eq!(server.speak(A, SHARED, "i-a").await, (200, 200));
    assert_eq!(server.speak(A, "not-a-token-of-anybody", "i-a").await, (401, 401));
    let (status, _) = server.post(A, "/v1/notices", None, &notices("i-a")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    let disk = Arc::clone(&server.disk);
    let mut access = disk.access(|_| ());
    access.samples = None;
    let strict = Server::with(disk, access, Limits::default()).await;
    assert_eq!(strict.speak(A, SHARED, "i-a").await, (401, 401));
    // Two processes with the same keys stand in for each other.
    let token = server.token("i-a", A).await;
    assert_eq!(strict.speak(A, &token, "i-a").await, (200, 200));

    let disk = Arc::clone(&server.disk);
    let nobody = Server::with(disk, Access::default(), Limits::default()).await;
    assert_eq!(nobody.speak(A, &token, "i-a").await, (403, 403));
    assert_eq!(nobody.identify(A, &of("i-a", A)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn whoever_is_not_the_instance_of_its_document_gets_no_token() {
    let server = Server::start().await;
    let stranger = DocumentSigner::generate().expect("a key");
    let forged = stranger.sign(document(|_| ()).as_bytes(), NOW).expect("a signature");
    let with = |field: &str, value: &str| sign(&document(|document| document[field] = json!(value)));
    for (from, pkcs7, status, says) in [
        (A, forged, StatusCode::FORBIDDEN, "none of the trusted certificates"),
        (A, "not base64!".to_owned(), StatusCode::BAD_REQUEST, "not the PKCS #7 of a document"),
        (A, "A".repeat(40_000), StatusCode::PAYLOAD_TOO_LARGE, "larger than"),
        (A, with("accountId", "210987654321"), StatusCode::FORBIDDEN, "account 210987654321 is not allowed"),
        (A, with("region", "us-east-1"), StatusCode::FORBIDDEN, "certificate of eu-west-1"),
        (A, with("instanceId", "i-c"), StatusCode::NOT_FOUND, "no fleet of ours has shown"),
        (A, with("pendingTime", "2020-01-01T00:00:00Z"), StatusCode::FORBIDDEN, "before the launch"),
        (B, of("i-a", A), StatusCode::FORBIDDEN, "the call comes from 127.0.0.12"),
        (B, of("i-a", B), StatusCode::FORBIDDEN, "the instance has Some(127.0.0.11)"),
    ] {
        let (found, body) = server.identify(from, &pkcs7).await;
        assert_eq!(found, status, "{body}");
        assert!(body["error"].as_str().is_some_and(|error| error.contains(says)), "{body}");
    }
    let (status, _) =
        server.post(A, "/v1/identify", None, &json!({"version": 2, "pkcs7": of("i-a", A)})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    // A document that was good is replayed after its instance has gone.
    let good = of("i-a", A);
    assert_eq!(server.identify(A, &good).await.0, StatusCode::OK);
    locked(&server.shell.instances).get_mut("i-a").expect("an instance").state = InstanceState::Terminated;
    let (status, body) = server.identify(A, &good).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
}

#[tokio::test]
async fn any_address_may_be_allowed() {
    let disk = Arc::new(Disk::new());
    let access = disk.access(|files| files.any_address = true);
    let server = Server::with(disk, access, Limits::default()).await;
    assert_eq!(server.identify(B, &of("i-a", A)).await.0, StatusCode::OK);
    assert_eq!(server.identify(B, &of("i-a", B)).await.0, StatusCode::FORBIDDEN, "another's document");
    let (_, body) = server.identify(B, &of("i-a", A)).await;
    let token = body["token"].as_str().expect("a token");
    assert_eq!(server.speak(B, token, "i-a").await, (200, 200), "what it tells is taken from there, too");
    assert_eq!(server.speak(B, token, "i-b").await, (403, 403));
    assert_eq!(server.speak(B, SHARED, "i-a").await, (403, 403), "a shared token proves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_identify_at_a_time() {
    let server = Arc::new(Server::start().await);
    let gate = Arc::new(Notify::new());
    *locked(&server.shell.gate) = Some(Arc::clone(&gate));
    let signed = of("i-a", A);
    let mut held = Vec::new();
    for _ in 0..16 {
        let (server, signed) = (Arc::clone(&server), signed.clone());
        held.push(tokio::spawn(async move { server.identify(A, &signed).await.0 }));
    }
    let all_wait = async {
        while server.shell.waiting.load(Ordering::SeqCst) < 16 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_wait).await.expect("all wait");
    let (status, _) = server.identify(A, &signed).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    *locked(&server.shell.gate) = None;
    gate.notify_waiters();
    for call in held {
        assert_eq!(call.await.expect("no panic"), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_slowly_takes_no_place_from_others() {
    let disk = Disk::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    let router = router(Fake::new(), disk.access(|_| ()), Metrics::new());
    let (_stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, None, router, Limits::default(), async {
        let _ = stopped.await;
    }));
    let mut slow = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = "POST /v1/identify HTTP/1.1\r\nHost: muster\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        // It says so when it begins to read the body, of which no more comes than this.
        let mut begun = [0; 12];
        let read = stream.read_exact(&mut begun);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer").expect("an answer");
        assert_eq!(&begun, b"HTTP/1.1 100");
        stream.write_all(b"{").await.expect("sent");
        slow.push(stream);
    }
    let client = Client::builder().no_proxy().local_address(A).build().expect("a client");
    let call = client.post(format!("http://{address}/v1/identify"));
    let call = call.json(&json!({"version": 1, "pkcs7": of("i-a", A)}));
    assert_eq!(call.send().await.expect("an answer").status(), StatusCode::OK);
    drop(slow);
    server.abort();
}

#[tokio::test]
async fn nobody_is_looked_for_because_of_another_account_s_document() {
    let server = Server::start().await;
    let foreign = sign(&document(|document| {
        document["accountId"] = json!("210987654321");
        document["instanceId"] = json!("i-stranger");
    }));
    assert_eq!(server.identify(A, &foreign).await.0, StatusCode::FORBIDDEN);
    assert_eq!(server.shell.looked_up.load(Ordering::Relaxed), 0);
    assert_eq!(server.identify(A, &of("i-stranger", A)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.shell.looked_up.load(Ordering::Relaxed), 1, "one of ours may be too young");
}

/// The leaf certificate that a server shows to a new connection answers a client that trusts only `certificate`.
async fn is_served_with(server: &Server, certificate: &str) -> bool {
    client(A, certificate).get(server.url("/v1/health")).send().await.is_ok()
}

#[tokio::test]
async fn a_certificate_that_is_replaced_counts_from_the_next_connection_on() {
    let server = Server::start().await;
    let first = server.disk.certificate();
    let open = client(A, &first);
    assert!(open.get(server.url("/v1/health")).send().await.is_ok());
    let second = server.disk.certify();
    assert!(is_served_with(&server, &second).await && !is_served_with(&server, &first).await);
    assert!(open.get(server.url("/v1/health")).send().await.is_ok(), "a connection that is open goes on");

    // Half a change: the certificate is there and its key not yet. What was before goes on.
    let (third, key) = certified();
    replace(&server.disk.path("tls.pem"), &third);
    assert!(is_served_with(&server, &second).await);
    replace(&server.disk.path("tls.key"), &key);
    assert!(is_served_with(&server, &third).await && !is_served_with(&server, &second).await);

    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        replace(&server.disk.path("tls.pem"), broken);
        assert!(is_served_with(&server, &third).await, "{broken:?}");
    }
    std::fs::remove_file(server.disk.path("tls.pem")).expect("no file");
    assert!(is_served_with(&server, &third).await);
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_at_the_start() {
    let disk = Disk::new();
    replace(&disk.path("tls.key"), &certified().1);
    assert!(Tls::open(disk.path("tls.pem"), disk.path("tls.key")).is_err());
    assert!(Tls::open(disk.path("none.pem"), disk.path("tls.key")).is_err());
    let (certificate, key) = certified();
    replace(&disk.path("both.pem"), &(certificate + &key));
    assert!(Tls::open(disk.path("both.pem"), disk.path("both.pem")).is_ok(), "one file may hold both");
}

#[tokio::test]
async fn keys_and_trusted_certificates_are_read_again_when_they_change() {
    let server = Server::start().await;
    let token = server.token("i-a", A).await;
    let old = std::fs::read_to_string(server.disk.path("node-token.key")).expect("keys");
    let new = fleet_identity::TokenKeys::generate().expect("a key");
    let rotate = |text: &str| {
        use std::os::unix::fs::PermissionsExt;
        replace(&server.disk.path("node-token.key"), text);
        let own = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(server.disk.path("node-token.key"), own).expect("a mode");
    };
    rotate(&format!("{new}{old}"));
    assert_eq!(server.speak(A, &token, "i-a").await, (200, 200), "both keys are known");
    let fresh = server.token("i-a", A).await;
    rotate(&new);
    assert_eq!(server.speak(A, &token, "i-a").await, (401, 401), "the old one is gone");
    assert_eq!(server.speak(A, &fresh, "i-a").await, (200, 200));

    let next = DocumentSigner::generate().expect("a key");
    let signed = next.sign(document(|_| ()).as_bytes(), NOW).expect("a signature");
    assert_eq!(server.identify(A, &signed).await.0, StatusCode::FORBIDDEN);
    replace(&server.disk.path("aws/eu-west-1.pem"), &(aws().certificate() + &next.certificate()));
    assert_eq!(server.identify(A, &signed).await.0, StatusCode::OK, "AWS has changed its certificate");
    assert_eq!(server.identify(A, &of("i-a", A)).await.0, StatusCode::OK);
}

/// Writes raw bytes, and reads until the server closes.
fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(bytes).expect("sent");
    let mut read = Vec::new();
    // A reset is as good an end as any.
    let ended = stream.read_to_end(&mut read).err().map(|error| error.kind());
    assert!(
        !matches!(ended, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)),
        "it hangs"
    );
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_dawdle_or_are_none_are_cut_off() {
    let disk = Arc::new(Disk::new());
    let short = Duration::from_millis(200);
    let limits =
        Limits { handshake: short, head: short, request: short, connections: 4, ..Limits::default() };
    let access = disk.access(|_| ());
    let server = Server::with(disk, access, limits).await;
    let address = server.address;
    // Nothing, the beginning of a handshake, a promise of much, and plain HTTP: four at a time, so that all places
    // are taken again and again.
    let beginnings: [&'static [u8]; 4] =
        [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03\x01\xFF\xFF", b"GET / HTTP/1.1\r\n\r\n"];
    for _ in 0..3 {
        let calls = beginnings.map(|bytes| tokio::task::spawn_blocking(move || raw(address, bytes)));
        for call in calls {
            let read = call.await.expect("it is cut off");
            assert!(!read.starts_with(b"HTTP"), "nothing is told in the clear");
        }
    }
    assert_eq!(server.speak(A, SHARED, "i-a").await, (200, 200), "others are served as ever");
    server.stop().await;
}

/// Runs curl. * returns: the status and the body.
fn curl(disk: &Disk, arguments: &[&str]) -> (u16, String) {
    let output = std::process::Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--write-out",
            "\n%{http_code}",
        ])
        .arg("--cacert")
        .arg(disk.path("tls.pem"))
        .args(arguments)
        .output()
        .expect("the program `curl` runs: apt-get install curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), body.to_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_does_what_the_documentation_shows() {
    let server = Arc::new(Server::start().await);
    let asked = Arc::clone(&server);
    tokio::task::spawn_blocking(move || {
        let disk = &asked.disk;
        let body = json!({"version": 1, "pkcs7": of("i-a", A)}).to_string();
        let url = |path: &str| asked.url(path);
        let (status, answer) =
            curl(disk, &["--interface", "127.0.0.11", "--data", &body, &url("/v1/identify")]);
        assert_eq!(status, 200, "{answer}");
        let identified: Identified = serde_json::from_str(&answer).expect("a token");
        let header = format!("Authorization: Bearer {}", identified.token);
        let batch = notices("i-a").to_string();
        let notices = curl(
            disk,
            &["--interface", "127.0.0.11", "--header", &header, "--data", &batch, &url("/v1/notices")],
        );
        assert_eq!(notices, (200, r#"{"accepted":1,"confirmed":1,"leader":false}"#.to_owned()));
        for version in ["1.2", "1.3"] {
            let (least, most) = (format!("--tlsv{version}"), ["--tls-max", version]);
            assert_eq!(curl(disk, &[&least, most[0], most[1], &url("/v1/health")]).0, 200, "TLS {version}");
        }
        let old = ["--ciphers", "DEFAULT@SECLEVEL=0", "--tlsv1.0", "--tls-max", "1.1", &url("/v1/health")];
        assert_eq!(curl(disk, &old).0, 0, "TLS 1.1 is not spoken");
    })
    .await
    .expect("no panic");
}
