//! The architecture's boundaries, checked against what cargo says of the workspace.
//!
//! A crate that must stay pure may not reach a runtime, a network stack, a database or AWS, not even through
//! a dependency of a dependency. Clocks and the environment are clippy's part (`clippy.toml`).

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Crates without I/O: what they decide can be replayed anywhere.
const PURE: &[&str] = &[
    "fleet",
    "fleet-sim",
    "fleet-identity",
    "fleet-notices",
    "autoscaler-core",
    "autoscaler-policy",
    "autoscaler-engine",
    "autoscaler-lab",
    "autoscaler-leader",
    "bootstrap-core",
    "bootstrap-config",
    "muster-hcl",
];

/// What no pure crate may reach, by prefix of the package's name.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "reqwest",
    "hyper",
    "axum",
    "rusqlite",
    "libsqlite3",
    "rustls",
    "aws-",
    "socket2",
    "notify",
];

/// (crate, what it may name directly of our own). A crate that is missing here fails the test: think, then add.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("fleet", &[]),
    ("fleet-clock", &["fleet"]),
    ("fleet-program", &["fleet"]),
    ("fleet-sim", &["fleet"]),
    ("fleet-cloud", &["fleet", "fleet-clock", "fleet-sim", "muster-hcl"]),
    ("fleet-aws", &["fleet", "fleet-clock", "fleet-notices"]),
    ("fleet-identity", &["fleet"]),
    ("fleet-notices", &["fleet"]),
    ("muster-hcl", &["fleet"]),
    ("autoscaler-core", &["fleet"]),
    ("bootstrap-core", &["fleet"]),
    ("bootstrap-config", &["bootstrap-core", "fleet", "muster-hcl"]),
    (
        "bootstrap-agent",
        &[
            "bootstrap-config",
            "bootstrap-core",
            "bootstrap-vault",
            "fleet",
            "fleet-identity",
            "fleet-notices",
        ],
    ),
    (
        "muster-bootstrap",
        &[
            "bootstrap-agent",
            "bootstrap-aws",
            "bootstrap-config",
            "bootstrap-core",
            "bootstrap-vault",
            "fleet",
            "fleet-clock",
        ],
    ),
    ("bootstrap-aws", &["bootstrap-core", "fleet"]),
    ("bootstrap-vault", &["bootstrap-core", "fleet"]),
    ("autoscaler-policy", &["autoscaler-core", "fleet", "muster-hcl"]),
    ("autoscaler-engine", &["autoscaler-core", "autoscaler-policy", "fleet"]),
    ("autoscaler-lab", &["autoscaler-core", "autoscaler-policy", "fleet", "fleet-sim"]),
    ("autoscaler-leader", &["fleet"]),
    ("autoscaler-consul", &["autoscaler-leader", "fleet"]),
    ("autoscaler-journal", &["autoscaler-core", "autoscaler-engine", "fleet"]),
    ("autoscaler-nomad", &["fleet"]),
    (
        "autoscaler",
        &[
            "autoscaler-consul",
            "autoscaler-core",
            "autoscaler-engine",
            "autoscaler-journal",
            "autoscaler-leader",
            "autoscaler-nomad",
            "autoscaler-policy",
            "fleet",
            "fleet-clock",
            "fleet-identity",
            "fleet-notices",
        ],
    ),
    (
        "muster-autoscaler",
        &[
            "autoscaler",
            "autoscaler-consul",
            "autoscaler-core",
            "autoscaler-engine",
            "autoscaler-journal",
            "autoscaler-lab",
            "autoscaler-nomad",
            "autoscaler-policy",
            "fleet",
            "fleet-aws",
            "fleet-clock",
            "fleet-cloud",
            "fleet-program",
            "fleet-sim",
        ],
    ),
    ("muster-machine", &[]),
    ("muster-image", &["fleet", "fleet-aws", "fleet-clock", "fleet-program", "muster-machine"]),
    ("tests", &["fleet", "fleet-clock", "fleet-cloud", "fleet-sim", "muster-machine", "muster-test-servers"]),
    ("muster-test-servers", &["fleet", "fleet-clock"]),
    (
        "muster-platform",
        &["fleet", "fleet-clock", "fleet-sim", "muster-machine", "muster-test-servers", "tests"],
    ),
    (
        "muster-worlds",
        &[
            "autoscaler-core",
            "autoscaler-engine",
            "autoscaler-leader",
            "autoscaler-policy",
            "fleet",
            "fleet-clock",
            "fleet-sim",
        ],
    ),
];

