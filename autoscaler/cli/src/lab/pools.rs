//! Recordings of spot pools: how many instances could be had when.

use crate::exit::{Exit, Failure, OrExit};
use autoscaler_lab::market::{Market, Recorded};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Pools that do as recordings say; `None` where there are no recordings.
pub fn market(files: &[PathBuf]) -> Result<Option<Arc<Market>>, Failure> {
    let recordings: Vec<(String, Recorded)> =
        files.iter().map(|file| Ok((zone(file), read(file)?))).collect::<Result<_, Failure>>()?;
    Ok((!recordings.is_empty()).then(|| Arc::new(Market::replaying(&recordings))))
}

/// The zone that a file is of: its name up to the first `_`, as in `us-east-1f_v100_1.json.gz`.
fn zone(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split(['_', '.']).next().unwrap_or_default().to_owned()
}

fn read(path: &Path) -> Result<Recorded, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).or_exit(Exit::Data, format_args!("read {name}"))?;
    // How many were asked for is not in the file: at least as many as were ever had.
    Recorded::read(&name, BufReader::new(file), 1)
        .map_err(|error| Failure::because(Exit::Data, "use a recording of a pool", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_what_the_name_of_its_file_begins_with() {
        assert_eq!(zone(Path::new("spot/us-east-1f_v100_1.json.gz")), "us-east-1f");
        assert_eq!(zone(Path::new("eu-west-1a.json")), "eu-west-1a");
        assert_eq!(market(&[]).expect("nothing to read"), None);
    }
}
