//! What the janitor decides: pure. Everything that could need an image keeps it; what nothing needs is deprecated first, and
//! removed only after a while in which nobody began to need it.

use super::versions::{Standing, standing};
use fleet::{DurationText, Timestamp};
use fleet_aws::{Image, Reference, References, Snapshot};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// The tag whose value is the kind of an image: `base`, `node`, `rehearsal`.
pub const KIND: &str = "muster:image";

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The account, where it is known which it is to be.
    pub account: Option<String>,
    /// Its images with the tag [`KIND`].
    pub images: Vec<Image>,
    /// Its snapshots with a tag of the bake.
    pub snapshots: Vec<Snapshot>,
    /// Everything that names an image, and who launches which version of a template; of `resolve:ssm:` what the parameter says.
    pub references: References,
    /// The channels.
    pub channels: BTreeMap<String, ChannelSeen>,
    /// With whom images are shared; an image that is missing is shared with nobody.
    pub shared: BTreeMap<String, BTreeSet<String>>,
}

/// A channel, as far as images are needed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelSeen {
    /// What launches read.
    pub parameter: Option<String>,
    /// The images that it has had, newest first, each once.
    pub history: Vec<String>,
}

/// What is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// So many of the newest images of each kind and architecture are kept.
    pub newest: usize,
    /// So many of the images that a channel has had are kept, that of now included.
    pub history: usize,
    /// So many of the newest versions of each launch template keep their images, beside its default version and those that
    /// fleets launch.
    pub template_versions: usize,
    /// An image is deprecated when it is so old, and not before.
    pub deprecate_after: Duration,
    /// An image is removed when it has been deprecated for so long, and a snapshot without an image when it is so old.
    pub remove_after: Duration,
    /// Whether images go that are shared with other accounts, whose instances cannot be seen.
    pub shared_too: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            newest: 3,
            history: 5,
            // Every roll-out and every change of the template by Terraform makes one; a roll-out is taken back to the one before.
            template_versions: 5,
            // A month of security fixes is behind it.
            deprecate_after: Duration::from_secs(30 * 86_400),
            remove_after: Duration::from_secs(14 * 86_400),
            shared_too: false,
        }
    }
}

/// Why an image stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Keep {
    /// It is another account's.
    Foreign {
        /// Whose.
        owner: String,
    },
    /// It is being made, or has failed to be.
    NotAvailable,
    /// An instance runs from it, or may start again.
    Instance {
        /// Which.
        id: String,
        /// EC2's word for its state.
        state: String,
    },
    /// A version of a launch template names it that somebody may launch.
    Template {
        /// Which.
        id: String,
        /// Its number.
        version: i64,
        /// Why the version counts.
        standing: Standing,
    },
    /// A fleet names it.
    Fleet {
        /// Which.
        id: String,
    },
    /// A channel is at it.
    Channel {
        /// Which.
        name: String,
    },
    /// A channel can go back to it.
    History {
        /// Which.
        name: String,
        /// How many images back.
        back: usize,
    },
    /// It is among the newest of its kind.
    Newest {
        /// 1: the newest.
        place: usize,
    },
    /// Other accounts may launch it.
    Shared {
        /// How many; `*` counts as one.
        accounts: usize,
    },
    /// It is too young.
    Young {
        /// So much is left until it is deprecated.
        left: Duration,
    },
    /// It is deprecated, and will be removed.
    Waits {
        /// In so long.
        left: Duration,
    },
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { owner } => write!(f, "is of the account {owner}"),
            Self::NotAvailable => write!(f, "is not available"),
            Self::Instance { id, state } => write!(f, "instance {id} is {state}"),
            Self::Template { id, version, standing } => {
                write!(f, "launch template {id} names it in version {version} ({standing})")
            }
            Self::Fleet { id } => write!(f, "fleet {id} names it"),
            Self::Channel { name } => write!(f, "channel {name} is at it"),
            Self::History { name, back } => write!(f, "channel {name} had it {back} back"),
            Self::Newest { place } => write!(f, "is number {place} of the newest"),
            Self::Shared { accounts } => write!(f, "is shared with {accounts} accounts"),
            Self::Young { left } => write!(f, "is to be deprecated in {}", DurationText(*left)),
            Self::Waits { left } => write!(f, "is deprecated, and to be removed in {}", DurationText(*left)),
        }
    }
}

/// What is done with an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Verdict {
    /// It stays as it is.
    Keep {
        /// All reasons; at least one.
        why: Vec<Keep>,
    },
    /// Nobody is to start from it any more.
    Deprecate {
        /// How old it is.
        age: Duration,
    },
    /// It goes, and then these snapshots.
    Remove {
        /// For how long it has been deprecated.
        deprecated: Duration,
        /// Those of its snapshots that no image that stays is made of.
        snapshots: Vec<String>,
    },
}

/// What is done with an image, by its id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// `ami-…`.
    pub image: String,
    /// Its name.
    pub name: String,
    /// What.
    pub verdict: Verdict,
}

/// Why a snapshot that no image is made of stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SnapshotKeep {
    /// It is too young: an image may be about to be made of it.
    Young {
        /// So much is left.
        left: Duration,
    },
}

/// What is done with a snapshot that no image with the tag is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotDecision {
    /// `snap-…`.
    pub snapshot: String,
    /// Why it stays; `None`: it goes, if EC2 knows of no image of any kind that is made of it.
    pub keep: Option<SnapshotKeep>,
}

/// Everything that is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Of each image, by name.
    pub images: Vec<Decision>,
    /// Of each snapshot without an image, by id.
    pub snapshots: Vec<SnapshotDecision>,
}

