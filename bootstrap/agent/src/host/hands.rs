//! Doing it: as root, and no more than the image's files allow.

use super::{Done, HostError, Request, Verb};
use crate::progress::sweep;
use crate::whole::{self, Manner};
use bootstrap_config::{DirectoryRule, FileRule, HostSettings, PackageRule};
use fleet::{ErrorClass, Timestamp};
use nix::unistd::{Gid, Group, Uid, User};
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// A unit may take the minute and a half that systemd gives it to stop, and then has to start. All of these are less than
/// an asker waits.
const UNIT_WITHIN: Duration = Duration::from_secs(150);
/// A package's own scripts start what it brings.
const PACKAGE_WITHIN: Duration = Duration::from_secs(240);
/// What is only said, or looked up.
const ASKED_WITHIN: Duration = Duration::from_secs(20);

/// Who acts upon units and packages: systemd and dpkg, or a test's own.
pub trait Units: Send + Sync {
    /// Acts upon a unit, and returns when that has ended. * fails: in words.
    fn act(&self, verb: Verb, unit: &str) -> Result<(), String>;
    /// The version of a package that is installed; `None` where it is not.
    fn installed(&self, file: &Path) -> Result<Option<String>, String>;
    /// Installs a package's file.
    fn install(&self, file: &Path) -> Result<(), String>;
    /// What of a package's files is not as the package brought it, but for configuration and documentation; `None`: nothing.
    fn altered(&self, file: &Path) -> Result<Option<String>, String>;
    /// When what a unit runs was started, to the second; `None` where it never was.
    fn started(&self, unit: &str) -> Result<Option<Timestamp>, String>;
    /// Powers the host off.
    fn power_off(&self) -> Result<(), String>;
}

/// systemd and dpkg, by their programs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Systemctl;

impl Units for Systemctl {
    fn act(&self, verb: Verb, unit: &str) -> Result<(), String> {
        let mut systemctl = Command::new("systemctl");
        match verb {
            Verb::Terminate => systemctl.args(["kill", "--kill-whom=main", "--signal=SIGTERM", "--", unit]),
            Verb::Start | Verb::Restart | Verb::TryRestart | Verb::Reload | Verb::Stop => {
                systemctl.args([verb.word(), "--", unit])
            }
        };
        let within = if verb == Verb::Terminate { ASKED_WITHIN } else { UNIT_WITHIN };
        run(&mut systemctl, within).map(|_| ())
    }
    fn installed(&self, file: &Path) -> Result<Option<String>, String> {
        let name = name_of(file)?;
        let shown = output(
            Command::new("dpkg-query").args([
                "--show",
                "--showformat=${db:Status-Status} ${Version}",
                "--",
                &name,
            ]),
            ASKED_WITHIN,
        )?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        Ok(shown.strip_prefix("installed ").map(str::to_owned))
    }
    fn install(&self, file: &Path) -> Result<(), String> {
        let mut dpkg = Command::new("dpkg");
        dpkg.env("DEBIAN_FRONTEND", "noninteractive").args(["--install", "--force-confold", "--"]).arg(file);
        run(&mut dpkg, PACKAGE_WITHIN).map(|_| ())
    }
    fn altered(&self, file: &Path) -> Result<Option<String>, String> {
        // It ends with 1 where anything is to be told.
        let name = name_of(file)?;
        let said = output(Command::new("dpkg").args(["--verify", "--"]).arg(name), ASKED_WITHIN)?;
        if said.stdout.is_empty() && !said.status.success() {
            let why = String::from_utf8_lossy(&said.stderr);
            return Err(format!("dpkg ended with {}: {}", said.status, why.trim()));
        }
        Ok(altered_in(&String::from_utf8_lossy(&said.stdout)))
    }
    fn started(&self, unit: &str) -> Result<Option<Timestamp>, String> {
        let asked = ["show", "--value", "--property=ExecMainStartTimestamp", "--timestamp=unix", "--", unit];
        let shown = run(Command::new("systemctl").args(asked), ASKED_WITHIN)?;
        let shown = String::from_utf8_lossy(&shown.stdout);
        let seconds = shown.trim().strip_prefix('@').and_then(|seconds| seconds.parse().ok());
        Ok(seconds.map(Timestamp::from_secs))
    }
    fn power_off(&self) -> Result<(), String> {
        run(Command::new("systemctl").arg("poweroff"), ASKED_WITHIN).map(|_| ())
    }
}

