//! What facts say of an image: pure.

use super::facts::{Facts, Listener, Manifest, Program};
use fleet::{DurationText, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What an image is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The most that it takes on a disk, in bytes.
    pub most_bytes: u64,
    /// The longest boot, from PID 1 to its last unit, without the agent's own work.
    pub longest_boot: Duration,
    /// `PROTOCOL/PORT` that may be open to others.
    pub open: BTreeSet<String>,
    /// Units that are to be active after the boot.
    pub active: Vec<String>,
    /// Units that are to wait for the agent.
    pub inactive: Vec<String>,
    /// Units whose exposure is judged.
    pub units: Vec<String>,
    /// The most exposure of any of them, in tenths.
    pub most_exposed: u32,
}

impl Expected {
    /// What an image of a kind is to be: `node`, or anything else, which is a base.
    ///
    /// * `agent`: whether the agent boots the node, which starts what else waits for it.
    pub fn of(kind: &str, agent: bool) -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let node = kind == "node";
        let mut active = words(&["docker.service", "ssh.service", "systemd-resolved.service"]);
        let mut open = BTreeSet::from(["tcp/22".to_owned()]);
        let waiting = ["consul.service", "nomad.service", "prometheus-node-exporter.service"];
        if node {
            active.push("muster-host.path".to_owned());
        }
        if node && agent {
            active.push("muster-bootstrap.service".to_owned());
            // Which of Consul's and Nomad's there are is the configuration's to say: gossip, RPC, HTTP, the exporter, and
            // what Consul answers to the bridge's containers.
            for port in ["tcp/8301", "udp/8301", "tcp/8500", "tcp/8502", "tcp/8503", "tcp/8600", "udp/8600"] {
                open.insert(port.to_owned());
            }
            open.extend(words(&["tcp/4646", "tcp/9100", "tcp/9256"]));
        }
        Self {
            // Nomad, Consul and Docker alone are 810 MB.
            most_bytes: 1_000_000_000,
            longest_boot: Duration::from_secs(120),
            open,
            active,
            inactive: if node && !agent { words(&waiting) } else { Vec::new() },
            units: if node { words(&["muster-bootstrap.service"]) } else { Vec::new() },
            most_exposed: 20,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What, in a word or two.
    pub name: String,
    /// Whether it is as it is to be.
    pub passed: bool,
    /// What was found.
    pub found: String,
}

/// What was found of an image, and what it comes to. What `publish` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether every check passed.
    pub passed: bool,
    /// When it was made.
    pub at: Timestamp,
    /// `base` or `node`.
    pub image: String,
    /// The commit that the image was made of.
    pub commit: String,
    /// The version of its playbook.
    pub playbook: String,
    /// The programs that are not Debian's.
    pub programs: BTreeMap<String, Program>,
    /// Each check.
    pub checks: Vec<Check>,
    /// All that was found.
    pub facts: Facts,
}

/// Judges. Total; every check is in the report, in one order.
pub fn judge(manifest: &Manifest, facts: Facts, expected: &Expected, at: Timestamp) -> Report {
    let mut checks = vec![size(&facts, expected)];
    // Looked for by the agent, which a base image has not.
    if manifest.image == "node" {
        checks.push(nothing("secrets and identities", &facts.leftovers, "none is left"));
    }
    checks.push(nothing("programs", &facts.altered, "all are those of the manifest"));
    checks.push(boot(&facts, expected));
    checks.push(nothing("failed units", &facts.failed, "none"));
    checks.push(units(&facts, expected));
    checks.push(ports(&facts, expected));
    if !expected.units.is_empty() {
        checks.push(exposed(&facts, expected));
    }
    let own = if facts.machine_id { "of its own since this boot" } else { "none after the boot" };
    checks.push(check("identity", facts.machine_id, own));
    if let Some(agent) = &facts.agent {
        let said = agent.said.lines().next().unwrap_or_default();
        checks.push(check("agent", agent.code == 0, format!("exit code {}: {said}", agent.code)));
    }
    Report {
        passed: checks.iter().all(|check| check.passed),
        at,
        image: manifest.image.clone(),
        commit: manifest.commit.clone(),
        playbook: manifest.playbook.clone(),
        programs: manifest.programs.clone(),
        checks,
        facts,
    }
}

