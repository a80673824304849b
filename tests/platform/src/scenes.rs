//! What happens on the platform, one after the other.

use crate::disks::Disks;
use crate::load::{Load, Names, Tally};
use crate::machines::Machines;
use crate::pipeline::Pipeline;
use crate::site::Site;
use crate::timeline::Timeline;
use crate::work;
use fleet::InstanceId;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tests::ground::Cloud;

/// Requests a second: what two machines do with ease, and what they cannot do.
const QUIET: f64 = 1.0;
const BUSY: f64 = 20.0;
/// How long it is quiet before that.
const USUAL: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(900);
/// Who waits that long wants to know why, and again after as long.
const LONG: Duration = Duration::from_secs(45);

/// Everything that runs.
pub struct Platform {
    pub machines: Machines,
    pub site: Arc<Site>,
    pub cloud: Arc<Cloud>,
    pub timeline: Timeline,
    /// Where the service is, by Consul's DNS.
    pub names: Arc<Names>,
    /// What the service is made of.
    pub image: String,
    /// `muster-autoscaler`.
    pub autoscaler: PathBuf,
    /// `muster-image`.
    pub imager: PathBuf,
    /// The file of the operators' token.
    pub operators: PathBuf,
    /// The root file system of the image that the fleet begins with.
    pub root: PathBuf,
    /// What images are made of.
    pub disks: Arc<Disks>,
}

impl Platform {
    /// From an empty account to its end.
    pub fn play(&self) {
        let Self { site, timeline, .. } = self;
        self.wait("the autoscaler to lead", || tests::job::leader(&site.consul));
        // Both at once: work that is placed on the first one alone stays there.
        self.wait("two machines that are ready", || (timeline.boots().len() == 2).then_some(()));
        site.nomad.register(&work::web(&self.image));
        self.wait("the service on two machines", || (self.names.healthy().len() == 2).then_some(()));
        let load = Load::start(&self.names, QUIET, timeline);
        // Nothing waits for anything that it does not need: machines are given back late, and what else happens to the fleet happens
        // meanwhile. What AWX mends is load that a fleet of two would buy for, so that is first.
        let drifting = self.machines.running().first().expect("two run").clone();
        let pipeline = thread::scope(|scope| {
            let drifted = scope.spawn(|| self.drifts(&drifting));
            self.grows(&load);
            load.set(QUIET);
            self.timeline.say("one request a second");
            let less = self.timeline.now();
            let rotated = scope.spawn(|| self.secret_is_rotated());
            self.is_updated(&load);
            joined(rotated);
            let pipeline = scope.spawn(|| self.image_is_made());
            self.is_interrupted(&load, &drifting);
            joined(drifted);
            self.shrinks(&load, less);
            joined(pipeline)
        });
        self.is_rolled_out(&pipeline, &load);
        pipeline.watch(self.leader());
        pipeline.promote(self.leader());
        timeline.say("the image is well, and in stable");
        self.shows();
        let tally = self.tally(&load);
        self.timeline.measured("requests", tally.asked.to_string());
        self.timeline.measured("of them failed", tally.failed.len().to_string());
        assert!(
            tally.failed.is_empty(),
            "{} of {} failed: {:?}",
            tally.failed.len(),
            tally.asked,
            tally.failed
        );
        timeline.say("all of it has happened");
    }

    fn grows(&self, load: &Load) {
        // What a fleet sees first it takes for what is usual, for minutes: that is not to be a burst.
        let quiet = self.timeline.now();
        self.wait("half a minute of the usual load", || {
            (self.timeline.now().saturating_sub(quiet) >= USUAL).then_some(())
        });
        load.set(BUSY);
        self.timeline.say("twenty requests a second");
        let begun = self.timeline.now();
        self.wait("a third machine", || (self.machines.running().len() >= 3).then_some(()));
        self.measured("more load until a third machine is launched", begun);
        self.wait("the service on three", || (self.names.healthy().len() >= 3).then_some(()));
        self.measured("more load until three serve it", begun);
        self.tally(load);
    }

    fn shrinks(&self, load: &Load, begun: Duration) {
        self.wait("two machines again", || (self.machines.running().len() == 2).then_some(()));
        self.measured("less load, and an interruption, until two machines are left", begun);
        self.tally(load);
    }

    /// A machine that has work is taken, and not the one that has something else to see to.
    fn is_interrupted(&self, load: &Load, busy: &InstanceId) {
        let running = self.machines.running();
        let victim = self.wait("a machine that has work", || {
            let works = self.nodes_of("web");
            running.iter().find(|id| *id != busy && works.contains(&id.to_string())).cloned()
        });
        self.cloud.interrupt(&victim);
        self.timeline.say(&format!("{victim} is interrupted: it goes in two minutes"));
        let begun = self.timeline.now();
        self.wait("another machine", || {
            self.machines.running().iter().any(|id| !running.contains(id)).then_some(())
        });
        self.measured("notice until a replacement is switched on", begun);
        self.wait("no work on it", || {
            self.keeps_its_client(&victim);
            (!self.nodes_of("web").contains(&victim.to_string())).then_some(())
        });
        self.measured("notice until the machine is empty (it has 120 s)", begun);
        self.wait("it to be gone", || self.machines.of(&victim).is_none().then_some(()));
        self.serves_everywhere();
        self.tally(load);
    }

