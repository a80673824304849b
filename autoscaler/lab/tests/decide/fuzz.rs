//! Whatever the lines hold: each has one answer, and no answer breaks the rules.

use crate::support::{answers, policies};
use proptest::prelude::*;
use serde_json::{Value, json};

const POLICY: &str = r#"
fleet "a" {
  id = "fleet-a"
  capacity {
    min = 2
    max = 9
  }
}
fleet "b" {
  id = "sfr-b"
}
"#;

/// Numbers as nobody should send them, and as they should.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0..2000_i32).prop_map(|n| json!(n)),
        3 => (0.0..1.0_f64).prop_map(|n| json!(n)),
        1 => any::<f64>().prop_map(|n| json!(n)),
        1 => Just(json!(-1)),
        1 => Just(Value::Null),
        1 => Just(json!(1e300)),
    ]
}

/// Mostly good, each field now and then odd.
fn seldom(good: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![30 => good.boxed(), 1 => number().boxed(), 1 => any::<String>().prop_map(|s| json!(s)).boxed()]
}

fn text(choices: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(choices).prop_map(|text| json!(text))
}

fn instance() -> impl Strategy<Value = Value> {
    (
        seldom((0..30_i32).prop_map(|n| json!(format!("i-{n}")))),
        seldom(text(&["m5.large/z-a", "c5.large/z-b", "m5.xlarge/z-a", "r5.2xlarge/z-c"])),
        seldom(prop_oneof![Just(json!(1)), Just(json!(2)), Just(json!(0.5))]),
        seldom(text(&["requested", "booting", "in_service", "draining"])),
        seldom((-500..1_i32).prop_map(|n| json!(n))),
    )
        .prop_map(|(id, pool, weight, state, since)| {
            json!({"id": id, "pool": pool, "weight": weight, "state": state, "since": since})
        })
}

fn sample() -> impl Strategy<Value = Value> {
    (
        seldom((0..1000_i32).prop_map(|n| json!(n))),
        seldom(prop::sample::select(vec![10, 60, 300]).prop_map(|n| json!(n))),
        seldom((0..40_i32).prop_map(|n| json!(n))),
        seldom((0.0..=1.0_f64).prop_map(|n| json!(n))),
        prop::option::of(seldom((0.0..8.0_f64).prop_map(|n| json!(n)))),
    )
        .prop_map(|(end, period, capacity, utilization, load)| {
            json!({"end": end, "period": period, "capacity": capacity, "utilization": utilization, "load": load})
        })
}

fn notice() -> impl Strategy<Value = Value> {
    (
        seldom((0..30_i32).prop_map(|n| json!(format!("i-{n}")))),
        seldom(text(&["spot_interruption", "rebalance", "scheduled_event"])),
        seldom((0..1000_i32).prop_map(|n| json!(n))),
    )
        .prop_map(|(id, kind, at)| json!({"id": id, "kind": kind, "at": at}))
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let observation = (
        seldom((1000..3000_i32).prop_map(|n| json!(n))),
        seldom(text(&["a", "a", "b", "c"])),
        seldom((0..25_i32).prop_map(|n| json!(n))),
        prop::collection::vec(instance(), 0..12),
        prop::collection::vec(sample(), 0..2),
        prop::collection::vec(notice(), 0..2),
    )
        .prop_map(|(t, fleet, target, instances, samples, notices)| {
            json!({
                "t": t, "fleet": fleet, "target": target, "instances": instances, "samples": samples,
                "notices": notices,
            })
            .to_string()
            .into_bytes()
        });
    prop_oneof![
        12 => observation,
        1 => prop::collection::vec(any::<u8>(), 0..80),
        1 => any::<String>().prop_map(String::into_bytes),
    ]
}

/// The times of a stream mostly go forward: otherwise few lines get far.
fn in_order(mut lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    lines.sort_by_key(|line| {
        let seen: Value = serde_json::from_slice(line).unwrap_or_default();
        seen["t"].as_i64().unwrap_or(1000)
    });
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_line_has_its_answer_and_no_answer_breaks_the_rules(
        lines in prop::collection::vec(line(), 0..60).prop_map(in_order),
    ) {
        let input: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let sent: Vec<&[u8]> = input.split_inclusive(|b| *b == b'\n').collect();
        let (driven, answers) = answers(&policies(POLICY), &input);
        prop_assert_eq!(answers.len(), sent.len());
        prop_assert_eq!(driven.lines, sent.len() as u64);
        for (number, (answer, sent)) in (1_u64..).zip(answers.iter().zip(sent)) {
            if answer.get("error").is_some() {
                prop_assert_eq!(&answer["line"], &json!(number));
                continue;
            }
            let seen: Value = serde_json::from_slice(sent).expect("an answered line is JSON");
            let target = answer["target"].as_u64().expect("a target");
            let before = seen["target"].as_f64().expect("a number");
            let (min, max) = if seen["fleet"] == "a" { (2, 9) } else { (1, 20) };
            prop_assert!(target as f64 == before || (min..=max).contains(&target), "{} to {}", seen, answer);
            let shown = |id: &Value| seen["instances"].as_array().expect("a list").iter().find(|i| i["id"] == *id);
            for id in answer["remove"].as_array().expect("a list") {
                prop_assert!(shown(id).is_some(), "{} to {}", seen, answer);
            }
        }
    }

    #[test]
    fn the_same_lines_have_the_same_answers(lines in prop::collection::vec(line(), 0..30).prop_map(in_order)) {
        let input: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        prop_assert_eq!(answers(&policies(POLICY), &input).1, answers(&policies(POLICY), &input).1);
    }
}
