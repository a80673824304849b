//! `promote`, `rollback`, `channels`.

use super::duration;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::out::{self, Format, Paint, Terminal};
use crate::place::{Channels, Where, attempt, block_on};
use fleet::{ErrorClass, Timestamp};
use muster_image::channel::{self, Change, Changed, Channel, ChannelError, Entry, Refusal, Seen, Wanted};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// The failure of a channel's change.
pub fn failure(what: &str, error: ChannelError) -> Failure {
    let exit = match &error {
        ChannelError::Refused(Refusal::TakenBack { .. } | Refusal::NothingBefore { .. })
        | ChannelError::Unreadable { .. } => Exit::Data,
        ChannelError::Refused(_) | ChannelError::Lost { .. } | ChannelError::Unsettled { .. } => {
            Exit::TryAgain
        }
        ChannelError::Call { .. } => Exit::of_class(error.class()),
    };
    Failure::because(exit, what, error)
}

/// Bring a channel to the image of another.
///
/// Moves nothing where it is there already. Fails with 75 where somebody else changed the channel at the same time, where the
/// image has not been in the other channel for long enough, or where --expect does not hold; with 65 where the image was taken
/// back from the channel before, unless --again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-image promote
  muster-image promote --from canary --to stable --after 1h
  muster-image promote --image ami-0123456789abcdef0 --expect ami-0fedcba9876543210")]
