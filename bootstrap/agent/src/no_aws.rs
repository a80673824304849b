//! For tests of parts that never ask AWS: one that says so.

use crate::node::{Aws, Later, Parameter};
use bootstrap_config::VaultAws;
use bootstrap_core::{Failure, Secret};
use bootstrap_vault::LoginRequest;
use fleet::{ErrorClass, InstanceId, Timestamp};

pub(crate) struct NoAws;

fn never<T>() -> Result<T, Failure> {
    Err(Failure::new(ErrorClass::Denied, "there is no AWS here"))
}

impl Aws for NoAws {
    fn parameters<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Vec<Parameter>> {
        Box::pin(async { never() })
    }
    fn secret<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Secret> {
        Box::pin(async { never() })
    }
    fn sign_login<'a>(&'a self, _: &'a str, _: &'a VaultAws, _: Timestamp) -> Later<'a, LoginRequest> {
        Box::pin(async { never() })
    }
    fn tag<'a>(
        &'a self,
        _: &'a str,
        _: &'a InstanceId,
        _: &'a str,
        _: &'a str,
        _: Timestamp,
    ) -> Later<'a, ()> {
        Box::pin(async { never() })
    }
}
