//! Instances, their status, and the spot requests behind them.

use super::filter::Filters;
use super::fleets::subnet_of;
use super::page::page;
use super::{missing, optional, tag_set};
use crate::eventbridge::state_name;
use crate::imds::event_id;
use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::sigv4::hmac;
use crate::wire::{AwsError, Data, map};
use fleet::{EndedBy, Health, Instance, InstanceId, InstanceState, Market};
use fleet_sim::{Action, FleetRequest, ScheduledEvent, SpotStatus, World, WorldSpec};
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_world("DescribeInstances", describe_instances),
    Operation::by_world("TerminateInstances", terminate_instances),
    Operation::by_gate("DescribeInstanceStatus", describe_instance_status),
    Operation::by_gate("DescribeSpotInstanceRequests", describe_spot_instance_requests),
];

/// An instance in a fleet's own list, named by its id.
pub(super) fn active(instance: &Instance) -> (String, Data) {
    let shown = map([
        ("instanceId", instance.id.as_str().into()),
        ("instanceType", instance.pool.instance_type.as_str().into()),
        ("spotInstanceRequestId", request_id(instance).into()),
        ("instanceHealth", health_word(instance.health).into()),
    ]);
    (instance.id.to_string(), shown)
}

const fn health_word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

/// The id of the spot request behind an instance; none on demand.
fn request_id(instance: &Instance) -> Option<String> {
    let id = instance.id.as_str();
    (instance.pool.market == Market::Spot).then(|| format!("sir-{}", &id[id.len().saturating_sub(8)..]))
}

/// Reads `InstanceId.N`; what cannot be an id at all is refused at once, as EC2 does.
fn ids_of(input: &Data) -> Result<Vec<InstanceId>, AwsError> {
    let ids = input.get("InstanceId").texts();
    for id in &ids {
        let digits = id.strip_prefix("i-").unwrap_or_default();
        if !matches!(digits.len(), 8 | 17) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            let message = format!("Invalid id: \"{id}\"");
            return Err(AwsError::new("InvalidInstanceID.Malformed", message));
        }
    }
    Ok(ids.into_iter().map(InstanceId::from).collect())
}

pub(super) fn state(state: InstanceState) -> Data {
    let code: i64 = match state {
        InstanceState::Pending => 0,
        InstanceState::Running => 16,
        InstanceState::ShuttingDown => 32,
        InstanceState::Terminated => 48,
        InstanceState::Stopping => 64,
        InstanceState::Stopped => 80,
    };
    map([("code", code.into()), ("name", state_name(state).into())])
}

/// What a filter looks at.
fn value_of(instance: &Instance, filter: &str) -> Option<String> {
    Some(match filter {
        "instance-id" => instance.id.to_string(),
        "instance-state-name" => state_name(instance.state).to_owned(),
        "instance-type" => instance.pool.instance_type.to_string(),
        "availability-zone" => instance.pool.zone.to_string(),
        "instance-lifecycle" => lifecycle(instance)?.to_owned(),
        "private-ip-address" => instance.private_ip?.to_string(),
        "spot-instance-request-id" => request_id(instance)?,
        _ => return None,
    })
}

const FILTERS: &[&str] = &[
    "instance-id",
    "instance-state-name",
    "instance-type",
    "availability-zone",
    "instance-lifecycle",
    "private-ip-address",
    "spot-instance-request-id",
    "image-id",
];

fn lifecycle(instance: &Instance) -> Option<&'static str> {
    (instance.pool.market == Market::Spot).then_some("spot")
}

