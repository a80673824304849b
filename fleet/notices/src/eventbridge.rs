//! EventBridge's messages, as SQS delivers them, or SNS through SQS.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitor-ec2-fleet-using-eventbridge.html>,
//! <https://docs.aws.amazon.com/health/latest/ug/aws-health-events-eventbridge-schema.html>

use crate::{FailedLaunch, SPOT_NOTICE, Unread, failed_launch, shortage, words};
use fleet::{FleetId, InstanceId, InstanceState, News, Notice, NoticeKind, NoticeSource, Timestamp};
use serde_json::Value;

/// Reads a message.
///
/// * `body`: what the queue delivered: the event itself, or SNS's notification of it.
/// * `sent`: when it was sent to the queue. An event is never younger, and one that does not say when it happened
///   happened then.
/// * returns: what it says, in the order in which it says it; nothing when it is about nothing that matters here
///   (Health's word on another service).
///
/// Instances are taken from `detail` alone: their ARNs come in several shapes. O(n) in the body.
pub fn read(body: &str, sent: Timestamp) -> Result<Vec<News>, Unread> {
    let outer = words::json(body)?;
    let inner = of_sns(&outer).map(words::json).transpose()?;
    Event::new(inner.as_ref().unwrap_or(&outer), sent)?.news()
}

/// The message within a notification of SNS.
fn of_sns(body: &Value) -> Option<&str> {
    let notification = words::text(body, "Type")? == "Notification";
    words::text(body, "Message").filter(|_| notification)
}

/// An event, with what all of them have.
struct Event<'a> {
    origin: &'a str,
    detail_type: &'a str,
    at: Timestamp,
    resources: &'a Value,
    detail: &'a Value,
}

impl<'a> Event<'a> {
    fn new(event: &'a Value, sent: Timestamp) -> Result<Self, Unread> {
        let missing = |field| Unread::Missing { field };
        let said = words::text(event, "time").and_then(words::time);
        Ok(Self {
            origin: words::text(event, "source").ok_or(missing("source"))?,
            detail_type: words::text(event, "detail-type").ok_or(missing("detail-type"))?,
            at: said.map_or(sent, |said| said.min(sent)),
            resources: event.get("resources").unwrap_or(&Value::Null),
            detail: event.get("detail").filter(|detail| detail.is_object()).ok_or(missing("detail"))?,
        })
    }

    fn news(&self) -> Result<Vec<News>, Unread> {
        match (self.origin, self.detail_type) {
            ("aws.ec2", "EC2 Spot Instance Interruption Warning") => self.interruption().map(one),
            ("aws.ec2", "EC2 Instance Rebalance Recommendation") => {
                Ok(one(self.notice(self.instance()?, NoticeKind::RebalanceRecommendation, None)))
            }
            ("aws.ec2", "EC2 Instance State-change Notification") => self.state_change().map(one),
            ("aws.health", "AWS Health Event") => self.health(),
            ("aws.ec2spotfleet", kind) => self.of_fleet(kind.strip_prefix("EC2 Spot Fleet ")),
            ("aws.ec2fleet", kind) => self.of_fleet(kind.strip_prefix("EC2 Fleet ")),
            _ => Err(self.unknown()),
        }
    }

    fn unknown(&self) -> Unread {
        Unread::Unknown { origin: words::shown(self.origin), detail_type: words::shown(self.detail_type) }
    }
    fn instance(&self) -> Result<InstanceId, Unread> {
        words::instance("detail.instance-id", words::text(self.detail, "instance-id"))
    }
    fn notice(&self, instance: InstanceId, kind: NoticeKind, deadline: Option<Timestamp>) -> News {
        News::Notice(Notice { instance, kind, source: NoticeSource::EventBridge, at: self.at, deadline })
    }

    /// The message does not carry the time of the action: it follows two minutes after. Hibernation begins at
    /// once.
    fn interruption(&self) -> Result<News, Unread> {
        let at_once = words::text(self.detail, "instance-action") == Some("hibernate");
        let deadline = if at_once { self.at } else { self.at + SPOT_NOTICE };
        Ok(self.notice(self.instance()?, NoticeKind::SpotInterruption, Some(deadline)))
    }

