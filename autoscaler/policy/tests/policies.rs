//! What policies mean, what they cost to load, and that documentation and code say the same.

use autoscaler_core::{
    Capacity, Diversification, Drain, DrainBy, FleetBuys, Interruption, Objective, OnDemand, Policy, Protect,
    Rebalance, RolloutPace, RolloutTrouble, ScaleIn, ScaleOut, ScaledGroup, Workload,
};
use autoscaler_policy::{
    CloudwatchMetric, CloudwatchPolicy, DrainHook, Explained, File, FleetPolicy, Origin, PolicySet,
    PrometheusPolicy, SourcePolicy, example_file, explain, load, reference_markdown,
};
use fleet::{Backend, FleetSelector, Power, Timestamp, UsdPerHour, Utilization};
use std::path::Path;
use std::time::Duration;

const REGENERATE: &str =
    "is not what the tables say; cargo run -p autoscaler-policy --example policy_reference";

fn set(text: &str) -> PolicySet {
    load(&[File::new("web.hcl", text)])
        .unwrap_or_else(|problems| panic!("{text}\n{}", problems.render(false)))
}

fn one(text: &str) -> FleetPolicy {
    let mut set = set(text);
    assert_eq!(set.fleets.len(), 1, "{text}");
    set.fleets.remove(0)
}

