//! What the client of Nomad says of itself, and the servers of it.

use crate::http::{Http, HttpError};
use crate::node::{Proved, Work};
use bootstrap_config::NomadSettings;
use bootstrap_core::Failure;
use fleet::ErrorClass;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// The attribute by which Nomad's own look at the metadata service names the instance.
const INSTANCE: &str = "unique.platform.aws.instance-id";

/// The client of this node. Clones share its connection.
#[derive(Clone)]
pub struct NomadClient {
    http: Http,
}

/// Whether a client runs at the address of this node's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// Nobody is there.
    Not,
    /// Somebody is, and says nothing that is whole.
    Silent {
        /// What came instead.
        why: String,
    },
    /// One does, of this configuration.
    As {
        /// Its name: the instance that it was configured for.
        name: String,
        /// Its pool.
        pool: String,
    },
}

#[derive(Debug, Deserialize)]
struct Me {
    config: Config,
    stats: Stats,
}
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    node_name: String,
    client: Option<ClientConfig>,
}
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ClientConfig {
    #[serde(default)]
    node_pool: String,
}
#[derive(Debug, Deserialize)]
struct Stats {
    client: Option<ClientStats>,
}
#[derive(Debug, Deserialize)]
struct ClientStats {
    node_id: String,
    last_heartbeat: String,
    heartbeat_ttl: String,
}

/// A node as the servers have it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Seen {
    status: String,
    node_pool: String,
    scheduling_eligibility: String,
    #[serde(default)]
    drain: bool,
    #[serde(default)]
    last_drain: Option<LastDrain>,
    attributes: BTreeMap<String, String>,
    drivers: BTreeMap<String, Driver>,
}
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LastDrain {
    status: String,
}
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Driver {
    healthy: bool,
    #[serde(default)]
    health_description: String,
}

impl Seen {
    fn work(&self) -> Work {
        let eligible = self.scheduling_eligibility == "eligible";
        // What was drained stays ineligible, until somebody says otherwise.
        let complete = self.last_drain.as_ref().is_some_and(|last| last.status == "complete");
        let drained = !self.drain && complete && !eligible;
        Work { eligible, drains: self.drain || drained, drained }
    }
}

impl NomadClient {
    /// The client of the settings.
    pub fn new(settings: &NomadSettings) -> Result<Self, Failure> {
        Ok(Self { http: Http::new("Nomad", &settings.server, Some(("x-nomad-token", "")))? })
    }

    /// Whether it runs, and as what. * fails: where somebody answers, and does not say.
    pub(super) async fn runs(&self) -> Result<Runs, Failure> {
        let reply = match self.http.get("/v1/agent/self", ANSWERS_WITHIN).await {
            Ok(reply) => reply,
            Err(HttpError::Unreachable { .. }) => return Ok(Runs::Not),
            Err(error @ HttpError::Cut { .. }) => return Ok(Runs::Silent { why: error.to_string() }),
            Err(error) => return Err(error.into()),
        };
        if !reply.is_success() {
            return Err(reply.failure("Nomad", "say who its agent is"));
        }
        let Config { node_name, client } = reply.json::<Me>("Nomad")?.config;
        Ok(Runs::As { name: node_name, pool: client.map_or_else(String::new, |client| client.node_pool) })
    }

    async fn stats(&self) -> Result<ClientStats, Failure> {
        // Before anything that waits for one: a question that only a leader can answer hangs. This one any server answers.
        let reply = self.http.get("/v1/status/leader?stale", ANSWERS_WITHIN).await.map_err(silence)?;
        if !reply.is_success() {
            return Err(reply.failure("Nomad", "say who its leader is"));
        }
        if reply.json::<String>("Nomad")?.is_empty() {
            return Err(Failure::new(ErrorClass::Transient, "Nomad has no leader"));
        }
        let reply = self.http.get("/v1/agent/self", ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Nomad", "say who its agent is"));
        }
        let client = reply.json::<Me>("Nomad")?.stats.client;
        client.ok_or_else(|| lack("is none: it is not enabled"))
    }

    async fn seen(&self, node: &str) -> Result<Seen, Failure> {
        let reply = self.http.get(&format!("/v1/node/{node}"), ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Nomad", "show this node"));
        }
        reply.json("Nomad")
    }

