//! The fleets' instances.

use crate::action::Action;
use crate::client::InRegion;
use crate::governor::Toll;
use crate::launch::FILTER_VALUES;
use crate::{errors, words};
use aws_sdk_ec2::types::{self, Filter, InstanceStateChange};
use fleet::{
    ApiError, Backend, EndedBy, ErrorClass, FleetId, FleetRef, Health, Instance, InstanceId, InstanceState,
    InstanceType, Market, Pool, Zone,
};

/// EC2's limit of instances in one TerminateInstances.
const TERMINATE_AT_ONCE: usize = 1000;
/// The states that are asked for. EC2 shows what is terminated for about an hour, with its reason.
const STATES: [&str; 6] = ["pending", "running", "shutting-down", "stopping", "stopped", "terminated"];

/// The tag by which EC2 marks what a fleet launched.
const fn fleet_tag(backend: Backend) -> &'static str {
    match backend {
        Backend::SpotFleet => "aws:ec2spot:fleet-request-id",
        Backend::Ec2Fleet => "aws:ec2:fleet-id",
    }
}

/// What the fleets launched and is not gone, and what of it has ended lately for a reason that EC2 gives.
pub(crate) async fn describe(region: &InRegion, fleets: &[FleetRef]) -> Result<Vec<Instance>, ApiError> {
    let mut instances = Vec::new();
    for backend in [Backend::SpotFleet, Backend::Ec2Fleet] {
        let of_backend = fleets.iter().filter(|fleet| fleet.backend == backend);
        let ids: Vec<String> = of_backend.map(|fleet| fleet.id.as_str().to_owned()).collect();
        for ids in ids.chunks(FILTER_VALUES) {
            instances.extend(describe_tagged(region, fleet_tag(backend), ids).await?);
        }
    }
    Ok(instances)
}

async fn describe_tagged(region: &InRegion, tag: &str, ids: &[String]) -> Result<Vec<Instance>, ApiError> {
    let of_fleets = Filter::builder().name(format!("tag:{tag}")).set_values(Some(ids.to_vec())).build();
    let states = STATES.map(str::to_owned).to_vec();
    let alive = Filter::builder().name("instance-state-name").set_values(Some(states)).build();
    let send = |token| {
        let call = region.ec2.describe_instances().filters(of_fleets.clone()).filters(alive.clone());
        call.max_results(1000).set_next_token(token).send()
    };
    let reservations = region.pages(Action::DescribeInstances, usize::MAX, send, |page| {
        (page.reservations.unwrap_or_default(), page.next_token)
    });
    let reservations = reservations.await?;
    let instances = reservations.iter().flat_map(types::Reservation::instances);
    let translated = instances.filter_map(|instance| translate(instance, tag));
    let tells =
        |instance: &Instance| instance.state != InstanceState::Terminated || instance.ended_by.is_some();
    Ok(translated.filter(tells).collect())
}

/// `None` without an id or the fleet's tag: nothing can be done with such an instance.
fn translate(instance: &types::Instance, tag: &str) -> Option<Instance> {
    let tags = words::tags(instance.tags());
    let lifecycle = instance.instance_lifecycle().map(|lifecycle| words::plain(lifecycle.as_str()));
    let market = if lifecycle.as_deref() == Some("spot") { Market::Spot } else { Market::OnDemand };
    let instance_type = instance.instance_type().map_or("unknown", |name| name.as_str());
    let zone = instance.placement().and_then(|placement| placement.availability_zone());
    let state = state(instance.state());
    Some(Instance {
        id: InstanceId::new(instance.instance_id()?),
        fleet: FleetId::new(tags.get(tag)?),
        pool: Pool {
            instance_type: InstanceType::new(instance_type),
            zone: Zone::new(zone.unwrap_or("unknown")),
            market,
        },
        state,
        ended_by: ended_by(instance, state),
        // EC2's description says nothing of health; the fleet's own list does.
        health: Health::default(),
        launched: words::time(instance.launch_time()),
        vcpus: instance.cpu_options().and_then(vcpus),
        private_ip: instance.private_ip_address().and_then(|address| address.parse().ok()),
        tags: tags.into(),
    })
}

fn state(state: Option<&types::InstanceState>) -> InstanceState {
    words::instance_state(state.and_then(|state| state.name()))
}

/// EC2 keeps the reason of a state that is over, of a stop for example: only an end has one here.
fn ended_by(instance: &types::Instance, state: InstanceState) -> Option<EndedBy> {
    let ended = matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated);
    instance.state_reason().and_then(types::StateReason::code).filter(|_| ended).map(words::ended_by)
}

fn vcpus(options: &types::CpuOptions) -> Option<u32> {
    let cores = words::capacity(options.core_count());
    let threads = words::capacity(options.threads_per_core()).max(1);
    cores.checked_mul(threads).filter(|vcpus| *vcpus > 0)
}

/// Terminates all of them or none.
pub(crate) async fn terminate(
    region: &InRegion,
    instances: &[InstanceId],
) -> Result<Vec<(InstanceId, InstanceState)>, ApiError> {
    let action = Action::TerminateInstances;
    if instances.is_empty() {
        return Ok(Vec::new());
    }
    if instances.len() > TERMINATE_AT_ONCE {
        // Two calls could not keep the promise of all or none.
        let message = format!("not sent: {} instances, EC2 takes {TERMINATE_AT_ONCE}", instances.len());
        return Err(errors::local(ErrorClass::Malformed, action, &message));
    }
    let ids: Vec<String> = instances.iter().map(|id| id.as_str().to_owned()).collect();
    let toll = Toll::Instances(u32::try_from(ids.len()).unwrap_or(u32::MAX));
    let send = || region.ec2.terminate_instances().set_instance_ids(Some(ids.clone())).send();
    let answer = region.call(action, toll, send).await.map_err(|error| halfway(error, ids.len()))?;
    Ok(answer.terminating_instances().iter().filter_map(leaving).collect())
}

/// With one of several instances protected against termination, EC2 refuses the call and yet terminates what
/// lies in other zones than the protected one:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html>
fn halfway(mut error: ApiError, instances: usize) -> ApiError {
    if instances > 1 && error.code.as_deref() == Some("OperationNotPermitted") {
        error.class = ErrorClass::Unclear;
    }
    error
}

fn leaving(change: &InstanceStateChange) -> Option<(InstanceId, InstanceState)> {
    Some((InstanceId::new(change.instance_id()?), state(change.current_state())))
}
