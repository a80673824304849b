//! Carries a channel's change out.

use super::Channel;
use super::journal::{Entry, Journal, Refusal, Step, Wanted, plan};
use crate::account::Account;
use fleet::{ApiError, ErrorClass, Timestamp};
use fleet_aws::Parameter;
use serde::Serialize;
use std::collections::BTreeMap;

/// How often an entry whose fate is unclear is looked at and, where it is not there, written again.
const TRIES: u32 = 3;
/// How often the parameter is brought to the journal's newest entry before it is given up: each time somebody else has moved it.
const ROUNDS: u32 = 8;

/// What is between a channel's name and the number of an entry.
const JOURNAL: &str = "/journal/";

/// Why a channel was not changed, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A call failed.
    #[error("{what}")]
    Call {
        /// "read the journal".
        what: &'static str,
        /// How.
        source: ApiError,
    },
    /// An entry of the journal cannot be read: nobody writes such.
    #[error("the parameter {name} is no entry of a channel's journal")]
    Unreadable {
        /// Its parameter.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// It is not to be changed so.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody else was first.
    #[error("somebody else brought the channel to {image} meanwhile")]
    Lost {
        /// What it is at now.
        image: String,
    },
    /// The journal says one image, and others keep bringing the parameter to another.
    #[error("{parameter} does not stay at {image}: somebody else writes to it")]
    Unsettled {
        /// The parameter.
        parameter: String,
        /// What it is to be.
        image: String,
    },
}

impl ChannelError {
    /// What to make of it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Call { source, .. } => source.class,
            Self::Unreadable { .. } => ErrorClass::Malformed,
            Self::Refused(_) | Self::Lost { .. } | Self::Unsettled { .. } => ErrorClass::Conflict,
        }
    }
}

fn failed(what: &'static str) -> impl FnOnce(ApiError) -> ChannelError {
    move |source| ChannelError::Call { what, source }
}

/// A channel as it was found.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What its journal says.
    pub journal: Journal,
    /// What whoever launches reads.
    pub parameter: Option<Parameter>,
}

impl Seen {
    /// Whether the parameter says what the journal does.
    pub fn is_settled(&self) -> bool {
        let says = self.parameter.as_ref().map(|parameter| parameter.value.as_str());
        says == self.journal.current().map(|entry| entry.image.as_str())
    }
}

/// Looks at a channel. Reads alone; safe to repeat.
pub async fn look(account: &dyn Account, channel: &Channel) -> Result<Seen, ChannelError> {
    let journal = read(account, channel).await?;
    let parameter = account.parameter(&channel.parameter()).await.map_err(failed("read the parameter"))?;
    Ok(Seen { journal, parameter })
}

async fn read(account: &dyn Account, channel: &Channel) -> Result<Journal, ChannelError> {
    let parameters = account.parameters(&channel.journal()).await.map_err(failed("read the journal"))?;
    Ok(Journal::new(parameters.into_iter().map(entry).collect::<Result<_, _>>()?))
}

fn entry(parameter: Parameter) -> Result<Entry, ChannelError> {
    serde_json::from_str(&parameter.value)
        .map_err(|source| ChannelError::Unreadable { name: parameter.name, source })
}

/// Looks at all channels beneath a path, whoever made them, by what their names are there: those, too, that have a parameter
/// and no journal, or a journal and no parameter yet, and those of a path beneath it. Reads alone; safe to repeat.
pub async fn all(account: &dyn Account, prefix: &str) -> Result<BTreeMap<String, Seen>, ChannelError> {
    let found = account.parameters_beneath(prefix).await.map_err(failed("list the channels"))?;
    let mut channels: BTreeMap<String, (Vec<Entry>, Option<Parameter>)> = BTreeMap::new();
    for parameter in found {
        let name = parameter.name.strip_prefix(prefix).unwrap_or(&parameter.name).trim_start_matches('/');
        let (name, is_entry) = match name.rsplit_once(JOURNAL) {
            Some((channel, _)) => (channel.to_owned(), true),
            None => (name.to_owned(), false),
        };
        let (entries, says) = channels.entry(name).or_default();
        if is_entry {
            entries.push(entry(parameter)?);
        } else {
            *says = Some(parameter);
        }
    }
    let seen = |(entries, parameter)| Seen { journal: Journal::new(entries), parameter };
    Ok(channels.into_iter().map(|(name, found)| (name, seen(found))).collect())
}

