//! autoscaler

pub mod metrics;
pub mod prometheus;
pub mod tls;
