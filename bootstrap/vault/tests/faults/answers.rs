//! Answers that are late, broken, or refusals.

use crate::standin::{Node, Reply, SECRET_ID, at, failure, json, login, of, serve};
use bootstrap_vault::{Keeper, VaultError};
use fleet::ErrorClass;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

#[tokio::test]
async fn who_hangs_or_trickles_is_given_up_in_time() {
    for reply in [
        Reply::Stall(Vec::new()),
        Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_vec()),
        Reply::Trickle,
    ] {
        let server = serve(move |_| reply.clone());
        let node = Node::new();
        let mut options = node.options(&format!("http://{server}"));
        options.server.timeout = Duration::from_millis(300);
        let error = failure(&mut Keeper::new(options, None, 3).expect("options")).await;
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
