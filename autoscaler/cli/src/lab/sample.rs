//! The samples that are in the binary, so that the lab has something to play without any file.

use super::traces;
use crate::exit::{Exit, Failure};
use crate::out;
use autoscaler_lab::Trace;

/// What is played where nothing is named.
const DEFAULT: &str = "taxi";
/// What names a sample in place of a file.
const PREFIX: &str = "sample:";

/// Two days of recorded load each; see autoscaler/samples/README.md.
const SAMPLES: [(&str, &[u8]); 7] = [
    ("asgcpu", include_bytes!("../../../samples/asgcpu.csv.gz")),
    ("elb", include_bytes!("../../../samples/elb.csv.gz")),
    ("flash", include_bytes!("../../../samples/flash.csv.gz")),
    ("nasa", include_bytes!("../../../samples/nasa.csv.gz")),
    ("taxi", include_bytes!("../../../samples/taxi.csv.gz")),
    ("wc98", include_bytes!("../../../samples/wc98.csv.gz")),
    ("wiki", include_bytes!("../../../samples/wiki.csv.gz")),
];

/// The sample that stands for a missing `--trace`, and a word about it.
pub fn default() -> Result<Trace, Failure> {
    out::say(format_args!(
        "no --trace: two days of {PREFIX}{DEFAULT} are played, taxi passengers in New York on up to 20 units"
    ));
    open(&format!("{PREFIX}{DEFAULT}")).unwrap_or_else(|| Err(unknown(DEFAULT)))
}

/// The sample of a name such as `sample:nasa`; `None` where it is not a sample's name.
pub fn open(name: &str) -> Option<Result<Trace, Failure>> {
    let wanted = name.strip_prefix(PREFIX)?;
    let found = SAMPLES.iter().find(|(known, _)| *known == wanted);
    Some(found.map_or_else(|| Err(unknown(wanted)), |(_, bytes)| traces::read(name, *bytes)))
}

fn unknown(name: &str) -> Failure {
    let known: Vec<&str> = SAMPLES.iter().map(|(known, _)| *known).collect();
    Failure::new(
        Exit::Usage,
        format_args!("there is no sample {name:?}; expected one of {}", known.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_two_days_of_demand() {
        for (name, _) in SAMPLES {
            let trace = open(&format!("{PREFIX}{name}")).expect("a sample").expect("a trace");
            assert_eq!(trace.seconds(), 2 * 86_400, "{name}");
        }
        assert!(open("sample:none").is_some_and(|read| read.is_err()));
        assert!(open("taxi").is_none(), "files may be called anything");
    }
}
