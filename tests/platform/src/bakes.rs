//! Machines that images are made on: whatever Packer launches boots, and what it makes an image of is kept.

use crate::disks::Disks;
use crate::machines::Files;
use crate::timeline::Timeline;
use muster_machine::{Lan, Machine, Place};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tests::ground::{BakeMachine, Cloud};

/// How often the cloud is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Who Packer logs in as: on Debian's images their user.
const USER: &str = "admin";

/// What a machine of EC2 does, and a container by itself does not: it keeps a seed of random numbers from one boot to the next.
const AS_ON_EC2: (&str, &str) = (
    "/etc/systemd/system/systemd-random-seed.service.d/as-on-ec2.conf",
    "[Unit]\nConditionVirtualization=\n",
);

/// The machines. Dropped, they are switched off.
pub struct Bakes {
    ends: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

struct Keeper {
    cloud: Arc<Cloud>,
    lan: Arc<Lan>,
    disks: Arc<Disks>,
    told: Files,
    timeline: Timeline,
    running: BTreeMap<String, (BakeMachine, Machine)>,
}

impl Bakes {
    /// Begins to follow the cloud.
    ///
    /// * `disks`: of each image. * `told`: what each machine is told of its network; no image has it.
    pub fn follow(
        cloud: Arc<Cloud>,
        lan: Arc<Lan>,
        disks: Arc<Disks>,
        mut told: Files,
        timeline: Timeline,
    ) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        told.push((AS_ON_EC2.0.to_owned(), 0o644, AS_ON_EC2.1.to_owned()));
        let mut keeper = Keeper { cloud, lan, disks, told, timeline, running: BTreeMap::new() };
        let keeper = thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
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
        // What cloud-init does on the first boot. An image that was baked from another one has the user of that.
        if !overlay.chroot(&["id", USER]).unwrap_or_else(|error| panic!("{error}")).status.success() {
            run(&["useradd", "--create-home", "--shell=/bin/bash", USER]);
        }
        run(&["ssh-keygen", "-A"]);
        write(&format!("etc/sudoers.d/{USER}"), 0o440, &format!("{USER} ALL=(ALL) NOPASSWD: ALL\n"));
        let key = public_key.clone().unwrap_or_default();
        write(&format!("home/{USER}/.ssh/authorized_keys"), 0o600, &format!("{key}\n"));
        run(&["chown", "-R", &format!("{USER}:{USER}"), &format!("/home/{USER}/.ssh")]);
        for (path, mode, text) in &self.told {
            write(path.trim_start_matches('/'), *mode, text);
        }
        let place = Place::on(&self.lan, id, *address);
        Machine::boot_at(place, overlay, None).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes an image of a machine, as EC2 does: shut down first.
    fn save(&self, image: &str, asked: &BakeMachine, mut machine: Machine) {
        machine.power_off().unwrap_or_else(|error| panic!("{error}"));
        muster_test_servers::wait_for("a machine to be off", || machine.is_off().then_some(()));
        let place = self.disks.place(image);
        machine.keep(&place).unwrap_or_else(|error| panic!("{error}"));
        for (path, ..) in &self.told {
            let path = place.join(path.trim_start_matches('/'));
            fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        self.disks.put(image, &place, &asked.image);
        self.timeline.say(&format!("{image} is made of {}", asked.id));
    }
}
