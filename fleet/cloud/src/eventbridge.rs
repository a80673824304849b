//! The world's events as EventBridge delivers them.

use fleet::{Backend, InstanceId, InstanceState, Timestamp};
use fleet_sim::{EventKind, FleetRecord, RecordType, ScheduledCode, ScheduledEvent, WorldEvent};
use serde_json::{Value, json};

/// An event as the body of a message. Its id is made of the account and the event's place, so that a message
/// delivered twice can be known by it.
pub(crate) fn message(event: &WorldEvent, region: &str, account: &str) -> String {
    // EC2's own samples show an instance's ARN in two shapes; both are sent, so that nobody relies on one.
    let (source, detail_type, resource, detail) = match &event.kind {
        EventKind::InterruptionWarning { instance, pool } => (
            "aws.ec2",
            "EC2 Spot Instance Interruption Warning".to_owned(),
            format!("arn:aws:ec2:{}:instance/{instance}", pool.zone),
            json!({"instance-id": instance, "instance-action": "terminate"}),
        ),
        EventKind::RebalanceRecommendation { instance, pool } => (
            "aws.ec2",
            "EC2 Instance Rebalance Recommendation".to_owned(),
            format!("arn:aws:ec2:{}:instance/{instance}", pool.zone),
            json!({"instance-id": instance}),
        ),
        EventKind::StateChange { instance, state } => (
            "aws.ec2",
            "EC2 Instance State-change Notification".to_owned(),
            format!("arn:aws:ec2:{region}:{account}:instance/{instance}"),
            json!({"instance-id": instance, "state": state_name(*state)}),
        ),
        EventKind::Scheduled { instance, event: planned } => (
            "aws.health",
            "AWS Health Event".to_owned(),
            instance.to_string(),
            health_detail(instance, planned, region),
        ),
        EventKind::Fleet { backend, fleet, record, pool } => {
            let (source, family, kind) = match backend {
                Backend::SpotFleet => ("aws.ec2spotfleet", "EC2 Spot Fleet", "spot-fleet-request"),
                Backend::Ec2Fleet => ("aws.ec2fleet", "EC2 Fleet", "fleet"),
            };
            let (suffix, detail) = fleet_detail(*backend, record, pool.as_ref());
            let resource = format!("arn:aws:ec2:{region}:{account}:{kind}/{fleet}");
            (source, format!("{family} {suffix}"), resource, detail)
        }
    };
    json!({
        "version": "0",
        "id": format!("{}-0000-4000-8000-{:012x}", &account[..account.len().min(8)], event.id),
        "detail-type": detail_type,
        "source": source,
        "account": account,
        // To the second, as EventBridge has it.
        "time": Timestamp::from_secs(event.at.secs()).to_string(),
        "region": region,
        "resources": [resource],
        "detail": detail,
    })
    .to_string()
}

/// A scheduled change, as AWS Health tells of it. Its times are RFC 1123's.
fn health_detail(instance: &InstanceId, planned: &ScheduledEvent, region: &str) -> Value {
    let code = match planned.code {
        ScheduledCode::InstanceReboot => "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED",
        ScheduledCode::SystemReboot => "AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED",
        ScheduledCode::SystemMaintenance => "AWS_EC2_SYSTEM_MAINTENANCE_SCHEDULED",
        ScheduledCode::InstanceRetirement => "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED",
        ScheduledCode::InstanceStop => "AWS_EC2_INSTANCE_STOP_SCHEDULED",
    };
    json!({
        "eventArn": format!("arn:aws:health:{region}::event/EC2/{code}/{code}_{instance}"),
        "service": "EC2",
        "eventTypeCode": code,
        "eventTypeCategory": "scheduledChange",
        "statusCode": "upcoming",
        "startTime": rfc1123(planned.not_before),
        "eventDescription": [{
            "language": "en_US",
            "latestDescription": format!("{} of one of your instances", planned.code.word()),
        }],
        "affectedEntities": [{"entityValue": instance}],
        "page": "1",
        "totalPages": "1",
    })
}