fn check(name: &str, passed: bool, found: impl Into<String>) -> Check {
    Check { name: name.to_owned(), passed, found: found.into() }
}

fn nothing(name: &str, found: &[String], good: &str) -> Check {
    let told = if found.is_empty() { good.to_owned() } else { found.join(", ") };
    check(name, found.is_empty(), told)
}

fn size(facts: &Facts, expected: &Expected) -> Check {
    let told = format!("{} MB of at most {}", facts.size_bytes / 1_000_000, expected.most_bytes / 1_000_000);
    check("size", facts.size_bytes > 0 && facts.size_bytes <= expected.most_bytes, told)
}

fn boot(facts: &Facts, expected: &Expected) -> Check {
    let took = Duration::from_millis(facts.boot_millis);
    let told = format!(
        "{} in {}, of at most {}",
        facts.state,
        DurationText(took),
        DurationText(expected.longest_boot)
    );
    check("boot", facts.state == "running" && took <= expected.longest_boot, told)
}

fn units(facts: &Facts, expected: &Expected) -> Check {
    let state = |name: &String| {
        facts.units.iter().find(|unit| unit.name == *name).map_or("unknown", |unit| unit.state.as_str())
    };
    let not = |wanted: &'static str| {
        move |name: &String| {
            (state(name) != wanted).then(|| format!("{name} is {}, not {wanted}", state(name)))
        }
    };
    let mut wrong: Vec<String> = expected.active.iter().filter_map(not("active")).collect();
    wrong.extend(expected.inactive.iter().filter_map(not("inactive")));
    let good = format!("{} active, {} wait", expected.active.len(), expected.inactive.len());
    nothing("units", &wrong, &good)
}

fn ports(facts: &Facts, expected: &Expected) -> Check {
    let name = |one: &Listener| format!("{}/{}", one.protocol, one.port);
    let open: BTreeSet<String> = facts.listeners.iter().filter(|one| one.is_open()).map(name).collect();
    let wrong: Vec<String> = open.difference(&expected.open).cloned().collect();
    let good: Vec<String> = open.into_iter().collect();
    if wrong.is_empty() {
        check("open ports", true, good.join(", "))
    } else {
        check("open ports", false, format!("{} is not to be open to others", wrong.join(", ")))
    }
}

