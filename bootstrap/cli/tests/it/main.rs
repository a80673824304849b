//! The agent as a process, against a loopback cloud and real servers; what needs root is done by the test.

mod again;
mod agents;
mod awx;
mod boot;
mod changes;
mod client;
mod commands;
mod consequences;
mod crashes;
mod decay;
mod docker;
mod dumps;
mod front;
mod ground;
mod joined;
mod killed;
mod leaving;
mod logins;
mod machine;
mod marks;
mod matrix;
mod metadata;
mod nodes;
mod notices;
mod onlooker;
mod own;
mod packages;
mod refused;
mod rights;
mod rotation;
mod secrets;
mod services;
mod unit;
mod unitfiles;
mod whole;

use muster_test_servers::awx as awx_server;
