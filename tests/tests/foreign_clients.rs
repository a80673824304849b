//! Clients that are not ours against the loopback cloud: boto3 and the AWS CLI must take it for AWS.

use fleet::Timestamp;
use fleet::ports::Clock;
use fleet_clock::SteppedClock;
use fleet_cloud::{CloudConfig, CloudServer, Secret};
use fleet_sim::{Action, Demand, Effect, Fault, FleetRequest, FleetSpec, World, WorldSpec};
use serde_json::Value;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A world with one spot fleet of twelve instances and nine units of demand: 75 % busy.
fn world(faults: Vec<Fault>) -> World {
    let request = FleetRequest { target: 12, ..FleetRequest::default() };
    let fleet = FleetSpec { request, initial: Some(12), load: Demand::constant(9.0), ..FleetSpec::default() };
    let start = Timestamp::parse("2026-03-01T00:00:00Z").expect("a time");
    World::new(WorldSpec { fleets: vec![fleet], faults, ..WorldSpec::default() }, 7, start)
}

/// Runs a client that knows nothing but what it is given, while a cloud is there; the cloud's endpoint is where
/// `{endpoint}` stands.
fn with_cloud(program: &str, arguments: &[&str], environment: &[(&str, &str)], faults: Vec<Fault>) -> Output {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(SteppedClock::new(Timestamp::EPOCH));
    let config = CloudConfig {
        web_identity_tokens: vec![Secret::new("a-token")],
        ..CloudConfig::new(Arc::new(Mutex::new(world(faults))), clock)
    };
    let server = runtime.block_on(CloudServer::start(config)).expect("the cloud starts");
    let endpoint = server.endpoint();
    let arguments = arguments.iter().map(|argument| argument.replace("{endpoint}", &endpoint));
    let output = Command::new(tests::tools::aws_clients().expect("the clients are there").join(program))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "*")
        .envs(environment.iter().copied())
        .output()
        .expect("the client runs");
    runtime.block_on(server.stop());
    output
}

fn boto3(section: &str) {
    boto3_with(section, Vec::new());
}

fn boto3_with(section: &str, faults: Vec<Fault>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/boto3_smoke.py");
    let output = with_cloud("python3", &["-B", script, "{endpoint}", section], &[], faults);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const KEYS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", "muster"),
    ("AWS_SECRET_ACCESS_KEY", "muster-secret"),
    ("AWS_DEFAULT_REGION", "eu-west-1"),
    ("AWS_MAX_ATTEMPTS", "1"),
];

fn aws(arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = [&["--endpoint-url", "{endpoint}", "--output", "json"], arguments].concat();
    let output = with_cloud("aws", &arguments, KEYS, Vec::new());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[test]
fn boto3_leads_a_spot_fleet_through_its_life() {
    boto3("spot_fleet");
}

#[test]
fn boto3_leads_an_ec2_fleet_through_its_life() {
    boto3("ec2_fleet");
}

#[test]
fn boto3_reads_every_page() {
    boto3("paging");
}

#[test]
fn boto3_is_refused_as_aws_refuses() {
    boto3("refusals");
}

#[test]
fn boto3_meets_ec2s_request_rates() {
    boto3("rates");
}

#[test]
fn boto3_does_not_hear_of_what_took_effect() {
    let effect = Effect::LoseAnswer { action: Some(Action::TERMINATE_INSTANCES), share: 1.0 };
    boto3_with("lost_answers", vec![Fault { from: Duration::ZERO, until: None, effect }]);
}

#[test]
fn boto3_finds_prices_types_templates_and_tags() {
    boto3("catalogue");
}

#[test]
fn boto3_reads_metrics_in_all_protocols_alike() {
    boto3("metrics");
}

#[test]
fn boto3_receives_the_worlds_events() {
    boto3("messages");
}

#[test]
fn boto3_keeps_parameters() {
    boto3("parameters");
}

#[test]
fn boto3_learns_who_it_is_and_assumes_a_role() {
    boto3("identity");
}

#[test]
fn boto3_registers_a_second_writer() {
    boto3("scalable_targets");
}

#[test]
fn the_aws_cli_describes_modifies_and_terminates() {
    let fleets = aws(&["ec2", "describe-spot-fleet-requests"]);
    let fleet = &fleets["SpotFleetRequestConfigs"][0];
    let config = &fleet["SpotFleetRequestConfig"];
    assert_eq!(config["TargetCapacity"], 12);
    assert_eq!(config["FulfilledCapacity"], 12.0);
    assert_eq!(config["ExcessCapacityTerminationPolicy"], "noTermination");
    // Every cloud here is made from one seed: ids are the same in each.
    let id = fleet["SpotFleetRequestId"].as_str().expect("an id");
    // The spelling that AWS's documents and the Jenkins plugin use.
    let modified = aws(&[
        "ec2",
        "modify-spot-fleet-request",
        "--spot-fleet-request-id",
        id,
        "--target-capacity",
        "13",
        "--excess-capacity-termination-policy",
        "NoTermination",
    ]);
    assert_eq!(modified["Return"], true);
    let listed = aws(&["ec2", "describe-spot-fleet-instances", "--spot-fleet-request-id", id]);
    let instance = listed["ActiveInstances"][0]["InstanceId"].as_str().expect("an id");
    let ended = aws(&["ec2", "terminate-instances", "--instance-ids", instance]);
    assert_eq!(ended["TerminatingInstances"][0]["CurrentState"]["Name"], "shutting-down");
}

#[test]
fn the_aws_cli_knows_who_it_is_and_with_a_wrong_secret_does_not() {
    let me = aws(&["sts", "get-caller-identity"]);
    assert_eq!(me["Arn"], "arn:aws:iam::123456789012:user/muster");
    let mut keys = KEYS.to_vec();
    keys[1].1 = "wrong";
    let output =
        with_cloud("aws", &["--endpoint-url", "{endpoint}", "ec2", "describe-instances"], &keys, Vec::new());
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("(AuthFailure)"), "{said}");
}
