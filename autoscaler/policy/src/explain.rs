//! Every effective value of a policy, and where it comes from.

use crate::draft::Draft;
use crate::tables::FLEET_TABLE;
use crate::{FleetPolicy, Origin, Schedule};
use autoscaler_core::Policy;
use fleet::{Timestamp, Utilization};
use muster_hcl::{Setting, share_text};
use serde::{Deserialize, Serialize};

/// One effective value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Its dotted path, as in problems: `fleet.web.capacity.min`.
    pub path: String,
    /// The value as a file would say it, or in words where nothing is set.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Lists every value of a policy that is effective at a moment, in the order of the reference.
pub fn explain(fleet: &FleetPolicy, now: Timestamp) -> Vec<Explained> {
    let mut settings = Vec::new();
    let prefix = format!("fleet.{}.", fleet.name);
    FLEET_TABLE.settings(&Draft::from(fleet), &prefix, &mut settings);
    let (in_force, active) = fleet.at(now);
    let active: Vec<&Schedule> =
        fleet.schedules.iter().filter(|schedule| active.contains(&schedule.name())).collect();
    settings
        .into_iter()
        .map(|Setting { path, value }| {
            let raised = raised(path.strip_prefix(&prefix).unwrap_or_default(), fleet, &in_force, &active);
            let origin = || fleet.origins.get(&path).cloned().unwrap_or(Origin::Default);
            let (value, origin) = raised.unwrap_or_else(|| (value, origin()));
            Explained { path, value, origin }
        })
        .collect()
}

/// The value that a schedule gives a setting, if one does.
fn raised(
    setting: &str,
    fleet: &FleetPolicy,
    now: &Policy,
    active: &[&Schedule],
) -> Option<(String, Origin)> {
    let by = |raises: &dyn Fn(&Schedule) -> bool| {
        let schedule = active.iter().find(|schedule| raises(schedule))?;
        Some(Origin::Schedule { name: schedule.name().to_owned() })
    };
    let base = &fleet.base;
    match setting {
        "capacity.min" if now.capacity.min != base.capacity.min => {
            let origin = by(&|schedule| schedule.min() == Some(now.capacity.min))?;
            Some((now.capacity.min.to_string(), origin))
        }
        "target.cpu" if now.target != base.target => {
            let origin = by(&|schedule| schedule.target() == Some(now.target))?;
            Some((quoted_share(now.target), origin))
        }
        _ => None,
    }
}

fn quoted_share(share: Utilization) -> String {
    format!("\"{}\"", share_text(share.get()))
}