    /// The autoscaler has confirmed what the agent told it: so the agent has its client stay, which it would have had leave
    /// otherwise.
    fn keeps_its_client(&self, victim: &InstanceId) {
        let Some(machine) = self.machines.of(victim) else { return };
        let state = machine.run(&["systemctl", "show", "--value", "--property=ActiveState", "nomad.service"]);
        // One that is switched off just now says nothing.
        if let Ok(state) = state {
            assert_eq!(state, "active", "{victim} was left to itself");
        }
    }

    /// Each machine has one of the service: of two at least. A machine that was busy with its own affairs may have led to more.
    fn serves_everywhere(&self) {
        self.wait("the service on every machine", || {
            let (machines, serve) = (self.machines.running().len(), self.names.healthy().len());
            (machines >= 2 && machines == serve).then_some(())
        });
    }

    fn is_updated(&self, load: &Load) {
        let image = self.site.push("2");
        let before = self.site.nomad.call("GET", "/v1/job/web", &Value::Null)["Version"].as_u64();
        self.site.nomad.register(&work::web(&image));
        self.timeline.say("the service is updated");
        let begun = self.timeline.now();
        self.wait("a successful deployment", || {
            let all = self.site.nomad.call("GET", "/v1/job/web/deployments", &Value::Null);
            let newest = all.as_array()?.iter().max_by_key(|one| one["JobVersion"].as_u64())?;
            assert_ne!(newest["Status"], "failed", "{newest}");
            (newest["Status"] == "successful" && newest["JobVersion"].as_u64() > before).then_some(())
        });
        self.measured("an update of the service", begun);
        self.tally(load);
    }

    /// The root file system is proved, Packer makes an AMI, and that is in canary.
    fn image_is_made(&self) -> Pipeline {
        let site = tests::image::site(&self.root);
        let operators = Some(self.operators.as_path());
        let pipeline = Pipeline::new(&self.cloud, self.imager.clone(), &site, operators, &self.timeline);
        let begun = self.timeline.now();
        pipeline.verify(&self.root);
        self.measured("a root file system until it is verified", begun);
        let begun = self.timeline.now();
        let next = pipeline.bake_node();
        self.measured("a bake by Packer and Ansible on a machine", begun);
        // What was made on a machine, too, and not what stands for it alone.
        let disk = self.disks.of(&next).unwrap_or_else(|error| panic!("{error}"));
        pipeline.verify_baked(&disk.root());
        drop(disk);
        pipeline.publish();
        self.timeline.say(&format!("Packer has made {next}, and it is in canary"));
        pipeline
    }

    fn is_rolled_out(&self, pipeline: &Pipeline, load: &Load) {
        let old = self.machines.running();
        let begun = self.timeline.now();
        let leader = self.leader();
        thread::scope(|scope| {
            // It ends when nothing has been left to do for a while.
            let ordered = scope.spawn(|| pipeline.roll_out(leader));
            self.timeline.say("the image in canary is rolled out");
            self.wait("every machine to be new", || {
                let running = self.machines.running();
                (running.len() >= 2 && old.iter().all(|one| !running.contains(one))).then_some(())
            });
            self.measured("a new image on every machine", begun);
            self.serves_everywhere();
            // Nomad itself asks for it again every few minutes; what has been started since has it from the start.
            self.wait("the service's new secret from all of it", || {
                let healthy = self.names.healthy();
                (!healthy.is_empty() && load.tell_the_newest(&healthy)).then_some(())
            });
            joined(ordered);
        });
        self.tally(load);
    }

    /// Other words in Vault: each machine has its own in its file, and what is started of the service has the service's.
    fn secret_is_rotated(&self) {
        self.site.set_secret("node", "word", "second");
        self.site.set_secret("default/web/config", "word", "second");
        self.timeline.say("the secrets of the nodes and of the service are rotated");
        let begun = self.timeline.now();
        for id in self.machines.running() {
            self.wait(&format!("the new secret on {id}"), || {
                let machine = self.machines.of(&id)?;
                let said = machine.run(&["cat", "/run/muster/secrets/word"]).ok()?;
                (said == "second").then_some(())
            });
        }
        self.measured("a new secret until every machine has it", begun);
    }

