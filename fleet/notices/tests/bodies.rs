//! Bodies in every shape that AWS documents or was seen to send, and what is read from them.

use fleet::{InstanceState, News, Notice, NoticeKind, NoticeSource, Timestamp};
use fleet_notices::{Unread, eventbridge};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

const INSTANCE: &str = "i-0b662ef9931388ba0";
const SPOT_FLEET: &str = "sfr-bdd37bf8-cbae-4da5-b2ef-46d8ba5aa52f";
const EC2_FLEET: &str = "fleet-598fb973-87b7-422d-be4d-6b0809bfff0a";

/// Every body, by its file's name.
fn bodies() -> &'static BTreeMap<String, String> {
    static BODIES: LazyLock<BTreeMap<String, String>> = LazyLock::new(read_bodies);
    &BODIES
}

fn read_bodies() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bodies");
    let files = std::fs::read_dir(folder).expect("the folder of bodies");
    let read = |file: std::fs::DirEntry| {
        let name = file.path().file_stem().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(file.path()).expect("text"))
    };
    files.map(|file| read(file.expect("a file"))).collect()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}
/// When the events happened; they were sent a second later.
fn happened() -> Timestamp {
    at("2026-03-01T08:00:00Z")
}
fn sent() -> Timestamp {
    happened() + Duration::from_secs(1)
}
fn notice(kind: NoticeKind, deadline: Option<Timestamp>) -> News {
    let source = NoticeSource::EventBridge;
    News::Notice(Notice { instance: INSTANCE.into(), kind, source, at: happened(), deadline })
}
fn later(seconds: u64) -> Timestamp {
    happened() + Duration::from_secs(seconds)
}
fn called_off(instance: &str) -> News {
    News::CalledOff { instance: instance.into(), at: happened() }
}
fn state(state: InstanceState) -> News {
    News::State { instance: INSTANCE.into(), state, at: happened() }
}
fn changed(fleet: &str) -> News {
    News::FleetChanged { fleet: fleet.into(), at: happened() }
}
fn launched(fleet: &str) -> News {
    News::Launched { fleet: fleet.into(), instance: INSTANCE.into(), at: happened() }
}
fn no_capacity(fleet: &str, instance_type: &str, zone: &str) -> News {
    let (instance_type, zone) = (Some(instance_type.into()), Some(zone.into()));
    News::NoCapacity { fleet: fleet.into(), instance_type, zone, at: happened() }
}

/// What each body says; `None`: it is a dead letter.
fn expected(name: &str) -> Option<Vec<News>> {
    use NoticeKind::{FleetScaleIn, RebalanceRecommendation, ScheduledEvent, SpotInterruption};
    let starts = Some(at("2026-06-05T15:10:09Z"));
    Some(match name {
        "interruption_warning" | "interruption_warning_zonal_arn" | "through_sns" => {
            vec![notice(SpotInterruption, Some(later(120)))]
        }
        "interruption_warning_hibernate" => vec![notice(SpotInterruption, Some(later(0)))],
        "rebalance_recommendation" => vec![notice(RebalanceRecommendation, None)],
        "state_change" => vec![state(InstanceState::ShuttingDown)],
        "spot_fleet_instance_launched" => vec![launched(SPOT_FLEET)],
        "ec2_fleet_instance_launched" => vec![launched(EC2_FLEET)],
        "spot_fleet_instance_terminated" | "ec2_fleet_instance_terminated" => {
            vec![state(InstanceState::Terminated)]
        }
        "spot_fleet_instance_termination_notified" | "ec2_fleet_instance_termination_notified" => {
            vec![notice(FleetScaleIn, Some(later(120)))]
        }
        "spot_fleet_state_change" | "spot_fleet_request_change" => vec![changed(SPOT_FLEET)],
        "ec2_fleet_state_change" | "ec2_fleet_request_change" | "ec2_fleet_halted" | "ec2_fleet_error" => {
            vec![changed(EC2_FLEET)]
        }
        "spot_fleet_information" => vec![no_capacity(SPOT_FLEET, "m3.large", "eu-west-1a")],
        "ec2_fleet_information" => vec![no_capacity(EC2_FLEET, "c4.xlarge", "eu-west-1a")],
        "spot_fleet_error" => vec![no_capacity(SPOT_FLEET, "m5.large", "eu-west-1b")],
        "spot_fleet_error_launch" => {
            let (instance_type, zone) = ("c5.12xlarge".into(), None);
            vec![News::LaunchFailed { fleet: SPOT_FLEET.into(), instance_type, zone, at: happened() }]
        }
        "health_retirement" => {
            let first = notice(ScheduledEvent, starts);
            let mut second = first.clone();
            if let News::Notice(notice) = &mut second {
                notice.instance = "i-abcd1111".into();
            }
            vec![first, second, called_off("i-0done1111")]
        }
        "health_closed" => [INSTANCE, "i-abcd1111", "i-0done1111"].map(called_off).to_vec(),
        "health_other_service" | "health_issue" => vec![],
        "autoscaling_lifecycle" => return None,
        other => panic!("nobody says what {other}.json says"),
    })
}

