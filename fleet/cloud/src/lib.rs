//! The simulated world of `fleet-sim` on loopback, as AWS's services speak: EC2, CloudWatch, SQS, SSM, STS,
//! Application Auto Scaling and the instances' metadata service, all on one port.
//!
//! Good enough for the real programs and for real AWS clients. Requests are told apart by their form, never by
//! the host they name: the signature's scope, `X-Amz-Target`, the path of an RPC, the form's action. Every
//! request is signed (Signature Version 4) and the signature is checked; every one is counted under its caller's
//! application id (`app/NAME` in the user agent) or access key.
//!
//! Only the world's time may be scaled or stand still: signatures, credentials and transport keep the host's.
//!
//! What is documented of AWS and not simulated is refused by `UnsupportedOperation` with a word of why, never
//! ignored: several launch templates in a fleet, instance requirements, launch specifications, another template
//! for a living fleet, metric expressions.

mod alarms;
mod autoscaling;
mod cloudwatch;
mod config;
mod control;
mod ec2;
mod eventbridge;
mod faults;
mod gate;
mod identity;
mod imds;
mod keys;
mod oidc;
mod request;
mod route;
mod server;
mod service;
mod shared;
mod sigv4;
mod sqs;
mod ssm;
mod sts;
mod wire;
pub mod world_file;

pub use config::{CloudConfig, Credential, Secret};
pub use ec2::{BakeMachine, ImageSpec, Stuck};
pub use faults::{FaultKind, HttpFault};
pub use identity::{DocumentSigner, SignerError};
pub use oidc::OidcProvider;
pub use server::{CloudServer, StartError};
