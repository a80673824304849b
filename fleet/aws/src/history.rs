//! What happened to a fleet, by its own history.

use crate::action::Action;
use crate::client::InRegion;
use crate::words;
use aws_sdk_ec2::types::EventInformation;
use aws_smithy_types::DateTime;
use fleet::{
    ApiError, Backend, FleetRef, HistoryEvent, HistoryKind, InstanceId, InstanceType, Timestamp, UsdPerHour,
    Zone,
};

/// The most events that are answered.
const MOST_EVENTS: usize = 1000;
/// The longest description that is kept, in bytes.
const LONGEST_DESCRIPTION: usize = 1024;

/// Events since a time, oldest first.
pub(crate) async fn read(
    region: &InRegion,
    fleet: &FleetRef,
    since: Timestamp,
) -> Result<Vec<HistoryEvent>, ApiError> {
    let mut events = match fleet.backend {
        Backend::SpotFleet => of_spot_fleet(region, fleet, since).await?,
        Backend::Ec2Fleet => of_ec2_fleet(region, fleet, since).await?,
    };
    // A stable sort: what happened at one time stays in EC2's order.
    events.sort_by_key(|event| event.at);
    events.truncate(MOST_EVENTS);
    Ok(events)
}

async fn of_spot_fleet(
    region: &InRegion,
    fleet: &FleetRef,
    since: Timestamp,
) -> Result<Vec<HistoryEvent>, ApiError> {
    let send = |token| {
        let call = region.ec2.describe_spot_fleet_request_history();
        call.spot_fleet_request_id(fleet.id.as_str())
            .start_time(words::datetime(since))
            .max_results(1000)
            .set_next_token(token)
            .send()
    };
    let records = region.pages(Action::DescribeSpotFleetRequestHistory, MOST_EVENTS, send, |page| {
        (page.history_records.unwrap_or_default(), page.next_token)
    });
    let event = |record: &aws_sdk_ec2::types::HistoryRecord| {
        translate(record.timestamp(), record.event_type(), record.event_information())
    };
    Ok(records.await?.iter().map(event).collect())
}

async fn of_ec2_fleet(
    region: &InRegion,
    fleet: &FleetRef,
    since: Timestamp,
) -> Result<Vec<HistoryEvent>, ApiError> {
    let send = |token| {
        let call = region.ec2.describe_fleet_history();
        call.fleet_id(fleet.id.as_str())
            .start_time(words::datetime(since))
            .max_results(1000)
            .set_next_token(token)
            .send()
    };
    let records = region.pages(Action::DescribeFleetHistory, MOST_EVENTS, send, |page| {
        (page.history_records.unwrap_or_default(), page.next_token)
    });
    let event = |record: &aws_sdk_ec2::types::HistoryRecordEntry| {
        translate(record.timestamp(), record.event_type(), record.event_information())
    };
    Ok(records.await?.iter().map(event).collect())
}

fn translate(
    at: Option<&DateTime>,
    kind: Option<&impl AsRef<str>>,
    information: Option<&EventInformation>,
) -> HistoryEvent {
    let sub_type = information.and_then(EventInformation::event_sub_type).unwrap_or_default();
    let text = information.and_then(EventInformation::event_description).unwrap_or_default();
    let description = match (sub_type, text) {
        ("", text) => text.to_owned(),
        (sub_type, "") => sub_type.to_owned(),
        (sub_type, text) => format!("{sub_type}: {text}"),
    };
    HistoryEvent {
        at: words::time(at),
        kind: kind_of(kind.map_or("", AsRef::as_ref), sub_type, text),
        instance: information.and_then(EventInformation::instance_id).map(InstanceId::new),
        description: bounded(description),
    }
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_DESCRIPTION));
    text
}

/// Both services' words: `instanceChange` is `instance-change`, `error` is `service-error`.
fn kind_of(kind: &str, sub_type: &str, text: &str) -> HistoryKind {
    match (words::plain(kind).as_str(), words::plain(sub_type).as_str()) {
        ("instancechange", "launched") => HistoryKind::Launched,
        ("instancechange", "terminated" | "terminationnotified") => HistoryKind::Terminated,
        ("fleetrequestchange" | "fleetchange", _) => HistoryKind::FleetChange,
        ("error" | "serviceerror" | "information", sub_type) if is_lack_of_capacity(sub_type, text) => {
            let details = Details::of(text);
            HistoryKind::NoCapacity {
                instance_type: details.instance_type,
                zone: details.zone,
                price: details.price,
            }
        }
        ("error" | "serviceerror", _) => HistoryKind::Error,
        _ => HistoryKind::Other,
    }
}

/// Whether a pool had nothing to give: for want of machines, of quota, or at the price that the fleet would pay.
fn is_lack_of_capacity(sub_type: &str, text: &str) -> bool {
    const SIGNS: [&str; 8] = [
        "insufficientinstancecapacity",
        "insufficient capacity",
        "no spot capacity available",
        "unfulfillablecapacity",
        "maxspotinstancecountexceeded",
        "vcpulimitexceeded",
        "spotmaxpricetoolow",
        "less than spot market price",
    ];
    let text = text.to_ascii_lowercase();
    matches!(sub_type, "launchspecunusable" | "spotinstancecountlimitexceeded")
        || SIGNS.iter().any(|sign| text.contains(sign))
}

