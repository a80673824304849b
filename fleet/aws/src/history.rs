//! What happened to a fleet, by its own history.

use crate::action::Action;
use crate::client::InRegion;
use crate::words;
use aws_sdk_ec2::types::EventInformation;
use aws_smithy_types::DateTime;
use fleet::{ApiError, Backend, FleetRef, HistoryEvent, HistoryKind, InstanceId, Timestamp};
use fleet_notices::{FailedLaunch, Shortage, failed_launch, shortage};

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
        (kind @ ("error" | "serviceerror" | "information"), sub_type) => match shortage(sub_type, text) {
            Some(Shortage { instance_type, zone, price }) => {
                HistoryKind::NoCapacity { instance_type, zone, price }
            }
            None => match failed_launch(kind != "information", sub_type, text) {
                Some(FailedLaunch { instance_type, zone }) => {
                    HistoryKind::LaunchFailed { instance_type, zone }
                }
                None if kind == "information" => HistoryKind::Other,
                None => HistoryKind::Error,
            },
        },
        _ => HistoryKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_that_had_nothing_is_named() {
        let text = "c5.12xlarge, ami-0abc, Linux/UNIX, us-east-1b: Spot price $0.02 is less than Spot market price $0.0619.";
        let expected = HistoryKind::NoCapacity {
            instance_type: Some("c5.12xlarge".into()),
            zone: Some("us-east-1b".into()),
            price: Some(fleet::UsdPerHour::from_micros(61_900)),
        };
        for (kind, sub_type) in [
            ("error", "spotFleetRequestConfigurationInvalid"),
            ("information", "launchSpecTemporarilyBlacklisted"),
            ("service-error", ""),
        ] {
            assert_eq!(kind_of(kind, sub_type, text), expected, "{kind} {sub_type}");
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
}
