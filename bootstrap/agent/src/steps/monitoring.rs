//! The exporter of this node's metrics: believed when what it answers is about this node.

use super::kept::{self, Kept};
use super::patience::Patience;
use super::{inputs_of, is_ours_already, wanted};
use crate::drive::{Looked, Made};
use crate::host::{Contents, Request, Verb};
use crate::http::{client, send};
use crate::metrics;
use crate::node::{Node, Proved};
use bootstrap_config::{MonitoringSettings, PackageRule};
use bootstrap_core::{Checked, Entry, Failure, Inputs, Step};
use fleet::ErrorClass;
use reqwest::{Method, Request as HttpRequest, Url};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const SERVICE: &str = "the exporter";
/// Where node_exporter listens by default.
const PORT: u16 = 9100;
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take from its start to its first answer.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOKS: Duration = Duration::from_millis(200);

pub(super) async fn check(node: &Node, last: Option<Entry>) -> Looked {
    let wanted = Wanted::of(node)?;
    let inputs = wanted.inputs();
    let stands = is_ours_already(node, Step::Monitoring, &inputs, last.as_ref())
        && wanted.is_kept(node, &inputs, last.as_ref()).await?
        && wanted.verify().await.is_ok();
    Ok((if stands { Checked::Already } else { Checked::Needed }, inputs))
}

pub(super) async fn apply(node: &Node) -> Made {
    let wanted = Wanted::of(node)?;
    let monitoring = &wanted.monitoring;
    if let Some(package) = monitoring.package.clone() {
        node.host.ask(Request::Install { package }).await?;
    }
    let (file, contents) = (monitoring.arguments_file.clone(), wanted.contents());
    node.host.ask(Request::Place { file, contents }).await?;
    node.host.ask(Request::Unit { verb: Verb::Restart, unit: monitoring.unit.clone() }).await?;
    let mut patience = Patience::here(node, Step::Monitoring, LOOKS, PATIENCE);
    while let Err(failure) = wanted.verify().await {
        patience.after(failure).await?;
    }
    node.set_applied(Step::Monitoring, Some(wanted.inputs()));
    Ok(None)
}

/// Where the exporter answers: where it is said, else at the instance's own address, where others reach it.
pub(super) fn address(monitoring: &MonitoringSettings, proved: &Proved) -> String {
    monitoring.address.clone().unwrap_or_else(|| {
        let host = proved.document.private_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        format!("http://{}/metrics", SocketAddr::new(host, PORT))
    })
}

/// The exporter as it should be.
struct Wanted {
    monitoring: MonitoringSettings,
    address: String,
    /// What it is started with.
    arguments: Vec<String>,
    /// What is installed.
    package: Option<PackageRule>,
}

impl Wanted {
    fn of(node: &Node) -> Result<Self, Failure> {
        let settings = node.settings();
        let monitoring = wanted(settings.monitoring, Step::Monitoring)?;
        let address = address(&monitoring, &*node.identity()?);
        let own = metrics::directory(&node.directories.run);
        let arguments = arguments(&monitoring, &address, &own);
        let rules = settings.host.packages.into_iter();
        let package = rules.into_iter().find(|rule| Some(&rule.name) == monitoring.package.as_ref());
        Ok(Self { monitoring, address, arguments, package })
    }

    /// Another package, or another version of it, is another exporter.
    fn inputs(&self) -> Inputs {
        let package =
            self.package.as_ref().map(|rule| (&rule.path, &rule.program, &rule.version, &rule.sha256));
        inputs_of(&(&self.arguments, package))
    }

    /// What its file of arguments holds.
    fn contents(&self) -> Contents {
        let Self { monitoring, arguments, .. } = self;
        Contents(format!("{}=\"{}\"\n", monitoring.arguments_variable, arguments.join(" ")))
    }

    /// Whether what runs was started with these arguments, and its package is as it came.
    async fn is_kept(&self, node: &Node, inputs: &Inputs, last: Option<&Entry>) -> Result<bool, Failure> {
        let Self { monitoring, .. } = self;
        if let Some(package) = &monitoring.package
            && !kept::is_intact(node, package).await
        {
            return Ok(false);
        }
        let (step, file, unit) = (Step::Monitoring, &monitoring.arguments_file, &monitoring.unit);
        Kept { step, file, contents: &self.contents(), unit }.holds(node, inputs, last).await
    }

    /// Asks it, and reads what it answers.
    async fn verify(&self) -> Result<(), Failure> {
        let Self { monitoring, address, .. } = self;
        let url = Url::parse(address)
            .map_err(|error| Failure::lasting(ErrorClass::Malformed, format_args!("{address}: {error}")))?;
        let mut request = HttpRequest::new(Method::GET, url);
        *request.timeout_mut() = Some(ANSWERS_WITHIN);
        let reply = send(&client(SERVICE, None)?, SERVICE, address, request).await?;
        if !reply.is_success() {
            return Err(reply.failure(SERVICE, "show its metrics"));
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        is_ours(&String::from_utf8_lossy(&reply.body), monitoring, &host).map_err(|why| {
            Failure::new(ErrorClass::Conflict, format_args!("what answers at {address} {why}"))
        })
    }
}

/// What it is started with: for node_exporter also where it listens, and that the agent's own metrics are its to tell.
fn arguments(monitoring: &MonitoringSettings, address: &str, own: &Path) -> Vec<String> {
    let mut arguments = monitoring.arguments.clone();
    if ["node_exporter", "node-exporter"].iter().any(|name| monitoring.unit.contains(name)) {
        let at = Url::parse(address).ok().and_then(|url| {
            let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
            Some(format!("{host}:{port}"))
        });
        let ours = [
            ("--web.listen-address", at),
            ("--collector.textfile.directory", Some(own.display().to_string())),
        ];
        for (option, value) in ours {
            let is_said = monitoring.arguments.iter().any(|argument| argument.starts_with(option));
            arguments.extend(value.filter(|_| !is_said).map(|value| format!("{option}={value}")));
        }
    }
    arguments
}

/// Reads what an exporter may have said; for those who give it anything.
pub(crate) fn reads(text: &str) {
    let _ = is_ours(text, &MonitoringSettings::default(), text);
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
    fn an_exporter_listens_where_it_is_asked_unless_its_arguments_say_otherwise() {
        let own = Path::new("/run/muster/metrics");
        let of = |arguments: &[&str], unit: &str| {
            let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
            let settings =
                MonitoringSettings { arguments, unit: unit.to_owned(), ..MonitoringSettings::default() };
            super::arguments(&settings, "http://10.0.0.7:9100/metrics", own).join(" ")
        };
        let directory = "--collector.textfile.directory=/run/muster/metrics";
        assert_eq!(
            of(&[], "node_exporter.service"),
            format!("--web.listen-address=10.0.0.7:9100 {directory}")
        );
        let said = "--web.listen-address=:9100";
        assert_eq!(of(&[said], "prometheus-node-exporter.service"), format!("{said} {directory}"));
        for other in ["other.service", "nodejs-exporter.service", "inode-watch.service"] {
            assert_eq!(of(&["-x"], other), "-x", "{other}");
        }
    }

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
