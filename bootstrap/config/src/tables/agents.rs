//! `awx`, `monitoring`, `consul`, `nomad`.

use super::{
    HOUR, PATH, URL, filled, json_object, list, map, maybe, name, path, secs, text, time, unit, url,
};
use crate::model::{
    AwxSettings, ConsulSettings, MonitoringSettings, NomadSettings, RegistrySettings, Settings,
};
use muster_hcl::{Field, Section, Table, Wrong};
use std::time::Duration;

const CA: &str = "Who may have signed its certificate, in PEM.";
const TRUSTED: &str = "those that the host trusts";
const FILE: &str = "the name of a `file` block of `host`";
const DIRECTORY: &str = "the name of a `directory` block of `host`";
const UNIT: &str = "a unit such as \"consul.service\"";

/// What is said of the agents of Consul and Nomad alike.
macro_rules! alike {
    ($of:ty, ca_file) => {
        maybe!($of, "ca_file", CA, PATH, path, server.ca_file)
            .unset(TRUSTED)
            .example("\"/etc/muster/ca.pem\"")
    };
    ($of:ty, unit) => {
        text!($of, "unit", "The unit that runs it.", UNIT, unit, unit)
    };
    ($of:ty, file) => {
        text!($of, "file", "The file that its configuration is written to.", FILE, name, file)
    };
    ($of:ty, directory) => {
        text!(
            $of,
            "directory",
            "Where it keeps its state: emptied where that is another instance's.",
            DIRECTORY,
            name,
            directory
        )
    };
    ($of:ty, datacenter) => {
        text!($of, "datacenter", "The datacenter.", "a datacenter such as \"dc1\"", name, datacenter)
    };
    ($of:ty, extra, $example:literal) => {
        maybe!(
            $of,
            "extra",
            "More of its configuration. What is said above stands over it.",
            "a JSON object as a text",
            json_object,
            extra
        )
        .unset("nothing")
        .example($example)
    };
}

pub(super) static AWX: Section<Settings, AwxSettings> = Section {
    name: "awx",
    label: None,
    docs: "The post-configuration: AWX is asked by its provisioning callback to run a job template on this node, and \
           its job is waited for. Unset: none.",
    table: &AWX_TABLE,
    get: |s| s.awx.as_ref(),
    open: |s| s.awx.get_or_insert_default(),
    default: AwxSettings::default,
};

static AWX_TABLE: Table<AwxSettings> = Table {
    fields: &[
        text!(AwxSettings, "address", "AWX.", URL, url, server.address)
            .required()
            .example("\"https://awx.example.com\""),
        Field::whole(
            "template",
            "The number of the job template.",
            (1, u32::MAX),
            |a: &AwxSettings| Some(a.template).filter(|template| *template > 0),
            |a, template| a.template = template,
        )
        .required()
        .example("7"),
        maybe!(AwxSettings, "key_file", "A file with the template's host config key.", PATH, path, key_file)
            .unset("by `key_parameter`")
            .example("\"/run/muster/secrets/awx-key\""),
        maybe!(
            AwxSettings,
            "key_parameter",
            "A SecureString of SSM with the template's host config key.",
            "a parameter such as \"/muster/web/awx-key\"",
            path,
            key_parameter
        )
        .unset("by `key_file`")
        .example("\"/muster/web/awx-key\""),
        maybe!(
            AwxSettings,
            "token_file",
            "A file with an API token (scope `read`) to watch the job with. Without one, the playbook's last task \
             says that it is done: it writes JOB.json into `/var/lib/muster/awx`, readable for the user `muster`.",
            PATH,
            path,
            server.token_file
        )
        .unset("the playbook says when it is done")
        .example("\"/run/muster/secrets/awx-token\""),
        alike!(AwxSettings, ca_file),
        map!(
            AwxSettings,
            "extra_vars",
            "What the job is given beside `instance_id`. The template has to prompt for variables.",
            "names of variables to their values",
            extra_vars
        )
        .unset("none")
        .example("{ \"role\" = \"web\" }"),
        time!(
            AwxSettings,
            "jitter",
            "The callbacks of nodes that boot together are spread over this time.",
            (Duration::ZERO, secs(600)),
            jitter
        ),
        time!(
            AwxSettings,
            "drift",
            "How often the job is asked for again, spread over the fleet, to find and mend drift. \"0s\": never.",
            (Duration::ZERO, secs(2_592_000)),
            drift
        ),
        Field::whole(
            "drift_failures",
            "How many such jobs in a row may fail before it counts as a failure of the step.",
            (1, 100),
            |a: &AwxSettings| Some(a.drift_failures),
            |a, count| a.drift_failures = count,
        ),
    ],
    blocks: &[],
};

