//! `bake`.

use super::duration;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::out::{self, Format};
use crate::place::{Where, attempt, block_on};
use muster_image::bake::{self, BakeError, Build, Options};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bake an image: drive Packer, tell what it does, and write down what was made of what.
///
/// Packer is told to clean up where the bake is interrupted or takes too long. What it leaves behind in AWS, for EC2 made it only after,
/// is found by the tag muster:bake and removed, also where Packer fails by itself; another interrupt ends that. The manifest has the
/// image, the commit, the version of the playbook, and the programs with version and SHA-256.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-image bake --build base
  muster-image bake --build node --package muster-bootstrap_0.1.0-1_amd64.deb --extra-vars site.json --manifest image.json
  muster-image bake --build rootfs --rootfs /var/tmp/node --package muster-bootstrap.deb --extra-vars site.json
  muster-image bake --build node --var instance_profile=muster-bake --var ssh_interface=session_manager")]
pub struct Args {
    /// What is baked.
    #[arg(long, value_enum, default_value_t = Build::Node)]
    build: Build,
    /// The directory of image/packer.
    #[arg(long, value_name = "DIRECTORY", default_value = "image/packer")]
    templates: PathBuf,
    /// Packer; it is looked for on PATH.
    #[arg(long, value_name = "PROGRAM", default_value = "packer")]
    packer: PathBuf,
    /// The commit that it is made of; what git says of the templates otherwise.
    #[arg(long, value_name = "HASH")]
    commit: Option<String>,
    /// The Debian package of the agent.
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// A file of variables (JSON) of the playbook.
    #[arg(long, value_name = "FILE")]
    extra_vars: Option<PathBuf>,
    /// The directory that is baked, of the build rootfs.
    #[arg(long, value_name = "DIRECTORY", required_if_eq("build", "rootfs"))]
    rootfs: Option<PathBuf>,
    /// A directory with Nomad and Consul, in place of the vendor's archives; of the build rootfs.
    #[arg(long, value_name = "DIRECTORY", env = "MUSTER_IMAGE_PROGRAMS")]
    programs: Option<PathBuf>,
    /// A variable of Packer's templates: NAME=VALUE. May be given several times.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Where it is written down what was made.
    #[arg(long, value_name = "FILE", default_value = "image.json")]
    manifest: PathBuf,
    /// How long it may take.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    place: Where,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is NAME=VALUE".to_owned()),
    }
}

impl Args {
    /// Bakes.
    pub fn run(self) -> Outcome {
        let mut options = Options {
            id: attempt()?,
            build: self.build,
            templates: self.templates,
            packer: self.packer,
            commit: self.commit,
            package: self.package,
            extra_vars: self.extra_vars,
            rootfs: self.rootfs,
            programs: self.programs,
            variables: self.variables,
            region: self.place.region().map(ToString::to_string),
            endpoint: self.place.endpoint().map(str::to_owned),
            patience: self.timeout,
        };
        block_on(|clock| async move {
            let told = options.region.is_some() || options.variables.iter().any(|(name, _)| name == "region");
            if !told && options.build != Build::Rootfs {
                options.region = fleet_aws::default_region().await.map(|region| region.to_string());
            }
            let connect =
                async |region, endpoint| Where::at(region, endpoint).connect(Arc::clone(&clock)).await;
            let made = bake::bake(&options, connect, clock.as_ref(), &|line| out::say(line)).await;
            let made = made.map_err(failure)?;
            let told = format!("write the manifest {}", self.manifest.display());
            let text = serde_json::to_string_pretty(&made).or_exit(Exit::Bug, &told)?;
            std::fs::write(&self.manifest, text).or_exit(Exit::Configuration, told)?;
            match self.format {
                Format::Json => out::print_json(&made),
                Format::Text => {
                    let what = made.ami.clone().or_else(|| made.root.clone()).unwrap_or_default();
                    out::print(&format!("{what}\n"))
                }
            }
            .or_exit(Exit::Unavailable, "print what was made")?;
            Ok(Exit::Success)
        })
    }
}

fn failure(error: BakeError) -> Failure {
    let exit = match error {
        BakeError::Interrupted => Exit::Interrupted,
        BakeError::TooLong { .. } => Exit::TryAgain,
        BakeError::File { .. } => Exit::Configuration,
        BakeError::Program { .. } => Exit::Unavailable,
        BakeError::Failed { .. } | BakeError::Manifest { .. } => Exit::Data,
    };
    Failure::because(exit, "bake", error)
}
