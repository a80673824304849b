//! Publishing an image: it is told what it is, shared, and becomes what a channel is at.

use crate::account::Account;
use crate::channel::{Change, Changed, Channel, ChannelError, Wanted, change};
use crate::verify::Report;
use fleet::{ApiError, ErrorClass, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The tag of the playbook's version.
const PLAYBOOK: &str = "muster:playbook";

/// Why an image is not published, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A call failed.
    #[error("{what}")]
    Call {
        /// "share the image".
        what: &'static str,
        /// How.
        source: ApiError,
    },
    /// There is no such image, or it is another account's.
    #[error("this account has no image {image}")]
    NoImage {
        /// Which.
        image: String,
    },
    /// It cannot be launched.
    #[error("{image} is not available yet, or failed to be made")]
    NotAvailable {
        /// Which.
        image: String,
    },
    /// What was verified is not good.
    #[error("the report says that the image did not pass")]
    DidNotPass,
    /// What was verified is something else.
    #[error("the report is about the playbook {verified}, and {image} is made of {}", made_of.as_deref().unwrap_or("something unknown"))]
    AnotherPlaybook {
        /// The image.
        image: String,
        /// Its tag.
        made_of: Option<String>,
        /// The report's.
        verified: String,
    },
    /// The channel was not changed.
    #[error("change the channel")]
    Channel(#[from] ChannelError),
}

impl PublishError {
    /// What to make of it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Call { source, .. } => source.class,
            Self::NoImage { .. } => ErrorClass::NotFound,
            Self::NotAvailable { .. } => ErrorClass::Conflict,
            Self::DidNotPass | Self::AnotherPlaybook { .. } => ErrorClass::Malformed,
            Self::Channel(source) => source.class(),
        }
    }
}

/// What is published, and to whom.
#[derive(Clone, Debug)]
pub struct Publication {
    /// `ami-…`.
    pub image: String,
    /// The accounts that may launch it, besides its own.
    pub accounts: BTreeSet<String>,
    /// Tags that it gets besides.
    pub tags: BTreeMap<String, String>,
    /// What `verify` found of what the same playbook made.
    pub report: Option<Report>,
    /// What the caller takes the channel to be at, where that matters.
    pub expected: Option<String>,
    /// Also where it was taken back from the channel before.
    pub again: bool,
}

/// Publishes: tags, then permissions, then the channel. Safe to repeat after a failure at any point.
pub async fn publish(
    account: &dyn Account,
    channel: &Channel,
    publication: &Publication,
    attempt: &str,
    now: Timestamp,
) -> Result<Changed, PublishError> {
    let Publication { image, accounts, tags, report, expected, again } = publication;
    let call = |what| move |source| PublishError::Call { what, source };
    let found = account.image(image).await.map_err(call("look at the image"))?;
    let found = found.ok_or_else(|| PublishError::NoImage { image: image.clone() })?;
    if !found.available {
        return Err(PublishError::NotAvailable { image: image.clone() });
    }
    let mut tags = tags.clone();
    if let Some(report) = report {
        if !report.passed {
            return Err(PublishError::DidNotPass);
        }
        let made_of = found.tags.get(PLAYBOOK).cloned();
        if made_of.as_ref() != Some(&report.playbook) {
            let verified = report.playbook.clone();
            return Err(PublishError::AnotherPlaybook { image: image.clone(), made_of, verified });
        }
        tags.insert("muster:verified".to_owned(), report.at.to_string());
    }
    if !tags.is_empty() {
        account.tag(image, &tags).await.map_err(call("tag the image"))?;
    }
    if !accounts.is_empty() {
        account.share(image, accounts).await.map_err(call("share the image"))?;
    }
    let wanted = Wanted::Image { image: image.clone(), change: Change::Published, again: *again };
    Ok(change(account, channel, &wanted, expected.as_deref(), attempt, now).await?)
}
