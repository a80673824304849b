//! Readers of outside bytes, given anything. Run for a bounded count here; `cargo bolero test NAME` goes on.

use bolero::check;
use bootstrap_agent::host::Request;
use bootstrap_agent::readers;
use bootstrap_agent::status::Status;
use bootstrap_config::{File, Layer, begin, load, tag_layer};
use bootstrap_core::awx::{Answer, Callback, Job};
use bootstrap_core::{Entry, Reading, runnable};
use fleet::Timestamp;
use fleet::wire::{Identified, NoticesAccepted};
use fleet_identity::Trust;
use fleet_notices::imds;
use std::time::Duration;

/// Inputs of each target in a normal run.
const COUNT: usize = 5_000;

/// A text of its kind with anything put into it.
fn around(text: &str, more: &[u8], at: usize) -> Vec<u8> {
    let mut whole = text.as_bytes().to_vec();
    let at = at % (whole.len() + 1);
    whole.splice(at..at, more.iter().copied());
    whole
}

/// Gives a reader anything, and texts of its kind with anything in them.
fn reads(kinds: &[&str], reader: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    check!().with_iterations(COUNT).with_type::<(Vec<u8>, usize)>().for_each(|(more, at)| {
        reader(more);
        for kind in kinds {
            reader(&around(kind, more, *at));
        }
    });
}

#[test]
fn any_bytes_are_a_notice_or_none() {
    let seen = Timestamp::from_secs(1_767_225_600);
    let kinds = [
        r#"{"action":"terminate","time":"2026-01-01T00:02:00Z"}"#,
        r#"{"noticeTime":"2026-01-01T00:00:00Z"}"#,
        r#"[{"NotBefore":"21 Jan 2026 09:00:43 GMT","Code":"system-reboot","State":"active","EventId":"e"}]"#,
        "2026-01-01T00:02:00Z",
    ];
    reads(&kinds, |body| {
        let text = String::from_utf8_lossy(body);
        let _ = imds::instance_action(&text, seen);
        let _ = imds::termination_time(&text, seen);
        let _ = imds::rebalance(&text, seen);
        let _ = imds::scheduled(&text, seen);
    });
}

#[test]
fn any_bytes_prove_nobody() {
    use base64::Engine as _;
    let trust = Trust::default();
    reads(&["MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgkqhkiG9w0BBwGggCSABAJ7fQ=="], |body| {
        assert!(trust.open(&String::from_utf8_lossy(body)).is_err());
        assert!(trust.open(&base64::engine::general_purpose::STANDARD.encode(body)).is_err());
    });
}

#[test]
fn any_bytes_are_an_answer_of_awx() {
    let kinds = [
        r#"{"msg":"Host callback job already pending."}"#,
        r#"{"id":17,"status":"failed","job_explanation":"x","event_processing_finished":true}"#,
    ];
    reads(&kinds, |body| {
        let text = String::from_utf8_lossy(body).into_owned();
        let first = body.first().copied().unwrap_or_default();
        for status in [200, 201, 302, 400, 403, 404, 429, 500, u16::from(first)] {
            let (location, retry_after) = (Some(text.clone()), Some(Duration::MAX));
            let answer = Answer::Http { status, location, retry_after, body: body.to_vec() };
            let _ = Callback::default().answered(&answer, Duration::ZERO);
        }
        if let Ok(job) = serde_json::from_slice::<Job>(body) {
            let failure = job.failure("x".to_owned(), &text, 20);
            assert!(failure.tail.len() <= 20 && failure.what.chars().count() < 2_000 + job.status.len());
        }
    });
}

#[test]
fn any_bytes_are_an_answer_of_nomad_or_none() {
    let kinds = [
        r#"{"config":{"NodeName":"i-1","Client":{"NodePool":"a"}},"stats":{"client":{"node_id":"x","last_heartbeat":"1.5s","heartbeat_ttl":"15s"}}}"#,
        r#"{"Status":"ready","NodePool":"a","SchedulingEligibility":"eligible","Attributes":{},"Drivers":{}}"#,
        "1h2m3.5s",
    ];
    reads(&kinds, readers::nomad);
}

#[test]
fn any_bytes_are_a_job_of_awx_its_end_or_none() {
    let kinds = [
        r#"{"results":[{"id":7,"created":"2026-01-01T00:00:00Z","extra_vars":"{\"instance_id\":\"i-0123456789abcdef0\"}"}]}"#,
        r#"{"range":{"start":0},"content":"x"}"#,
        r#"{"job":17,"instance":"i-0123456789abcdef0","status":"failed","message":"a\nb"}"#,
    ];
    reads(&kinds, readers::awx);
}

