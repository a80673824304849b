//! The table of everything that a configuration may say.
//!
//! Ranges say what can work at all; rules between fields are in `rules`.

mod agents;
mod host;
mod steps;
mod vault;

use crate::model::{
    AutoscalerSettings, IdentitySettings, ParametersSettings, ReadySettings, Settings, TimeSettings,
    WatchSettings,
};
use agents::{AWX, CONSUL, MONITORING, NOMAD};
use host::HOST;
use muster_hcl::{Field, Section, Table, Wrong};
use std::time::Duration;
use steps::STEP;
use vault::VAULT;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
const SECOND: Duration = secs(1);
const MINUTE: Duration = secs(60);
const HOUR: Duration = secs(3600);
const DAY: Duration = secs(86_400);

const URL: &str = "an address such as \"https://host.example.com:8200\"";
const PATH: &str = "an absolute path";

/// A text that is always there, taken as it is once it is of the right form.
macro_rules! text {
    ($of:ty, $name:literal, $docs:expr, $what:expr, $check:path, $($field:ident).+) => {
        Field::<$of>::text(
            $name,
            $docs,
            $what,
            |of| Some(of.$($field).+.clone()).filter(|text| !text.is_empty()),
            |of, text| { text.clone_into(&mut of.$($field).+); $check(text) },
        )
    };
}
/// A text that may be missing.
macro_rules! maybe {
    ($of:ty, $name:literal, $docs:expr, $what:expr, $check:path, $($field:ident).+) => {
        Field::<$of>::text(
            $name,
            $docs,
            $what,
            |of| of.$($field).+.clone(),
            |of, text| { of.$($field).+ = Some(text.to_owned()); $check(text) },
        )
    };
}
/// A list: the last file that gives it says the whole of it.
macro_rules! list {
    ($of:ty, $name:literal, $docs:expr, $what:expr, $check:path, $($field:ident).+) => {
        Field::<$of>::texts(
            $name,
            $docs,
            $what,
            |of| of.$($field).+.clone(),
            |of, text| { of.$($field).+.push(text.to_owned()); $check(text) },
        )
        .replaces(|of| of.$($field).+.clear())
    };
}
/// A map from texts to texts.
macro_rules! map {
    ($of:ty, $name:literal, $docs:expr, $what:expr, $($field:ident).+) => {
        Field::<$of>::text_map(
            $name,
            $docs,
            $what,
            |of| of.$($field).+.clone().into_iter().collect(),
            |of, key, text| { of.$($field).+.insert(key.to_owned(), text.to_owned()); Ok(()) },
        )
        .replaces(|of| of.$($field).+.clear())
    };
}
/// A duration that is always there.
macro_rules! time {
    ($of:ty, $name:literal, $docs:expr, $range:expr, $($field:ident).+) => {
        Field::<$of>::duration($name, $docs, $range, |of| Some(of.$($field).+), |of, time| of.$($field).+ = time)
    };
}
use {list, map, maybe, text, time};

/// A configuration.
pub(crate) static FILE: Table<Settings> = Table {
    fields: &[],
    blocks: &[
        &Section {
            name: "identity",
            label: None,
            docs: "How the instance learns which one it is. From files alone: it comes before everything else.",
            table: &IDENTITY,
            get: |s: &Settings| Some(&s.identity),
            open: |s| &mut s.identity,
            default: IdentitySettings::default,
        },
        &Section {
            name: "time",
            label: None,
            docs: "Whether the clock is right: what is signed with a wrong one is refused. From files alone.",
            table: &TIME,
            get: |s: &Settings| Some(&s.time),
            open: |s| &mut s.time,
            default: TimeSettings::default,
        },
        &Section {
            name: "parameters",
            label: None,
            docs: "Where in SSM Parameter Store more of this configuration is. Each parameter of the path that is \
                   no SecureString holds a fragment of HCL, as a file of `conf.d` does; they are read in the order \
                   of their names. From files and tags.",
            table: &PARAMETERS,
            get: |s: &Settings| Some(&s.parameters),
            open: |s| &mut s.parameters,
            default: ParametersSettings::default,
        },
        &VAULT,
        &AWX,
        &MONITORING,
        &CONSUL,
        &NOMAD,
        &Section {
            name: "ready",
            label: None,
            docs: "How everybody learns that the node is good, beside `/run/muster/ready`, systemd, Nomad's pool \
                   and metadata, and Consul's check.",
            table: &READY,
            get: |s: &Settings| Some(&s.ready),
            open: |s| &mut s.ready,
            default: ReadySettings::default,
        },
        &Section {
            name: "watch",
            label: None,
            docs: "What is watched after the boot.",
            table: &WATCH,
            get: |s: &Settings| Some(&s.watch),
            open: |s| &mut s.watch,
            default: WatchSettings::default,
        },
        &STEP,
        &HOST,
    ],
};

