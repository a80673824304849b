//! What goes wrong on the way, by a server that does as it is told; and that no secret gets into what is said of it.

use bootstrap_core::{Failure, Now};
use bootstrap_vault::{
    Destination, Happened, Keeper, LoginRequest, Method, SecretId, Server, Signing, Template, VaultError,
    VaultOptions,
};
use fleet::{ErrorClass, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::fs;
use std::io::{BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The most that a call may take here. A hanging one takes as long; the others must not.
const PATIENCE: Duration = Duration::from_millis(400);
const SECRET_ID: &str = "planted-secret-id";
const TOKEN: &str = "hvs.planted-token";

/// How a request is answered.
#[derive(Clone)]
enum Reply {
    /// Status line and headers, body.
    Whole(&'static str, Vec<u8>),
    /// Only the beginning, then nothing more, with the connection open.
    Stall(Vec<u8>),
    /// A byte now and then, for ever.
    Trickle,
    /// The connection is closed after this.
    Cut(Vec<u8>),
}

fn json(status: &'static str, body: &str) -> Reply {
    Reply::Whole(status, body.as_bytes().to_vec())
}

/// A login that comes off.
fn login() -> Reply {
    let auth = format!(r#"{{"auth":{{"client_token":"{TOKEN}","lease_duration":60,"renewable":true}}}}"#);
    json("200 OK", &auth)
}

/// Answers by the request's path, until the test's process ends.
fn serve(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it listens");
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut writer = stream.try_clone().expect("a socket");
                exchange(BufReader::new(stream), &mut writer, &*answer);
            });
        }
    });
    at
}

/// One request and its answer. Who hangs up in between is the test's own.
fn exchange(mut reader: impl std::io::BufRead, writer: &mut impl Write, answer: &dyn Fn(&str) -> Reply) {
    let mut path = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().replacen("/v1/", "", 1);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let _ = match answer(&path) {
        Reply::Whole(status, body) => {
            let head =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&body))
        }
        Reply::Cut(bytes) => writer.write_all(&bytes),
        Reply::Stall(bytes) => {
            let sent = writer.write_all(&bytes).and_then(|()| writer.flush());
            // Until the other side has had enough.
            let _ = reader.read(&mut [0]);
            sent
        }
        Reply::Trickle => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
            let mut sent = writer.write_all(head.as_bytes());
            while sent.is_ok() {
                thread::sleep(Duration::from_millis(20));
                sent = writer.write_all(b" ").and_then(|()| writer.flush());
            }
            sent
        }
    };
}

struct Node {
    place: TempDir,
}

impl Node {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        fs::write(place.path().join("role_id"), "role").expect("a file");
        fs::write(place.path().join("secret_id"), SECRET_ID).expect("a file");
        Self { place }
    }

    /// AppRole, a token in a file, and a template that reads `kv/data/web`.
    fn options(&self, address: &str) -> VaultOptions {
        let path = |name: &str| self.place.path().join(name);
        let method = Method::AppRole {
            mount: "approle".into(),
            role_id: path("role_id"),
            secret_id: SecretId::Plain { file: path("secret_id") },
        };
        let server = Server { timeout: PATIENCE, connect_timeout: PATIENCE, ..Server::new(address) };
        let mut options = VaultOptions::new(server, method);
        let file = |name: &str| Destination { require_tmpfs: false, ..Destination::private(path(name)) };
        options.token_file = Some(file("token"));
        fs::write(path("web.tmpl"), "{{ secret('kv/data/web').password }}").expect("a template");
        options.templates = vec![Template {
            source: path("web.tmpl"),
            destination: file("web"),
            reload: vec!["web.service".into()],
            remove_at_stop: false,
        }];
        options
    }

    fn keeper(&self, at: SocketAddr) -> Keeper {
        Keeper::new(self.options(&format!("http://{at}")), None, 3).expect("options")
    }
}

fn at(seconds: u64) -> Now {
    Now { wall: Timestamp::from_secs(1_767_225_600), monotonic: Duration::from_secs(seconds) }
}

/// What a first step fails with; checks that nothing of it shows a secret.
async fn failure(keeper: &mut Keeper) -> VaultError {
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    let [error] = &stepped.failures[..] else { panic!("{:?}", stepped.failures) };
    let chain = format!("{error} {error:?} {:?} {stepped:?} {keeper:?}", Failure::from(error.clone()));
    assert!(!chain.contains("planted"), "{chain}");
    error.clone()
}

/// What a login fails with when it is answered like this.
async fn of(reply: Reply) -> VaultError {
    let server = serve(move |_| reply.clone());
    failure(&mut Node::new().keeper(server)).await
}

