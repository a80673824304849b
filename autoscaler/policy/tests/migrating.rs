//! `docs/migrating.md` names every setting of the other scalers, and what it says that one becomes is in the policy's tables.

use autoscaler_policy::reference_markdown;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a name of the tables' second and third columns may be besides: commands, and other scalers' words for what they do.
const COMMANDS: &[&str] = &[
    "muster-autoscaler pause FLEET --for 6h --reason TEXT",
    "muster-autoscaler override FLEET --max N --for 6h --reason TEXT",
    "muster-autoscaler override FLEET --min N --max N --for 1h --reason TEXT",
    "GET /metrics",
    "fleet \"NAME\"",
    "hold",
    "metrics",
    "at(…)",
    "rate(…)",
    "max",
    "source",
];

/// What each table begins at. Of Application Auto Scaling: `RegisterScalableTarget`, `PutScalingPolicy` and `PutScheduledAction` as
/// Terraform's provider calls their members, and the predefined metrics of a Spot Fleet.
const APPLICATION_AUTO_SCALING: &str = "min_capacity max_capacity resource_id scalable_dimension service_namespace role_arn \
    suspended_state dynamic_scaling_in_suspended dynamic_scaling_out_suspended scheduled_scaling_suspended \
    target_value EC2SpotFleetRequestAverageCPUUtilization EC2SpotFleetRequestAverageNetworkIn \
    EC2SpotFleetRequestAverageNetworkOut customized_metric_specification scale_out_cooldown scale_in_cooldown disable_scale_in \
    schedule timezone start_time end_time \
    step_adjustment adjustment_type min_adjustment_magnitude metric_aggregation_type cooldown";
/// Of a policy of Nomad Autoscaler for clusters: its top level, its document, checks, the strategies and the target `aws-asg`
/// (`sdk/policy.go`, `sdk/target.go` and the plug-ins' keys).
const NOMAD_AUTOSCALER: &str = "min max type enabled dry-run cooldown cooldown_on_scale_up evaluation_interval on_check_error on_error \
    schedule start end duration check source query query_window query_window_offset group \
    percentage-allocated_cpu percentage-allocated_memory \
    strategy target threshold max_scale_up max_scale_down \
    upper_bound lower_bound within_bounds_trigger delta percentage value \
    aws_asg_name aws_region aws_access_key_id aws_secret_access_key aws_session_token aws_credential_provider retry_attempts \
    node_class datacenter node_pool node_drain_deadline node_drain_ignore_system_jobs node_filter_ignore_drain node_purge \
    node_selector_strategy";
/// Of its agent's configuration (`agent/config/config.go`); what only says where metrics are pushed stays together.
const NOMAD_AUTOSCALER_AGENT: &str = "nomad address region namespace token http_auth ca_cert ca_path client_cert client_key \
    tls_server_name skip_verify consul policy dir default_cooldown default_evaluation_interval \
    policy_eval delivery_limit ack_timeout workers apm target strategy plugin_dir high_availability path ttl delay \
    http bind_address bind_port telemetry log_level log_json enable_debug dynamic_application_sizing";

/// The rows of the tables by the head of their first column.
fn tables() -> BTreeMap<String, Vec<[String; 3]>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migrating.md");
    let document = std::fs::read_to_string(&path).expect("it can be read");
    let (mut tables, mut head) = (BTreeMap::<String, Vec<[String; 3]>>::new(), String::new());
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<String> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let row: [String; 3] = cells.try_into().unwrap_or_else(|_| panic!("not three columns: {line}"));
        if row[1] == "muster" {
            head.clone_from(&row[0]);
        } else {
            tables.entry(head.clone()).or_default().push(row);
        }
    }
    tables
}

/// Whether `muster-autoscaler run` has an option: its sources name it, or a field that gives it its name.
fn is_option(name: &str) -> bool {
    let commands = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/src");
    let field = format!("    {}:", name.replace('-', "_"));
    ["commands/run.rs", "commands/listen.rs", "services.rs", "log.rs"].iter().any(|file| {
        let source = std::fs::read_to_string(commands.join(file)).expect("it can be read");
        source.contains(&format!("\"{name}\"")) || source.lines().any(|line| line.starts_with(&field))
    })
}

/// The attributes of each block of a fleet by the block's header; the fleet's own under "".
fn schema() -> BTreeMap<String, BTreeSet<String>> {
    let mut blocks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut block = String::new();
    for line in reference_markdown().lines() {
        if let Some(heading) = line.trim_start_matches('#').strip_prefix(" `fleet \"NAME\"") {
            heading.trim_start_matches(" > ").trim_end_matches('`').clone_into(&mut block);
            blocks.entry(block.clone()).or_default();
        } else if let Some((name, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once("` |")) {
            blocks.entry(block.clone()).or_default().insert(name.to_owned());
        }
    }
    blocks
}

/// The spans of code in a cell.
fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What of a span is in no table.
fn unknown(span: &str, schema: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let anywhere =
        |name: &str| schema.contains_key(name) || schema.values().any(|block| block.contains(name));
    if let Some(option) = span.strip_prefix("--") {
        return if is_option(option) { Vec::new() } else { vec![span.to_owned()] };
    }
    let Some((header, body)) = span.split_once(" {") else {
        let name = span.split(" = ").next().unwrap_or_default();
        return if anywhere(name) { Vec::new() } else { vec![span.to_owned()] };
    };
    let Some(block) = schema.get(header) else { return vec![header.to_owned()] };
    // `kind = "service" groups`: a name is followed by its value or not.
    let body = body.trim_end_matches('}').trim().replace(" = ", "=");
    let names = body.split(' ').map(|word| word.split('=').next().unwrap_or_default().to_owned());
    names.filter(|name| !block.contains(name)).map(|name| format!("{header} {{ {name} }}")).collect()
}

#[test]
fn every_setting_that_a_migration_ends_at_exists() {
    let schema = schema();
    assert!(schema.len() > 15 && schema[""].contains("dry_run"), "{schema:?}");
    let rows: Vec<[String; 3]> = tables().into_values().flatten().collect();
    for [theirs, ours, differs] in &rows {
        let names = spans(ours).chain(spans(differs)).filter(|span| !COMMANDS.contains(span));
        let unknown: Vec<String> = names.flat_map(|span| unknown(span, &schema)).collect();
        assert!(unknown.is_empty(), "{unknown:?} is no setting of a policy: {theirs}");
    }
    assert!(rows.len() > 60, "{} rows alone were read", rows.len());
}

#[test]
fn every_setting_that_a_migration_begins_at_is_in_its_table_and_no_other() {
    let tables = tables();
    for (head, settings) in [
        ("Application Auto Scaling", APPLICATION_AUTO_SCALING),
        ("Nomad Autoscaler", NOMAD_AUTOSCALER),
        ("Nomad Autoscaler's agent", NOMAD_AUTOSCALER_AGENT),
    ] {
        let first = |span: &'_ str| span.split(' ').next().unwrap_or_default().to_owned();
        let named: BTreeSet<String> =
            tables[head].iter().flat_map(|[theirs, ..]| spans(theirs).map(first)).collect();
        let wanted: BTreeSet<String> = settings.split_whitespace().map(str::to_owned).collect();
        let missing: Vec<_> = wanted.difference(&named).collect();
        let unknown: Vec<_> = named.difference(&wanted).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "{head}: missing {missing:?}, unknown {unknown:?}");
    }
    assert_eq!(tables.len(), 3);
}