/// What a file of a package calls that.
fn name_of(file: &Path) -> Result<String, String> {
    let name = run(Command::new("dpkg-deb").arg("--field").arg(file).arg("Package"), ASKED_WITHIN)?;
    Ok(String::from_utf8_lossy(&name.stdout).trim().to_owned())
}

/// The first file that `dpkg --verify` tells of, as in `??5??????   /usr/bin/x` and `missing   c /etc/x`, that matters: files
/// of configuration (`c`) are the operator's and the agent's, and documentation is what small images leave out.
fn altered_in(said: &str) -> Option<String> {
    let differs = said.lines().filter_map(|line| {
        let (what, path) = line.split_at(line.find('/')?);
        let is_configuration = what.get(9..).is_some_and(|kind| kind.trim() == "c");
        (!is_configuration).then_some(path)
    });
    let mut differs = differs.filter(|path| !path.starts_with("/usr/share/"));
    differs.next().map(str::to_owned)
}

/// A program that has to succeed; what it said last is the error.
fn run(command: &mut Command, within: Duration) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = output(command, within)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(format!("{program} ended with {}: {}", output.status, last.join(" / ")))
}

/// What a program says, and how it ends. One that does not end in time is killed, with what it has started: others wait.
fn output(command: &mut Command, within: Duration) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: &dyn Display| format!("{program}: {why}");
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = piped.spawn().map_err(|error| failed(&error))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (end, ended) = channel();
    thread::spawn(move || {
        // Nobody listens any more where it took too long.
        let _ = end.send(child.wait_with_output());
    });
    let Ok(output) = ended.recv_timeout(within) else {
        let killed = group.map(|group| kill_process_group(group, Signal::KILL));
        tracing::warn!(program, ?killed, "killed a program that took too long");
        return Err(format!("{program} had not ended after {} s", within.as_secs()));
    };
    output.map_err(|error| failed(&error))
}

/// What may be done, and who does it.
pub struct Hands<U> {
    rules: HostSettings,
    units: U,
}

impl<U: Units> Hands<U> {
    /// Hands that do what the rules allow.
    pub const fn new(rules: HostSettings, units: U) -> Self {
        Self { rules, units }
    }

