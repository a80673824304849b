//! `tune`: is there a better setting for one's own load?

use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::lab::{Load, Loaded, Watch, Work, World, parse_share};
use crate::out::{self, Format, Terminal};
use crate::render;
use autoscaler_lab::Trace;
use autoscaler_lab::tune::{self, FileError, Knobs, Search, TuneError, Tuned, Verdict};
use serde::Serialize;
use std::path::PathBuf;

/// Search the policy's own knobs on the first part of recorded load, and judge by the rest.
///
/// Tried are the target, the holds, the largest steps and the minimum, around what the policy says; its promise stays
/// as it is, and so does what a mean utilisation may be. Another setting is advised only where it keeps the contract on
/// the part that the search has not seen, and is 2 % cheaper there at least, or keeps what the policy does not. What
/// comes out is the front of cost against breach, its knee, and the policy file with what was chosen.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler tune --trace june.csv
  muster-autoscaler tune --trace june.csv --policy web.hcl --write tuned.hcl && muster-autoscaler check tuned.hcl
  muster-autoscaler tune --trace *.csv --train 70% --most 300 --format json | jq .verdict")]
pub struct Args {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    world: World,
    #[command(flatten)]
    work: Work,
    /// Which share of each trace is searched on; the rest judges.
    #[arg(long, value_name = "SHARE", default_value = "50%", value_parser = parse_train)]
    train: f64,
    /// How many settings are tried at most.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    most: u32,
    /// Write the policy file here, in place of printing it. It is written only where another setting is advised.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The result as JSON.
#[derive(Serialize)]
struct Printed<'a> {
    traces: Vec<&'a str>,
    #[serde(flatten)]
    tuned: &'a Tuned,
    worth: f64,
    policy_file: Option<&'a str>,
}

impl Args {
    /// Searches.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let loaded = self.load.read(terminal)?;
        let watch = Watch::begin()?;
        let tuned = self.search(&loaded, &watch)?;
        watch.end();
        let traces: Vec<&str> = loaded.traces.iter().map(|trace| trace.name.as_str()).collect();
        let file = policy_file(&loaded, &tuned, &traces)?;
        match self.format {
            Format::Text => {
                let mut text = render::tuned(&tuned, terminal.paint());
                if let (Some(file), None) = (&file, &self.write) {
                    text.push('\n');
                    text += file;
                }
                out::print(&text)
            }
            Format::Json => {
                let policy_file = file.as_deref();
                out::print_json(&Printed { traces, tuned: &tuned, worth: tune::WORTH, policy_file })
            }
        }
        .or_exit(Exit::Unavailable, "print what was found")?;
        if let (Some(path), Some(file)) = (&self.write, &file) {
            std::fs::write(path, file)
                .or_exit(Exit::Unavailable, format_args!("write {}", path.display()))?;
            out::say(format_args!("wrote {}", path.display()));
        }
        if watch.interrupted() {
            out::say(format_args!("interrupted: {} settings had been tried", tuned.tried));
        }
        Ok(watch.exit())
    }

    fn search(&self, loaded: &Loaded, watch: &Watch) -> Result<Tuned, Failure> {
        let setting = self.world.setting(&loaded.chosen)?;
        let histories: Vec<Option<&Trace>> =
            (0..loaded.traces.len()).map(|index| loaded.history(index)).collect();
        let search = Search {
            traces: &loaded.traces,
            histories: &histories,
            policy: &loaded.chosen.policy,
            setting: &setting,
            share: self.train,
            most: usize::try_from(self.most).unwrap_or(usize::MAX),
            threads: self.work.threads(),
        };
        tune::tune(&search, watch.stop(), &|progress| watch.progress(progress)).map_err(|error| match error {
            TuneError::TooShort { .. } => Failure::new(Exit::Data, error),
            TuneError::Stopped => Failure::new(Exit::Interrupted, error),
        })
    }
}

/// The policy file with what is advised; `None` where that is what there is.
fn policy_file(loaded: &Loaded, tuned: &Tuned, traces: &[&str]) -> Result<Option<String>, Failure> {
    let Verdict::Take { candidate, .. } = &tuned.verdict else { return Ok(None) };
    let why =
        format!("Chosen by `muster-autoscaler tune` on {}.\n{}", traces.join(", "), render::reasons(tuned));
    let from = Knobs::of(&loaded.chosen.policy);
    let Some(fleet) = &loaded.chosen.fleet else {
        return Ok(Some(tune::fresh(&from, &candidate.knobs, &why)));
    };
    let mut refused = None;
    for file in &loaded.chosen.files {
        match tune::edited(file, fleet.name.as_str(), &from, &candidate.knobs, &why) {
            Ok(text) => return Ok(Some(text)),
            Err(FileError::NoFleet { .. }) => {}
            Err(error) => refused = Some(error),
        }
    }
    refused
        .map_or(Ok(None), |error| Err(Failure::because(Exit::Configuration, "write the policy file", error)))
}

fn parse_train(text: &str) -> Result<f64, String> {
    let share = parse_share(text)?;
    if (0.1..=0.9).contains(&share) { Ok(share) } else { Err("expected a share from 10% to 90%".to_owned()) }
}
