//! AWS, as the instance's role.

use bootstrap_agent::node::{Aws, Later, Parameter};
use bootstrap_core::Failure;
use fleet::{ErrorClass, InstanceId};
use zeroize::Zeroizing;

/// A build without AWS.
pub struct NoAws;

fn none<T>() -> Result<T, Failure> {
    Err(Failure::lasting(ErrorClass::Denied, "this build does not speak to AWS"))
}

impl Aws for NoAws {
    fn parameters<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Vec<Parameter>> {
        Box::pin(async { none() })
    }
    fn secret<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Zeroizing<String>> {
        Box::pin(async { none() })
    }
    fn tag<'a>(&'a self, _: &'a str, _: &'a InstanceId, _: &'a str, _: &'a str) -> Later<'a, ()> {
        Box::pin(async { none() })
    }
}