/// Decides. Total: never fails, and of what is odd nothing goes.
///
/// Doing what is decided and deciding again comes to nothing more to do, until time has passed.
pub fn decide(inventory: &Inventory, rules: &Rules, now: Timestamp) -> Plan {
    let places = places(&inventory.images);
    let mut images: Vec<&Image> = inventory.images.iter().collect();
    images.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let mut decided: Vec<(&Image, Verdict)> = images
        .into_iter()
        .map(|image| {
            let why = reasons(image, inventory, rules, places.get(image.id.as_str()).copied());
            let verdict = if why.is_empty() { by_age(image, rules, now) } else { Verdict::Keep { why } };
            (image, verdict)
        })
        .collect();
    let stays: BTreeSet<String> = decided
        .iter()
        .filter(|(_, verdict)| !matches!(verdict, Verdict::Remove { .. }))
        .flat_map(|(image, _)| image.snapshots.iter().cloned())
        .collect();
    for (image, verdict) in &mut decided {
        if let Verdict::Remove { snapshots, .. } = verdict {
            *snapshots = image.snapshots.iter().filter(|one| !stays.contains(*one)).cloned().collect();
        }
    }
    let images = decided.into_iter().map(|(image, verdict)| Decision {
        image: image.id.clone(),
        name: image.name.clone(),
        verdict,
    });
    Plan { images: images.collect(), snapshots: orphans(inventory, rules, now) }
}

/// Each image's place among those of its kind and architecture, the newest first, from 1 on.
fn places(images: &[Image]) -> BTreeMap<&str, usize> {
    let mut kinds: BTreeMap<(&str, &str), Vec<&Image>> = BTreeMap::new();
    for image in images.iter().filter(|image| image.available) {
        let kind = image.tags.get(KIND).map(String::as_str).unwrap_or_default();
        kinds.entry((kind, &image.architecture)).or_default().push(image);
    }
    let mut places = BTreeMap::new();
    for mut of_kind in kinds.into_values() {
        of_kind.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        places.extend(of_kind.into_iter().enumerate().map(|(place, image)| (image.id.as_str(), place + 1)));
    }
    places
}

/// Why an image stays, its age aside.
fn reasons(image: &Image, inventory: &Inventory, rules: &Rules, place: Option<usize>) -> Vec<Keep> {
    let mut why = Vec::new();
    if inventory.account.as_ref().is_some_and(|account| *account != image.owner) {
        why.push(Keep::Foreign { owner: image.owner.clone() });
    }
    if !image.available {
        why.push(Keep::NotAvailable);
    }
    let References { named, templates, launches } = &inventory.references;
    why.extend(named.iter().filter(|referred| referred.to == image.id).filter_map(|referred| {
        Some(match &referred.by {
            Reference::Instance { id, state } => Keep::Instance { id: id.clone(), state: state.clone() },
            Reference::Template { id, version } => {
                let standing = standing(templates, launches, id, *version, rules.template_versions)?;
                Keep::Template { id: id.clone(), version: *version, standing }
            }
            Reference::Fleet { id } => Keep::Fleet { id: id.clone() },
        })
    }));
    for (name, channel) in &inventory.channels {
        let back = channel.history.iter().position(|had| *had == image.id);
        if channel.parameter.as_ref() == Some(&image.id) || back == Some(0) {
            why.push(Keep::Channel { name: name.clone() });
        } else if let Some(back) = back.filter(|back| *back < rules.history) {
            why.push(Keep::History { name: name.clone(), back });
        }
    }
    if let Some(place) = place.filter(|place| *place <= rules.newest) {
        why.push(Keep::Newest { place });
    }
    let accounts = inventory.shared.get(&image.id).map_or(0, BTreeSet::len);
    if accounts > 0 && !rules.shared_too {
        why.push(Keep::Shared { accounts });
    }
    why
}

/// What becomes of an image that nothing needs.
fn by_age(image: &Image, rules: &Rules, now: Timestamp) -> Verdict {
    let wait = |left: Duration, keep: fn(Duration) -> Keep| Verdict::Keep { why: vec![keep(left)] };
    if let Some(since) = image.deprecated.filter(|deprecated| *deprecated <= now) {
        let deprecated = between(since, now);
        return match rules.remove_after.checked_sub(deprecated).filter(|left| !left.is_zero()) {
            Some(left) => wait(left, |left| Keep::Waits { left }),
            None => Verdict::Remove { deprecated, snapshots: Vec::new() },
        };
    }
    let age = between(image.created, now);
    match rules.deprecate_after.checked_sub(age).filter(|left| !left.is_zero()) {
        Some(left) => wait(left, |left| Keep::Young { left }),
        None => Verdict::Deprecate { age },
    }
}

/// From one time to another; nothing where the first is the later one.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.millis().saturating_sub(from.millis())).unwrap_or(0))
}

fn orphans(inventory: &Inventory, rules: &Rules, now: Timestamp) -> Vec<SnapshotDecision> {
    let of_images: BTreeSet<&String> = inventory.images.iter().flat_map(|image| &image.snapshots).collect();
    let mut decided: Vec<SnapshotDecision> = inventory
        .snapshots
        .iter()
        .filter(|snapshot| !of_images.contains(&snapshot.id))
        .map(|snapshot| {
            let left = rules.remove_after.checked_sub(between(snapshot.started, now));
            let left = left.filter(|left| !left.is_zero());
            SnapshotDecision {
                snapshot: snapshot.id.clone(),
                keep: left.map(|left| SnapshotKeep::Young { left }),
            }
        })
        .collect();
    decided.sort_by(|a, b| a.snapshot.cmp(&b.snapshot));
    decided
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
