use super::*;
use autoscaler_core::{Action, Decision, Hold, Phase, Plan, Report};
use autoscaler_engine::{
    ActiveAlarm, Alarm, CallCount, ConsulTrouble, Cycle, Decided, FleetStatus, InstanceStatus, LeaderRole,
    Leadership, NoticeCount, Operation, Outcome, Record, Withheld,
};
use fleet::ports::{Change, Depth};
use fleet::{
    Backend, ErrorClass, FleetRef, FleetSelector, Health, NoticeKind, NoticeSource, Pool, Power, Timestamp,
    Utilization, Weight,
};
use std::collections::BTreeSet;
use std::time::Duration;

const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

fn fleet_status(name: &str) -> FleetStatus {
    let selector = FleetSelector::Id("sfr-1".into());
    FleetStatus { min: 1, max: 20, ..FleetStatus::unseen(name.into(), Backend::SpotFleet, selector) }
}

/// A fleet of which everything is known.
fn busy(name: &str) -> FleetStatus {
    let report = Report {
        decision: Decision::ScaleOut { from: 4, to: 6 },
        utilization: Some(Utilization::new(0.9)),
        sample_age: Some(Duration::from_millis(1500)),
        demand: Some(Power::new(7.2)),
        saturated: true,
        holds: vec![Hold::ScaleInOff, Hold::Modifying { since: AT }, Hold::Modifying { since: AT }],
        ..Report::default()
    };
    let instance = InstanceStatus {
        id: "i-0123456789abcdef0".into(),
        pool: Pool::spot("m5.large", "eu-west-1a"),
        weight: Weight::new(1.0),
        power: Power::new(2.0),
        phase: Phase::InService,
        since: AT,
        health: Health::Healthy,
        protected: false,
        launch: None,
        node: None,
    };
    FleetStatus {
        target: Some(4),
        instances: vec![instance],
        decided: Some(Decided { at: AT, plan: Plan::default(), withheld: None, report }),
        alarms: vec![ActiveAlarm { since: AT, alarm: Alarm::Ceded { foreign_writes: 2 } }],
        ..fleet_status(name)
    }
}

fn status(fleets: Vec<FleetStatus>) -> Status {
    Status { fleets, ..Status::empty(AT) }
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no line {line:?} in:\n{text}");
}

#[test]
fn a_scrape_shows_what_status_and_engine_say() {
    let metrics = Metrics::new();
    let mut engine = EngineMetrics { cycles: 7, ..EngineMetrics::default() };
    engine.calls.insert(CallCount { operation: "modify", class: "throttled" }, 3);
    engine.batches_rejected.insert("wrong_peer", 2);
    engine.withheld.insert("of_tomorrow", 1);
    metrics.count_request("/v1/fleets/{name}", 200);
    let text = metrics.render(status(vec![fleet_status("api"), busy("web")]), engine);
    for line in [
        "# TYPE muster_fleet_target_units gauge",
        "# HELP muster_fleet_target_units Target of the fleet, in its own units",
        "muster_fleet_target_units{fleet=\"web\"} 4.0",
        "muster_fleet_instances{fleet=\"web\",phase=\"in_service\"} 1.0",
        "muster_fleet_instances{fleet=\"web\",phase=\"booting\"} 0.0",
        "muster_fleet_utilization_ratio{fleet=\"web\"} 0.9",
        "muster_fleet_sample_age_seconds{fleet=\"web\"} 1.5",
        "muster_fleet_saturated{fleet=\"web\"} 1.0",
        "muster_fleet_held{fleet=\"web\",reason=\"scale_in_off\"} 1.0",
        "muster_fleet_alarm{fleet=\"web\",alarm=\"ceded\"} 1.0",
        "muster_fleet_alarms{fleet=\"api\"} 0.0",
        "muster_fleet_decided_timestamp_seconds{fleet=\"web\"} 1800000000.0",
        "muster_engine_cycles_total 7.0",
        "muster_cloud_calls_total{operation=\"modify\",class=\"throttled\"} 3.0",
        "muster_cloud_calls_total{operation=\"modify\",class=\"ok\"} 0.0",
        "muster_engine_decisions_total{decision=\"scale_in\"} 0.0",
        "muster_engine_withheld_total{reason=\"of_tomorrow\"} 1.0",
        "muster_engine_breaches_total{invariant=\"CAP\"} 0.0",
        "muster_samples_batches_rejected_total{reason=\"wrong_peer\"} 2.0",
        "muster_http_requests_total{route=\"/v1/fleets/{name}\",status=\"200\"} 1.0",
        "# EOF",
    ] {
        has(&text, line);
    }
    let held = text.lines().filter(|line| line.contains("reason=\"modifying\"")).count();
    assert_eq!(held, 1, "a hold that is given twice is one series");
    assert!(!text.contains("muster_fleet_target_units{fleet=\"api\"}"), "what is not known is not 0");
}

