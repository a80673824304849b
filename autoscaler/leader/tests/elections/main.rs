//! Several electors and their Consul on virtual time: who leads, when, and that it is never two.

mod chance;
mod scenes;
mod seeds;
mod world;
