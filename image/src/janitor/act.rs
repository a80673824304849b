//! Looks at what there is, and carries out what was decided.

use super::decide::{ChannelSeen, Decision, Inventory, KIND, Plan, SnapshotDecision, Verdict};
use crate::account::Account;
use crate::channel::{self, ChannelError};
use fleet::{ApiError, ErrorClass, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The tag that a bake gives its snapshots.
const OF_A_BAKE: &str = "muster:commit";
/// What a launch template writes before the name of a parameter.
const RESOLVE: &str = "resolve:ssm:";
/// A deprecation has to lie ahead, and EC2 keeps it to the minute.
const AHEAD: Duration = Duration::from_secs(120);

/// Why the account could not be looked at. Then nothing is decided.
#[derive(Debug, thiserror::Error)]
pub enum JanitorError {
    /// A call failed.
    #[error("{what}")]
    Call {
        /// "list images".
        what: &'static str,
        /// How.
        source: ApiError,
    },
    /// The channels could not be read.
    #[error("look at the channels")]
    Channels(#[source] ChannelError),
}

impl JanitorError {
    /// What to make of it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Call { source, .. } => source.class,
            Self::Channels(source) => source.class(),
        }
    }
}

fn failed(what: &'static str) -> impl FnOnce(ApiError) -> JanitorError {
    move |source| JanitorError::Call { what, source }
}

/// Looks at everything that a decision needs: complete, or a failure. Reads alone.
///
/// References are listed after images, so that one that comes meanwhile is seen for every image that is decided about.
///
/// * `prefix`: the path of all channels; what any of them is at counts, so that nobody has to name them.
pub async fn survey(
    account: &dyn Account,
    prefix: &str,
    own: Option<String>,
) -> Result<Inventory, JanitorError> {
    let images = account.images(KIND).await.map_err(failed("list images"))?;
    let snapshots = account.snapshots(OF_A_BAKE).await.map_err(failed("list snapshots"))?;
    let mut shared = BTreeMap::new();
    for image in images.iter().filter(|image| own.as_ref().is_none_or(|own| *own == image.owner)) {
        let with =
            account.shared_with(&image.id).await.map_err(failed("see with whom an image is shared"))?;
        shared.insert(image.id.clone(), with);
    }
    let mut references = account.references().await.map_err(failed("list what refers to images"))?;
    let mut resolved: BTreeMap<String, Option<String>> = BTreeMap::new();
    for referred in &mut references.named {
        let Some(name) = referred.to.strip_prefix(RESOLVE).map(str::to_owned) else { continue };
        if !resolved.contains_key(&name) {
            let parameter = account.parameter(&name).await;
            let parameter = parameter.map_err(failed("read a parameter that a launch template names"))?;
            resolved.insert(name.clone(), parameter.map(|parameter| parameter.value));
        }
        if let Some(Some(image)) = resolved.get(&name) {
            referred.to.clone_from(image);
        }
    }
    let mut channels = BTreeMap::new();
    for (name, seen) in channel::all(account, prefix).await.map_err(JanitorError::Channels)? {
        let history = seen.journal.images().into_iter().map(str::to_owned).collect();
        let parameter = seen.parameter.map(|parameter| parameter.value);
        channels.insert(name, ChannelSeen { parameter, history });
    }
    // Reasons are told in one order.
    references.named.sort_by(|a, b| a.by.cmp(&b.by));
    Ok(Inventory { account: own, images, snapshots, references, channels, shared })
}

/// What became of one thing that was to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done,
    /// EC2 does not let it go: something that carries no tag of ours needs it.
    InUse,
    /// It failed.
    Failed {
        /// What to make of it.
        class: String,
        /// In words.
        message: String,
    },
}

/// One thing that was done, or was to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// `deprecate`, `deregister`, `delete_snapshot`.
    pub action: &'static str,
    /// `ami-…` or `snap-…`.
    pub resource: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Carries a plan out, one thing after the other; what fails keeps nothing else from being done. A snapshot goes after its image,
/// and not at all where the image did not.
///
/// Cut short anywhere, the next survey and plan take up what is left: an image that went without its snapshots leaves them without
/// an image.
pub async fn apply(account: &dyn Account, plan: &Plan, now: Timestamp) -> Vec<Carried> {
    let mut carried = Vec::new();
    for Decision { image, verdict, .. } in &plan.images {
        match verdict {
            Verdict::Keep { .. } => {}
            Verdict::Deprecate { .. } => {
                let done = account.deprecate(image, now + AHEAD).await;
                carried.push(told("deprecate", image, done));
            }
            Verdict::Remove { snapshots, .. } => {
                let done = told("deregister", image, account.deregister(image).await);
                let gone = done.outcome == Outcome::Done;
                carried.push(done);
                for snapshot in snapshots.iter().filter(|_| gone) {
                    carried.push(told("delete_snapshot", snapshot, account.delete_snapshot(snapshot).await));
                }
            }
        }
    }
    for SnapshotDecision { snapshot, .. } in plan.snapshots.iter().filter(|one| one.keep.is_none()) {
        carried.push(told("delete_snapshot", snapshot, account.delete_snapshot(snapshot).await));
    }
    carried
}

fn told(action: &'static str, resource: &str, result: Result<(), ApiError>) -> Carried {
    let outcome = match result {
        Ok(()) => Outcome::Done,
        Err(error) if error.class == ErrorClass::Conflict => Outcome::InUse,
        Err(error) => Outcome::Failed { class: error.class.label().to_owned(), message: error.to_string() },
    };
    Carried { action, resource: resource.to_owned(), outcome }
}