    /// Carries a request out.
    pub fn carry_out(&self, request: &Request) -> Result<Done, HostError> {
        let fail = |(class, why): (ErrorClass, String)| HostError::new(request, class, why);
        match request {
            Request::Place { file, contents } => {
                let rule = self.rules.files.iter().find(|rule| rule.name == *file);
                let rule = rule.ok_or_else(|| refused(request, "no such `file`"))?;
                place(rule, contents.0.as_bytes()).map_err(fail)
            }
            Request::Unit { verb, unit } => {
                if !self.rules.units.contains(unit) {
                    return Err(refused(request, "it is none of the `units`"));
                }
                self.units.act(*verb, unit).map_err(|why| fail((ErrorClass::Unclear, why)))?;
                Ok(Done::Changed)
            }
            Request::Install { package } => {
                let rule = self.rules.packages.iter().find(|rule| rule.name == *package);
                let rule = rule.ok_or_else(|| refused(request, "no such `package`"))?;
                self.install(rule).map_err(fail)
            }
            Request::Empty { directory } => {
                let rule = self.rules.directories.iter().find(|rule| rule.name == *directory);
                let rule = rule.ok_or_else(|| refused(request, "no such `directory`"))?;
                empty(rule).map_err(fail)
            }
            Request::Compare { file, sha256 } => {
                let rule = self.rules.files.iter().find(|rule| rule.name == *file);
                let rule = rule.ok_or_else(|| refused(request, "no such `file`"))?;
                compare(rule, sha256).map_err(fail)
            }
            Request::StartedBefore { unit, at } => {
                if !self.rules.units.contains(unit) {
                    return Err(refused(request, "it is none of the `units`"));
                }
                let started = self.units.started(unit).map_err(|why| fail((ErrorClass::Transient, why)))?;
                Ok(so(started.is_some_and(|started| started + A_SECOND <= *at)))
            }
            Request::Inspect { package } => {
                let rule = self.rules.packages.iter().find(|rule| rule.name == *package);
                let rule = rule.ok_or_else(|| refused(request, "no such `package`"))?;
                self.inspect(rule).map_err(|why| fail((ErrorClass::Transient, why)))
            }
            Request::PowerOff => {
                if !self.rules.power_off {
                    return Err(refused(request, "`power_off` is not `true`"));
                }
                self.units.power_off().map_err(|why| fail((ErrorClass::Unclear, why)))?;
                Ok(Done::Changed)
            }
        }
    }

    fn install(&self, rule: &PackageRule) -> Result<Done, (ErrorClass, String)> {
        let path = Path::new(&rule.path);
        let digest = sha256(path).map_err(|error| of_io(path, &error))?;
        is_pinned(rule, &digest)?;
        let unclear = |why| (ErrorClass::Unclear, why);
        if self.inspect(rule).map_err(unclear)? == Done::Unchanged {
            return Ok(Done::Unchanged);
        }
        if let Some(program) = &rule.program {
            return put(rule, Path::new(program));
        }
        self.units.install(path).map_err(unclear)?;
        match self.units.installed(path).map_err(unclear)? {
            Some(version) if version == rule.version => match self.units.altered(path).map_err(unclear)? {
                None => Ok(Done::Changed),
                Some(altered) => {
                    Err((ErrorClass::Conflict, format!("after its installation {altered} is another file")))
                }
            },
            other => {
                let is = other.unwrap_or_else(|| "not there".to_owned());
                Err((
                    ErrorClass::Conflict,
                    format!("after its installation the version is {is}, not {}", rule.version),
                ))
            }
        }
    }

    /// Whether a package is installed in its version, with its files as it brought them; or a program in its place, as it was
    /// put there.
    fn inspect(&self, rule: &PackageRule) -> Result<Done, String> {
        if let Some(program) = &rule.program {
            let (path, user, group) = (Path::new(program), Uid::effective(), Gid::effective());
            return Ok(so(is_so(path, &rule.sha256, user, group, PROGRAM_MODE)));
        }
        let path = Path::new(&rule.path);
        if self.units.installed(path)?.as_deref() != Some(&rule.version) {
            return Ok(Done::Otherwise);
        }
        let altered = self.units.altered(path)?;
        if let Some(altered) = &altered {
            tracing::warn!(package = rule.name, file = altered, "a file of a package is another one");
        }
        Ok(so(altered.is_none()))
    }
}

/// What is run by everybody, and written by root.
const PROGRAM_MODE: u32 = 0o755;

fn is_pinned(rule: &PackageRule, digest: &str) -> Result<(), (ErrorClass, String)> {
    if digest == rule.sha256 {
        return Ok(());
    }
    Err((ErrorClass::Denied, format!("{} has the SHA-256 {digest}, not {}", rule.path, rule.sha256)))
}