fn here(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_smallest_policy_is_a_name_and_an_id() {
    let minimal = one(&here("examples/minimal.hcl"));
    let expected = FleetPolicy::of("web", "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5");
    assert_eq!(FleetPolicy { origins: minimal.origins.clone(), ..expected }, minimal);
    assert_eq!(minimal.base, Policy::default());
    assert_eq!(minimal.at(Timestamp::EPOCH), (Policy::default(), vec![]));
    assert_eq!(one("fleet \"web\" { id = \"fleet-1\" }").backend, Backend::Ec2Fleet);
    assert_eq!(one(&OTHER.replace('\n', "\r\n")), one(OTHER), "line ends say nothing");
    let warnings = set(&here("examples/minimal.hcl")).warnings;
    let about: Vec<&str> = warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(about, ["fleet.web.workload.kind"]);
}

#[test]
fn the_example_file_says_the_defaults() {
    let full = here("examples/full.hcl");
    assert_eq!(full, example_file(), "examples/full.hcl {REGENERATE}");
    let full = one(&full);
    assert_eq!(full.base, Policy::default());
    let minimal = one(&here("examples/minimal.hcl"));
    assert_eq!(FleetPolicy { origins: minimal.origins.clone(), schedules: Vec::new(), ..full }, minimal);
}

#[test]
fn what_the_example_file_shows_behind_its_signs_is_right_too() {
    let is_code = |text: &str| {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let block = rest.starts_with(['{', '"']) && rest.ends_with(['{', '}']);
        text == "}"
            || (name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && (rest.starts_with("= ") || block))
    };
    let mut lines: Vec<String> = here("examples/full.hcl").lines().map(str::to_owned).collect();
    for line in &mut lines {
        while let Some(at) = line.find("# ").filter(|at| line[..*at].trim().is_empty()) {
            let code = line[at + 2..].to_owned();
            if !is_code(code.trim_start_matches(['#', ' '])) {
                break;
            }
            *line = format!("{}{code}", &line[..at]);
        }
    }
    // What would say the same thing twice.
    lines
        .retain(|line| !line.starts_with("  id = ") && !line.contains(" by = ") && !line.contains(" url = "));
    lines.retain(|line| !line.contains("token_file = \"/run/secrets/drain\""));
    let text = lines.join("\n").replace("  drain {\n", "  drain {\n    by = \"hook\"\n");
    let fleet = one(&text);
    assert_eq!(fleet.selector, FleetSelector::Tag { key: "service".into(), value: "web".into() });
    assert_eq!(fleet.sources.len(), 3);
    assert_eq!(fleet.base.workload, Workload::Service(vec![group("web", "frontend")]));
    assert_eq!(fleet.base.scale_in.max_step, Some(2));
}

fn group(job: &str, name: &str) -> ScaledGroup {
    ScaledGroup { namespace: "default".into(), job: job.into(), group: name.into(), per_unit: 1 }
}

#[test]
fn the_reference_is_what_the_tables_say() {
    assert_eq!(
        here("../../docs/policy-reference.md"),
        reference_markdown(),
        "docs/policy-reference.md {REGENERATE}"
    );
}

/// A policy that differs from the default in everything.
const OTHER: &str = r#"
fleet "web" {
  backend      = "ec2_fleet"
  region       = "eu-west-1"
  observe_only = true
  dry_run      = true
  boot         = "3m"
  power        = { "m5.large" = 2, "c5.large" = 2.5 }

  tag {
    key   = "service"
    value = "web"
  }
  capacity {
    min   = 2
    max   = 30
    surge = 4
  }
  target {
    cpu = "70%"
  }
  objective {
    above   = "85%"
    at_most = "0.5%"
    over    = "1d"
  }
  source "prometheus" {
    address    = "https://prometheus.example:9090"
    query      = "avg(busy)"
    token_file = "/run/token"
  }
  source "cloudwatch" {
    namespace  = "Acme/Web"
    metric     = "Busy"
    statistic  = "p90"
    dimensions = { Service = "web" }
    period     = "5m"
  }
  source "push" {
  }
  scale_out {
    max_step = 5
    hold     = "10s"
  }
  scale_in {
    enabled  = false
    max_step = 1
    hold     = "10m"
  }
  schedule "day" {
    start  = "0 8 * * MON-FRI"
    zone   = "Europe/Berlin"
    for    = "9h"
    min    = 6
    target = "60%"
  }
  diversification {
    families       = 3
    max_pool_share = "40%"
    max_zone_share = "50%"
    repairs_per_hour = 2
  }
  protect {
    instances = ["i-0abc", "i-0def"]
    tags      = { Role = "primary", Keep = "" }
  }
  workload {
    kind   = "service"
    groups = ["web/frontend", "web/worker"]
    per_unit = 2
    namespace = "apps"
  }
  drain {
    deadline           = "10m"
    margin             = "20s"
    ignore_system_jobs = false
    by                 = "hook"
    interrupt_batch    = false
  }
  drain_hook {
    url        = "https://drain.example/v1/empty"
    token_file = "/run/drain"
  }
  interruption {
    replace    = false
    rebalance  = "by_risk"
    avoid_pool = "1h"
    fleet_buys = "at_marking"
    poll       = "30s"
  }
  on_demand {
    fallback = 3
    after    = "10m"
    keep     = "1h"
    prices   = { "m5.large" = 0.107, "c5.large" = 0.0965 }
  }
  rollout {
    surge        = 3
    unavailable  = 1
    canary       = "20%"
    canary_for   = "30m"
    ready_within = "8m"
    pause_on     = ["unhealthy", "alarm"]
    alarms       = ["web-5xx", "web late"]
  }
}
"#;

#[test]
fn every_field_of_a_policy_can_be_said_in_a_file() {
    let fleet = one(OTHER);
    // Taken apart, so that a field that is added to a policy is added to the tables.
    let Policy {
        observe_only,
        dry_run,
        capacity: Capacity { min, max, surge },
        target,
        objective: Objective { above, at_most, over },
        scale_out: ScaleOut { max_step: largest_out, hold: hold_out },
        scale_in: ScaleIn { enabled, max_step: largest_in, hold: hold_in },
        diversification: Diversification { families, max_pool_share, max_zone_share, repairs_per_hour },
        protect: Protect { instances, tags },
        power,
        boot,
        workload,
        drain: Drain { by, deadline, margin, ignore_system_jobs, interrupt_batch },
        interruption: Interruption { replace, rebalance, avoid_pool, fleet_buys, poll },
        on_demand: OnDemand { fallback, after, keep, prices },
        rollout:
            RolloutPace { surge: at_once, unavailable, canary, canary_for, ready_within, pause_on, alarms },
    } = fleet.base.clone();
    let seconds = Duration::from_secs;
    assert!(observe_only && dry_run && !enabled && !ignore_system_jobs && !replace);
    assert_eq!((min, max, surge), (2, 30, 4));
    assert_eq!((target, above, at_most), (Utilization::new(0.7), Utilization::new(0.85), 0.005));
    assert_eq!(instances, ["i-0abc".into(), "i-0def".into()].into());
    assert_eq!(tags, [("Role".into(), "primary".into()), ("Keep".into(), String::new())].into());
    assert_eq!((largest_out, largest_in, families), (Some(5), Some(1), 3));
    assert_eq!((max_pool_share, max_zone_share), (0.4, 0.5));
    assert_eq!((over, hold_out, hold_in, boot), (seconds(86_400), seconds(10), seconds(600), seconds(180)));
    assert_eq!((deadline, margin, avoid_pool), (seconds(600), seconds(20), seconds(3600)));
    assert_eq!(power, [("m5.large".into(), Power::new(2.0)), ("c5.large".into(), Power::new(2.5))].into());
    let of_apps = |name| ScaledGroup { namespace: "apps".into(), per_unit: 2, ..group("web", name) };
    assert_eq!(workload, Workload::Service(vec![of_apps("frontend"), of_apps("worker")]));
    assert_eq!((by, interrupt_batch, poll, repairs_per_hour), (DrainBy::Hook, false, seconds(30), 2));
    assert_eq!((at_once, unavailable, canary), (3, 1, 0.2));
    assert_eq!((canary_for, ready_within), (seconds(1800), Some(seconds(480))));
    assert_eq!(pause_on, [RolloutTrouble::Unhealthy, RolloutTrouble::Alarm]);
    assert_eq!(alarms, ["web-5xx", "web late"]);
    let price = |of: &str, micros| (of.into(), UsdPerHour::from_micros(micros));
    assert_eq!(prices, [price("m5.large", 107_000), price("c5.large", 96_500)].into());
    assert_eq!((fallback, after, keep), (3, seconds(600), seconds(3600)));
    let (url, token_file) = ("https://drain.example/v1/empty".into(), Some("/run/drain".into()));
    assert_eq!(fleet.drain_hook, Some(DrainHook::Webhook { url, token_file }));
    assert_eq!((rebalance, fleet_buys), (Rebalance::ByRisk, FleetBuys::AtMarking));

    assert_eq!(fleet.region, Some("eu-west-1".into()));
    assert_eq!(fleet.backend, Backend::Ec2Fleet);
    assert_eq!(fleet.selector, FleetSelector::Tag { key: "service".into(), value: "web".into() });
    let prometheus = PrometheusPolicy {
        address: "https://prometheus.example:9090".into(),
        query: "avg(busy)".into(),
        token_file: Some("/run/token".into()),
    };
    let custom = CloudwatchMetric::Custom {
        namespace: "Acme/Web".into(),
        metric: "Busy".into(),
        statistic: "p90".into(),
        dimensions: [("Service".into(), "web".into())].into(),
    };
    let cloudwatch = CloudwatchPolicy { metric: custom, period: Some(seconds(300)) };
    assert_eq!(
        fleet.sources,
        [SourcePolicy::Prometheus(prometheus), SourcePolicy::Cloudwatch(cloudwatch), SourcePolicy::Push],
        "in the order of the file"
    );
    let monday = Timestamp::parse("2026-03-02T09:00:00Z").expect("a time");
    let (now, active) = fleet.at(monday);
    assert_eq!((now.capacity.min, now.target, active), (6, Utilization::new(0.6), vec!["day"]));
}

#[test]
fn every_value_is_explained_with_its_origin() {
    let fleet = one(OTHER);
    let monday = Timestamp::parse("2026-03-02T09:00:00Z").expect("a time");
    let find = |all: &[Explained], path: &str| {
        let found = all
            .iter()
            .find(|e| e.path == path)
            .unwrap_or_else(|| panic!("{path} is not explained: {all:#?}"));
        (found.value.clone(), found.origin.clone())
    };
    let file = |line| Origin::File { file: "web.hcl".into(), line };
    let day = Origin::Schedule { name: "day".into() };
    let in_office_hours = explain(&fleet, monday);
    assert_eq!(find(&in_office_hours, "fleet.web.capacity.min"), ("6".into(), day.clone()));
    assert_eq!(find(&in_office_hours, "fleet.web.target.cpu"), ("\"60%\"".into(), day));
    assert_eq!(find(&in_office_hours, "fleet.web.schedule.day.min"), ("6".into(), file(54)));
    let at_night = explain(&fleet, monday - Duration::from_secs(7 * 3600));
    assert_eq!(find(&at_night, "fleet.web.capacity.min"), ("2".into(), file(15)));
    assert_eq!(find(&at_night, "fleet.web.target.cpu"), ("\"70%\"".into(), file(20)));
    assert_eq!(
        find(&at_night, "fleet.web.power"),
        ("{ \"c5.large\" = 2.5, \"m5.large\" = 2 }".into(), file(8))
    );
    let unset = ["fleet.web.id", "fleet.web.source.cloudwatch.by", "fleet.web.drain_hook.command"];
    assert!(
        at_night.iter().all(|e| e.origin != Origin::Default || unset.contains(&e.path.as_str())),
        "{at_night:#?}"
    );

    let minimal = FleetPolicy::of("api", "sfr-1");
    let explained = explain(&minimal, monday);
    assert!(explained.iter().all(|e| e.origin == Origin::Default), "{explained:#?}");
    let value = |path: &str| find(&explained, path).0;
    assert_eq!(value("fleet.api.capacity.max"), "20");
    assert_eq!(value("fleet.api.backend"), "\"spot_fleet\"");
    assert_eq!(value("fleet.api.region"), "the region that the daemon runs for");
    assert_eq!(value("fleet.api.scale_in.max_step"), "no limit but safety");
    assert_eq!(value("fleet.api.source.cloudwatch.by"), "\"fleet\"");
    assert!(!explained.iter().any(|e| e.path.contains("prometheus")), "{explained:#?}");
}

#[test]
fn a_policy_is_journaled_as_a_value() {
    let fleet = one(OTHER);
    let json = serde_json::to_string(&fleet).expect("it serialises");
    assert_eq!(serde_json::from_str::<FleetPolicy>(&json).expect("it reads back"), fleet);
}

#[test]
fn files_are_read_together() {
    let file = |name: &str| {
        File::new(format!("{name}.hcl"), format!("fleet \"{name}\" {{\n  id = \"sfr-{name}\"\n}}\n"))
    };
    let set = load(&[file("b"), file("a"), File::new("empty.hcl", "# nothing\n")]).expect("they are fine");
    let names: Vec<&str> = set.fleets.iter().map(|fleet| fleet.name.as_str()).collect();
    assert_eq!(names, ["b", "a"], "in the order of the files");
    let origin = Origin::File { file: "a.hcl".into(), line: 2 };
    assert_eq!(set.fleets[1].origins, [("fleet.a.id".to_owned(), origin)].into());
    assert_eq!(set.warnings.len(), 2, "nobody says how load spreads");
    assert_eq!(load(&[]), Ok(PolicySet::default()));
}

#[test]
fn problems_are_data_for_programs() {
    let problems = load(&[File::new(
        "web.hcl",
        "fleet \"web\" {\n  id = \"sfr-1\"\n  capacity {\n    max = 0\n  }\n}\n",
    )])
    .expect_err("a max of zero");
    let error = serde_json::to_value(&problems).expect("problems serialise")[1].clone();
    let expected = serde_json::json!({
        "severity": "error", "file": "web.hcl", "line": 4, "column": 11, "path": "fleet.web.capacity.max",
        "value": "0", "message": "0 is too small", "expected": "a whole number from 1 to 10000", "help": null,
    });
    assert_eq!(error, expected);
}

#[test]
fn a_thousand_fleets_load_at_once() {
    let one = |number: usize| {
        OTHER
            .replace("fleet \"web\"", &format!("fleet \"web-{number}\""))
            .replace("\"web\"\n", &format!("\"web-{number}\"\n"))
    };
    let text: String = (0..400).map(one).collect();
    let files = [
        File::new("a.hcl", text.as_str()),
        File::new("b.hcl", text.replace("web-", "api-")),
        File::new("c.hcl", text.replace("web-", "batch-")),
    ];
    assert_eq!(load(&files).map(|set| set.fleets.len()), Ok(1200));
}

#[test]
fn alarms_of_a_roll_out_are_named_at_most_a_hundred_times_and_halt_something() {
    let text = |inside: &str| {
        format!(
            "fleet \"web\" {{\n  id = \"sfr-1\"\n  workload {{\n    kind = \"spreads\"\n  }}\n  rollout {{\n{inside}\n  }}\n}}\n"
        )
    };
    let names = |count: usize| (0..count).map(|n| format!("\"a{n}\"")).collect::<Vec<_>>().join(", ");
    let fine = set(&text(&format!("alarms = [{}]", names(100))));
    assert_eq!(fine.fleets[0].base.rollout.watched().len(), 100);
    assert!(fine.warnings.is_empty(), "{}", fine.warnings.render(false));
    let long = "x".repeat(256);
    for (inside, says) in [
        (format!("alarms = [{}]", names(101)), "at most 100 alarms"),
        ("alarms = [\"\"]".to_owned(), "is not the name of an alarm"),
        (format!("alarms = [\"{long}\"]"), "is not the name of an alarm"),
    ] {
        let problems = load(&[File::new("web.hcl", text(&inside))]).expect_err("it is refused");
        let told = problems.render(false);
        assert!(told.contains(says), "{told}");
    }
    let idle = set(&text("pause_on = [\"not_ready\"]\nalarms = [\"web-5xx\"]"));
    assert!(idle.fleets[0].base.rollout.watched().is_empty());
    let told = idle.warnings.render(false);
    assert!(told.contains("no alarm halts a roll-out: they are not watched"), "{told}");
}
