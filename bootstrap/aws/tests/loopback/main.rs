//! Against the loopback cloud: its metadata service, SSM, STS and EC2; and a real Vault that asks its STS.

mod cloud;
mod services;
mod vault;
