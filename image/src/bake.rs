//! Baking: Packer is driven, and what it made is written down with what it was made of.

use crate::leftovers::{self, Workshop};
use crate::verify::{Manifest as OfRootfs, Program};
use clap::ValueEnum;
use fleet::ports::Clock;
use fleet::{DurationText, Region};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Where the templates bake, unless they are told.
const REGION: &str = "eu-west-1";
/// How long Packer may clean up after it was told to end.
const CLEANING: Duration = Duration::from_secs(300);
/// The longest line of Packer's that is told whole.
const MOST_LINE: usize = 4096;

/// What is baked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    /// The base image.
    Base,
    /// The image of a node, on the newest base.
    Node,
    /// The node's machine without the playbook, for a cloud that runs no machines.
    Rehearsal,
    /// A root file system in a directory, without AWS.
    Rootfs,
}

impl Build {
    const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Node => "node",
            Self::Rehearsal => "rehearsal",
            Self::Rootfs => "rootfs",
        }
    }
}

/// How it is baked.
#[derive(Clone, Debug)]
pub struct Options {
    /// A text that no other bake has: what Packer makes to bake with carries it as a tag.
    pub id: String,
    /// What.
    pub build: Build,
    /// The directory of Packer's templates; `bake-rootfs` and `playbook-version` are beside it.
    pub templates: PathBuf,
    /// Packer.
    pub packer: PathBuf,
    /// The commit; `None`: what git says.
    pub commit: Option<String>,
    /// The Debian package of the agent.
    pub package: Option<PathBuf>,
    /// Variables of the playbook, as a file of JSON.
    pub extra_vars: Option<PathBuf>,
    /// The directory that is baked.
    pub rootfs: Option<PathBuf>,
    /// Nomad and Consul, for the directory.
    pub programs: Option<PathBuf>,
    /// More variables of the templates.
    pub variables: Vec<(String, String)>,
    /// The region.
    pub region: Option<String>,
    /// EC2's address in a rehearsal.
    pub endpoint: Option<String>,
    /// How long it may take.
    pub patience: Duration,
}

/// What was made of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was baked.
    pub build: Build,
    /// The image, where it is one of AWS.
    pub ami: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// The directory, where it is one.
    pub root: Option<String>,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// The commit.
    pub commit: String,
    /// The version of the playbook.
    pub playbook: String,
    /// When, as Packer's templates write it.
    pub built: String,
    /// The SHA-256 of the agent's package.
    pub package_sha256: Option<String>,
    /// The programs that are not Debian's, by the notes that the playbook leaves beside them.
    pub programs: BTreeMap<String, Program>,
}

/// Why nothing was baked.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// A file.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program could not be run.
    #[error("cannot run {}", program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{what} failed: {status}")]
    Failed {
        /// Which.
        what: String,
        /// How.
        status: String,
    },
    /// What Packer wrote down cannot be read.
    #[error("{} does not say what was made", path.display())]
    Manifest {
        /// Where.
        path: PathBuf,
        /// Why.
        source: Option<serde_json::Error>,
    },
    /// It took too long, and was ended.
    #[error("not done within {}", DurationText(*patience))]
    TooLong {
        /// How long it could.
        patience: Duration,
    },
    /// Somebody ended it.
    #[error("interrupted")]
    Interrupted,
}

/// What Packer's manifest says of a build.
#[derive(Deserialize)]
struct OfPacker {
    builds: Vec<PackerBuild>,
    last_run_uuid: String,
}

#[derive(Deserialize)]
struct PackerBuild {
    artifact_id: String,
    packer_run_uuid: String,
    #[serde(default)]
    custom_data: BTreeMap<String, String>,
}

