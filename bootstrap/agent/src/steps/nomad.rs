//! The Nomad client of this node: configured in a pool where no job is placed, started, proved, and only then moved to
//! the pool that it works in.
//!
//! A client of Nomad registers as eligible, and the agent has no right to make it otherwise: that right is over every
//! node. So what keeps work away is the pool, and from jobs that name all pools, that there is no room. A client that was down is proved again before it is back in its own: what
//! was true before a reboot need not be now. One that runs there stays there, whatever becomes of the agent.

mod client;
mod drain;

pub use client::NomadClient;
pub(crate) use client::reads;
pub(crate) use drain::fit_drain;

use super::kept::{Found, Kept};
use super::patience::Patience;
use super::{OWN, inputs_of, is_of_servers, is_ours_already, is_own_state, merged, registry, wanted};
use crate::drive::{Looked, Made, Notes};
use crate::host::{Contents, Request, Verb};
use crate::node::{Node, Proved};
use bootstrap_config::{NomadSettings, Settings};
use bootstrap_core::{Checked, Entry, Failure, Inputs, Step};
use client::Runs;
use fleet::ErrorClass;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// How long it may take from its start to being proved: drivers are looked for one after the other.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOKS: Duration = Duration::from_millis(250);
/// The note of a client whose state is this instance's own, and which is not proved yet.
const EMPTIED: &str = "emptied";
/// The alarm of a registry that does not give its manifest.
const REGISTRY: &str = "registry";
/// Megabytes that a node which is not proved keeps for itself, more than any has: a job of the pool `all` names every pool, and no
/// task does without memory.
const EVERYTHING: u64 = 1 << 30;
/// The alarm of servers that are away.
const SERVERS: &str = "nomad";

/// The pool that the node is to be in now.
fn pool<'a>(node: &Node, nomad: &'a NomadSettings) -> &'a str {
    if node.is_withheld() { &nomad.proving_pool } else { &nomad.node_pool }
}

/// What another of is another client: its configuration, and the image by which the registry is tried.
fn inputs(settings: &Settings, nomad: &NomadSettings, proved: &Proved, pool: &str) -> Inputs {
    let tried = nomad.registry.as_ref().map(|tried| (&tried.image, &tried.ca_file, tried.insecure));
    inputs_of(&(configuration(settings, nomad, proved, pool), tried))
}

pub(super) async fn check(node: &Node, last: Option<Entry>) -> Looked {
    let settings = node.settings();
    let nomad = wanted(settings.nomad.clone(), Step::Nomad)?;
    let proved = node.identity()?;
    let pool = pool(node, &nomad);
    let inputs = inputs(&settings, &nomad, &proved, pool);
    if node.has_left() {
        return Ok((Checked::Already, inputs));
    }
    if !is_ours_already(node, Step::Nomad, &inputs, last.as_ref()) {
        return Ok((Checked::Needed, inputs));
    }
    if !is_kept(node, &settings, &nomad, &proved, pool, (&inputs, last.as_ref())).await? {
        return Ok((Checked::Needed, inputs));
    }
    let client = NomadClient::new(&nomad)?;
    match client.proved(&nomad, &proved, pool).await {
        Ok(work) => {
            node.set_work(work);
            node.alarm(SERVERS, None);
        }
        Err(failure) if is_of_servers(&failure) && is_in(&client, &proved, pool).await => {
            // What runs runs on without servers, and no restart brings them back.
            node.alarm(SERVERS, Some(format!("nomad: {failure}")));
            return Ok((Checked::Already, inputs));
        }
        Err(failure) => {
            tracing::debug!(%failure, "Nomad's client is not proved");
            return Ok((Checked::Needed, inputs));
        }
    }
    if let Some(registry) = &nomad.registry {
        // What runs here has its images: a registry that is away is none of the node's faults, and somebody has to know.
        node.alarm(REGISTRY, registry::try_manifest(registry).await.err().map(|failure| failure.to_string()));
    }
    Ok((Checked::Already, inputs))
}

/// Whether the client that runs was started from this configuration. A file that somebody changed without starting the client
/// is written again, and the client left alone.
async fn is_kept(
    node: &Node,
    settings: &Settings,
    nomad: &NomadSettings,
    proved: &Proved,
    pool: &str,
    (inputs, last): (&Inputs, Option<&Entry>),
) -> Result<bool, Failure> {
    let contents = contents(&configuration(settings, nomad, proved, pool));
    let kept = Kept { step: Step::Nomad, file: &nomad.file, contents: &contents, unit: &nomad.unit };
    match kept.look(node, inputs, last).await {
        Found::Ours => {}
        Found::Changed => place(node, nomad, pool, contents).await.map(drop)?,
        Found::Taken => return Ok(false),
    }
    Ok(true)
}

/// Whether the client runs as this instance's, in a pool.
async fn is_in(client: &NomadClient, proved: &Proved, pool: &str) -> bool {
    let instance = proved.document.instance.as_str();
    matches!(client.runs().await, Ok(Runs::As { name, pool: is }) if name == instance && is == pool)
}

