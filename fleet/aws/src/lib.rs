//! EC2's fleets and CloudWatch behind muster's ports.

mod client;
mod config;

pub use client::Aws;
pub use config::{AwsConfig, Budget, Credentials, Endpoints, Secret, Timeouts};
