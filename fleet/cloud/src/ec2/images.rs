//! Images: made of machines or of snapshots, shared, deprecated, deregistered.

use super::filter::Filters;
use super::fleets::unsupported;
use super::page::page;
use super::snapshots::Snapshot;
use super::{invalid, missing, optional_time, required, tag_set, tags_of};
use crate::service::Operation;
use crate::shared::{Context, Failure, Shared, locked};
use crate::sigv4::hmac;
use crate::wire::{AwsError, Data, map};
use fleet::Timestamp;
use fleet_sim::WorldSpec;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("CreateImage", create_image),
    Operation::by_gate("RegisterImage", register_image),
    Operation::by_gate("DescribeImages", describe_images),
    Operation::by_gate("DescribeImageAttribute", describe_image_attribute),
    Operation::by_gate("ModifyImageAttribute", modify_image_attribute),
    Operation::by_gate("EnableImageDeprecation", enable_image_deprecation),
    Operation::by_gate("DisableImageDeprecation", disable_image_deprecation),
    Operation::by_gate("DeregisterImage", deregister_image),
];

/// The most images, and the most snapshots.
const MAX: usize = 5000;
/// The most accounts that an image is shared with.
const MAX_SHARED: usize = 1000;
/// How long EC2 makes an image, in the world's time.
pub(super) const MAKING: Duration = Duration::from_secs(30);
/// The account that Debian publishes from.
const DEBIAN: &str = "136693071363";

/// All images and snapshots.
#[derive(Debug, Default)]
pub(crate) struct Images {
    by_id: BTreeMap<String, Image>,
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    /// Those that were there once: EC2 says so.
    gone: BTreeSet<String>,
    made: u64,
    knows_the_worlds: bool,
}

#[derive(Clone, Debug)]
struct Image {
    name: String,
    description: String,
    owner: String,
    created: Timestamp,
    available: Timestamp,
    architecture: String,
    public: bool,
    /// The snapshot of its root device.
    snapshot: String,
    /// The machine that it was made of.
    made_of: Option<String>,
    device: String,
    shared_with: BTreeSet<String>,
    imds: Option<String>,
    deprecated: Option<Timestamp>,
    /// A state that it was put in, and stays in.
    stuck: Option<Stuck>,
    tags: BTreeMap<String, String>,
}

/// A state of an image that cannot be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stuck {
    /// It is being made, and that does not end.
    Pending,
    /// It could not be made.
    Failed,
    /// Its owner has disabled it.
    Disabled,
}

impl Image {
    fn state(&self, now: Timestamp) -> &'static str {
        match self.stuck {
            Some(Stuck::Failed) => "failed",
            Some(Stuck::Disabled) => "disabled",
            Some(Stuck::Pending) => "pending",
            None if now < self.available => "pending",
            None => "available",
        }
    }
    fn seen_by(&self, account: &str) -> bool {
        self.owner == account || self.public || self.shared_with.contains(account)
    }
    fn value_of(&self, id: &str, filter: &str, now: Timestamp) -> Option<String> {
        Some(match filter {
            "image-id" => id.to_owned(),
            "name" => self.name.clone(),
            "description" => self.description.clone(),
            "owner-id" => self.owner.clone(),
            "state" => self.state(now).to_owned(),
            "architecture" => self.architecture.clone(),
            "is-public" => self.public.to_string(),
            "root-device-type" => "ebs".to_owned(),
            "root-device-name" => self.device.clone(),
            "virtualization-type" => "hvm".to_owned(),
            "image-type" => "machine".to_owned(),
            "block-device-mapping.snapshot-id" => self.snapshot.clone(),
            _ => return None,
        })
    }
}

const FILTERS: &[&str] = &[
    "image-id",
    "name",
    "description",
    "owner-id",
    "state",
    "architecture",
    "is-public",
    "root-device-type",
    "root-device-name",
    "virtualization-type",
    "image-type",
    "block-device-mapping.snapshot-id",
];