/// Puts a program in its place. What was read is what is looked at, whatever becomes of the file meanwhile.
fn put(rule: &PackageRule, program: &Path) -> Result<Done, (ErrorClass, String)> {
    let path = Path::new(&rule.path);
    let contents = fs::read(path).map_err(|error| of_io(path, &error))?;
    is_pinned(rule, &hex::encode(Sha256::digest(&contents)))?;
    let directory = program.parent().unwrap_or(Path::new("/"));
    // Said, and not left to the directory, which may give files its own group.
    let owner = Some((Uid::effective(), Gid::effective()));
    let manner = Manner { unfinished: UNFINISHED, mode: Some(PROGRAM_MODE), owner, durable: true };
    let write = || -> io::Result<()> {
        make(directory)?;
        sweep(directory, UNFINISHED)?;
        whole::write(program, &contents, manner)
    };
    write().map_err(|error| of_io(program, &error))?;
    Ok(Done::Changed)
}

/// systemd tells in whole seconds when a unit was started.
const A_SECOND: Duration = Duration::from_secs(1);

/// The answer to a question.
const fn so(is_so: bool) -> Done {
    if is_so { Done::Unchanged } else { Done::Otherwise }
}

fn refused(request: &Request, why: impl Display) -> HostError {
    HostError::new(request, ErrorClass::Denied, format_args!("the `host` block does not allow it: {why}"))
}

/// The file system's refusals: a full disk may be emptied, one that is read-only is for an operator.
fn of_io(path: &Path, error: &io::Error) -> (ErrorClass, String) {
    let class = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorClass::Denied,
        io::ErrorKind::NotFound => ErrorClass::NotFound,
        _ => ErrorClass::Transient,
    };
    (class, format!("{}: {error}", path.display()))
}

/// What a file is called until it is whole: no two of this process run at once.
const UNFINISHED: &str = ".muster-";

/// Makes a directory, and those that it is in, for everybody to go through: root's own mask would keep a file's owner from it.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    directory.parent().map_or(Ok(()), make)?;
    match fs::create_dir(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o755)),
        // Somebody else was first; and what is no directory says so by itself.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a file whole, with its owner and mode, unless it is so already.
fn place(rule: &FileRule, contents: &[u8]) -> Result<Done, (ErrorClass, String)> {
    let path = Path::new(&rule.path);
    let (owner, group) = owners(rule)?;
    let mode = rule.bits().unwrap_or(0o600);
    if is_so(path, &hex::encode(Sha256::digest(contents)), owner, group, mode) {
        return Ok(Done::Unchanged);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let write = || -> io::Result<()> {
        make(directory)?;
        sweep(directory, UNFINISHED)?;
        let owner = Some((owner, group));
        whole::write(
            path,
            contents,
            Manner { unfinished: UNFINISHED, mode: Some(mode), owner, durable: true },
        )
    };
    write().map_err(|error| of_io(path, &error))?;
    Ok(Done::Changed)
}

/// Whether a file is so already.
fn compare(rule: &FileRule, sha256: &str) -> Result<Done, (ErrorClass, String)> {
    let (owner, group) = owners(rule)?;
    Ok(so(is_so(Path::new(&rule.path), sha256, owner, group, rule.bits().unwrap_or(0o600))))
}

fn owners(rule: &FileRule) -> Result<(Uid, Gid), (ErrorClass, String)> {
    let owner = user(&rule.owner).ok_or_else(|| (ErrorClass::NotFound, format!("no user {}", rule.owner)))?;
    let group =
        group(&rule.group).ok_or_else(|| (ErrorClass::NotFound, format!("no group {}", rule.group)))?;
    Ok((owner, group))
}

fn is_so(path: &Path, digest: &str, owner: Uid, group: Gid, mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    metadata.is_file()
        && metadata.uid() == owner.as_raw()
        && metadata.gid() == group.as_raw()
        && metadata.mode() & 0o7777 == mode
        && sha256(path).is_ok_and(|there| there == digest)
}

fn user(name: &str) -> Option<Uid> {
    name.parse().ok().map(Uid::from_raw).or_else(|| Some(User::from_name(name).ok()??.uid))
}
fn group(name: &str) -> Option<Gid> {
    name.parse().ok().map(Gid::from_raw).or_else(|| Some(Group::from_name(name).ok()??.gid))
}

/// Empties a directory, which itself stays. A symbolic link in its place is refused: it could lead anywhere.
fn empty(rule: &DirectoryRule) -> Result<Done, (ErrorClass, String)> {
    let path = Path::new(&rule.path);
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err((ErrorClass::Denied, format!("{} is no directory", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Done::Unchanged),
        Err(error) => return Err(of_io(path, &error)),
    }
    let mut done = Done::Unchanged;
    for inside in mounted_in(path).map_err(|error| of_io(path, &error))? {
        // What is mounted is not the directory's: it is let go of, and nothing in it is touched.
        let detached = rustix::mount::unmount(&inside, rustix::mount::UnmountFlags::DETACH);
        detached.map_err(|error| of_io(&inside, &error.into()))?;
        done = Done::Changed;
    }
    for entry in fs::read_dir(path).map_err(|error| of_io(path, &error))? {
        let entry = entry.map_err(|error| of_io(path, &error))?;
        let inside = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory { fs::remove_dir_all(&inside) } else { fs::remove_file(&inside) };
        removed.map_err(|error| of_io(&inside, &error))?;
        done = Done::Changed;
    }
    Ok(done)
}

/// What is mounted in a directory, the innermost first: secrets of Nomad's tasks, volumes of the host.
fn mounted_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = path.canonicalize()?;
    let mounts = fs::read("/proc/self/mountinfo")?;
    let mut inside: Vec<PathBuf> = mounts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|at| PathBuf::from(OsString::from_vec(unescaped(at))))
        .filter(|at| at.starts_with(&path) && *at != path)
        .collect();
    inside.reverse();
    Ok(inside)
}