pub(super) static MONITORING: Section<Settings, MonitoringSettings> = Section {
    name: "monitoring",
    label: None,
    docs: "The exporter of this node's metrics: installed where it is missing, given its arguments, started, and \
           believed when what it answers is about this node. Unset: none.",
    table: &MONITORING_TABLE,
    get: |s| s.monitoring.as_ref(),
    open: |s| s.monitoring.get_or_insert_default(),
    default: MonitoringSettings::default,
};

static MONITORING_TABLE: Table<MonitoringSettings> = Table {
    fields: &[
        maybe!(
            MonitoringSettings,
            "address",
            "Where it answers. Consul tells others of it, so that it should be where they reach it.",
            "an address such as \"http://10.0.0.7:9100/metrics\"",
            metrics_url,
            address
        )
        .unset("the instance's private address, port 9100, `/metrics`")
        .example("\"http://10.0.0.7:9100/metrics\""),
        text!(MonitoringSettings, "unit", "The unit that runs it.", UNIT, unit, unit),
        maybe!(
            MonitoringSettings,
            "package",
            "What is installed where it is missing: a `package` block of `host`.",
            "the name of a `package` block of `host`",
            name,
            package
        )
        .unset("it is in the image")
        .example("\"node_exporter\""),
        text!(
            MonitoringSettings,
            "arguments_file",
            "The file that its arguments stand in.",
            FILE,
            name,
            arguments_file
        ),
        text!(
            MonitoringSettings,
            "arguments_variable",
            "The variable of that file.",
            "a name of capital letters and `_`",
            variable,
            arguments_variable
        ),
        list!(
            MonitoringSettings,
            "arguments",
            "Its arguments. For node_exporter where it listens, of `address`, and the directory of the agent's own \
             metrics, `/run/muster/metrics`, are added unless they stand here.",
            "arguments without spaces and quotes",
            argument,
            arguments
        )
        .unset("none")
        .example("[\"--collector.systemd\"]"),
        list!(
            MonitoringSettings,
            "series",
            "The series that it must have.",
            "names of metrics",
            filled,
            series
        ),
        maybe!(
            MonitoringSettings,
            "own_series",
            "The series whose label `nodename` must be this node's host name.",
            "the name of a metric",
            filled,
            own_series
        )
        .unset("whoever answers there is believed"),
    ],
    blocks: &[],
};

fn metrics_url(text: &str) -> Result<(), Wrong> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    let (host, _) = rest.split_once('/').unwrap_or_default();
    if host.is_empty() { Err(Wrong::new("is not an address with a path")) } else { Ok(()) }
}

fn variable(text: &str) -> Result<(), Wrong> {
    let fine =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit());
    if fine { Ok(()) } else { Err(Wrong::new("is not such a name")) }
}

/// What stands in an `EnvironmentFile=` as it is.
fn argument(text: &str) -> Result<(), Wrong> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "\"'\\$`".contains(c);
    if text.is_empty() || text.contains(odd) { Err(Wrong::new("is not such an argument")) } else { Ok(()) }
}

pub(super) static CONSUL: Section<Settings, ConsulSettings> = Section {
    name: "consul",
    label: None,
    docs: "The Consul agent of this node: configured, started, joined, and told of this node. Unset: none.",
    table: &CONSUL_TABLE,
    get: |s| s.consul.as_ref(),
    open: |s| s.consul.get_or_insert_default(),
    default: ConsulSettings::default,
};

static CONSUL_TABLE: Table<ConsulSettings> = Table {
    fields: &[
        text!(ConsulSettings, "address", "Where the agent of this node answers.", URL, url, server.address),
        maybe!(
            ConsulSettings,
            "token_file",
            "A file with the token: node:write on this node, service:write on its services.",
            PATH,
            path,
            server.token_file
        )
        .unset("the anonymous token")
        .example("\"/run/muster/secrets/consul-token\""),
        alike!(ConsulSettings, ca_file),
        alike!(ConsulSettings, unit),
        alike!(ConsulSettings, file),
        alike!(ConsulSettings, directory),
        alike!(ConsulSettings, datacenter),
        list!(
            ConsulSettings,
            "join",
            "Whom it joins, as `retry_join` takes them.",
            "addresses, or such as \"provider=aws tag_key=consul tag_value=server\"",
            filled,
            join
        )
        .unset("as the image has it")
        .example("[\"provider=aws tag_key=consul tag_value=server\"]"),
        alike!(ConsulSettings, extra, "\"{\\\"leave_on_terminate\\\": true}\""),
        text!(
            ConsulSettings,
            "service",
            "The service that stands for this node; its check passes once the node is ready.",
            "a service such as \"muster-node\"",
            name,
            service
        ),
        list!(ConsulSettings, "tags", "Its tags.", "tags", filled, tags).unset("none").example("[\"spot\"]"),
        time!(ConsulSettings, "ttl", "How long its check stands without being fed.", (secs(10), HOUR), ttl),
    ],
    blocks: &[],
};

