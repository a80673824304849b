//! Emptying an image of everything that two instances must not share, and proving that it is empty.

use crate::node::Directories;
use crate::steps::COMPLETIONS;
use bootstrap_config::Settings;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What becomes of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cure {
    /// It is removed.
    Remove,
    /// What is in it is removed.
    Empty,
    /// It stays, with nothing in it: systemd makes it anew at the first boot.
    Truncate,
}

/// A place that holds what is one instance's alone.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Below the root; `*` stands for any part of one name.
    pattern: &'static str,
    cure: Cure,
    why: &'static str,
}

const fn place(pattern: &'static str, cure: Cure, why: &'static str) -> Place {
    Place { pattern, cure, why }
}

/// What every image may hold; what else there is the configuration says ([`configured`]).
const PLACES: &[Place] = &[
    place("etc/machine-id", Cure::Truncate, "systemd's id of the machine: journals and DHCP go by it"),
    place("var/lib/dbus/machine-id", Cure::Remove, "the same, for D-Bus"),
    place("etc/ssh/ssh_host_*", Cure::Remove, "whoever has a copy can pose as every instance"),
    place("root/.ssh/authorized_keys", Cure::Remove, "the key that the image was built with"),
    place("home/*/.ssh/authorized_keys", Cure::Remove, "the key that the image was built with"),
    place("root/.ssh/id_*", Cure::Remove, "a key of whoever built the image"),
    place("home/*/.ssh/id_*", Cure::Remove, "a key of whoever built the image"),
    place("root/.*_history", Cure::Remove, "what was typed while the image was built"),
    place("home/*/.*_history", Cure::Remove, "what was typed while the image was built"),
    place("root/.vault-token", Cure::Remove, "a token of Vault"),
    place("home/*/.vault-token", Cure::Remove, "a token of Vault"),
    place("root/.docker/config.json", Cure::Remove, "credentials of a registry"),
    place("home/*/.docker/config.json", Cure::Remove, "credentials of a registry"),
    place("root/.aws", Cure::Remove, "credentials of AWS"),
    place("home/*/.aws", Cure::Remove, "credentials of AWS"),
    place("var/lib/amazon/ssm", Cure::Empty, "the SSM agent's registration as another instance"),
    place("var/lib/cloud/instance*", Cure::Remove, "cloud-init's instance: its scripts would not run again"),
    place("var/lib/cloud/data", Cure::Empty, "cloud-init's instance"),
    place("var/lib/dhcp/*", Cure::Remove, "leases of an address that is another's by now"),
    place("var/lib/systemd/random-seed", Cure::Remove, "random numbers that two instances would share"),
    place("var/lib/systemd/credential.secret", Cure::Remove, "the key that systemd seals credentials with"),
    place("etc/docker/key.json", Cure::Remove, "the key that Docker's older releases know a machine by"),
    place("var/lib/docker/engine-id", Cure::Remove, "Docker's id of the machine"),
    place("var/log/journal/*", Cure::Remove, "another machine's journal"),
    place("var/log/*.log", Cure::Truncate, "another machine's log"),
    // Gone, and not empty: who has one open, such as unattended-upgrades, notes in it that the machine ends.
    place("var/log/*/*.log*", Cure::Remove, "another machine's log"),
    place("var/log/cloud-init*", Cure::Remove, "another machine's log"),
    // What rsyslog writes, what was rotated, and what the SSM agent and auditd keep.
    place("var/log/syslog*", Cure::Remove, "another machine's log"),
    place("var/log/messages*", Cure::Remove, "another machine's log"),
    place("var/log/*.log.*", Cure::Remove, "another machine's log"),
    place("var/log/*.gz", Cure::Remove, "another machine's log"),
    place("var/log/amazon", Cure::Empty, "another machine's log"),
    place("var/log/audit", Cure::Empty, "another machine's log"),
    // Gone, and not empty: what ends with the machine is noted where there is such a file. Each boot makes it.
    place("var/log/wtmp", Cure::Remove, "who was logged in elsewhere"),
    place("var/log/btmp", Cure::Truncate, "who tried to log in elsewhere"),
    place("var/log/lastlog", Cure::Truncate, "who was logged in elsewhere"),
    place("tmp/*", Cure::Remove, "left over"),
    place("var/tmp/*", Cure::Remove, "left over"),
];