impl Images {
    /// Takes up the images that the world's own fleets launch, and Debian's, from which others are made.
    fn know_those_of(&mut self, spec: &WorldSpec, now: Timestamp) {
        if self.knows_the_worlds {
            return;
        }
        self.knows_the_worlds = true;
        for architecture in ["amd64", "arm64"] {
            let id = format!("ami-{}", &hex::encode(hmac(b"debian", architecture))[..17]);
            let snapshot = self.put_snapshot(Snapshot::of(DEBIAN, "", 8, now), now);
            let words = if architecture == "arm64" { "arm64" } else { "x86_64" };
            let image = Image {
                public: true,
                ..Image::new(&format!("debian-12-{architecture}-20260901-2221"), DEBIAN, words, snapshot, now)
            };
            self.by_id.insert(id, Image { available: now, ..image });
        }
        let default = fleet_sim::FleetRequest::default();
        for request in spec.fleets.iter().map(|fleet| &fleet.request).chain([&default]) {
            if !self.by_id.contains_key(&request.image) {
                let snapshot = self.put_snapshot(Snapshot::of(&spec.account, "", 8, now), now);
                let name = format!("of-the-world-{}", self.by_id.len());
                let image = Image::new(&name, &spec.account, "x86_64", snapshot, now);
                self.by_id.insert(request.image.clone(), Image { available: now, ..image });
            }
        }
    }

    /// An id that nothing else has.
    fn next_id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}-{}", &hex::encode(hmac(prefix.as_bytes(), &self.made.to_string()))[..17])
    }

    fn put_snapshot(&mut self, snapshot: Snapshot, now: Timestamp) -> String {
        let id = self.next_id("snap");
        self.snapshots.insert(id.clone(), Snapshot { started: now, ..snapshot });
        id
    }

    /// The image that an id names, for whoever may see it.
    fn find(&self, id: &str, account: &str) -> Result<&Image, AwsError> {
        if !well_formed(id) {
            return Err(AwsError::new("InvalidAMIID.Malformed", format!("Invalid id: \"{id}\"")));
        }
        self.by_id.get(id).filter(|image| image.seen_by(account)).ok_or_else(|| {
            if self.gone.contains(id) {
                let message = format!("The image ID '{id}' is no longer available");
                return AwsError::new("InvalidAMIID.Unavailable", message);
            }
            AwsError::new("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist"))
        })
    }

    /// The image, for its owner alone.
    fn own(&mut self, id: &str, account: &str) -> Result<&mut Image, AwsError> {
        if self.find(id, account)?.owner != account {
            let message = format!("Not authorized for image:{id}");
            return Err(AwsError::new("AuthFailure", message).with_status(http::StatusCode::FORBIDDEN));
        }
        self.by_id.get_mut(id).ok_or_else(|| AwsError::new("InvalidAMIID.NotFound", ""))
    }

    /// The images that were made of machines: image, machine.
    pub(crate) fn made(&self) -> Vec<(String, String)> {
        let made = self.by_id.iter().filter_map(|(id, image)| Some((id.clone(), image.made_of.clone()?)));
        made.collect()
    }

    /// What is registered of a snapshot.
    pub(super) fn of_snapshot(&self, snapshot: &str) -> Option<&str> {
        self.by_id.iter().find(|(_, image)| image.snapshot == snapshot).map(|(id, _)| id.as_str())
    }

    /// The architecture of an image that can be launched.
    pub(super) fn architecture(&self, id: &str, account: &str, now: Timestamp) -> Result<&str, AwsError> {
        let image = self.find(id, account)?;
        if image.state(now) != "available" {
            let message = format!("The image ID '{id}' is not available");
            return Err(AwsError::new("InvalidAMIID.Unavailable", message));
        }
        Ok(&image.architecture)
    }

    /// The tags of all images and snapshots of an account, by id.
    pub(super) fn tags(&self, account: &str) -> Vec<(String, BTreeMap<String, String>)> {
        let images = self.by_id.iter().filter(|(_, image)| image.owner == account);
        let snapshots = self.snapshots.iter().filter(|(_, snapshot)| snapshot.owner == account);
        let images = images.map(|(id, image)| (id.clone(), image.tags.clone()));
        images.chain(snapshots.map(|(id, snapshot)| (id.clone(), snapshot.tags.clone()))).collect()
    }
    /// The tags of an image or a snapshot.
    pub(super) fn tags_of(&mut self, id: &str) -> Option<&mut BTreeMap<String, String>> {
        match self.by_id.get_mut(id) {
            Some(image) => Some(&mut image.tags),
            None => self.snapshots.get_mut(id).map(|snapshot| &mut snapshot.tags),
        }
    }
}

