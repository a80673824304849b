//! Ledgers against a stand-in for Consul: keys, and the session that has the lock.

use super::*;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

#[derive(Debug, Default)]
struct Kept {
    index: u64,
    /// Value in base64, and its version.
    keys: BTreeMap<String, (String, u64)>,
    /// Keys that may not be read.
    denied: Vec<&'static str>,
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
        let router = axum::Router::new().route("/v1/kv/{*key}", get(read)).with_state(self.clone());
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

fn ledgers(consul: Consul) -> (Ledgers, impl Future<Output = ()> + Send + 'static) {
    let (happened, _) = unbounded_channel();
    Ledgers::new(consul, Session::default(), happened)
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_told_of_by_its_key_and_keeps_no_other_from_being_read() {
    let consul = StandIn::default();
    let sound = Ledger { held: Some("sfr-1".into()), ..Ledger::default() };
    let bytes = serde_json::to_vec(&Written { form: FORM, ledger: &sound }).expect("it serialises");
    consul.put("bad", BASE64_STANDARD.encode("nonsense"));
    consul.put("good", BASE64_STANDARD.encode(bytes));
    consul.put("worse", "?".to_owned());
    let (ledgers, _writer) = ledgers(consul.serve().await);
    let names = ["bad", "good", "none", "worse"].map(FleetName::from);
    let found = ledgers.read(&names).await.expect("Consul answers");
    let [Err(bad), Ok(Some(good)), Ok(None), Err(worse)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(**good, sound);
    for (error, key) in [(bad, "muster-autoscaler/ledger/bad"), (worse, "muster-autoscaler/ledger/worse")] {
        assert_eq!(error.class(), ErrorClass::Malformed);
        assert!(error.to_string().contains(key), "{error}");
    }
    consul.kept().denied = vec!["bad"];
    let error = ledgers.read(&names).await.expect_err("that is no fleet's own trouble");
    assert_eq!(error.class(), ErrorClass::Denied);
}