#[test]
fn what_is_withheld_is_counted_from_0_on_whatever_the_reason() {
    use Withheld::{
        BackingOff, Budget, Busy, DryRun, JournalFailing, NotLooked, Panicked, Refused, Standby, Stopping,
    };
    let class = ErrorClass::Transient;
    let refused = Refused { invariants: Vec::new() };
    let all = [
        DryRun,
        refused,
        Busy,
        BackingOff { class },
        Budget,
        JournalFailing,
        Stopping,
        Standby,
        NotLooked,
        Panicked,
    ];
    let text = Metrics::new().render(status(Vec::new()), EngineMetrics::default());
    for why in all {
        has(&text, &format!("muster_engine_withheld_total{{reason=\"{}\"}} 0.0", why.label()));
        // A reason that is new is missed here: it belongs into the list above, too.
        match why {
            DryRun
            | Refused { .. }
            | Busy
            | BackingOff { .. }
            | Budget
            | JournalFailing
            | Stopping
            | Standby
            | NotLooked
            | Panicked => {}
        }
    }
}

#[test]
fn who_leads_is_shown_and_what_was_heard_is_counted() {
    let trouble = ConsulTrouble {
        operation: "renew".to_owned(),
        since: AT,
        failures: 3,
        message: "refused".to_owned(),
    };
    let leadership =
        Leadership { role: LeaderRole::Lost { since: AT }, lease_seconds: None, troubles: vec![trouble] };
    let warning = |source| NoticeCount::of(NoticeKind::SpotInterruption, source);
    let engine = EngineMetrics {
        notices: BTreeMap::from([(warning(NoticeSource::Agent), 2)]),
        notices_again: BTreeMap::from([(warning(NoticeSource::EventBridge), 5)]),
        messages_foreign: 9,
        ..EngineMetrics::default()
    };
    let several = Status { leads: false, leadership: Some(leadership), ..status(Vec::new()) };
    let text = Metrics::new().render(several, engine);
    for line in [
        "muster_leader 0.0",
        "muster_leader_role{role=\"lost\"} 1.0",
        "muster_leader_lease_seconds 0.0",
        "muster_leader_failing_calls 1.0",
        "muster_notices_total{kind=\"spot_interruption\",source=\"agent\"} 2.0",
        "muster_notices_total{kind=\"spot_interruption\",source=\"event_bridge\"} 0.0",
        "muster_notices_total{kind=\"fleet_scale_in\",source=\"ec2\"} 0.0",
        "muster_notices_again_total{kind=\"spot_interruption\",source=\"event_bridge\"} 5.0",
        "muster_notices_again_total{kind=\"rebalance_recommendation\",source=\"agent\"} 0.0",
        "muster_notices_foreign_messages_total 9.0",
        "muster_cloud_calls_total{operation=\"drain\",class=\"ok\"} 0.0",
    ] {
        has(&text, line);
    }
    let alone = Metrics::new().render(status(Vec::new()), EngineMetrics::default());
    has(&alone, "muster_leader 1.0");
    assert!(!alone.contains("muster_leader_role{"), "who is alone has no role");
}

