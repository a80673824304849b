//! The Consul agent of this node: configured, started, joined, and told of this node.

use super::kept::Kept;
use super::patience::Patience;
use super::{OWN, inputs_of, is_of_servers, is_ours_already, is_own_state, monitoring, wanted};
use crate::drive::{Looked, Made, Notes};
use crate::host::{Contents, Done, Request, Verb};
use crate::http::{Http, HttpError};
use crate::node::{Node, Proved};
use crate::watch::health;
use bootstrap_config::{ConsulSettings, Settings, duration_text};
use bootstrap_core::{Checked, Entry, Failure, Step};
use fleet::ErrorClass;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The alarm of servers that are away.
const SERVERS: &str = "consul";
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take from its start to having joined.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOKS: Duration = Duration::from_millis(250);

/// The agent of this node. Clones share its connection.
#[derive(Clone)]
pub struct Consul {
    http: Http,
    settings: ConsulSettings,
}

/// What a service's check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is good.
    Passing,
    /// It may be.
    Warning,
    /// It is not.
    Critical,
}

impl Health {
    const fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Consul's agent, as far as it is ours to read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Me {
    config: Config,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    node_name: String,
}

/// A check of this agent.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(default)]
    notes: String,
}

/// A service that is registered.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct There {
    service: String,
    tags: Option<Vec<String>>,
    meta: Option<Map<String, Value>>,
    address: String,
    port: u16,
}

/// A healthy instance of a service.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: At,
    service: Service,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct At {
    address: String,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    address: String,
    port: u16,
    tags: Option<Vec<String>>,
}

impl Instance {
    fn address(self) -> String {
        let host = if self.service.address.is_empty() { self.node.address } else { self.service.address };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let plain = self.service.tags.unwrap_or_default().iter().any(|tag| tag == "http");
        format!("{}://{host}:{}", if plain { "http" } else { "https" }, self.service.port)
    }
}

/// A key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    value: Option<String>,
    modify_index: u64,
}

impl Key {
    /// Its value, and its index for compare-and-set.
    fn held(self) -> Result<(Vec<u8>, u64), base64::DecodeError> {
        use base64::Engine as _;
        let value = base64::engine::general_purpose::STANDARD.decode(self.value.unwrap_or_default())?;
        Ok((value, self.modify_index))
    }
}

/// Reads what Consul may have said; for those who give it anything.
pub(crate) fn reads(body: &[u8]) {
    let _ = serde_json::from_slice::<String>(body);
    let _ = serde_json::from_slice::<bool>(body);
    let _ = serde_json::from_slice::<Me>(body);
    let _ = serde_json::from_slice::<There>(body);
    let _ = serde_json::from_slice::<BTreeMap<String, Check>>(body);
    let rows = serde_json::from_slice::<Vec<Instance>>(body).unwrap_or_default();
    let _: Vec<String> = rows.into_iter().map(Instance::address).collect();
    for key in serde_json::from_slice::<Vec<Key>>(body).unwrap_or_default() {
        let breaker = key.held().map(|(value, _)| serde_json::from_slice::<bootstrap_core::Breaker>(&value));
        let _ = breaker.is_ok_and(|breaker| breaker.is_ok());
    }
}

impl Consul {
    /// The agent of the settings.
    pub fn new(settings: &ConsulSettings) -> Result<Self, Failure> {
        let http = Http::new("Consul", &settings.server, Some(("x-consul-token", "")))?;
        Ok(Self { http, settings: settings.clone() })
    }

    /// Whether the agent is this instance's and has joined a datacenter that has a leader. * fails: with what it lacks.
    async fn joined(&self, proved: &Proved) -> Result<(), Failure> {
        // Before anything that needs a token: without a leader every token is unknown.
        let reply = self.http.get("/v1/status/leader", ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Consul", "say who its leader is"));
        }
        if reply.json::<String>("Consul")?.is_empty() {
            return Err(Failure::new(
                ErrorClass::Transient,
                "Consul has no leader, or this node has not joined it yet",
            ));
        }
        let reply = self.http.get("/v1/agent/self", ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Consul", "say who its agent is"));
        }
        let me: Me = reply.json("Consul")?;
        let instance = proved.document.instance.as_str();
        if me.config.node_name != instance {
            let what = format!("the agent of Consul is the node {}, not {instance}", me.config.node_name);
            return Err(Failure::new(ErrorClass::Conflict, what));
        }
        Ok(())
    }