pub struct Promote {
    /// The channel that the image comes from.
    #[arg(long, value_name = "CHANNEL", default_value = "canary")]
    from: String,
    /// The channel that gets it.
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    to: String,
    /// Only if the channel that it comes from is at this image.
    #[arg(long, value_name = "AMI")]
    image: Option<String>,
    /// Only if the channel that gets it is at this image.
    #[arg(long, value_name = "AMI")]
    expect: Option<String>,
    /// Only if it has been in the channel that it comes from for so long.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    after: Duration,
    /// Also where it was taken back from the channel before.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    channels: Channels,
    #[command(flatten)]
    place: Where,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Promote {
    /// Promotes.
    pub fn run(self) -> Outcome {
        block_on(|clock| async move {
            let (from, to) = (self.channels.channel(&self.from)?, self.channels.channel(&self.to)?);
            let account = self.place.connect(clock.clone()).await?;
            let what = format!("promote {from} to {to}");
            let seen = channel::look(&account, &from).await.map_err(|error| failure(&what, error))?;
            let Some(entry) = seen.journal.current() else {
                return Err(Failure::new(Exit::Unavailable, format_args!("the channel {from} is empty")));
            };
            self.is_ready(&from, entry, clock.wall()).map_err(|refusal| failure(&what, refusal.into()))?;
            let found = account.image(&entry.image).await;
            let found = found.map_err(|error| Failure::of_call("look at the image", error))?;
            if !found.is_some_and(|image| image.available) {
                let words = format!("this account has no image {} that can be launched", entry.image);
                return Err(Failure::new(Exit::Data, words));
            }
            let wanted = Wanted::Image {
                image: entry.image.clone(),
                change: Change::Promoted { from: from.name().to_owned() },
                again: self.again,
            };
            let (attempt, expected) = (attempt()?, self.expect.as_deref());
            let changed = channel::change(&account, &to, &wanted, expected, &attempt, clock.wall()).await;
            tell(&to, &changed.map_err(|error| failure(&what, error))?, self.format)
        })
    }

    fn is_ready(&self, from: &Channel, entry: &Entry, now: Timestamp) -> Result<(), Refusal> {
        if let Some(expected) = self.image.as_ref().filter(|image| **image != entry.image) {
            let found = Some(entry.image.clone());
            return Err(Refusal::Moved { expected: expected.clone(), found });
        }
        if now < entry.at + self.after {
            return Err(Refusal::TooSoon {
                image: entry.image.clone(),
                channel: from.name().to_owned(),
                since: entry.at,
                wanted: self.after,
            });
        }
        Ok(())
    }
}

/// Bring a channel back to the image that it had before.
///
/// A second rollback goes back one more. What was taken back is not promoted again without --again. Fails with 65 where there is
/// nothing to go back to, and with 75 where somebody else changed the channel at the same time.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-image rollback stable
  muster-image rollback stable --expect ami-0123456789abcdef0   only if it is still at the bad one")]
pub struct Rollback {
    /// The channel.
    channel: String,
    /// Only if the channel is at this image: repeated, it then does not go back further.
    #[arg(long, value_name = "AMI")]
    expect: Option<String>,
    #[command(flatten)]
    channels: Channels,
    #[command(flatten)]
    place: Where,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Rollback {
    /// Goes back.
    pub fn run(self) -> Outcome {
        block_on(|clock| async move {
            let channel = self.channels.channel(&self.channel)?;
            let account = self.place.connect(clock.clone()).await?;
            let what = format!("take {channel} back");
            let seen = channel::look(&account, &channel).await.map_err(|error| failure(&what, error))?;
            // An image that is gone cannot be launched: going back to it would break what works.
            if let Some(before) = seen.journal.current().and_then(|entry| entry.before.as_ref()) {
                let found = account.image(before).await;
                let found = found.map_err(|error| Failure::of_call("look at the image", error))?;
                if !found.is_some_and(|image| image.available) {
                    let words = format!("{before}, which the channel had before, is gone");
                    return Err(Failure::new(Exit::Data, words));
                }
            }
            let (attempt, expected) = (attempt()?, self.expect.as_deref());
            let changed =
                channel::change(&account, &channel, &Wanted::Back, expected, &attempt, clock.wall()).await;
            tell(&channel, &changed.map_err(|error| failure(&what, error))?, self.format)
        })
    }
}

/// Says what a channel is at now.
pub fn tell(channel: &Channel, changed: &Changed, format: Format) -> Outcome {
    let Changed { entry, already } = changed;
    if *already {
        out::say(format_args!("{channel} is at {} already, since {}", entry.image, entry.at));
    } else {
        out::say(format_args!("{channel} is at {} now, its change number {}", entry.image, entry.generation));
    }
    match format {
        Format::Json => out::print_json(changed),
        Format::Text => out::print(&format!("{}\n", entry.image)),
    }
    .or_exit(Exit::Unavailable, "print what was asked for")?;
    Ok(Exit::Success)
}

/// Show what channels are at, and how they came to be.
///
/// Exits with 75 where a parameter does not say what its channel's journal does: the next change of that channel mends it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-image channels
  muster-image channels --format json stable | jq -r '.[0].image'")]
pub struct Show {
    /// The channels.
    #[arg(value_name = "CHANNEL", default_values = ["canary", "stable"])]
    names: Vec<String>,
    #[command(flatten)]
    channels: Channels,
    #[command(flatten)]
    place: Where,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A channel as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    channel: &'a str,
    image: Option<&'a str>,
    parameter: Option<&'a str>,
    settled: bool,
    journal: &'a [Entry],
}

impl Show {
    /// Shows them.
    pub fn run(self, terminal: Terminal) -> Outcome {
        block_on(|clock| async move {
            let account = self.place.connect(clock).await?;
            let mut seen = Vec::new();
            for name in &self.names {
                let channel = self.channels.channel(name)?;
                let found = channel::look(&account, &channel).await;
                let found = found.map_err(|error| failure(&format!("look at {channel}"), error))?;
                seen.push((channel, found));
            }
            let shown: Vec<Shown<'_>> = seen.iter().map(|(channel, seen)| shown(channel, seen)).collect();
            match self.format {
                Format::Json => out::print_json(&shown),
                Format::Text => out::print(&text(&shown, terminal.paint())),
            }
            .or_exit(Exit::Unavailable, "print what was asked for")?;
            let settled = seen.iter().all(|(_, seen)| seen.is_settled());
            Ok(if settled { Exit::Success } else { Exit::of_class(ErrorClass::Conflict) })
        })
    }
}

fn shown<'a>(channel: &'a Channel, seen: &'a Seen) -> Shown<'a> {
    Shown {
        channel: channel.name(),
        image: seen.journal.current().map(|entry| entry.image.as_str()),
        parameter: seen.parameter.as_ref().map(|parameter| parameter.value.as_str()),
        settled: seen.is_settled(),
        journal: seen.journal.entries(),
    }
}

fn text(channels: &[Shown<'_>], paint: Paint) -> String {
    let mut text = String::new();
    for Shown { channel, image, parameter, settled, journal } in channels {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}  {}", paint.name(channel), image.unwrap_or("empty"));
        if !settled {
            let says = parameter.unwrap_or("nothing");
            let _ = writeln!(
                text,
                "  {}",
                paint.bad(format_args!("its parameter says {says}: a change was cut short"))
            );
        }
        for entry in journal.iter().rev() {
            let how = match &entry.change {
                Change::Published => "published".to_owned(),
                Change::Promoted { from } => format!("promoted from {from}"),
                Change::RolledBack { image } => format!("{image} was taken back"),
            };
            let _ = writeln!(text, "  {:>4}  {}  {}  {how}", entry.generation, entry.at, entry.image);
        }
    }
    text
}