/// Bakes, telling each of Packer's lines. * returns: what was made.
///
/// Where it is interrupted (SIGINT, SIGTERM) or takes too long, Packer is told to end, which removes what it has made in AWS, and
/// gets five minutes for that. Where it was through by then, what it made stands. What Packer leaves behind in AWS when it does not end
/// well is removed then, as [`leftovers::sweep`] does, unless there is another interrupt.
///
/// * `connect`: makes the way to a region of AWS; EC2 and STS have the second's address, where there is one.
pub async fn bake<W: Workshop, E: Display>(
    options: &Options,
    connect: impl AsyncFnOnce(Region, Option<String>) -> Result<W, E>,
    clock: &dyn Clock,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Manifest, BakeError> {
    let above = options.templates.join("..");
    let commit = match &options.commit {
        Some(commit) => commit.clone(),
        None => {
            said(&PathBuf::from("git"), &["-C", &above.display().to_string(), "rev-parse", "HEAD"]).await?
        }
    };
    let playbook = said(&above.join("playbook-version"), &[]).await?;
    let package_sha256 = options.package.as_deref().map(sha256).transpose()?;
    let place = tempfile::tempdir()
        .map_err(|source| BakeError::File { path: PathBuf::from("a temporary directory"), source })?;
    let (written, noted) = (place.path().join("packer.json"), place.path().join("noted"));

    let mut command = Command::new(&options.packer);
    command.arg("build").arg("-color=false").arg(format!("-only={}.*", options.build.name()));
    let told = variables(options, &commit, &playbook, package_sha256.as_deref(), &written);
    for (name, value) in &told {
        command.arg("-var").arg(format!("{name}={value}"));
    }
    if options.build == Build::Node {
        command.arg("-var").arg(format!("noted={}", noted.display()));
    }
    command.arg(&options.templates);
    if let Some(endpoint) = endpoint(&told) {
        // What its plugin does to an image that is made, it asks of the address in its environment, and not of its template's.
        command.env("AWS_ENDPOINT_URL_EC2", endpoint);
    }
    let driven = drive(command, options, clock, tell).await;
    // A Packer that was never started has made nothing.
    let begun = !matches!(driven, Ok(()) | Err(BakeError::Program { .. }));
    if begun && options.build != Build::Rootfs {
        let region = Region::new(last(&told, "region").unwrap_or(REGION));
        match connect(region, endpoint(&told).map(str::to_owned)).await {
            Ok(workshop) => tidy(&workshop, &options.id, clock, tell).await,
            Err(error) => tell(&format!("cannot look for what Packer has left behind: {error}")),
        }
    }
    driven?;
    collect(options, &written, commit, playbook, package_sha256)
}

/// What the templates are told.
fn variables(
    options: &Options,
    commit: &str,
    playbook: &str,
    package_sha256: Option<&str>,
    written: &Path,
) -> Vec<(String, String)> {
    let mut told = vec![
        ("commit".to_owned(), commit.to_owned()),
        ("playbook".to_owned(), playbook.to_owned()),
        ("manifest".to_owned(), written.display().to_string()),
    ];
    let mut tell = |name: &str, value: Option<String>| {
        told.extend(value.map(|value| (name.to_owned(), value)));
    };
    let path =
        |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    tell("region", options.region.clone());
    tell("endpoint", options.endpoint.clone());
    if options.build == Build::Rootfs {
        tell("rootfs", options.rootfs.as_ref().map(path));
        let mut words = Vec::new();
        for (option, value) in [("--package", &options.package), ("--programs", &options.programs)] {
            words.extend(value.iter().flat_map(|value| [option.to_owned(), path(value)]));
        }
        words.extend(
            options
                .extra_vars
                .iter()
                .flat_map(|file| ["--extra-vars".to_owned(), format!("@{}", path(file))]),
        );
        tell("rootfs_arguments", serde_json::to_string(&words).ok());
    } else {
        tell("package", options.package.as_ref().map(path));
        tell("package_sha256", package_sha256.map(str::to_owned));
        tell("extra_vars_file", options.extra_vars.as_ref().map(path));
    }
    if options.build == Build::Rehearsal {
        tell("communicator", Some("none".to_owned()));
    }
    told.extend(options.variables.iter().cloned());
    if options.build != Build::Rootfs {
        told.push(("bake".to_owned(), options.id.clone()));
    }
    told
}

/// What the templates are told last of a variable.
fn last<'a>(told: &'a [(String, String)], variable: &str) -> Option<&'a str> {
    told.iter().rfind(|(name, _)| name == variable).map(|(_, value)| value.as_str())
}

/// Where EC2 is, by what the templates are told; `None`: where AWS has it.
fn endpoint(told: &[(String, String)]) -> Option<&str> {
    last(told, "endpoint").filter(|endpoint| !endpoint.is_empty())
}

