//! The node lane.

use fleet::InstanceId;

/// What a write of the node lane is about: one is under way of each at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LaneKey {
    /// An instance: a cordon or a drain; `restores`: the way back.
    Node { instance: InstanceId, restores: bool },
    /// A service group.
    Group { namespace: String, job: String, group: String },
}