/// An image that is there without having been made: see [`crate::CloudServer::put_image`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSpec {
    /// Its id; `None`: one that nothing else has.
    pub id: Option<String>,
    /// Its name. It may be another image's, too.
    pub name: String,
    /// `arm64` or, by default, `x86_64`.
    pub arm64: bool,
    /// How old it is, in seconds of the world.
    pub age_seconds: u32,
    /// For how long it has been deprecated, in seconds; `None`: it is not.
    pub deprecated_seconds: Option<u32>,
    /// The state that it is in for good; `None`: it can be launched.
    pub stuck: Option<Stuck>,
    /// Its tags, and its snapshot's.
    pub tags: BTreeMap<String, String>,
    /// Another account, which owns it and lets everybody launch it.
    pub owner: Option<String>,
}

/// Puts an image there. * returns: its id, and its snapshot's.
pub(crate) fn put_image(shared: &Shared, spec: &ImageSpec) -> (String, String) {
    let (world, now) = {
        let world = shared.world();
        (world.spec().clone(), world.now())
    };
    let mut images = locked(&shared.images);
    images.know_those_of(&world, now);
    let ago = |seconds: u32| now - Duration::from_secs(seconds.into());
    let created = ago(spec.age_seconds);
    let owner = spec.owner.as_ref().unwrap_or(&world.account);
    let snapshot = Snapshot { tags: spec.tags.clone(), ..Snapshot::of(owner, "", 8, created) };
    let snapshot = images.put_snapshot(snapshot, created);
    let architecture = if spec.arm64 { "arm64" } else { "x86_64" };
    let image = Image {
        available: created,
        public: spec.owner.is_some(),
        deprecated: spec.deprecated_seconds.map(ago),
        stuck: spec.stuck,
        tags: spec.tags.clone(),
        ..Image::new(&spec.name, owner, architecture, snapshot.clone(), created)
    };
    let id = spec.id.clone().unwrap_or_else(|| images.next_id("ami"));
    images.by_id.insert(id.clone(), image);
    (id, snapshot)
}

impl Image {
    fn new(name: &str, owner: &str, architecture: &str, snapshot: String, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            owner: owner.to_owned(),
            created: now,
            available: now + MAKING,
            architecture: architecture.to_owned(),
            public: false,
            snapshot,
            made_of: None,
            device: "/dev/xvda".to_owned(),
            shared_with: BTreeSet::new(),
            imds: None,
            deprecated: None,
            stuck: None,
            tags: BTreeMap::new(),
        }
    }
}

fn well_formed(id: &str) -> bool {
    let digits = id.strip_prefix("ami-").unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The images, with those of the world among them.
///
/// * `then`: gets them, the account's id and the world's time.
pub(super) fn with_images<T>(
    context: &Context<'_>,
    then: impl FnOnce(&mut Images, &str, Timestamp) -> T,
) -> T {
    let (spec, now) = {
        let world = context.world();
        (world.spec().clone(), world.now())
    };
    let mut images = locked(&context.shared.images);
    images.know_those_of(&spec, now);
    then(&mut images, &spec.account, now)
}

fn name_of<'a>(images: &Images, input: &'a Data, account: &str) -> Result<&'a str, AwsError> {
    let name = required(input, "Name")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
    if !(3..=128).contains(&name.len()) || !name.chars().all(legal) {
        let message = format!(
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', \
             '-', '/', '_': {name}"
        );
        return Err(AwsError::new("InvalidAMIName.Malformed", message));
    }
    let taken = images.by_id.iter().find(|(_, image)| image.owner == account && image.name == name);
    if let Some((id, _)) = taken {
        let message = format!("AMI name {name} is already in use by AMI {id}");
        return Err(AwsError::new("InvalidAMIName.Duplicate", message));
    }
    if images.by_id.len() >= MAX || images.snapshots.len() >= MAX {
        return Err(AwsError::new("ResourceLimitExceeded", "There are as many images as there may be"));
    }
    Ok(name)
}

fn create_image(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let machine = required(input, "InstanceId")?;
    let disk = super::machines::disk_of(context, machine)?;
    with_images(context, |images, account, now| {
        let name = name_of(images, input, account)?.to_owned();
        let words = format!("Created by CreateImage({machine}) for {name}");
        let snapshot = Snapshot {
            volume: disk.volume,
            description: words,
            encrypted: disk.encrypted,
            tags: tags_of(input, "snapshot"),
            ready: now + MAKING,
            ..Snapshot::of(account, "", disk.gib, now)
        };
        let snapshot = images.put_snapshot(snapshot, now);
        let image = Image {
            description: input.get("Description").as_str().unwrap_or_default().to_owned(),
            made_of: Some(machine.to_owned()),
            tags: tags_of(input, "image"),
            ..Image::new(&name, account, &disk.architecture, snapshot, now)
        };
        let id = images.next_id("ami");
        images.by_id.insert(id.clone(), image);
        Ok(map([("imageId", id.into())]))
    })
}

