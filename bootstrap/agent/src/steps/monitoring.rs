//! The exporter of this node's metrics: believed when what it answers is about this node.

use super::{inputs_of, is_ours_already, wanted};
use crate::drive::{Looked, Made};
use crate::host::{Contents, Request, Verb};
use crate::http::{client, send};
use crate::metrics;
use crate::node::Node;
use bootstrap_config::MonitoringSettings;
use bootstrap_core::{Checked, Entry, Failure, Step};
use fleet::ErrorClass;
use reqwest::{Method, Request as HttpRequest, Url};
use std::time::Duration;

const SERVICE: &str = "the exporter";
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take from its start to its first answer.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOKS: Duration = Duration::from_millis(200);

pub(super) async fn check(node: &Node, last: Option<Entry>) -> Looked {
    let monitoring = wanted(node.settings().monitoring, Step::Monitoring)?;
    let inputs = inputs_of(&arguments(node, &monitoring));
    let stands =
        is_ours_already(node, Step::Monitoring, &inputs, last.as_ref()) && verify(&monitoring).await.is_ok();
    Ok((if stands { Checked::Already } else { Checked::Needed }, inputs))
}

pub(super) async fn apply(node: &Node) -> Made {
    let monitoring = wanted(node.settings().monitoring, Step::Monitoring)?;
    if let Some(package) = monitoring.package.clone() {
        node.host.ask(Request::Install { package }).await?;
    }
    let arguments = arguments(node, &monitoring);
    let contents = Contents(format!("{}=\"{}\"\n", monitoring.arguments_variable, arguments.join(" ")));
    node.host.ask(Request::Place { file: monitoring.arguments_file.clone(), contents }).await?;
    node.host.ask(Request::Unit { verb: Verb::Restart, unit: monitoring.unit.clone() }).await?;
    let until = node.clock.monotonic() + PATIENCE;
    loop {
        match verify(&monitoring).await {
            Ok(()) => break,
            Err(failure) if node.clock.monotonic() >= until => return Err(failure),
            Err(failure) => node.wait(Step::Monitoring, failure.to_string(), LOOKS).await,
        }
    }
    node.set_applied(Step::Monitoring, Some(inputs_of(&arguments)));
    Ok(None)
}

/// What it is started with: the agent's own metrics are its to tell.
fn arguments(node: &Node, monitoring: &MonitoringSettings) -> Vec<String> {
    let mut arguments = monitoring.arguments.clone();
    let option = "--collector.textfile.directory";
    if monitoring.unit.contains("node") && !arguments.iter().any(|argument| argument.starts_with(option)) {
        arguments.push(format!("{option}={}", metrics::directory(&node.directories.run).display()));
    }
    arguments
}

/// Asks it, and reads what it answers.
async fn verify(monitoring: &MonitoringSettings) -> Result<(), Failure> {
    let url = Url::parse(&monitoring.address).map_err(|error| {
        Failure::lasting(ErrorClass::Malformed, format_args!("{}: {error}", monitoring.address))
    })?;
    let mut request = HttpRequest::new(Method::GET, url);
    *request.timeout_mut() = Some(ANSWERS_WITHIN);
    let reply = send(&client(SERVICE, None)?, SERVICE, &monitoring.address, request).await?;
    if !reply.is_success() {
        return Err(reply.failure(SERVICE, "show its metrics"));
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    is_ours(&String::from_utf8_lossy(&reply.body), monitoring, &host).map_err(|why| {
        Failure::new(ErrorClass::Conflict, format_args!("what answers at {} {why}", monitoring.address))
    })
}

/// Whether a text in Prometheus's format is about this node. * fails: with what speaks against it.
fn is_ours(text: &str, monitoring: &MonitoringSettings, host: &str) -> Result<(), String> {
    let lines_of = |name: &str| {
        let name = name.to_owned();
        text.lines().filter(move |line| {
            line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
    };
    for series in &monitoring.series {
        if lines_of(series).next().is_none() {
            return Err(format!("has no series {series}"));
        }
    }
    let Some(own) = &monitoring.own_series else { return Ok(()) };
    let label = format!("nodename=\"{host}\"");
    match lines_of(own).find(|line| line.contains(&label)) {
        Some(_) => Ok(()),
        None => Err(format!("is not about this node: no {own} has {label}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_is_believed_when_it_speaks_of_this_node() {
        let settings = MonitoringSettings::default();
        let text = "# HELP node_cpu_seconds_total x\nnode_cpu_seconds_total{cpu=\"0\"} 1\n\
                    node_uname_info{machine=\"x86_64\",nodename=\"ip-10-0-0-7\"} 1\n";
        assert_eq!(is_ours(text, &settings, "ip-10-0-0-7"), Ok(()));
        let other = is_ours(text, &settings, "ip-10-0-0-8").expect_err("another node's");
        assert!(other.contains("ip-10-0-0-8"), "{other}");
        let none = is_ours("node_cpu_seconds_totals 1\n", &settings, "x").expect_err("another series");
        assert_eq!(none, "has no series node_cpu_seconds_total");
        let any = MonitoringSettings { own_series: None, ..settings };
        assert_eq!(is_ours("node_cpu_seconds_total 1\n", &any, "x"), Ok(()));
    }
}
