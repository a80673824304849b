//! What answers say, and that fleets keep apart.

use crate::support::{answers_to, herd, observation, policies, web};
use autoscaler_policy::FleetPolicy;
use serde_json::{Value, json};

/// Fleets of `min = 2`, `max = 8` by these names.
fn bounded(names: &[&str]) -> Vec<FleetPolicy> {
    let block = |name: &&str| {
        format!(
            "fleet \"{name}\" {{\n  id = \"fleet-{name}\"\n  capacity {{\n    min = 2\n    max = 8\n  }}\n}}\n"
        )
    };
    policies(&names.iter().map(block).collect::<String>())
}

/// Ten minutes of a fleet of `count`, a line each ten seconds.
fn settled(fleet: &str, count: u32, utilization: f64) -> Vec<Value> {
    let herd = herd(count);
    (1..=60).map(|step| observation(f64::from(step) * 10.0, fleet, count, &herd, utilization)).collect()
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["remove"].as_array().expect("a list").iter().map(|id| id.as_str().expect("an id")).collect()
}

#[test]
fn an_answer_has_the_fields_of_the_format_and_no_others() {
    let answers = answers_to(&web(), &settled("web", 4, 0.70)[..1]);
    let fields: Vec<&String> = answers[0].as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["fleet", "reason", "remove", "t", "target"]);
    assert_eq!((&answers[0]["t"], &answers[0]["fleet"]), (&json!(10.0), &json!("web")));
    assert!(!answers[0]["reason"].as_str().expect("a text").is_empty());
}

#[test]
fn a_target_out_of_bounds_is_brought_back_whatever_is_measured() {
    let mut low = observation(10.0, "web", 1, &herd(1), 0.5);
    low["samples"] = json!([]);
    let mut high = observation(10.0, "api", 12, &herd(12), 0.5);
    high["samples"] = json!([]);
    let answers = answers_to(&bounded(&["web", "api"]), &[low, high]);
    assert_eq!((&answers[0]["target"], &answers[1]["target"]), (&json!(2), &json!(8)));
    assert!(ids(&answers[1]).is_empty(), "nobody is chosen where load is not known: {}", answers[1]);
}

#[test]
fn a_saturated_fleet_grows_in_one_answer() {
    let mut lines = settled("web", 4, 0.70);
    let mut burst = observation(610.0, "web", 4, &herd(4), 1.0);
    burst["samples"][0]["load"] = json!(2.5);
    lines.push(burst);
    let answers = answers_to(&web(), &lines);
    let (before, after) = (&answers[answers.len() - 2], &answers[answers.len() - 1]);
    assert_eq!(before["target"], json!(4), "{before}");
    // Ten units of work want at least ten of capacity.
    assert!(after["target"].as_u64().expect("a target") >= 10, "{after}");
    assert!(after["reason"].as_str().expect("a text").starts_with("scale out from 4 to "), "{after}");
}

#[test]
fn what_is_given_back_is_named_in_the_answer_that_lowers_the_target() {
    let answers = answers_to(&web(), &settled("web", 8, 0.20));
    let lowered = answers.iter().find(|answer| answer["target"] != json!(8)).expect("far too many");
    let target = lowered["target"].as_u64().expect("a target");
    assert_eq!(ids(lowered).len() as u64, 8 - target, "{lowered}");
    assert!(answers.iter().all(|answer| ids(answer).is_empty() || answer["target"] != json!(8)));
}

