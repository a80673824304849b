//! Where the autoscalers run: each member has a key that names its instance, held by its session.
//!
//! A key counts while a session holds it, so it ends with its member however that ends. Sessions let go of their
//! keys and do not delete them (one that did would delete the lock, and what it says of the last leader), so whoever
//! comes by deletes what nobody holds.

use crate::Consul;
use crate::client::Call;
use crate::election::put;
use crate::refusal::malformed;
use autoscaler_leader::{ANSWER_WITHIN, SessionId};
use fleet::{ApiError, InstanceId};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;

/// So many instances are believed at most; a set of autoscalers has two or three members.
const MOST_PEERS: usize = 64;
/// An instance's id has 19 characters; what is much longer is none.
const MAX_ID: usize = 64;

/// A member's key as Consul shows it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Place {
    key: String,
    modify_index: u64,
    session: Option<String>,
}

impl Consul {
    fn places_key(&self) -> String {
        format!("{}/at/", self.options.prefix.trim_matches('/'))
    }

    /// Says that a member runs on `instance` for as long as `session` lives.
    ///
    /// * returns: whether it is said. `false`: another session says so, or the lock delay of one that has just ended
    ///   keeps the key. Safe to repeat; each repetition is a write.
    pub async fn say_where(&self, instance: &InstanceId, session: &SessionId) -> Result<bool, ApiError> {
        let key = format!("{}{instance}", self.places_key());
        let (path, query) = (Self::path_of(&key), [("acquire", session.0.as_str())]);
        let holder = self.options.holder.clone().into_bytes();
        self.client.send(put("say_where", &path, &query, holder, ANSWER_WITHIN)).await?.success()?.json()
    }

    /// The instances on which members run, each with the session that says so; 64 at most. A key that nobody
    /// holds any more is deleted on the way, as far as Consul lets us.
    pub async fn read_peers(&self) -> Result<BTreeMap<InstanceId, SessionId>, ApiError> {
        let prefix = self.places_key();
        let path = Self::path_of(&prefix);
        let (query, body, within) = (&[("recurse", "")][..], Vec::new(), ANSWER_WITHIN);
        let call = Call { operation: "read_peers", method: Method::GET, path: &path, query, body, within };
        let reply = self.client.send(call).await?;
        let gone = reply.status == StatusCode::NOT_FOUND;
        let reply = if gone { reply } else { reply.success()? };
        // Without it, something else answered: a proxy's own 404, say, must not be taken for nobody.
        if reply.index.is_none() {
            return Err(malformed(reply.operation(), "no X-Consul-Index"));
        }
        let places: Vec<Place> = if gone { Vec::new() } else { reply.json()? };
        let (mut peers, mut left) = (BTreeMap::new(), None);
        for Place { key, modify_index, session } in places {
            let Some(id) = key.strip_prefix(&prefix).filter(|id| !id.is_empty() && id.len() <= MAX_ID) else {
                continue;
            };
            match session {
                Some(session) if peers.len() < MOST_PEERS => {
                    peers.insert(InstanceId::from(id), SessionId(session.into()));
                }
                Some(_) => {}
                None => left = Some((key, modify_index)),
            }
        }
        // One at a time: there are few, and the next look takes the next.
        if let Some((key, index)) = left {
            self.forget_place(&key, index).await;
        }
        Ok(peers)
    }

    /// Deletes a key that nobody held, unless somebody has taken it since. That it stays harms nobody.
    async fn forget_place(&self, key: &str, index: u64) {
        let (path, index) = (Self::path_of(key), index.to_string());
        let (query, body, within) = (&[("cas", index.as_str())][..], Vec::new(), ANSWER_WITHIN);
        let call =
            Call { operation: "forget_place", method: Method::DELETE, path: &path, query, body, within };
        let _ = self.client.send(call).await;
    }
}
