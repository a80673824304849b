//! Boots a root file system and asks what it is.

use super::facts::{self, Agent, Facts, Manifest, Program, Unit};
use super::judge::{Expected, Report, judge};
use super::relay::Relay;
use fleet::DurationText;
use fleet::ports::Clock;
use muster_machine::{Machine, MachineError, Overlay};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Between two looks at a machine that boots.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one program of the machine may take.
const ONE: &str = "60";
/// The largest manifest that is read.
const MOST_MANIFEST: u64 = 4 * 1024 * 1024;
/// Where instances find their metadata service.
const METADATA: (Ipv4Addr, u16) = (Ipv4Addr::new(169, 254, 169, 254), 80);
/// The agent's configuration, in the image.
const CONFIGURATION: &str = "etc/muster/bootstrap.hcl";

/// What is verified, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The root file system. It is not written to.
    pub root: PathBuf,
    /// Its manifest.
    pub manifest: PathBuf,
    /// What it is to be, apart from what its kind says.
    pub most_bytes: Option<u64>,
    /// The same for its boot.
    pub longest_boot: Option<Duration>,
    /// `PROTOCOL/PORT` that may be open besides.
    pub open: Vec<String>,
    /// How long everything may take.
    pub patience: Duration,
    /// The agent's configuration: with one it boots the node, against what [`Options::relays`] reaches. `@HERE@` in it is this
    /// host's address in the machine's network.
    pub configuration: Option<PathBuf>,
    /// Files of this host, and their absolute paths in the machine.
    pub files: Vec<(PathBuf, String)>,
    /// What listens on this host and is reached by the machine at this host's address, at the same port.
    pub relays: Vec<SocketAddr>,
    /// What answers on this host as EC2's metadata service: the machine finds it where every instance does.
    pub metadata: Option<SocketAddr>,
}

