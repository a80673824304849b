//! The documents say what is so: the session in `docs/decide.md` word for word, the schema field by field.

use crate::support::{answers, answers_to, herd, policies, web};
use serde_json::{Map, Value, json};
use std::path::Path;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands in the first fence of this kind.
fn fence<'t>(text: &'t str, kind: &str) -> &'t str {
    let (_, from) = text.split_once(&format!("```{kind}\n")).expect("a fence");
    from.split_once("```").expect("the fence ends").0
}

#[test]
fn the_session_in_the_document_goes_as_it_is_told() {
    let text = document("decide.md");
    let (policy, session) = (fence(&text, "hcl"), fence(&text, "text"));
    let of =
        |mark: &str| -> Vec<&str> { session.lines().filter_map(|line| line.strip_prefix(mark)).collect() };
    let (sent, told) = (of("> "), of("< "));
    assert_eq!(session.lines().count(), sent.len() + told.len());
    assert!(sent.len() >= 4, "a session");
    let mut output = Vec::new();
    let input = sent.join("\n");
    let driven = autoscaler_lab::decide::drive(&policies(policy), input.as_bytes(), &mut output);
    driven.expect("memory is read and written");
    let output = String::from_utf8(output).expect("answers are UTF-8");
    let answered: Vec<&str> = output.lines().collect();
    assert_eq!(answered, told, "`cargo run -p autoscaler-lab --example decide_session` writes it anew");
}

fn schema() -> Value {
    serde_json::from_str(&document("decide.schema.json")).expect("the schema is JSON")
}

/// The fields of a kind of thing, and which of them must be there.
fn fields(schema: &Value, kind: &str) -> (Vec<String>, Vec<String>) {
    let of = &schema["$defs"][kind];
    let names = |value: &Value| value.as_str().expect("a name").to_owned();
    let known = of["properties"].as_object().expect("fields").keys().cloned().collect();
    (known, of["required"].as_array().expect("a list").iter().map(names).collect())
}

/// An observation that says everything that can be said.
fn full() -> Value {
    json!({
        "v": 1, "t": 100.0, "fleet": "web", "target": 4, "instances": herd(4),
        "samples": [{"end": 100, "period": 10, "capacity": 4, "utilization": 0.7, "load": 0.8, "psi": 0.1}],
        "notices": [{"id": "i-1", "kind": "spot_interruption", "at": 99, "deadline": 219}],
    })
}

fn is_taken(line: &Value) -> bool {
    answers_to(&web(), std::slice::from_ref(line))[0].get("error").is_none()
}

fn part<'v>(line: &'v mut Value, pointer: &str) -> &'v mut Map<String, Value> {
    line.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object")
}

#[test]
fn the_schema_knows_the_fields_that_the_drive_knows() {
    let schema = schema();
    for (kind, pointer) in [
        ("observation", ""),
        ("instance", "/instances/0"),
        ("sample", "/samples/0"),
        ("notice", "/notices/0"),
    ] {
        let (known, required) = fields(&schema, kind);
        let mut said: Vec<String> = part(&mut full(), pointer).keys().cloned().collect();
        said.sort();
        assert_eq!(known, said, "{kind}");
        assert!(is_taken(&full()), "{kind}");
        for field in &known {
            let mut line = full();
            part(&mut line, pointer).remove(field);
            assert_eq!(is_taken(&line), !required.contains(field), "{kind} without {field}");
        }
        let mut line = full();
        part(&mut line, pointer).insert("surprise".to_owned(), json!(1));
        assert!(!is_taken(&line), "{kind} with a surprise");
    }
}

#[test]
fn the_schema_knows_the_words_and_limits_that_the_drive_knows() {
    let schema = schema();
    for (kind, field, pointer) in
        [("instance", "state", "/instances/0/state"), ("notice", "kind", "/notices/0/kind")]
    {
        for word in schema["$defs"][kind]["properties"][field]["enum"].as_array().expect("words") {
            let mut line = full();
            *line.pointer_mut(pointer).expect("there") = word.clone();
            assert!(is_taken(&line), "{word}");
        }
    }
    for (kind, list) in [("observation", ""), ("instance", "/instances/0"), ("sample", "/samples/0")] {
        for (field, rules) in schema["$defs"][kind]["properties"].as_object().expect("fields") {
            for (limit, over) in [("minimum", -1.0), ("maximum", 1.0), ("exclusiveMinimum", 0.0)] {
                let Some(limit) = rules[limit].as_f64() else { continue };
                let mut line = full();
                let beyond = limit + over * limit.abs().max(1.0) * 1e-3;
                *line.pointer_mut(&format!("{list}/{field}")).expect("there") = json!(beyond);
                assert!(!is_taken(&line), "{kind}.{field} of {beyond}");
            }
        }
    }
}

#[test]
fn answers_are_as_the_schema_says() {
    let schema = schema();
    let sorted = |kind: &str| {
        let (known, mut required) = fields(&schema, kind);
        required.sort();
        assert_eq!(known, required);
        known
    };
    let (_, answers) = answers(&web(), format!("{}\nnonsense\n", full()).as_bytes());
    let keys =
        |answer: &Value| -> Vec<String> { answer.as_object().expect("an object").keys().cloned().collect() };
    assert_eq!((keys(&answers[0]), keys(&answers[1])), (sorted("decision"), sorted("error")));
}