    /// Whether nobody is there.
    pub(crate) async fn is_gone(&self) -> bool {
        matches!(self.runs().await, Ok(Runs::Not))
    }

    /// What the servers say of new work on this node.
    pub(crate) async fn work(&self) -> Result<Work, Failure> {
        Ok(self.seen(&self.stats().await?.node_id).await?.work())
    }

    /// Whether the client is this instance's, heard by the servers, able to run what it should, and in a pool.
    ///
    /// * returns: what the servers say of new work on it.
    ///
    /// Fails with what it lacks.
    pub(super) async fn proved(
        &self,
        settings: &NomadSettings,
        proved: &Proved,
        pool: &str,
    ) -> Result<Work, Failure> {
        let client = self.stats().await?;
        let (last, ttl) = (seconds(&client.last_heartbeat), seconds(&client.heartbeat_ttl));
        if !matches!((last, ttl), (Some(last), Some(ttl)) if last < ttl) {
            let (last, ttl) = (client.last_heartbeat, client.heartbeat_ttl);
            let what = format!("was last heard by the servers {last} ago, and has to be within {ttl}");
            return Err(lack(&what));
        }
        let seen = self.seen(&client.node_id).await?;
        let instance = proved.document.instance.as_str();
        match seen.attributes.get(INSTANCE) {
            Some(id) if id == instance => {}
            other => {
                let other = other.map_or("no instance", String::as_str);
                return Err(lack(&format!("is {other} to the servers, not {instance}")));
            }
        }
        if seen.status != "ready" {
            return Err(lack(&format!("is {}", seen.status)));
        }
        if seen.node_pool != pool {
            return Err(lack(&format!("is in the pool {}, not in {pool}", seen.node_pool)));
        }
        for driver in &settings.drivers {
            match seen.drivers.get(driver) {
                Some(Driver { healthy: true, .. }) => {}
                Some(Driver { health_description, .. }) => {
                    return Err(lack(&format!("has no healthy driver {driver}: {health_description}")));
                }
                None => return Err(lack(&format!("has no driver {driver}"))),
            }
        }
        // An operator, or the autoscaler, may have made it ineligible: that is theirs to take back.
        Ok(seen.work())
    }
}

fn lack(what: &str) -> Failure {
    Failure::new(ErrorClass::Conflict, format_args!("Nomad's client {what}"))
}

/// A client that has just been started answers nobody before its servers have taken it up.
fn silence(error: HttpError) -> Failure {
    match error {
        HttpError::Cut { .. } => {
            let class = error.class();
            Failure::new(
                class,
                format_args!("{error}; a new client is silent while its servers have no leader"),
            )
        }
        error => error.into(),
    }
}

/// Reads what Nomad may have said; for those who give it anything.
pub(crate) fn reads(body: &[u8]) {
    let _ = serde_json::from_slice::<String>(body);
    let _ = serde_json::from_slice::<Me>(body);
    let _ = serde_json::from_slice::<Seen>(body);
    let _ = seconds(&String::from_utf8_lossy(body));
}

