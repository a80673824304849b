//! `verify`.

use super::duration;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::out::{self, Format, Paint, Terminal};
use crate::place::block_on;
use muster_image::verify::{self, Options, Report, VerifyError};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Prove an image: boot its root file system, and judge what is found.
///
/// The directory is booted by systemd in a container with a network of its own, over an overlay: it stays as it is. Looked at are
/// size, secrets and identities, programs against the manifest, boot, failed units, units, open ports, exposure, and that it has
/// an identity of its own. With --config the agent boots the node, against what --relay reaches, and must become ready. Exits
/// with 65 where a check does not pass. Needs root.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-image verify /var/tmp/node --report report.json
  muster-image verify /var/tmp/node --config local.hcl --metadata 127.0.0.1:1338 --relay 127.0.0.1:8200 --put ca.pem:/etc/muster/ca.pem

In the configuration, @HERE@ is this host's address in the machine's network, where it reaches what is relayed.")]
pub struct Args {
    /// The root file system.
    #[arg(value_name = "DIRECTORY")]
    root: PathBuf,
    /// Its manifest; DIRECTORY.json otherwise.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where the report goes besides, as JSON: what `publish` asks for.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The most megabytes that it may take.
    #[arg(long, value_name = "MB")]
    max_size: Option<u64>,
    /// The longest boot, from PID 1 to its last unit.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_boot: Option<Duration>,
    /// A port that may be open besides, as tcp/PORT or udp/PORT. May be given several times.
    #[arg(long = "open", value_name = "PROTOCOL/PORT", value_parser = port)]
    open: Vec<String>,
    /// The agent's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file, and where the machine has it. May be given several times.
    #[arg(long = "put", value_name = "FILE:PATH", value_parser = put)]
    files: Vec<(PathBuf, String)>,
    /// What the machine is to reach: an address of this host. May be given several times.
    #[arg(long = "relay", value_name = "ADDRESS:PORT")]
    relays: Vec<SocketAddr>,
    /// What answers on this host as EC2's metadata service: the machine finds it at 169.254.169.254, as on EC2.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metadata: Option<SocketAddr>,
    /// How long everything may take.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn port(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some(("tcp" | "udp", number)) if number.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("a port is tcp/PORT or udp/PORT".to_owned()),
    }
}

fn put(text: &str) -> Result<(PathBuf, String), String> {
    match text.rsplit_once(':') {
        Some((from, to)) if !from.is_empty() && to.starts_with('/') && !to.contains("..") => {
            Ok((PathBuf::from(from), to.to_owned()))
        }
        _ => Err("FILE:PATH, with an absolute path of the machine".to_owned()),
    }
}

impl Args {
    /// Boots it, asks, and judges.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let manifest = self.manifest.unwrap_or_else(|| {
            let mut name = self.root.clone().into_os_string();
            name.push(".json");
            PathBuf::from(name)
        });
        let options = Options {
            root: self.root,
            manifest,
            most_bytes: self.max_size.map(|megabytes| megabytes.saturating_mul(1_000_000)),
            longest_boot: self.max_boot,
            open: self.open,
            patience: self.timeout,
            configuration: self.config,
            files: self.files,
            relays: self.relays,
            metadata: self.metadata,
        };
        block_on(|clock| async move {
            let report = verify::verify(&options, clock.as_ref(), &|words| out::say(words)).await;
            let report = report.map_err(failure)?;
            if let Some(path) = &self.report {
                let told = format!("write the report {}", path.display());
                let text = serde_json::to_string_pretty(&report).or_exit(Exit::Bug, &told)?;
                std::fs::write(path, text).or_exit(Exit::Configuration, told)?;
            }
            match self.format {
                Format::Json => out::print_json(&report),
                Format::Text => out::print(&text(&report, terminal.paint())),
            }
            .or_exit(Exit::Unavailable, "print the report")?;
            Ok(if report.passed { Exit::Success } else { Exit::Data })
        })
    }
}

fn failure(error: VerifyError) -> Failure {
    let exit = match error {
        VerifyError::NotRoot => Exit::Denied,
        VerifyError::File { .. } => Exit::Configuration,
        VerifyError::Manifest { .. } | VerifyError::TooLong { .. } => Exit::Data,
        VerifyError::Machine(_) | VerifyError::Relay { .. } | VerifyError::Signals(_) => Exit::Unavailable,
        VerifyError::Interrupted => Exit::Interrupted,
    };
    Failure::because(exit, "verify the image", error)
}

fn text(report: &Report, paint: Paint) -> String {
    let mut text = format!("{} of {}\n", paint.name(&report.image), report.commit);
    for check in &report.checks {
        let word = if check.passed { paint.good("ok") } else { paint.bad("NO") };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{word}  {}: {}", check.name, check.found);
    }
    let _ =
        writeln!(text, "{}", if report.passed { paint.good("passed") } else { paint.bad("did not pass") });
    text
}
