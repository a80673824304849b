#![doc = include_str!("../README.md")]

mod action;
mod alarms;
mod client;
mod cloudwatch;
mod config;
mod ec2_fleet;
mod errors;
mod governor;
mod history;
mod images;
mod instances;
mod launch;
mod leftovers;
mod marks;
mod metadata;
mod parameters;
mod prices;
mod queue;
mod references;
mod region;
mod relaunch;
mod scalable;
mod spot_fleet;
mod transport;
mod whole;
mod words;

pub use action::{Permission, image_permissions, permissions};
pub use client::Aws;
pub use config::{AwsConfig, Budget, Credentials, Endpoints, Guard, Secret, Timeouts};
pub use images::{Image, Snapshot};
pub use leftovers::{Leftover, LeftoverKind};
pub use metadata::own_instance;
pub use parameters::Parameter;
pub use queue::AwsQueue;
pub use references::{Launches, Reference, References, Referred, TemplateSeen};
pub use region::default_region;