/// What became of a channel.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// The entry that it is at.
    pub entry: Entry,
    /// Whether it was so already.
    pub already: bool,
}

/// Changes a channel: the next entry of its journal, then its parameter, then the oldest entries go.
///
/// Whoever writes an entry first has changed it; a crash after that leaves a parameter that is behind, which the next call of
/// anybody takes up, this one's repetition included. Fails with [`ChannelError::Lost`] where somebody else was first.
pub async fn change(
    account: &dyn Account,
    channel: &Channel,
    wanted: &Wanted,
    expected: Option<&str>,
    attempt: &str,
    now: Timestamp,
) -> Result<Changed, ChannelError> {
    let journal = read(account, channel).await?;
    let planned = plan(&journal, wanted, expected, attempt, now);
    let (entry, already) = match planned {
        Ok(Step::Nothing(entry)) => (entry, true),
        Ok(Step::Write(entry)) => {
            commit(account, channel, &entry).await?;
            (entry, false)
        }
        Err(refusal) => {
            // What somebody else has left half done is taken up all the same.
            settle(account, channel).await?;
            return Err(refusal.into());
        }
    };
    let journal = settle(account, channel).await?;
    for generation in journal.superfluous() {
        let name = channel.entry(generation);
        account.delete_parameter(&name).await.map_err(failed("drop an old entry of the journal"))?;
    }
    Ok(Changed { entry, already })
}

/// Writes an entry, if nobody else has written one of its number.
async fn commit(account: &dyn Account, channel: &Channel, entry: &Entry) -> Result<(), ChannelError> {
    let name = channel.entry(entry.generation);
    let text = serde_json::to_string(entry)
        .map_err(|source| ChannelError::Unreadable { name: name.clone(), source })?;
    let about = format!("muster: a change of the images' channel {channel}");
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match account.create_parameter(&name, &text, &about).await {
            Ok(()) => return confirm(account, channel, entry).await,
            Err(error) => error,
        };
        match error.class {
            // Somebody else's, or ours from an attempt whose answer was lost.
            ErrorClass::Conflict => return confirm(account, channel, entry).await,
            ErrorClass::Unclear if tries < TRIES => {
                let there = account.parameter(&name).await.map_err(failed("look whose the entry is"))?;
                if there.is_some() {
                    return confirm(account, channel, entry).await;
                }
            }
            _ => return Err(failed("write the next entry of the journal")(error)),
        }
    }
}

/// Whether the entry of this number is ours, and part of the journal: one of somebody who was frozen until its number was free
/// again is not, and goes.
async fn confirm(account: &dyn Account, channel: &Channel, entry: &Entry) -> Result<(), ChannelError> {
    let journal = read(account, channel).await?;
    if journal.has(entry) {
        return Ok(());
    }
    let name = channel.entry(entry.generation);
    let there = account.parameter(&name).await.map_err(failed("look whose the entry is"))?;
    let ours = there.and_then(|there| serde_json::from_str::<Entry>(&there.value).ok());
    if ours.as_ref() == Some(entry) {
        account.delete_parameter(&name).await.map_err(failed("take the entry back"))?;
    }
    let image = journal.current().map(|current| current.image.clone()).unwrap_or_default();
    Err(ChannelError::Lost { image })
}

/// Brings the parameter to the newest entry, and sees that it stays there: who was slow in doing the same for an older entry
/// looks again, too. * returns: the journal.
async fn settle(account: &dyn Account, channel: &Channel) -> Result<Journal, ChannelError> {
    let parameter = channel.parameter();
    let about =
        format!("muster: the image of the channel {channel}. Set by muster-image; its history is beneath it");
    let mut image = String::new();
    for _ in 0..ROUNDS {
        let seen = look(account, channel).await?;
        if seen.is_settled() {
            return Ok(seen.journal);
        }
        let Some(current) = seen.journal.current() else {
            // Set by hand before there was a journal: the first change replaces it.
            return Ok(seen.journal);
        };
        image.clone_from(&current.image);
        match account.set_parameter(&parameter, &image, &about).await {
            // Whether it is there is looked at next.
            Ok(_) => {}
            Err(error) if error.class == ErrorClass::Unclear => {}
            Err(error) => return Err(failed("set the parameter")(error)),
        }
    }
    Err(ChannelError::Unsettled { parameter, image })
}
