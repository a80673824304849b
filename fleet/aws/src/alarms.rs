//! Alarms of CloudWatch, by their names.

use crate::action::Action;
use crate::client::InRegion;
use crate::errors;
use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use aws_smithy_types::DateTime;
use fleet::{AlarmState, AlarmView, ApiError, ErrorClass};

/// CloudWatch's limit of names in one DescribeAlarms.
const NAMES_AT_ONCE: usize = 100;

/// Those of the alarms that exist. CloudWatch says nothing of the others.
pub(crate) async fn read(region: &InRegion, names: &[String]) -> Result<Vec<AlarmView>, ApiError> {
    let action = Action::DescribeAlarms;
    let mut found = Vec::new();
    for names in names.chunks(NAMES_AT_ONCE) {
        let send = |token| {
            let call = region.cloudwatch.describe_alarms().set_alarm_names(Some(names.to_vec()));
            // Without the types, composite alarms are left out.
            call.alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .max_records(100)
                .set_next_token(token)
                .send()
        };
        let pages = region.pages(action, usize::MAX, send, |page| {
            let of_metrics = page.metric_alarms.unwrap_or_default().into_iter();
            let of_metrics = of_metrics
                .map(|alarm| (alarm.alarm_name, alarm.state_value, alarm.state_transitioned_timestamp));
            let composite = page.composite_alarms.unwrap_or_default().into_iter();
            let composite = composite
                .map(|alarm| (alarm.alarm_name, alarm.state_value, alarm.state_transitioned_timestamp));
            (of_metrics.chain(composite).collect(), page.next_token)
        });
        for alarm in pages.await? {
            found.push(view(alarm)?);
        }
    }
    Ok(found)
}

fn view(
    (name, state, since): (Option<String>, Option<StateValue>, Option<DateTime>),
) -> Result<AlarmView, ApiError> {
    let name = name.unwrap_or_default();
    let word = state.as_ref().map_or("", StateValue::as_str);
    let state = AlarmState::of_word(word).ok_or_else(|| {
        let message = format!("alarm {name} is in a state that is not known: {word:?}");
        errors::local(ErrorClass::Malformed, Action::DescribeAlarms, &message)
    })?;
    Ok(AlarmView { name, state, since: since.map(|at| crate::words::time(Some(&at))) })
}