/// Something that is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Where.
    pub path: PathBuf,
    /// Why it must not be cloned.
    pub why: String,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, why } = self;
        write!(f, "{}: {why}", path.display())
    }
}

/// An image, and what is to be known of it.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Where it is: `/`, or the directory that it is made of.
    pub root: &'a Path,
    /// What the files in it say.
    pub settings: &'a Settings,
    /// Where the agent in it keeps things; absolute paths, as its unit has them.
    pub directories: &'a Directories,
}

/// Looks for everything that must not be cloned.
///
/// * returns: what is still there, in the order of the paths; nothing: the image may be made.
pub fn leftovers(image: Image<'_>) -> io::Result<Vec<Leftover>> {
    let found = found(image)?;
    Ok(found.into_iter().map(|(path, (_, why))| Leftover { path, why }).collect())
}

/// Removes everything that must not be cloned. * returns: what was removed or emptied.
///
/// Goes on after what cannot be removed, and fails at the end with the first of it: what is left is the caller's to see
/// by [`leftovers`].
pub fn seal(image: Image<'_>) -> io::Result<Vec<Leftover>> {
    let mut removed = Vec::new();
    let mut failed = None;
    for (path, (cure, why)) in found(image)? {
        match apply(&path, cure) {
            Ok(()) => removed.push(Leftover { path, why }),
            // One of the list may have been in another that is gone by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                failed.get_or_insert(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
            }
        }
    }
    failed.map_or(Ok(removed), Err)
}

/// Everything that is there, each place once.
fn found(image: Image<'_>) -> io::Result<BTreeMap<PathBuf, (Cure, String)>> {
    let mut all = BTreeMap::new();
    let fixed = PLACES.iter().map(|place| (place.pattern.to_owned(), place.cure, place.why.to_owned()));
    for (pattern, cure, why) in fixed.chain(configured(image)) {
        for path in matching(image.root, &pattern)? {
            // A link to a directory is emptied where it leads to.
            let path = if cure == Cure::Empty { within(image.root, &path)? } else { Some(path) };
            let Some(path) = path else { continue };
            if is_there(&path, cure)? {
                all.entry(path).or_insert_with(|| (cure, why.clone()));
            }
        }
    }
    Ok(all)
}

