//! The Nomad client of this node: configured in a pool where no job is placed, started, proved, and only then moved to
//! the pool that it works in.
//!
//! A client of Nomad registers as eligible, and the agent has no right to make it otherwise: that right is over every
//! node. So what keeps work away is the pool.

use super::{OWN, inputs_of, is_ours_already, is_own_state, merged, registry, wanted};
use crate::drive::{Looked, Made, Notes};
use crate::host::{Contents, Request, Verb};
use crate::http::Http;
use crate::node::{Node, Proved};
use bootstrap_config::{NomadSettings, Settings};
use bootstrap_core::{Checked, Entry, Failure, Step};
use fleet::ErrorClass;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take from its start to being proved: drivers are looked for one after the other.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOKS: Duration = Duration::from_millis(250);
/// The note of a client whose state is this instance's own, and which is not proved yet.
const EMPTIED: &str = "emptied";
/// The attribute by which Nomad's own look at the metadata service names the instance.
const INSTANCE: &str = "unique.platform.aws.instance-id";

/// The client of this node.
pub struct NomadClient {
    http: Http,
}

#[derive(Debug, Deserialize)]
struct Me {
    stats: Stats,
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
    attributes: BTreeMap<String, String>,
    drivers: BTreeMap<String, Driver>,
}
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Driver {
    healthy: bool,
    #[serde(default)]
    health_description: String,
}

impl NomadClient {
    /// The client of the settings.
    pub fn new(settings: &NomadSettings) -> Result<Self, Failure> {
        Ok(Self { http: Http::new("Nomad", &settings.server, Some(("x-nomad-token", "")))? })
    }

    /// Whether the client is this instance's, heard by the servers, able to run what it should, and in a pool.
    ///
    /// Fails with what it lacks.
    async fn proved(&self, settings: &NomadSettings, proved: &Proved, pool: &str) -> Result<(), Failure> {
        let lacks =
            |what: String| Err(Failure::new(ErrorClass::Conflict, format_args!("Nomad's client {what}")));
        let reply = self.http.get("/v1/agent/self", ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Nomad", "say who its agent is"));
        }
        let me: Me = reply.json("Nomad")?;
        let Some(client) = me.stats.client else { return lacks("is none: it is not enabled".to_owned()) };
        let (last, ttl) = (seconds(&client.last_heartbeat), seconds(&client.heartbeat_ttl));
        if !matches!((last, ttl), (Some(last), Some(ttl)) if last < ttl) {
            let (last, ttl) = (client.last_heartbeat, client.heartbeat_ttl);
            return lacks(format!("was last heard by the servers {last} ago, and has to be within {ttl}"));
        }
        let reply = self.http.get(&format!("/v1/node/{}", client.node_id), ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Nomad", "show this node"));
        }
        let seen: Seen = reply.json("Nomad")?;
        let instance = proved.document.instance.as_str();
        match seen.attributes.get(INSTANCE) {
            Some(id) if id == instance => {}
            other => {
                let other = other.map_or("no instance", String::as_str);
                return lacks(format!("is {other} to the servers, not {instance}"));
            }
        }
        if seen.status != "ready" {
            return lacks(format!("is {}", seen.status));
        }
        if seen.node_pool != pool {
            return lacks(format!("is in the pool {}, not in {pool}", seen.node_pool));
        }
        for driver in &settings.drivers {
            match seen.drivers.get(driver) {
                Some(Driver { healthy: true, .. }) => {}
                Some(Driver { health_description, .. }) => {
                    return lacks(format!("has no healthy driver {driver}: {health_description}"));
                }
                None => return lacks(format!("has no driver {driver}")),
            }
        }
        if seen.scheduling_eligibility != "eligible" && !seen.drain {
            // An operator, or the autoscaler, has made it so: that is theirs to take back.
            tracing::debug!("the node is ineligible");
        }
        Ok(())
    }

    /// Whether anybody answers at all.
    pub async fn is_there(&self) -> bool {
        self.http.get("/v1/agent/health?type=client", ANSWERS_WITHIN).await.is_ok()
    }
}

