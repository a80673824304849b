//! What each image of the account is made of.

use muster_machine::{MachineError, Overlay};
use muster_test_servers::{Ground, wait_for};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The disks of images, by their ids.
pub struct Disks {
    /// Directories, the upmost first.
    by_image: Mutex<BTreeMap<String, Vec<PathBuf>>>,
    /// What machines write is beneath it.
    ground: Ground,
}

impl Disks {
    /// * `known`: images that were there before, and their root file systems.
    pub fn new(known: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let known = known.into_iter().map(|(image, root)| (image, vec![root]));
        Self { by_image: Mutex::new(known.collect()), ground: Ground::new() }
    }

    /// A disk for a machine that boots an image. One that EC2 shows already may be written still: it is waited for.
    pub fn of(&self, image: &str) -> Result<Overlay, MachineError> {
        let layers = wait_for(&format!("the disk of {image}"), || self.layers(image));
        Overlay::over(self.ground.path(), &layers)
    }

    /// Where what is written over an image is to be kept as another one. * `image`: the other one.
    pub fn place(&self, image: &str) -> PathBuf {
        self.ground.path().join(image)
    }

    /// That other one is there. * `layer`: what was written over `original`.
    pub fn put(&self, image: &str, layer: &Path, original: &str) {
        let below =
            self.layers(original).unwrap_or_else(|| panic!("nobody knows what {original} is made of"));
        let layers = [vec![layer.to_owned()], below].concat();
        self.by_image.lock().expect("whole").insert(image.to_owned(), layers);
    }

    fn layers(&self, image: &str) -> Option<Vec<PathBuf>> {
        self.by_image.lock().expect("whole").get(image).cloned()
    }
}
