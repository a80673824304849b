//! SIGKILL and power cuts in a boot with everything: the instance is one node of Consul and one of Nomad and was one job of
//! AWX, as if nothing had been; and however often it was started, it has asked nobody for more than once a start.
//!
//! Each seed has two kills: one inside the work of a step, and one once a step has ended, before what comes after it is. Which
//! steps they are is the seed's: in nine in a row each step is hit both ways. Where a kill hit is read off what the agent has
//! left, its lines and its log.
//!
//! Each seed takes a quarter of a minute: a dozen of them are gone through with all other tests. A hundred in ten minutes, and
//! where their kills hit, by `cargo test -p muster-bootstrap --test it -- killed:: --nocapture seeds=0..100`.

use crate::ground;
use crate::services::Site;
use crate::whole::Whole;
use bootstrap_core::{Condition, Step, spread};
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use muster_test_servers::wait_for;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// Those that are gone through where nobody asks for others.
const SEEDS: Range<u64> = 0..12;
/// Boots at once: each has two agents that compute as they start.
const SIDE_BY_SIDE: usize = 2;
/// How often a step is aimed at: a short one may have ended before the signal comes.
const SHOTS: u64 = 20;
/// How often it is looked whether the moment has come: a step may take a few milliseconds.
const LOOK: Duration = Duration::from_micros(200);
/// So long it is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

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
    let notes = ground::whole(&state).into_iter().map(|name| {
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
        names: ground::whole(&place.join("run")),
        services,
        checks,
        pool: node["NodePool"].clone(),
        eligibility: node["SchedulingEligibility"].clone(),
        jobs,
    }
}

/// Where Vault writes down who has asked it for what.
fn audit(whole: &Whole) -> PathBuf {
    whole.vault().directory().join("audit.log")
}

/// How often an instance has got a token of Vault.
fn logins(whole: &Whole) -> usize {
    let text = fs::read_to_string(audit(whole)).expect("it is written");
    let ours = format!("/{}", whole.site.node.instance);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let logins =
        lines.filter(|line| line["type"] == "response" && line["request"]["path"] == "auth/aws/login");
    logins
        .filter(|line| line["auth"]["display_name"].as_str().is_some_and(|name| name.ends_with(&ours)))
        .count()
}

/// Of what may be done again, no start does it twice. * `starts`: how often the agent was started.
fn must_be_once_a_start(whole: &Whole, starts: usize) {
    let mut times = BTreeMap::<String, usize>::new();
    for done in whole.site.node.units.done() {
        *times.entry(done).or_default() += 1;
    }
    for (what, times) in &times {
        // To be proved, and to work.
        let most = if what == "restart nomad.service" { 2 * starts } else { starts };
        let is_of_a_boot = what.starts_with("restart ") || what.starts_with("stop ");
        assert!(is_of_a_boot && *times <= most, "{what} {times} times in {starts} starts");
    }
    let logins = logins(whole);
    assert!((1..=starts).contains(&logins), "{logins} logins in {starts} starts");
    let asked = whole.awx.state().callbacks;
    assert!(asked <= starts, "{asked} questions to AWX in {starts} starts");
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
    // And Consul's of what the node's agent has: what they have not heard of is not critical either.
    wait_for("Consul's servers to have what its agent has", || {
        let ids =
            |services: &Value| services.as_object().map(|all| all.keys().cloned().collect::<BTreeSet<_>>());
        let own = ids(&site.own_consul("GET", "/v1/agent/services"))?;
        let path = format!("/v1/catalog/node/{}", site.node.instance);
        (ids(&site.ask_consul(&path)["Services"])? == own).then_some(())
    });
    wait_for("Consul to call it good", || {
        let path = format!("/v1/health/node/{}", site.node.instance);
        let checks = site.ask_consul(&path);
        let checks = checks.as_array()?;
        // Consul's own check of a node comes by itself, when its leader next compares its members with its catalogue.
        let is_member = checks.iter().any(|check| check["CheckID"] == "serfHealth");
        (is_member && checks.iter().all(|check| check["Status"] == "passing")).then_some(())
    });
    left(whole)
}

/// Where in a step a kill hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// It had not begun.
    Before,
    /// It was looked at, or made so: what it has begun may be done or not.
    Inside,
    /// It was done, and on disk.
    After,
}