fn describe_instances(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let ids = ids_of(input)?;
    if !ids.is_empty() && !input.get("MaxResults").is_null() {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(AwsError::new("InvalidParameterCombination", message).into());
    }
    let filters = Filters::read(input, FILTERS, true)?;
    let (machines, worlds) = of_machines(context, ids);
    let mut world = context.world();
    let found = match &worlds {
        // All that were asked for are machines.
        Some(ids) if ids.is_empty() => {
            world.admit(context.caller, Action::DESCRIBE_INSTANCES)?;
            Vec::new()
        }
        ids => world.describe_instances(context.caller, &[], ids.as_deref().unwrap_or_default())?,
    };
    let image = |instance: &Instance| world.image_of(instance).map(str::to_owned);
    let passes = |instance: &Instance, image: Option<String>| {
        filters.pass(&instance.tags, |filter| match filter {
            "image-id" => image.clone(),
            filter => value_of(instance, filter),
        })
    };
    let shown = found
        .iter()
        .filter(|instance| passes(instance, image(instance)))
        .map(|instance| (instance.id.to_string(), reservation(&world, instance)));
    let machines = machines
        .iter()
        .filter(|(instance, asked, _)| passes(instance, Some(asked.image.clone())))
        .map(|machine| (machine.0.id.to_string(), reservation_of_machine(world.spec(), machine)));
    let page = page(input, 5..=1000, shown.chain(machines))?;
    Ok(map([("reservationSet", Data::List(page.items)), ("nextToken", page.next)]))
}

/// What is shown of a machine that no fleet holds: itself, what it was asked for with, and its disks.
type Machine = (Instance, FleetRequest, Data);

/// Divides ids into the machines that they name, and the rest, which is the world's to know. * returns: all machines, and
/// `None`, where no id is given.
fn of_machines(context: &Context<'_>, ids: Vec<InstanceId>) -> (Vec<Machine>, Option<Vec<InstanceId>>) {
    let now = context.world().now();
    let all = locked(&context.shared.machines).shown(now);
    if ids.is_empty() {
        return (all, None);
    }
    let machines: Vec<Machine> =
        all.into_iter().filter(|(instance, ..)| ids.contains(&instance.id)).collect();
    let known = |id: &InstanceId| machines.iter().any(|(instance, ..)| instance.id == *id);
    let rest = ids.into_iter().filter(|id| !known(id)).collect();
    (machines, Some(rest))
}

fn reservation_of_machine(spec: &WorldSpec, (instance, asked, disks): &Machine) -> Data {
    let mut shown = shown(spec, Some(asked), instance);
    if let Data::Map(entries) = &mut shown {
        entries.push(("blockDeviceMapping".to_owned(), disks.clone()));
    }
    let reservation = &hex::encode(hmac(b"reservation", instance.id.as_str()))[..17];
    map([
        ("reservationId", format!("r-{reservation}").into()),
        ("ownerId", spec.account.as_str().into()),
        ("groupSet", Data::List(vec![])),
        ("instancesSet", Data::List(vec![shown])),
    ])
}

/// Machines that were launched together, as RunInstances shows them.
pub(super) fn reservation_of_machines(context: &Context<'_>, ids: &[String]) -> Data {
    let ids = ids.iter().map(|id| InstanceId::from(id.as_str())).collect();
    let (machines, _) = of_machines(context, ids);
    let spec = context.world().spec().clone();
    let shown = machines.iter().map(|(instance, asked, _)| shown(&spec, Some(asked), instance));
    map([
        ("reservationId", "r-00000000000000001".into()),
        ("ownerId", spec.account.as_str().into()),
        ("groupSet", Data::List(vec![])),
        ("instancesSet", Data::list(shown)),
    ])
}

/// An instance in a reservation of its own, as fleets launch them.
fn reservation(world: &World, instance: &Instance) -> Data {
    let spec = world.spec();
    let reservation = &hex::encode(hmac(b"reservation", instance.id.as_str()))[..17];
    // The fleet may launch another image by now.
    let asked = world.request_of(&instance.fleet).zip(world.image_of(instance));
    let asked = asked.map(|(asked, image)| FleetRequest { image: image.to_owned(), ..asked.clone() });
    map([
        ("reservationId", format!("r-{reservation}").into()),
        ("ownerId", spec.account.as_str().into()),
        ("requesterId", "AIDAIQ2JLGZLVMGOMUPGS".into()),
        ("groupSet", Data::List(vec![])),
        ("instancesSet", Data::List(vec![shown(spec, asked.as_ref(), instance)])),
    ])
}