/// Reads what Nomad may have said; for those who give it anything.
pub(crate) fn reads(body: &[u8]) {
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

/// The pool that the node is to be in now.
fn pool<'a>(node: &Node, nomad: &'a NomadSettings) -> &'a str {
    if node.is_withheld() { &nomad.proving_pool } else { &nomad.node_pool }
}

pub(super) async fn check(node: &Node, last: Option<Entry>) -> Looked {
    let settings = node.settings();
    let nomad = wanted(settings.nomad.clone(), Step::Nomad)?;
    let proved = node.identity()?;
    let pool = pool(node, &nomad);
    let inputs = inputs_of(&configuration(&settings, &nomad, &proved, pool));
    if node.has_left() {
        return Ok((Checked::Already, inputs));
    }
    if !is_ours_already(node, Step::Nomad, &inputs, last.as_ref()) {
        return Ok((Checked::Needed, inputs));
    }
    let stands = NomadClient::new(&nomad)?.proved(&nomad, &proved, pool).await;
    if let Err(failure) = &stands {
        tracing::debug!(%failure, "Nomad's client is not proved");
    }
    Ok((if stands.is_ok() { Checked::Already } else { Checked::Needed }, inputs))
}

pub(super) async fn apply(node: &Node, last: Option<Entry>, notes: Notes) -> Made {
    let settings = node.settings();
    let nomad = wanted(settings.nomad.clone(), Step::Nomad)?;
    let proved = node.identity()?;
    let start = Start { node, settings: &settings, nomad: &nomad, proved: &proved };
    if !is_own_state(last.as_ref()) {
        if last.as_ref().and_then(|last| last.note.as_deref()) != Some(EMPTIED) {
            // The image may have been made of a node that ran: its id in Nomad would be two nodes'.
            node.host.ask(Request::Unit { verb: Verb::Stop, unit: nomad.unit.clone() }).await?;
            node.host.ask(Request::Empty { directory: nomad.directory.clone() }).await?;
            // Emptied again after a crash, it would be one more node, and the first one's ghost be down in every list.
            notes.keep(EMPTIED).await?;
        }
        start.in_pool(&nomad.proving_pool).await?;
        if let Some(registry) = &nomad.registry {
            registry::try_manifest(registry).await?;
        }
        notes.keep(OWN).await?;
    }
    // From here on it may have work: it is not taken out of its pool to be mended.
    let pool = pool(node, &nomad);
    start.in_pool(pool).await?;
    node.set_applied(Step::Nomad, Some(inputs_of(&configuration(&settings, &nomad, &proved, pool))));
    Ok(Some(OWN.to_owned()))
}

struct Start<'a> {
    node: &'a Node,
    settings: &'a Settings,
    nomad: &'a NomadSettings,
    proved: &'a Proved,
}

impl Start<'_> {
    /// Starts the client in a pool, and waits until it is proved there.
    async fn in_pool(&self, pool: &str) -> Result<(), Failure> {
        place_and_restart(self.node, self.settings, self.nomad, self.proved, pool).await?;
        let client = NomadClient::new(self.nomad)?;
        let clock = &self.node.clock;
        let until = clock.monotonic() + PATIENCE;
        while let Err(failure) = client.proved(self.nomad, self.proved, pool).await {
            if clock.monotonic() >= until {
                return Err(failure);
            }
            self.node.wait(Step::Nomad, failure.to_string(), LOOKS).await;
        }
        Ok(())
    }
}

/// Writes the client's configuration and starts it anew: what runs on it runs on.
async fn place_and_restart(
    node: &Node,
    settings: &Settings,
    nomad: &NomadSettings,
    proved: &Proved,
    pool: &str,
) -> Result<(), Failure> {
    let contents = Contents(format!("{:#}\n", configuration(settings, nomad, proved, pool)));
    node.host.ask(Request::Place { file: nomad.file.clone(), contents }).await?;
    node.host.ask(Request::Unit { verb: Verb::Restart, unit: nomad.unit.clone() }).await?;
    Ok(())
}