pub(super) async fn apply(node: &Node, last: Option<Entry>, notes: Notes) -> Made {
    let settings = node.settings();
    let nomad = wanted(settings.nomad.clone(), Step::Nomad)?;
    let proved = node.identity()?;
    if node.has_left() {
        return Ok(None);
    }
    let start = Start { node, settings: &settings, nomad: &nomad, proved: &proved };
    let runs = NomadClient::new(&nomad)?.runs().await.map_err(|failure| unproved(&nomad, failure))?;
    let pool_of_ours = match &runs {
        Runs::As { name, pool } if *name == proved.document.instance.as_str() => Some(pool),
        Runs::As { .. } | Runs::Silent { .. } | Runs::Not => None,
    };
    if pool_of_ours.is_none() && !is_state_ours(node, last.as_ref()) {
        if let Runs::Silent { why } = runs {
            // Emptied, it would lose the work that it may have.
            return Err(Failure::new(
                ErrorClass::Unclear,
                format_args!("whose client runs is not known: {why}"),
            ));
        }
        start.empty(&notes).await?;
    }
    let works = pool_of_ours == Some(&nomad.node_pool) && !node.is_withheld();
    if !works {
        start.in_pool(&nomad.proving_pool).await?;
    }
    if let Some(registry) = nomad.registry.as_ref().filter(|_| !works) {
        registry::try_manifest(registry).await?;
    }
    notes.keep(OWN).await?;
    // From here on it may have work: it is not taken out of its pool to be mended.
    let pool = pool(node, &nomad);
    if works || pool != nomad.proving_pool {
        start.in_pool(pool).await?;
    }
    node.set_applied(Step::Nomad, Some(inputs(&settings, &nomad, &proved, pool)));
    Ok(Some(OWN.to_owned()))
}

/// What is to be done where the client that runs does not say whose it is.
///
/// It may be another instance's, and it may be this one's with work: what cannot be proved is neither stopped nor emptied.
fn unproved(nomad: &NomadSettings, failure: Failure) -> Failure {
    if failure.class != ErrorClass::Denied {
        return failure;
    }
    let token = nomad.server.token_file.as_deref().unwrap_or("token_file, which is not set,");
    let what = format_args!(
        "whose client of Nomad runs is not known, and it may have work: {failure}; either {token} has to be a token with \
         agent:read in its cluster, or it is none of this node's: systemctl disable --now {}",
        nomad.unit
    );
    Failure::new(ErrorClass::Denied, what)
}

/// Whether what Nomad keeps on disk is this instance's, and of use: a node that drained itself stays ineligible, and only
/// another one may have work.
fn is_state_ours(node: &Node, last: Option<&Entry>) -> bool {
    let is_emptied = last.and_then(|last| last.note.as_deref()) == Some(EMPTIED);
    (is_own_state(last) || is_emptied) && !node.is_drained_for_good()
}

struct Start<'a> {
    node: &'a Node,
    settings: &'a Settings,
    nomad: &'a NomadSettings,
    proved: &'a Proved,
}

impl Start<'_> {
    /// Removes what another instance has left: its id in Nomad would be two nodes'.
    async fn empty(&self, notes: &Notes) -> Result<(), Failure> {
        let Self { node, nomad, .. } = self;
        node.host.ask(Request::Unit { verb: Verb::Stop, unit: nomad.unit.clone() }).await?;
        node.host.ask(Request::Empty { directory: nomad.directory.clone() }).await?;
        // Emptied again after a crash, it would be one more node, and the first one's ghost be down in every list.
        notes.keep(EMPTIED).await?;
        node.is_new_in_nomad();
        Ok(())
    }

    /// Starts the client in a pool, and waits until it is proved there.
    async fn in_pool(&self, pool: &str) -> Result<(), Failure> {
        place_and_restart(self.node, self.settings, self.nomad, self.proved, pool, Verb::Restart).await?;
        let client = NomadClient::new(self.nomad)?;
        let mut patience = Patience::here(self.node, Step::Nomad, LOOKS, PATIENCE);
        while let Err(failure) = client.proved(self.nomad, self.proved, pool).await {
            patience.after(failure).await?;
        }
        Ok(())
    }
}

/// A configuration as its file holds it.
fn contents(configuration: &Value) -> Contents {
    Contents(format!("{configuration:#}\n"))
}

/// Writes the client's configuration. * returns: while it is held, nobody else does, nor restarts the client.
async fn place(
    node: &Node,
    nomad: &NomadSettings,
    pool: &str,
    contents: Contents,
) -> Result<OwnedMutexGuard<Option<Duration>>, Failure> {
    // A step that was at it when the node was withheld does not undo that.
    let alone = Arc::clone(&node.client).lock_owned().await;
    if node.is_withheld() && pool != nomad.proving_pool {
        return Err(Failure::new(ErrorClass::Conflict, "new work was to be kept away in the meantime"));
    }
    node.host.ask(Request::Place { file: nomad.file.clone(), contents }).await?;
    Ok(alone)
}

