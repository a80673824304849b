//! Tags of the instance, as the last layer.

use crate::load::Layer;
use muster_hcl::File;
use std::fmt::Write as _;

/// What the key of a tag that sets a value begins with; the value's dotted path follows.
pub const PREFIX: &str = "muster.";

/// What a tag may set: what tells one fleet of an image from another. Never whom the node trusts or listens to.
pub const TAGGED: &[&str] = &[
    "parameters.path",
    "awx.template",
    "consul.datacenter",
    "consul.service",
    "nomad.datacenter",
    "nomad.node_class",
    "nomad.node_pool",
    "watch.autoscaler.fleet",
];

/// The layer of a tag; `None` for one that is not ours.
///
/// A value that reads as a number or as `true` or `false` is one, anything else is a text.
pub fn tag_layer(key: &str, value: &str) -> Option<Layer> {
    let path = key.strip_prefix(PREFIX)?;
    let mut text = String::new();
    let names: Vec<&str> = path.split('.').collect();
    let (last, blocks) = names.split_last()?;
    for block in blocks {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{block} {{");
    }
    let bare = value.parse::<u32>().is_ok() || matches!(value, "true" | "false");
    let value = if bare { value.to_owned() } else { muster_hcl::quoted(value) };
    let _ = writeln!(text, "{last} = {value}");
    text.push_str(&"}\n".repeat(blocks.len()));
    Some(Layer::Tag {
        path: path.to_owned(),
        key: key.to_owned(),
        file: File::new(format!("tag:{key}"), text),
    })
}
