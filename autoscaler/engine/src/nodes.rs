//! Nodes.

use crate::{Engine, Now};

#[derive(Debug, Default)]
pub(crate) struct Services;

impl Engine {
    pub(crate) fn nodes_moved(&mut self, _now: Now) {}
}
