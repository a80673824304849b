//! Whether the clock is right: what is signed with a wrong one is refused.

use super::READY;
use super::identity::is_silence;
use crate::drive::{Looked, Made};
use crate::host::{Request, Verb};
use crate::imds::paths;
use crate::node::Node;
use bootstrap_config::duration_text;
use bootstrap_core::{Checked, Failure, Inputs, Step};
use fleet::ErrorClass;
use std::time::Duration;

/// How often the clock is looked at while it is being set.
const LOOKS: Duration = Duration::from_secs(1);
/// How long whoever sets it is given, before another attempt restarts it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long whoever speaks for the kernel is given.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What the clock is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// The metadata service says what time it is: the clock is so far from that, which is of the second.
    Off(Duration, &'static str),
    /// It does not, and the kernel says whether somebody keeps the clock.
    Kept(bool),
}

impl Seen {
    fn is_right(&self, most_skew: Duration) -> bool {
        match self {
            Self::Off(skew, _) => *skew <= most_skew,
            Self::Kept(kept) => *kept,
        }
    }
    /// In words, where it is not right.
    fn wrong(&self) -> String {
        match self {
            Self::Off(skew, way) => format!("is {} {way} the metadata service's", duration_text(*skew)),
            Self::Kept(_) => "is not synchronised, as the kernel says".to_owned(),
        }
    }
}

async fn look(node: &Node) -> Result<Seen, Failure> {
    let found = node.imds.need(paths::INSTANCE_ID).await?;
    let Some(there) = found.date else {
        return kept(node).await.map(Seen::Kept).map_err(|why| {
            let what = format!(
                "the metadata service does not say what time it is, and nobody whether the clock is synchronised: {why}"
            );
            Failure::new(ErrorClass::Unclear, what)
        });
    };
    let here = node.clock.wall();
    let (ahead, behind) = (here.since(there), there.since(here));
    Ok(if ahead > behind { Seen::Off(ahead, "ahead of") } else { Seen::Off(behind, "behind") })
}

/// Whether the kernel's clock is synchronised. The call that tells (adjtimex) is one that can set it, too, and so beyond the
/// agent's unit: systemd's own daemon is asked.
async fn kept(node: &Node) -> Result<bool, String> {
    let asked = tokio::process::Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::select! {
        output = asked => output.map_err(|error| format!("timedatectl: {error}"))?,
        () = node.clock.sleep_until(node.clock.monotonic() + ANSWERS_WITHIN) => {
            return Err("timedatectl does not answer".to_owned());
        }
    };
    match output.stdout.trim_ascii() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(format!("timedatectl ended with {}", output.status)),
    }
}

pub(super) async fn check(node: &Node) -> Looked {
    let seen = match look(node).await {
        Ok(seen) => seen,
        // Nobody to compare with is nothing against a clock that was right, for this process or for one before it.
        Err(failure)
            if is_silence(&failure) && (node.is_ready() || node.directories.run.join(READY).exists()) =>
        {
            return Ok((Checked::Already, Inputs::none()));
        }
        Err(failure) => return Err(failure),
    };
    let right = seen.is_right(node.base().time.most_skew);
    Ok((if right { Checked::Already } else { Checked::Needed }, Inputs::none()))
}

pub(super) async fn apply(node: &Node) -> Made {
    if let Some(unit) = node.base().time.unit.clone() {
        node.host.ask(Request::Unit { verb: Verb::Restart, unit }).await?;
    }
    let until = node.clock.monotonic() + PATIENCE;
    loop {
        let seen = look(node).await?;
        if seen.is_right(node.base().time.most_skew) {
            return Ok(None);
        }
        let wrong = format!("the clock {}", seen.wrong());
        let now = node.clock.monotonic();
        if now >= until {
            let help = match &node.base().time.unit {
                Some(unit) => format!("{unit} was restarted and does not set it"),
                None => "nothing is configured to set it (time.unit)".to_owned(),
            };
            return Err(Failure::new(ErrorClass::Conflict, format_args!("{wrong}; {help}")));
        }
        node.wait(Step::Time, &wrong, LOOKS).await;
    }
}