/// Removes what Packer has left behind, unless it is interrupted.
async fn tidy(workshop: &dyn Workshop, bake: &str, clock: &dyn Clock, tell: &(dyn Fn(&str) + Sync)) {
    // From now on: a signal that came twice, as some send it, ended the bake, and is not to end this.
    let streams = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let interrupted = async {
        match streams {
            (Ok(mut interrupt), Ok(mut terminate)) => {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            }
            // Whom nobody can interrupt ends by itself.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = leftovers::sweep(workshop, bake, clock, tell) => {}
        () = interrupted => {
            let how = leftovers::by_hand(bake, workshop.region());
            tell(&format!("interrupted: what Packer has left behind and is not told of here stays; {how}"));
        }
    }
}

/// Runs Packer to its end, or ends it.
async fn drive(
    mut command: Command,
    options: &Options,
    clock: &dyn Clock,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), BakeError> {
    let failed = |source| BakeError::Program { program: options.packer.clone(), source };
    // A group of its own: what a terminal sends to all is passed on once.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Before it begins: nobody else would end it.
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?);
    let mut child = command.spawn().map_err(failed)?;
    let streams = child.stdout.take().zip(child.stderr.take());
    let deadline = clock.monotonic() + options.patience;
    let work = async {
        if let Some((out, err)) = streams {
            tokio::join!(pass_on(out, tell), pass_on(err, tell));
        }
    };
    tokio::pin!(work);
    let cut = tokio::select! {
        () = &mut work => None,
        _ = interrupt.recv() => Some(BakeError::Interrupted),
        _ = terminate.recv() => Some(BakeError::Interrupted),
        () = clock.sleep_until(deadline) => Some(BakeError::TooLong { patience: options.patience }),
    };
    let Some(cut) = cut else {
        let status = child.wait().await.map_err(failed)?;
        return ended_well("packer", status);
    };
    tell("ending the bake: Packer removes what it has made");
    signal_all(&child, Signal::INT);
    tokio::select! {
        () = &mut work => {}
        () = clock.sleep_until(clock.monotonic() + CLEANING) => {
            // It has had its time; nothing can be lost by this that is not lost already.
            signal_all(&child, Signal::KILL);
        }
    }
    match child.wait().await {
        // It was through when it was told: an image of which nobody has a manifest would be worse.
        Ok(status) if status.success() => Ok(()),
        _ => Err(cut),
    }
}

/// Tells Packer as a terminal does: all of its group. It runs itself as a child of its own, and the one that was started passes
/// nothing on.
fn signal_all(child: &Child, signal: Signal) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        // One that has ended already needs no telling.
        let _ = kill_process_group(group, signal);
    }
}

async fn pass_on(stream: impl AsyncRead + Unpin, tell: &(dyn Fn(&str) + Sync)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A stream that cannot be read any more has ended, for all that can be told.
        if !matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&line[..line.len().min(MOST_LINE)]);
        tell(text.trim_end());
    }
}

fn ended_well(what: &str, status: ExitStatus) -> Result<(), BakeError> {
    if status.success() {
        Ok(())
    } else {
        Err(BakeError::Failed { what: what.to_owned(), status: status.to_string() })
    }
}