fn shown(spec: &WorldSpec, asked: Option<&FleetRequest>, instance: &Instance) -> Data {
    let region = spec.region.as_str();
    let address = instance.private_ip.map(|address| address.to_string());
    let name =
        address.as_ref().map(|address| format!("ip-{}.{region}.compute.internal", address.replace('.', "-")));
    let monitored = asked.is_some_and(|asked| asked.detailed_monitoring);
    let arm = is_arm(instance.pool.instance_type.as_str());
    map([
        ("instanceId", instance.id.as_str().into()),
        ("imageId", asked.map(|asked| asked.image.as_str()).into()),
        ("instanceState", state(instance.state)),
        ("privateDnsName", name.into()),
        ("dnsName", "".into()),
        ("reason", "".into()),
        ("stateReason", instance.ended_by.map(state_reason).into()),
        ("amiLaunchIndex", 0i64.into()),
        ("productCodes", Data::List(vec![])),
        ("instanceType", instance.pool.instance_type.as_str().into()),
        ("launchTime", instance.launched.into()),
        (
            "placement",
            map([
                ("availabilityZone", instance.pool.zone.as_str().into()),
                ("groupName", "".into()),
                ("tenancy", "default".into()),
            ]),
        ),
        ("monitoring", map([("state", if monitored { "enabled" } else { "disabled" }.into())])),
        ("subnetId", subnet_of(spec, &instance.pool.zone).into()),
        ("vpcId", "vpc-00000000000000001".into()),
        ("privateIpAddress", address.into()),
        ("sourceDestCheck", true.into()),
        ("groupSet", Data::List(vec![])),
        ("architecture", if arm { "arm64" } else { "x86_64" }.into()),
        ("rootDeviceType", "ebs".into()),
        ("rootDeviceName", "/dev/xvda".into()),
        ("instanceLifecycle", lifecycle(instance).into()),
        ("spotInstanceRequestId", request_id(instance).into()),
        ("virtualizationType", "hvm".into()),
        ("tagSet", tag_set(&instance.tags)),
        ("hypervisor", "xen".into()),
        ("ebsOptimized", false.into()),
        ("enaSupport", true.into()),
        ("cpuOptions", instance.vcpus.map(|vcpus| cpu_options(vcpus, arm)).into()),
        (
            "metadataOptions",
            map([
                ("state", "applied".into()),
                ("httpTokens", "required".into()),
                ("httpPutResponseHopLimit", 2i64.into()),
                ("httpEndpoint", "enabled".into()),
                ("instanceMetadataTags", "enabled".into()),
            ]),
        ),
        ("platformDetails", "Linux/UNIX".into()),
    ])
}

fn state_reason(by: EndedBy) -> Data {
    let (code, message) = match by {
        EndedBy::Aws => ("Server.SpotInstanceTermination", "Spot instance termination"),
        EndedBy::Client => ("Client.UserInitiatedShutdown", "User initiated shutdown"),
    };
    map([("code", code.into()), ("message", format!("{code}: {message}").into())])
}

/// Whether a type is Graviton's: a `g` after the family's digits (`m6g`, `c7gn`), or `a1`.
pub(crate) fn is_arm(instance_type: &str) -> bool {
    let family = instance_type.split('.').next().unwrap_or_default();
    let after_digits = family
        .trim_start_matches(|c: char| !c.is_ascii_digit())
        .trim_start_matches(|c: char| c.is_ascii_digit());
    family == "a1" || after_digits.starts_with('g')
}

/// Cores and threads: two threads a core where that comes out even, except on Arm.
pub(super) fn cpu_options(vcpus: u32, arm: bool) -> Data {
    let threads = if arm || vcpus % 2 == 1 { 1 } else { 2 };
    map([("coreCount", (vcpus / threads).into()), ("threadsPerCore", threads.into())])
}

fn terminate_instances(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let ids = ids_of(input)?;
    if ids.is_empty() {
        return Err(missing("InstanceId").into());
    }
    let (machines, worlds) = of_machines(context, ids);
    let worlds = worlds.unwrap_or_default();
    let mut world = context.world();
    let terminated = if worlds.is_empty() {
        world.admit(context.caller, Action::TERMINATE_INSTANCES)?;
        Vec::new()
    } else {
        world.terminate_instances(context.caller, &worlds)?
    };
    let machines: Vec<&InstanceId> = machines.iter().map(|(instance, ..)| &instance.id).collect();
    let machines = locked(&context.shared.machines).terminate(&machines, world.now());
    let shown = terminated
        .into_iter()
        .map(|terminated| (terminated.instance, terminated.previous, terminated.current))
        .chain(machines)
        .map(|(id, previous, current)| {
            map([
                ("instanceId", id.as_str().into()),
                ("currentState", state(current)),
                ("previousState", state(previous)),
            ])
        });
    Ok(map([("instancesSet", Data::list(shown))]))
}