    /// Whether starting the agent again may help one that has not joined: nobody answers, or it is another node's.
    ///
    /// What else it may say is of its servers, or of the rights of our token: a restart mends neither, and each one is a
    /// leave by Consul's default for clients.
    async fn is_to_start(&self, lacks: &Failure) -> bool {
        lacks.class == ErrorClass::Conflict
            || match self.http.get("/v1/status/leader", ANSWERS_WITHIN).await {
                // Without its token nobody was asked.
                Ok(_) | Err(HttpError::Unusable { .. }) => false,
                Err(_) => true,
            }
    }

    /// The id of the service that stands for this node.
    pub fn service_id(&self, proved: &Proved) -> String {
        format!("{}-{}", self.settings.service, proved.document.instance)
    }

    /// The checks of this agent, by their ids, with their notes.
    async fn checks(&self) -> Result<BTreeMap<String, String>, Failure> {
        let reply = self.http.get("/v1/agent/checks", ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Consul", "show its agent's checks"));
        }
        let rows: BTreeMap<String, Check> = reply.json("Consul")?;
        Ok(rows.into_iter().map(|(id, row)| (id, row.notes)).collect())
    }

    /// Why the node is in maintenance; `None`: it is not.
    pub async fn maintenance_reason(&self) -> Result<Option<String>, Failure> {
        Ok(self.checks().await?.remove("_node_maintenance"))
    }

    /// Whether a service is registered as it should be, but for its checks.
    async fn is_registered(&self, service: &Value) -> Result<bool, Failure> {
        let id = service["ID"].as_str().unwrap_or_default();
        let reply = self.http.get(&format!("/v1/agent/service/{id}"), ANSWERS_WITHIN).await?;
        if reply.status == 404 {
            return Ok(false);
        }
        if !reply.is_success() {
            return Err(reply.failure("Consul", "show a service"));
        }
        let there: There = reply.json("Consul")?;
        let at = there.address == service["Address"].as_str().unwrap_or_default();
        let port = json!(there.port) == service["Port"];
        Ok(json!(there.service) == service["Name"]
            && json!(there.tags.unwrap_or_default()) == service["Tags"]
            && json!(there.meta.unwrap_or_default()) == service["Meta"]
            && at
            && port)
    }

    async fn register(&self, service: &Value) -> Result<(), Failure> {
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        let reply = self.http.ask(Method::PUT, path, Some(service), ANSWERS_WITHIN).await?;
        if reply.is_success() { Ok(()) } else { Err(reply.failure("Consul", "register a service")) }
    }

    /// Feeds the check of this node's service. * returns: whether Consul knows the check: else it has to be registered again.
    pub async fn feed(&self, proved: &Proved, health: Health, words: &str) -> Result<bool, Failure> {
        let path = format!("/v1/agent/check/update/{}:ready", self.service_id(proved));
        let body = json!({"Status": health.word(), "Output": words});
        let reply = self.http.ask(Method::PUT, &path, Some(&body), ANSWERS_WITHIN).await?;
        match reply.status {
            200 => Ok(true),
            // Older agents call an unknown check an error of their own.
            404 => Ok(false),
            500 if reply.words().to_lowercase().contains("unknown check") => Ok(false),
            _ => Err(reply.failure("Consul", "take the state of this node")),
        }
    }

    /// Takes the node out of every service's answers, or puts it back.
    pub async fn maintenance(&self, on: bool, reason: &str) -> Result<(), Failure> {
        let enable = if on { "true" } else { "false" };
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("enable", enable), ("reason", reason)])
            .finish();
        let path = format!("/v1/agent/maintenance?{query}");
        let reply = self.http.ask(Method::PUT, &path, None, ANSWERS_WITHIN).await?;
        if reply.is_success() { Ok(()) } else { Err(reply.failure("Consul", "set the node's maintenance")) }
    }

    /// The addresses of a service's healthy instances.
    pub async fn healthy(&self, service: &str) -> Result<Vec<String>, Failure> {
        let reply = self.http.get(&format!("/v1/health/service/{service}?passing"), ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Consul", &format!("find the service {service}")));
        }
        let rows: Vec<Instance> = reply.json("Consul")?;
        Ok(rows.into_iter().map(Instance::address).collect())
    }

    /// A key's value with its index for compare-and-set; `None` where there is none.
    pub async fn value(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, Failure> {
        let reply = self.http.get(&format!("/v1/kv/{key}"), ANSWERS_WITHIN).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        if !reply.is_success() {
            return Err(reply.failure("Consul", &format!("show the key {key}")));
        }
        let rows: Vec<Key> = reply.json("Consul")?;
        let held = rows.into_iter().next().map(Key::held).transpose();
        held.map_err(|why| Failure::new(ErrorClass::Malformed, format_args!("the key {key}: {why}")))
    }

    /// Writes a key if nobody has since it was read. * `index`: 0: if it does not exist. * returns: whether it was written.
    pub async fn set_value(&self, key: &str, value: &Value, index: u64) -> Result<bool, Failure> {
        let path = format!("/v1/kv/{key}?cas={index}");
        let reply = self.http.ask(Method::PUT, &path, Some(value), ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("Consul", &format!("write the key {key}")));
        }
        reply.json("Consul")
    }
}