/// Every place that the agent, or root at its request, writes to as the image's files have it.
///
/// Parameters and tags, which nobody knows of an image, name no others: what root may write is the files' to say, and what the
/// agent itself writes elsewhere it can only write to tmpfs or where they let it.
fn configured(image: Image<'_>) -> Vec<(String, Cure, String)> {
    let Image { root: _, settings, directories } = image;
    let mut all = Vec::new();
    let mut add = |path: &Path, cure: Cure, why: String| {
        all.push((path.display().to_string().trim_start_matches('/').to_owned(), cure, why));
    };
    let of_instance = || "the progress of the instance that the image was made of".to_owned();
    add(&directories.state.join("i-*"), Cure::Remove, of_instance());
    let of_client = || "that the client of Nomad of that instance has left".to_owned();
    add(&directories.state.join(crate::left::NAME), Cure::Remove, of_client());
    let of_jobs = || "the jobs of the instance that the image was made of".to_owned();
    add(&directories.state.join(COMPLETIONS), Cure::Empty, of_jobs());
    let of_run = || "tokens, secrets and the state of a running agent".to_owned();
    add(&directories.run, Cure::Empty, of_run());
    for rule in &settings.host.directories {
        add(Path::new(&rule.path), Cure::Empty, format!("the state of {} on another instance", rule.name));
    }
    // An exporter's arguments are the same on every node, and its unit may need the file that its package brought.
    let arguments = settings.monitoring.as_ref().map(|monitoring| monitoring.arguments_file.as_str());
    for rule in settings.host.files.iter().filter(|rule| Some(rule.name.as_str()) != arguments) {
        let why = format!("the file {} as it was written for another instance", rule.name);
        add(Path::new(&rule.path), Cure::Remove, why);
    }
    if let Some(vault) = &settings.vault {
        let keep = vault.approle.as_ref().and_then(|approle| approle.keep_file.as_deref());
        let kept = [(vault.token_file.as_deref(), "a token of Vault"), (keep, "a secret id of Vault")];
        let kept = kept.into_iter().map(|(path, why)| (path, why.to_owned()));
        let rendered = vault.templates.iter().map(|template| {
            (template.path.as_deref(), format!("secrets of Vault: the template {}", template.name))
        });
        for (path, why) in kept.chain(rendered) {
            if let Some(path) = path {
                add(Path::new(path), Cure::Remove, why);
            }
        }
    }
    all
}

/// The paths of a pattern that exist, in the order of their names.
///
/// A symbolic link at the end stands for itself. One on the way is followed as it would be in the image: what is absolute
/// begins at its root, and nothing leads out of it.
fn matching(root: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![root.to_owned()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for path in paths {
            let Some(path) = within(root, &path)? else { continue };
            if !part.contains('*') {
                let inside = path.join(part);
                next.extend(fs::symlink_metadata(&inside).is_ok().then_some(inside));
                continue;
            }
            let listed = match fs::read_dir(&path) {
                Ok(listed) => listed,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in listed {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(|name| matches_part(name, part)) {
                    next.push(entry.path());
                }
            }
        }
        next.sort();
        paths = next;
    }
    Ok(paths)
}

/// So many symbolic links, one after the other, are a circle; the kernel's own bound.
const MOST_LINKS: usize = 40;

/// Where a path below the root leads to in the image, links and all; `None` where nothing is.
pub(crate) fn within(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let parts =
        |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let below = path.strip_prefix(root).unwrap_or(path);
    let (mut left, mut there, mut links) = (parts(below), PathBuf::new(), 0);
    while let Some(part) = left.pop() {
        if part == ".." {
            there.pop();
            continue;
        }
        if is_root_or_here(&part) {
            continue;
        }
        let next = root.join(&there).join(&part);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Ok(None);
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    there = PathBuf::new();
                }
                left.extend(parts(&target));
            }
            Ok(_) => there.push(part),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(root.join(there)))
}

fn is_root_or_here(part: &OsString) -> bool {
    *part == Component::RootDir.as_os_str() || *part == Component::CurDir.as_os_str()
}

/// Whether a name is as a pattern with one `*` or more says; none of them stands for a leading dot.
fn matches_part(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    if pattern.starts_with('*') && name.starts_with('.') {
        return false;
    }
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

fn is_there(path: &Path, cure: Cure) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(match cure {
        Cure::Remove => true,
        Cure::Truncate => metadata.is_file() && metadata.len() > 0,
        Cure::Empty => metadata.is_dir() && fs::read_dir(path)?.next().is_some(),
    })
}