/// Why an image could not be verified. What is wrong with the image itself is in the report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Only root can boot a machine.
    #[error("only root can boot a machine")]
    NotRoot,
    /// A file of this host.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest is none.
    #[error("{} is no manifest of a bake", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The machine.
    #[error("the machine could not be had or asked")]
    Machine(#[from] MachineError),
    /// A relay.
    #[error("cannot pass {to} on to the machine")]
    Relay {
        /// What was to be reached.
        to: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Signals of this process cannot be heard.
    #[error("cannot hear signals")]
    Signals(#[source] io::Error),
    /// It was told to end.
    #[error("the proof was interrupted: the machine is switched off, and nothing of it is left")]
    Interrupted,
    /// It has not booted in time.
    #[error("the machine has not booted within {}; its console ended with: {console}", DurationText(*patience))]
    TooLong {
        /// How long it could.
        patience: Duration,
        /// The end of what its console said.
        console: String,
    },
}

/// Boots a root file system, asks it what it is, and judges.
///
/// * `tell`: is told what is being done, a line each.
///
/// Takes some ten seconds for a node, and as long as the agent needs where it has a configuration. Needs a runtime of several
/// threads: the machine's programs are waited for. Interrupted (SIGINT, SIGTERM), it switches the machine off.
pub async fn verify(
    options: &Options,
    clock: &dyn Clock,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Report, VerifyError> {
    if !rustix::process::geteuid().is_root() {
        return Err(VerifyError::NotRoot);
    }
    // Before there is anything that could be left.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(VerifyError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(VerifyError::Signals)?;
    let manifest = read_manifest(&options.manifest)?;
    let agent = options.configuration.is_some();
    let mut expected = Expected::of(&manifest.image, agent);
    expected.most_bytes = options.most_bytes.unwrap_or(expected.most_bytes);
    expected.longest_boot = options.longest_boot.unwrap_or(expected.longest_boot);
    expected.open.extend(options.open.iter().cloned());

    let deadline = clock.monotonic() + options.patience;
    tell("measuring");
    let mut facts = Facts { size_bytes: size(&options.root)?, ..Facts::default() };
    let overlay = Overlay::new(&options.root)?;
    facts.altered = altered(&overlay, &manifest)?;
    if manifest.image == "node" {
        tell("looking for secrets and identities");
        facts.leftovers = leftovers(&overlay.chroot(&["muster-bootstrap", "verify-image"])?);
    }
    tell("booting");
    let text = options.configuration.as_deref().map(read_text).transpose()?;
    prepare(&overlay, options, text.is_some())?;
    let machine = Arc::new(Machine::boot(overlay)?);
    let found = tokio::select! {
        found = ask_booted(&machine, options, &expected, (facts, text), clock, deadline, tell) => found,
        _ = interrupt.recv() => Err(VerifyError::Interrupted),
        _ = terminate.recv() => Err(VerifyError::Interrupted),
    };
    if found.is_err() {
        // Whatever is still asked of it ends with it.
        machine.cut_off();
    }
    Ok(judge(&manifest, found?, &expected, clock.wall()))
}

/// Waits until a machine has booted, lets the agent boot the node where there is a configuration, and asks what it is.
async fn ask_booted(
    machine: &Arc<Machine>,
    options: &Options,
    expected: &Expected,
    (mut facts, text): (Facts, Option<String>),
    clock: &dyn Clock,
    deadline: Duration,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Facts, VerifyError> {
    let relays = relayed(machine, options)?;
    facts.state = booted(machine, clock, deadline, options.patience).await?;
    if let Some(text) = text {
        tell("waiting for the agent");
        let text = text.replace("@HERE@", &machine.gateway().to_string());
        facts.agent = Some(boot_agent(machine, &text, deadline.saturating_sub(clock.monotonic())).await?);
    }
    tell("asking what it is");
    let asked = Arc::clone(machine);
    let units: Vec<String> = expected.active.iter().chain(&expected.inactive).cloned().collect();
    let analysed = expected.units.clone();
    let found = tokio::task::spawn_blocking(move || ask(&asked, &units, &analysed, facts)).await;
    let facts = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    drop(relays);
    Ok(facts)
}

/// Lets the machine reach what it is to reach.
fn relayed(machine: &Machine, options: &Options) -> Result<Vec<Relay>, VerifyError> {
    let failed = |to| move |source| VerifyError::Relay { to, source };
    let mut relays = Vec::new();
    for &to in &options.relays {
        let at = SocketAddr::from((machine.gateway(), to.port()));
        relays.push(Relay::start(at, None, to).map_err(failed(to))?);
    }
    if let Some(to) = options.metadata {
        let device = machine.answer_at(METADATA.0)?;
        relays.push(Relay::start(SocketAddr::from(METADATA), Some(device), to).map_err(failed(to))?);
    }
    Ok(relays)
}

fn read_text(path: &Path) -> Result<String, VerifyError> {
    std::fs::read_to_string(path).map_err(|source| VerifyError::File { path: path.to_owned(), source })
}

fn read_manifest(path: &Path) -> Result<Manifest, VerifyError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST_MANIFEST).read_to_string(&mut text));
    read.map_err(|source| VerifyError::File { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| VerifyError::Manifest { path: path.to_owned(), source })
}

/// What a directory takes on a disk, in bytes.
fn size(root: &Path) -> Result<u64, VerifyError> {
    let failed = |source| VerifyError::File { path: root.to_owned(), source };
    let said = Command::new("du")
        .args(["--summarize", "--one-file-system", "--block-size=1"])
        .arg(root)
        .output()
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| failed(io::Error::other(String::from_utf8_lossy(&said.stderr).trim().to_owned())))
}

/// The programs of the manifest that are not what it says. Of those that came in a package the manifest has the package's SHA-256:
/// dpkg says whether their files are still its.
fn altered(overlay: &Overlay, manifest: &Manifest) -> Result<Vec<String>, VerifyError> {
    let mut wrong = Vec::new();
    for (name, Program { sha256, .. }) in &manifest.programs {
        let path = overlay.root().join("usr/local/bin").join(name);
        if !path.is_file() {
            wrong.extend(altered_package(overlay, name)?);
            continue;
        }
        let failed = |source| VerifyError::File { path: path.clone(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let mut digest = Sha256::new();
        io::copy(&mut file, &mut Sink(&mut digest)).map_err(failed)?;
        let found = hex::encode(digest.finalize());
        if found != *sha256 {
            wrong.push(format!("{name} has the SHA-256 {found}, not {sha256}"));
        }
    }
    Ok(wrong)
}

/// What is wrong with a package: that there is none, or its files that are others. Documentation is not kept in an image, and
/// configuration is the playbook's.
fn altered_package(overlay: &Overlay, name: &str) -> Result<Option<String>, VerifyError> {
    let said = overlay.chroot(&["dpkg", "--verify", name])?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let differs = |line: &&str| line.starts_with("??5") && !line.contains(" c ");
    let files: Vec<&str> =
        text.lines().filter(differs).filter_map(|line| line.split_whitespace().last()).collect();
    let known = overlay.chroot(&["dpkg-query", "--show", name])?.status.success();
    Ok(match (known, &files[..]) {
        (false, _) => Some(format!("{name} is missing")),
        (true, []) => None,
        (true, files) => Some(format!("{name} has other files than its package: {}", files.join(", "))),
    })
}

/// Feeds a digest.
struct Sink<'a>(&'a mut Sha256);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `verify-image` found: its lines, or that it failed.
fn leftovers(said: &Output) -> Vec<String> {
    let lines = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect::<Vec<String>>()
    };
    match said.status.code() {
        Some(0) => Vec::new(),
        code => {
            let mut told = lines(&said.stderr);
            told.extend(lines(&said.stdout));
            if told.is_empty() { vec![format!("verify-image ended with {code:?}")] } else { told }
        }
    }
}

/// Puts into the overlay what the machine is to find when it boots. The agent waits until its servers can be reached.
fn prepare(overlay: &Overlay, options: &Options, agent: bool) -> Result<(), VerifyError> {
    for (from, to) in &options.files {
        overlay.write(to.trim_start_matches('/'), 0o644, &read_text(from)?)?;
    }
    let condition = if agent { "/run/muster-image-verify" } else { "/nowhere" };
    let text = format!("[Unit]\nConditionPathExists={condition}\n");
    overlay.write("etc/systemd/system/muster-bootstrap.service.d/verify.conf", 0o644, &text)?;
    Ok(())
}

/// Waits until the machine has booted. * returns: systemd's word for it.
async fn booted(
    machine: &Arc<Machine>,
    clock: &dyn Clock,
    deadline: Duration,
    patience: Duration,
) -> Result<String, VerifyError> {
    loop {
        let said = in_machine(machine, &["systemctl", "is-system-running"]).await?;
        let word = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        match word.as_deref() {
            None | Some("" | "initializing" | "starting" | "offline" | "unknown") => {}
            Some(word) => return Ok(word.to_owned()),
        }
        if clock.monotonic() >= deadline {
            return Err(VerifyError::TooLong { patience, console: machine.console() });
        }
        clock.sleep_until(clock.monotonic() + PAUSE).await;
    }
}

/// Runs a program in the machine, bounded in time, on a thread of its own.
async fn in_machine(machine: &Arc<Machine>, words: &[&str]) -> Result<Option<Output>, VerifyError> {
    let machine = Arc::clone(machine);
    let words: Vec<String> = ["timeout", ONE].iter().chain(words).map(|word| (*word).to_owned()).collect();
    let asked = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        machine.try_run(&words)
    });
    Ok(asked.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
}

