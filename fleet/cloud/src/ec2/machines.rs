//! Machines that no fleet of the world holds: what somebody launches to make an image of it. They serve nothing, cost nothing,
//! and are there at once.

use super::filter::Filters;
use super::fleets::{subnet_of, unsupported};
use super::page::page;
use super::{invalid, missing, optional, required, tag_set, tags_of};
use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::sigv4::hmac;
use crate::wire::{AwsError, Data, map};
use fleet::{EndedBy, FleetId, Health, Instance, InstanceId, InstanceState, Market, Pool, Timestamp};
use fleet_sim::{FleetRequest, WorldSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("RunInstances", run_instances),
    Operation::by_gate("StopInstances", stop_instances),
    Operation::by_gate("DescribeVolumes", describe_volumes),
];

/// The most machines at a time, those that have ended included.
const MAX: usize = 1000;
/// How long a machine boots, stops, or ends, in the world's time.
const CHANGING: Duration = Duration::from_secs(2);
/// How long one that has ended is shown.
const SHOWN: Duration = Duration::from_secs(3600);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    by_id: BTreeMap<String, Machine>,
    made: u32,
}

/// A machine that no fleet holds, for whoever boots one in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BakeMachine {
    /// `i-…`.
    pub id: String,
    /// What it boots: `ami-…`.
    pub image: String,
    /// Its private address.
    pub address: Ipv4Addr,
    /// Who gets in by SSH, as a line of `authorized_keys`.
    pub public_key: Option<String>,
}

