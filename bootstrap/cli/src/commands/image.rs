//! `seal` and `verify-image`.

use crate::exit::{Exit, Failure, OrExit as _, Outcome};
use crate::{out, run};
use bootstrap_agent::node::Directories;
use bootstrap_agent::{seal, units};
use bootstrap_config::Settings;
use std::path::PathBuf;

/// Which image.
#[derive(Clone, Debug, clap::Args)]
pub struct Image {
    /// Where it is: this machine, or the directory that the image is made of.
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
}

impl Image {
    /// What its configuration says: where the agent and root write for it.
    fn settings(&self, directories: &Directories) -> Result<Settings, Failure> {
        let inside = directories.config.strip_prefix("/").unwrap_or(&directories.config);
        let config = self.root.join(inside);
        let (_, base) = run::files(&Directories { config, ..directories.clone() })?;
        Ok(base)
    }

    fn of<'a>(&'a self, settings: &'a Settings, directories: &'a Directories) -> seal::Image<'a> {
        seal::Image { root: self.root.as_path(), settings, directories }
    }
}

/// `seal`.
pub fn seal(directories: &Directories, image: &Image) -> Outcome {
    let settings = image.settings(directories)?;
    let sealed = seal::seal(image.of(&settings, directories)).or_exit(Exit::Denied, "seal the image")?;
    for gone in &sealed {
        out::print(&format!("{gone}\n")).or_exit(Exit::Unavailable, "print")?;
    }
    verify_image(directories, image)
}

/// `verify-image`.
pub fn verify_image(directories: &Directories, image: &Image) -> Outcome {
    let settings = image.settings(directories)?;
    let left =
        seal::leftovers(image.of(&settings, directories)).or_exit(Exit::Denied, "look at the image")?;
    for leftover in &left {
        out::say(format_args!("still there: {leftover}"));
    }
    let faults = units::faults(&image.root, &settings).or_exit(Exit::Denied, "look at the image's units")?;
    for fault in &faults {
        out::say(fault);
    }
    if left.is_empty() && faults.is_empty() {
        out::say("the image holds nothing that two instances must not share");
        Ok(Exit::Done)
    } else {
        Ok(Exit::Failed)
    }
}
