//! EC2, as far as fleets and those who run them need it, in its Query protocol.

mod access;
mod catalog;
mod ec2_fleet;
mod filter;
mod fleets;
mod images;
mod instances;
mod instant;
mod machines;
mod page;
mod relaunch;
mod snapshots;
mod spot_fleet;
mod tags;
mod templates;

pub(crate) use access::Access;
pub use images::{ImageSpec, Stuck};
pub(crate) use images::{Images, put_image};
pub(crate) use instances::is_arm;
pub use machines::BakeMachine;
pub(crate) use machines::Machines;
pub(crate) use templates::Templates;

use crate::service::Operation;
use crate::wire::{AwsError, Data, map};
use fleet::{ExcessCapacity, Timestamp};
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[&[Operation]] = &[
    spot_fleet::OPERATIONS,
    ec2_fleet::OPERATIONS,
    instances::OPERATIONS,
    templates::OPERATIONS,
    catalog::OPERATIONS,
    tags::OPERATIONS,
    images::OPERATIONS,
    snapshots::OPERATIONS,
    machines::OPERATIONS,
    access::OPERATIONS,
];

/// A text that the request must have.
fn required<'a>(input: &'a Data, name: &str) -> Result<&'a str, AwsError> {
    input.get(name).as_str().ok_or_else(|| missing(name))
}

fn missing(name: &str) -> AwsError {
    AwsError::new("MissingParameter", format!("The request must contain the parameter {name}"))
}

fn invalid(value: &str, name: &str) -> AwsError {
    AwsError::new("InvalidParameterValue", format!("Value ({value}) for parameter {name} is invalid."))
}

/// A value that is there, read as `read` says; an error where it is there and odd.
fn optional<T>(input: &Data, name: &str, read: fn(&Data) -> Option<T>) -> Result<Option<T>, AwsError> {
    match input.get(name) {
        Data::Null => Ok(None),
        given => read(given).map(Some).ok_or_else(|| invalid(given.as_str().unwrap_or("..."), name)),
    }
}

fn optional_time(input: &Data, name: &str) -> Result<Option<Timestamp>, AwsError> {
    optional(input, name, Data::as_time)
}

/// Tags of one resource type, from a request's `TagSpecification`.
fn tags_of(input: &Data, resource_type: &str) -> BTreeMap<String, String> {
    input
        .get("TagSpecification")
        .items()
        .iter()
        .filter(|specification| specification.get("ResourceType").as_str() == Some(resource_type))
        .flat_map(|specification| specification.get("Tag").items())
        .filter_map(|tag| {
            let value = tag.get("Value").as_str().unwrap_or_default();
            Some((tag.get("Key").as_str()?.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Tags as EC2 shows them.
fn tag_set(tags: &BTreeMap<String, String>) -> Data {
    Data::list(
        tags.iter().map(|(key, value)| map([("key", key.as_str().into()), ("value", value.as_str().into())])),
    )
}

/// A table of EC2's words for values of ours, one service's spelling a row's column.
struct Words<T: 'static>(&'static [(T, &'static str)]);

impl<T: Copy + PartialEq> Words<T> {
    /// The word of a value.
    fn word(&self, value: T) -> &'static str {
        self.0.iter().find(|(known, _)| *known == value).map_or("", |(_, word)| word)
    }
    /// The value of a word, exactly as it is spelt.
    fn value(&self, word: &str) -> Option<T> {
        self.0.iter().find(|(_, known)| *known == word).map(|(value, _)| *value)
    }
    /// The value of a word, whatever its case.
    fn value_in_any_case(&self, word: &str) -> Option<T> {
        self.0.iter().find(|(_, known)| known.eq_ignore_ascii_case(word)).map(|(value, _)| *value)
    }
}

/// Spot Fleet's words for what becomes of excess capacity. The service takes them in any case, as the Jenkins
/// plugin and AWS's own documents write `NoTermination`.
const SPOT_FLEET_EXCESS: Words<ExcessCapacity> =
    Words(&[(ExcessCapacity::NoTermination, "noTermination"), (ExcessCapacity::Termination, "default")]);
/// EC2 Fleet's.
const EC2_FLEET_EXCESS: Words<ExcessCapacity> =
    Words(&[(ExcessCapacity::NoTermination, "no-termination"), (ExcessCapacity::Termination, "termination")]);
