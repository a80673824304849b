//! What is held while a server comes and goes.

use crate::standin::{Node, SECRET_ID, TOKEN, at, failure, json, login, serve};
use bootstrap_core::Failure;
use bootstrap_vault::{Destination, Happened, Keeper, LoginRequest, Method, SecretId, Signing, VaultError};
use fleet::ErrorClass;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    // Whoever unwraps is told to wait until the first step was given up.
    let (unwrapping, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = serve(move |path| match path {
        "sys/wrapping/lookup" => {
            json("200 OK", r#"{"data":{"creation_path":"auth/approle/role/node/secret-id"}}"#)
        }
        "sys/wrapping/unwrap" => {
            unwrapping.send(()).expect("the test listens");
            wait.lock().expect("nobody panicked").recv().expect("the test goes on");
            json("200 OK", &format!(r#"{{"data":{{"secret_id":"{SECRET_ID}"}}}}"#))
        }
        "auth/approle/login" => login(),
        _ => json("200 OK", r#"{"data":{"password":"p"}}"#),
    });
    let node = Node::new();
    let mut options = node.options(&format!("http://{server}"));
    let Method::AppRole { secret_id, .. } = &mut options.method else { panic!("it is AppRole") };
    let file = node.place.path().join("secret_id");
    *secret_id =
        SecretId::Wrapped { file, creation_path: "auth/approle/role/node/secret-id".into(), keep: None };
    let mut keeper = Keeper::new(options, None, 3).expect("options");
    tokio::select! {
        _ = keeper.step_and_place(at(0)) => panic!("it has nothing to log in with"),
        seen = seen.recv() => seen.expect("it unwraps"),
    }
    go_on.send(()).expect("it waits");
    let (stepped, _) = keeper.step_and_place(at(1)).await;
    assert_eq!(stepped.failures, []);
    assert!(seen.try_recv().is_err(), "unwrapped once");
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

#[tokio::test]
async fn a_renewal_waits_as_long_as_the_server_says_and_no_longer_than_there_is_time() {
    let server = serve(|path| match path {
        "auth/approle/login" => login(),
        "auth/token/renew-self" => json("429 Too Many Requests\r\nRetry-After: 6", r#"{"errors":["quota"]}"#),
        _ => json("200 OK", r#"{"data":{"password":"p"}}"#),
    });
    let node = Node::new();
    let mut keeper = node.keeper(server);
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    assert_eq!(stepped.failures, []);
    let (stepped, _) = keeper.step_and_place(at(45)).await;
    assert!(matches!(stepped.failures[..], [VaultError::Throttled { .. }]), "{:?}", stepped.failures);
    // Not 51: from there on it is for another token.
    assert_eq!(keeper.next_wake(Duration::from_secs(47)), Duration::from_secs(48));
    let (stepped, _) = keeper.step_and_place(at(55)).await;
    assert!(matches!(stepped.happened[..], [Happened::LoggedIn { .. }]), "{:?}", stepped.happened);
}

#[tokio::test]
async fn renewals_that_give_less_and_less_end_in_a_login_while_there_is_time() {
    let server = serve(|path| match path {
        "auth/approle/login" => login(),
        "auth/token/renew-self" => json(
            "200 OK",
            r#"{"auth":{"client_token":"hvs.planted-token","lease_duration":20,"renewable":true}}"#,
        ),
        _ => json("200 OK", r#"{"data":{"password":"p"}}"#),
    });
    let node = Node::new();
    let mut keeper = node.keeper(server);
    let (stepped, _) = keeper.step_and_place(at(0)).await;
    assert_eq!(stepped.failures, []);
    let (stepped, _) = keeper.step_and_place(at(46)).await;
    assert!(matches!(stepped.happened[..], [Happened::Renewed { .. }]), "{:?}", stepped.happened);
    // Not renewed at two thirds of what is left, but replaced before it ends.
    let wake = keeper.next_wake(Duration::from_secs(46));
    assert!((Duration::from_secs(62)..=Duration::from_secs(64)).contains(&wake), "{wake:?}");
    let (stepped, _) = keeper.step_and_place(at(64)).await;
    assert!(matches!(stepped.happened[..], [Happened::LoggedIn { .. }]), "{:?}", stepped.happened);
}

#[tokio::test]
async fn a_token_of_somebody_elses_is_handed_out_until_it_is_in_its_place_and_again_when_it_is_not() {
    let server = serve(|path| match path {
        "auth/approle/login" => login(),
        _ => json("200 OK", r#"{"data":{"password":"p"}}"#),
    });
    let node = Node::new();
    let mut options = node.options(&format!("http://{server}"));
    options.templates.clear();
    let to = Destination {
        mode: 0o400,
        owner: Some("12345".to_owned()),
        ..options.token_file.clone().expect("a file")
    };
    options.token_file = Some(to.clone());
    let mut keeper = Keeper::new(options.clone(), None, 3).expect("options");
    let stepped = keeper.step(at(0)).await;
    let [rendered] = &stepped.rendered[..] else { panic!("{stepped:?}") };
    assert_eq!((&rendered.destination, rendered.contents.expose()), (&to, TOKEN));
    assert!(!to.path.exists(), "it is not ours to write");
    assert!(!keeper.is_whole(Duration::ZERO) && keeper.handed_out().is_empty());
    // Who could not place it is not asked at once again.
    keeper.not_placed(rendered, &VaultError::TokenInvalid { call: String::new() }, Duration::ZERO);
    assert_eq!(keeper.next_wake(Duration::ZERO), Duration::from_secs(1));
    keeper.placed(rendered);
    assert!(keeper.is_whole(Duration::ZERO));
    assert_eq!(keeper.handed_out(), std::slice::from_ref(rendered));
    assert_eq!(keeper.step(at(1)).await.rendered, []);
    keeper.lost(rendered);
    assert!(!keeper.is_whole(Duration::ZERO));
    assert_eq!(keeper.step(at(2)).await.rendered, std::slice::from_ref(rendered));
    // On a disk it comes no more than one of ours.
    options.token_file = Some(Destination { require_tmpfs: true, ..to });
    let stepped = Keeper::new(options, None, 3).expect("options").step(at(0)).await;
    assert!(
        stepped.rendered.is_empty() && stepped.failures[0].to_string().contains("in memory"),
        "{stepped:?}"
    );
}