/// Takes the node out of its pool, where its client runs: no new work lands on it. What runs on it runs on.
pub(crate) async fn withhold(node: &Node) -> Result<(), Failure> {
    let settings = node.settings();
    let (Some(nomad), Ok(proved)) = (settings.nomad.clone(), node.identity()) else { return Ok(()) };
    if !NomadClient::new(&nomad)?.is_there().await {
        return Ok(());
    }
    place_and_restart(node, &settings, &nomad, &proved, &nomad.proving_pool).await
}

/// What the client is configured with: the operator's extra, and over it what is ours to say.
pub fn configuration(settings: &Settings, nomad: &NomadSettings, proved: &Proved, pool: &str) -> Value {
    let directory = settings.host.directories.iter().find(|rule| rule.name == nomad.directory);
    let mut meta: BTreeMap<String, String> = nomad.meta.clone();
    meta.insert("muster_image".to_owned(), proved.document.image.clone().unwrap_or_default());
    meta.insert("muster_lifecycle".to_owned(), proved.life_cycle.clone().unwrap_or_default());
    meta.insert("muster_pool".to_owned(), nomad.node_pool.clone());
    // What jobs may ask for. Set without a restart it would need node:write, which is a right over every node.
    let is_proved = if pool == nomad.node_pool { "true" } else { "false" };
    meta.insert("muster_ready".to_owned(), is_proved.to_owned());
    let mut client = json!({
        "enabled": true,
        "node_pool": pool,
        "meta": meta,
        // What the watchman does when nobody confirms a notice: two minutes, less what a shutdown itself takes.
        "drain_on_shutdown": {"deadline": "90s", "force": false, "ignore_system_jobs": true},
    });
    if let Some(class) = &nomad.node_class {
        client["node_class"] = json!(class);
    }
    if !nomad.servers.is_empty() {
        client["servers"] = json!(nomad.servers);
    }
    let mut ours = json!({
        "datacenter": nomad.datacenter,
        "name": proved.document.instance,
        "data_dir": directory.map(|rule| rule.path.clone()),
        "client": client,
        // A restart (SIGINT) leaves work alone; what the watchman sends when nobody hears of a notice (SIGTERM) drains it.
        "leave_on_interrupt": false,
        "leave_on_terminate": true,
    });
    if let Some(registry) = &nomad.registry {
        // What was tried is what the driver pulls with.
        ours["plugin"] = json!({"docker": {"config": {"auth": {"config": registry.auth_file}}}});
    }
    merged(nomad.extra.as_deref(), ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_credentials_are_those_of_the_driver_and_the_pool_says_whether_it_is_proved() {
        let document = fleet_identity::Document {
            instance: fleet::InstanceId::new("i-0123456789abcdef0"),
            account: "123456789012".to_owned(),
            region: fleet::Region::new("eu-west-1"),
            image: Some("ami-1".to_owned()),
            instance_type: None,
            pending: fleet::Timestamp::EPOCH,
            private_ip: None,
        };
        let proved = Proved { document, pkcs7: String::new(), life_cycle: Some("spot".to_owned()) };
        let registry = bootstrap_config::RegistrySettings {
            auth_file: "/run/muster/secrets/docker.json".to_owned(),
            ..bootstrap_config::RegistrySettings::default()
        };
        let extra = r#"{"plugin": {"docker": {"config": {"gc": {"image": false}}}}}"#.to_owned();
        let nomad =
            NomadSettings { registry: Some(registry), extra: Some(extra), ..NomadSettings::default() };
        let made = |pool: &str| configuration(&Settings::default(), &nomad, &proved, pool);
        let whole = made("default");
        let docker = json!({"auth": {"config": "/run/muster/secrets/docker.json"}, "gc": {"image": false}});
        assert_eq!(whole["plugin"]["docker"]["config"], docker);
        assert_eq!(
            (&whole["client"]["meta"]["muster_ready"], &whole["name"]),
            (&json!("true"), &json!("i-0123456789abcdef0"))
        );
        let proving = made("muster-proving");
        assert_eq!(proving["client"]["meta"]["muster_ready"], "false");
        assert_eq!(
            (&proving["leave_on_terminate"], &proving["leave_on_interrupt"]),
            (&json!(true), &json!(false))
        );
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
}
