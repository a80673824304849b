//! The autoscaler as the Nomad job that it ships with: what a test sets up for it, as its README says, and what it sees
//! of it.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::ground::{RIGHTS, Site, get};
use muster_test_servers::{Consul, Nomad, Vault};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The job.
pub const JOB: &str = include_str!("../../autoscaler/nomad/job/muster-autoscaler.nomad.hcl");
/// What its identity may do in Consul, and no more.
pub const CONSUL_RIGHTS: &str = include_str!("../../autoscaler/nomad/job/consul-policy.hcl");
/// Its name.
pub const NAME: &str = "muster-autoscaler";
/// How much of what a task said is shown, in bytes.
const MOST_SAID: usize = 60_000;

/// Registers the job with these variables.
pub fn register(nomad: &Nomad, values: &Value) {
    // What JSON writes HCL reads, line for line.
    let lines =
        values.as_object().expect("an object").iter().map(|(name, value)| format!("{name} = {value}\n"));
    let body = json!({ "JobHCL": JOB, "Variables": lines.collect::<String>(), "Canonicalize": true });
    nomad.register(&nomad.call("POST", "/v1/jobs/parse", &body));
}

/// What it may do in Consul, with the nodes named whose agents it asks.
pub fn consul_rights(nodes: &[&str]) -> String {
    let any = "session_prefix \"\" {";
    let (rest, rule) = CONSUL_RIGHTS.split_once(any).expect("the rule for sessions is the last one");
    nodes.iter().fold(rest.to_owned(), |rules, name| format!("{rules}session \"{name}\" {{{rule}"))
}

/// Sets Consul up as the job's README says: Nomad's identities are good for tokens of Consul.
///
/// * `nodes`: those whose agents it asks, by their names in Consul.
pub fn let_consul_trust(consul: &Consul, nomad: &Nomad, nodes: &[&str]) {
    let put = |path: &str, body: Value| drop(consul.call("PUT", path, &body));
    put(
        "/v1/acl/auth-method",
        json!({ "Name": "nomad-workloads", "Type": "jwt", "Config": {
            "JWKSURL": format!("{}/.well-known/jwks.json", nomad.address()),
            "JWTSupportedAlgs": ["RS256"], "BoundAudiences": ["consul.io"],
            "ClaimMappings": {
                "nomad_namespace": "nomad_namespace", "nomad_job_id": "nomad_job_id",
                "nomad_task": "nomad_task", "nomad_service": "nomad_service"
            }
        } }),
    );
    put(
        "/v1/acl/binding-rule",
        json!({ "AuthMethod": "nomad-workloads", "BindType": "service", "BindName": "${value.nomad_service}",
                "Selector": "\"nomad_service\" in value" }),
    );
    put("/v1/acl/policy", json!({ "Name": NAME, "Rules": consul_rights(nodes) }));
    put("/v1/acl/role", json!({ "Name": NAME, "Policies": [{ "Name": NAME }] }));
    put(
        "/v1/acl/binding-rule",
        json!({ "AuthMethod": "nomad-workloads", "BindType": "role", "BindName": NAME,
                "Selector": "value.nomad_job_id == \"muster-autoscaler\" and value.nomad_namespace == \"default\"" }),
    );
}

/// Nomad's identities are good for tokens of Vault: at the mount `nomad`, by roles that are the caller's to write.
pub fn let_vault_trust(vault: &Vault, nomad: &Nomad) {
    vault.call("POST", "sys/auth/nomad", &json!({ "type": "jwt" }));
    let config = json!({
        "jwks_url": format!("{}/.well-known/jwks.json", nomad.address()),
        "jwt_supported_algs": ["RS256", "EdDSA"], "default_role": "nomad-workloads",
    });
    vault.call("POST", "auth/nomad/config", &config);
}

/// Binds the policy to the job, as its README says.
pub fn let_nomad_allow(nomad: &Nomad) {
    let policy =
        json!({ "Name": NAME, "Rules": RIGHTS, "JobACL": { "Namespace": "default", "JobID": NAME } });
    let answer = nomad.try_call("POST", &format!("/v1/acl/policy/{NAME}"), &policy.to_string());
    answer.expect("it answers").must_be_success();
}

/// The allocations of the newest version of the job that are healthy, when its deployment was successful.
pub fn deployed(site: &Site, version: u64) -> Option<Vec<Value>> {
    let deployments = site.nomad.call("GET", &format!("/v1/job/{NAME}/deployments"), &Value::Null);
    let newest = deployments.as_array()?.iter().find(|one| one["JobVersion"] == version)?;
    assert_ne!(newest["Status"], "failed", "{newest}");
    (newest["Status"] == "successful").then_some(())?;
    let running = |one: &Value| one["ClientStatus"] == "running" && one["DesiredStatus"] == "run";
    let running: Vec<Value> = site.allocations(NAME).into_iter().filter(running).collect();
    let new = running.len() == 2 && running.iter().all(|one| one["JobVersion"] == version);
    new.then_some(running)
}

/// Where the job's allocations are, healthy or not.
pub fn places(consul: &Consul) -> Vec<SocketAddr> {
    let services = consul.call("GET", &format!("/v1/catalog/service/{NAME}"), &Value::Null);
    let place =
        |one: &Value| format!("{}:{}", one["ServiceAddress"].as_str()?, one["ServicePort"]).parse().ok();
    services.as_array().into_iter().flatten().filter_map(place).collect()
}

/// Where the one is that says that it leads.
pub fn leader(consul: &Consul) -> Option<SocketAddr> {
    let leads = |place: &SocketAddr| {
        let status: Option<Value> =
            get(*place, "/v1/fleets").and_then(|body| serde_json::from_str(&body).ok());
        status.is_some_and(|status| status["leads"] == true)
    };
    // One is asked after the other, and a lock that is given back is taken at once: who said so first has to say it still.
    let said: Vec<_> = places(consul).into_iter().filter(leads).collect();
    let leading: Vec<_> = if said.len() < 2 { said } else { said.into_iter().filter(leads).collect() };
    assert!(leading.len() < 2, "two lead: {leading:?}");
    leading.first().copied()
}

/// What the job's tasks have said so far, as Nomad keeps it: the end of it, of each allocation. Panics about nothing, as it is for a
/// test that fails already.
pub fn said(nomad: &Nomad) -> String {
    let asked = |path: &str| nomad.try_call("GET", path, "").ok().filter(|answer| answer.status == 200);
    let allocations: Option<Vec<Value>> = asked(&format!("/v1/job/{NAME}/allocations"))
        .and_then(|answer| serde_json::from_str(&answer.body).ok());
    let mut said = Vec::new();
    for allocation in allocations.unwrap_or_default() {
        let id = allocation["ID"].as_str().unwrap_or_default();
        let tasks = allocation["TaskStates"].as_object().into_iter().flat_map(|tasks| tasks.keys());
        for (task, stream) in tasks.flat_map(|task| [(task, "stdout"), (task, "stderr")]) {
            let path = format!(
                "/v1/client/fs/logs/{id}?task={task}&type={stream}&plain=true&origin=end&offset={MOST_SAID}"
            );
            let text = asked(&path).map_or_else(|| "cannot be had".to_owned(), |answer| answer.body);
            said.push(format!("{stream} of {task} in {id}:\n{text}"));
        }
    }
    said.join("\n")
}
