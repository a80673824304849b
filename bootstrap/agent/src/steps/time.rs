//! Whether the clock is right: what is signed with a wrong one is refused.

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

/// How far the clock is from the metadata service's: the service's time is of the second.
async fn skew(node: &Node) -> Result<(Duration, &'static str), Failure> {
    let found = node.imds.need(paths::INSTANCE_ID).await?;
    let there = found.date.ok_or_else(|| {
        Failure::new(ErrorClass::Malformed, "the metadata service does not say what time it is")
    })?;
    let here = node.clock.wall();
    let (ahead, behind) = (here.since(there), there.since(here));
    Ok(if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") })
}

pub(super) async fn check(node: &Node) -> Looked {
    let skew = match skew(node).await {
        Ok((skew, _)) => skew,
        // Nobody to compare with is nothing against a clock that was right.
        Err(failure) if node.is_ready() && is_silence(&failure) => {
            return Ok((Checked::Already, Inputs::none()));
        }
        Err(failure) => return Err(failure),
    };
    let right = skew <= node.base().time.most_skew;
    Ok((if right { Checked::Already } else { Checked::Needed }, Inputs::none()))
}

pub(super) async fn apply(node: &Node) -> Made {
    if let Some(unit) = node.base().time.unit.clone() {
        node.host.ask(Request::Unit { verb: Verb::Restart, unit }).await?;
    }
    let until = node.clock.monotonic() + PATIENCE;
    loop {
        let (skew, way) = skew(node).await?;
        if skew <= node.base().time.most_skew {
            return Ok(None);
        }
        let now = node.clock.monotonic();
        if now >= until {
            let help = match &node.base().time.unit {
                Some(unit) => format!("{unit} was restarted and does not set it"),
                None => "nothing is configured to set it (time.unit)".to_owned(),
            };
            let skew = duration_text(skew);
            let what = format!("the clock is {skew} {way} the metadata service's; {help}");
            return Err(Failure::new(ErrorClass::Conflict, what));
        }
        node.wait(Step::Time, format!("the clock is off by {}", duration_text(skew)), LOOKS).await;
    }
}