    fn state_change(&self) -> Result<News, Unread> {
        const FIELD: &str = "detail.state";
        let word = words::text(self.detail, "state").ok_or(Unread::Missing { field: FIELD })?;
        let odd = || Unread::Odd { field: FIELD, value: words::shown(word) };
        let state = words::state(word).ok_or_else(odd)?;
        Ok(News::State { instance: self.instance()?, state, at: self.at })
    }

    /// Scheduled changes of EC2 instances. Health tells of much else, and of their end, too: of the whole, or for one of
    /// the instances.
    fn health(&self) -> Result<Vec<News>, Unread> {
        let is = |object, field, word: &str| {
            words::text(object, field).is_some_and(|text| text.eq_ignore_ascii_case(word))
        };
        if !is(self.detail, "service", "EC2") || !is(self.detail, "eventTypeCategory", "scheduledChange") {
            return Ok(Vec::new());
        }
        let closed = is(self.detail, "statusCode", "closed");
        let start = words::text(self.detail, "startTime").filter(|_| !closed);
        let odd = |text| Unread::Odd { field: "detail.startTime", value: words::shown(text) };
        let start = start.map(|text| words::time(text).ok_or_else(|| odd(text))).transpose()?;
        let entities = self.detail.get("affectedEntities").and_then(Value::as_array);
        let news = entities.into_iter().flatten().filter_map(|entity| {
            // Volumes and other things can be affected, too.
            let id = words::text(entity, "entityValue")?;
            let instance = words::instance("detail.affectedEntities", Some(id)).ok()?;
            Some(if closed || is(entity, "status", "resolved") {
                News::CalledOff { instance, at: self.at }
            } else {
                self.notice(instance, NoticeKind::ScheduledEvent, start)
            })
        });
        Ok(news.collect())
    }

    /// * `kind`: the detail type behind the service's name.
    fn of_fleet(&self, kind: Option<&str>) -> Result<Vec<News>, Unread> {
        let sub_type = words::text(self.detail, "sub-type").unwrap_or_default();
        Ok(one(match kind {
            Some("State Change" | "Spot Instance Request Change") => self.fleet_changed()?,
            Some("Instance Change") => self.instance_change(sub_type)?,
            Some("Information") => self.trouble(false, sub_type)?,
            Some("Error") => self.trouble(true, sub_type)?,
            _ => return Err(self.unknown()),
        }))
    }

    /// What a fleet says of its launches.
    fn trouble(&self, error: bool, sub_type: &str) -> Result<News, Unread> {
        let text = words::text(self.detail, "description").unwrap_or_default();
        let (fleet, at) = (self.fleet()?, self.at);
        if let Some(lack) = shortage(sub_type, text) {
            return Ok(News::NoCapacity { fleet, instance_type: lack.instance_type, zone: lack.zone, at });
        }
        match failed_launch(error, sub_type, text) {
            Some(FailedLaunch { instance_type, zone }) => {
                Ok(News::LaunchFailed { fleet, instance_type, zone, at })
            }
            None => self.fleet_changed(),
        }
    }

    fn fleet(&self) -> Result<FleetId, Unread> {
        words::fleet(self.resources)
    }
    fn fleet_changed(&self) -> Result<News, Unread> {
        Ok(News::FleetChanged { fleet: self.fleet()?, at: self.at })
    }
    fn instance_change(&self, sub_type: &str) -> Result<News, Unread> {
        let instance = self.instance()?;
        match sub_type {
            "launched" => Ok(News::Launched { fleet: self.fleet()?, instance, at: self.at }),
            "terminated" => Ok(News::State { instance, state: InstanceState::Terminated, at: self.at }),
            "termination_notified" => {
                Ok(self.notice(instance, NoticeKind::FleetScaleIn, Some(self.at + SPOT_NOTICE)))
            }
            other => Err(Unread::Odd { field: "detail.sub-type", value: words::shown(other) }),
        }
    }
}

fn one(news: News) -> Vec<News> {
    vec![news]
}
