//! The units as they are shipped: in which order they start, and that systemd reads all of it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

const UNITS: [(&str, &str); 3] = [
    ("muster-bootstrap.service", include_str!("../../../systemd/muster-bootstrap.service")),
    ("muster-host.path", include_str!("../../../systemd/muster-host.path")),
    ("muster-host.service", include_str!("../../../systemd/muster-host.service")),
];

fn text(unit: &str) -> &'static str {
    UNITS.iter().find(|(name, _)| *name == unit).expect("a unit").1
}

/// The words of a unit's setting, in all of its lines.
fn words(unit: &str, setting: &str) -> BTreeSet<&'static str> {
    let lines = text(unit).lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).collect()
}

#[test]
fn the_agent_starts_after_the_network_whoever_does_what_needs_root_and_those_that_awx_logs_in_by() {
    let agent = "muster-bootstrap.service";
    let wants = BTreeSet::from(["network-online.target", "muster-host.path"]);
    assert_eq!(words(agent, "Wants"), wants);
    let after = words(agent, "After");
    // What is only wanted starts side by side.
    assert!(after.is_superset(&wants), "{after:?}");
    assert!(
        after.is_superset(&BTreeSet::from(["ssh.service", "systemd-user-sessions.service"])),
        "{after:?}"
    );
    // It is what boots the node: nothing of that may be waited for, and its end ends nothing.
    for setting in ["Requires", "BindsTo", "PartOf", "Requisite"] {
        assert!(words(agent, setting).is_empty(), "{setting}");
    }
    assert_eq!(words(agent, "WantedBy"), BTreeSet::from(["multi-user.target"]));
    assert_eq!(words("muster-host.path", "Unit"), BTreeSet::from(["muster-host.service"]));
    assert_eq!(words("muster-host.path", "WantedBy"), BTreeSet::from(["multi-user.target"]));
    assert!(!text("muster-host.service").contains("[Install]"), "nobody starts it but its path");
    // The path unit starts it for whatever its condition lets in, or it would be started for ever.
    let seen = words("muster-host.path", "PathExistsGlob");
    assert_eq!(seen, words("muster-host.service", "ConditionPathExistsGlob"));
}

/// What `systemd-analyze verify` says of the units; `change` is done to each one's text.
fn verified(change: impl Fn(&str) -> String) -> (bool, String) {
    let place = tempfile::tempdir().expect("a directory");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    for (name, text) in UNITS {
        let path = place.path().join(name);
        let text = text.replace("/usr/bin/muster-bootstrap", env!("CARGO_BIN_EXE_muster-bootstrap"));
        fs::write(&path, change(&text)).expect("written");
        verify.arg(path);
    }
    let output = verify.output().expect("systemd is in every Debian");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success() && said.trim().is_empty(), said)
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let (fine, said) = verified(str::to_owned);
    assert!(fine, "{said}");
    for (right, wrong) in
        [("After=", "Aftr="), ("Type=notify", "Type=notifies"), ("WatchdogSec=30s", "WatchdogSec=soon")]
    {
        let (fine, said) = verified(|text| text.replace(right, wrong));
        assert!(!fine, "{wrong} is not seen: {said}");
    }
}
