//! Tags of fleets and instances.

use super::filter::Filters;
use super::missing;
use super::page::page;
use crate::service::Operation;
use crate::shared::{Context, Failure};
use crate::wire::{AwsError, Data, map};
use fleet::Backend;
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[Operation] =
    &[Operation::by_world("CreateTags", create_tags), Operation::by_gate("DescribeTags", describe_tags)];

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
    context.world().create_tags(context.caller, &resources, &tags)?;
    Ok(map([("return", true.into())]))
}

fn describe_tags(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] = &["key", "value", "resource-id", "resource-type"];
    let filters = Filters::read(input, FILTERS, true)?;
    let mut resources: Vec<(String, &str, BTreeMap<String, String>)> = Vec::new();
    {
        let world = context.world();
        for (backend, kind) in [(Backend::SpotFleet, "spot-fleet-request"), (Backend::Ec2Fleet, "fleet")] {
            resources
                .extend(world.shown_fleets(backend).into_iter().map(|f| (f.id.to_string(), kind, f.tags)));
        }
        resources.extend(world.shown_instances().into_iter().map(|i| (i.id.to_string(), "instance", i.tags)));
    }
    let mut found = Vec::new();
    for (id, kind, tags) in &resources {
        for (key, value) in tags {
            let passes = filters.pass(tags, |filter| {
                Some(match filter {
                    "key" => key.clone(),
                    "value" => value.clone(),
                    "resource-id" => id.clone(),
                    _ => (*kind).to_owned(),
                })
            });
            if passes {
                let shown = map([
                    ("resourceId", id.as_str().into()),
                    ("resourceType", (*kind).into()),
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
