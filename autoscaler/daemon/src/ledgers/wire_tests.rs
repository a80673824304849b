//! Ledgers against a stand-in for Consul: keys, and the session that has the lock.

use super::*;
use crate::idle::Activity;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

#[derive(Debug, Default)]
struct Kept {
    index: u64,
    /// Value in base64, and its version.
    keys: BTreeMap<String, (String, u64)>,
    /// Keys that may not be read.
    denied: Vec<&'static str>,
    /// The session that has the lock.
    lock: String,
}

/// Consul's keys. Clones share them.
#[derive(Clone, Debug, Default)]
struct StandIn(Arc<std::sync::Mutex<Kept>>);

impl StandIn {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().expect("nobody panicked")
    }

    fn put(&self, fleet: &str, base64: String) {
        let mut kept = self.kept();
        kept.index += 1;
        let entry = (base64, kept.index);
        kept.keys.insert(format!("muster-autoscaler/ledger/{fleet}"), entry);
    }

    async fn serve(&self) -> Consul {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new()
            .route("/v1/kv/{*key}", get(read))
            .route("/v1/txn", put(write))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Consul::new(autoscaler_consul::Options::new(&address, "one")).expect("a client")
    }
}

async fn read(State(consul): State<StandIn>, Path(key): Path<String>) -> Response {
    let kept = consul.kept();
    let index = [("X-Consul-Index", (kept.index + 1).to_string())];
    if kept.denied.iter().any(|denied| key.ends_with(denied)) {
        return (StatusCode::FORBIDDEN, "Permission denied").into_response();
    }
    match kept.keys.get(&key) {
        Some((value, version)) => {
            (index, Json(json!([{ "ModifyIndex": version, "Value": value }]))).into_response()
        }
        None => (StatusCode::NOT_FOUND, index).into_response(),
    }
}

/// A transaction as [`Consul::write_ledger`] makes it.
async fn write(State(consul): State<StandIn>, body: Bytes) -> Response {
    let operations: Value = serde_json::from_slice(&body).expect("JSON");
    let mut kept = consul.kept();
    let refused = |place: u64, what: &str| {
        let errors = json!({ "Results": null, "Errors": [{ "OpIndex": place, "What": what }] });
        (StatusCode::CONFLICT, Json(errors)).into_response()
    };
    let [lock, ledger] = [0, 1].map(|place: usize| &operations[place]["KV"]);
    if lock["Session"] != json!(kept.lock) {
        return refused(0, "failed session check");
    }
    let text = |name: &str| ledger[name].as_str().expect("a text").to_owned();
    let known = kept.keys.get(&text("Key")).map_or(0, |(_, version)| *version);
    if ledger["Index"] != json!(known) {
        return refused(1, "index is stale");
    }
    kept.index += 1;
    let index = kept.index;
    kept.keys.insert(text("Key"), (text("Value"), index));
    let entry = json!({ "KV": { "ModifyIndex": index } });
    Json(json!({ "Results": [entry, entry], "Errors": null })).into_response()
}

fn ledger(held: &str) -> Box<Ledger> {
    Box::new(Ledger { held: Some(held.into()), ..Ledger::default() })
}

/// The same as it stands in Consul.
fn value(held: &str) -> String {
    let written = Written { form: FORM, ledger: &ledger(held) };
    BASE64_STANDARD.encode(serde_json::to_vec(&written).expect("it serialises"))
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_told_of_by_its_key_and_keeps_no_other_from_being_read() {
    let consul = StandIn::default();
    consul.put("bad", BASE64_STANDARD.encode("nonsense"));
    consul.put("good", value("sfr-1"));
    consul.put("worse", "?".to_owned());
    let (happened, _) = unbounded_channel();
    let (ledgers, _writer) = Ledgers::new(consul.serve().await, Session::default(), happened);
    let names = ["bad", "good", "none", "worse"].map(FleetName::from);
    let found = ledgers.read(&names).await.expect("Consul answers");
    let [Err(bad), Ok(Some(good)), Ok(None), Err(worse)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*good, ledger("sfr-1"));
    for (error, key) in [(bad, "muster-autoscaler/ledger/bad"), (worse, "muster-autoscaler/ledger/worse")] {
        assert_eq!(error.class(), ErrorClass::Malformed);
        assert!(error.to_string().contains(key), "{error}");
    }
    consul.kept().denied = vec!["bad"];
    let error = ledgers.read(&names).await.expect_err("that is no fleet's own trouble");
    assert_eq!(error.class(), ErrorClass::Denied);
}

#[tokio::test]
async fn what_was_handed_in_under_a_session_that_has_ended_is_not_written_under_the_next_one() {
    let (consul, session) = (StandIn::default(), Session::default());
    let (happened, mut answers) = unbounded_channel();
    let (ledgers, writer) = Ledgers::new(consul.serve().await, session.clone(), happened);
    let activity = Arc::new(Activity::default());
    let lead = |id: &str| {
        consul.kept().lock = id.to_owned();
        session.set(Some(SessionId(id.to_owned().into())));
    };
    let hand_in = |batch: u64, held: &str| {
        ledgers.write(BatchId(batch), vec![("web".into(), ledger(held))], activity.begin());
    };
    // Handed in while the task is busy; another one leads meanwhile, writes, and resigns.
    lead("first");
    hand_in(1, "stale");
    consul.put("web", value("another leader's"));
    lead("second");
    hand_in(2, "new");
    tokio::spawn(writer);
    let mut answer = async || match answers.recv().await.expect("it is answered").what {
        Happened::LedgersWritten { batch: BatchId(batch), result } => (batch, result.is_ok()),
        other => panic!("{other:?}"),
    };
    assert_eq!([answer().await, answer().await], [(1, false), (2, true)]);
    let is = async || ledgers.read(&["web".into()]).await.expect("Consul answers");
    assert_eq!(is().await, [Ok(Some(ledger("new")))]);

    // In one session a conflict is no reason to leave it unwritten: whose write it was, we lead still.
    consul.put("web", value("by hand"));
    hand_in(3, "newest");
    assert_eq!(answer().await, (3, true));
    assert_eq!(is().await, [Ok(Some(ledger("newest")))]);
}