static IDENTITY: Table<IdentitySettings> = Table {
    fields: &[
        list!(
            IdentitySettings,
            "endpoints",
            "The metadata services to ask, one after the other; only version 2 (IMDSv2) is spoken, and no proxy.",
            "addresses such as \"http://169.254.169.254\"",
            endpoint,
            endpoints
        ),
        list!(
            IdentitySettings,
            "certificates",
            "PEM files with the certificates of AWS for the instance identity documents of this region. Unset, \
             nothing is proved and the step fails.",
            "absolute paths",
            path,
            certificates
        )
        .unset("none")
        .live_example("[\"/etc/muster/aws-identity.pem\"]"),
        time!(
            IdentitySettings,
            "token_lifetime",
            "How long a token of the metadata service is asked for; another one is fetched before that.",
            (SECOND, Duration::from_secs(21_600)),
            token_lifetime
        )
        .why("the metadata service gives none for longer than six hours"),
    ],
    blocks: &[],
};

static TIME: Table<TimeSettings> = Table {
    fields: &[
        time!(
            TimeSettings,
            "most_skew",
            "How far the clock may be from that of the metadata service, which answers with its own.",
            (Duration::from_secs(2), secs(300)),
            most_skew
        )
        .why("the service's clock is told to the second, and AWS refuses what is signed five minutes off"),
        maybe!(
            TimeSettings,
            "unit",
            "The unit that sets the clock: restarted while it is wrong. One of `host`'s `units`.",
            "a unit such as \"chrony.service\"",
            unit,
            unit
        )
        .unset("nothing is restarted")
        .example("\"chrony.service\""),
    ],
    blocks: &[],
};

static PARAMETERS: Table<ParametersSettings> = Table {
    fields: &[
        maybe!(ParametersSettings, "path", "The path.", "a path such as \"/muster/web\"", path, path)
            .unset("there are none")
            .example("\"/muster/web\""),
        maybe!(ParametersSettings, "endpoint", "Where SSM is.", URL, url, endpoint)
            .unset("where AWS has it in this region")
            .example("\"https://ssm.eu-west-1.amazonaws.com\""),
    ],
    blocks: &[],
};

static READY: Table<ReadySettings> = Table {
    fields: &[
        maybe!(
            ReadySettings,
            "tag",
            "The tag that the instance gives itself, with the value `ready`. Its role needs ec2:CreateTags on itself.",
            "a tag's key such as \"muster:state\"",
            filled,
            tag
        )
        .unset("none is given")
        .example("\"muster:state\""),
        maybe!(ReadySettings, "ec2_endpoint", "Where EC2 is. From files alone.", URL, url, ec2_endpoint)
            .unset("where AWS has it in this region")
            .example("\"https://ec2.eu-west-1.amazonaws.com\""),
    ],
    blocks: &[],
};

static WATCH: Table<WatchSettings> = Table {
    fields: &[
        time!(
            WatchSettings,
            "verify",
            "How often every step is looked at again; what has decayed is mended.",
            (secs(10), DAY),
            verify
        ),
        time!(
            WatchSettings,
            "notices",
            "How often the metadata service is asked whether this instance is to go.",
            (Duration::from_millis(200), secs(5)),
            notices
        )
        .why("an interruption leaves two minutes"),
        time!(
            WatchSettings,
            "samples",
            "How often CPU and pressure are sampled for the autoscaler.",
            (SECOND, MINUTE),
            samples
        ),
        Field::whole(
            "breaker",
            "After so many nodes of one image in a row that ended themselves for a failed step, the next one stays \
             up and says so.",
            (1, 100),
            |w: &WatchSettings| Some(w.breaker),
            |w, count| w.breaker = count,
        ),
    ],
    blocks: &[&Section {
        name: "autoscaler",
        label: None,
        docs: "The autoscaler that is told of notices and load.",
        table: &AUTOSCALER,
        get: |w: &WatchSettings| w.autoscaler.as_ref(),
        open: |w| w.autoscaler.get_or_insert_default(),
        default: AutoscalerSettings::default,
    }],
};

