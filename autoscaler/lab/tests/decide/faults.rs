//! Lines that cannot be used: what is said of them, and that nothing comes of them.

use crate::support::{answers, answers_to, herd, observation, web};
use autoscaler_lab::decide::LONGEST_LINE;
use serde_json::{Value, json};

fn good(t: f64) -> Value {
    observation(t, "web", 4, &herd(4), 0.7)
}

/// A good line with one thing changed, and what must be said of it.
fn changed(pointer: &str, value: Value) -> Value {
    let mut line = good(100.0);
    *line.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    line
}

fn refusal(line: &Value) -> String {
    let answers = answers_to(&web(), std::slice::from_ref(line));
    assert_eq!(answers[0]["line"], json!(1), "{}", answers[0]);
    answers[0]["error"].as_str().expect("a text").to_owned()
}

#[test]
fn what_cannot_be_is_refused_with_what_would_be_right() {
    for (pointer, value, says) in [
        ("/t", json!(-1), "t is -1; seconds, from 0 on"),
        ("/target", json!(4.5), "target is 4.5; a whole number of units"),
        ("/target", json!(-2), "target is -2; a whole number of units"),
        ("/fleet", json!(""), "fleet is \"\"; the name of a fleet in the policy file"),
        ("/fleet", json!("wbe"), "no policy for fleet \"wbe\"; there are \"web\""),
        ("/instances/1/id", json!("i-1"), "instances[1].id is i-1 again"),
        ("/instances/1/id", json!(""), "instances[1].id is \"\""),
        ("/instances/2/pool", json!("m5.large"), "instances[2].pool is \"m5.large\"; \"type/zone\", such as"),
        ("/instances/2/pool", json!("m5.large/a/b"), "such as \"m5.large/eu-west-1a\""),
        ("/instances/0/weight", json!(0), "instances[0].weight is 0; what it counts for in the target"),
        (
            "/instances/0/since",
            json!(100.5),
            "instances[0].since is 100.5; when it came into its state, not after t",
        ),
        ("/instances/3/state", json!("running"), "unknown variant `running`, expected one of `requested`"),
        (
            "/samples/0/utilization",
            json!(83),
            "samples[0].utilization is 83; a share from 0 to 1, as 0.83 for 83 %",
        ),
        ("/samples/0/end", json!(110), "samples[0].end is 110; when the period ended, not after t"),
        ("/samples/0/period", json!(0), "samples[0].period is 0; seconds, more than 0"),
        ("/samples/0/capacity", json!(-1), "samples[0].capacity is -1; the units that served"),
        ("/samples/0/capacity", json!("4"), "invalid type: string \"4\", expected f64"),
        ("/samples/0/capacity", Value::Null, "invalid type: null, expected f64"),
        (
            "/notices",
            json!([{"id": "i-1", "kind": "death", "at": 1}]),
            "unknown variant `death`, expected one of",
        ),
        (
            "/notices",
            json!([{"id": "i-1", "kind": "interruption", "at": 90, "deadline": 80}]),
            "notices[0].deadline is 80; when the instance goes, not before at",
        ),
    ] {
        let said = refusal(&changed(pointer, value.clone()));
        assert!(said.contains(says), "{pointer} {value}: {said}");
    }
}

