//! Tags of fleets, instances, and what images are made with.

use super::filter::Filters;
use super::images::with_images;
use super::missing;
use super::page::page;
use super::templates::with_templates;
use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::wire::{AwsError, Data, map};
use fleet::Backend;
use fleet_sim::Action;
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[Operation] =
    &[Operation::by_world("CreateTags", create_tags), Operation::by_gate("DescribeTags", describe_tags)];

/// The most tags of a resource.
const MAX_TAGS: usize = 50;

fn create_tags(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let resources = input.get("ResourceId").texts();
    let given = input.get("Tag").items();
    if resources.is_empty() || given.is_empty() {
        return Err(missing(if given.is_empty() { "Tag" } else { "ResourceId" }).into());
    }
    let mut tags = BTreeMap::new();
    for tag in given {
        let key = tag.get("Key").as_str().ok_or_else(|| missing("Tag.Key"))?;
        if key.is_empty() || key.len() > 127 || key.starts_with("aws:") {
            let message = format!("Tag keys starting with 'aws:' are reserved for internal use: {key}");
            return Err(AwsError::new("InvalidParameterValue", message).into());
        }
        tags.insert(key.to_owned(), tag.get("Value").as_str().unwrap_or_default().to_owned());
    }
    let (ours, worlds): (Vec<&str>, Vec<&str>) =
        resources.into_iter().partition(|id| with_tags(context, id, |_| ()).is_some());
    // The world counts the call, and refuses all of it where it does not know one of the rest.
    if worlds.is_empty() {
        context.world().admit(context.caller, Action("CreateTags"))?;
    } else {
        context.world().create_tags(context.caller, &worlds, &tags)?;
    }
    for id in ours {
        let put = with_tags(context, id, |own| {
            let new = tags.keys().filter(|key| !own.contains_key(*key)).count();
            if own.len() + new > MAX_TAGS {
                return Err(AwsError::new("TagLimitExceeded", "The maximum number of tags has been reached"));
            }
            own.extend(tags.clone());
            Ok(())
        });
        put.unwrap_or(Ok(()))?;
    }
    Ok(map([("return", true.into())]))
}

/// The tags of what is not the world's: images, snapshots, machines, volumes, spot requests, key pairs, groups, templates; `None` where
/// there is no such thing.
fn with_tags<T>(
    context: &Context<'_>,
    id: &str,
    then: impl FnOnce(&mut BTreeMap<String, String>) -> T,
) -> Option<T> {
    match id.split_once('-')?.0 {
        "ami" | "snap" => with_images(context, |images, _, _| images.tags_of(id).map(then)),
        "i" | "vol" | "sir" => locked(&context.shared.machines).tags_of(id).map(then),
        "key" | "sg" => locked(&context.shared.access).tags_of(id).map(then),
        "lt" => with_templates(context, |templates, _| templates.tags_of(id).map(then)),
        _ => None,
    }
}

/// What EC2 calls the kind of a thing, by what its id begins with.
const KINDS: [(&str, &str); 10] = [
    ("ami", "image"),
    ("fleet", "fleet"),
    ("i", "instance"),
    ("key", "key-pair"),
    ("lt", "launch-template"),
    ("sfr", "spot-fleet-request"),
    ("sg", "security-group"),
    ("sir", "spot-instances-request"),
    ("snap", "snapshot"),
    ("vol", "volume"),
];

/// All that may have tags, by id: the world's, and what is kept beside it.
fn all_tags(context: &Context<'_>) -> Vec<(String, BTreeMap<String, String>)> {
    let (mut tags, now) = {
        let world = context.world();
        let fleets =
            [Backend::SpotFleet, Backend::Ec2Fleet].into_iter().flat_map(|of| world.shown_fleets(of));
        let mut tags: Vec<_> = fleets.map(|fleet| (fleet.id.to_string(), fleet.tags)).collect();
        let instances = world.shown_instances().into_iter();
        tags.extend(instances.map(|one| (one.id.to_string(), BTreeMap::clone(&one.tags))));
        (tags, world.now())
    };
    tags.extend(with_images(context, |images, account, _| images.tags(account)));
    tags.extend(with_templates(context, |templates, _| templates.tags().collect::<Vec<_>>()));
    tags.extend(locked(&context.shared.machines).tags(now));
    tags.extend(locked(&context.shared.access).tags());
    tags
}

fn describe_tags(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] = &["key", "value", "resource-id", "resource-type"];
    let filters = Filters::read(input, FILTERS, true)?;
    let mut found = Vec::new();
    for (id, tags) in &all_tags(context) {
        let begins = id.split_once('-').map(|(begins, _)| begins);
        let kind = KINDS.iter().find(|(of, _)| Some(*of) == begins).map_or("", |(_, kind)| kind);
        for (key, value) in tags {
            let passes = filters.pass(tags, |filter| {
                Some(match filter {
                    "key" => key.clone(),
                    "value" => value.clone(),
                    "resource-id" => id.clone(),
                    _ => kind.to_owned(),
                })
            });
            if passes {
                let shown = map([
                    ("resourceId", id.as_str().into()),
                    ("resourceType", kind.into()),
                    ("key", key.as_str().into()),
                    ("value", value.as_str().into()),
                ]);
                found.push((format!("{id} {key}"), shown));
            }
        }
    }
    let page = page(input, 5..=1000, found)?;
    Ok(map([("tagSet", Data::List(page.items)), ("nextToken", page.next)]))
}
