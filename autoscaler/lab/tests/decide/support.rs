//! What the tests share.

use autoscaler_lab::decide::{Driven, drive};
use autoscaler_policy::{File, FleetPolicy, load};
use serde_json::{Value, json};

/// The fleets of a policy file.
pub fn policies(text: &str) -> Vec<FleetPolicy> {
    let file = File { name: "policy.hcl".to_owned(), text: text.to_owned() };
    load(&[file]).unwrap_or_else(|problems| panic!("{problems:?}")).fleets
}

/// A fleet of this name, by defaults.
pub fn web() -> Vec<FleetPolicy> {
    vec![FleetPolicy::of("web", "fleet-web")]
}

/// Answers, a line each.
pub fn answers(policies: &[FleetPolicy], input: &[u8]) -> (Driven, Vec<Value>) {
    let mut output = Vec::new();
    let driven = drive(policies, input, &mut output).expect("memory is read and written");
    let text = String::from_utf8(output).expect("answers are UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'));
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("answers are JSON"));
    (driven, lines.collect())
}

/// Answers to values, a line each.
pub fn answers_to(policies: &[FleetPolicy], lines: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    answers(policies, lines.join("\n").as_bytes()).1
}

/// `count` instances that have served for an hour, over two families and two zones.
pub fn herd(count: u32) -> Vec<Value> {
    let pools = ["m5.large/eu-west-1a", "c5.large/eu-west-1b", "m5.large/eu-west-1b", "c5.large/eu-west-1a"];
    let instance = |i: u32| {
        let pool = pools[i as usize % pools.len()];
        json!({"id": format!("i-{i}"), "pool": pool, "weight": 1, "state": "in_service", "since": -3600})
    };
    (1..=count).map(instance).collect()
}

/// An observation with the sample of the last ten seconds.
pub fn observation(t: f64, fleet: &str, target: u32, herd: &[Value], utilization: f64) -> Value {
    json!({
        "t": t, "fleet": fleet, "target": target, "instances": herd, "notices": [],
        "samples": [{"end": t, "period": 10, "capacity": herd.len(), "utilization": utilization}],
    })
}
