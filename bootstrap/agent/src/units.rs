//! What the units of Consul and Nomad have to be in an image, read from their files.
//!
//! The agent starts them, when all that they need stands: what starts by itself is there before anything was looked at.
//! And a client of Nomad that was told to leave has to stay away.

use crate::seal::within;
use bootstrap_config::Settings;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where systemd has units from; the first one that has a unit says the whole of it.
const PLACES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// What is wrong with a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The unit.
    pub unit: String,
    /// What.
    pub why: Why,
}

/// What may be wrong with a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It starts at boot.
    Enabled {
        /// The link that says so.
        by: PathBuf,
    },
    /// A stop drains the node's work instead of leaving it alone.
    StopDrains {
        /// `KillSignal=`.
        signal: String,
    },
    /// One that has left is started again.
    Returns {
        /// `Restart=`.
        restart: String,
        /// What a leave may end with.
        status: u8,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, why } = self;
        match why {
            Why::Enabled { by } => write!(
                f,
                "{unit} is enabled by {}, and starts before anything was looked at: systemctl disable {unit}",
                by.display()
            ),
            Why::StopDrains { signal } => write!(
                f,
                "{unit} has KillSignal={signal}, upon which a client drains its node: it has to be SIGINT"
            ),
            Why::Returns { restart, status } => write!(
                f,
                "{unit} has Restart={restart}, and a client that left with {status} comes back: \
                 RestartPreventExitStatus={status}, or another Restart="
            ),
        }
    }
}

/// Looks at the units of the settings' Consul and Nomad.
///
/// * `root`: of the image: `/`, or the directory that it is made of.
/// * returns: what is wrong with them. A unit that is not there has no fault: its step says so.
pub fn faults(root: &Path, settings: &Settings) -> io::Result<Vec<Fault>> {
    let mut faults = Vec::new();
    if let Some(consul) = &settings.consul {
        faults.extend(enabled(root, &consul.unit)?);
    }
    if let Some(nomad) = &settings.nomad {
        faults.extend(enabled(root, &nomad.unit)?);
        let service = Service::of(root, &nomad.unit)?;
        faults.extend(service.into_iter().flat_map(|service| service.faults(&nomad.unit)));
    }
    Ok(faults)
}

/// The links that start a unit with others.
fn enabled(root: &Path, unit: &str) -> io::Result<Vec<Fault>> {
    let mut links = Vec::new();
    for path in listed(root, &root.join(PLACES[0]))? {
        let kind = path.extension().and_then(|kind| kind.to_str());
        if !matches!(kind, Some("wants" | "requires" | "upholds")) {
            continue;
        }
        let Some(wants) = within(root, &path)? else { continue };
        let link = wants.join(unit);
        // Whatever it leads to: systemd goes by its name.
        if fs::symlink_metadata(&link).is_ok() {
            links.push(link);
        }
    }
    let fault = |by: PathBuf| {
        let by = Path::new("/").join(by.strip_prefix(root).unwrap_or(&by));
        Fault { unit: unit.to_owned(), why: Why::Enabled { by } }
    };
    Ok(links.into_iter().map(fault).collect())
}

/// What is in a directory of the image, in the order of the names; nothing where there is none.
fn listed(root: &Path, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(directory) = within(root, directory)? else { return Ok(Vec::new()) };
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut paths = listed.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// A `[Service]`, as far as it says how the service ends and comes back.
#[derive(Debug, Default)]
struct Service {
    signal: Option<String>,
    restart: Option<String>,
    prevented: BTreeSet<String>,
    /// What is no failure, beside 0.
    clean: BTreeSet<String>,
}

impl Service {
    /// A unit with its drop-ins; `None` where there is none.
    fn of(root: &Path, unit: &str) -> io::Result<Option<Self>> {
        let mut files = Vec::new();
        for place in PLACES {
            files.extend(text_of(root, &root.join(place).join(unit))?);
            if !files.is_empty() {
                break;
            }
        }
        if files.is_empty() {
            return Ok(None);
        }
        // One of the same name in a place before stands for the others.
        let mut names = BTreeSet::new();
        let mut drop_ins = Vec::new();
        for place in PLACES {
            for path in listed(root, &root.join(place).join(format!("{unit}.d")))? {
                let name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
                if path.extension().is_some_and(|kind| kind == "conf") && names.insert(name.clone()) {
                    drop_ins.push((name, path));
                }
            }
        }
        drop_ins.sort();
        for (_, path) in drop_ins {
            files.extend(text_of(root, &path)?);
        }
        let mut service = Self::default();
        for text in &files {
            service.read(text);
        }
        Ok(Some(service))
    }

    fn read(&mut self, text: &str) {
        let mut is_service = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                is_service = line == "[Service]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| is_service) else { continue };
            let value = value.trim();
            let said = (!value.is_empty()).then(|| value.to_owned());
            match key.trim() {
                "KillSignal" => self.signal = said,
                "Restart" => self.restart = said,
                "RestartPreventExitStatus" => add(&mut self.prevented, value),
                "SuccessExitStatus" => add(&mut self.clean, value),
                _ => {}
            }
        }
    }

    fn faults(self, unit: &str) -> Vec<Fault> {
        let mut all = Vec::new();
        let signal = self.signal.unwrap_or_else(|| "SIGTERM".to_owned());
        if !matches!(signal.as_str(), "SIGINT" | "INT" | "2") {
            all.push(Why::StopDrains { signal });
        }
        let restart = self.restart.unwrap_or_else(|| "no".to_owned());
        // Nomad's client ends with 0 where it has left in order, with 1 where that took too long or it was told twice.
        for status in [0, 1] {
            let is_clean = status == 0 || self.clean.contains(&status.to_string());
            let returns =
                restart == "always" || restart == if is_clean { "on-success" } else { "on-failure" };
            if returns && !self.prevented.contains(&status.to_string()) {
                all.push(Why::Returns { restart: restart.clone(), status });
            }
        }
        all.into_iter().map(|why| Fault { unit: unit.to_owned(), why }).collect()
    }
}