    /// Somebody changes what the image had; AWX finds it when the node asks again, and puts it back.
    fn drifts(&self, id: &InstanceId) {
        let machine = self.machines.of(id).expect("it runs");
        let run = |line: &str| machine.run(&["sh", "-c", line]).unwrap_or_else(|error| panic!("{error}"));
        run("echo '# drifted' >>/etc/modprobe.d/muster.conf");
        self.timeline.say(&format!("drift is planted on {id}: modules that may be loaded"));
        let before = self.site.awx.ended().len();
        // It asks every few hours; now it is to ask within seconds.
        run(
            "printf 'awx {\n  address = \"%s\"\n  template = 7\n  key_file = \"/run/muster/secrets/awx-key\"\n  token_file = \"/run/muster/secrets/awx-token\"\n  jitter = \"0s\"\n  drift = \"20s\"\n}\n' \
             \"$(sed -n '/^awx/,/^}/s/.*address *= \"\\(.*\\)\"/\\1/p' /etc/muster/bootstrap.hcl)\" >/etc/muster/conf.d/90-drift.hcl; \
             systemctl reload muster-bootstrap",
        );
        let job = self.wait("AWX to have looked", || {
            let ended = self.site.awx.ended();
            ended.into_iter().skip(before).find(|job| job.instance == id.as_str() && job.successful)
        });
        run("rm /etc/muster/conf.d/90-drift.hcl; systemctl reload muster-bootstrap");
        assert!(job.mended.iter().any(|task| task.starts_with("hardening : ")), "{:?}", job.mended);
        assert!(!run("cat /etc/modprobe.d/muster.conf").contains("drifted"), "it was put back");
    }

    /// Prometheus has all of it.
    fn shows(&self) {
        let of = |query: &str| {
            self.wait(&format!("Prometheus to have {query}"), || {
                let all = self.site.prometheus.query(query);
                (!all.is_empty()).then_some(all)
            })
        };
        let machines = self.machines.running().len();
        self.wait("Prometheus to have each node ready", || {
            let ready = self.site.prometheus.query("muster_bootstrap_ready == 1");
            (ready.len() == machines).then_some(())
        });
        for query in [
            "muster_fleet_target_units",
            "muster_fleet_utilization_ratio",
            "muster_node_info",
            "muster_bootstrap_launch_to_ready_seconds",
            // The agent has no other source than its instance's metadata service.
            "sum({__name__=~\"muster_notices(_again)?_total\", source=\"agent\"}) > 0",
            "max(max_over_time(muster_fleet_rollout_entered[30m])) >= 2",
            // First one of two, and that was watched.
            "max(max_over_time(muster_fleet_rollout_stage{stage=\"watched\"}[30m])) == 1",
            "max(max_over_time(muster_node_drift_mended[30m])) >= 1",
        ] {
            let all = of(query);
            let values: Vec<String> = all.iter().map(|(_, value)| format!("{value:.2}")).collect();
            self.timeline.say(&format!("{query}: {}", values.join(", ")));
        }
    }

    /// Waits until there is something, and notes when; what takes long has the autoscaler say what it is at, and machines
    /// that are not ready why.
    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = self.timeline.now();
        let mut asks = begun + LONG;
        loop {
            if let Some(found) = look() {
                let took = self.timeline.now().saturating_sub(begun);
                self.timeline.say(&format!("{what}: after {:.1} s", took.as_secs_f64()));
                return found;
            }
            if self.timeline.now() > asks {
                self.timeline.say(&format!("still waiting for {what}: {}", self.explained()));
                for (id, said) in self.machines.late() {
                    self.timeline.say(&format!("{id} is not ready: {said}"));
                }
                asks += LONG;
            }
            assert!(!self.timeline.ends(), "told to end");
            assert!(self.timeline.now() < begun + PATIENCE, "waited for {what}");
            thread::sleep(LOOK);
        }
    }

    /// What the autoscaler says of its last decision.
    fn explained(&self) -> String {
        let Some(leader) = tests::job::leader(&self.site.consul) else { return "nobody leads".to_owned() };
        let mut explain = Command::new(&self.autoscaler);
        let said = explain.args(["explain", "web", "--address", &format!("http://{leader}")]).output();
        said.map_or_else(
            |error| error.to_string(),
            |said| String::from_utf8_lossy(&said.stdout).trim().to_owned(),
        )
    }

    fn tally(&self, load: &Load) -> Tally {
        let tally = load.tally();
        self.timeline.say(&format!(
            "{} requests, {} failed {:?}",
            tally.asked,
            tally.failed.len(),
            tally.failed.last()
        ));
        if !tally.failed.is_empty() {
            let all = self.site.nomad.call("GET", "/v1/job/web/allocations", &Value::Null);
            self.timeline.say(&format!("the service's work: {all}"));
        }
        tally
    }

    /// The names of the nodes that a job's work runs on.
    fn nodes_of(&self, job: &str) -> Vec<String> {
        let all = self.site.nomad.call("GET", &format!("/v1/job/{job}/allocations"), &Value::Null);
        let runs = |one: &&Value| one["ClientStatus"] == "running";
        let all = all.as_array().into_iter().flatten().filter(runs);
        all.filter_map(|one| one["NodeName"].as_str().map(str::to_owned)).collect()
    }

    /// Where the autoscaler that leads is.
    fn leader(&self) -> SocketAddr {
        self.wait("who leads", || tests::job::leader(&self.site.consul))
    }

    fn measured(&self, what: &str, since: Duration) {
        let took = self.timeline.now().saturating_sub(since);
        self.timeline.measured(what, format!("{:.1} s", took.as_secs_f64()));
    }
}

/// What a thread of a scope has come to; its panic is this one's.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
}