#[test]
fn a_queue_shows_its_counts_and_the_age_of_its_oldest_message() {
    let counts = QueueCounts {
        received: 7,
        dead_letters: BTreeMap::from([("odd", 2)]),
        calls: BTreeMap::from([(("receive", "denied"), 3)]),
        depth: Some(Depth { visible: 5, in_flight: 1 }),
        oldest: Some(Timestamp::from_secs(1_799_999_990)),
        silent: Some(Duration::from_secs(75)),
        ..QueueCounts::default()
    };
    let metrics = Metrics::new();
    *locked(&metrics.scraped) = Scrape {
        status: Some(status(Vec::new())),
        queues: BTreeMap::from([("notices".to_owned(), counts)]),
        ..Scrape::default()
    };
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry).expect("a text takes everything");
    for line in [
        "muster_queue_messages{queue=\"notices\",state=\"waiting\"} 5.0",
        "muster_queue_oldest_message_age_seconds{queue=\"notices\"} 10.0",
        "muster_queue_last_receive_age_seconds{queue=\"notices\"} 75.0",
        "muster_queue_received_messages_total{queue=\"notices\"} 7.0",
        "muster_queue_dead_letters_total{queue=\"notices\",reason=\"odd\"} 2.0",
        "muster_queue_dead_letters_total{queue=\"notices\",reason=\"unknown\"} 0.0",
        "muster_queue_kept_dead_letters 0.0",
        "muster_queue_calls_total{queue=\"notices\",operation=\"receive\",class=\"denied\"} 3.0",
        "muster_queue_calls_total{queue=\"notices\",operation=\"delete\",class=\"ok\"} 0.0",
    ] {
        has(&text, line);
    }
}

#[test]
fn counters_of_a_fleet_start_at_0_and_are_forgotten_with_it() {
    let metrics = Metrics::new();
    let scrape = |fleets| metrics.render(status(fleets), EngineMetrics::default());
    has(
        &scrape(vec![fleet_status("web")]),
        "muster_fleet_modifications_total{fleet=\"web\",direction=\"up\"} 0.0",
    );

    let fleet = FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() };
    let modify =
        |from, target| Action::Modify { fleet: fleet.clone(), from, change: Change::of_target(target, 0) };
    let terminate = Action::Terminate { fleet: fleet.clone(), instances: vec!["i-1".into(), "i-2".into()] };
    let cycle = |actions, withheld| {
        let plan = Plan { actions };
        Record::Cycle(Cycle { at: AT, plan, withheld, memory: None, report_digest: 0 })
    };
    let failed = Outcome::Failed { class: ErrorClass::Unclear, message: String::new() };
    let records = vec![
        cycle(vec![modify(4, 6)], None),
        cycle(vec![modify(6, 5), terminate], None),
        cycle(vec![modify(5, 9)], Some(Withheld::DryRun)),
        Record::Outcome { at: AT, step: 0, operation: Operation::Modify, outcome: failed },
        Record::Outcome { at: AT, step: 0, operation: Operation::Modify, outcome: Outcome::Done },
    ];
    metrics.count(&[Entry { fleet: "web".into(), at: AT, records }]);
    let text = scrape(vec![fleet_status("web")]);
    has(&text, "muster_fleet_cycles_total{fleet=\"web\"} 3.0");
    has(&text, "muster_fleet_modifications_total{fleet=\"web\",direction=\"up\"} 1.0");
    has(&text, "muster_fleet_modifications_total{fleet=\"web\",direction=\"down\"} 1.0");
    has(&text, "muster_fleet_terminations_total{fleet=\"web\"} 2.0");
    has(&text, "muster_fleet_failed_steps_total{fleet=\"web\"} 1.0");

    assert!(!scrape(Vec::new()).contains("fleet=\"web\""), "a fleet that is gone leaves no series");
    has(&scrape(vec![fleet_status("web")]), "muster_fleet_cycles_total{fleet=\"web\"} 0.0");
}

#[test]
fn names_are_unique_and_tell_area_and_kind() {
    let mut names = BTreeSet::new();
    let areas = [
        "fleet", "engine", "cloud", "samples", "policy", "queue", "journal", "http", "build", "leader",
        "notices",
    ];
    for Metric { name, kind, labels, help, .. } in METRICS {
        assert!(names.insert(name), "{name} is there twice");
        let area = name.strip_prefix("muster_").and_then(|rest| rest.split('_').next()).unwrap_or_default();
        assert!(areas.contains(&area), "{name}: {area} is no area");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(!help.ends_with('.') && !help.contains('\n'), "{name}: {help:?}");
        assert!(labels.iter().all(|label| !label.contains("instance")), "{name} has {labels:?}");
    }
}

#[test]
fn no_series_names_an_instance() {
    let text = Metrics::new().render(status(vec![busy("web")]), EngineMetrics::default());
    assert!(!text.contains("i-0123456789abcdef0"), "{text}");
}