#[test]
fn every_documented_body_says_what_its_documentation_says() {
    let bodies = bodies();
    assert_eq!(bodies.len(), 27, "a body was added or lost");
    for (name, body) in bodies {
        assert_eq!(eventbridge::read(body, sent()).ok(), expected(name), "{name}");
    }
}

#[test]
fn an_event_is_never_younger_than_its_message_and_without_a_time_it_is_as_old() {
    let body = &bodies()["interruption_warning"];
    for (time, expected) in [
        ("2026-03-01T08:00:00Z", happened()),
        ("2026-03-01T09:00:00Z", sent()),
        ("soon", sent()),
        ("", sent()),
    ] {
        let news = eventbridge::read(&body.replace("2026-03-01T08:00:00Z", time), sent());
        assert_eq!(news.map(|news| news[0].at()), Ok(expected), "{time}");
    }
}

#[test]
fn an_instance_is_never_taken_from_an_arn() {
    let body = bodies()["interruption_warning"].replace("\"instance-id\"", "\"instance\"");
    assert_eq!(
        eventbridge::read(&body, sent()),
        Err(Unread::Missing { field: "detail.instance-id" }),
        "its ARN names one, and that does not count"
    );
}

#[test]
fn what_says_nothing_becomes_a_reason_that_shows_little_of_it() {
    let long = "x".repeat(1000);
    let event = |origin: &str| format!(r#"{{"source":"{origin}","detail-type":"{long}","detail":{{}}}}"#);
    for (body, label) in [
        (String::new(), "not_json"),
        ("<html>".to_owned(), "not_json"),
        ("[".repeat(100_000), "not_json"),
        ("[]".to_owned(), "missing"),
        ("null".to_owned(), "missing"),
        (r#"{"Event":"autoscaling:TEST_NOTIFICATION"}"#.to_owned(), "missing"),
        (event("aws.ec2"), "unknown"),
        (event("aws.ec2fleet"), "unknown"),
        (event("com.example.shop"), "unknown"),
        (" ".repeat(256 * 1024 + 1), "too_large"),
    ] {
        let unread = eventbridge::read(&body, sent()).expect_err("nothing to read");
        assert_eq!(unread.label(), label, "{unread}");
        assert!(unread.to_string().len() < 300, "{unread}");
    }
}

/// Something done to a text.
#[derive(Clone, Debug)]
enum Mutation {
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, String),
    Double(usize, usize),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let places = || 0..2000usize;
    let piece = prop_oneof![
        Just("\"".to_owned()),
        Just("{".to_owned()),
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("-1e999".to_owned()),
        Just("\\ud800".to_owned()),
        any::<String>(),
    ];
    let mutation = prop_oneof![
        places().prop_map(Mutation::Cut),
        (places(), 0..40usize).prop_map(|(from, length)| Mutation::Remove(from, length)),
        (places(), piece).prop_map(|(from, text)| Mutation::Insert(from, text)),
        (places(), 0..40usize).prop_map(|(from, length)| Mutation::Double(from, length)),
    ];
    prop::collection::vec(mutation, 1..4)
}

fn mutated(body: &str, mutations: &[Mutation]) -> String {
    let mut body: Vec<char> = body.chars().collect();
    for mutation in mutations {
        let clamp = |at: &usize, body: &Vec<char>| *at % (body.len() + 1);
        match mutation {
            Mutation::Cut(at) => body.truncate(clamp(at, &body)),
            Mutation::Remove(from, length) => {
                let from = clamp(from, &body);
                let to = (from + length).min(body.len());
                body.drain(from..to);
            }
            Mutation::Insert(at, text) => {
                let at = clamp(at, &body);
                body.splice(at..at, text.chars());
            }
            Mutation::Double(from, length) => {
                let from = clamp(from, &body);
                let to = (from + length).min(body.len());
                let piece = body[from..to].to_vec();
                body.splice(from..from, piece);
            }
        }
    }
    body.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_mutated_body_is_read_or_refused_and_never_panics(
        which in any::<prop::sample::Index>(),
        mutations in mutations(),
    ) {
        let bodies: Vec<&str> = bodies().values().map(String::as_str).collect();
        let body = mutated(which.get::<&str>(&bodies), &mutations);
        if let Ok(news) = eventbridge::read(&body, sent()) {
            for news in news {
                prop_assert!(news.at() <= sent());
                if let Some(id) = news.instance() {
                    prop_assert!(id.as_str().starts_with("i-") && id.as_str().len() <= 34);
                }
            }
        }
    }

    #[test]
    fn no_text_makes_the_metadata_service_s_readers_panic(body in any::<String>(), millis in any::<i64>()) {
        use fleet_notices::imds;
        let seen = Timestamp::from_millis(millis);
        let read = [
            imds::instance_action(&body, seen).is_ok(),
            imds::rebalance(&body, seen).is_ok(),
            imds::scheduled(&body, seen).is_ok(),
        ];
        prop_assert!(imds::termination_time(&body, seen).is_none() || !read[0]);
    }
}
