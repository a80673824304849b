//! The world's events as EventBridge delivers them.

use fleet::{Backend, InstanceState};
use fleet_sim::{EventKind, FleetRecord, RecordType, WorldEvent};
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
        "id": format!("{}-0000-4000-8000-{:012x}", &account[..account.len().min(8)], event.sequence),
        "detail-type": detail_type,
        "source": source,
        "account": account,
        // To the second, as EventBridge has it.
        "time": fleet::Timestamp::from_secs(event.at.secs()).to_string(),
        "region": region,
        "resources": [resource],
        "detail": detail,
    })
    .to_string()
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
    use fleet::{Pool, Timestamp};

    fn shown(kind: EventKind) -> Value {
        let event = WorldEvent { sequence: 7, at: Timestamp::from_millis(1_772_359_200_123), kind };
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
    fn modifications_and_deletions_have_eventbridges_words() {
        assert_eq!(sub_type(Backend::SpotFleet, "modify_successful"), "modify_succeeded");
        assert_eq!(sub_type(Backend::Ec2Fleet, "cancelled_terminating"), "deleted_terminating");
        assert_eq!(sub_type(Backend::SpotFleet, "cancelled"), "cancelled");
    }
}
