//! Everybody is told that the node is good.

use super::inputs_of;
use crate::drive::{Looked, Made};
use crate::node::Node;
use crate::status::replace;
use crate::steps::Consul;
use crate::steps::consul::Health;
use bootstrap_core::{Checked, Entry, Failure, Inputs, Phase};
use fleet::{ErrorClass, Timestamp};
use std::fs;
use std::io;
use std::path::Path;

/// The file in the run directory that says that the node is ready: it holds the instance's id.
pub const READY: &str = "ready";
/// The same, and it stays when that is taken away: since then there may be work here, until the instance is booted anew.
const SERVED: &str = "served";
/// The value of the instance's tag.
const TAG_VALUE: &str = "ready";

/// Whether the run directory says that this instance is ready.
pub fn is_ready(run: &Path, instance: &str) -> bool {
    holds(run, READY, instance)
}

/// Whether the run directory says that this instance was ready in this boot.
pub(crate) fn has_served(run: &Path, instance: &str) -> bool {
    holds(run, SERVED, instance)
}

fn holds(run: &Path, mark: &str, instance: &str) -> bool {
    fs::read_to_string(run.join(mark)).is_ok_and(|text| text.trim() == instance)
}

/// Takes the file away.
pub(crate) fn withdraw(run: &Path) -> io::Result<()> {
    match fs::remove_file(run.join(READY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Since when the node is ready, for the note: it outlives restarts and reboots, and whatever took the mark away meanwhile.
const SINCE: &str = "since ";
/// The alarm of an instance that could not be tagged.
const TAG: &str = "tag";

/// When the node was ready first in this launch: as the line on disk has it, else now.
fn since(node: &Node, last: Option<&Entry>) -> Timestamp {
    let noted = last.and_then(|last| last.note.as_deref()).and_then(|note| note.strip_prefix(SINCE));
    let noted = noted.and_then(|at| Timestamp::parse(at).ok());
    let written = last.filter(|last| last.phase == Phase::Done).map(|last| last.at);
    // An instance that was stopped is launched anew when it is started.
    let launched = node.proved().map_or(Timestamp::EPOCH, |proved| proved.document.pending);
    noted.or(written).filter(|at| *at >= launched).unwrap_or_else(|| node.clock.wall())
}

fn inputs(node: &Node) -> Inputs {
    let settings = node.settings();
    inputs_of(&(&settings.ready.tag, settings.consul.is_some()))
}

pub(super) async fn check(node: &Node, last: Option<&Entry>) -> Looked {
    let proved = node.identity()?;
    let stands = is_ready(&node.directories.run, proved.document.instance.as_str());
    if stands {
        node.set_ready(since(node, last));
        tag(node).await?;
    }
    Ok((if stands { Checked::Already } else { Checked::Needed }, inputs(node)))
}

pub(super) async fn apply(node: &Node, last: Option<&Entry>) -> Made {
    let settings = node.settings();
    let proved = node.identity()?;
    let instance = &proved.document.instance;
    tag(node).await?;
    // After everything that could still fail: what Consul calls good is given work.
    if let Some(consul) = &settings.consul
        && !Consul::new(consul)?.feed(&proved, Health::Passing, "ready").await?
    {
        return Err(Failure::new(ErrorClass::Conflict, "Consul does not know this node's service"));
    }
    // Last: whoever sees the file may rely on all of it.
    for mark in [SERVED, READY] {
        let path = node.directories.run.join(mark);
        replace(&path, format!("{instance}\n").as_bytes(), 0o644).map_err(|error| {
            Failure::new(ErrorClass::Transient, format_args!("{}: {error}", path.display()))
        })?;
    }
    let since = since(node, last);
    node.set_ready(since);
    Ok(Some(format!("{SINCE}{since}")))
}

/// Gives the instance its tag, once in the life of this process: saying it twice does no harm.
///
/// A tag is for people and their tools. One that cannot be given is an alarm, and asked for again with the next look: it
/// takes no work from a node that is good.
async fn tag(node: &Node) -> Result<(), Failure> {
    let Some(tag) = node.settings().ready.tag else {
        node.alarm(TAG, None);
        return Ok(());
    };
    let given = Inputs::new(tag.as_str());
    if node.is_tagged(&given) {
        return Ok(());
    }
    let proved = node.identity()?;
    let region = proved.document.region.to_string();
    let asked = node.aws.tag(&region, &proved.document.instance, &tag, TAG_VALUE, node.clock.wall()).await;
    if let Err(failure) = &asked {
        tracing::warn!(tag, %failure, "could not tag this instance");
    } else {
        node.set_tagged(given);
    }
    node.alarm(TAG, asked.err().map(|failure| format!("this instance has no tag {tag}: {failure}")));
    Ok(())
}
