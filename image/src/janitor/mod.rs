//! Which images go, which stay, and why; and their going.

mod act;
mod decide;
mod versions;

pub use act::{Carried, JanitorError, Outcome, apply, survey};
pub use decide::{
    ChannelSeen, Decision, Inventory, KIND, Keep, Plan, Rules, SnapshotDecision, SnapshotKeep, Verdict,
    decide,
};
pub use versions::Standing;