/// Gives the agent its configuration, lets it run, and waits until it is done or has failed.
async fn boot_agent(machine: &Arc<Machine>, text: &str, left: Duration) -> Result<Agent, VerifyError> {
    let machine = Arc::clone(machine);
    let text = text.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        machine.overlay().write(CONFIGURATION, 0o644, &text)?;
        machine.run(&["touch", "/run/muster-image-verify"])?;
        machine.run(&["systemctl", "start", "--no-block", "muster-bootstrap.service"])?;
        let seconds = format!("{}s", left.as_secs().max(1));
        machine.try_run(&["muster-bootstrap", "status", "--wait", "--timeout", &seconds])
    });
    let said = done.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(said.map_or(Agent { code: -1, said: "the machine went".to_owned() }, |said| Agent {
        code: said.status.code().unwrap_or(-1),
        said: format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)),
    }))
}

fn ask(
    machine: &Machine,
    units: &[String],
    analysed: &[String],
    mut facts: Facts,
) -> Result<Facts, MachineError> {
    // What a program says, whatever its exit code means.
    let said = |words: &[&str]| -> Result<String, MachineError> {
        let words: Vec<&str> = ["timeout", ONE].iter().chain(words).copied().collect();
        let output =
            machine.try_run(&words)?.ok_or_else(|| MachineError::Off { console: machine.console() })?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    facts.state = said(&["systemctl", "is-system-running"])?;
    let times = ["systemctl", "show", "--property=UserspaceTimestampMonotonic,FinishTimestampMonotonic"];
    facts.boot_millis = facts::boot_millis(&said(&times)?).unwrap_or(u64::MAX);
    let failed = said(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"])?;
    facts.failed =
        failed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    for name in units {
        let state = said(&["systemctl", "is-active", name])?;
        facts.units.push(Unit { name: name.clone(), state });
    }
    let listening = ["ss", "--no-header", "--listening", "--tcp", "--udp", "--numeric"];
    facts.listeners = facts::listeners(&said(&listening)?);
    for unit in analysed {
        let told = said(&["systemd-analyze", "security", "--no-pager", unit])?;
        if let Some(tenths) = facts::exposure(&told) {
            facts.exposure.insert(unit.clone(), tenths);
        }
    }
    let id = said(&["cat", "/etc/machine-id"])?;
    facts.machine_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(facts)
}