pub(super) static NOMAD: Section<Settings, NomadSettings> = Section {
    name: "nomad",
    label: None,
    docs: "The Nomad client of this node: configured in a pool where no job is placed, started, proved, and only then \
           moved to the pool that it works in. Unset: none.",
    table: &NOMAD_TABLE,
    get: |s| s.nomad.as_ref(),
    open: |s| s.nomad.get_or_insert_default(),
    default: NomadSettings::default,
};

static NOMAD_TABLE: Table<NomadSettings> = Table {
    fields: &[
        text!(NomadSettings, "address", "Where the client of this node answers.", URL, url, server.address),
        maybe!(
            NomadSettings,
            "token_file",
            "A file with the token: agent:read and node:read.",
            PATH,
            path,
            server.token_file
        )
        .unset("the anonymous token")
        .example("\"/run/muster/secrets/nomad-token\""),
        alike!(NomadSettings, ca_file),
        alike!(NomadSettings, unit),
        alike!(NomadSettings, file),
        alike!(NomadSettings, directory),
        alike!(NomadSettings, datacenter),
        list!(
            NomadSettings,
            "servers",
            "The servers.",
            "addresses such as \"nomad.example.com:4647\"",
            filled,
            servers
        )
        .unset("found through Consul")
        .example("[\"nomad.example.com:4647\"]"),
        text!(
            NomadSettings,
            "node_pool",
            "The pool that it works in.",
            "a node pool such as \"web\"",
            name,
            node_pool
        ),
        text!(
            NomadSettings,
            "proving_pool",
            "The pool that it is in until it is proved, without room for anything. No job may name it.",
            "a node pool such as \"muster-proving\"",
            name,
            proving_pool
        ),
        maybe!(NomadSettings, "node_class", "Its class.", "a class such as \"spot\"", name, node_class)
            .unset("none")
            .example("\"spot\""),
        list!(
            NomadSettings,
            "drivers",
            "The drivers that must be healthy before work may land.",
            "drivers such as \"docker\"",
            name,
            drivers
        ),
        map!(
            NomadSettings,
            "meta",
            "Its metadata, beside `muster_image`, `muster_lifecycle`, `muster_pool` and `muster_ready`, which is `true` \
             once it is proved.",
            "names to values",
            meta
        )
        .unset("none")
        .example("{ \"rack\" = \"a\" }"),
        alike!(NomadSettings, extra, "\"{\\\"plugin\\\": {}}\""),
    ],
    blocks: &[&Section {
        name: "registry",
        label: None,
        docs: "The private registry that its work comes from: its credentials are tried before work may land.",
        table: &REGISTRY,
        get: |n: &NomadSettings| n.registry.as_ref(),
        open: |n| n.registry.get_or_insert_default(),
        default: RegistrySettings::default,
    }],
};

static REGISTRY: Table<RegistrySettings> = Table {
    fields: &[
        text!(
            RegistrySettings,
            "image",
            "The image whose manifest is fetched as a proof.",
            "an image with its registry and tag, such as \"registry.example.com/app:1\"",
            image,
            image
        )
        .required()
        .example("\"registry.example.com/app:1\""),
        text!(
            RegistrySettings,
            "auth_file",
            "Docker's `config.json` with the credentials, as Nomad's `docker` driver reads it.",
            PATH,
            path,
            auth_file
        )
        .required()
        .example("\"/run/muster/secrets/docker.json\""),
        maybe!(RegistrySettings, "ca_file", CA, PATH, path, ca_file)
            .unset(TRUSTED)
            .example("\"/etc/muster/ca.pem\""),
        Field::flag(
            "insecure",
            "Whether it is asked by HTTP without TLS; for a laboratory.",
            |r: &RegistrySettings| Some(r.insecure),
            |r, flag| r.insecure = flag,
        ),
    ],
    blocks: &[],
};

fn image(text: &str) -> Result<(), Wrong> {
    let (registry, rest) = text.split_once('/').unwrap_or_default();
    let tagged = rest
        .rsplit_once(':')
        .is_some_and(|(name, tag)| !name.is_empty() && !tag.is_empty() && !tag.contains('/'));
    let fine = registry.contains(['.', ':']) && tagged && !text.contains(char::is_whitespace);
    if fine { Ok(()) } else { Err(Wrong::new("is not such an image")) }
}