#[test]
fn any_bytes_are_an_answer_of_consul_or_none() {
    let kinds = [
        r#"{"Config":{"NodeName":"i-0123456789abcdef0"}}"#,
        r#"{"Service":"web","Tags":["a"],"Meta":{"a":"b"},"Address":"","Port":80}"#,
        r#"[{"Node":{"Address":"::1"},"Service":{"Address":"","Port":80,"Tags":["http"]}}]"#,
        r#"[{"Value":"eyJlbmRlZCI6WyJpLTEiXX0=","ModifyIndex":7}]"#,
        r#""127.0.0.1:8300""#,
    ];
    reads(&kinds, readers::consul);
}

#[test]
fn any_bytes_are_an_answer_of_the_autoscaler_or_none() {
    let kinds = [r#"{"token":"t","expires":1767225600000}"#, r#"{"accepted":2,"confirmed":2,"leader":true}"#];
    reads(&kinds, |body| {
        let _ = serde_json::from_slice::<Identified>(body);
        let _ = serde_json::from_slice::<NoticesAccepted>(body);
    });
}

#[test]
fn any_text_is_of_an_exporter_or_of_another_node() {
    let kinds = [
        "node_cpu_seconds_total{cpu=\"0\"} 1\nnode_uname_info{nodename=\"a\"} 1\n",
        "Thu, 01 Jan 1970 00:01:40 GMT",
    ];
    reads(&kinds, |body| readers::shown(&String::from_utf8_lossy(body)));
}

#[test]
fn any_text_lists_tags_that_are_documents_beside_each_other_or_none() {
    let directory = "http://169.254.169.254/latest/meta-data/tags/instance";
    let ours = ["muster.nomad.node_pool", "muster.awx.template"];
    let others = ["Name", "muster.a/b", "muster.a?b", "muster.a#b", "muster.a%2fb"];
    let listed = [&ours[..], &others[..]].concat().join("\n");
    assert_eq!(readers::tags(&listed), ours);
    reads(&[&listed], |body| {
        let text = String::from_utf8_lossy(body);
        let keys = readers::tags(&text);
        assert!(keys.len() <= 64, "{}", keys.len());
        for key in keys {
            let url = reqwest::Url::parse(&format!("{directory}/{key}")).expect("an address");
            let last = url.path_segments().and_then(|mut parts| parts.next_back());
            assert_eq!((last, url.query(), url.fragment()), (Some(key), None, None));
        }
    });
}

#[test]
fn any_text_is_a_registrys_or_none() {
    let kinds = [
        r#"{"schemaVersion":2}"#,
        r#"{"token":"t","access_token":"t"}"#,
        r#"{"auths":{"r":{"auth":"eDp5"}}}"#,
        r#"Bearer realm="https://a",service="b",scope="c""#,
        "r/a:1",
    ];
    reads(&kinds, |body| readers::registry(&String::from_utf8_lossy(body)));
}

#[test]
fn any_text_is_a_configuration_or_has_problems() {
    reads(&["nomad {\n  node_pool = \"web\"\n}\n", "step \"awx\" {\n  attempt = \"30s\"\n}\n"], |body| {
        let text = String::from_utf8_lossy(body).into_owned();
        let file = File::new("x.hcl", text.clone());
        let _ = begin(std::slice::from_ref(&file));
        if let Err(problems) = load(&[Layer::Image(file.clone()), Layer::Parameter(file)]) {
            let _ = problems.render(false);
        }
        if let Some(tag) = tag_layer(&format!("{}{text}", bootstrap_config::TAG_PREFIX), &text) {
            let _ = load(&[tag]);
        }
    });
}

#[test]
fn any_bytes_on_disk_are_a_line_a_status_or_a_request_or_none() {
    let kinds = [
        r#"{"step":"awx","phase":"intent","inputs":"d","at":1,"note":"job 17"}"#,
        r#"{"place":{"file":"a","contents":"b"}}"#,
        r#"{"version":"1","pid":1,"started":1,"updated":1,"condition":"done","steps":[]}"#,
    ];
    reads(&kinds, |body| {
        let _ = serde_json::from_slice::<Entry>(body);
        let _ = serde_json::from_slice::<Request>(body);
        let _ = serde_json::from_slice::<Status>(body);
    });
}

#[test]
fn any_bytes_that_an_agent_may_have_left_are_what_it_knew_or_nothing_and_prove_nobody() {
    let kinds = [
        r#"{"pkcs7":"MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgkqhkiG9w0BBwGggCSABAJ7fQ==","life_cycle":"spot"}"#,
        r#"{"parameters":[["/muster/web/nomad","nomad {\n  node_pool = \"web\"\n}\n"]],"tags":[["muster.awx.template","7"]]}"#,
    ];
    reads(&kinds, |body| assert!(!readers::left(body)));
}

#[test]
fn any_text_is_the_kernels_counters_or_none() {
    let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8\nprocs_running 3\n";
    let pressure = "some avg10=1.5 avg60=0.00 avg300=0.00 total=12\n";
    reads(&[stat, pressure], |body| {
        let text = String::from_utf8_lossy(body);
        let _ = Reading::parse(&text, Some(&text));
        let _ = Reading::parse(stat, Some(&text));
        let _ = runnable(&text);
    });
}