#[test]
fn whoever_drains_because_it_was_told_is_not_told_again() {
    let lines = settled("web", 8, 0.20);
    let answers = answers_to(&web(), &lines);
    let at = answers.iter().position(|answer| !ids(answer).is_empty()).expect("far too many");
    let told = ids(&answers[at]);
    let target = answers[at]["target"].as_u64().expect("a target");
    let mut lines = lines[..=at].to_vec();
    for step in 1..=12 {
        let t = lines[at]["t"].as_f64().expect("a time") + f64::from(step) * 10.0;
        let mut herd = herd(8);
        for instance in &mut herd {
            if told.iter().any(|id| instance["id"] == **id) {
                instance["state"] = json!("draining");
                instance["since"] = lines[at]["t"].clone();
            }
        }
        let mut line = observation(t, "web", u32::try_from(target).expect("few"), &herd, 0.75);
        line["samples"][0]["capacity"] = json!(target);
        lines.push(line);
    }
    let answers = answers_to(&web(), &lines);
    assert_eq!(ids(&answers[at]), told);
    for answer in &answers[at + 1..] {
        assert!(ids(answer).is_empty(), "{answer}");
    }
}

#[test]
fn whoever_does_not_listen_is_told_again() {
    let lines = settled("web", 8, 0.20);
    let at = answers_to(&web(), &lines).iter().position(|a| !ids(a).is_empty()).expect("far too many");
    let mut lines = lines[..=at].to_vec();
    let first = answers_to(&web(), &lines)[at].clone();
    for step in 1..=12 {
        let t = lines[at]["t"].as_f64().expect("a time") + f64::from(step) * 10.0;
        let target = u32::try_from(first["target"].as_u64().expect("a target")).expect("few");
        lines.push(observation(t, "web", target, &herd(8), 0.20));
    }
    let again: Vec<Value> = answers_to(&web(), &lines).split_off(at + 1);
    assert!(again.iter().any(|answer| ids(answer) == ids(&first)), "{again:?}");
}

#[test]
fn fleets_of_one_stream_do_not_know_of_each_other() {
    let fleets = bounded(&["web", "api"]);
    let (web, api) = (settled("web", 8, 0.30), settled("api", 3, 0.95));
    let mixed: Vec<Value> = web.iter().zip(&api).flat_map(|(w, a)| [w.clone(), a.clone()]).collect();
    let together = answers_to(&fleets, &mixed);
    let of = |name: &str| -> Vec<Value> {
        together.iter().filter(|answer| answer["fleet"] == name).cloned().collect()
    };
    assert_eq!(of("web"), answers_to(&fleets, &web));
    assert_eq!(of("api"), answers_to(&fleets, &api));
}

#[test]
fn a_default_policy_stands_for_fleets_without_one_of_their_own() {
    let fleets = bounded(&["web", "default"]);
    let answers = answers_to(&fleets, &[observation(1.0, "other", 20, &herd(20), 0.9)]);
    assert_eq!((&answers[0]["fleet"], &answers[0]["target"]), (&json!("other"), &json!(8)), "{}", answers[0]);
}

#[test]
fn schedules_follow_the_time_of_the_stream() {
    let text = r#"
fleet "web" {
  id = "fleet-web"
  schedule "morning" {
    start = "0 8 * * *"
    zone  = "UTC"
    for   = "2h"
    min   = 6
  }
}
"#;
    let at = |t: f64| {
        let mut line = observation(t, "web", 3, &herd(3), 0.5);
        line["samples"] = json!([]);
        line
    };
    let hour = 3600.0;
    let lines = [at(7.9 * hour), at(8.0 * hour), at(10.0 * hour)];
    let targets: Vec<Value> =
        answers_to(&policies(text), &lines).iter().map(|a| a["target"].clone()).collect();
    assert_eq!(targets, [json!(3), json!(6), json!(3)]);
}

#[test]
fn a_policy_that_only_watches_changes_nothing_and_says_so() {
    for (setting, says) in [("observe_only", "observe only"), ("dry_run", "scale out from 2 to ")] {
        let text = format!("fleet \"web\" {{\n  id = \"fleet-web\"\n  {setting} = true\n}}\n");
        let lines: Vec<Value> =
            (1..=9).map(|i| observation(f64::from(i) * 10.0, "web", 2, &herd(2), 1.0)).collect();
        let answers = answers_to(&policies(&text), &lines);
        assert!(answers.iter().all(|answer| answer["target"] == json!(2) && ids(answer).is_empty()));
        let last = answers[8]["reason"].as_str().expect("a text");
        assert!(last.contains(says), "{last}");
    }
}

