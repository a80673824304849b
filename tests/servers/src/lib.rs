//! Real Nomad, Consul, Vault and OpenBao for tests: found or built by `tests/tools/hashicorp` and
//! `tests/tools/openbao`, started on loopback, gone with the test.
//!
//! Each test process has an address of its own beneath 127.0.0.0/8, so that two never meet on a port. What is
//! started lives beneath one directory; a watcher ends all of it when the test lets go, or dies in any way.
//! Whatever goes wrong in here fails the test that asked, in words. AWX alone is a stand-in of its own: none can be had;
//! whoever else is to misbehave is played by a [`StandIn`].
#![expect(clippy::missing_panics_doc, reason = "whatever goes wrong fails the test that asked, in words")]

mod agent;
mod authority;
pub mod awx;
mod consul;
mod docker;
mod ground;
mod http;
mod jwt;
mod metadata;
mod nomad;
mod prometheus;
mod proxy;
mod registry;
mod standin;
mod vault;

pub use agent::wait_for;
pub use authority::Authority;
pub use consul::{Consul, ConsulAgent, ConsulOptions, ConsulTls};
pub use docker::Docker;
pub use ground::{Ground, address, listen_at, port, program};
pub use http::{Answer, request};
pub use jwt::jwt;
pub use metadata::metadata;
pub use nomad::{Nomad, NomadClient, NomadOptions, NomadTls};
pub use prometheus::Prometheus;
pub use proxy::Tinyproxy;
pub use registry::Registry;
pub use standin::{Asked, Plays, StandIn};
pub use vault::{Vault, VaultKind, VaultOptions, VaultTls};