fn exposed(facts: &Facts, expected: &Expected) -> Check {
    let words = |tenths: u32| format!("{}.{}", tenths / 10, tenths % 10);
    let mut wrong = Vec::new();
    let mut good = Vec::new();
    for unit in &expected.units {
        match facts.exposure.get(unit) {
            Some(tenths) if *tenths <= expected.most_exposed => {
                good.push(format!("{unit} {}", words(*tenths)));
            }
            Some(tenths) => {
                wrong.push(format!("{unit} {} above {}", words(*tenths), words(expected.most_exposed)));
            }
            None => wrong.push(format!("{unit} is not known")),
        }
    }
    nothing("exposure", &wrong, &good.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Agent, Unit};

    fn manifest() -> Manifest {
        Manifest {
            image: "node".into(),
            playbook: "p".into(),
            size_bytes: 770_000_000,
            ..Manifest::default()
        }
    }

    /// A node that is as it is to be.
    fn good() -> Facts {
        let expected = Expected::of("node", false);
        let unit =
            |state: &'static str| move |name: &String| Unit { name: name.clone(), state: state.to_owned() };
        let units = expected.active.iter().map(unit("active"));
        let listener = |address: &str, port| Listener {
            protocol: "tcp".into(),
            address: address.parse().expect("an address"),
            port,
        };
        Facts {
            size_bytes: 770_000_000,
            state: "running".into(),
            boot_millis: 2500,
            units: units.chain(expected.inactive.iter().map(unit("inactive"))).collect(),
            listeners: vec![
                listener("0.0.0.0", 22),
                listener("127.0.0.53", 53),
                listener("169.254.53.53", 53),
            ],
            exposure: BTreeMap::from([("muster-bootstrap.service".to_owned(), 12)]),
            machine_id: true,
            ..Facts::default()
        }
    }

    fn failing(facts: Facts) -> Vec<String> {
        let report = judge(&manifest(), facts, &Expected::of("node", false), Timestamp::EPOCH);
        let failing: Vec<String> =
            report.checks.iter().filter(|check| !check.passed).map(|check| check.name.clone()).collect();
        assert_eq!(report.passed, failing.is_empty());
        failing
    }

    #[test]
    fn of_a_base_nothing_is_said_of_secrets_that_nobody_looked_for() {
        let told_of = |image: &str| {
            let manifest = Manifest { image: image.into(), ..manifest() };
            let report = judge(&manifest, good(), &Expected::of(image, false), Timestamp::EPOCH);
            report.checks.iter().any(|check| check.name == "secrets and identities")
        };
        assert!(told_of("node") && !told_of("base"));
    }

    #[test]
    fn what_is_as_it_is_to_be_passes() {
        assert_eq!(failing(good()), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_is_wrong_fails_its_own_check() {
        let listener = |protocol: &str, address: &str| Listener {
            protocol: protocol.into(),
            address: address.parse().expect("an address"),
            port: 2375,
        };
        let with = |change: &dyn Fn(&mut Facts)| {
            let mut facts = good();
            change(&mut facts);
            failing(facts)
        };
        assert_eq!(with(&|facts| facts.size_bytes = 1_000_000_001), ["size"]);
        assert_eq!(with(&|facts| facts.size_bytes = 0), ["size"], "what was not measured is not small");
        assert_eq!(with(&|facts| facts.leftovers.push("/root/.aws".into())), ["secrets and identities"]);
        assert_eq!(with(&|facts| facts.altered.push("nomad".into())), ["programs"]);
        assert_eq!(with(&|facts| facts.state = "degraded".into()), ["boot"]);
        assert_eq!(with(&|facts| facts.boot_millis = 121_000), ["boot"]);
        assert_eq!(with(&|facts| facts.failed.push("ssh.service".into())), ["failed units"]);
        assert_eq!(with(&|facts| facts.units[0].state = "failed".into()), ["units"]);
        assert_eq!(with(&|facts| facts.units.last_mut().expect("one").state = "active".into()), ["units"]);
        assert_eq!(with(&|facts| facts.units.clear()), ["units"]);
        assert_eq!(with(&|facts| facts.listeners.push(listener("tcp", "0.0.0.0"))), ["open ports"]);
        assert_eq!(with(&|facts| facts.listeners.push(listener("udp", "10.0.0.1"))), ["open ports"]);
        assert_eq!(with(&|facts| facts.listeners.push(listener("tcp", "::1"))), Vec::<String>::new());
        assert_eq!(with(&|facts| facts.exposure.clear()), ["exposure"]);
        let exposed = BTreeMap::from([("muster-bootstrap.service".to_owned(), 21)]);
        assert_eq!(with(&|facts| facts.exposure.clone_from(&exposed)), ["exposure"]);
        assert_eq!(with(&|facts| facts.machine_id = false), ["identity"]);
        let agent = |code| Some(Agent { code, said: "failed: vault".into() });
        assert_eq!(with(&|facts| facts.agent = agent(1)), ["agent"]);
        assert_eq!(with(&|facts| facts.agent = agent(0)), Vec::<String>::new());
    }
}