pub(super) async fn check(node: &Node, last: Option<Entry>) -> Looked {
    let settings = node.settings();
    let consul = wanted(settings.consul.clone(), Step::Consul)?;
    let proved = node.identity()?;
    let configuration = agent_configuration(&settings, &consul, &proved);
    let contents = contents(&configuration);
    let inputs = inputs_of(&(configuration, services(&settings, &consul, &proved)));
    if !is_ours_already(node, Step::Consul, &inputs, last.as_ref()) {
        return Ok((Checked::Needed, inputs));
    }
    let kept = Kept { step: Step::Consul, file: &consul.file, contents: &contents, unit: &consul.unit };
    if !kept.holds(node, &inputs, last.as_ref()).await? {
        node.set_started(Step::Consul, None);
        return Ok((Checked::Needed, inputs));
    }
    let agent = Consul::new(&consul)?;
    let stands = match agent.joined(&proved).await {
        Ok(()) => mend(node).await,
        Err(failure) if agent.is_to_start(&failure).await => {
            node.set_started(Step::Consul, None);
            return Ok((Checked::Needed, inputs));
        }
        Err(failure) => Err(failure),
    };
    match stands {
        Ok(()) => node.alarm(SERVERS, None),
        // An agent that has no servers is as good as it was, and no restart brings them back.
        Err(failure) if is_of_servers(&failure) => node.alarm(SERVERS, Some(format!("consul: {failure}"))),
        Err(failure) => return Err(failure),
    }
    Ok((Checked::Already, inputs))
}

/// Somebody else may take a registration away: that needs no restart, so it is mended here and now.
async fn mend(node: &Node) -> Result<(), Failure> {
    if register_again(node).await? && node.is_ready() {
        // What is registered anew begins as critical.
        health::say(node).await?;
    }
    Ok(())
}

/// Registers what Consul's agent does not have, or has otherwise: services and their checks. * returns: whether there was any.
pub(crate) async fn register_again(node: &Node) -> Result<bool, Failure> {
    let settings = node.settings();
    let (Some(consul), Ok(proved)) = (&settings.consul, node.identity()) else { return Ok(false) };
    let agent = Consul::new(consul)?;
    let checks = agent.checks().await?;
    let mut any = false;
    for service in services(&settings, consul, &proved) {
        let ids = service["Checks"].as_array().into_iter().flatten().map(|check| check["CheckID"].as_str());
        let is_checked = ids.flatten().all(|id| checks.contains_key(id));
        if !is_checked || !agent.is_registered(&service).await? {
            tracing::info!(service = %service["ID"], "a registration had vanished from Consul, or was another");
            agent.register(&service).await?;
            any = true;
        }
    }
    Ok(any)
}

