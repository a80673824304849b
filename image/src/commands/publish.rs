//! `publish`.

use super::channels::tell;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::out::Format;
use crate::place::{Channels, Where, attempt, block_on};
use muster_image::bake::Manifest;
use muster_image::channel::ChannelError;
use muster_image::publish::{Publication, PublishError, publish};
use muster_image::verify::Report;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Publish an image: tag it, share it, and bring a channel to it.
///
/// Asks for the report of `verify` on a root file system that the same playbook made, which must have passed. Every step has the
/// same effect however often it is done: after a failure at any point, the same command does the rest.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-image publish --manifest image.json --report report.json --channel canary
  muster-image publish --image ami-0123456789abcdef0 --unverified --share-with 210987654321")]
pub struct Args {
    /// What `bake` wrote: the image, and what it was made of.
    #[arg(long, value_name = "FILE", required_unless_present = "image")]
    manifest: Option<PathBuf>,
    /// The image, in place of the manifest's.
    #[arg(long, value_name = "AMI", conflicts_with = "manifest")]
    image: Option<String>,
    /// What `verify` wrote.
    #[arg(long, value_name = "FILE", required_unless_present = "unverified")]
    report: Option<PathBuf>,
    /// Without a report.
    #[arg(long, conflicts_with = "report")]
    unverified: bool,
    /// The channel that is brought to it.
    #[arg(long, value_name = "CHANNEL", default_value = "canary")]
    channel: String,
    /// Only if the channel is at this image.
    #[arg(long, value_name = "AMI")]
    expect: Option<String>,
    /// Also where it was taken back from the channel before.
    #[arg(long)]
    again: bool,
    /// An account that may launch it, too. May be given several times.
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    share_with: Vec<String>,
    /// A tag that it gets besides: KEY=VALUE. May be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
    #[command(flatten)]
    channels: Channels,
    #[command(flatten)]
    place: Where,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an account has twelve digits".to_owned())
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value))
            if !key.is_empty() && !key.starts_with("aws:") && key.len() < 128 && value.len() <= 256 =>
        {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("a tag is KEY=VALUE; the key has at most 127 characters, the value 256".to_owned()),
    }
}

fn read<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T, Failure> {
    let told = format!("read {what} {}", path.display());
    let text = std::fs::read_to_string(path).or_exit(Exit::Configuration, &told)?;
    serde_json::from_str(&text).or_exit(Exit::Data, told)
}

impl Args {
    /// Publishes.
    pub fn run(self) -> Outcome {
        let image = match (&self.image, &self.manifest) {
            (Some(image), _) => image.clone(),
            (None, Some(path)) => {
                let manifest: Manifest = read(path, "the manifest")?;
                let words = format!("{} is of no AMI", path.display());
                manifest.ami.ok_or_else(|| Failure::new(Exit::Data, words))?
            }
            (None, None) => return Err(Failure::new(Exit::Usage, "say --manifest or --image")),
        };
        let report: Option<Report> =
            self.report.as_deref().map(|path| read(path, "the report")).transpose()?;
        let publication = Publication {
            image,
            accounts: self.share_with.into_iter().collect::<BTreeSet<_>>(),
            tags: self.tag.into_iter().collect::<BTreeMap<_, _>>(),
            report,
            expected: self.expect,
            again: self.again,
        };
        block_on(|clock| async move {
            let channel = self.channels.channel(&self.channel)?;
            let account = self.place.connect(clock.clone()).await?;
            let published = publish(&account, &channel, &publication, &attempt()?, clock.wall()).await;
            tell(&channel, &published.map_err(|error| failure(&publication.image, error))?, self.format)
        })
    }
}

fn failure(image: &str, error: PublishError) -> Failure {
    let what = format!("publish {image}");
    match error {
        PublishError::Channel(error @ ChannelError::Refused(_)) => super::channels::failure(&what, error),
        PublishError::DidNotPass | PublishError::AnotherPlaybook { .. } => {
            Failure::because(Exit::Data, what, error)
        }
        error => Failure::because(Exit::of_class(error.class()), what, error),
    }
}