/// A path of the kernel's: what would end a field stands as `\040`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let code = after.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 8).ok()).filter(|_| *first == b'\\');
        if let Some(byte) = code {
            plain.push(byte);
            rest = &after[3..];
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

/// The SHA-256 of a file, in hexadecimal.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&piece[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_test_servers::wait_for;

    #[test]
    fn a_program_that_does_not_end_is_killed_with_what_it_has_started() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("pid");
        let script = format!("sleep 600 & echo $! >{}; wait", file.display());
        let late = run(Command::new("sh").args(["-c", &script]), Duration::from_secs(2));
        assert_eq!(late.expect_err("it is late"), "sh had not ended after 2 s");
        let child = fs::read_to_string(&file).expect("it has begun");
        let stat = Path::new("/proc").join(child.trim()).join("stat");
        // Who is dead is there until somebody has asked how it ended.
        let gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        wait_for("its child to be gone", || gone().then_some(()));
        let said = run(Command::new("sh").args(["-c", "echo no >&2; exit 3"]), Duration::from_secs(60));
        assert_eq!(said.expect_err("it fails"), "sh ended with exit status: 3: no");
    }

    #[test]
    fn of_a_packages_files_those_that_matter_are_told() {
        let quiet = "??5?????? c /etc/default/prometheus-node-exporter\nmissing   c /etc/init.d/x\n\
                     missing     /usr/share/doc/x/changelog.gz\n";
        assert_eq!(altered_in(""), None);
        assert_eq!(altered_in(quiet), None);
        for line in ["??5??????   /usr/bin/x", "missing     /usr/bin/x"] {
            assert_eq!(altered_in(&format!("{quiet}{line}\n")).as_deref(), Some("/usr/bin/x"), "{line}");
        }
    }

    #[test]
    fn the_kernels_paths_are_read_as_they_were_meant() {
        for (text, plain) in
            [("/opt/nomad", "/opt/nomad"), ("/a\\040b\\134c", "/a b\\c"), ("/a\\04", "/a\\04")]
        {
            assert_eq!(unescaped(text.as_bytes()), plain.as_bytes());
        }
    }
}