fn register_image(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let device = required(input, "RootDeviceName")?;
    let devices = input.get("BlockDeviceMapping").items();
    let root = devices.iter().find(|each| each.get("DeviceName").as_str() == Some(device));
    let snapshot = root.and_then(|root| root.get("Ebs").get("SnapshotId").as_str());
    let snapshot = snapshot.ok_or_else(|| missing("BlockDeviceMapping.Ebs.SnapshotId"))?;
    with_images(context, |images, account, now| {
        let name = name_of(images, input, account)?.to_owned();
        if images.snapshots.get(snapshot).is_none_or(|snapshot| snapshot.owner != account) {
            return Err(super::snapshots::unknown(snapshot).into());
        }
        let architecture = input.get("Architecture").as_str().unwrap_or("i386");
        let image = Image {
            device: device.to_owned(),
            description: input.get("Description").as_str().unwrap_or_default().to_owned(),
            imds: input.get("ImdsSupport").as_str().map(str::to_owned),
            tags: tags_of(input, "image"),
            ..Image::new(&name, account, architecture, snapshot.to_owned(), now)
        };
        let id = images.next_id("ami");
        images.by_id.insert(id.clone(), image);
        Ok(map([("imageId", id.into())]))
    })
}

fn describe_images(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let filters = Filters::read(input, FILTERS, true)?;
    let (ids, owners) = (input.get("ImageId").texts(), input.get("Owner").texts());
    let all = input.get("IncludeDeprecated").as_bool().unwrap_or(false);
    let disabled = input.get("IncludeDisabled").as_bool().unwrap_or(false);
    if !input.get("ExecutableBy").is_null() {
        return Err(unsupported("images by who may launch them").into());
    }
    with_images(context, |images, account, now| {
        for id in &ids {
            images.find(id, account)?;
        }
        let of = |image: &Image| {
            owners.is_empty()
                || owners.contains(&image.owner.as_str())
                || (owners.contains(&"self") && image.owner == account)
        };
        // Whoever owns an image, or names it, sees it when it is deprecated.
        let shown = |id: &str, image: &Image| {
            if image.stuck == Some(Stuck::Disabled) && !disabled {
                return false;
            }
            all || image.owner == account
                || ids.contains(&id)
                || image.deprecated.is_none_or(|deprecated| now < deprecated)
        };
        let found = images
            .by_id
            .iter()
            .filter(|(id, image)| ids.is_empty() || ids.contains(&id.as_str()) && image.seen_by(account))
            .filter(|(id, image)| image.seen_by(account) && of(image) && shown(id, image))
            .filter(|(id, image)| filters.pass(&image.tags, |filter| image.value_of(id, filter, now)))
            .map(|(id, image)| (id.clone(), shown_image(id, image, images, now)));
        let page = page(input, 1..=1000, found)?;
        Ok(map([("imagesSet", Data::List(page.items)), ("nextToken", page.next)]))
    })
}

fn shown_image(id: &str, image: &Image, images: &Images, now: Timestamp) -> Data {
    let snapshot = images.snapshots.get(&image.snapshot);
    let disk = map([
        ("snapshotId", image.snapshot.as_str().into()),
        ("volumeSize", snapshot.map(|snapshot| snapshot.gib).into()),
        ("deleteOnTermination", true.into()),
        ("volumeType", "gp3".into()),
        ("encrypted", snapshot.is_some_and(|snapshot| snapshot.encrypted).into()),
    ]);
    map([
        ("imageId", id.into()),
        ("imageLocation", format!("{}/{}", image.owner, image.name).into()),
        ("imageState", image.state(now).into()),
        ("imageOwnerId", image.owner.as_str().into()),
        ("creationDate", image.created.into()),
        ("isPublic", image.public.into()),
        ("architecture", image.architecture.as_str().into()),
        ("imageType", "machine".into()),
        ("name", image.name.as_str().into()),
        ("description", image.description.as_str().into()),
        ("platformDetails", "Linux/UNIX".into()),
        ("usageOperation", "RunInstances".into()),
        ("rootDeviceType", "ebs".into()),
        ("rootDeviceName", image.device.as_str().into()),
        (
            "blockDeviceMapping",
            Data::List(vec![map([("deviceName", image.device.as_str().into()), ("ebs", disk)])]),
        ),
        ("virtualizationType", "hvm".into()),
        ("hypervisor", "xen".into()),
        ("enaSupport", true.into()),
        ("sriovNetSupport", "simple".into()),
        ("imdsSupport", image.imds.as_deref().into()),
        ("deprecationTime", image.deprecated.into()),
        ("tagSet", tag_set(&image.tags)),
    ])
}

