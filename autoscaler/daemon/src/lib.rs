//! autoscaler

pub mod http;
pub mod metrics;
pub mod prometheus;
pub mod tls;
