//! A server that does as it is told, and a node that asks it.

use bootstrap_core::{Failure, Now};
use bootstrap_vault::{Destination, Keeper, Method, SecretId, Server, Template, VaultError, VaultOptions};
use fleet::Timestamp;
use std::fs;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const SECRET_ID: &str = "planted-secret-id";
pub(crate) const TOKEN: &str = "hvs.planted-token";

/// How a request is answered.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status line and headers, body.
    Whole(&'static str, Vec<u8>),
    /// Only the beginning, then nothing more, with the connection open.
    Stall(Vec<u8>),
    /// A byte now and then, for ever.
    Trickle,
    /// The connection is closed after this.
    Cut(Vec<u8>),
}

pub(crate) fn json(status: &'static str, body: &str) -> Reply {
    Reply::Whole(status, body.as_bytes().to_vec())
}

/// A login that comes off.
pub(crate) fn login() -> Reply {
    let auth = format!(r#"{{"auth":{{"client_token":"{TOKEN}","lease_duration":60,"renewable":true}}}}"#);
    json("200 OK", &auth)
}

/// Answers by the request's path, until the test's process ends.
pub(crate) fn serve(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> SocketAddr {
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
pub(crate) fn exchange(
    mut reader: impl std::io::BufRead,
    writer: &mut impl Write,
    answer: &dyn Fn(&str) -> Reply,
) {
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

pub(crate) struct Node {
    pub(crate) place: TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        fs::write(place.path().join("role_id"), "role").expect("a file");
        fs::write(place.path().join("secret_id"), SECRET_ID).expect("a file");
        Self { place }
    }

    /// AppRole, a token in a file, and a template that reads `kv/data/web`.
    pub(crate) fn options(&self, address: &str) -> VaultOptions {
        let path = |name: &str| self.place.path().join(name);
        let method = Method::AppRole {
            mount: "approle".into(),
            role_id: path("role_id"),
            secret_id: SecretId::Plain { file: path("secret_id") },
        };
        let mut options = VaultOptions::new(Server::new(address), method);
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

    pub(crate) fn keeper(&self, at: SocketAddr) -> Keeper {
        Keeper::new(self.options(&format!("http://{at}")), None, 3).expect("options")
    }
}

pub(crate) fn at(seconds: u64) -> Now {
    Now { wall: Timestamp::from_secs(1_767_225_600), monotonic: Duration::from_secs(seconds) }
}

/// What a first step fails with; checks that nothing of it shows a secret.
pub(crate) async fn failure(keeper: &mut Keeper) -> VaultError {
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    let [error] = &stepped.failures[..] else { panic!("{:?}", stepped.failures) };
    let chain = format!("{error} {error:?} {:?} {stepped:?} {keeper:?}", Failure::from(error.clone()));
    assert!(!chain.contains("planted"), "{chain}");
    error.clone()
}

/// What a login fails with when it is answered like this.
pub(crate) async fn of(reply: Reply) -> VaultError {
    let server = serve(move |_| reply.clone());
    failure(&mut Node::new().keeper(server)).await
}