fn describe_instance_status(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const STATUS_FILTERS: &[&str] = &["availability-zone", "instance-state-name", "event.code"];
    let ids = ids_of(input)?;
    let filters = Filters::read(input, STATUS_FILTERS, false)?;
    let all = optional(input, "IncludeAllInstances", Data::as_bool)?.unwrap_or(false);
    let world = context.world();
    let machines = locked(&context.shared.machines).shown(world.now());
    let mut found = world.shown_instances();
    found.extend(machines.into_iter().map(|(instance, ..)| instance));
    let planned = |instance: &Instance| world.notices(&instance.id).and_then(|notices| notices.scheduled);
    let value = |instance: &Instance, filter: &str| match filter {
        "event.code" => planned(instance).map(|event| event.code.word().to_owned()),
        filter => value_of(instance, filter),
    };
    if let Some(unknown) = ids.iter().find(|id| !found.iter().any(|instance| instance.id == **id)) {
        let message = format!("The instance ID '{unknown}' does not exist");
        return Err(AwsError::new("InvalidInstanceID.NotFound", message).into());
    }
    let none = BTreeMap::new();
    let statuses = found
        .iter()
        .filter(|instance| ids.is_empty() || ids.contains(&instance.id))
        .filter(|instance| all || instance.state == InstanceState::Running)
        .filter(|instance| filters.pass(&none, |filter| value(instance, filter)))
        .map(|instance| (instance.id.to_string(), status_of(instance, planned(instance))));
    let page = page(input, 5..=1000, statuses)?;
    Ok(map([("instanceStatusSet", Data::List(page.items)), ("nextToken", page.next)]))
}

fn status_of(instance: &Instance, planned: Option<ScheduledEvent>) -> Data {
    let event = |event: ScheduledEvent| {
        map([
            ("instanceEventId", event_id(&instance.id).into()),
            ("code", event.code.word().into()),
            ("description", event.code.word().into()),
            ("notBefore", event.not_before.into()),
        ])
    };
    let (status, check) = match (instance.state, instance.health) {
        (InstanceState::Running, Health::Healthy) => ("ok", "passed"),
        (InstanceState::Running, Health::Unhealthy) => ("impaired", "failed"),
        (InstanceState::Pending, _) => ("initializing", "initializing"),
        _ => ("not-applicable", "insufficient-data"),
    };
    let summary = |status: &str, check: &str| {
        let details = vec![map([("name", "reachability".into()), ("status", check.into())])];
        map([("details", Data::List(details)), ("status", status.into())])
    };
    // What fails is the instance's own check: its host is well.
    let host = if status == "impaired" { ("ok", "passed") } else { (status, check) };
    map([
        ("instanceId", instance.id.as_str().into()),
        ("availabilityZone", instance.pool.zone.as_str().into()),
        ("instanceState", state(instance.state)),
        ("eventsSet", Data::List(planned.map(event).into_iter().collect())),
        ("instanceStatus", summary(status, check)),
        ("systemStatus", summary(host.0, host.1)),
    ])
}

fn describe_spot_instance_requests(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const REQUEST_FILTERS: &[&str] =
        &["instance-id", "spot-instance-request-id", "state", "status-code", "launch.instance-type"];
    let wanted = input.get("SpotInstanceRequestId").texts();
    let filters = Filters::read(input, REQUEST_FILTERS, true)?;
    let world = context.world();
    let requests: Vec<SpotRequest> = world
        .shown_instances()
        .into_iter()
        .filter_map(|instance| SpotRequest::of(&world, instance))
        .collect();
    if let Some(unknown) = wanted.iter().find(|id| !requests.iter().any(|request| request.id == **id)) {
        let message = format!("The spot instance request ID '{unknown}' does not exist");
        return Err(AwsError::new("InvalidSpotInstanceRequestID.NotFound", message).into());
    }
    let shown = requests
        .iter()
        .filter(|request| wanted.is_empty() || wanted.contains(&request.id.as_str()))
        .filter(|request| filters.pass(&request.instance.tags, |filter| request.value_of(filter)))
        .map(|request| (request.id.clone(), request.shown()));
    let page = page(input, 5..=1000, shown)?;
    Ok(map([("spotInstanceRequestSet", Data::List(page.items)), ("nextToken", page.next)]))
}