/// How often kills hit a step where.
type Hits = BTreeMap<(Step, Phase), u32>;

/// How long what is made of a step takes at least, about; `None`: it is looked at alone, or made at once.
const fn takes(step: Step) -> Option<Duration> {
    match step {
        Step::Identity | Step::Time | Step::Configuration | Step::Ready => None,
        Step::Vault => Some(Duration::from_millis(20)),
        Step::Awx | Step::Monitoring => Some(Duration::from_millis(200)),
        Step::Consul | Step::Nomad => Some(Duration::from_secs(1)),
    }
}

/// What the work on steps has come to in one process of the agent, by its log.
struct Log {
    file: File,
    /// A line that is not whole yet.
    rest: Vec<u8>,
    began: BTreeMap<Step, u32>,
    ended: BTreeMap<Step, u32>,
    /// Those that were not only looked at.
    made: BTreeSet<Step>,
}

impl Log {
    /// From here on. What an earlier process has left is none of it.
    fn from_now(site: &Site) -> Self {
        let path = site.node.path().join("agent.log");
        let mut file = File::options().create(true).append(true).read(true).open(path).expect("a log");
        file.seek(SeekFrom::End(0)).expect("a file");
        let (began, ended) = (BTreeMap::new(), BTreeMap::new());
        Self { file, rest: Vec::new(), began, ended, made: BTreeSet::new() }
    }

    fn read(&mut self) {
        // A kill, and a look, may come in the middle of a character.
        self.file.read_to_end(&mut self.rest).expect("read");
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        let lines = String::from_utf8_lossy(&lines);
        for (_, said) in lines.lines().filter_map(|line| line.split_once(": work on a step ")) {
            let mut words = said.split(' ');
            let what = words.next();
            let step =
                words.next().and_then(|word| Step::named(word.strip_prefix("step=")?)).expect("a step");
            *if what == Some("began") { &mut self.began } else { &mut self.ended }
                .entry(step)
                .or_default() += 1;
            if words.next() == Some("work=Apply") {
                self.made.insert(step);
            }
        }
    }

    fn has_begun(&self, step: Step) -> bool {
        self.began.contains_key(&step)
    }
    fn is_under_way(&self, step: Step) -> bool {
        self.began.get(&step) > self.ended.get(&step)
    }
    /// It was begun, and nobody is at it.
    fn rests(&self, step: Step) -> bool {
        self.has_begun(step) && !self.is_under_way(step)
    }
}

/// A step's line.
fn line(site: &Site, step: Step) -> PathBuf {
    site.node.path().join("state").join(site.node.instance.as_str()).join(format!("{step}.json"))
}

/// The phase of a step's line on disk.
fn on_disk(site: &Site, step: Step) -> Option<String> {
    let text = fs::read_to_string(line(site, step)).ok()?;
    let line: Value = serde_json::from_str(&text).expect("a line is whole");
    line["phase"].as_str().map(str::to_owned)
}

/// Where a kill has hit each step.
fn hit(site: &Site, log: &mut Log) -> BTreeMap<Step, Phase> {
    log.read();
    let of = |step: Step| match on_disk(site, step).as_deref() {
        _ if log.is_under_way(step) => Phase::Inside,
        Some("done") => Phase::After,
        // Its intent is on disk, or what it has ended with is not.
        Some(_) => Phase::Inside,
        None if log.has_begun(step) => Phase::Inside,
        None => Phase::Before,
    };
    Step::ALL.into_iter().map(|step| (step, of(step))).collect()
}

/// Starts the agent and kills it at a moment of a step. * returns: where that hit each one.
fn shoot(whole: &mut Whole, step: Step, wanted: Phase, delay: Duration) -> BTreeMap<Step, Phase> {
    let clock = SystemClock::new();
    let site = &mut whole.site;
    let mut log = Log::from_now(site);
    site.node.start();
    let until = clock.monotonic() + PATIENCE;
    let is_reached = |log: &Log| match wanted {
        Phase::After => log.rests(step) && on_disk(site, step).as_deref() == Some("done"),
        // What stands already is looked at only.
        _ if takes(step).is_some() => log.made.contains(&step) || log.has_begun(Step::Ready),
        _ => log.has_begun(step),
    };
    loop {
        log.read();
        if is_reached(&log) {
            break;
        }
        assert!(clock.monotonic() < until, "{step} was not reached: {:?}, {:?}", log.began, log.ended);
        thread::sleep(LOOK);
    }
    thread::sleep(delay);
    whole.site.node.kill();
    hit(&whole.site, &mut log)
}