#[test]
fn a_doomed_instance_goes_before_its_equals() {
    let mut lines = settled("web", 8, 0.58);
    let calm = answers_to(&web(), &lines);
    let at = calm.iter().position(|answer| !ids(answer).is_empty()).expect("more than is needed");
    assert_eq!(ids(&calm[at]).len(), 1, "{}", calm[at]);
    let heard = lines[at]["t"].clone();
    lines[at]["notices"] = json!([{"id": "i-5", "kind": "spot_interruption", "at": heard, "deadline": 9000}]);
    let answers = answers_to(&web(), &lines);
    assert_eq!(answers[at]["target"], calm[at]["target"], "{}", answers[at]);
    assert!(ids(&answers[at]).is_empty(), "what AWS takes is left to AWS: {}", answers[at]);
}

#[test]
fn a_doomed_instance_that_is_needed_is_replaced_before_it_goes() {
    let mut lines = settled("web", 8, 0.74);
    let heard = lines[1]["t"].as_f64().expect("a time");
    let notice = json!({"id": "i-5", "kind": "spot_interruption", "at": heard, "deadline": heard + 120.0});
    lines[1]["notices"] = json!([notice]);
    let mut targets = Vec::new();
    for end in 2..=16 {
        let answers = answers_to(&web(), &lines[..end]);
        let target = answers[end - 1]["target"].clone();
        if let Some(next) = lines.get_mut(end) {
            next["target"] = target.clone();
        }
        targets.push(target);
    }
    assert!(targets.contains(&json!(9)), "{targets:?}");
    assert_eq!(targets.last(), Some(&json!(8)), "lowered again before it goes: {targets:?}");
}

#[test]
fn what_waits_decides_how_much_is_bought() {
    let roomy = policies("fleet \"web\" {\n  id = \"fleet-web\"\n  capacity {\n    max = 200\n  }\n}\n");
    let bought = |load: f64| {
        let mut lines = settled("web", 4, 0.70);
        let mut burst = observation(610.0, "web", 4, &herd(4), 1.0);
        burst["samples"][0]["load"] = json!(load);
        lines.push(burst);
        answers_to(&roomy, &lines)[60]["target"].as_u64().expect("a target")
    };
    let (little, much) = (bought(1.0), bought(6.0));
    assert!(much > little, "{much} for a queue, {little} without");
}

#[test]
fn an_id_that_comes_back_is_another_instance() {
    let mut lines = settled("web", 8, 0.20);
    let at = answers_to(&web(), &lines).iter().position(|a| !ids(a).is_empty()).expect("far too many");
    lines.truncate(at + 1);
    let answer = answers_to(&web(), &lines)[at].clone();
    let (told, target) = (ids(&answer), answer["target"].as_u64().expect("a target"));
    let target = u32::try_from(target).expect("few");
    let mut staying = herd(8);
    staying.retain(|instance| told.iter().all(|id| instance["id"] != **id));
    let t = |step: u32| lines[at]["t"].as_f64().expect("a time") + f64::from(step) * 10.0;
    let gone = observation(t(1), "web", target, &staying, 0.7);
    // It drains, and not because of us: what it weighs is there until it goes.
    staying.pop();
    let mut again = herd(8).into_iter().find(|instance| instance["id"] == *told[0]).expect("it was there");
    again["state"] = json!("draining");
    staying.push(again);
    let back = observation(t(2), "web", target, &staying, 0.7);
    lines.extend([gone, back]);
    let reason = answers_to(&web(), &lines)[at + 2]["reason"].clone();
    assert!(!reason.as_str().expect("a text").contains("not there"), "{reason}");
}