#[derive(Clone, Debug)]
struct Machine {
    image: String,
    /// Who gets in by SSH, where the key is one that opens something.
    key: Option<String>,
    architecture: String,
    pool: Pool,
    launched: Timestamp,
    stopped: Option<Timestamp>,
    ended: Option<Timestamp>,
    address: Ipv4Addr,
    volume: String,
    gib: u32,
    encrypted: bool,
    /// The security groups that it is in.
    groups: Vec<String>,
    volume_tags: BTreeMap<String, String>,
    /// Of the spot request that launched it.
    request_tags: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

/// The root disk of a machine.
pub(super) struct Disk {
    pub volume: String,
    pub gib: u32,
    pub encrypted: bool,
    pub architecture: String,
}

impl Machine {
    fn state(&self, now: Timestamp) -> InstanceState {
        let over = |since: Timestamp| now >= since + CHANGING;
        match (self.ended, self.stopped) {
            (Some(since), _) if over(since) => InstanceState::Terminated,
            (Some(_), _) => InstanceState::ShuttingDown,
            (None, Some(since)) if over(since) => InstanceState::Stopped,
            (None, Some(_)) => InstanceState::Stopping,
            (None, None) if over(self.launched) => InstanceState::Running,
            (None, None) => InstanceState::Pending,
        }
    }
    fn has_its_disk(&self, now: Timestamp) -> bool {
        self.state(now) != InstanceState::Terminated
    }
}

impl Machines {
    fn forget_the_old(&mut self, now: Timestamp) {
        self.by_id.retain(|_, machine| machine.ended.is_none_or(|ended| now < ended + SHOWN));
    }
    /// Those that run, or are about to.
    pub(crate) fn running(&self, now: Timestamp) -> Vec<BakeMachine> {
        let runs =
            |machine: &Machine| matches!(machine.state(now), InstanceState::Pending | InstanceState::Running);
        let running = self.by_id.iter().filter(|(_, machine)| runs(machine));
        let running = running.map(|(id, machine)| BakeMachine {
            id: id.clone(),
            image: machine.image.clone(),
            address: machine.address,
            public_key: machine.key.clone(),
        });
        running.collect()
    }
    pub(super) fn has(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }
    /// The tags of a machine, its volume or its spot request.
    pub(super) fn tags_of(&mut self, id: &str) -> Option<&mut BTreeMap<String, String>> {
        if id.starts_with("vol-") {
            let owner = self.by_id.values_mut().find(|machine| machine.volume == id);
            return owner.map(|machine| &mut machine.volume_tags);
        }
        if let Some(request) = id.strip_prefix("sir-") {
            let spot = |machine: &Machine| machine.pool.market == Market::Spot;
            let mut of_spot = self.by_id.iter_mut().filter(|(_, machine)| spot(machine));
            return of_spot
                .find(|(id, _)| id.ends_with(request))
                .map(|(_, machine)| &mut machine.request_tags);
        }
        self.by_id.get_mut(id).map(|machine| &mut machine.tags)
    }
    /// The tags of all machines, of their disks where they have them, and of their spot requests, by id.
    pub(super) fn tags(&self, now: Timestamp) -> Vec<(String, BTreeMap<String, String>)> {
        let mut tags = Vec::new();
        for (id, machine) in &self.by_id {
            tags.push((id.clone(), machine.tags.clone()));
            if machine.has_its_disk(now) {
                tags.push((machine.volume.clone(), machine.volume_tags.clone()));
            }
            if machine.pool.market == Market::Spot {
                tags.push((id.replacen("i-", "sir-", 1), machine.request_tags.clone()));
            }
        }
        tags
    }
    /// The security groups of machines that have not ended.
    pub(super) fn groups(&self, now: Timestamp) -> BTreeSet<String> {
        let there = self.by_id.values().filter(|machine| machine.state(now) != InstanceState::Terminated);
        there.flat_map(|machine| machine.groups.iter().cloned()).collect()
    }
    /// What describes show of them, and the image of each.
    pub(super) fn shown(&self, now: Timestamp) -> Vec<(Instance, FleetRequest, Data)> {
        self.by_id.iter().map(|(id, machine)| machine.shown(id, now)).collect()
    }
    /// Ends those of the ids that are here. * returns: each with its states before and now.
    pub(super) fn terminate(
        &mut self,
        ids: &[&InstanceId],
        now: Timestamp,
    ) -> Vec<(InstanceId, InstanceState, InstanceState)> {
        let mut ended = Vec::new();
        for id in ids {
            if let Some(machine) = self.by_id.get_mut(id.as_str()) {
                let before = machine.state(now);
                machine.ended.get_or_insert(now);
                ended.push(((*id).clone(), before, machine.state(now)));
            }
        }
        ended
    }
}

impl Machine {
    fn shown(&self, id: &str, now: Timestamp) -> (Instance, FleetRequest, Data) {
        let instance = Instance {
            id: InstanceId::from(id),
            fleet: FleetId::from(""),
            pool: self.pool.clone(),
            state: self.state(now),
            ended_by: self.ended.map(|_| EndedBy::Client),
            health: Health::Healthy,
            launched: self.launched,
            vcpus: fleet::vcpus_by_size(&self.pool.instance_type),
            private_ip: Some(IpAddr::V4(self.address)),
            tags: self.tags.clone().into(),
        };
        let asked = FleetRequest { image: self.image.clone(), ..FleetRequest::default() };
        let disk = map([
            ("volumeId", self.volume.as_str().into()),
            ("status", "attached".into()),
            ("attachTime", self.launched.into()),
            ("deleteOnTermination", true.into()),
        ]);
        let disks = vec![map([("deviceName", "/dev/xvda".into()), ("ebs", disk)])];
        (instance, asked, Data::List(if self.has_its_disk(now) { disks } else { Vec::new() }))
    }
}

/// What a launch asks for, from a launch template's data or RunInstances itself.
pub(super) struct Wanted<'a> {
    pub image: &'a str,
    /// The name of a key pair.
    pub key: Option<&'a str>,
    pub instance_type: &'a str,
    pub zone: Option<&'a str>,
    pub market: Market,
    /// Security groups, by their ids.
    pub groups: Vec<&'a str>,
    pub tags: BTreeMap<String, String>,
    pub volume_tags: BTreeMap<String, String>,
    pub devices: &'a Data,
}

