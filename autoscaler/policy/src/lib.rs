//! Policies: from HCL files to what the planner is told to hold.
//!
//! Pure: takes the contents of files, never opens one. [`load`] reads any number of files and answers with the
//! fleets' policies or with everything that is wrong, at once; [`FleetPolicy::at`] applies the schedules.

mod draft;
mod explain;
mod model;
mod reference;
mod rules;
mod schedule;
mod tables;
mod texts;

pub use explain::{Explained, explain};
pub use model::{
    CloudwatchMetric, CloudwatchPolicy, DrainHook, FleetPolicy, PrometheusPolicy, SourcePolicy, in_force,
    next_change,
};
pub use muster_hcl::{File, Problem, Problems, Severity};
pub use reference::{example_file, reference_markdown};
pub use schedule::{LONGEST, Schedule, ScheduleError};

use draft::FileDraft;
use muster_hcl::Places;
use rules::Rules;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The fleets of a set of files, by name; what `check` warns of beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    /// The fleets, in the order of the files; names are unique.
    pub fleets: Vec<FleetPolicy>,
    /// What is allowed but likely not meant. Never holds an error.
    pub warnings: Problems,
}

/// Where an effective value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// A file says so.
    File {
        /// The file, as it was named to [`load`].
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// A schedule that is active says so.
    Schedule {
        /// The schedule's name.
        name: String,
    },
}

/// Reads policies: all files, all fleets, all problems at once.
///
/// * `files`: contents with the names that problems are to be shown under, in order.
/// * returns: the fleets, with warnings; or every problem of every file, warnings included.
///
/// A fleet's name is unique over all files. No file and a file without a fleet are fine: a set without fleets.
/// Never panics, whatever the texts.
pub fn load(files: &[File]) -> Result<PolicySet, Problems> {
    let mut problems = Problems::default();
    let mut read = Vec::new();
    for (order, file) in files.iter().enumerate() {
        let mut draft = FileDraft::default();
        let places = muster_hcl::read(file, order, &tables::FILE, &mut draft, &mut problems);
        read.push((draft, places));
    }
    for (file, places) in &read {
        for fleet in &file.fleets {
            Rules { fleet, places, problems: &mut problems }.check();
        }
    }
    let fleets: Vec<_> =
        read.iter().flat_map(|(file, places)| file.fleets.iter().map(move |fleet| (fleet, places))).collect();
    rules::across(&fleets, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let fleets = read.into_iter().flat_map(|(file, places)| {
        let mut origins = origins(&places);
        file.fleets.into_iter().map(move |draft| {
            let origins = origins.remove(&draft.name).unwrap_or_default();
            FleetPolicy { origins, ..draft.policy() }
        })
    });
    Ok(PolicySet { fleets: fleets.collect(), warnings: problems })
}

/// Where a file gives values, by fleet and dotted path.
fn origins(places: &Places) -> BTreeMap<String, BTreeMap<String, Origin>> {
    let mut origins: BTreeMap<String, BTreeMap<String, Origin>> = BTreeMap::new();
    for (path, place) in places.paths().filter(|(path, _)| places.text(path).is_some()) {
        // Every attribute is in a fleet, and a fleet's name has no dot.
        let fleet = path.split('.').nth(1).unwrap_or_default();
        let origin = Origin::File { file: place.file().to_owned(), line: place.line() };
        origins.entry(fleet.to_owned()).or_default().insert(path.to_owned(), origin);
    }
    origins
}