/// Who may name the AWS SDK.
const MAY_NAME_AWS: &[&str] = &["bootstrap-aws", "fleet-aws"];

struct Workspace {
    /// Our packages, and what each depends on directly (not for its own tests).
    direct: BTreeMap<String, BTreeSet<String>>,
    /// Everything that a package reaches, itself aside.
    reach: BTreeMap<String, BTreeSet<String>>,
}

fn workspace() -> Workspace {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();

    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let normal = |dep: &&Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let deps = list(&node["deps"]);
        edges.insert(text(&node["id"]), deps.iter().filter(normal).map(|dep| text(&dep["pkg"])).collect());
    }
    let name = |id: &String| names.get(id).cloned().unwrap_or_default();
    let mut found = Workspace { direct: BTreeMap::new(), reach: BTreeMap::new() };
    for id in list(&metadata["workspace_members"]).iter().map(text) {
        let mut reached = BTreeSet::new();
        let mut todo: Vec<&String> = edges[&id].iter().collect();
        while let Some(next) = todo.pop() {
            if reached.insert(name(next)) {
                todo.extend(&edges[next]);
            }
        }
        found.direct.insert(name(&id), edges[&id].iter().map(name).collect());
        found.reach.insert(name(&id), reached);
    }
    found
}

#[test]
fn pure_crates_reach_nothing_impure() {
    let workspace = workspace();
    for pure in PURE {
        let reached = workspace.reach.get(*pure).unwrap_or_else(|| panic!("no crate {pure}"));
        let impure: Vec<_> =
            reached.iter().filter(|name| IMPURE.iter().any(|p| name.starts_with(p))).collect();
        assert!(impure.is_empty(), "{pure} must stay pure, but reaches {impure:?}");
    }
}

#[test]
fn only_the_adapters_name_the_aws_sdk() {
    for (crate_name, direct) in &workspace().direct {
        let aws: Vec<_> = direct.iter().filter(|name| name.starts_with("aws-")).collect();
        assert!(
            aws.is_empty() || MAY_NAME_AWS.contains(&crate_name.as_str()),
            "{crate_name} names {aws:?}; only {MAY_NAME_AWS:?} may"
        );
    }
}

#[test]
fn crates_name_only_the_crates_below_them() {
    let workspace = workspace();
    let ours: BTreeSet<&String> = workspace.direct.keys().collect();
    for (crate_name, direct) in &workspace.direct {
        let (_, may) = MAY_NAME
            .iter()
            .find(|(name, _)| name == crate_name)
            .unwrap_or_else(|| panic!("{crate_name} is not in MAY_NAME: decide what it may depend on"));
        for named in direct.iter().filter(|name| ours.contains(name)) {
            assert!(may.contains(&named.as_str()), "{crate_name} may not depend on {named}");
        }
    }
}

#[test]
fn the_daemon_library_does_not_wait_for_the_aws_sdk() {
    let reached = &workspace().reach["autoscaler"];
    let aws: Vec<_> = reached.iter().filter(|name| name.starts_with("aws-")).collect();
    assert!(aws.is_empty(), "autoscaler reaches {aws:?}: it is worked on daily and must build without");
}

#[test]
fn one_module_speaks_to_systemd_by_its_library() {
    let namers: Vec<String> = workspace()
        .direct
        .into_iter()
        .filter(|(_, direct)| direct.contains("systemd"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(namers, ["muster-bootstrap"], "who names the crate systemd");
    let speaks = |text: &str| text.contains("systemd::") || text.contains("use systemd");
    let mut speak = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bootstrap/cli/src");
    let mut left = vec![source.clone()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if fs::read_to_string(&path).is_ok_and(|text| speaks(&text)) {
                speak.push(path.strip_prefix(&source).expect("it is beneath").to_owned());
            }
        }
    }
    assert_eq!(speak, [Path::new("service.rs")]);
}
