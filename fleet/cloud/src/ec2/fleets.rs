//! What Spot Fleet and EC2 Fleet have in common behind their different words.

use super::{Words, invalid, missing, optional};
use crate::shared::{Context, locked};
use crate::wire::{AwsError, Data, map};
use fleet::{Activity, FleetKind, FleetState, FleetView, Override, Weight, Zone};
use fleet_sim::{FleetRecord, WorldSpec};
use std::collections::BTreeMap;

/// The largest target of a fleet.
const MAX_TARGET: u32 = 10_000;

pub(super) const KINDS: Words<FleetKind> = Words(&[
    (FleetKind::Maintain, "maintain"),
    (FleetKind::Request, "request"),
    (FleetKind::Instant, "instant"),
]);

pub(super) const ACTIVITIES: Words<Activity> = Words(&[
    (Activity::Fulfilled, "fulfilled"),
    (Activity::PendingFulfillment, "pending_fulfillment"),
    (Activity::PendingTermination, "pending_termination"),
    (Activity::Error, "error"),
]);

/// What a fleet is to launch, as its launch template configurations say.
pub(super) struct Launch {
    pub overrides: Vec<Override>,
    /// Id and number of the version, with `$Default` and `$Latest` resolved.
    pub template: (String, String),
    pub image: String,
    pub detailed_monitoring: bool,
    /// The template's tags for instances.
    pub instance_tags: BTreeMap<String, String>,
}

/// Reads the launch template configurations of a request. One template for all of them is simulated, and types
/// by name, not by requirements.
pub(super) fn launch_of(context: &Context<'_>, configs: &Data) -> Result<Launch, AwsError> {
    let spec = context.world().spec().clone();
    let now = context.world().now();
    let mut templates = locked(&context.shared.templates);
    templates.know_those_of(&spec, now);
    let mut launch: Option<Launch> = None;
    for config in configs.items() {
        let specification = config.get("LaunchTemplateSpecification");
        let version = templates.resolve(specification)?;
        let template = (version.template_id.clone(), version.number.to_string());
        let launch = launch.get_or_insert_with(|| Launch {
            overrides: Vec::new(),
            template: template.clone(),
            image: version.image().to_owned(),
            detailed_monitoring: version.detailed_monitoring(),
            instance_tags: version.instance_tags(),
        });
        if launch.template != template {
            return Err(unsupported("more than one launch template in a fleet"));
        }
        let given = config.get("Overrides").items();
        for item in given {
            read_override(&spec, item, version.instance_type(), &mut launch.overrides)?;
        }
        if given.is_empty() {
            read_override(&spec, &Data::Null, version.instance_type(), &mut launch.overrides)?;
        }
    }
    launch.ok_or_else(|| missing("LaunchTemplateConfigs"))
}

/// Something that EC2 has and this simulation does not.
pub(super) fn unsupported(what: &str) -> AwsError {
    AwsError::new("UnsupportedOperation", format!("Not simulated: {what}."))
}