/// Nomad's word for a time, such as `1.234s` or `450ms`.
fn seconds(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ')?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().ok()?;
    Some(match unit {
        "ns" => number / 1e9,
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        // Anything longer is `1m2.5s`.
        _ => {
            let (minutes, rest) = text.split_once('m')?;
            let (hours, minutes) = minutes.split_once('h').unwrap_or(("0", minutes));
            let rest: f64 = rest.trim_end_matches('s').parse().unwrap_or_default();
            hours.parse::<f64>().ok()? * 3600.0 + minutes.parse::<f64>().ok()? * 60.0 + rest
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::{OWN, proved};
    use muster_test_servers::{Plays, StandIn};
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn a_client_is_proved_by_all_that_it_and_its_servers_say_and_refused_for_each_that_is_otherwise() {
        let stats = |last: &str| json!({"node_id": "node", "last_heartbeat": last, "heartbeat_ttl": "10s"});
        let me = json!({"config": {"NodeName": OWN}, "stats": {"client": stats("9.9s")}});
        let node = json!({
            "Status": "ready", "NodePool": "default", "SchedulingEligibility": "eligible", "Drain": false,
            "Attributes": {INSTANCE: OWN}, "Drivers": {"docker": {"Healthy": true}},
        });
        let says = Arc::new(Mutex::new((me.clone(), node.clone())));
        let said = Arc::clone(&says);
        let nomad = StandIn::start(move |asked| {
            let said = said.lock().expect("whole");
            match asked.path.as_str() {
                "/v1/status/leader?stale" => Plays::json(&json!("10.0.0.1:4647")),
                "/v1/agent/self" => Plays::json(&said.0),
                "/v1/node/node" => Plays::json(&said.1),
                _ => Plays::status(404),
            }
        });
        let mut settings = NomadSettings { drivers: vec!["docker".to_owned()], ..NomadSettings::default() };
        settings.server.address = nomad.address();
        let client = NomadClient::new(&settings).expect("a client");
        let judged = async |me: &Value, node: &Value| {
            *says.lock().expect("whole") = (me.clone(), node.clone());
            let judged = client.proved(&settings, &proved(), "default").await;
            judged.map_err(|failure| failure.what.replace("Nomad's client ", ""))
        };
        let work = |eligible| Work { eligible, drains: false, drained: false };
        assert_eq!(judged(&me, &node).await, Ok(work(true)));
        for (last, words) in [
            ("10s", "was last heard by the servers 10s ago, and has to be within 10s"),
            ("1m0.5s", "was last heard by the servers 1m0.5s ago, and has to be within 10s"),
            ("never", "was last heard by the servers never ago, and has to be within 10s"),
        ] {
            let me = json!({"config": {"NodeName": OWN}, "stats": {"client": stats(last)}});
            assert_eq!(judged(&me, &node).await, Err(words.to_owned()));
        }
        let none = json!({"config": {"NodeName": OWN}, "stats": {}});
        assert_eq!(judged(&none, &node).await, Err("is none: it is not enabled".to_owned()));
        for (key, value, words) in [
            ("Attributes", json!({INSTANCE: "i-1"}), "is i-1 to the servers, not i-0123456789abcdef0"),
            ("Attributes", json!({}), "is no instance to the servers, not i-0123456789abcdef0"),
            ("Status", json!("initializing"), "is initializing"),
            ("Status", json!("down"), "is down"),
            ("NodePool", json!("muster-proving"), "is in the pool muster-proving, not in default"),
            ("Drivers", json!({"raw_exec": {"Healthy": true}}), "has no driver docker"),
            (
                "Drivers",
                json!({"docker": {"Healthy": false, "HealthDescription": "no daemon"}}),
                "has no healthy driver docker: no daemon",
            ),
        ] {
            let mut node = node.clone();
            node[key] = value;
            assert_eq!(judged(&me, &node).await, Err(words.to_owned()));
        }
        // Somebody else keeps work away: that is theirs to take back.
        let mut ineligible = node.clone();
        ineligible["SchedulingEligibility"] = json!("ineligible");
        assert_eq!(judged(&me, &ineligible).await, Ok(work(false)));
    }

    #[test]
    fn nomads_times_are_read() {
        for (text, expected) in [
            ("1.5s", Some(1.5)),
            ("450ms", Some(0.45)),
            ("10.5µs", Some(0.000_010_5)),
            ("1m2.5s", Some(62.5)),
            ("2h1m3s", Some(7263.0)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_was_drained_drains_until_it_is_eligible_again() {
        let work = |eligibility: &str, drain: bool, last: Option<&str>| {
            let seen = serde_json::json!({
                "Status": "ready", "NodePool": "default", "SchedulingEligibility": eligibility, "Drain": drain,
                "LastDrain": last.map(|status| serde_json::json!({"Status": status})),
                "Attributes": {}, "Drivers": {},
            });
            serde_json::from_value::<Seen>(seen).expect("a node").work()
        };
        let of = |eligible, drains, drained| Work { eligible, drains, drained };
        assert_eq!(work("eligible", false, None), of(true, false, false));
        assert_eq!(work("ineligible", false, None), of(false, false, false), "its work may stay");
        assert_eq!(work("ineligible", true, Some("draining")), of(false, true, false));
        assert_eq!(work("ineligible", false, Some("complete")), of(false, true, true));
        assert_eq!(work("ineligible", false, Some("canceled")), of(false, false, false));
        assert_eq!(work("eligible", false, Some("complete")), of(true, false, false));
    }
}
