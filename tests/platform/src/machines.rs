//! Whatever the cloud launches boots, and whatever it ends is switched off.

use crate::cloud::{Launched, launched};
use crate::disks::Disks;
use crate::timeline::{Boot, Timeline};
use crate::user_data;
use fleet::InstanceId;
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use muster_machine::{Lan, Machine, Place};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tests::ground::Cloud;

/// How often the cloud is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How much of this host a machine may take: four of them on two processors.
const CPUS: f64 = 0.4;

/// What one that is not ready in time is asked: who failed, and what was complained of.
const LATE: [&str; 5] = [
    "timeout",
    "30",
    "sh",
    "-c",
    "ls -l --time-style=full-iso /run/nologin; systemctl --no-pager --failed; systemctl --no-pager list-jobs; \
     systemctl --no-pager status systemd-user-sessions systemd-tmpfiles-setup; muster-bootstrap status; \
     journalctl --no-pager --boot --priority=warning --lines=60; \
     journalctl --no-pager --boot --grep='ordering cycle|dependency failed'; true",
];

/// What is put into a machine before it boots, in the place of an image of this site: absolute path, mode, text.
pub type Files = Vec<(String, u32, String)>;

/// The machines.
pub struct Machines {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

struct Running {
    machine: Arc<Machine>,
    since: Duration,
    ready: bool,
}

struct Shared {
    running: Mutex<BTreeMap<InstanceId, Running>>,
    ends: AtomicBool,
}

/// Follows the cloud.
struct Keeper {
    shared: Arc<Shared>,
    cloud: Arc<Cloud>,
    lan: Arc<Lan>,
    disks: Arc<Disks>,
    files: Files,
    timeline: Timeline,
    clock: SystemClock,
}

impl Machines {
    /// Begins to follow the cloud.
    ///
    /// * `disks`: of each image. * `files`: what an image of this site has besides.
    pub fn follow(
        cloud: Arc<Cloud>,
        lan: Arc<Lan>,
        disks: Arc<Disks>,
        files: Files,
        timeline: Timeline,
    ) -> Self {
        let shared = Arc::new(Shared { running: Mutex::default(), ends: AtomicBool::new(false) });
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            cloud,
            lan,
            disks,
            files,
            timeline,
            clock: SystemClock::new(),
        };
        let keeper = thread::spawn(move || {
            while !keeper.shared.ends.load(Ordering::Relaxed) {
                keeper.keep();
                thread::sleep(LOOK);
            }
        });
        Self { shared, keeper: Some(keeper) }
    }

    /// The machine of an instance, while it runs.
    pub fn of(&self, instance: &InstanceId) -> Option<Arc<Machine>> {
        self.shared.running().get(instance).map(|one| Arc::clone(&one.machine))
    }
    /// Of each machine that is not ready: its instance, and what it says of itself.
    pub fn late(&self) -> Vec<(InstanceId, String)> {
        // Nobody else waits for what they say.
        let late: Vec<_> = {
            let running = self.shared.running();
            let late = running.iter().filter(|(_, one)| !one.ready);
            late.map(|(id, one)| (id.clone(), Arc::clone(&one.machine))).collect()
        };
        let said = |machine: Arc<Machine>| machine.run(&LATE).unwrap_or_else(|error| error.to_string());
        late.into_iter().map(|(id, machine)| (id, said(machine))).collect()
    }
    /// The instances whose machines run.
    pub fn running(&self) -> Vec<InstanceId> {
        self.shared.running().keys().cloned().collect()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        self.shared.running().clear();
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Running>> {
        self.running.lock().expect("whole")
    }
}

impl Keeper {
    /// Brings the machines to what the cloud has by now.
    fn keep(&self) {
        let launched = launched(&self.cloud);
        let gone: Vec<InstanceId> = {
            let running = self.shared.running();
            running.keys().filter(|id| launched.iter().all(|one| one.id != **id)).cloned().collect()
        };
        for id in gone {
            self.timeline.say(&format!("{id} is switched off"));
            let machine = self.shared.running().remove(&id);
            drop(machine);
        }
        for one in launched {
            if !self.shared.running().contains_key(&one.id) {
                self.timeline.say(&format!("{} boots {} at {}", one.id, one.image, one.address));
                let (machine, since) = (Arc::new(self.boot(&one)), self.clock.monotonic());
                self.shared.running().insert(one.id, Running { machine, since, ready: false });
            }
        }
        for (id, one) in self.shared.running().iter_mut() {
            // One that is switched off just now has nothing to see.
            let up = self.clock.monotonic().saturating_sub(one.since);
            let _ = one.machine.show_load(up);
            if !one.ready {
                self.look(id, one, up);
            }
        }
    }

    /// Looks whether a machine is ready by now.
    fn look(&self, id: &InstanceId, one: &mut Running, up: Duration) {
        let asked = one.machine.try_run(&["test", "-e", "/run/muster/ready"]);
        if asked.is_ok_and(|asked| asked.is_some_and(|asked| asked.status.success())) {
            one.ready = true;
            one.machine.limit().unwrap_or_else(|error| panic!("{error}"));
            self.timeline.say(&format!("{id} is ready, {:.1} s after it was switched on", up.as_secs_f64()));
            self.timeline.booted(steps(id, up, &one.machine));
        }
    }

    fn boot(&self, one: &Launched) -> Machine {
        let overlay = self.disks.of(&one.image).unwrap_or_else(|error| panic!("{error}"));
        for (path, mode, text) in &self.files {
            let written = overlay.write(path.trim_start_matches('/'), *mode, text);
            written.unwrap_or_else(|error| panic!("{error}"));
        }
        user_data::write_files(&overlay, &self.cloud, one.id.as_str());
        let added = overlay.chroot(&tests::awx::ADD_USER).unwrap_or_else(|error| panic!("{error}"));
        assert!(added.status.success(), "{added:?}");
        let place = Place::on(&self.lan, one.id.as_str(), one.address);
        Machine::boot_at(place, overlay, Some(CPUS)).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// What the agent of a machine that is ready says of its boot.
fn steps(id: &InstanceId, ready: Duration, machine: &Machine) -> Boot {
    let said = machine.run(&["muster-bootstrap", "status", "--format", "json"]);
    let said: Value = said.ok().and_then(|said| serde_json::from_str(&said).ok()).unwrap_or_default();
    let step = |one: &Value| {
        let took = Duration::from_secs_f64(one["seconds"].as_f64()?);
        Some((one["step"].as_str()?.to_owned(), took))
    };
    let steps = said["steps"].as_array().into_iter().flatten().filter_map(step).collect();
    let millis = |field: &str| said[field].as_u64().unwrap_or_default();
    let agent = Duration::from_millis(millis("ready").saturating_sub(millis("started")));
    Boot { instance: id.to_string(), ready, steps, agent }
}
