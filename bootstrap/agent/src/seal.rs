//! Emptying an image of everything that two instances must not share, and proving that it is empty.

use bootstrap_config::HostSettings;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// Everything, beside the directories of the `host` block.
const PLACES: &[Place] = &[
    place("etc/machine-id", Cure::Truncate, "systemd's id of the machine: journals and DHCP go by it"),
    place("var/lib/dbus/machine-id", Cure::Remove, "the same, for D-Bus"),
    place("etc/ssh/ssh_host_*", Cure::Remove, "whoever has a copy can pose as every instance"),
    place("root/.ssh/authorized_keys", Cure::Remove, "the key that the image was built with"),
    place("home/*/.ssh/authorized_keys", Cure::Remove, "the key that the image was built with"),
    place("root/.*_history", Cure::Remove, "what was typed while the image was built"),
    place("home/*/.*_history", Cure::Remove, "what was typed while the image was built"),
    place("root/.vault-token", Cure::Remove, "a token of Vault"),
    place("home/*/.vault-token", Cure::Remove, "a token of Vault"),
    place("root/.docker/config.json", Cure::Remove, "credentials of a registry"),
    place("home/*/.docker/config.json", Cure::Remove, "credentials of a registry"),
    place("root/.aws", Cure::Remove, "credentials of AWS"),
    place("home/*/.aws", Cure::Remove, "credentials of AWS"),
    place("var/lib/muster/i-*", Cure::Remove, "the progress of the instance that the image was made of"),
    place("var/lib/muster/awx", Cure::Empty, "the jobs of the instance that the image was made of"),
    place("run/muster", Cure::Empty, "tokens, secrets and the state of a running agent"),
    place("var/lib/cloud/instance*", Cure::Remove, "cloud-init's instance: its scripts would not run again"),
    place("var/lib/cloud/data", Cure::Empty, "cloud-init's instance"),
    place("var/lib/dhcp/*", Cure::Remove, "leases of an address that is another's by now"),
    place("var/lib/systemd/random-seed", Cure::Remove, "random numbers that two instances would share"),
    place("var/lib/systemd/credential.secret", Cure::Remove, "the key that systemd seals credentials with"),
    place("var/lib/docker/engine-id", Cure::Remove, "Docker's id of the machine"),
    place("var/log/journal/*", Cure::Remove, "another machine's journal"),
    place("var/log/*.log", Cure::Truncate, "another machine's log"),
    place("var/log/cloud-init*", Cure::Remove, "another machine's log"),
    place("var/log/wtmp", Cure::Truncate, "who was logged in elsewhere"),
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

/// Looks for everything that must not be cloned.
///
/// * `root`: of the image: `/`, or the directory that it is made of.
/// * `host`: of its configuration: what Consul and Nomad keep of themselves is in its directories.
/// * returns: what is still there, in the order of the list; nothing: the image may be made.
pub fn leftovers(root: &Path, host: &HostSettings) -> io::Result<Vec<Leftover>> {
    let found = found(root, host)?;
    Ok(found.into_iter().map(|(path, _, why)| Leftover { path, why }).collect())
}

/// Removes everything that must not be cloned. * returns: what was removed or emptied.
///
/// Goes on after what cannot be removed, and fails at the end with the first of it: what is left is the caller's to see
/// by [`leftovers`].
pub fn seal(root: &Path, host: &HostSettings) -> io::Result<Vec<Leftover>> {
    let mut removed = Vec::new();
    let mut failed = None;
    for (path, cure, why) in found(root, host)? {
        match apply(&path, cure) {
            Ok(()) => removed.push(Leftover { path, why }),
            Err(error) => {
                failed.get_or_insert(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
            }
        }
    }
    failed.map_or(Ok(removed), Err)
}

fn found(root: &Path, host: &HostSettings) -> io::Result<Vec<(PathBuf, Cure, String)>> {
    let mut all = Vec::new();
    for Place { pattern, cure, why } in PLACES {
        for path in matching(root, pattern)? {
            if is_there(&path, *cure)? {
                all.push((path, *cure, (*why).to_owned()));
            }
        }
    }
    for rule in &host.directories {
        let path = root.join(rule.path.trim_start_matches('/'));
        if is_there(&path, Cure::Empty)? {
            all.push((path, Cure::Empty, format!("the state of {} on another instance", rule.name)));
        }
    }
    Ok(all)
}

/// The paths of a pattern that exist, in the order of their names. Symbolic links are not followed.
fn matching(root: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![root.to_owned()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for path in paths {
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
    text.push_str("| each `directory` of the `host` block | what is in it is removed | the ids and the state of Consul and Nomad |\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootstrap_config::DirectoryRule;

    fn image() -> (tempfile::TempDir, HostSettings) {
        let root = tempfile::tempdir().expect("a directory");
        let rule = DirectoryRule { name: "nomad".to_owned(), path: "/opt/nomad".to_owned() };
        (root, HostSettings { directories: vec![rule], ..HostSettings::default() })
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
        let (root, host) = image();
        let root = root.path();
        let gone = [
            "etc/ssh/ssh_host_ed25519_key",
            "root/.bash_history",
            "home/admin/.ssh/authorized_keys",
            "var/lib/muster/i-0123456789abcdef0/awx.json",
            "run/muster/vault-token",
            "opt/nomad/client/client-id",
            "var/lib/systemd/random-seed",
        ];
        let kept =
            ["etc/ssh/sshd_config", "etc/muster/bootstrap.hcl", "opt/nomad.hcl", "home/admin/.profile"];
        gone.iter().chain(&kept).for_each(|path| write(root, path));
        write(root, "etc/machine-id");
        let before = leftovers(root, &host).expect("looked at");
        assert_eq!(before.len(), gone.len() + 1, "{before:?}");
        let sealed = seal(root, &host).expect("sealed");
        assert_eq!(sealed, before);
        assert_eq!(leftovers(root, &host).expect("looked at"), []);
        for path in gone {
            assert!(!root.join(path).exists(), "{path} is still there");
        }
        for path in kept {
            assert!(root.join(path).exists(), "{path} is gone");
        }
        assert_eq!(fs::read_to_string(root.join("etc/machine-id")).expect("it stays"), "");
        assert_eq!(seal(root, &host).expect("again"), [], "again changes nothing");
    }

    #[test]
    fn a_link_is_removed_and_what_it_leads_to_is_not() {
        let (root, host) = image();
        let elsewhere = tempfile::tempdir().expect("a directory");
        write(elsewhere.path(), "precious");
        fs::create_dir_all(root.path().join("tmp")).expect("made");
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("tmp/link")).expect("linked");
        seal(root.path(), &host).expect("sealed");
        assert!(elsewhere.path().join("precious").exists());
        assert!(!root.path().join("tmp/link").exists());
    }
}
