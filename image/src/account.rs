//! The port to the account that holds images, their references and their channels.

use fleet::Timestamp;
use fleet::ports::Answer;
use fleet_aws::{Aws, Image, Parameter, References, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// One account in one region, as images need it.
///
/// Every method's error has the class of [`fleet::ErrorClass`]. All but [`Account::create_parameter`] and
/// [`Account::set_parameter`] have the same effect however often they are asked.
pub trait Account: Send + Sync {
    /// The account's own images that have a tag, deprecated ones too.
    fn images<'a>(&'a self, tag: &'a str) -> Answer<'a, Vec<Image>>;
    /// An image of its own; `None` where there is none, or it is another's.
    fn image<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Image>>;
    /// The accounts that an image is shared with; `*`: everybody.
    fn shared_with<'a>(&'a self, image: &'a str) -> Answer<'a, BTreeSet<String>>;
    /// Lets accounts launch an image.
    fn share<'a>(&'a self, image: &'a str, accounts: &'a BTreeSet<String>) -> Answer<'a, ()>;
    /// Gives a resource tags.
    fn tag<'a>(&'a self, resource: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()>;
    /// Says from when on, in the future, nobody is to start from an image.
    fn deprecate<'a>(&'a self, image: &'a str, at: Timestamp) -> Answer<'a, ()>;
    /// Takes an image away; one that is gone is no failure.
    fn deregister<'a>(&'a self, image: &'a str) -> Answer<'a, ()>;
    /// The account's own snapshots that have a tag.
    fn snapshots<'a>(&'a self, tag: &'a str) -> Answer<'a, Vec<Snapshot>>;
    /// Deletes a snapshot; one that is gone is no failure. `Conflict`: an image is made of it.
    fn delete_snapshot<'a>(&'a self, snapshot: &'a str) -> Answer<'a, ()>;
    /// Everything that names an image, and which versions of templates fleets launch: complete, or a failure.
    fn references(&self) -> Answer<'_, References>;
    /// A parameter; `None` where there is none.
    fn parameter<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Parameter>>;
    /// All parameters right beneath a path.
    fn parameters<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Parameter>>;
    /// All parameters beneath a path, however deep.
    fn parameters_beneath<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Parameter>>;
    /// Makes a parameter, if it is not there: of any number of callers one succeeds, the others get `Conflict`.
    /// `Unclear`: may have been made.
    fn create_parameter<'a>(&'a self, name: &'a str, value: &'a str, about: &'a str) -> Answer<'a, ()>;
    /// Sets a parameter, whatever it was, to a new version. `Unclear`: may have been set.
    fn set_parameter<'a>(&'a self, name: &'a str, value: &'a str, about: &'a str) -> Answer<'a, i64>;
    /// Deletes a parameter; one that is gone is no failure.
    fn delete_parameter<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;
}

impl Account for Aws {
    fn images<'a>(&'a self, tag: &'a str) -> Answer<'a, Vec<Image>> {
        Box::pin(self.images(tag))
    }
    fn image<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Image>> {
        Box::pin(self.image(id))
    }
    fn shared_with<'a>(&'a self, image: &'a str) -> Answer<'a, BTreeSet<String>> {
        Box::pin(self.shared_with(image))
    }
    fn share<'a>(&'a self, image: &'a str, accounts: &'a BTreeSet<String>) -> Answer<'a, ()> {
        Box::pin(self.share(image, accounts))
    }
    fn tag<'a>(&'a self, resource: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        Box::pin(self.tag(resource, tags))
    }
    fn deprecate<'a>(&'a self, image: &'a str, at: Timestamp) -> Answer<'a, ()> {
        Box::pin(self.deprecate(image, at))
    }
    fn deregister<'a>(&'a self, image: &'a str) -> Answer<'a, ()> {
        Box::pin(self.deregister(image))
    }
    fn snapshots<'a>(&'a self, tag: &'a str) -> Answer<'a, Vec<Snapshot>> {
        Box::pin(self.snapshots(tag))
    }
    fn delete_snapshot<'a>(&'a self, snapshot: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete_snapshot(snapshot))
    }
    fn references(&self) -> Answer<'_, References> {
        Box::pin(self.references())
    }
    fn parameter<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Parameter>> {
        Box::pin(self.parameter(name))
    }
    fn parameters<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Parameter>> {
        Box::pin(self.parameters(path))
    }
    fn parameters_beneath<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Parameter>> {
        Box::pin(self.parameters_beneath(path))
    }
    fn create_parameter<'a>(&'a self, name: &'a str, value: &'a str, about: &'a str) -> Answer<'a, ()> {
        Box::pin(self.create_parameter(name, value, about))
    }
    fn set_parameter<'a>(&'a self, name: &'a str, value: &'a str, about: &'a str) -> Answer<'a, i64> {
        Box::pin(self.set_parameter(name, value, about))
    }
    fn delete_parameter<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete_parameter(name))
    }
}
