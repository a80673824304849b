//! The tables of the sources of utilisation. They begin in the order of the file, and that is how they are
//! preferred.

use super::{HOUR, SECOND};
use crate::draft::{CloudwatchDraft, Draft, PrometheusDraft, PushDraft};
use crate::texts;
use fleet::Source;
use muster_hcl::{Field, Section, Table};

pub(super) static PUSH: Section<Draft, PushDraft> = Section {
    name: "source",
    label: Some("push"),
    docs: "The nodes' agents push means of 10 seconds. Sources are preferred in the order in which the file \
               names them; without any, these are `push` and then `cloudwatch`.",
    table: &Table { fields: &[], blocks: &[] },
    get: |f: &Draft| f.sources.contains(&Source::Push).then_some(&f.push),
    open: |f| {
        f.sources.push(Source::Push);
        &mut f.push
    },
    default: PushDraft::default,
};

pub(super) static CLOUDWATCH: Section<Draft, CloudwatchDraft> = Section {
    name: "source",
    label: Some("cloudwatch"),
    docs: "Amazon CloudWatch is asked: minutes old, and points of 5 minutes unless the launch template enables \
               detailed monitoring.",
    table: &CLOUDWATCH_TABLE,
    get: |f: &Draft| f.sources.contains(&Source::Cloudwatch).then_some(&f.cloudwatch),
    open: |f| {
        f.sources.push(Source::Cloudwatch);
        &mut f.cloudwatch
    },
    default: CloudwatchDraft::default,
};

pub(super) static PROMETHEUS: Section<Draft, PrometheusDraft> = Section {
    name: "source",
    label: Some("prometheus"),
    docs: "A Prometheus server is asked.",
    table: &PROMETHEUS_TABLE,
    get: |f: &Draft| f.sources.contains(&Source::Prometheus).then_some(&f.prometheus),
    open: |f| {
        f.sources.push(Source::Prometheus);
        &mut f.prometheus
    },
    default: PrometheusDraft::default,
};

static CLOUDWATCH_TABLE: Table<CloudwatchDraft> = Table {
    fields: &[
        Field::<CloudwatchDraft>::choice(
            "by",
            "`fleet` reads the fleet's own metric, an unweighted mean that counts booting instances; `instance` reads \
             each instance's, which is right for mixed sizes and costs one metric an instance. EC2 Fleets have no \
             metric of their own.",
            &["fleet", "instance"],
            |c| c.by,
            |c, word| c.by = Some(if word == "fleet" { "fleet" } else { "instance" }),
        )
        .unset("`fleet` for a Spot Fleet, `instance` for an EC2 Fleet, neither beside a metric of your own")
        .example("\"instance\""),
        Field::<CloudwatchDraft>::text(
            "namespace",
            "The namespace of a metric of your own, in place of `by`.",
            "a namespace such as \"Acme/Web\"",
            |c| c.namespace.clone(),
            |c, text| texts::into(c.namespace.get_or_insert_default(), text, 255),
        )
        .unset("EC2's")
        .example("\"Acme/Web\""),
        Field::<CloudwatchDraft>::text(
            "metric",
            "The name of a metric of your own: utilisation in percent, 0 to 100.",
            "a metric's name such as \"Utilization\"",
            |c| c.metric.clone(),
            |c, text| texts::into(c.metric.get_or_insert_default(), text, 255),
        )
        .unset("CPUUtilization")
        .example("\"Utilization\""),
        Field::<CloudwatchDraft>::text(
            "statistic",
            "The statistic of a metric of your own.",
            "a statistic such as \"Average\" or \"p90\"",
            |c| c.statistic.clone(),
            |c, text| {
                c.statistic = Some(text.to_owned());
                texts::statistic(text)
            },
        )
        .unset("Average")
        .example("\"Average\""),
        Field::<CloudwatchDraft>::text_map(
            "dimensions",
            "The dimensions of a metric of your own.",
            "names to values, such as { Service = \"web\" }",
            |c| c.dimensions.clone().into_iter().collect(),
            |c, name, value| {
                let mut text = String::new();
                let result = texts::into(&mut text, value, 1024);
                c.dimensions.insert(name.to_owned(), text);
                result
            },
        )
        .unset("none")
        .example("{ Service = \"web\" }"),
        Field::<CloudwatchDraft>::duration(
            "period",
            "The distance of the points.",
            (SECOND, HOUR),
            |c| c.period,
            |c, v| c.period = Some(v),
        )
        .unset("found out from the points")
        .example("\"1m\""),
    ],
    blocks: &[],
};

static PROMETHEUS_TABLE: Table<PrometheusDraft> = Table {
    fields: &[
        Field::<PrometheusDraft>::text(
            "address",
            "The server.",
            "an address such as \"http://prometheus.service.consul:9090\"",
            |p| Some(p.address.clone()).filter(|text| !text.is_empty()),
            |p, text| {
                text.clone_into(&mut p.address);
                texts::address(text)
            },
        )
        .required()
        .example("\"http://prometheus.service.consul:9090\""),
        Field::<PrometheusDraft>::text(
            "query",
            "A PromQL expression that gives one series: the fleet's mean CPU utilisation in percent, 0 to 100.",
            "a PromQL expression",
            |p| Some(p.query.clone()).filter(|text| !text.is_empty()),
            |p, text| texts::into(&mut p.query, text, 16_384),
        )
        .required()
        .example("\"100 * (1 - avg(rate(node_cpu_seconds_total{fleet='web', mode='idle'}[1m])))\""),
        Field::<PrometheusDraft>::text(
            "token_file",
            "A file that holds a bearer token. Read again when it changes; never logged.",
            "an absolute path such as \"/run/secrets/prometheus\"",
            |p| p.token_file.clone(),
            |p, text| {
                p.token_file = Some(text.to_owned());
                texts::absolute_path(text)
            },
        )
        .unset("no token")
        .example("\"/run/secrets/prometheus\""),
    ],
    blocks: &[],
};
