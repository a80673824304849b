//! What EC2 itself says about instances that are to go: the status of spot requests, and scheduled events.

use crate::action::Action;
use crate::client::InRegion;
use crate::words;
use aws_sdk_ec2::types::{Filter, InstanceStatus, InstanceStatusEvent, SpotInstanceRequest};
use fleet::{ApiError, InstanceId, Notice, NoticeKind, NoticeSource, Timestamp};
use std::time::Duration;

/// From the mark to the end of the instance.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>
const NOTICE: Duration = Duration::from_secs(120);

/// Status codes of requests whose instance still runs and will not for long.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html>
const MARKED: [&str; 3] = ["marked-for-termination", "marked-for-stop", "marked-for-hibernation"];

/// Status codes of requests whose instance EC2 took back: what tells it from an end that somebody asked for.
const TAKEN_BACK: [&str; 8] = [
    "instance-terminated-by-price",
    "instance-terminated-no-capacity",
    "instance-terminated-capacity-oversubscribed",
    "instance-terminated-launch-group-constraint",
    "instance-stopped-by-price",
    "instance-stopped-no-capacity",
    "instance-stopped-capacity-oversubscribed",
    "instance-terminated-by-schedule",
];

/// The kinds of scheduled events.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusEvent.html>
const EVENTS: [&str; 5] =
    ["instance-reboot", "system-reboot", "system-maintenance", "instance-retirement", "instance-stop"];

/// Asks for the spot requests, then for the events.
pub(crate) async fn read(region: &InRegion) -> Result<Vec<Notice>, ApiError> {
    let requests = spot_requests(region).await?;
    let statuses = statuses(region).await?;
    let interrupted = requests.iter().filter_map(interruption);
    let scheduled = statuses.iter().filter_map(|status| scheduled(status, region.clock.wall()));
    Ok(interrupted.chain(scheduled).collect())
}

fn filter(name: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

async fn spot_requests(region: &InRegion) -> Result<Vec<SpotInstanceRequest>, ApiError> {
    let of_code = filter("status-code", &[&MARKED[..], &TAKEN_BACK[..]].concat());
    let send = |token| {
        let call = region.ec2.describe_spot_instance_requests().filters(of_code.clone());
        call.max_results(1000).set_next_token(token).send()
    };
    let pages = region.pages(Action::DescribeSpotInstanceRequests, usize::MAX, send, |page| {
        (page.spot_instance_requests.unwrap_or_default(), page.next_token)
    });
    pages.await
}

/// `None` for a request without an instance, and for a status that means nothing here, whatever the filter let
/// pass.
fn interruption(request: &SpotInstanceRequest) -> Option<Notice> {
    let status = request.status()?;
    let code = status.code()?;
    let at = words::time(status.update_time());
    let deadline = if MARKED.contains(&code) {
        at + NOTICE
    } else if TAKEN_BACK.contains(&code) {
        at
    } else {
        return None;
    };
    Some(notice(request.instance_id()?, NoticeKind::SpotInterruption, at, deadline))
}

fn notice(instance: &str, kind: NoticeKind, at: Timestamp, deadline: Timestamp) -> Notice {
    let instance = InstanceId::new(instance);
    Notice { instance, kind, source: NoticeSource::Ec2, at, deadline: Some(deadline) }
}

async fn statuses(region: &InRegion) -> Result<Vec<InstanceStatus>, ApiError> {
    let of_code = filter("event.code", &EVENTS);
    let send = |token| {
        let call = region.ec2.describe_instance_status().filters(of_code.clone());
        call.include_all_instances(true).max_results(1000).set_next_token(token).send()
    };
    let pages = region.pages(Action::DescribeInstanceStatus, usize::MAX, send, |page| {
        (page.instance_statuses.unwrap_or_default(), page.next_token)
    });
    pages.await
}

/// The earliest event that lies ahead. EC2 does not say when it announced it: `now` is when it was seen.
fn scheduled(status: &InstanceStatus, now: Timestamp) -> Option<Notice> {
    let starts = status.events().iter().filter(|event| lies_ahead(event)).filter_map(|event| {
        let start = event.not_before()?;
        Some(words::time(Some(start)))
    });
    Some(notice(status.instance_id()?, NoticeKind::ScheduledEvent, now, starts.min()?))
}

/// For a week after its end EC2 shows an event with its outcome before the description:
/// `[Completed]`, `[Canceled]`.
fn lies_ahead(event: &InstanceStatusEvent) -> bool {
    let description = event.description().unwrap_or_default();
    !description.starts_with("[Completed]") && !description.starts_with("[Canceled]")
}
