//! World files: what the simulated account is made of, in HCL.
//!
//! ```
//! let file = muster_hcl::File::new("small.hcl", r#"
//!     pool "m5.large/eu-west-1a" { price = "0.041" }
//!     fleet "web" {
//!       load { demand = 3 }
//!     }
//! "#);
//! let world = fleet_cloud::world_file::decode(&file, |_| unreachable!("no trace is named"))?;
//! assert_eq!(world.spec.fleets.len(), 1);
//! # Ok::<(), muster_hcl::Problems>(())
//! ```

mod draft;
mod rules;
mod tables;

pub(crate) use draft::pool_of;

use draft::{LoadDraft, WorldDraft};
use flate2::bufread::MultiGzDecoder;
use fleet::Timestamp;
use fleet_sim::{Demand, WorldSpec};
use muster_hcl::{File, Problems, TableDoc};
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The world that is served where no file is given: four pools of three families, and a fleet.
pub const DEFAULT: &str = include_str!("../../worlds/default.hcl");
/// The largest file that is read, and the largest trace as it is stored.
const MAX_FILE: u64 = 1024 * 1024;
const MAX_TRACE: u64 = 64 * 1024 * 1024;

/// What a file says.
#[derive(Clone, Debug)]
pub struct WorldFile {
    /// The world, with the fleets that are there from the start.
    pub spec: WorldSpec,
    /// When its time begins; `None`: with the host's.
    pub start: Option<Timestamp>,
    /// What looks like a slip.
    pub warnings: Problems,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorldFileError {
    /// It cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It does not say what a world file says: everything that is wrong, one line a problem.
    #[error("{0}")]
    Wrong(Problems),
}

/// Reads a world file, and the traces that it names.
pub fn read(path: &Path) -> Result<WorldFile, WorldFileError> {
    let failed = |source| WorldFileError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE {
        return Err(failed(io::Error::other("the file is larger than 1 MiB")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let file = File::new(path.display().to_string(), text);
    decode(&file, |name| read_trace(name, &folder.join(name))).map_err(WorldFileError::Wrong)
}

fn read_trace(name: &str, path: &Path) -> Result<Demand, String> {
    let open = || -> io::Result<Box<dyn BufRead>> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.len() > MAX_TRACE {
            return Err(io::Error::other("the trace is larger than 64 MiB"));
        }
        let reader = BufReader::new(file);
        Ok(if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(BufReader::new(MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        })
    };
    let reader = open().map_err(|error| format!("could not be read: {error}"))?;
    Demand::read_csv(name, reader).map_err(|error| error.to_string())
}

/// Decodes a world file; all that is wrong with it is reported at once.
///
/// * `trace`: reads a trace by the name that the file has for it; its error is a text that fits after the name.
pub fn decode(
    file: &File,
    mut trace: impl FnMut(&str) -> Result<Demand, String>,
) -> Result<WorldFile, Problems> {
    let mut problems = Problems::default();
    let mut draft = WorldDraft::default();
    let places = muster_hcl::read(file, 0, &tables::WORLD, &mut draft, &mut problems);
    rules::check(&draft, &places, &mut problems);

    let mut load_of = |load: &LoadDraft, path: &str| -> Demand {
        let Some(name) = &load.trace else { return Demand::constant(load.demand.unwrap_or(0.0)) };
        match trace(name) {
            Ok(demand) => demand.scaled(load.scale.unwrap_or(1.0)),
            Err(reason) => {
                problems.push(places.error(&format!("{path}.trace"), reason));
                Demand::constant(0.0)
            }
        }
    };
    let mut spec = draft.spec;
    spec.load = load_of(&draft.load, "load");
    spec.timing.boot = draft.boot.delay();
    if !draft.pools.is_empty() {
        spec.pools = draft
            .pools
            .into_iter()
            .map(|mut pool| {
                pool.spec.windows = pool.windows.into_iter().map(|window| window.window).collect();
                pool.spec
            })
            .collect();
    }
    if spec.zones.is_empty() {
        let zones: BTreeSet<_> = spec.pools.iter().map(|pool| pool.zone.clone()).collect();
        spec.zones = zones.into_iter().collect();
    }
    spec.fleets = draft
        .fleets
        .into_iter()
        .map(|fleet| {
            let load = load_of(&fleet.load, &format!("fleet.{}.load", fleet.name));
            fleet.spec(load)
        })
        .collect();
    spec.interruptions.script = draft.scripts.iter().filter_map(draft::ScriptDraft::script).collect();
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(WorldFile { spec, start: draft.start, warnings: problems })
}

/// The reference documentation of world files, in Markdown.
pub fn reference_markdown() -> String {
    let mut text = "\
# World file reference

What a world file of `muster-autoscaler cloud --world FILE` may say: the simulated account. Everything has a
default, so an empty file is a world. Durations are written as `\"90s\"` or `\"1h30m\"`, shares as `\"5%\"`; a name
that is not in this reference is an error. `fleet/cloud/worlds/default.hcl` is the world that is served where no
file is given.

"
    .to_owned();
    text.push_str(&TableDoc::of(&tables::WORLD, &WorldDraft::default()).markdown(2));
    text.truncate(text.trim_end().len());
    text + "\n"
}

#[cfg(test)]
mod tests;