/// Writes the client's configuration and starts it anew: what runs on it runs on.
async fn place_and_restart(
    node: &Node,
    settings: &Settings,
    nomad: &NomadSettings,
    proved: &Proved,
    pool: &str,
    verb: Verb,
) -> Result<(), Failure> {
    let contents = contents(&configuration(settings, nomad, proved, pool));
    let alone = place(node, nomad, pool, contents).await?;
    if node.has_left() {
        // A second signal would cut its drain.
        return Err(Failure::new(ErrorClass::Conflict, "Nomad's client was told to leave in the meantime"));
    }
    start(node, alone, verb, &nomad.unit).await
}

/// Has the client start again. Seen through also where nobody waits for it any more: root is at it all the same, and whoever
/// has the client leave has to know.
async fn start(
    node: &Node,
    mut alone: OwnedMutexGuard<Option<Duration>>,
    verb: Verb,
    unit: &str,
) -> Result<(), Failure> {
    let (host, clock) = (Arc::clone(&node.host), Arc::clone(&node.clock));
    let request = Request::Unit { verb, unit: unit.to_owned() };
    let asked = tokio::spawn(async move {
        let asked = host.ask(request).await;
        *alone = Some(clock.monotonic());
        asked
    });
    asked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    Ok(())
}

/// Takes the node out of its pool: no new work lands on it. What runs on it runs on, and what does not is not started.
///
/// May be repeated. Leaves a client that was told to leave alone. Fails while it is not known what the client is to be: of files
/// alone it would be one without what parameters and tags say, such as its servers.
pub(crate) async fn withhold(node: &Node) -> Result<(), Failure> {
    let Some(loaded) = node.loaded() else {
        let what = "what the client of Nomad is to be is not known yet";
        return Err(Failure::new(ErrorClass::Conflict, what));
    };
    let settings = loaded.settings.clone();
    let (Some(nomad), Ok(proved)) = (settings.nomad.clone(), node.identity()) else { return Ok(()) };
    if node.has_left() {
        return Ok(());
    }
    // Whoever starts it next starts it there, and one that does not answer may run all the same.
    place_and_restart(node, &settings, &nomad, &proved, &nomad.proving_pool, Verb::TryRestart).await
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
        // What the watchman does when nobody confirms a notice; where less is left, with less.
        "drain_on_shutdown": {
            "deadline": format!("{}s", drain::CONFIGURED.as_secs()), "force": false, "ignore_system_jobs": true,
        },
    });
    if let Some(class) = &nomad.node_class {
        client["node_class"] = json!(class);
    }
    if !nomad.servers.is_empty() {
        client["servers"] = json!(nomad.servers);
    }
    if pool != nomad.node_pool {
        client["reserved"] = json!({"memory": EVERYTHING});
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
    let mut whole = merged(nomad.extra.as_deref(), ours);
    put_drivers_in_lists(&mut whole);
    whole
}

/// Nomad reads JSON as if it were HCL 1, where an object of nothing but objects is taken for blocks with labels: it refuses a
/// driver's `config` that has no plain value, unless that stands in a list.
fn put_drivers_in_lists(whole: &mut Value) {
    let Some(plugins) = whole.get_mut("plugin").and_then(Value::as_object_mut) else { return };
    let configs = plugins.values_mut().filter_map(|plugin| plugin.get_mut("config"));
    for config in configs.filter(|config| config.is_object()) {
        *config = json!([config.take()]);
    }
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
        let extra = r#"{"plugin": {"docker": {"config": {"gc": {"image": false}}}},
            "client": {"reserved": {"cpu": 500, "memory": 64}}}"#
            .to_owned();
        let nomad =
            NomadSettings { registry: Some(registry), extra: Some(extra), ..NomadSettings::default() };
        let made = |pool: &str| configuration(&Settings::default(), &nomad, &proved, pool);
        let whole = made("default");
        let docker = json!({"auth": {"config": "/run/muster/secrets/docker.json"}, "gc": {"image": false}});
        assert_eq!(whole["plugin"]["docker"]["config"], json!([docker]));
        assert_eq!(
            (&whole["client"]["meta"]["muster_ready"], &whole["name"]),
            (&json!("true"), &json!("i-0123456789abcdef0"))
        );
        let proving = made("muster-proving");
        assert_eq!(proving["client"]["meta"]["muster_ready"], "false");
        let reserved = |made: &Value| made["client"]["reserved"].clone();
        assert_eq!(
            (reserved(&proving), reserved(&whole)),
            (json!({"memory": EVERYTHING, "cpu": 500}), json!({"cpu": 500, "memory": 64}))
        );
        assert_eq!(
            (&proving["leave_on_terminate"], &proving["leave_on_interrupt"]),
            (&json!(true), &json!(false))
        );
    }
}