fn apply(path: &Path, cure: Cure) -> io::Result<()> {
    match cure {
        Cure::Truncate => fs::write(path, b""),
        Cure::Remove => remove(path),
        Cure::Empty => {
            for entry in fs::read_dir(path)? {
                remove(&entry?.path())?;
            }
            Ok(())
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// The list for the documentation, in Markdown.
pub fn list() -> String {
    use std::fmt::Write as _;
    let mut text = String::from("| path | what becomes of it | why |\n|---|---|---|\n");
    for Place { pattern, cure, why } in PLACES {
        let cure = match cure {
            Cure::Remove => "removed",
            Cure::Empty => "what is in it is removed",
            Cure::Truncate => "stays, empty",
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| `/{pattern}` | {cure} | {why} |");
    }
    for (path, cure, why) in [
        (
            "`i-*` in the state directory",
            "removed",
            "the progress of the instance that the image was made of",
        ),
        ("`left` in the state directory", "removed", "that the client of Nomad of that instance has left"),
        ("`awx` in the state directory", "what is in it is removed", "the jobs of that instance"),
        ("the run directory", "what is in it is removed", "tokens, secrets and the state of a running agent"),
        (
            "each `directory` of the `host` block",
            "what is in it is removed",
            "the ids and the state of Consul and Nomad",
        ),
        (
            "each `file` of the `host` block, but for `monitoring.arguments_file`",
            "removed",
            "the configurations of Consul and Nomad with another instance's id, and what templates were rendered to",
        ),
        (
            "each template's `path`, `vault.token_file`, `vault.approle.keep_file`",
            "removed",
            "secrets of Vault",
        ),
    ] {
        let _ = writeln!(text, "| {path} | {cure} | {why} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootstrap_config::{
        DirectoryRule, FileRule, HostSettings, MonitoringSettings, TemplateSettings, VaultAppRole,
        VaultSettings,
    };

    /// An image in a directory, and what is known of it.
    struct Made {
        root: tempfile::TempDir,
        settings: Settings,
        directories: Directories,
    }

    impl Made {
        fn image(&self) -> Image<'_> {
            Image { root: self.root.path(), settings: &self.settings, directories: &self.directories }
        }
    }

    fn made() -> Made {
        let file = |name: &str, path: &str| FileRule { path: path.to_owned(), ..FileRule::named(name) };
        let host = HostSettings {
            directories: vec![DirectoryRule { name: "nomad".to_owned(), path: "/opt/nomad".to_owned() }],
            files: vec![
                file("nomad", "/etc/nomad.d/muster.json"),
                file("node_exporter", "/etc/default/node_exporter"),
                file("app", "/etc/app.conf"),
            ],
            ..HostSettings::default()
        };
        let template =
            TemplateSettings { path: Some("/var/lib/app/key".to_owned()), ..TemplateSettings::named("key") };
        let approle =
            VaultAppRole { keep_file: Some("/var/keep/secret-id".to_owned()), ..VaultAppRole::default() };
        let vault =
            VaultSettings { approle: Some(approle), templates: vec![template], ..VaultSettings::default() };
        let settings = Settings {
            host,
            vault: Some(vault),
            monitoring: Some(MonitoringSettings::default()),
            ..Settings::default()
        };
        let directories = Directories {
            config: "/etc/muster/bootstrap.hcl".into(),
            state: "/var/lib/muster".into(),
            run: "/run/muster".into(),
        };
        Made { root: tempfile::tempdir().expect("a directory"), settings, directories }
    }
    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, "x").expect("written");
    }

    #[test]
    fn the_documentation_has_the_list() {
        let page = include_str!("../../../docs/bootstrap.md");
        assert!(page.contains(&list()), "docs/bootstrap.md, \"Sealing an image\", has to hold\n{}", list());
    }

    #[test]
    fn a_name_is_as_its_pattern_says() {
        for (name, pattern, fits) in [
            ("ssh_host_rsa_key", "ssh_host_*", true),
            ("ssh_config", "ssh_host_*", false),
            (".bash_history", ".*_history", true),
            ("bash_history", ".*_history", false),
            ("a.log", "*.log", true),
            (".log", "*.log", false),
            ("a.log.1", "*.log", false),
            ("x", "*", true),
            (".x", "*", false),
        ] {
            assert_eq!(matches_part(name, pattern), fits, "{name} {pattern}");
        }
    }

    #[test]
    fn an_image_is_emptied_of_what_must_not_be_cloned_and_of_nothing_else() {
        let made = made();
        let root = made.root.path();
        let gone = [
            "etc/ssh/ssh_host_ed25519_key",
            "root/.bash_history",
            "root/.ssh/id_ed25519",
            "home/admin/.ssh/authorized_keys",
            "var/lib/amazon/ssm/Vault/Store/RegistrationKey",
            "var/lib/muster/i-0123456789abcdef0/awx.json",
            "var/lib/muster/awx/17.json",
            "var/lib/muster/left",
            "run/muster/vault-token",
            "opt/nomad/client/client-id",
            "etc/nomad.d/muster.json",
            "etc/app.conf",
            "var/lib/app/key",
            "var/keep/secret-id",
            "var/lib/systemd/random-seed",
            "var/log/apt/history.log",
            "var/log/unattended-upgrades/unattended-upgrades-shutdown.log",
        ];
        let kept = [
            "etc/ssh/sshd_config",
            "etc/muster/bootstrap.hcl",
            "etc/default/node_exporter",
            "etc/nomad.d/base.hcl",
            "opt/nomad.hcl",
            "home/admin/.profile",
        ];
        gone.iter().chain(&kept).for_each(|path| write(root, path));
        write(root, "etc/machine-id");
        let before = leftovers(made.image()).expect("looked at");
        assert_eq!(before.len(), gone.len() + 1, "{before:?}");
        let sealed = seal(made.image()).expect("sealed");
        assert_eq!(sealed, before);
        assert_eq!(leftovers(made.image()).expect("looked at"), []);
        for path in gone {
            assert!(!root.join(path).exists(), "{path} is still there");
        }
        for path in kept {
            assert!(root.join(path).exists(), "{path} is gone");
        }
        assert_eq!(fs::read_to_string(root.join("etc/machine-id")).expect("it stays"), "");
        assert_eq!(seal(made.image()).expect("again"), [], "again changes nothing");
    }

    #[test]
    fn a_link_is_removed_and_what_it_leads_to_is_not() {
        let made = made();
        let root = made.root.path();
        let elsewhere = tempfile::tempdir().expect("a directory");
        write(elsewhere.path(), "precious");
        fs::create_dir_all(root.join("tmp")).expect("made");
        std::os::unix::fs::symlink(elsewhere.path(), root.join("tmp/link")).expect("linked");
        seal(made.image()).expect("sealed");
        assert!(elsewhere.path().join("precious").exists());
        assert!(!root.join("tmp/link").exists());
    }

    #[test]
    fn a_link_on_the_way_leads_where_it_would_in_the_image_and_never_out_of_it() {
        let made = made();
        let root = made.root.path();
        let elsewhere = tempfile::tempdir().expect("a directory");
        let outside = elsewhere.path().join("muster/precious");
        write(elsewhere.path(), "muster/precious");
        write(root, "srv/app/key");
        write(root, "srv/nomad/client-id");
        let link = |to: &Path, at: &str| {
            fs::create_dir_all(root.join(at).parent().expect("a parent")).expect("made");
            std::os::unix::fs::symlink(to, root.join(at)).expect("linked");
        };
        // As an image may have it: absolute, up again, out of it, and in a circle.
        link(Path::new("/srv/app"), "var/lib/app");
        link(Path::new("../../../../../srv/nomad"), "opt/nomad");
        link(elsewhere.path(), "run");
        link(Path::new("keep"), "var/keep");
        assert_eq!(
            leftovers(made.image()).expect("looked at").into_iter().map(|left| left.path).collect::<Vec<_>>(),
            [root.join("srv/app/key"), root.join("srv/nomad")]
        );
        seal(made.image()).expect("sealed");
        assert!(outside.exists(), "what is not of the image stays");
        assert!(!root.join("srv/app/key").exists() && !root.join("srv/nomad/client-id").exists());
    }
}
