//! Machines that images are made on: whatever Packer launches boots, and what it makes an image of is kept.

use crate::disks::Disks;
use crate::timeline::Timeline;
use muster_machine::{Lan, Machine, Place};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tests::ground::{BakeMachine, Cloud};

/// How often the cloud is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Who Packer logs in as: on Debian's images their user.
const USER: &str = "admin";

/// The machines. Dropped, they are switched off.
pub struct Bakes {
    ends: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

struct Keeper {
    cloud: Arc<Cloud>,
    lan: Arc<Lan>,
    disks: Arc<Disks>,
    timeline: Timeline,
    running: BTreeMap<String, (BakeMachine, Machine)>,
}

impl Bakes {
    /// Begins to follow the cloud.
    pub fn follow(cloud: Arc<Cloud>, lan: Arc<Lan>, disks: Arc<Disks>, timeline: Timeline) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let mut keeper = Keeper { cloud, lan, disks, timeline, running: BTreeMap::new() };
        let keeper = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                keeper.keep();
                thread::sleep(LOOK);
            }
        });
        Self { ends, keeper: Some(keeper) }
    }
}

impl Drop for Bakes {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Keeper {
    fn keep(&mut self) {
        // Before what was ended is switched off: EC2 makes images of machines that are.
        let made = self.cloud.images_made();
        for (image, of) in &made {
            if let Some((asked, machine)) = self.running.remove(of) {
                self.save(image, &asked, machine);
            }
        }
        // What is stopped is gone for good: a bake is on spot, which cannot be.
        let launched = self.cloud.bake_machines();
        self.running.retain(|id, _| launched.iter().any(|one| one.id == *id));
        for one in launched {
            // One that an image was made of has done what it was for.
            if !self.running.contains_key(&one.id) && made.iter().all(|(_, of)| *of != one.id) {
                let machine = self.boot(&one);
                self.running.insert(one.id.clone(), (one, machine));
            }
        }
    }

    /// Boots the image as Debian's would, with the key that EC2 was given.
    fn boot(&self, one: &BakeMachine) -> Machine {
        let BakeMachine { id, image, address, public_key } = one;
        self.timeline.say(&format!("{id} boots {image} at {address}, for an image"));
        let overlay = self.disks.of(image).unwrap_or_else(|error| panic!("{error}"));
        let write = |path: &str, mode, text: &str| {
            overlay.write(path, mode, text).unwrap_or_else(|error| panic!("{error}"));
        };
        let run = |words: &[&str]| {
            let done = overlay.chroot(words).unwrap_or_else(|error| panic!("{error}"));
            assert!(done.status.success(), "{words:?}: {done:?}");
        };
        // What cloud-init does on the first boot.
        run(&["useradd", "--create-home", "--shell=/bin/bash", USER]);
        write(&format!("etc/sudoers.d/{USER}"), 0o440, &format!("{USER} ALL=(ALL) NOPASSWD: ALL\n"));
        let key = public_key.clone().unwrap_or_default();
        write(&format!("home/{USER}/.ssh/authorized_keys"), 0o600, &format!("{key}\n"));
        run(&["chown", "-R", &format!("{USER}:{USER}"), &format!("/home/{USER}/.ssh")]);
        let place = Place::on(&self.lan, id, *address);
        Machine::boot_at(place, overlay, None).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes an image of a machine, as EC2 does: shut down first.
    fn save(&self, image: &str, asked: &BakeMachine, mut machine: Machine) {
        machine.power_off().unwrap_or_else(|error| panic!("{error}"));
        muster_test_servers::wait_for("a machine to be off", || machine.is_off().then_some(()));
        let place = self.disks.place(image);
        machine.keep(&place).unwrap_or_else(|error| panic!("{error}"));
        self.disks.put(image, &place, &asked.image);
        self.timeline.say(&format!("{image} is made of {}", asked.id));
    }
}
