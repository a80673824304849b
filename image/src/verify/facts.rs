//! What a machine that booted says of itself, and how its programs' words are read: pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a bake says of a root file system (`ROOT.json`), as far as it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// `base` or `node`.
    pub image: String,
    /// The commit that it was made of.
    pub commit: String,
    /// The version of the playbook.
    pub playbook: String,
    /// What it takes on a disk, in bytes.
    pub size_bytes: u64,
    /// The programs that are not Debian's.
    #[serde(default)]
    pub programs: BTreeMap<String, Program>,
}

/// A program that is not Debian's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
}

/// A socket that takes connections or datagrams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address that it is bound to.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Listener {
    /// Whether others than the machine itself, and its containers, reach it.
    pub fn is_open(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        }
    }
}

/// A unit, and systemd's word for what it is: `active`, `inactive`, `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `docker.service`.
    pub name: String,
    /// The word.
    pub state: String,
}

/// How the agent fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The exit code of `muster-bootstrap status --wait`: 0 is ready.
    pub code: i32,
    /// What it said.
    pub said: String,
}

/// What was found of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What it takes on a disk, in bytes.
    pub size_bytes: u64,
    /// What two instances must not share, or nobody may have, by `muster-bootstrap verify-image`; none: nothing.
    pub leftovers: Vec<String>,
    /// Notes of programs that do not fit their files.
    pub altered: Vec<String>,
    /// systemd's word for the whole: `running`, `degraded`, …
    pub state: String,
    /// From PID 1 to the last of its boot, in milliseconds.
    pub boot_millis: u64,
    /// Units that have failed.
    pub failed: Vec<String>,
    /// Units that are asked for by name.
    pub units: Vec<Unit>,
    /// Whatever listens.
    pub listeners: Vec<Listener>,
    /// How exposed units are, by `systemd-analyze security`, in tenths: 12 is 1.2.
    pub exposure: BTreeMap<String, u32>,
    /// Whether it has an identity of its own now.
    pub machine_id: bool,
    /// The agent; `None` where it was given no configuration.
    pub agent: Option<Agent>,
}

/// Reads `ss --no-header --listening --tcp --udp --numeric`. What cannot be read is left out.
pub(super) fn listeners(said: &str) -> Vec<Listener> {
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let protocol = words.next()?.to_owned();
        let (address, port) = words.nth(3)?.rsplit_once(':')?;
        // `127.0.0.53%lo`, `[::]`, `*`.
        let address = address.split('%').next()?.trim_matches(['[', ']']);
        let address = if address == "*" { "::" } else { address };
        Some(Listener { protocol, address: address.parse().ok()?, port: port.parse().ok()? })
    };
    let mut found: Vec<Listener> = said.lines().filter_map(read).collect();
    found.sort();
    found.dedup();
    found
}

/// Reads the last line of `systemd-analyze security UNIT`: the exposure in tenths.
pub(super) fn exposure(said: &str) -> Option<u32> {
    let line = said.lines().rev().find(|line| line.contains("Overall exposure level"))?;
    let number = line.rsplit_once(": ")?.1.split_whitespace().next()?;
    let (whole, tenths) = number.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenths.parse::<u32>().ok()?)
}

/// Reads `systemctl show --property=UserspaceTimestampMonotonic,FinishTimestampMonotonic`, which are microseconds.
pub(super) fn boot_millis(said: &str) -> Option<u64> {
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    let (begun, done) = (value("UserspaceTimestampMonotonic")?, value("FinishTimestampMonotonic")?);
    (done > 0).then(|| done.saturating_sub(begun) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_is_read_as_ss_says_it() {
        let said = "udp   UNCONN 0      0      127.0.0.53%lo:53         0.0.0.0:*\n\
                    tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*\n\
                    tcp   LISTEN 0      128             [::]:22            [::]:*\n\
                    tcp   LISTEN 0      4096               *:9100             *:*\n\
                    odd\n";
        let found = listeners(said);
        let told: Vec<String> = found
            .iter()
            .map(|one| format!("{} {} {} {}", one.protocol, one.address, one.port, one.is_open()))
            .collect();
        assert_eq!(
            told,
            ["tcp 0.0.0.0 22 true", "tcp :: 22 true", "tcp :: 9100 true", "udp 127.0.0.53 53 false"]
        );
    }

    #[test]
    fn exposures_and_times_are_read_as_systemd_says_them() {
        let said = "✓ User=    ok\n\n→ Overall exposure level for muster-bootstrap.service: 1.2 OK :-)\n";
        assert_eq!(exposure(said), Some(12));
        assert_eq!(exposure("Failed"), None);
        let said = "UserspaceTimestampMonotonic=1000000\nFinishTimestampMonotonic=3500000\n";
        assert_eq!(boot_millis(said), Some(2500));
        assert_eq!(boot_millis("UserspaceTimestampMonotonic=1\nFinishTimestampMonotonic=0\n"), None);
    }
}
