//! Everybody is told that the node is good.

use super::inputs_of;
use crate::drive::{Looked, Made};
use crate::node::Node;
use crate::status::replace;
use crate::steps::Consul;
use crate::steps::consul::Health;
use bootstrap_core::{Checked, Failure};
use fleet::ErrorClass;
use std::fs;
use std::io;
use std::path::Path;

/// The file in the run directory that says that the node is ready: it holds the instance's id.
pub const READY: &str = "ready";
/// The value of the instance's tag.
const TAG_VALUE: &str = "ready";

/// Whether the run directory says that this instance is ready.
pub fn is_ready(run: &Path, instance: &str) -> bool {
    fs::read_to_string(run.join(READY)).is_ok_and(|text| text.trim() == instance)
}

/// Takes the file away.
pub(crate) fn withdraw(run: &Path) -> io::Result<()> {
    match fs::remove_file(run.join(READY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn check(node: &Node) -> Looked {
    let settings = node.settings();
    let proved = node.identity()?;
    let inputs = inputs_of(&(&settings.ready.tag, settings.consul.is_some()));
    let stands = is_ready(&node.directories.run, proved.document.instance.as_str());
    if stands {
        node.set_ready();
    }
    Ok((if stands { Checked::Already } else { Checked::Needed }, inputs))
}

pub(super) async fn apply(node: &Node) -> Made {
    let settings = node.settings();
    let proved = node.identity()?;
    let instance = &proved.document.instance;
    if let Some(consul) = &settings.consul
        && !Consul::new(consul)?.feed(&proved, Health::Passing, "ready").await?
    {
        return Err(Failure::new(ErrorClass::Conflict, "Consul does not know this node's service"));
    }
    if let Some(tag) = &settings.ready.tag {
        let region = proved.document.region.to_string();
        node.aws.tag(&region, instance, tag, TAG_VALUE, node.clock.wall()).await?;
    }
    // Last: whoever sees the file may rely on all of it.
    let path = node.directories.run.join(READY);
    replace(&path, format!("{instance}\n").as_bytes(), 0o644)
        .map_err(|error| Failure::new(ErrorClass::Transient, format_args!("{}: {error}", path.display())))?;
    node.set_ready();
    Ok(None)
}