pub(super) async fn apply(node: &Node, last: Option<Entry>, notes: Notes) -> Made {
    let settings = node.settings();
    let consul = wanted(settings.consul.clone(), Step::Consul)?;
    let proved = node.identity()?;
    let unit = |verb| Request::Unit { verb, unit: consul.unit.clone() };
    if !is_own_state(last.as_ref()) {
        // The image may have been made of a node that ran: its id in Consul would be two nodes'.
        node.host.ask(unit(Verb::Stop)).await?;
        node.host.ask(Request::Empty { directory: consul.directory.clone() }).await?;
        notes.keep(OWN).await?;
    }
    let configuration = agent_configuration(&settings, &consul, &proved);
    let contents = contents(&configuration);
    let services = services(&settings, &consul, &proved);
    let inputs = inputs_of(&(&configuration, &services));
    let placed = node.host.ask(Request::Place { file: consul.file.clone(), contents }).await?;
    let agent = Consul::new(&consul)?;
    // The attempt before may have started it, and waited for what no restart brings.
    let stays = placed == Done::Unchanged && node.has_started(Step::Consul, &inputs) && {
        let joined = agent.joined(&proved).await;
        match &joined {
            Ok(()) => true,
            Err(lacks) => !agent.is_to_start(lacks).await,
        }
    };
    if !stays {
        node.host.ask(unit(Verb::Restart)).await?;
        node.set_started(Step::Consul, Some(inputs.clone()));
    }
    let mut patience = Patience::here(node, Step::Consul, LOOKS, PATIENCE);
    while let Err(failure) = agent.joined(&proved).await {
        patience.after(failure).await?;
    }
    for service in &services {
        agent.register(service).await?;
    }
    node.set_applied(Step::Consul, Some(inputs));
    Ok(Some(OWN.to_owned()))
}

/// A configuration as its file holds it.
fn contents(configuration: &Value) -> Contents {
    Contents(format!("{configuration:#}\n"))
}

/// What the agent is configured with: the operator's extra, and over it what is ours to say.
fn agent_configuration(settings: &Settings, consul: &ConsulSettings, proved: &Proved) -> Value {
    let directory = settings.host.directories.iter().find(|rule| rule.name == consul.directory);
    let mut ours = json!({
        "datacenter": consul.datacenter,
        "node_name": proved.document.instance,
        "data_dir": directory.map(|rule| rule.path.clone()),
        "server": false,
        "node_meta": {
            "instance_id": proved.document.instance,
            "instance_type": proved.document.instance_type.clone().unwrap_or_default(),
            "image": proved.document.image.clone().unwrap_or_default(),
            "life_cycle": proved.life_cycle.clone().unwrap_or_default(),
        },
    });
    if !consul.join.is_empty() {
        ours["retry_join"] = json!(consul.join);
    }
    super::merged(consul.extra.as_deref(), ours)
}

/// What is registered: this node, and the exporter of its metrics.
fn services(settings: &Settings, consul: &ConsulSettings, proved: &Proved) -> Vec<Value> {
    let instance = &proved.document.instance;
    let meta = json!({
        "instance_id": instance,
        "image": proved.document.image.clone().unwrap_or_default(),
    });
    let id = format!("{}-{instance}", consul.service);
    let mut services = vec![json!({
        "ID": id, "Name": consul.service, "Tags": consul.tags, "Meta": meta, "Port": 0,
        "Checks": [{
            "CheckID": format!("{id}:ready"), "Name": "muster-bootstrap", "TTL": duration_text(consul.ttl),
            "Status": "critical",
        }],
    })];
    if let Some(monitoring) = &settings.monitoring
        && let at = monitoring::address(monitoring, proved)
        && let Some((host, port)) = reached_at(&at)
    {
        let name = monitoring.unit.trim_end_matches(".service");
        services.push(json!({
            "ID": format!("{name}-{instance}"), "Name": name, "Tags": ["metrics"], "Meta": meta,
            "Address": host, "Port": port,
            // Until Consul has looked itself it is critical: nobody is sent to an exporter that does not answer.
            "Checks": [{
                "CheckID": format!("{name}-{instance}:metrics"), "Name": "metrics", "HTTP": at,
                "Interval": "15s", "Timeout": "5s",
            }],
        }));
    }
    services
}

/// Where others reach what answers at an address: its host, empty where that is the node itself, and its port.
fn reached_at(address: &str) -> Option<(String, u16)> {
    let url = reqwest::Url::parse(address).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    let is_near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    Some((if is_near { String::new() } else { host }, url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_is_registered_where_others_reach_it() {
        let of = |address| reached_at(address).expect("an address");
        assert_eq!(of("http://10.0.0.7:9100/metrics"), ("10.0.0.7".to_owned(), 9100));
        assert_eq!(of("http://[fd00::7]:9100/metrics"), ("fd00::7".to_owned(), 9100));
        // As the node's own address, which is all that is known.
        assert_eq!(of("http://127.0.0.1:9101/metrics"), (String::new(), 9101));
        assert_eq!(of("http://localhost/metrics"), (String::new(), 80));
    }
}