#[test]
fn every_series_has_a_value_for_each_of_its_labels() {
    let mut engine = EngineMetrics { batches_lost: 1, ..EngineMetrics::default() };
    engine.calls.insert(CallCount { operation: "modify", class: "ok" }, 1);
    for words in
        [&mut engine.decisions, &mut engine.withheld, &mut engine.breaches, &mut engine.batches_rejected]
    {
        words.insert("word", 1);
    }
    let queue = QueueCounts { depth: Some(Depth::default()), ..QueueCounts::default() };
    let scrape = Scrape {
        status: Some(status(vec![busy("web")])),
        engine,
        queues: BTreeMap::from([("notices".to_owned(), queue)]),
        ..Scrape::default()
    };
    for Metric { name, labels, read, .. } in METRICS {
        read(&scrape, &mut |values, _| assert_eq!(values.len(), labels.len(), "{name}: {values:?}"));
    }
}

#[test]
fn the_documentation_lists_every_metric() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let begin = "<!-- table: begin -->\n";
    let end = "<!-- table: end -->";
    let text = std::fs::read_to_string(path).expect("docs/metrics.md");
    let (before, rest) = text.split_once(begin).expect("the table's begin");
    let (table, after) = rest.split_once(end).expect("the table's end");
    if option_env!("MUSTER_BLESS").is_some() {
        let blessed = format!("{before}{begin}{}{end}{after}", markdown());
        std::fs::write(path, blessed).expect("docs/metrics.md is written");
        return;
    }
    assert_eq!(table, markdown(), "write it anew: MUSTER_BLESS=1 cargo test -p autoscaler documentation");
}

#[test]
fn operators_are_told_what_to_do_about_every_alarm() {
    let page = include_str!("../../../../docs/operations.md");
    let table = page.split("## Alarms of the autoscaler").nth(1).and_then(|rest| rest.split("\n### ").next());
    let rows: Vec<&str> =
        table.expect("its heading").lines().filter(|line| line.starts_with("| `")).collect();
    for label in Alarm::LABELS {
        let named =
            |row: &&&str| row.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{label}`")));
        assert_eq!(rows.iter().filter(named).count(), 1, "docs/operations.md: {label}");
    }
}

/// The lines of the rules that are shipped that begin so, without that.
fn of_rules(begins: &str) -> BTreeSet<&'static str> {
    let rules = include_str!("../../../prometheus/muster.rules.yml");
    rules.lines().filter_map(|line| line.trim_start().strip_prefix(begins)).collect()
}

#[test]
fn the_rules_that_are_shipped_are_the_ones_that_operators_are_told_of() {
    let page = include_str!("../../../../docs/operations.md");
    let table = page.split("\n## Watch this").nth(1).and_then(|rest| rest.split("\n## ").next());
    let cells = table.expect("its heading").lines().filter(|line| line.starts_with("| Prometheus"));
    let cells = cells.filter_map(|line| line.split('|').nth(2));
    let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let told: BTreeSet<&str> = spans.filter(|span| span.contains("muster_")).collect();
    assert_eq!(told, of_rules("expr: "));
    // Each says where to read on: a heading of that page.
    let heading = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
    };
    let headings: BTreeSet<String> = page.lines().filter(|line| line.starts_with('#')).map(heading).collect();
    let rules = of_rules("annotations: ");
    assert_eq!(rules.len(), of_rules("- alert: ").len());
    for rule in rules {
        let anchor = rule.split("docs/operations.md#").nth(1).and_then(|rest| rest.split('"').next());
        assert!(anchor.is_some_and(|anchor| headings.contains(anchor)), "{rule}: {headings:?}");
    }
}

#[test]
fn the_rules_that_are_shipped_ask_for_metrics_that_exist() {
    let agent = include_str!("../../../../bootstrap/agent/src/metrics.rs");
    let drift = include_str!("../../../../image/ansible/templates/drift.prom.j2");
    let mut names = BTreeSet::new();
    for expression in of_rules("expr: ") {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.extend(words.filter(|word| word.starts_with("muster_")));
    }
    for name in &names {
        let told = METRICS.iter().any(|metric| metric.name == *name)
            || agent.contains(&format!("\"{name}\""))
            || drift.contains(&format!("# TYPE {name} "));
        assert!(told, "{name} is nobody's");
    }
    assert!(names.len() > 15, "{names:?}");
}
