//! CloudWatch's alarms: the world's, as DescribeAlarms shows them.

use crate::cloudwatch::{invalid, read_token, token_of, validation};
use crate::shared::{Context, Failure};
use crate::wire::{Data, map};
use fleet_sim::Alarm;

/// The most names, and the most alarms of a page.
const MAX: usize = 100;
/// The alarms of a page where the request does not say.
const USUAL: usize = 50;

/// By their names alone: how else they can be asked for is not simulated.
pub(crate) fn describe_alarms(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let names: Vec<String> = input.get("AlarmNames").texts().into_iter().map(str::to_owned).collect();
    let others =
        ["AlarmNamePrefix", "StateValue", "ActionPrefix", "ChildrenOfAlarmName", "ParentsOfAlarmName"];
    if names.is_empty() || others.iter().any(|other| !input.get(other).is_null()) {
        return Err(validation("Only alarms by their AlarmNames are simulated.").into());
    }
    if names.len() > MAX {
        let message = "The collection AlarmNames must not have a size greater than 100.";
        return Err(validation(message).into());
    }
    let types = input.get("AlarmTypes").texts();
    if let Some(odd) = types.iter().find(|word| !["MetricAlarm", "CompositeAlarm"].contains(*word)) {
        return Err(validation(format!("{odd} is not a value of AlarmTypes.")).into());
    }
    let most = match input.get("MaxRecords") {
        Data::Null => USUAL,
        given => given
            .as_i64()
            .and_then(|most| usize::try_from(most).ok())
            .filter(|most| (1..=MAX).contains(most))
            .ok_or_else(|| invalid("MaxRecords must be from 1 to 100."))?,
    };
    let skipped = input.get("NextToken").as_str().and_then(read_token).unwrap_or(0);
    // Without a type, those of metrics alone.
    let wanted = |alarm: &Alarm| {
        let word = if alarm.composite { "CompositeAlarm" } else { "MetricAlarm" };
        types.contains(&word) || types.is_empty() && !alarm.composite
    };
    let mut found = context.world().alarms(context.caller, &names)?;
    found.retain(|(_, alarm)| wanted(alarm));
    let more = found.len() > skipped.saturating_add(most);
    let page: Vec<_> = found.into_iter().skip(skipped).take(most).collect();
    let (region, account) = {
        let world = context.world();
        (world.spec().region.clone(), world.spec().account.clone())
    };
    let shown = |composite: bool| {
        let of_kind = page.iter().filter(|(_, alarm)| alarm.composite == composite);
        let all = of_kind.map(|(name, alarm)| {
            map([
                ("AlarmName", name.as_str().into()),
                ("AlarmArn", format!("arn:aws:cloudwatch:{region}:{account}:alarm:{name}").into()),
                ("ActionsEnabled", true.into()),
                ("StateValue", alarm.state.word().into()),
                ("StateReason", "Set by hand.".into()),
                ("StateUpdatedTimestamp", alarm.since.into()),
                ("StateTransitionedTimestamp", alarm.since.into()),
            ])
        });
        Data::List(all.collect())
    };
    let token = more.then(|| token_of(skipped + most));
    Ok(map([("MetricAlarms", shown(false)), ("CompositeAlarms", shown(true)), ("NextToken", token.into())]))
}
