//! The documents of the instance metadata service that speak of the instance's end, for its agent.
//!
//! A path that answers 404 has nothing to say; none of these functions is for that.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html>

use crate::{SPOT_NOTICE, Unread, words};
use fleet::wire::AgentNotice;
use fleet::{NoticeKind, Timestamp};
use serde_json::Value;

/// `latest/meta-data/spot/instance-action`: an interruption.
///
/// * `seen`: when the document was first seen. It does not say when the notice was given.
///
/// A document without a usable time still is a notice: then the end is two minutes after `seen`, or `seen` for
/// hibernation, which begins at once.
pub fn instance_action(body: &str, seen: Timestamp) -> Result<AgentNotice, Unread> {
    let document = words::json(body)?;
    let action = words::text(&document, "action").ok_or(Unread::Missing { field: "action" })?;
    let deadline = match action {
        "hibernate" => seen,
        "terminate" | "stop" => {
            words::text(&document, "time").and_then(words::time).unwrap_or(seen + SPOT_NOTICE)
        }
        other => return Err(Unread::Odd { field: "action", value: words::shown(other) }),
    };
    Ok(AgentNotice { kind: NoticeKind::SpotInterruption, at_ms: seen, deadline_ms: Some(deadline) })
}

/// `latest/meta-data/spot/termination-time`, the older form of the same.
///
/// * returns: `None` for what is no time and for a time that has passed: the path may hold either without meaning
///   anything.
pub fn termination_time(body: &str, seen: Timestamp) -> Option<AgentNotice> {
    let deadline = words::time(body).filter(|time| *time > seen)?;
    Some(AgentNotice { kind: NoticeKind::SpotInterruption, at_ms: seen, deadline_ms: Some(deadline) })
}

/// `latest/meta-data/events/recommendations/rebalance`: a recommendation.
pub fn rebalance(body: &str, seen: Timestamp) -> Result<AgentNotice, Unread> {
    let document = words::json(body)?;
    let given = words::text(&document, "noticeTime").and_then(words::time);
    let at_ms = given.map_or(seen, |given| given.min(seen));
    document
        .is_object()
        .then_some(AgentNotice { kind: NoticeKind::RebalanceRecommendation, at_ms, deadline_ms: None })
        .ok_or(Unread::Missing { field: "noticeTime" })
}

/// `latest/meta-data/events/maintenance/scheduled`: events that lie ahead or are under way.
///
/// * returns: one notice, with the earliest beginning of them all; `None` when no event is active. One whose
///   beginning cannot be read begins now.
pub fn scheduled(body: &str, seen: Timestamp) -> Result<Option<AgentNotice>, Unread> {
    let document = words::json(body)?;
    let events = document.as_array();
    let events = events.ok_or_else(|| Unread::NotJson { message: "not a list".to_owned() })?;
    let over = |event: &&Value| matches!(words::text(event, "State"), Some("completed" | "canceled"));
    let active = events.iter().filter(|event| event.is_object() && !over(event));
    let begins = active.map(|event| words::text(event, "NotBefore").and_then(words::time).unwrap_or(seen));
    Ok(begins.min().map(|deadline| AgentNotice {
        kind: NoticeKind::ScheduledEvent,
        at_ms: seen,
        deadline_ms: Some(deadline),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }
    fn seen() -> Timestamp {
        at("2017-09-18T08:20:03Z")
    }
    fn ends(notice: &AgentNotice) -> Option<Timestamp> {
        notice.deadline_ms
    }

    #[test]
    fn an_action_ends_the_instance_at_its_time() {
        let of = |body: &str| instance_action(body, seen());
        let notice = of(r#"{"action":"terminate","time":"2017-09-18T08:22:00Z"}"#).expect("a notice");
        assert_eq!(
            (notice.kind, ends(&notice)),
            (NoticeKind::SpotInterruption, Some(at("2017-09-18T08:22:00Z")))
        );
        let stop = of(r#"{"action": "stop", "time": "2017-09-18T08:22:00Z"}"#).expect("a notice");
        assert_eq!(stop, notice);
        let hibernate = of(r#"{"action":"hibernate","time":"2017-09-18T08:22:00Z"}"#).expect("a notice");
        assert_eq!(ends(&hibernate), Some(seen()), "it has begun");
        for odd in [r#"{"action":"terminate"}"#, r#"{"action":"terminate","time":"soon"}"#] {
            assert_eq!(of(odd).map(|notice| ends(&notice)), Ok(Some(seen() + SPOT_NOTICE)), "{odd}");
        }
        for bad in ["", "<html>", "[]", "{}", r#"{"action":"dance"}"#] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_older_path_means_something_only_while_its_time_lies_ahead() {
        let of = |body: &str| termination_time(body, seen());
        assert_eq!(of("2017-09-18T08:22:00Z\n").and_then(|n| ends(&n)), Some(at("2017-09-18T08:22:00Z")));
        for nothing in ["", "marked-for-termination", "2015-01-05T18:02:00Z"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_recommendation_has_a_time_and_no_end() {
        let notice = rebalance(r#"{"noticeTime": "2017-09-18T08:19:00Z"}"#, seen()).expect("a notice");
        assert_eq!((notice.at_ms, ends(&notice)), (at("2017-09-18T08:19:00Z"), None));
        assert_eq!(rebalance("{}", seen()).map(|notice| notice.at_ms), Ok(seen()));
        let ahead = rebalance(r#"{"noticeTime": "2099-01-01T00:00:00Z"}"#, seen());
        assert_eq!(ahead.map(|notice| notice.at_ms), Ok(seen()), "clocks differ");
        assert!(rebalance("[]", seen()).is_err());
    }

    #[test]
    fn of_several_scheduled_events_the_earliest_that_is_active_counts() {
        let body = r#"[
            {"NotBefore": "21 Jan 2019 09:00:43 GMT", "Code": "system-reboot", "Description": "[Completed] scheduled reboot",
             "EventId": "instance-event-0d59937288b749b32", "NotAfter": "21 Jan 2019 09:17:23 GMT", "State": "completed"},
            {"NotBefore": "29 Jan 2019 09:00:43 GMT", "Code": "instance-retirement", "Description": "the host fails",
             "EventId": "instance-event-1", "State": "active"},
            {"NotBefore": "28 Jan 2019 09:00:43 GMT", "Code": "system-reboot", "Description": "scheduled reboot",
             "EventId": "instance-event-2", "NotAfter": "28 Jan 2019 09:17:23 GMT", "State": "active"}
        ]"#;
        let notice = scheduled(body, seen()).expect("a list").expect("a notice");
        assert_eq!(
            (notice.kind, ends(&notice)),
            (NoticeKind::ScheduledEvent, Some(at("2019-01-28T09:00:43Z")))
        );
        assert_eq!(scheduled("[]", seen()), Ok(None));
        assert_eq!(
            scheduled(r#"[{"State":"active","NotBefore":"?"}]"#, seen()).map(|n| n.and_then(|n| ends(&n))),
            Ok(Some(seen()))
        );
        assert!(scheduled("{}", seen()).is_err());
    }
}
