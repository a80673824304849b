//! The ledger: read consistently, written in one transaction with a look at the lock.

use crate::Consul;
use crate::election::{Entry, put};
use crate::refusal::malformed;
use autoscaler_leader::{LedgerError, LedgerRead, LedgerVersion, MAX_LEDGER_BYTES, SessionId};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleet::ErrorClass;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// For one read or write of up to 342 KiB on the node's own agent. A write that is begun within the lease ends
/// before anybody else leads.
const LEDGER_WITHIN: Duration = Duration::from_secs(4);

/// Which operation of the transaction is which: Consul tells them by their place.
const LOCK: usize = 0;
const LEDGER: usize = 1;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transaction {
    results: Option<Vec<Done>>,
    errors: Option<Vec<Refused>>,
}

#[derive(Deserialize)]
struct Done {
    #[serde(rename = "KV")]
    kv: Option<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refused {
    op_index: usize,
    what: String,
}

impl Consul {
    /// The key that a ledger is kept under.
    pub fn ledger_key(&self, name: &str) -> String {
        format!("{}/ledger/{name}", self.options.prefix.trim_matches('/'))
    }

    /// Reads a ledger, consistently. None yet: no bytes, version 0.
    pub async fn read_ledger(&self, name: &str) -> Result<LedgerRead, LedgerError> {
        let key = self.ledger_key(name);
        let read = self.read_key("read_ledger", &key, &[("consistent", "")], LEDGER_WITHIN).await?;
        let (Some(entry), _) = read else { return Ok(LedgerRead::default()) };
        let bytes = BASE64_STANDARD
            .decode(entry.value.unwrap_or_default())
            .map_err(|error| malformed("read_ledger", &error.to_string()))?;
        if bytes.len() > MAX_LEDGER_BYTES {
            return Err(LedgerError::TooLarge { bytes: bytes.len() });
        }
        Ok(LedgerRead { bytes, version: LedgerVersion(entry.modify_index) })
    }

    /// Writes the whole of a ledger, if the lock is still `session`'s and the ledger still `expected`.
    ///
    /// * returns: the version that this write made.
    ///
    /// Idempotent in the sense that matters: repeated after [`ErrorClass::Unclear`] it makes a
    /// [`LedgerError::Conflict`] where the first had been written. A ledger that is too large is not sent.
    pub async fn write_ledger(
        &self,
        name: &str,
        bytes: &[u8],
        expected: LedgerVersion,
        session: &SessionId,
    ) -> Result<LedgerVersion, LedgerError> {
        if bytes.len() > MAX_LEDGER_BYTES {
            return Err(LedgerError::TooLarge { bytes: bytes.len() });
        }
        let body = json!([
            { "KV": { "Verb": "check-session", "Key": self.lock_key(), "Session": session.0 } },
            { "KV": {
                "Verb": "cas",
                "Key": self.ledger_key(name),
                "Value": BASE64_STANDARD.encode(bytes),
                "Index": expected.0,
            } },
        ]);
        let call = put("write_ledger", &["txn"], &[], body.to_string().into_bytes(), LEDGER_WITHIN);
        let reply = self.client.send(call).await?;
        if reply.status == StatusCode::CONFLICT {
            let refused: Transaction = reply.json()?;
            return Err(rolled_back(refused));
        }
        let done: Transaction = reply.success()?.json()?;
        let mut results = done.results.unwrap_or_default();
        let written = if results.len() > LEDGER { results.swap_remove(LEDGER).kv } else { None };
        // It was written; what cannot be read is only its version.
        let written = written.ok_or_else(|| {
            fleet::ApiError::new(
                ErrorClass::Unclear,
                "consul",
                "write_ledger",
                None,
                "no result in the answer",
            )
        })?;
        Ok(LedgerVersion(written.modify_index))
    }
}

/// What a transaction that was not carried out says.
fn rolled_back(refused: Transaction) -> LedgerError {
    let errors = refused.errors.unwrap_or_default();
    // The lock first: who does not lead need not know about versions.
    let Some(Refused { op_index, what }) = errors.into_iter().min_by_key(|error| error.op_index) else {
        return malformed("write_ledger", "rolled back without a reason").into();
    };
    if what.contains("ermission denied") || what.contains("ACL not found") {
        return fleet::ApiError::new(ErrorClass::Denied, "consul", "write_ledger", Some("409"), &what).into();
    }
    let message = what.chars().take(1024).collect();
    if op_index == LOCK { LedgerError::Fenced { message } } else { LedgerError::Conflict { message } }
}