/// What a program prints, trimmed.
async fn said(program: &Path, arguments: &[&str]) -> Result<String, BakeError> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(|source| BakeError::Program { program: program.to_owned(), source })?;
    ended_well(&program.display().to_string(), output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn sha256(path: &Path) -> Result<String, BakeError> {
    let bytes = std::fs::read(path).map_err(|source| BakeError::File { path: path.to_owned(), source })?;
    Ok(hex::encode(Sha256::digest(&bytes)))
}

/// Puts together what Packer, the root file system and the machine have written down.
fn collect(
    options: &Options,
    written: &Path,
    commit: String,
    playbook: String,
    package_sha256: Option<String>,
) -> Result<Manifest, BakeError> {
    let odd = |source| BakeError::Manifest { path: written.to_owned(), source };
    let text = std::fs::read_to_string(written)
        .map_err(|source| BakeError::File { path: written.to_owned(), source })?;
    let of_packer: OfPacker = serde_json::from_str(&text).map_err(|error| odd(Some(error)))?;
    let OfPacker { builds, last_run_uuid } = of_packer;
    let build = builds.into_iter().find(|build| build.packer_run_uuid == last_run_uuid);
    let build = build.ok_or_else(|| odd(None))?;
    let told = |name: &str| build.custom_data.get(name).cloned().unwrap_or_default();
    let mut made = Manifest {
        build: options.build,
        ami: None,
        region: None,
        root: None,
        architecture: told("architecture"),
        commit,
        playbook,
        built: told("built"),
        package_sha256,
        programs: BTreeMap::new(),
    };
    if options.build == Build::Rootfs {
        let root = told("rootfs");
        let path = PathBuf::from(format!("{root}.json"));
        let text = std::fs::read_to_string(&path)
            .map_err(|source| BakeError::File { path: path.clone(), source })?;
        let of_rootfs: OfRootfs = serde_json::from_str(&text)
            .map_err(|source| BakeError::Manifest { path, source: Some(source) })?;
        made.programs = of_rootfs.programs;
        made.root = Some(root);
        return Ok(made);
    }
    // `eu-west-1:ami-…`: one region.
    let (region, ami) = build.artifact_id.split_once(':').ok_or_else(|| odd(None))?;
    made.region = Some(region.to_owned());
    made.ami = Some(ami.to_owned());
    if options.build == Build::Node {
        made.programs = noted(&told("noted"))?;
    }
    Ok(made)
}

/// The notes of programs that Packer has brought from the machine: `NAME.json`, as the playbook left them.
fn noted(directory: &str) -> Result<BTreeMap<String, Program>, BakeError> {
    let mut programs = BTreeMap::new();
    let directory = PathBuf::from(directory);
    // A rehearsal has no machine, a base none of the programs.
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(programs) };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else {
            continue;
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|source| BakeError::File { path: path.clone(), source })?;
        let program: Program = serde_json::from_str(&text)
            .map_err(|source| BakeError::Manifest { path: path.clone(), source: Some(source) })?;
        programs.insert(name.to_owned(), program);
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(build: Build) -> Options {
        Options {
            id: "b1".into(),
            build,
            templates: "image/packer".into(),
            packer: "packer".into(),
            commit: None,
            package: Some("/a.deb".into()),
            extra_vars: Some("/site.json".into()),
            rootfs: Some("/var/tmp/node".into()),
            programs: None,
            variables: vec![("ssh_interface".into(), "session_manager".into())],
            region: Some("eu-west-1".into()),
            endpoint: None,
            patience: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_node_is_told_its_package_and_a_directory_its_arguments() {
        let told = |build| {
            let told = variables(&options(build), "c0ffee1", "p", Some("5a"), Path::new("/m.json"));
            told.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let common = ["commit=c0ffee1", "playbook=p", "manifest=/m.json", "region=eu-west-1"];
        let node = [
            "package=/a.deb",
            "package_sha256=5a",
            "extra_vars_file=/site.json",
            "ssh_interface=session_manager",
            "bake=b1",
        ];
        assert_eq!(told(Build::Node), [&common[..], &node].concat());
        let rootfs = [
            "rootfs=/var/tmp/node",
            r#"rootfs_arguments=["--package","/a.deb","--extra-vars","@/site.json"]"#,
            "ssh_interface=session_manager",
        ];
        assert_eq!(told(Build::Rootfs), [&common[..], &rootfs].concat());
    }

    #[test]
    fn who_is_not_told_a_region_takes_the_templates_own() {
        let variables = include_str!("../packer/variables.pkr.hcl");
        let region = variables.split("variable \"region\"").nth(1).and_then(|rest| rest.split('}').next());
        let region = region.expect("the variable");
        assert!(region.contains(&format!("default     = \"{REGION}\"")), "{region}");
    }

    #[test]
    fn the_endpoint_is_the_one_that_the_templates_are_told_last() {
        let endpoint_of = |options: &Options| {
            let told = variables(options, "c0ffee1", "p", None, Path::new("/m.json"));
            endpoint(&told).map(str::to_owned)
        };
        let mut options = options(Build::Node);
        assert_eq!(endpoint_of(&options), None);
        options.endpoint = Some("https://ec2.example.com".into());
        assert_eq!(endpoint_of(&options).as_deref(), Some("https://ec2.example.com"));
        options.variables.push(("endpoint".into(), "https://other.example.com".into()));
        assert_eq!(endpoint_of(&options).as_deref(), Some("https://other.example.com"));
        options.variables.push(("endpoint".into(), String::new()));
        assert_eq!(endpoint_of(&options), None);
    }

    #[test]
    fn the_last_run_of_packers_manifest_is_what_was_made() {
        let place = tempfile::tempdir().expect("a directory");
        let written = place.path().join("packer.json");
        let build = |run: &str, ami: &str| {
            format!(
                r#"{{"name":"node","builder_type":"amazon-ebs","artifact_id":"eu-west-1:{ami}","packer_run_uuid":"{run}",
                   "custom_data":{{"architecture":"amd64","built":"20261127T000000Z","noted":"/nowhere"}}}}"#
            )
        };
        let text =
            format!(r#"{{"builds":[{},{}],"last_run_uuid":"b"}}"#, build("a", "ami-1"), build("b", "ami-2"));
        std::fs::write(&written, text).expect("written");
        let made =
            collect(&options(Build::Node), &written, "c".into(), "p".into(), None).expect("a manifest");
        assert_eq!((made.ami.as_deref(), made.region.as_deref()), (Some("ami-2"), Some("eu-west-1")));
        std::fs::write(&written, r#"{"builds":[],"last_run_uuid":"b"}"#).expect("written");
        let none = collect(&options(Build::Node), &written, "c".into(), "p".into(), None);
        assert!(matches!(none, Err(BakeError::Manifest { source: None, .. })), "{none:?}");
    }
}