/// `Sun, 01 Mar 2026 10:00:00 GMT`.
fn rfc1123(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_second(at.secs()).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn fleet_detail(backend: Backend, record: &FleetRecord, pool: Option<&fleet::Pool>) -> (&'static str, Value) {
    let sub_type = sub_type(backend, record.sub_type);
    match record.record_type {
        RecordType::FleetRequestChange => ("State Change", json!({"sub-type": sub_type})),
        RecordType::InstanceChange => {
            let mut detail = json!({"instance-id": record.instance, "sub-type": sub_type});
            if let Some(pool) = pool {
                // A string of JSON within JSON: that is how it comes.
                let description = json!({
                    "instanceType": pool.instance_type,
                    "productDescription": "Linux/UNIX",
                    "availabilityZone": pool.zone,
                });
                detail["description"] = description.to_string().into();
            }
            ("Instance Change", detail)
        }
        RecordType::Information => {
            ("Information", json!({"sub-type": sub_type, "description": record.description}))
        }
        RecordType::Error => ("Error", json!({"sub-type": sub_type, "description": record.description})),
    }
}

/// A history's sub-type in EventBridge's words.
fn sub_type(backend: Backend, word: &str) -> String {
    match (backend, word) {
        (_, "modify_successful") => "modify_succeeded".to_owned(),
        (Backend::Ec2Fleet, word) => word.replace("cancelled", "deleted"),
        (Backend::SpotFleet, word) => word.to_owned(),
    }
}

/// EC2's word for a state.
pub(crate) const fn state_name(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Pending => "pending",
        InstanceState::Running => "running",
        InstanceState::ShuttingDown => "shutting-down",
        InstanceState::Terminated => "terminated",
        InstanceState::Stopping => "stopping",
        InstanceState::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::Pool;

    fn shown(kind: EventKind) -> Value {
        let at = Timestamp::from_millis(1_772_359_200_123);
        let event = WorldEvent { sequence: 9, id: 7, at, delivered: at, kind };
        serde_json::from_str(&message(&event, "eu-west-1", "123456789012")).expect("JSON")
    }

    #[test]
    fn an_interruption_warning_has_the_recorded_shape() {
        let event = shown(EventKind::InterruptionWarning {
            instance: "i-0abc".into(),
            pool: Pool::spot("m5.large", "eu-west-1a"),
        });
        let expected = json!({
            "version": "0",
            "id": "12345678-0000-4000-8000-000000000007",
            "detail-type": "EC2 Spot Instance Interruption Warning",
            "source": "aws.ec2",
            "account": "123456789012",
            "time": "2026-03-01T10:00:00Z",
            "region": "eu-west-1",
            "resources": ["arn:aws:ec2:eu-west-1a:instance/i-0abc"],
            "detail": {"instance-id": "i-0abc", "instance-action": "terminate"},
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn a_fleets_instance_change_carries_json_in_a_string() {
        let record = FleetRecord {
            at: Timestamp::EPOCH,
            record_type: RecordType::InstanceChange,
            sub_type: "termination_notified",
            instance: Some("i-0abc".into()),
            no_capacity: None,
            description: String::new(),
        };
        let event = shown(EventKind::Fleet {
            backend: Backend::SpotFleet,
            fleet: "sfr-1".into(),
            record,
            pool: Some(Pool::spot("m5.large", "eu-west-1a")),
        });
        assert_eq!(event["detail-type"], "EC2 Spot Fleet Instance Change");
        assert_eq!(event["source"], "aws.ec2spotfleet");
        assert_eq!(event["resources"][0], "arn:aws:ec2:eu-west-1:123456789012:spot-fleet-request/sfr-1");
        assert_eq!(event["detail"]["sub-type"], "termination_notified");
        let description: Value =
            serde_json::from_str(event["detail"]["description"].as_str().expect("a string")).expect("JSON");
        assert_eq!(description["availabilityZone"], "eu-west-1a");
    }

    #[test]
    fn a_scheduled_change_is_health_s_with_its_own_kind_of_time() {
        let not_before = Timestamp::parse("2026-03-05T08:00:00Z").expect("a time");
        let event = ScheduledEvent {
            code: ScheduledCode::InstanceRetirement,
            announced: Timestamp::EPOCH,
            not_before,
        };
        let event = shown(EventKind::Scheduled { instance: "i-0abc".into(), event });
        assert_eq!((&event["source"], &event["resources"][0]), (&json!("aws.health"), &json!("i-0abc")));
        assert_eq!(event["detail"]["startTime"], "Thu, 05 Mar 2026 08:00:00 GMT");
        assert_eq!(event["detail"]["affectedEntities"][0]["entityValue"], "i-0abc");
    }

    #[test]
    fn modifications_and_deletions_have_eventbridges_words() {
        assert_eq!(sub_type(Backend::SpotFleet, "modify_successful"), "modify_succeeded");
        assert_eq!(sub_type(Backend::Ec2Fleet, "cancelled_terminating"), "deleted_terminating");
        assert_eq!(sub_type(Backend::SpotFleet, "cancelled"), "cancelled");
    }
}
