//! SIGKILL and power cuts in a boot with everything: the instance is one node of Consul and one of Nomad and was one job of
//! AWX, as if nothing had been.
//!
//! Each seed takes half a minute: a dozen of them are gone through with all other tests. A hundred and more by
//! `cargo test -p muster-bootstrap --test it -- killed:: seeds=0..100`.

use crate::services::Site;
use crate::whole::Whole;
use bootstrap_core::{Condition, spread};
use muster_test_servers::wait_for;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// Those that are gone through where nobody asks for others.
const SEEDS: Range<u64> = 0..12;
/// Boots at once: each has two agents that compute as they start.
const SIDE_BY_SIDE: usize = 2;
/// About as long as a boot takes that nobody disturbs.
const BOOT: Duration = Duration::from_secs(8);

/// Everything that a boot leaves, but for times and for what is another one each time.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    files: BTreeMap<&'static str, String>,
    notes: BTreeMap<String, Option<String>>,
    names: Vec<String>,
    /// In Consul, with their checks.
    services: BTreeSet<String>,
    checks: BTreeSet<String>,
    /// In Nomad.
    pool: Value,
    eligibility: Value,
    /// Of AWX: how many in all, and at once.
    jobs: (usize, usize),
}

/// What differs from node to node: where it is, who it is, and its ports.
fn plain(site: &Site, text: &str) -> String {
    let text = text.replace(&site.node.path().display().to_string(), "PLACE");
    let text = text.replace(site.node.instance.as_str(), "INSTANCE");
    // A fleet has several types.
    let text: Vec<&str> = text.lines().filter(|line| !line.contains("instance_type")).collect();
    let text = text.join("\n");
    let mut plain = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        plain += if digits.len() >= 5 { "PORT" } else { &digits };
        digits.clear();
        plain.push(c);
    }
    plain
}

fn names(directory: &std::path::Path) -> Vec<String> {
    let listed = fs::read_dir(directory).expect("it is there");
    let names = listed.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

fn left(whole: &Whole) -> Left {
    let site = &whole.site;
    let place = site.node.path();
    let files = ["consul.json", "nomad.json", "node_exporter.env", "run/ready"];
    let files = files.into_iter().map(|name| {
        let text = fs::read_to_string(place.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        // What is on tmpfs is somewhere else for each.
        let text = text.replace(&whole.secrets().display().to_string(), "SECRETS");
        (name, plain(site, &text))
    });
    let state = place.join("state").join(site.node.instance.as_str());
    let notes = names(&state).into_iter().map(|name| {
        let line = fs::read_to_string(state.join(&name)).expect("a line");
        let line: Value = serde_json::from_str(&line).expect("a line");
        assert_eq!(line["phase"], "done", "{name}: {line}");
        let inputs = line["inputs"].as_str().filter(|inputs| !inputs.is_empty()).unwrap_or("nothing");
        // Since when it has been ready is another time.
        let note = line["note"].as_str().filter(|_| name != "ready.json");
        let note = note.map(|note| note.replace(inputs, "INPUTS"));
        (name, note)
    });
    let in_consul = site.ask_consul("/v1/catalog/nodes");
    let ours = in_consul.as_array().expect("a list").iter();
    let ours = ours.filter(|node| node["Node"] == site.node.instance.as_str()).count();
    assert_eq!(ours, 1, "an instance is one node of Consul: {in_consul}");
    let services = site.ask_consul(&format!("/v1/catalog/node/{}", site.node.instance));
    let services =
        services["Services"].as_object().expect("services").keys().map(|id| plain(site, id)).collect();
    let checks = site.ask_consul(&format!("/v1/health/node/{}", site.node.instance));
    let checks = checks.as_array().expect("a list").iter();
    let checks = checks.map(|check| plain(site, check["CheckID"].as_str().expect("an id"))).collect();
    let node = site.nomad_node().expect("an instance is a node of Nomad");
    let jobs = {
        let state = whole.awx.state();
        (state.jobs.len(), state.most_at_once)
    };
    Left {
        files: files.collect(),
        notes: notes.collect(),
        names: names(&place.join("run")),
        services,
        checks,
        pool: node["NodePool"].clone(),
        eligibility: node["SchedulingEligibility"].clone(),
        jobs,
    }
}

/// Lets a boot end. * returns: what it has left.
fn ended(whole: &mut Whole) -> Left {
    let site = &mut whole.site;
    site.node.start();
    let status = site.node.wait_done();
    assert_eq!(status.report.condition, Condition::Done);
    // The servers hear of it a moment later.
    wait_for("the node in its pool", || {
        site.nomad_node().filter(|node| node["NodePool"] == "default" && node["Status"] == "ready")
    });
    wait_for("Consul to call it good", || {
        let path = format!("/v1/health/node/{}", site.node.instance);
        let checks = site.ask_consul(&path);
        checks.as_array()?.iter().all(|check| check["Status"] == "passing").then_some(())
    });
    left(whole)
}

/// Kills a boot at moments of the seed, and lets the last one end. * `number`: of its instance beside the undisturbed one's.
fn disturbed(servers: &Whole, seed: u64, number: u64) -> Left {
    let number = usize::try_from(number).expect("small") + 1;
    let mut whole = servers.beside(number);
    let chance = |of: u64, number: u64| spread(Duration::from_millis(of), seed, number).as_millis();
    for kill in 0..=u64::try_from(chance(2, 0)).expect("few") {
        whole.site.node.start();
        thread::sleep(spread(BOOT, seed, 10 + kill));
        if chance(3, 100 + kill) == 0 {
            whole.power_cut();
        } else {
            whole.site.node.kill();
        }
    }
    ended(&mut whole)
}

/// What was asked for, as another filter of tests that fits none: `seeds=12..100`.
fn seeds() -> Range<u64> {
    let asked = std::env::args().find_map(|word| word.strip_prefix("seeds=").map(str::to_owned));
    asked.map_or(SEEDS, |asked| {
        let (first, end) = asked.split_once("..").expect("seeds=FIRST..END");
        first.parse().expect("a seed")..end.parse().expect("a seed")
    })
}

/// Which seeds ended well is said for whoever asks for others.
#[expect(clippy::print_stdout, reason = "the figures are shown")]
#[test]
fn an_instance_whose_agent_is_killed_anywhere_is_one_node_of_consul_one_of_nomad_and_one_job_of_awx() {
    let asked = seeds();
    let mut whole = Whole::start(u32::try_from(asked.end - asked.start).expect("few") + 1);
    let undisturbed = ended(&mut whole);
    assert_eq!(undisturbed.notes["nomad.json"].as_deref(), Some("own"));
    assert_eq!(undisturbed.jobs, (1, 1));
    let seeds = Mutex::new(asked.clone());
    let next = || seeds.lock().expect("whole").next();
    let failed: Vec<u64> = thread::scope(|scope| {
        let worker = || {
            let mut failed = Vec::new();
            while let Some(seed) = next() {
                let well = catch_unwind(AssertUnwindSafe(|| {
                    assert_eq!(disturbed(&whole, seed, seed - asked.start), undisturbed, "seed {seed}");
                }));
                failed.extend(well.is_err().then_some(seed));
            }
            failed
        };
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it is caught")).collect()
    });
    assert!(failed.is_empty(), "seeds that ended otherwise: {failed:?}");
    println!("seeds {asked:?}: each ended as the boot that nobody disturbed");
}
