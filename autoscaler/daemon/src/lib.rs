//! autoscaler

pub mod prometheus;
pub mod tls;