static AUTOSCALER: Table<AutoscalerSettings> = Table {
    fields: &[
        text!(
            AutoscalerSettings,
            "fleet",
            "The fleet, as the autoscaler's policy names it.",
            "a name such as \"web\"",
            filled,
            fleet
        )
        .required()
        .example("\"web\""),
        list!(
            AutoscalerSettings,
            "addresses",
            "Where it is. Either this or `service`; all of them are told.",
            "addresses such as \"https://autoscaler.example.com:7575\"",
            url,
            addresses
        )
        .unset("found by `service`")
        .example("[\"https://autoscaler.example.com:7575\"]"),
        maybe!(
            AutoscalerSettings,
            "service",
            "The service in Consul whose healthy instances are told.",
            "a service such as \"muster-autoscaler\"",
            filled,
            service
        )
        .unset("by `addresses`")
        .example("\"muster-autoscaler\""),
        maybe!(
            AutoscalerSettings,
            "ca_file",
            "Who may have signed its certificate, in PEM.",
            PATH,
            path,
            ca_file
        )
        .unset("those that the host trusts")
        .example("\"/etc/muster/ca.pem\""),
        maybe!(
            AutoscalerSettings,
            "token_file",
            "A file with a token that all nodes share; for a laboratory, whose instances AWS has not signed.",
            PATH,
            path,
            token_file
        )
        .unset("the instance proves itself by its identity document")
        .example("\"/etc/muster/autoscaler.token\""),
    ],
    blocks: &[],
};

/// A text that says something.
pub(crate) fn filled(text: &str) -> Result<(), Wrong> {
    if text.trim().is_empty() { Err(Wrong::new("is empty")) } else { Ok(()) }
}

/// An absolute path, without a way up.
pub(crate) fn path(text: &str) -> Result<(), Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::new("is not absolute"));
    }
    if text.split('/').any(|part| part == "..") || text.contains('\0') {
        return Err(Wrong::new("leads up again").expected("a path without `..`"));
    }
    Ok(())
}

/// An address whose paths begin below one of its own; AWS's has none.
fn endpoint(text: &str) -> Result<(), Wrong> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let (host, below) = rest.split_once('/').unwrap_or((rest, ""));
    url(&format!("{scheme}://{host}"))?;
    if below.ends_with('/') || below.contains(['?', '#']) {
        return Err(Wrong::new("ends in what is no path"));
    }
    Ok(())
}

/// An address with a scheme and without a path.
pub(crate) fn url(text: &str) -> Result<(), Wrong> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(Wrong::new("does not begin with https:// or http://"));
    };
    let help = || rest.find('/').map(|at| format!("{:?}", &text[..text.len() - rest.len() + at]));
    if rest.is_empty() || rest.starts_with('/') {
        return Err(Wrong::new("has no host"));
    }
    if rest.contains(['/', '?', '#']) {
        return Err(Wrong::new("has a path").expected("an address without one").help(help()));
    }
    if rest.contains('@') || rest.contains(char::is_whitespace) {
        return Err(Wrong::new("is no address of a server"));
    }
    Ok(())
}

/// The name of a unit.
pub(crate) fn unit(text: &str) -> Result<(), Wrong> {
    let (name, kind) = text.rsplit_once('.').unwrap_or_default();
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.@\\:".contains(c);
    let fine = !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(legal)
        && ["service", "socket", "target", "timer", "path", "mount"].contains(&kind);
    let help = (!text.contains('.')).then(|| format!("\"{text}.service\""));
    if fine { Ok(()) } else { Err(Wrong::new("is not the name of a unit").help(help)) }
}

/// A name that can stand in files and messages as it is.
pub(crate) fn name(text: &str) -> Result<(), Wrong> {
    let fine = !text.is_empty()
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if fine { Ok(()) } else { Err(Wrong::new("is not such a name")) }
}

/// A JSON object, as text.
pub(crate) fn json_object(text: &str) -> Result<(), Wrong> {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
        .map(|_| ())
        .map_err(|error| Wrong::new(format!("is not a JSON object: {error}")))
}