/// Kills a boot inside one step and after another, and lets the last one end.
///
/// * `number`: of its instance beside the undisturbed one's.
fn disturbed(servers: &Whole, seed: u64, number: u64, hits: &Mutex<Hits>) -> Left {
    let number = usize::try_from(number).expect("small") + 1;
    let mut whole = servers.beside(number);
    let chance = |of: u64, number: u64| spread(Duration::from_millis(of), seed, number).as_millis();
    let steps = Step::ALL.len();
    let inside = Step::ALL[usize::try_from(seed).expect("small") % steps];
    let after = Step::ALL[(usize::try_from(seed).expect("small") + 5) % steps];
    // A job that has ended is not asked for again: it runs until it is hit.
    if inside == Step::Awx {
        whole.awx.state().ends_as = "";
    }
    let mut starts = 1;
    for (step, wanted) in [(inside, Phase::Inside), (after, Phase::After)] {
        for shot in 0..SHOTS {
            starts += 1;
            let within = takes(step).filter(|_| wanted == Phase::Inside && shot == 0);
            let delay = within.map_or(Duration::ZERO, |within| spread(within, seed, 10));
            let hit = shoot(&mut whole, step, wanted, delay);
            let is_hit = hit[&step] == wanted;
            let mut hits = hits.lock().expect("whole");
            for at in hit {
                *hits.entry(at).or_default() += 1;
            }
            drop(hits);
            if !is_hit || chance(3, 100 + shot) == 0 {
                whole.power_cut();
            }
            if !is_hit && takes(step).is_none() {
                // As an operator does by `reset`. What else was made is in memory, or stands again, and is made again.
                let _ = fs::remove_file(line(&whole.site, step));
            }
            if is_hit {
                break;
            }
        }
        whole.awx.state().ends_as = "successful";
        if !whole.awx.state().jobs.is_empty() {
            whole.awx.end("successful", "");
        }
    }
    let left = ended(&mut whole);
    must_be_once_a_start(&whole, starts);
    left
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
    let to_file = json!({"type": "file", "options": {"file_path": audit(&whole)}});
    whole.vault().call("PUT", "sys/audit/file", &to_file);
    let undisturbed = ended(&mut whole);
    must_be_once_a_start(&whole, 1);
    assert_eq!(undisturbed.notes["nomad.json"].as_deref(), Some("own"));
    assert_eq!(undisturbed.jobs, (1, 1));
    let (seeds, hits) = (Mutex::new(asked.clone()), Mutex::new(Hits::new()));
    let next = || seeds.lock().expect("whole").next();
    let failed: Vec<u64> = thread::scope(|scope| {
        let worker = || {
            let mut failed = Vec::new();
            while let Some(seed) = next() {
                let well = catch_unwind(AssertUnwindSafe(|| {
                    assert_eq!(
                        disturbed(&whole, seed, seed - asked.start, &hits),
                        undisturbed,
                        "seed {seed}"
                    );
                }));
                failed.extend(well.is_err().then_some(seed));
            }
            failed
        };
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it is caught")).collect()
    });
    assert!(failed.is_empty(), "seeds that ended otherwise: {failed:?}");
    let hits = hits.into_inner().expect("whole");
    let of = |step: Step, phase: Phase| hits.get(&(step, phase)).copied().unwrap_or_default();
    for step in Step::ALL {
        let [before, inside, after] =
            [Phase::Before, Phase::Inside, Phase::After].map(|phase| of(step, phase));
        println!("{step}: killed {before} times before, {inside} inside, {after} after");
        if asked.end - asked.start >= u64::try_from(Step::ALL.len()).expect("few") {
            assert!(inside > 0 && after > 0, "{step} was not hit: {hits:?}");
        }
    }
    println!("seeds {asked:?}: each ended as the boot that nobody disturbed");
}
