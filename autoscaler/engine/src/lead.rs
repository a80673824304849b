//! Leading.

use crate::{Engine, Now};
use std::time::Duration;

impl Engine {
    pub(crate) fn lease_told(&mut self, until: Option<Duration>, _now: Now) {
        self.lease = until;
    }
}
