//! The credentials of a registry, tried on a real one with htpasswd, and on one that asks for tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bootstrap_agent::steps::try_manifest;
use bootstrap_config::RegistrySettings;
use bootstrap_core::Failure;
use fleet::ErrorClass;
use muster_test_servers::{Plays, Registry, StandIn};
use serde_json::json;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

const PASSWORD: &str = "planted-7d1f";

fn settings(at: SocketAddr, place: &Path, image: &str, password: &str) -> RegistrySettings {
    let auth = STANDARD.encode(format!("node:{password}"));
    let file = place.join("config.json");
    fs::write(&file, format!(r#"{{"auths":{{"{at}":{{"auth":"{auth}"}}}}}}"#)).expect("written");
    RegistrySettings {
        image: format!("{at}/{image}"),
        auth_file: file.display().to_string(),
        insecure: true,
        ..RegistrySettings::default()
    }
}

/// A failure, in which no secret is.
fn told(tried: Result<(), Failure>) -> Failure {
    let failure = tried.expect_err("it is refused");
    let auth = STANDARD.encode(format!("node:{PASSWORD}"));
    assert!(!failure.what.contains("planted") && !failure.what.contains(&auth), "{failure}");
    failure
}

#[tokio::test]
async fn a_private_image_is_shown_to_the_right_credentials_and_what_is_wrong_is_told() {
    let registry = Registry::start(PASSWORD);
    let of = |image: &str, password: &str| settings(registry.at(), registry.directory(), image, password);
    try_manifest(&of("team/app:1", PASSWORD)).await.expect("it may be pulled");
    let failure = told(try_manifest(&of("team/app:1", "planted-wrong")).await);
    assert_eq!((failure.class, failure.lasting), (ErrorClass::Denied, false), "{failure}");
    assert!(failure.what.contains("does not take the credentials of"), "{failure}");
    let failure = told(try_manifest(&of("team/app:2", PASSWORD)).await);
    assert_eq!(failure.class, ErrorClass::NotFound);
    assert!(failure.what.contains("has no team/app:2"), "{failure}");
    let right = of("team/app:1", PASSWORD);
    fs::write(&right.auth_file, format!(r#"{{"auths": {PASSWORD}}}"#)).expect("written");
    let failure = told(try_manifest(&right).await);
    assert!(failure.what.contains("config.json:1:") && failure.class == ErrorClass::Malformed, "{failure}");
    fs::remove_file(&right.auth_file).expect("it is there");
    assert_eq!(told(try_manifest(&right).await).class, ErrorClass::NotFound);
}

/// A registry that asks for tokens, and gives them out itself. * `realm`: where it sends for them; `HERE`: to itself.
fn asks_for_tokens(realm: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let auth = head.iter().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
            let right = format!("Basic {}", STANDARD.encode(format!("node:{PASSWORD}")));
            let challenge = format!(
                "Bearer realm=\"{}\",service=\"reg\",scope=\"repository:team/app:pull\"",
                realm.replace("HERE", &format!("http://{at}"))
            );
            let (status, body) =
                if first.starts_with("GET /token?service=reg&scope=repository%3Ateam%2Fapp%3Apull ") {
                    if auth == right { ("200 OK", r#"{"token":"planted-token"}"#) } else { ("401 No", "{}") }
                } else if auth == "Bearer planted-token" {
                    ("200 OK", r#"{"schemaVersion":2}"#)
                } else {
                    ("401 No", "{}")
                };
            let length = body.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nWWW-Authenticate: {challenge}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    at
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says() {
    let place = tempfile::tempdir().expect("a directory");
    let at = asks_for_tokens("HERE/token");
    try_manifest(&settings(at, place.path(), "team/app:1", PASSWORD)).await.expect("it may be pulled");
    let failure = told(try_manifest(&settings(at, place.path(), "team/app:1", "planted-wrong")).await);
    assert_eq!(failure.class, ErrorClass::Denied);
    assert!(failure.what.contains("/token") && failure.what.contains("config.json"), "{failure}");
}

/// A registry that shows what it was asked in one line of a refusal; but sends for a token first, where it is to.
fn echoes(sends_for_a_token: bool) -> StandIn {
    StandIn::start(move |asked| {
        let auth = asked.header("authorization").unwrap_or_default().to_owned();
        let shown = format!("{} {} {auth} node:{PASSWORD}", asked.line(), asked.headers.join(" "));
        let at = asked.header("host").unwrap_or_default();
        if asked.path.starts_with("/token") {
            return Plays::json(&json!({"token": "planted-token"}));
        }
        if sends_for_a_token && auth.starts_with("Basic ") {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{at}/token\"");
            return Plays::Says(401, vec![challenge], shown);
        }
        Plays::Says(403, Vec::new(), shown)
    })
}

#[tokio::test]
async fn a_registry_that_shows_what_it_was_asked_has_it_shown_to_nobody() {
    let place = tempfile::tempdir().expect("a directory");
    for sends_for_a_token in [false, true] {
        let registry = echoes(sends_for_a_token);
        let tried = try_manifest(&settings(registry.at(), place.path(), "team/app:1", PASSWORD)).await;
        let failure = told(tried);
        assert!(failure.what.contains("(secret)"), "{failure}");
    }
}

#[tokio::test]
async fn credentials_go_nowhere_that_is_not_to_have_them() {
    let place = tempfile::tempdir().expect("a directory");
    for realm in ["ftp://127.0.0.1/token", "not an address"] {
        let at = asks_for_tokens(realm);
        let failure = told(try_manifest(&settings(at, place.path(), "team/app:1", PASSWORD)).await);
        assert!(failure.lasting && failure.what.contains("sends for a token"), "{failure}");
    }
}
