//! The client against a real Nomad: a server and three clients, shared by the tests of one job each; what stops
//! the server or changes who may do what has a cluster of its own.

mod cluster;
mod denied;
mod drains;
mod leaderless;
mod load;
mod planner;
mod regions;
mod secured;
