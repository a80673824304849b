//! A new image reaches a running fleet through the real program: on the loopback cloud, of either service, and on real
//! Nomad under a service that somebody asks all the time.
#![expect(clippy::print_stdout, reason = "the figures are shown")]

use fleet::ports::Clock as _;
use fleet::{AlarmState, InstanceId, Timestamp};
use fleet_clock::SystemClock;
use muster_test_servers::{Consul, ConsulOptions, NomadOptions, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tests::account;
use tests::ground::{self, Cloud, Daemon, Site};
use tests::programs::{Running, autoscaler, image, run};
use tests::web::{Asker, healthy, web};

const NODES: u32 = 3;
/// How many there are of the service: more than one on a node.
const COUNT: usize = 4;
const IMAGE: &str = "ami-0fedcba9876543210";
/// What the pipeline had published before, in that order.
const BEFORE: [&str; 2] = ["ami-0aaaaaaaaaaaaaaaa", "ami-0bbbbbbbbbbbbbbbb"];

/// How long the first node is watched before the others follow.
const WATCHED: Duration = Duration::from_secs(10);

/// Of a policy: a roll-out whose first node is watched.
fn first_watched() -> String {
    let watched = format!("    canary = \"30%\"\n    canary_for = \"{}s\"\n", WATCHED.as_secs());
    format!("  rollout {{\n{watched}    ready_within = \"5m\"\n  }}\n")
}

/// The site's policy with that.
fn policy(site: &Site) -> String {
    let policy = site.policy(NODES);
    let policy = policy.strip_suffix("}\n").expect("it ends with the fleet");
    format!("{policy}{}}}\n", first_watched())
}

/// `muster-autoscaler rollout …` as an operator types it: (exit code, standard output, standard error).
fn rollout(daemon: &Daemon, arguments: &[&str]) -> (i32, String, String) {
    rollout_at(daemon.address(), arguments)
}

fn rollout_at(address: SocketAddr, arguments: &[&str]) -> (i32, String, String) {
    let address = format!("http://{address}");
    run([&["rollout"], arguments, &["--address", &address]].concat())
}

/// How far it is, as the command says.
fn progress(daemon: &Daemon) -> Value {
    let (code, out, err) = rollout(daemon, &["status", "web", "--format", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let all: Value = serde_json::from_str(&out).expect("it is JSON");
    all[0].clone()
}

/// What `explain` says of the last decision, once it says these words.
fn explained(daemon: &Daemon, words: &str) {
    let address = format!("http://{}", daemon.address());
    wait_for(words, || {
        let (code, out, err) = run(["explain", "web", "--address", &address]);
        assert_eq!(code, 0, "{err}");
        out.contains(words).then_some(())
    });
}

/// Since when the first node is watched, once it is, and `explain` says so as well.
fn watched(daemon: &Daemon) -> Timestamp {
    let since = wait_for("the first node to be watched", || {
        let status = progress(daemon);
        assert!(status["done"].as_u64().is_some_and(|done| done <= 1), "the others wait: {status}");
        let since = &status["rollout"]["stage"]["watched"]["since"];
        (!since.is_null()).then(|| since.clone())
    });
    explained(daemon, "rolls out to version 2: 1 of 3 instances run it, the first are watched since");
    serde_json::from_value(since).expect("a time")
}

/// The version that each living instance was launched from, by the tag that EC2 puts on it.
fn versions(cloud: &Cloud) -> Vec<(InstanceId, String)> {
    let fleet = cloud.fleet().clone();
    let shown = cloud.world().describe_instances("judge", &[fleet], &[]).expect("they are shown");
    let living = cloud.living();
    let living = shown.into_iter().filter(|instance| living.contains(&instance.id));
    living.map(|i| (i.id, i.tags.get("aws:ec2launchtemplate:version").cloned().unwrap_or_default())).collect()
}

#[test]
fn who_asks_a_service_all_the_time_sees_nothing_of_a_roll_out_that_replaces_every_node() {
    let consul = Consul::start(&ConsulOptions::default());
    let at = consul.agent().address;
    let nomad = NomadOptions { consul: Some(consul.agent()), ..NomadOptions::default() };
    let mut site = Site::start(NODES, NODES, nomad, Some(&consul));
    site.write("web.hcl", &policy(&site));
    site.nomad.register(&web(COUNT));
    wait_for("the service to be healthy", || (healthy(at).len() == COUNT).then_some(()));
    let mut daemon = site.daemon("state", &[]);
    wait_for("a first decision", || daemon.get("/v1/ready"));
    site.cloud.put_image(IMAGE, false);
    let asker = Asker::start(at);
    let old = site.cloud.living();

    let start = ["start", "web", "--image", IMAGE, "--by", "jo", "--reason", "kernel fix"];
    let (code, _, err) = rollout(&daemon, &start);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("from version 1 of lt-0123456789abcdef0 to 2"), "{err}");
    let (code, _, err) = rollout(&daemon, &start);
    assert_eq!(code, 64, "one at a time: {err}");
    assert!(err.contains("is being rolled out already"), "{err}");

    let mut nodes = old.clone();
    let mut left = old.clone();
    let mut until = None;
    while !left.is_empty() {
        let new = wait_for("another in the place of an old one", || {
            site.cloud.living().into_iter().find(|instance| !nodes.contains(instance))
        });
        if let Some(until) = until.take() {
            assert!(SystemClock::new().wall() >= until, "the others follow when the first was watched");
            explained(&daemon, "the others are replaced");
        }
        // Describes lag.
        let version = wait_for("its version to be shown", || {
            versions(&site.cloud).into_iter().find(|(id, _)| *id == new).map(|(_, version)| version)
        });
        assert_eq!(version, "2");
        nodes.push(new.clone());
        assert!(
            left.iter().all(|one| site.cloud.living().contains(one)),
            "nobody goes before another is ready"
        );
        site.add_node(&new, Some(&consul));
        let gone = wait_for("an old one to be gone", || {
            let living = site.cloud.living();
            left.iter().find(|instance| !living.contains(instance)).cloned()
        });
        assert!(site.left("web", &gone).is_some() || !site.places("web").contains(&gone.to_string()));
        if left.len() == old.len() {
            until = Some(watched(&daemon) + WATCHED);
        }
        // A machine that is gone takes its agent along.
        site.nomad.kill_client(gone.as_str());
        left.retain(|instance| *instance != gone);
        // The next one may have been asked for already, and no more than that.
        let living = site.cloud.living().len();
        assert!((NODES..=NODES + 1).contains(&u32::try_from(living).expect("few")), "{living}");
    }
    wait_for("the service to be whole", || (healthy(at).len() == COUNT).then_some(()));
    let asked = asker.end();

    let status = wait_for("the last one to be counted", || {
        Some(progress(&daemon)).filter(|status| status["done"] == NODES && status["of"] == NODES)
    });
    assert_eq!(status["rollout"]["image"], IMAGE, "{status}");
    assert_eq!((status["rollout"]["entered"].as_u64(), status["rollout"]["to"].as_u64()), (Some(3), Some(2)));
    assert!(versions(&site.cloud).iter().all(|(_, version)| version == "2"), "{:?}", versions(&site.cloud));
    assert_eq!(site.cloud.target(), NODES);
    println!("{asked} requests while {NODES} nodes were replaced, none failed");
    assert_eq!(daemon.began("terminate"), 3, "each once");
    daemon.stop();
}

/// A program as the pipeline calls it, which finds the cloud and the autoscaler by its environment. * returns: its exit
/// code, and what it said on standard output; what else it says is shown.
fn as_the_pipeline(
    cloud: &Cloud,
    address: SocketAddr,
    program: &str,
    words: &[&str],
) -> (Option<i32>, String) {
    let programs = Path::new(image().get_program()).parent().expect("a directory").to_owned();
    let output = Command::new(program)
        .args(words)
        .env_clear()
        .env("PATH", format!("{}:{}", programs.display(), tests::image::PATH))
        .env("MUSTER_ADDRESS", format!("http://{address}"))
        .envs(account::environment(cloud.endpoint()))
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn json_of(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The program for a fleet without Nomad. * `more`: of its policy. * returns: it, where it listens, and its directory.
fn sizes(cloud: &Cloud, more: &str) -> (Running, SocketAddr, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let policy = format!(
        "fleet \"web\" {{\n  id = \"{}\"\n  region = \"eu-west-1\"\n  boot = \"5s\"\n  \
         workload {{\n    kind = \"spreads\"\n  }}\n{more}}}\n",
        cloud.fleet()
    );
    std::fs::write(directory.path().join("web.hcl"), policy).expect("a file");
    let mut command = autoscaler();
    command.args(["run", "--policy", "web.hcl", "--listen", "127.0.0.1:0", "--state", "state"]);
    command.args(["--log-format", "json", "--region", "eu-west-1", "--endpoint", &cloud.endpoint()]);
    command.env("AWS_ACCESS_KEY_ID", "muster").env("AWS_SECRET_ACCESS_KEY", "muster-secret");
    let mut running = Running::start(command.current_dir(directory.path()));
    let address = running.address();
    wait_for("a first decision", || ground::get(address, "/v1/ready"));
    (running, address, directory)
}

#[test]
fn an_ec2_fleet_is_rolled_out_as_a_spot_fleet_is() {
    // One that is watched, and one that follows.
    const ALL: u32 = 2;
    let cloud = Cloud::start_ec2_fleet(ALL, 0.5);
    let capacity = format!("  capacity {{\n    min = {ALL}\n  }}\n");
    let (running, address, _directory) = sizes(&cloud, &(capacity + &first_watched()));
    cloud.put_image(IMAGE, false);
    let (code, _, err) =
        rollout_at(address, &["start", "web", "--image", IMAGE, "--by", "jo", "--reason", "kernel fix"]);
    assert_eq!(code, 0, "{err}");
    let old = cloud.living();
    wait_for("every instance to be another", || {
        let living = cloud.living();
        assert!((ALL..=ALL + 1).contains(&u32::try_from(living.len()).expect("few")), "{living:?}");
        old.iter().all(|one| !living.contains(one)).then_some(())
    });
    wait_for("the last one to be counted", || {
        let said = rollout_at(address, &["status", "web", "--format", "json"]).1;
        let said: Value = serde_json::from_str(&said).expect("it is JSON");
        (said[0]["done"] == ALL && said[0]["of"] == ALL).then_some(())
    });
    assert!(versions(&cloud).iter().all(|(_, version)| version == "2"), "{:?}", versions(&cloud));
    assert_eq!(cloud.target(), ALL);
    running.signal("TERM");
    assert!(running.end().0.success());
}

#[test]
fn what_speaks_against_a_roll_out_is_told_before_it_begins_an_alarm_halts_it_and_the_pipeline_takes_it_back()
{
    const ALARM: &str = "web-5xx";
    let cloud = Cloud::start(NODES, 0.5);
    let (running, address, directory) =
        sizes(&cloud, &format!("  rollout {{\n    alarms = [\"{ALARM}\"]\n  }}\n"));

    let start = |image: &str| {
        rollout_at(address, &["start", "web", "--image", image, "--by", "jo", "--reason", "kernel fix"])
    };
    let refused = |image: &str, says: &str| {
        let (code, _, err) = start(image);
        assert_eq!(code, 64, "{err}");
        assert!(err.contains(says), "{err}");
    };
    refused(IMAGE, "no alarm of CloudWatch in eu-west-1 is called web-5xx");
    cloud.world().set_alarm(ALARM, AlarmState::Alarm, true);
    refused(IMAGE, "alarm web-5xx is off since ");
    cloud.world().set_alarm(ALARM, AlarmState::Ok, true);
    refused(IMAGE, "image ami-0fedcba9876543210 does not exist in eu-west-1");
    cloud.put_image(IMAGE, true);
    refused(IMAGE, "is of arm64, and the fleet launches ");
    assert!(rollout_at(address, &["status", "web"]).1.contains("nothing was rolled out yet"));
    cloud.put_image(IMAGE, false);
    let (code, _, err) = start(IMAGE);
    assert_eq!(code, 0, "{err}");

    let status = || rollout_at(address, &["status", "web"]).1;
    wait_for("the alarm to be read", || status().contains("web-5xx OK; read ").then_some(()));
    cloud.world().set_alarm(ALARM, AlarmState::Alarm, true);
    let said = wait_for("the halt", || Some(status()).filter(|said| said.contains("halted")));
    assert!(said.contains("alarm web-5xx is off since "), "{said}");
    assert!(said.contains("web-5xx ALARM; read "), "{said}");

    // The pipeline that began it sees that, and takes back what it did: the roll-out, and the channel.
    for image in BEFORE {
        cloud.put_image(image, false);
    }
    let pipeline = |program: &str, words: &[&str]| as_the_pipeline(&cloud, address, program, words);
    for image in [BEFORE[0], BEFORE[1], IMAGE] {
        assert_eq!(pipeline("muster-image", &["publish", "--unverified", "--image", image]).0, Some(0));
    }
    let manifest = directory.path().join("image.json");
    std::fs::write(&manifest, json!({ "ami": IMAGE }).to_string()).expect("a file");
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/jenkins");
    let (code, said) = pipeline(&format!("{scripts}/watch"), &["web", "0s"]);
    assert_eq!(code, Some(65), "{said}");
    let take_back = ["web", manifest.to_str().expect("a path in UTF-8")];
    // Done twice, it is done once.
    for _ in 0..2 {
        let (code, said) = pipeline(&format!("{scripts}/take-back"), &take_back);
        assert_eq!(code, Some(0), "{said}");
        let (_, told) = pipeline("muster-autoscaler", &["rollout", "status", "web", "--format", "json"]);
        assert_eq!(json_of(&told)[0]["rollout"]["course"], "back", "{told}");
        let (_, told) = pipeline("muster-image", &["channels", "canary", "--format", "json"]);
        assert_eq!(json_of(&told)[0]["image"], BEFORE[1], "{told}");
    }
    running.signal("TERM");
    assert!(running.end().0.success());
}