/// Says more statuses: they add to what stands; nothing forgets it.
fn add(statuses: &mut BTreeSet<String>, value: &str) {
    if value.is_empty() {
        statuses.clear();
    }
    statuses.extend(value.split_whitespace().map(str::to_owned));
}

/// A file's text, through links that mean the image's own root; `None` where there is none.
fn text_of(root: &Path, path: &Path) -> io::Result<Option<String>> {
    let Some(path) = within(root, path)? else { return Ok(None) };
    match fs::read(&path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootstrap_config::{ConsulSettings, NomadSettings};

    fn check(files: &[(&str, &str)], expect: &[&str]) {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        let settings = Settings {
            consul: Some(ConsulSettings::default()),
            nomad: Some(NomadSettings::default()),
            ..Settings::default()
        };
        let found = faults(root.path(), &settings).expect("looked at");
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expect.len(), "{found:#?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found} is not about {expect}");
        }
    }

    const PACKAGED: &str = "usr/lib/systemd/system/nomad.service";
    const OWN: &str = "etc/systemd/system/nomad.service";

    #[test]
    fn nomads_unit_stays_away_once_its_client_has_left() {
        let right = "[Service]\nKillSignal=SIGINT\nRestart=on-failure\nRestartPreventExitStatus=1\n";
        check(&[], &[]);
        check(&[(PACKAGED, right)], &[]);
        check(&[(PACKAGED, "[Service]\nKillSignal=SIGINT\nRestart=on-abnormal\n")], &[]);
        check(&[(PACKAGED, "[Service]\nKillSignal=SIGINT\n")], &[]);
        check(&[(PACKAGED, "[Service]\nRestart=no\n")], &["KillSignal=SIGTERM"]);
        check(&[(PACKAGED, "[Service]\nKillSignal=SIGINT\nRestart=on-failure\n")], &["left with 1"]);
        check(
            &[(PACKAGED, "[Service]\nKillSignal=SIGINT\nRestart=always\n")],
            &["left with 0", "left with 1"],
        );
        // What stands in the image stands over the package's.
        check(&[(PACKAGED, "[Service]\nRestart=always\n"), (OWN, right)], &[]);
        let drop_in = "etc/systemd/system/nomad.service.d/10-restart.conf";
        check(&[(PACKAGED, right), (drop_in, "[Service]\nRestartPreventExitStatus=\n")], &["left with 1"]);
        check(&[(PACKAGED, right), (drop_in, "[Unit]\nRestart=always\n")], &[]);
    }

    #[test]
    fn the_unit_of_the_image_is_as_it_should_be() {
        let template = include_str!("../../../image/ansible/roles/nomad/templates/nomad.service.j2");
        check(&[(OWN, template)], &[]);
        // A leave that took too long is no failure there, and is not told of as one that comes back.
        let forgiven = "[Service]\nKillSignal=SIGINT\nRestart=on-failure\nSuccessExitStatus=1\n";
        check(&[(PACKAGED, forgiven)], &[]);
        check(&[(PACKAGED, &forgiven.replace("on-failure", "on-success"))], &["left with 0", "left with 1"]);
    }

    #[test]
    fn links_of_an_image_lead_to_places_in_it() {
        let root = tempfile::tempdir().expect("a directory");
        let place = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            path
        };
        // On this host there is nothing of the kind: the image's own is meant, in a chain of links and below a directory
        // that is one.
        let real = place("opt/muster-units/nomad.service");
        fs::write(real, "[Service]\nRestart=always\nKillSignal=SIGINT\n").expect("written");
        let link = |at: &str, to: &str| std::os::unix::fs::symlink(to, place(at)).expect("linked");
        link("etc/systemd/system", "/opt/muster-links");
        link("opt/muster-links/nomad.service", "/opt/muster-units/again.service");
        link("opt/muster-units/again.service", "nomad.service");
        link("opt/muster-links/multi-user.target.wants", "/opt/muster-wants");
        link("opt/muster-wants/nomad.service", "/nowhere");
        let settings = Settings { nomad: Some(NomadSettings::default()), ..Settings::default() };
        let found = faults(root.path(), &settings).expect("looked at");
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].contains("enabled by /opt/muster-wants/nomad.service"), "{found:#?}");
        assert!(found[1].contains("left with 0") && found[2].contains("left with 1"), "{found:#?}");
    }

    #[test]
    fn what_the_agent_starts_is_not_started_at_boot() {
        check(
            &[
                ("etc/systemd/system/multi-user.target.wants/consul.service", ""),
                ("etc/systemd/system/multi-user.target.wants/nomad.service", ""),
                ("etc/systemd/system/multi-user.target.wants/other.service", ""),
            ],
            &[
                "consul.service is enabled by /etc/systemd/system/multi-user.target.wants/consul.service",
                "nomad.service is enabled",
            ],
        );
    }
}
