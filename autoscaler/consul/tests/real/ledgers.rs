//! Ledgers, and what protects them.

use crate::contest::RULES;
use autoscaler_consul::{Consul, Options};
use autoscaler_leader::{
    Answer, Failure, LedgerError, LedgerRead, LedgerVersion, MAX_LEDGER_BYTES, Request, SessionId,
};
use fleet::ErrorClass;
use muster_test_servers::{Consul as Server, ConsulOptions};
use std::path::PathBuf;

pub struct Ground {
    pub server: Server,
    pub token_file: PathBuf,
}

impl Ground {
    pub fn new() -> Self {
        let server = Server::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
        let token_file = server.directory().join("token");
        std::fs::write(&token_file, server.new_token(RULES)).expect("a token file");
        Self { server, token_file }
    }

    pub fn client(&self, instance: &str) -> Consul {
        let mut options = Options::new(&self.server.address(), instance);
        options.token_file = Some(self.token_file.clone());
        Consul::new(options).expect("options make sense")
    }
}

/// Registers and makes a session.
pub async fn join(consul: &Consul) -> SessionId {
    assert_eq!(consul.answer(&Request::Register).await, Answer::Registered(Ok(())));
    loop {
        // The catalogue hears of the check a moment later.
        match consul.answer(&Request::CreateSession { instead_of: None }).await {
            Answer::SessionCreated(Ok(session)) => return session,
            Answer::SessionCreated(Err(Failure::Api(error))) if error.message.contains("Missing check") => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Joins, and takes the lock.
async fn lead(consul: &Consul) -> SessionId {
    let session = join(consul).await;
    let request = Request::Acquire { session: session.clone() };
    assert_eq!(consul.answer(&request).await, Answer::Acquired(Ok(true)));
    session
}

#[tokio::test]
async fn a_ledger_is_written_over_what_is_known_and_by_who_has_the_lock() {
    let ground = Ground::new();
    let one = ground.client("one");
    assert_eq!(one.read_ledger("web").await, Ok(LedgerRead::default()));
    let session = lead(&one).await;
    let first = one.write_ledger("web", b"one", LedgerVersion(0), &session).await.expect("it leads");
    let read = one.read_ledger("web").await.expect("it can be read");
    assert_eq!(read, LedgerRead { bytes: b"one".to_vec(), version: first });
    let second = one.write_ledger("web", b"", first, &session).await.expect("as it is known");
    assert!(second > first);
    assert_eq!(one.read_ledger("web").await.expect("read").bytes, b"");

    let stale = one.write_ledger("web", b"three", first, &session).await;
    assert!(matches!(stale, Err(LedgerError::Conflict { .. })), "{stale:?}");
    let made = one.write_ledger("web", b"three", LedgerVersion(0), &session).await;
    assert!(matches!(made, Err(LedgerError::Conflict { .. })), "it is there already: {made:?}");

    let two = ground.client("two");
    assert_eq!(two.answer(&Request::Register).await, Answer::Registered(Ok(())));
    let other = SessionId("11111111-2222-3333-4444-555555555555".to_owned().into());
    let fenced = two.write_ledger("web", b"three", second, &other).await;
    assert!(matches!(fenced, Err(LedgerError::Fenced { .. })), "{fenced:?}");
    let withdrawn = one.answer(&Request::Withdraw { session: Some(session.clone()) }).await;
    assert_eq!(withdrawn, Answer::Withdrawn(Ok(())));
    let late = one.write_ledger("web", b"three", second, &session).await;
    assert!(
        matches!(late, Err(LedgerError::Fenced { .. })),
        "who gave the lock back writes nothing: {late:?}"
    );
    assert_eq!(one.read_ledger("web").await.expect("read").version, second);
}

#[tokio::test]
async fn a_ledger_of_the_greatest_size_is_kept_and_a_larger_one_is_not_sent() {
    let ground = Ground::new();
    let consul = ground.client("one");
    let session = lead(&consul).await;
    let large = vec![b'x'; MAX_LEDGER_BYTES];
    let version = consul.write_ledger("web", &large, LedgerVersion(0), &session).await.expect("it fits");
    assert_eq!(consul.read_ledger("web").await, Ok(LedgerRead { bytes: large.clone(), version }));
    let larger = [&large[..], b"x"].concat();
    let refused = consul.write_ledger("web", &larger, version, &session).await;
    assert_eq!(refused, Err(LedgerError::TooLarge { bytes: MAX_LEDGER_BYTES + 1 }));
}

#[tokio::test]
async fn refusals_of_access_control_are_denied_and_the_token_is_read_again() {
    let ground = Ground::new();
    let consul = ground.client("one");
    let session = lead(&consul).await;
    let good = std::fs::read_to_string(&ground.token_file).expect("a token");
    let rights_of_nothing = ground.server.new_token("key_prefix \"elsewhere/\" { policy = \"read\" }");
    for token in [rights_of_nothing.as_str(), "11111111-2222-3333-4444-555555555555"] {
        std::fs::write(&ground.token_file, token).expect("a token file");
        let Answer::Renewed(Err(Failure::Api(error))) = consul.answer(&Request::Renew).await else {
            panic!("it was renewed");
        };
        assert_eq!(error.class(), ErrorClass::Denied, "{error}");
        assert!(!error.to_string().contains(token), "no secret in an error");
        let denied = consul.write_ledger("web", b"one", LedgerVersion(0), &session).await;
        assert_eq!(denied.map_err(|error| error.class()), Err(ErrorClass::Denied));
    }
    std::fs::remove_file(&ground.token_file).expect("its file goes");
    let denied = consul.read_ledger("web").await.expect_err("no token");
    assert_eq!(denied.class(), ErrorClass::Denied);
    std::fs::write(&ground.token_file, format!("{}\n", good.trim())).expect("a token file");
    assert!(matches!(consul.answer(&Request::Renew).await, Answer::Renewed(Ok(_))));
}

#[tokio::test]
async fn what_is_gone_is_told_apart() {
    let ground = Ground::new();
    let consul = ground.client("one");
    assert_eq!(consul.answer(&Request::Renew).await, Answer::Renewed(Err(Failure::CheckGone)));
    let session = lead(&consul).await;
    let Answer::Renewed(Ok(lock)) = consul.answer(&Request::Renew).await else { panic!("it leads") };
    assert_eq!(
        (lock.session.as_ref(), lock.holder.as_deref().map(String::as_str)),
        (Some(&session), Some("one"))
    );
    ground.server.call("PUT", &format!("/v1/session/destroy/{session}"), &serde_json::Value::Null);
    let again = consul.answer(&Request::Acquire { session: session.clone() }).await;
    // Consul looks at the lock delay before it looks at the session.
    assert_eq!(again, Answer::Acquired(Ok(false)));
    let elsewhere = SessionId("11111111-2222-3333-4444-555555555555".to_owned().into());
    ground.server.call("DELETE", "/v1/kv/muster-autoscaler/leader", &serde_json::Value::Null);
    let after = muster_test_servers::wait_for("the end of the lock delay", || {
        let answer = ground.server.try_call(
            "PUT",
            &format!("/v1/kv/muster-autoscaler/leader?acquire={elsewhere}"),
            "",
        );
        answer.ok().filter(|answer| answer.status == 500)
    });
    assert!(after.body.contains("invalid session"), "{after:?}");
    let gone = consul.answer(&Request::Acquire { session }).await;
    assert_eq!(gone, Answer::Acquired(Err(Failure::SessionGone)));
}

#[tokio::test]
async fn without_an_agent_there_is_an_error_and_no_wait() {
    let mut options = Options::new("http://127.0.0.1:1", "one");
    let consul = Consul::new(options.clone()).expect("options make sense");
    let error = consul.read_ledger("web").await.expect_err("nobody listens");
    assert_eq!(error.class(), ErrorClass::Transient);
    options.address = "consul:8500".to_owned();
    assert_eq!(Consul::new(options).expect_err("no address").class(), ErrorClass::Malformed);
}
