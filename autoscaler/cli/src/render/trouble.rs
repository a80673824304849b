//! What fails, in words.

use super::alarm_text;
use crate::out::Paint;
use autoscaler_engine::{Alarm, FailingOperation, Status};
use std::fmt::Write as _;

/// What is wrong with no fleet in particular, and which calls fail and why, a line each; empty where nothing is.
///
/// For whoever does not wait until a failure is worth an alarm.
pub fn troubles(status: &Status, paint: Paint) -> String {
    let mut text = String::new();
    let said = |message: &str| status.failing.iter().any(|failing| failing.message == message);
    for raised in &status.alarms {
        let again = match &raised.alarm {
            Alarm::Denied { message, .. }
            | Alarm::Malformed { message, .. }
            | Alarm::Unreachable { message, .. } => said(message),
            _ => false,
        };
        if !again {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{} {}", paint.bad("!"), alarm_text(&raised.alarm));
        }
    }
    for failing in &status.failing {
        // As above.
        let _ = writeln!(text, "{} {}", paint.bad("!"), failing_text(failing));
    }
    text
}

fn failing_text(failing: &FailingOperation) -> String {
    let FailingOperation { operation, region, fleet, of, since: _, failures, class, message } = failing;
    let whose = fleet.as_ref().map(|fleet| format!(" of {fleet}")).unwrap_or_default();
    let which = of.as_ref().map(|of| format!(" ({of})")).unwrap_or_default();
    let times = if *failures > 1 { format!(" {failures} times") } else { String::new() };
    format!("{operation}{which}{whose} in {region} failed{times}, {}: {message}", class.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscaler_engine::ActiveAlarm;
    use fleet::{ErrorClass, Region, Timestamp};

    #[test]
    fn what_fails_is_told_once_with_its_cause() {
        let at = Timestamp::from_secs(1_800_000_000);
        let failing = |operation: &str, failures, class, message: &str| FailingOperation {
            operation: operation.into(),
            region: Region::new("eu-west-1"),
            fleet: None,
            of: None,
            since: at,
            failures,
            class,
            message: message.into(),
        };
        let raised = |alarm| ActiveAlarm { since: at, alarm };
        let denied = "ec2 says no";
        let status = Status {
            alarms: vec![
                raised(Alarm::Denied { operation: "describe_fleets".into(), message: denied.into() }),
                raised(Alarm::JournalFailing { message: "disk full".into() }),
            ],
            failing: vec![
                failing("describe_fleets", 1, ErrorClass::Denied, denied),
                FailingOperation {
                    fleet: Some("web".into()),
                    of: Some("custom".into()),
                    ..failing("cloudwatch", 3, ErrorClass::Transient, "connection refused")
                },
            ],
            dry_run: true,
            ..Status::empty(at)
        };
        let text = troubles(&status, Paint::default());
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "! the journal fails; scale-out goes on, removals do not begin: disk full",
                "! describe_fleets in eu-west-1 failed, denied: ec2 says no",
                "! cloudwatch (custom) of web in eu-west-1 failed 3 times, transient: connection refused",
            ]
        );
    }
}
