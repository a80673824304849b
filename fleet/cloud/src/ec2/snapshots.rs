//! Snapshots, of which images are made, and the volumes that they are made of.

use super::filter::Filters;
use super::images::with_images;
use super::page::page;
use super::{required, tag_set};
use crate::service::Operation;
use crate::shared::{Context, Failure};
use crate::wire::{AwsError, Data, map};
use fleet::Timestamp;
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_gate("DescribeSnapshots", describe_snapshots),
    Operation::by_gate("DeleteSnapshot", delete_snapshot),
];

/// What an image's disk is made of.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub owner: String,
    pub volume: String,
    pub description: String,
    pub gib: u32,
    pub encrypted: bool,
    pub started: Timestamp,
    /// When it is complete.
    pub ready: Timestamp,
    pub tags: BTreeMap<String, String>,
}

impl Snapshot {
    /// One that is complete, and nobody's in particular.
    pub fn of(owner: &str, description: &str, gib: u32, now: Timestamp) -> Self {
        Self {
            owner: owner.to_owned(),
            volume: "vol-ffffffff".to_owned(),
            description: description.to_owned(),
            gib,
            encrypted: false,
            started: now,
            ready: now,
            tags: BTreeMap::new(),
        }
    }
    fn status(&self, now: Timestamp) -> &'static str {
        if now < self.ready { "pending" } else { "completed" }
    }
}

/// The refusal of a snapshot that is not there.
pub(super) fn unknown(id: &str) -> AwsError {
    AwsError::new("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

fn describe_snapshots(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] = &["snapshot-id", "status", "volume-id", "owner-id", "description", "encrypted"];
    let filters = Filters::read(input, FILTERS, true)?;
    let (ids, owners) = (input.get("SnapshotId").texts(), input.get("Owner").texts());
    with_images(context, |images, account, now| {
        // Of others' snapshots none is shared here.
        let own = |snapshot: &Snapshot| snapshot.owner == account;
        if let Some(id) = ids.iter().find(|id| !images.snapshots.get(**id).is_some_and(own)) {
            return Err(unknown(id).into());
        }
        let found = images
            .snapshots
            .iter()
            .filter(|(id, snapshot)| own(snapshot) && (ids.is_empty() || ids.contains(&id.as_str())))
            .filter(|_| owners.is_empty() || owners.contains(&"self") || owners.contains(&account))
            .filter(|(id, snapshot)| {
                filters.pass(&snapshot.tags, |filter| {
                    Some(match filter {
                        "snapshot-id" => (*id).clone(),
                        "status" => snapshot.status(now).to_owned(),
                        "volume-id" => snapshot.volume.clone(),
                        "owner-id" => snapshot.owner.clone(),
                        "encrypted" => snapshot.encrypted.to_string(),
                        _ => snapshot.description.clone(),
                    })
                })
            })
            .map(|(id, snapshot)| (id.clone(), shown(id, snapshot, now)));
        let page = page(input, 5..=1000, found)?;
        Ok(map([("snapshotSet", Data::List(page.items)), ("nextToken", page.next)]))
    })
}

fn shown(id: &str, snapshot: &Snapshot, now: Timestamp) -> Data {
    let status = snapshot.status(now);
    map([
        ("snapshotId", id.into()),
        ("volumeId", snapshot.volume.as_str().into()),
        ("status", status.into()),
        ("startTime", snapshot.started.into()),
        ("progress", if status == "completed" { "100%" } else { "0%" }.into()),
        ("ownerId", snapshot.owner.as_str().into()),
        ("volumeSize", snapshot.gib.into()),
        ("description", snapshot.description.as_str().into()),
        ("encrypted", snapshot.encrypted.into()),
        ("storageTier", "standard".into()),
        ("tagSet", tag_set(&snapshot.tags)),
    ])
}

fn delete_snapshot(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = required(input, "SnapshotId")?;
    with_images(context, |images, account, _| {
        if images.snapshots.get(id).is_none_or(|snapshot| snapshot.owner != account) {
            return Err(unknown(id).into());
        }
        if let Some(image) = images.of_snapshot(id) {
            let message = format!("The snapshot {id} is currently in use by {image}");
            return Err(AwsError::new("InvalidSnapshot.InUse", message).into());
        }
        images.snapshots.remove(id);
        Ok(map([("return", true.into())]))
    })
}
