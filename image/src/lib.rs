//! What is behind `muster-image`: decisions that are pure (what a channel becomes, what goes and what stays, what a machine's
//! facts say of its image), and what carries them out through one port to AWS, Packer, and a machine that boots.

pub mod account;
pub mod bake;
pub mod channel;
pub mod janitor;
pub mod leftovers;
pub mod publish;
pub mod verify;