fn read_override(
    spec: &WorldSpec,
    item: &Data,
    template_type: Option<&str>,
    out: &mut Vec<Override>,
) -> Result<(), AwsError> {
    if !item.get("InstanceRequirements").is_null() {
        return Err(unsupported("overrides by instance requirements"));
    }
    let instance_type =
        item.get("InstanceType").as_str().or(template_type).ok_or_else(|| missing("InstanceType"))?;
    let weight = match optional(item, "WeightedCapacity", Data::as_f64)? {
        Some(weight) if weight > 0.0 => Weight::new(weight),
        Some(weight) => return Err(invalid(&weight.to_string(), "WeightedCapacity")),
        None => Weight::new(1.0),
    };
    let mut put = |zone: Option<Zone>| {
        out.push(Override { instance_type: instance_type.into(), zone, weight });
    };
    // Both may name several, separated by commas.
    let names = |name: &str| {
        let text = item.get(name).as_str().unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (zones, subnets) = (names("AvailabilityZone"), names("SubnetId"));
    for zone in &zones {
        put(Some(Zone::from(zone.as_str())));
    }
    for subnet in &subnets {
        let zone = spec.zones.iter().find(|zone| subnet_of(spec, zone) == *subnet).ok_or_else(|| {
            AwsError::new("InvalidSubnetID.NotFound", format!("The subnet ID '{subnet}' does not exist"))
        })?;
        put(Some(zone.clone()));
    }
    if zones.is_empty() && subnets.is_empty() {
        put(None);
    }
    Ok(())
}

/// The one subnet of a zone: subnets are numbered as the world's zones are.
pub(super) fn subnet_of(spec: &WorldSpec, zone: &Zone) -> String {
    let number = spec.zones.iter().position(|known| known == zone).map_or(0, |index| index + 1);
    format!("subnet-{number:017x}")
}

/// A target of a request, within EC2's bounds.
pub(super) fn target_of(input: &Data, name: &str) -> Result<Option<u32>, AwsError> {
    let target = optional(input, name, Data::as_u32)?;
    match target {
        Some(target) if target > MAX_TARGET => Err(invalid(&target.to_string(), name)),
        target => Ok(target),
    }
}

/// `launchTemplateConfigs`, as both describes show it.
pub(super) fn configs(view: &FleetView, template: &(String, String)) -> Data {
    let (id, version) = template;
    // As the describe shows it, which may lag.
    let shown = view.launch.as_ref().and_then(|launch| launch.version).map(|version| version.to_string());
    let version = shown.as_ref().unwrap_or(version);
    let overrides = view.overrides.iter().map(|item| {
        map([
            ("instanceType", item.instance_type.as_str().into()),
            ("availabilityZone", item.zone.as_ref().map(Zone::as_str).into()),
            ("weightedCapacity", item.weight.get().into()),
        ])
    });
    let template = map([("launchTemplateId", id.as_str().into()), ("version", version.as_str().into())]);
    Data::List(vec![map([("launchTemplateSpecification", template), ("overrides", Data::list(overrides))])])
}

/// EC2's word for where a fleet stands.
///
/// * `gone`: the word for a deleted one, `cancelled` or `deleted`.
/// * `deletion`: how a deleted fleet ends.
pub(super) fn state_word(view: &FleetView, gone: &str, deletion: Option<fleet_sim::Deletion>) -> String {
    match view.state {
        FleetState::Submitted => "submitted".to_owned(),
        FleetState::Active => "active".to_owned(),
        FleetState::Modifying => "modifying".to_owned(),
        FleetState::Failed => "failed".to_owned(),
        FleetState::Deleted => match deletion {
            Some(fleet_sim::Deletion::Running) => format!("{gone}_running"),
            Some(fleet_sim::Deletion::Terminating) => format!("{gone}_terminating"),
            Some(fleet_sim::Deletion::Gone) | None => gone.to_owned(),
        },
    }
}

/// A history, each record named by its time and place, so that it can be paged.
pub(super) fn named_records(
    records: Vec<FleetRecord>,
    word: fn(&FleetRecord) -> (&'static str, String),
    wanted: Option<&str>,
) -> Vec<(String, Data)> {
    let named = records.into_iter().enumerate().map(|(place, record)| {
        let (event_type, sub_type) = word(&record);
        let name = format!("{:020}.{place:06}", record.at.millis());
        let information = map([
            ("eventDescription", record.description.as_str().into()),
            ("eventSubType", sub_type.into()),
            ("instanceId", record.instance.as_ref().map(fleet::InstanceId::as_str).into()),
        ]);
        let shown = map([
            ("eventInformation", information),
            ("eventType", event_type.into()),
            ("timestamp", record.at.into()),
        ]);
        (event_type, name, shown)
    });
    named
        .filter(|(event_type, ..)| wanted.is_none_or(|wanted| wanted == *event_type))
        .map(|(_, name, shown)| (name, shown))
        .collect()
}