/// The spot request behind an instance.
struct SpotRequest {
    id: String,
    instance: Instance,
    state: &'static str,
    code: &'static str,
    message: &'static str,
    updated: fleet::Timestamp,
}

impl SpotRequest {
    fn of(world: &World, instance: Instance) -> Option<Self> {
        let id = request_id(&instance)?;
        let (state, code, message, updated) = match world.spot_status(&instance.id)? {
            SpotStatus::Fulfilled => {
                ("active", "fulfilled", "Your spot request is fulfilled.", instance.launched)
            }
            SpotStatus::Marked(at) => {
                ("active", "marked-for-termination", "Your Spot Instance is marked for termination.", at)
            }
            SpotStatus::TerminatedByUser(at) => (
                "closed",
                "instance-terminated-by-user",
                "Spot Instance terminated due to user-initiated termination.",
                at,
            ),
            SpotStatus::TakenBack(at) => (
                "closed",
                "instance-terminated-no-capacity",
                "Your Spot Instance was terminated because there is no longer enough Spot capacity available.",
                at,
            ),
        };
        Some(Self { id, instance, state, code, message, updated })
    }
    fn value_of(&self, filter: &str) -> Option<String> {
        Some(match filter {
            "instance-id" => self.instance.id.to_string(),
            "spot-instance-request-id" => self.id.clone(),
            "state" => self.state.to_owned(),
            "status-code" => self.code.to_owned(),
            "launch.instance-type" => self.instance.pool.instance_type.to_string(),
            _ => return None,
        })
    }
    fn shown(&self) -> Data {
        let zone = self.instance.pool.zone.as_str();
        map([
            ("spotInstanceRequestId", self.id.as_str().into()),
            ("state", self.state.into()),
            ("type", "one-time".into()),
            (
                "status",
                map([
                    ("code", self.code.into()),
                    ("message", self.message.into()),
                    ("updateTime", self.updated.into()),
                ]),
            ),
            ("createTime", self.instance.launched.into()),
            ("instanceId", self.instance.id.as_str().into()),
            (
                "launchSpecification",
                map([("instanceType", self.instance.pool.instance_type.as_str().into())]),
            ),
            ("launchedAvailabilityZone", zone.into()),
            ("productDescription", "Linux/UNIX".into()),
            ("instanceInterruptionBehavior", "terminate".into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_types_are_known_by_their_names() {
        for (name, arm) in [
            ("m6g.large", true),
            ("c7gn.xlarge", true),
            ("a1.medium", true),
            ("t4g.nano", true),
            ("g4dn.xlarge", false),
            ("m5.large", false),
            ("m6i.large", false),
        ] {
            assert_eq!(is_arm(name), arm, "{name}");
        }
    }

    #[test]
    fn cores_times_threads_are_the_vcpus() {
        for (vcpus, arm, cores, threads) in
            [(2, false, 1, 2), (2, true, 2, 1), (1, false, 1, 1), (96, false, 48, 2)]
        {
            let options = cpu_options(vcpus, arm);
            assert_eq!(options.get("coreCount").as_u32(), Some(cores));
            assert_eq!(options.get("threadsPerCore").as_u32(), Some(threads));
        }
    }

    #[test]
    fn what_cannot_be_an_id_is_malformed() {
        let ids = |id: &str| ids_of(&map([("InstanceId", Data::list([id]))])).map_err(|error| error.code);
        assert!(ids("i-0123456789abcdef0").is_ok());
        assert!(ids("i-01234567").is_ok());
        for id in ["", "i-", "i-xyz", "sfr-0123456789abcdef0", "i-0123456789abcdef01"] {
            assert_eq!(ids(id), Err("InvalidInstanceID.Malformed".to_owned()), "{id}");
        }
    }
}
