//! `janitor`.

use super::duration;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::out::{self, Format, Paint, Terminal};
use crate::place::{Channels, Where, block_on};
use fleet::DurationText;
use muster_image::janitor::{self, Carried, Outcome as Fate, Plan, Rules, SnapshotKeep, Verdict};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Remove images that nothing refers to, and tell why the others stay.
///
/// Looks at the images of this account and region that have the tag muster:image. Whatever is named by an instance (stopped ones
/// too), by a version of a launch template that somebody may launch, by a fleet, by any channel beneath --prefix or by what a channel had lately, stays; so do the newest,
/// what is shared, and what is young. The rest is deprecated, and removed with its snapshots when it has been deprecated for a
/// while. Without --apply nothing is done. Where anything cannot be looked at, nothing is decided.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-image janitor
  muster-image janitor --apply --account 123456789012
  muster-image janitor --format json | jq -r '.plan.images[] | select(.verdict.type == \"remove\") | .image'")]
pub struct Args {
    /// Does it; otherwise it is only told.
    #[arg(long)]
    apply: bool,
    /// Only tells what would be done, which is the default.
    #[arg(long, conflicts_with = "apply")]
    dry_run: bool,
    /// The account that this is to be: nothing of another is touched.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// So many of the newest images of each kind and architecture stay.
    #[arg(long, value_name = "N", default_value_t = Rules::default().newest)]
    newest: usize,
    /// So many of the images that a channel has had stay.
    #[arg(long, value_name = "N", default_value_t = Rules::default().history)]
    history: usize,
    /// So many of the newest versions of each launch template keep their images, beside those that a fleet launches and the
    /// default.
    #[arg(long, value_name = "N", default_value_t = Rules::default().template_versions)]
    template_versions: usize,
    /// An image is deprecated when it is so old.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    deprecate_after: Duration,
    /// An image is removed when it has been deprecated for so long.
    #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = duration)]
    remove_after: Duration,
    /// Also what is shared with other accounts, whose instances cannot be seen.
    #[arg(long)]
    shared_too: bool,
    #[command(flatten)]
    channels: Channels,
    #[command(flatten)]
    place: Where,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What was decided, and done, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    applied: bool,
    /// Those that were found, whose images stay.
    channels: Vec<&'a String>,
    plan: &'a Plan,
    carried: &'a [Carried],
}

impl Args {
    /// Looks, decides, and does it where it is to.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let rules = Rules {
            newest: self.newest,
            history: self.history,
            template_versions: self.template_versions,
            deprecate_after: self.deprecate_after,
            remove_after: self.remove_after,
            shared_too: self.shared_too,
        };
        block_on(|clock| async move {
            let account = self.place.connect(clock.clone()).await?;
            let seen = janitor::survey(&account, self.channels.prefix(), self.account.clone()).await;
            let seen = seen.map_err(|error| {
                Failure::because(Exit::of_class(error.class()), "look at the account", error)
            })?;
            let now = clock.wall();
            let plan = janitor::decide(&seen, &rules, now);
            let carried = if self.apply { janitor::apply(&account, &plan, now).await } else { Vec::new() };
            match self.format {
                Format::Json => {
                    let channels = seen.channels.keys().collect();
                    out::print_json(&Told { applied: self.apply, channels, plan: &plan, carried: &carried })
                }
                Format::Text => {
                    if seen.channels.is_empty() {
                        out::say(format_args!("there is no channel beneath {}", self.channels.prefix()));
                    }
                    out::print(&text(&plan, &carried, self.apply, terminal.paint()))
                }
            }
            .or_exit(Exit::Unavailable, "print what was decided")?;
            Ok(exit_of(&carried))
        })
    }
}

/// What failed may be done again; what is not allowed is not.
fn exit_of(carried: &[Carried]) -> Exit {
    let mut exit = Exit::Success;
    for one in carried {
        if let Fate::Failed { class, .. } = &one.outcome {
            if class == "denied" {
                return Exit::Denied;
            }
            exit = Exit::TryAgain;
        }
    }
    exit
}

fn text(plan: &Plan, carried: &[Carried], applied: bool, paint: Paint) -> String {
    let mut text = String::new();
    for decision in &plan.images {
        let (word, why) = match &decision.verdict {
            Verdict::Keep { why } => {
                let words: Vec<String> = why.iter().map(ToString::to_string).collect();
                (paint.good("keep"), words.join("; "))
            }
            Verdict::Deprecate { age } => {
                (paint.odd("deprecate"), format!("nothing needs it, and it is {} old", DurationText(*age)))
            }
            Verdict::Remove { deprecated, snapshots } => {
                let since = DurationText(*deprecated);
                let with = if snapshots.is_empty() {
                    String::new()
                } else {
                    format!(", with {}", snapshots.join(", "))
                };
                (paint.bad("remove"), format!("nothing needs it, and it is deprecated since {since}{with}"))
            }
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{word}  {}  {}  {why}", decision.image, decision.name);
    }
    for decision in &plan.snapshots {
        let (word, why) = match &decision.keep {
            Some(SnapshotKeep::Young { left }) => (
                paint.good("keep"),
                format!("no image is made of it; to be removed in {}", DurationText(*left)),
            ),
            None => (paint.bad("remove"), "no image is made of it".to_owned()),
        };
        let _ = writeln!(text, "{word}  {}  {why}", decision.snapshot);
    }
    for one in carried {
        let fate = match &one.outcome {
            Fate::Done => paint.good("done"),
            Fate::InUse => paint.odd("in use by something else"),
            Fate::Failed { message, .. } => paint.bad(message),
        };
        let _ = writeln!(text, "{} {}: {fate}", one.action, one.resource);
    }
    if !applied {
        let _ = writeln!(text, "{}", paint.faint("nothing was done: --apply does it"));
    }
    text
}
