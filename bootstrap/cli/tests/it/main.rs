//! The agent as a process, against a loopback cloud and real servers; what needs root is done by the test.

mod awx;
mod boot;
mod crashes;
mod dumps;
mod ground;
mod imds;
mod machine;
mod nodes;
mod secrets;
mod services;
mod unit;

use muster_test_servers::awx as awx_server;
