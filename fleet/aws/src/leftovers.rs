//! What a bake of an image has left behind: found by its tag, and removed one by one.

use crate::action::Action;
use crate::client::Aws;
use crate::governor::Toll;
use crate::images::is_gone;
use crate::words;
use aws_sdk_ec2::types::{Filter, InstanceStateChange, ResourceType, TagDescription};
use fleet::{ApiError, InstanceState};
use std::collections::BTreeSet;

/// What is made to bake an image, in the order in which it can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftoverKind {
    /// The machine.
    Instance,
    /// What says what the machine is.
    LaunchTemplate,
    /// What opens the machine.
    KeyPair,
    /// Who gets at the machine. It is in use until the machine has ended.
    SecurityGroup,
    /// The image itself, of a bake that was cut off while EC2 made it.
    Image,
    /// What the image is made of. It is in use until the image is gone.
    Snapshot,
}

/// Something that was made to bake an image, and may still be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// `i-…`, `lt-…`, `key-…`, `sg-…`, `ami-…`, `snap-…`.
    pub id: String,
}

impl Aws {
    /// What carries a tag with this value, of the kinds that a bake makes; what goes with its machine (volumes, interfaces, the
    /// spot request) is not among it.
    ///
    /// EC2 shows what is new only some seconds later, and instances for a while after their end. Safe to repeat.
    pub async fn leftovers(&self, tag: &str, value: &str) -> Result<BTreeSet<Leftover>, ApiError> {
        let region = self.in_region();
        let [key, value] = [("key", tag), ("value", value)]
            .map(|(name, is)| Filter::builder().name(name).values(is).build());
        let send = |token| {
            let call = region.ec2.describe_tags().filters(key.clone()).filters(value.clone());
            call.max_results(1000).set_next_token(token).send()
        };
        let found = region.pages(Action::DescribeTags, usize::MAX, send, |page| {
            (page.tags.unwrap_or_default(), page.next_token)
        });
        Ok(found.await?.into_iter().filter_map(leftover).collect())
    }

    /// Removes one of them. What is gone is no failure, so it is safe to repeat; `Conflict`: something still uses it.
    ///
    /// * returns: whether it was there, and had not been told to end before.
    pub async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, ApiError> {
        let region = self.in_region();
        let id = leftover.id.as_str();
        let removed = match leftover.kind {
            LeftoverKind::Instance => {
                let send = || region.ec2.terminate_instances().instance_ids(id).send();
                let answer = region.call(Action::TerminateInstances, Toll::Instances(1), send).await;
                answer.map(|answer| answer.terminating_instances().iter().any(ends_by_this))
            }
            LeftoverKind::LaunchTemplate => {
                let send = || region.ec2.delete_launch_template().launch_template_id(id).send();
                region.call(Action::DeleteLaunchTemplate, Toll::None, send).await.map(|_| true)
            }
            LeftoverKind::KeyPair => {
                let send = || region.ec2.delete_key_pair().key_pair_id(id).send();
                region.call(Action::DeleteKeyPair, Toll::None, send).await.map(|_| true)
            }
            LeftoverKind::SecurityGroup => {
                let send = || region.ec2.delete_security_group().group_id(id).send();
                region.call(Action::DeleteSecurityGroup, Toll::None, send).await.map(|_| true)
            }
            LeftoverKind::Image => {
                let send = || region.ec2.deregister_image().image_id(id).send();
                region.call(Action::DeregisterImage, Toll::None, send).await.map(|_| true)
            }
            LeftoverKind::Snapshot => {
                let send = || region.ec2.delete_snapshot().snapshot_id(id).send();
                region.call(Action::DeleteSnapshot, Toll::None, send).await.map(|_| true)
            }
        };
        removed.or_else(|error| if is_gone(&error) { Ok(false) } else { Err(error) })
    }
}

fn leftover(tag: TagDescription) -> Option<Leftover> {
    let kind = match tag.resource_type? {
        ResourceType::Instance => LeftoverKind::Instance,
        ResourceType::LaunchTemplate => LeftoverKind::LaunchTemplate,
        ResourceType::KeyPair => LeftoverKind::KeyPair,
        ResourceType::SecurityGroup => LeftoverKind::SecurityGroup,
        ResourceType::Image => LeftoverKind::Image,
        ResourceType::Snapshot => LeftoverKind::Snapshot,
        _ => return None,
    };
    Some(Leftover { kind, id: tag.resource_id? })
}

fn ends_by_this(change: &InstanceStateChange) -> bool {
    let before = words::instance_state(change.previous_state().and_then(|state| state.name()));
    !matches!(before, InstanceState::ShuttingDown | InstanceState::Terminated)
}