/// Launches machines. * returns: their ids.
pub(super) fn launch(
    context: &Context<'_>,
    wanted: &Wanted<'_>,
    count: u32,
) -> Result<Vec<String>, AwsError> {
    let architecture = super::images::with_images(context, |images, account, now| {
        images.architecture(wanted.image, account, now).map(str::to_owned)
    })?;
    let (spec, now) = {
        let world = context.world();
        (world.spec().clone(), world.now())
    };
    let arm = super::is_arm(wanted.instance_type);
    if arm != (architecture == "arm64") {
        let of_type = if arm { "arm64" } else { "x86_64" };
        let message = format!(
            "The architecture '{of_type}' of the specified instance type does not match the architecture \
             '{architecture}' of the specified AMI. Specify an instance type and an AMI that have matching \
             architectures, and try again."
        );
        return Err(AwsError::new("InvalidParameterValue", message));
    }
    let zone = wanted.zone.map(fleet::Zone::from).or_else(|| spec.zones.first().cloned());
    let zone = zone.ok_or_else(|| missing("AvailabilityZone"))?;
    let root = wanted.devices.items().first().map(|device| device.get("Ebs"));
    let key = wanted.key.map(|name| locked(&context.shared.access).public_key(name)).transpose()?.flatten();
    let mut machines = locked(&context.shared.machines);
    machines.forget_the_old(now);
    let room = MAX.saturating_sub(machines.by_id.len());
    if usize::try_from(count).map_or(true, |count| count > room) {
        let message = "You have requested more instances than your current instance limit allows";
        return Err(AwsError::new("InstanceLimitExceeded", message));
    }
    let mut ids = Vec::new();
    for _ in 0..count {
        machines.made += 1;
        let number = machines.made;
        let id =
            |kind: &str| format!("{kind}-{}", &hex::encode(hmac(kind.as_bytes(), &number.to_string()))[..17]);
        let machine = Machine {
            image: wanted.image.to_owned(),
            key: key.clone(),
            architecture: architecture.clone(),
            pool: Pool {
                instance_type: wanted.instance_type.into(),
                zone: zone.clone(),
                market: wanted.market,
            },
            launched: now,
            stopped: None,
            ended: None,
            address: Ipv4Addr::from(u32::from(context.shared.first_machine).saturating_add(number - 1)),
            volume: id("vol"),
            gib: root.and_then(|root| root.get("VolumeSize").as_u32()).unwrap_or(8),
            encrypted: root.and_then(|root| root.get("Encrypted").as_bool()).unwrap_or(false),
            groups: wanted.groups.iter().map(|group| (*group).to_owned()).collect(),
            volume_tags: wanted.volume_tags.clone(),
            request_tags: BTreeMap::new(),
            tags: wanted.tags.clone(),
        };
        machines.by_id.insert(id("i"), machine);
        ids.push(id("i"));
    }
    Ok(ids)
}

/// The disk of a machine that an image can be made of.
pub(super) fn disk_of(context: &Context<'_>, id: &str) -> Result<Disk, AwsError> {
    // The world before the machines, as everywhere.
    let (now, of_a_fleet) = {
        let world = context.world();
        let ours = |instance: &Instance| instance.id.as_str() == id;
        (world.now(), world.shown_instances().iter().any(ours))
    };
    let machines = locked(&context.shared.machines);
    let Some(machine) = machines.by_id.get(id) else {
        if of_a_fleet {
            return Err(unsupported("an image of a fleet's instance"));
        }
        let message = format!("The instance ID '{id}' does not exist");
        return Err(AwsError::new("InvalidInstanceID.NotFound", message));
    };
    if !matches!(machine.state(now), InstanceState::Running | InstanceState::Stopped) {
        let message = "Instance is not in state 'running' or 'stopped'.";
        return Err(AwsError::new("IncorrectState", message));
    }
    Ok(Disk {
        volume: machine.volume.clone(),
        gib: machine.gib,
        encrypted: machine.encrypted,
        architecture: machine.architecture.clone(),
    })
}

fn run_instances(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    if !input.get("LaunchTemplate").is_null() {
        return Err(unsupported("RunInstances with a launch template").into());
    }
    let count = optional(input, "MaxCount", Data::as_u32)?.ok_or_else(|| missing("MaxCount"))?;
    if !(1..=100).contains(&count) {
        return Err(invalid(&count.to_string(), "MaxCount").into());
    }
    let spot = input.get("InstanceMarketOptions").get("MarketType").as_str() == Some("spot");
    let wanted = Wanted {
        image: required(input, "ImageId")?,
        key: input.get("KeyName").as_str(),
        instance_type: input.get("InstanceType").as_str().unwrap_or("m1.small"),
        zone: input.get("Placement").get("AvailabilityZone").as_str(),
        market: if spot { Market::Spot } else { Market::OnDemand },
        groups: groups_of(input),
        tags: tags_of(input, "instance"),
        volume_tags: tags_of(input, "volume"),
        devices: input.get("BlockDeviceMapping"),
    };
    let ids = launch(context, &wanted, count)?;
    let shown = super::instances::reservation_of_machines(context, &ids);
    Ok(shown)
}