fn describe_image_attribute(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let (id, attribute) = (required(input, "ImageId")?, required(input, "Attribute")?);
    with_images(context, |images, account, _| {
        let image = images.own(id, account)?;
        let users = image.shared_with.iter().map(|user| map([("userId", user.as_str().into())]));
        let value = |text: &str| map([("value", text.into())]);
        let (name, shown) = match attribute {
            "launchPermission" => ("launchPermission", Data::List(users.collect())),
            "description" => ("description", value(&image.description)),
            "imdsSupport" => ("imdsSupport", image.imds.as_deref().map(value).into()),
            other => return Err(invalid(other, "Attribute").into()),
        };
        Ok(map([("imageId", id.into()), (name, shown)]))
    })
}

fn modify_image_attribute(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = required(input, "ImageId")?;
    let permission = input.get("LaunchPermission");
    let users = |what: &str| -> Vec<String> {
        let users = permission.get(what).items().iter();
        users.filter_map(|user| user.get("UserId").as_str()).map(str::to_owned).collect()
    };
    let (mut add, mut remove) = (users("Add"), users("Remove"));
    let given = input.get("UserId").texts().into_iter().map(str::to_owned);
    match input.get("OperationType").as_str() {
        Some("remove") => remove.extend(given),
        _ => add.extend(given),
    }
    let groups = [permission.get("Add"), permission.get("Remove")];
    if groups.iter().any(|list| list.items().iter().any(|each| !each.get("Group").is_null())) {
        return Err(unsupported("images that everybody may launch").into());
    }
    if let Some(wrong) = add.iter().find(|user| user.len() != 12 || !user.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(AwsError::new(
            "InvalidAMIAttributeItemValue",
            format!("Invalid attribute item value \"{wrong}\" for userId item type."),
        )
        .into());
    }
    let support = input.get("ImdsSupport").get("Value").as_str();
    if support.is_some_and(|support| support != "v2.0") {
        return Err(invalid(support.unwrap_or_default(), "imdsSupport").into());
    }
    with_images(context, |images, account, _| {
        let image = images.own(id, account)?;
        image.shared_with.retain(|user| !remove.contains(user));
        image.shared_with.extend(add);
        if image.shared_with.len() > MAX_SHARED {
            image.shared_with = image.shared_with.iter().take(MAX_SHARED).cloned().collect();
            return Err(AwsError::new("AMILaunchPermissionLimitExceeded", "Too many accounts").into());
        }
        if let Some(support) = support {
            image.imds = Some(support.to_owned());
        }
        if let Some(words) = input.get("Description").get("Value").as_str() {
            words.clone_into(&mut image.description);
        }
        Ok(map([("return", true.into())]))
    })
}

fn enable_image_deprecation(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = required(input, "ImageId")?;
    let at = optional_time(input, "DeprecateAt")?.ok_or_else(|| missing("DeprecateAt"))?;
    with_images(context, |images, account, now| {
        let image = images.own(id, account)?;
        if at <= now {
            let message = format!("The deprecation date {at} must be in the future");
            return Err(AwsError::new("InvalidParameterValue", message).into());
        }
        // To the minute, as EC2 keeps it.
        image.deprecated = Some(Timestamp::from_secs(at.secs().div_euclid(60) * 60));
        Ok(map([("return", true.into())]))
    })
}

fn disable_image_deprecation(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = required(input, "ImageId")?;
    with_images(context, |images, account, _| {
        images.own(id, account)?.deprecated = None;
        Ok(map([("return", true.into())]))
    })
}

fn deregister_image(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = required(input, "ImageId")?;
    if input.get("DeleteAssociatedSnapshots").as_bool() == Some(true) {
        return Err(unsupported("snapshots that go with their image").into());
    }
    with_images(context, |images, account, _| {
        images.own(id, account)?;
        images.by_id.remove(id);
        images.gone.insert(id.to_owned());
        if images.gone.len() > MAX {
            images.gone.pop_first();
        }
        Ok(map([("return", true.into())]))
    })
}