#[test]
fn versions_and_fields_that_are_not_known_are_refused() {
    let mut line = good(100.0);
    line["v"] = json!(1);
    assert!(answers_to(&web(), std::slice::from_ref(&line))[0].get("error").is_none());
    line["v"] = json!(2);
    assert_eq!(refusal(&line), "v is 2; this is version 1");
    let mut line = good(100.0);
    line["smaples"] = json!([]);
    assert!(refusal(&line).contains("unknown field `smaples`, expected one of"));
    for field in ["t", "fleet", "target", "instances"] {
        let mut line = good(100.0);
        line.as_object_mut().expect("an object").remove(field);
        assert!(refusal(&line).contains(&format!("missing field `{field}`")));
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    for (text, says) in [
        ("", "an empty line, not an observation"),
        ("nonsense", "expected ident (column 2"),
        ("[1, 2]", "an observation is an object (column 1"),
        ("7", "an observation is an object"),
        ("{\"t\": NaN}", "expected value (column 7, after \"{\\\"t\\\": "),
        ("{\"t\": 1e999}", "number out of range"),
        ("{\"t\": 1} {", "missing field `fleet`"),
        ("{\"t\": 1, \"t\": 2}", "duplicate field `t`"),
        ("{\"t\"", "EOF while parsing an object"),
    ] {
        let (_, answers) = answers(&web(), format!("{text}\n").as_bytes());
        let said = answers[0]["error"].as_str().expect("a text");
        assert!(said.contains(says), "{text}: {said}");
        assert!(!said.contains("line 1"), "{text}: {said}");
    }
    let (_, answers) = answers(&web(), b"{\"t\": 1, \"fleet\": \"\xff\"}\n");
    assert!(answers[0]["error"].as_str().expect("a text").contains("invalid unicode"), "{}", answers[0]);
}

#[test]
fn samples_of_a_line_come_oldest_first_and_each_once() {
    for ends in [[100, 100], [100, 90]] {
        let mut line = good(100.0);
        let sample = |end: i32| json!({"end": end, "period": 10, "capacity": 4, "utilization": 0.5});
        line["samples"] = json!([sample(ends[0]), sample(ends[1])]);
        let said = refusal(&line);
        assert!(said.contains("samples come oldest first, each once"), "{said}");
    }
}

#[test]
fn time_that_goes_back_is_refused_with_when_it_was() {
    let answers = answers_to(&web(), &[good(100.0), good(40.5), good(100.0), good(110.0)]);
    let said = answers[1]["error"].as_str().expect("a text");
    assert!(said.contains("t lies 59.5 s before the last observation of this fleet, at 100;"), "{said}");
    assert!(answers[2].get("error").is_none() && answers[3].get("error").is_none());
}

#[test]
fn bad_lines_leave_no_trace_but_their_answer() {
    let lines: Vec<Value> = (1..=200)
        .map(|i| observation(f64::from(i) * 10.0, "web", 4, &herd(4), if i < 100 { 0.72 } else { 0.99 }))
        .collect();
    let clean = answers_to(&web(), &lines);
    let bad = [
        "{".to_owned(),
        changed("/instances/1/id", json!("i-1")).to_string(),
        changed("/samples/0/utilization", json!(7)).to_string(),
        changed("/t", json!(0)).to_string(),
        "x".repeat(LONGEST_LINE + 5),
    ];
    let both = |(index, line)| format!("{line}\n{}\n", bad[index % bad.len()]);
    let input = lines.iter().enumerate().map(both).collect::<Vec<String>>().concat();
    let (driven, mixed) = answers(&web(), input.as_bytes());
    assert_eq!((driven.lines, driven.refused), (400, 200));
    for (index, answer) in mixed.iter().enumerate() {
        if index % 2 == 0 {
            assert_eq!(*answer, clean[index / 2]);
        } else {
            assert_eq!(answer["line"], json!(index + 1));
        }
    }
}

#[test]
fn errors_are_short_whatever_the_line_held() {
    let long = "y".repeat(500_000);
    for line in [
        changed("/fleet", json!(long)),
        changed("/instances/0/pool", json!(long)),
        changed("/instances/0/state", json!(long)),
    ] {
        let said = refusal(&line);
        assert!(said.len() < 3000, "{} bytes", said.len());
    }
}

#[test]
fn the_last_line_needs_no_newline_and_windows_ends_are_fine() {
    let input = format!("{}\r\n{}", good(10.0), good(20.0));
    let (driven, answers) = answers(&web(), input.as_bytes());
    assert_eq!((driven.lines, driven.refused, answers.len()), (2, 0, 2));
    let (driven, _) = crate::support::answers(&web(), b"");
    assert_eq!(driven.lines, 0);
}