/// The security groups that a launch names, itself or for its network interface.
pub(super) fn groups_of(launch: &Data) -> Vec<&str> {
    let interfaces = launch.get("NetworkInterface").items().iter();
    let of_interfaces = interfaces.flat_map(|interface| interface.get("SecurityGroupId").texts());
    launch.get("SecurityGroupId").texts().into_iter().chain(of_interfaces).collect()
}

fn stop_instances(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let ids = input.get("InstanceId").texts();
    let now = context.world().now();
    let mut machines = locked(&context.shared.machines);
    if let Some(id) = ids.iter().find(|id| !machines.has(id)) {
        let message = format!("The instance ID '{id}' does not exist");
        return Err(AwsError::new("InvalidInstanceID.NotFound", message).into());
    }
    let mut shown = Vec::new();
    for id in ids {
        let Some(machine) = machines.by_id.get_mut(id) else { continue };
        let before = machine.state(now);
        if machine.pool.market == Market::Spot {
            let message = format!(
                "You can't stop the Spot Instance '{id}' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests."
            );
            return Err(AwsError::new("UnsupportedOperation", message).into());
        }
        if !matches!(before, InstanceState::Running | InstanceState::Stopping | InstanceState::Stopped) {
            let message = format!("The instance '{id}' is not in a state from which it can be stopped.");
            return Err(AwsError::new("IncorrectInstanceState", message).into());
        }
        machine.stopped.get_or_insert(now);
        shown.push(map([
            ("instanceId", id.into()),
            ("currentState", super::instances::state(machine.state(now))),
            ("previousState", super::instances::state(before)),
        ]));
    }
    Ok(map([("instancesSet", Data::List(shown))]))
}

fn describe_volumes(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] = &["volume-id", "status", "attachment.instance-id", "encrypted"];
    let filters = Filters::read(input, FILTERS, true)?;
    let wanted = input.get("VolumeId").texts();
    let now = context.world().now();
    let machines = locked(&context.shared.machines);
    let there = || machines.by_id.iter().filter(|(_, machine)| machine.has_its_disk(now));
    if let Some(id) = wanted.iter().find(|id| !there().any(|(_, machine)| machine.volume == **id)) {
        let message = format!("The volume '{id}' does not exist.");
        return Err(AwsError::new("InvalidVolume.NotFound", message).into());
    }
    let found = there()
        .filter(|(_, machine)| wanted.is_empty() || wanted.contains(&machine.volume.as_str()))
        .filter(|(id, machine)| {
            filters.pass(&machine.volume_tags, |filter| {
                Some(match filter {
                    "volume-id" => machine.volume.clone(),
                    "status" => "in-use".to_owned(),
                    "encrypted" => machine.encrypted.to_string(),
                    _ => (*id).clone(),
                })
            })
        })
        .map(|(id, machine)| (machine.volume.clone(), shown_volume(id, machine)));
    let page = page(input, 5..=500, found)?;
    Ok(map([("volumeSet", Data::List(page.items)), ("nextToken", page.next)]))
}

fn shown_volume(id: &str, machine: &Machine) -> Data {
    let attached = map([
        ("volumeId", machine.volume.as_str().into()),
        ("instanceId", id.into()),
        ("device", "/dev/xvda".into()),
        ("status", "attached".into()),
        ("attachTime", machine.launched.into()),
        ("deleteOnTermination", true.into()),
    ]);
    map([
        ("volumeId", machine.volume.as_str().into()),
        ("size", machine.gib.into()),
        ("availabilityZone", machine.pool.zone.as_str().into()),
        ("status", "in-use".into()),
        ("createTime", machine.launched.into()),
        ("attachmentSet", Data::List(vec![attached])),
        ("volumeType", "gp3".into()),
        ("encrypted", machine.encrypted.into()),
        ("tagSet", tag_set(&machine.volume_tags)),
    ])
}

/// The zone of a subnet.
pub(super) fn zone_of<'a>(spec: &'a WorldSpec, subnet: &str) -> Option<&'a str> {
    spec.zones.iter().find(|zone| subnet_of(spec, zone) == subnet).map(fleet::Zone::as_str)
}