#[tokio::test]
async fn who_hangs_or_trickles_is_given_up_in_time() {
    for reply in [
        Reply::Stall(Vec::new()),
        Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_vec()),
        Reply::Trickle,
    ] {
        let error = of(reply).await;
        assert!(matches!(error, VaultError::TimedOut { .. }), "{error:?}");
        assert_eq!((error.class(), error.is_lasting()), (ErrorClass::Transient, false));
    }
}

#[tokio::test]
async fn nobody_there_and_connections_that_break_are_told_apart() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it listened");
    let error = failure(&mut Node::new().keeper(port)).await;
    assert!(matches!(error, VaultError::Unreachable { .. }), "{error:?}");
    for bytes in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", b"\x15\x03\x03\x00\x02\x02"] {
        let error = of(Reply::Cut(bytes.to_vec())).await;
        assert!(matches!(error, VaultError::Cut { .. }), "{error:?}");
        assert!(!error.is_lasting());
    }
}

#[tokio::test]
async fn answers_that_are_none_of_vaults_are_told_without_being_quoted() {
    for body in [
        "",
        "<html>planted</html>",
        "[\"planted\"]",
        "{\"auth\":null}",
        "{\"auth\":{\"client_token\":7}}",
        "{",
    ] {
        let error = of(json("200 OK", body)).await;
        assert!(matches!(error, VaultError::Garbage { .. }), "{body}: {error:?}");
        assert!(!error.is_lasting(), "a proxy may answer while Vault is away");
    }
    let error = of(json("418 I'm a teapot", "planted")).await;
    assert!(matches!(error, VaultError::Garbage { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let error = of(Reply::Whole("200 OK", vec![b' '; 5 * 1024 * 1024])).await;
    assert_eq!(
        error,
        VaultError::TooLarge { call: "POST auth/approle/login".into(), limit: 4 * 1024 * 1024 }
    );
}

#[tokio::test]
async fn a_server_that_wants_a_pause_gets_it() {
    let server = serve(|_| {
        json("429 Too Many Requests\r\nRetry-After: 77", r#"{"errors":["rate limit quota exceeded"]}"#)
    });
    let node = Node::new();
    let mut keeper = node.keeper(server);
    let error = failure(&mut keeper).await;
    assert_eq!(error.class(), ErrorClass::Throttled { retry_after: Some(Duration::from_secs(77)) });
    assert_eq!(keeper.next_wake(Duration::ZERO), Duration::from_secs(77));
}

#[tokio::test]
async fn a_server_that_fails_is_tried_again_with_pauses_that_grow() {
    let server = serve(|_| {
        json(
            "500 Internal Server Error",
            r#"{"errors":["local node not active but active cluster node not found"]}"#,
        )
    });
    let node = Node::new();
    let mut keeper = node.keeper(server);
    assert!(matches!(failure(&mut keeper).await, VaultError::NotElected { .. }));
    assert_eq!(keeper.next_wake(Duration::ZERO), Duration::from_secs(1));
    failure(&mut keeper).await;
    assert_eq!(keeper.next_wake(Duration::ZERO), Duration::from_secs(2));
    let error = of(json("502 Bad Gateway", "<html>planted")).await;
    assert!(matches!(error, VaultError::Failing { status: 502, .. }), "{error:?}");
}

#[tokio::test]
async fn what_was_sent_does_not_come_back_in_an_error() {
    let said = format!(r#"{{"errors":["cannot use {SECRET_ID}"]}}"#);
    let error = of(Reply::Whole("400 Bad Request", said.into_bytes())).await;
    let VaultError::Refused { words, .. } = &error else { panic!("{error:?}") };
    assert_eq!(words, "cannot use (secret)");
}

#[tokio::test]
async fn a_standby_s_redirection_is_followed_once_and_never_away_from_https() {
    let active = serve(|path| match path {
        "auth/approle/login" => login(),
        "kv/data/web" => json("200 OK", r#"{"data":{"password":"p"}}"#),
        _ => json("404 Not Found", "{}"),
    });
    let status: &'static str = Box::leak(
        format!("307 Temporary Redirect\r\nLocation: http://{active}/v1/auth/approle/login").into_boxed_str(),
    );
    let kv: &'static str = Box::leak(
        format!("307 Temporary Redirect\r\nLocation: http://{active}/v1/kv/data/web").into_boxed_str(),
    );
    let standby = serve(move |path| json(if path.starts_with("kv") { kv } else { status }, ""));
    let node = Node::new();
    let mut keeper = node.keeper(standby);
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    assert_eq!(stepped.failures, []);
    assert_eq!(fs::read_to_string(node.place.path().join("web")).expect("it is there"), "p");

    let error = of(json("307 Temporary Redirect\r\nLocation: /v1/again", "")).await;
    assert!(matches!(error, VaultError::Redirected { .. }), "{error:?}");
    let error = of(json("307 Temporary Redirect\r\nLocation: file:///etc/passwd", "")).await;
    assert!(matches!(error, VaultError::Redirected { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_that_counts_as_invalid_from_the_start_is_not_had_again_and_again() {
    let server = serve(|path| match path {
        "auth/approle/login" => login(),
        _ => json("403 Forbidden", r#"{"errors":["permission denied"]}"#),
    });
    let node = Node::new();
    let mut keeper = node.keeper(server);
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    assert_eq!(stepped.happened.len(), 1, "one login: {:?}", stepped.happened);
    assert!(matches!(stepped.failures[..], [VaultError::Denied { .. }]), "{:?}", stepped.failures);
}

#[tokio::test]
async fn a_login_that_is_given_up_does_not_lose_what_it_unwrapped() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let (unwraps, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = (Arc::clone(&unwraps), Arc::clone(&seen));
    let server = serve(move |path| match path {
        "sys/wrapping/lookup" => {
            json("200 OK", r#"{"data":{"creation_path":"auth/approle/role/node/secret-id"}}"#)
        }
        "sys/wrapping/unwrap" => {
            counted.0.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PATIENCE / 4);
            json("200 OK", &format!(r#"{{"data":{{"secret_id":"{SECRET_ID}"}}}}"#))
        }
        "auth/approle/login" => {
            counted.1.fetch_add(1, Ordering::Relaxed);
            login()
        }
        _ => json("200 OK", r#"{"data":{"password":"p"}}"#),
    });
    let node = Node::new();
    let mut options = node.options(&format!("http://{server}"));
    let Method::AppRole { secret_id, .. } = &mut options.method else { panic!("it is AppRole") };
    let file = node.place.path().join("secret_id");
    *secret_id =
        SecretId::Wrapped { file, creation_path: "auth/approle/role/node/secret-id".into(), keep: None };
    let mut keeper = Keeper::new(options, None, 3).expect("options");
    let given_up = tokio::time::timeout(PATIENCE / 8, keeper.step_and_place(at(0))).await;
    assert!(given_up.is_err());
    let (stepped, _) = keeper.step_and_place(at(1)).await;
    assert_eq!(stepped.failures, []);
    assert_eq!((unwraps.load(Ordering::Relaxed), seen.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn what_ends_at_once_is_not_fetched_again_and_again() {
    let server = serve(|path| match path {
        "auth/approle/login" => login(),
        _ => json(
            "200 OK",
            r#"{"lease_id":"a/b","lease_duration":0,"renewable":false,"data":{"password":"p"}}"#,
        ),
    });
    let node = Node::new();
    let mut keeper = node.keeper(server);
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    assert_eq!(stepped.failures, []);
    assert_eq!(keeper.next_wake(Duration::ZERO), Duration::from_secs(5));
    let (stepped, _) = keeper.step_and_place(at(4)).await;
    assert_eq!(stepped.happened, []);
    let (stepped, _) = keeper.step_and_place(at(5)).await;
    assert!(matches!(stepped.happened[..], [Happened::Fetched { .. }]), "{:?}", stepped.happened);
}

#[tokio::test]
async fn nothing_shows_what_it_holds() {
    let server = serve(|path| match path {
        "auth/approle/login" => login(),
        _ => json("200 OK", r#"{"data":{"password":"planted-password"}}"#),
    });
    let node = Node::new();
    let options = node.options(&format!("http://{server}"));
    let mut keeper = Keeper::new(options.clone(), None, 3).expect("options");
    let stepped = keeper.step(at(0)).await;
    assert_eq!((stepped.rendered.len(), stepped.failures.len()), (1, 0));
    assert_eq!(stepped.rendered[0].contents.expose(), "planted-password");
    assert_eq!(fs::read_to_string(node.place.path().join("token")).expect("it is there"), TOKEN);
    let shown = format!("{options:?} {keeper:?} {stepped:?} {:#?}", stepped.rendered);
    assert!(shown.contains("kv/data/web") && shown.contains("(secret)"), "{shown}");
    assert!(!shown.contains("planted"), "{shown}");
}

#[tokio::test]
async fn a_server_that_goes_away_leaves_what_is_held_and_comes_back() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let away = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&away);
    let server = serve(move |path| match path {
        _ if gone.load(Ordering::Relaxed) => {
            json("503 Service Unavailable", r#"{"errors":["Vault is sealed"]}"#)
        }
        "auth/approle/login" | "auth/token/renew-self" => login(),
        _ => json("200 OK", r#"{"data":{"password":"p"}}"#),
    });
    let node = Node::new();
    let mut keeper = node.keeper(server);
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    assert_eq!(stepped.failures, []);
    away.store(true, Ordering::Relaxed);
    let (stepped, _) = keeper.step_and_place(at(46)).await;
    assert!(matches!(stepped.failures[..], [VaultError::Sealed { .. }]), "{:?}", stepped.failures);
    assert!(keeper.is_whole(Duration::from_secs(46)), "the token still holds");
    assert!(!keeper.is_whole(Duration::from_secs(60)), "and then no more");
    // It is asked again before the token ends, and then for another token.
    assert!(keeper.next_wake(Duration::from_secs(46)) < Duration::from_secs(55));
    let (stepped, _) = keeper.step_and_place(at(59)).await;
    assert!(matches!(stepped.failures[..], [VaultError::Sealed { .. }]), "{:?}", stepped.failures);
    assert!(keeper.next_wake(Duration::from_secs(59)) > Duration::from_secs(59), "with a pause");
    away.store(false, Ordering::Relaxed);
    let (stepped, _) = keeper.step_and_place(at(61)).await;
    assert!(matches!(stepped.happened[..], [Happened::LoggedIn { .. }]), "{:?}", stepped.happened);
    assert_eq!(stepped.failures, []);
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() {
    // An error says that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    for (until, expect) in [(2020, "Expired"), (2100, "")] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("an address");
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let cert = params.signed_by(&key, &ca).expect("a certificate");
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into());
        let config = Arc::new(config.expect("a certificate with its key"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it listens");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a configuration");
                let mut stream = rustls::Stream::new(&mut tls, &mut stream);
                let mut request = [0; 4096];
                // Who does not trust us hangs up.
                if stream.read(&mut request).is_ok() {
                    let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        let node = Node::new();
        let mut options = node.options(&format!("https://{port}"));
        let ca_file = node.place.path().join("ca.pem");
        fs::write(&ca_file, ca.pem()).expect("a file");
        options.server.ca_file = Some(ca_file);
        let error = failure(&mut Keeper::new(options, None, 1).expect("options")).await;
        match &error {
            VaultError::Certificate { why, .. } if !expect.is_empty() => {
                assert!(why.to_ascii_lowercase().contains("expired"), "{why}");
            }
            VaultError::Denied { .. } if expect.is_empty() => {}
            _ => panic!("{until}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn files_that_are_missing_or_no_such_thing_are_told() {
    let node = Node::new();
    let server = serve(|_| login());
    for (name, contents) in
        [("role_id", None), ("secret_id", Some(&b"  \n"[..])), ("secret_id", Some(b"\xff"))]
    {
        let mut keeper = node.keeper(server);
        let path = node.place.path().join(name);
        let before = fs::read(&path).expect("it is there");
        match contents {
            Some(contents) => fs::write(&path, contents).expect("a file"),
            None => fs::remove_file(&path).expect("it is there"),
        }
        let error = failure(&mut keeper).await;
        assert!(matches!(&error, VaultError::File { path: told, .. } if *told == path), "{error:?}");
        assert!(!error.is_lasting(), "somebody may write it yet");
        fs::write(&path, before).expect("a file");
    }
    let mut options = node.options("http://127.0.0.1:1");
    options.templates[0].source = node.place.path().join("none");
    assert!(Keeper::new(options, None, 1).is_err());
    assert!(Keeper::new(node.options("vault:8200"), None, 1).is_err());
}

#[tokio::test]
async fn who_cannot_sign_is_told_and_what_was_signed_is_not() {
    let server = serve(|_| {
        json(
            "400 Bad Request",
            r#"{"errors":["error making upstream request: planted-token-of-a-session-that-sts-quotes"]}"#,
        )
    });
    let node = Node::new();
    let mut options = node.options(&format!("http://{server}"));
    options.method = Method::Aws { mount: "aws".into(), role: "node".into() };
    let sign = |request: Result<LoginRequest, Failure>| -> Arc<dyn bootstrap_vault::SignLogin> {
        Arc::new(move || -> Signing { Box::pin(std::future::ready(request.clone())) })
    };
    let refused = sign(Err(Failure::new(ErrorClass::NotFound, "no role")));
    let error = failure(&mut Keeper::new(options.clone(), Some(refused), 1).expect("options")).await;
    assert_eq!((error.class(), error.is_lasting()), (ErrorClass::NotFound, false), "{error}");
    let request = LoginRequest {
        method: "POST".into(),
        url: "https://sts.amazonaws.com/".into(),
        body: "Action=GetCallerIdentity&Version=2011-06-15".into(),
        headers: vec![(
            "X-Amz-Security-Token".into(),
            "planted-token-of-a-session-that-sts-quotes".to_owned().into(),
        )],
    };
    let error =
        failure(&mut Keeper::new(options.clone(), Some(sign(Ok(request))), 1).expect("options")).await;
    assert!(
        matches!(&error, VaultError::Failing { words, .. } if words.ends_with("request: (secret)")),
        "{error}"
    );
    let error = failure(&mut Keeper::new(options, None, 1).expect("options")).await;
    assert!(error.is_lasting(), "{error}");
}
