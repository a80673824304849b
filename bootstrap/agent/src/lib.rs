//! The agent of a node, from its first boot on: what `bootstrap-core` decides is done here.

pub mod progress;
