//! The policy that is tried: a fleet's own, else the defaults.

use crate::commands::run;
use crate::exit::{Exit, Failure};
use crate::out::Terminal;
use autoscaler::policies::Loaded;
use autoscaler_core::Policy;
use autoscaler_policy::{File, FleetPolicy, Schedule};
use fleet::FleetName;
use std::path::{Path, PathBuf};

/// A policy, and where it comes from.
pub struct Chosen {
    /// The policy, as the lab tries it: it acts, whatever the file says about watching alone.
    pub policy: Policy,
    /// The fleet that it is of; `None`: nobody's, all defaults.
    pub fleet: Option<FleetPolicy>,
    /// The files that say so.
    pub files: Vec<File>,
}

impl Chosen {
    /// Reads the policy of a fleet.
    ///
    /// * `path`: a file or directory; `None`: all defaults.
    /// * `fleet`: which, where there are several.
    pub fn read(path: Option<&Path>, fleet: Option<&FleetName>, terminal: Terminal) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { policy: Policy::default(), fleet: None, files: Vec::new() });
        };
        let paths = [PathBuf::from(path)];
        let Loaded { set, files } = run::load(&paths, terminal)?;
        let chosen = one_of(set.fleets, fleet, path)?;
        let policy = Policy { observe_only: false, dry_run: false, ..chosen.base.clone() };
        Ok(Self { policy, fleet: Some(chosen), files })
    }
}

impl Chosen {
    /// The hours at which it asks for more.
    pub fn schedules(&self) -> Vec<Schedule> {
        self.fleet.as_ref().map_or_else(Vec::new, |fleet| fleet.schedules.clone())
    }
}

/// The fleet that is meant.
fn one_of(fleets: Vec<FleetPolicy>, name: Option<&FleetName>, path: &Path) -> Result<FleetPolicy, Failure> {
    let known: Vec<String> = fleets.iter().map(|fleet| fleet.name.to_string()).collect();
    let mut meant = fleets.into_iter().filter(|fleet| name.is_none_or(|name| fleet.name == *name));
    let path = path.display();
    let refuse = |message: String| Err(Failure::new(Exit::Usage, message));
    match (meant.next(), meant.next(), name) {
        (Some(fleet), None, _) => Ok(fleet),
        (Some(_), Some(_), _) => {
            refuse(format!("{path} has several fleets, {}; name one with --fleet", known.join(", ")))
        }
        (None, _, Some(name)) if !known.is_empty() => {
            refuse(format!("{path} has no fleet {name}; it has {}", known.join(", ")))
        }
        (None, ..) => refuse(format!("{path} has no fleet")),
    }
}