/// What a description names. It is JSON (`{"instanceType":"m5.large",…,"availabilityZone":"eu-west-1a"}`) or a
/// sentence (`m5.large, ami-0…, Linux/UNIX, eu-west-1a, …`), and in both the words themselves tell what they
/// are: nothing else looks like a type or a zone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Details {
    instance_type: Option<InstanceType>,
    zone: Option<Zone>,
    price: Option<UsdPerHour>,
}

impl Details {
    fn of(text: &str) -> Self {
        let mut details = Self::default();
        let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '$')));
        for word in parts.map(|part| part.trim_matches(['.', '-'])) {
            if details.instance_type.is_none() && is_instance_type(word) {
                details.instance_type = Some(InstanceType::new(word));
            } else if details.zone.is_none() && is_zone(word) {
                details.zone = Some(Zone::new(word));
            } else if let Some(price) = word.strip_prefix('$') {
                // The price that was bid stands before that of the market.
                details.price = price.parse().ok().or(details.price);
            }
        }
        details
    }
}

/// `m5.large`, `c6gd.12xlarge`, `u-6tb1.metal`.
fn is_instance_type(word: &str) -> bool {
    let Some((family, size)) = word.split_once('.') else { return false };
    let sizes = ["nano", "micro", "small", "medium", "large"];
    family.starts_with(|c: char| c.is_ascii_lowercase())
        && family.contains(|c: char| c.is_ascii_digit())
        && (sizes.contains(&size) || size.ends_with("xlarge") || size.starts_with("metal"))
}

/// `eu-west-1a`, `us-gov-east-1b`, `us-west-2-lax-1a`.
fn is_zone(word: &str) -> bool {
    let mut parts = word.split('-');
    let place =
        parts.next().is_some_and(|place| place.len() == 2 && place.bytes().all(|b| b.is_ascii_lowercase()));
    let last = parts.next_back().unwrap_or_default();
    let lettered = last.strip_suffix(|c: char| c.is_ascii_lowercase());
    let numbered =
        lettered.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    place && numbered && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_capacity(instance_type: &str, zone: Option<&str>, price: Option<u64>) -> HistoryKind {
        HistoryKind::NoCapacity {
            instance_type: Some(instance_type.into()),
            zone: zone.map(Zone::from),
            price: price.map(UsdPerHour::from_micros),
        }
    }

    #[test]
    fn the_pool_that_had_nothing_is_read_from_sentences_and_from_json() {
        for (kind, sub_type, text, expected) in [
            (
                "error",
                "spotFleetRequestConfigurationInvalid",
                "m3.large, ami-00413793e4d8a02c8, Linux/UNIX: There is no Spot capacity available that matches your request.",
                no_capacity("m3.large", None, None),
            ),
            (
                "information",
                "launchSpecTemporarilyBlacklisted",
                "c5.12xlarge, ami-0abc, Linux/UNIX, us-east-1b, while launching instances: InsufficientInstanceCapacity",
                no_capacity("c5.12xlarge", Some("us-east-1b"), None),
            ),
            (
                "service-error",
                "",
                r#"{"instanceType":"m5.large","image":"ami-0abc","availabilityZone":"us-west-2-lax-1a","error":"InsufficientInstanceCapacity"}"#,
                no_capacity("m5.large", Some("us-west-2-lax-1a"), None),
            ),
            (
                "information",
                "launchSpecUnusable",
                "c3.large, ami-0abc, Linux/UNIX, us-east-1a: Spot price $0.0200 is less than Spot market price $0.0619.",
                no_capacity("c3.large", Some("us-east-1a"), Some(61_900)),
            ),
        ] {
            assert_eq!(kind_of(kind, sub_type, text), expected, "{text}");
        }
    }

    #[test]
    fn both_services_words_mean_the_same_and_new_ones_do_no_harm() {
        for (kind, sub_type, expected) in [
            ("instanceChange", "launched", HistoryKind::Launched),
            ("instance-change", "launched", HistoryKind::Launched),
            ("instance-change", "termination_notified", HistoryKind::Terminated),
            ("fleetRequestChange", "modify_succeeded", HistoryKind::FleetChange),
            ("fleet-change", "modify_in_progress", HistoryKind::FleetChange),
            ("error", "iamFleetRoleInvalid", HistoryKind::Error),
            ("service-error", "", HistoryKind::Error),
            ("information", "fleetProgressHalted", HistoryKind::Other),
            ("astrology", "retrograde", HistoryKind::Other),
        ] {
            assert_eq!(kind_of(kind, sub_type, "nothing to see"), expected, "{kind} {sub_type}");
        }
    }

    #[test]
    fn long_descriptions_are_cut_between_characters() {
        assert_eq!(bounded("é".repeat(600)).len(), 1024);
        assert_eq!(bounded(format!("x{}", "é".repeat(600))).len(), 1023);
    }

    #[test]
    fn words_that_only_resemble_types_and_zones_are_neither() {
        for word in ["ami-0abc", "ami.small", "1.large", "Linux", "1.5"] {
            assert!(!is_instance_type(word), "{word}");
        }
        for word in ["us-east-1", "ami-0a", "eu-1a", "abc-west-1a", "sg-12-b"] {
            assert!(!is_zone(word), "{word}");
        }
    }
}
