//! What holds across crates: boundaries, wire, system, fault and golden tests. The tests are in `tests/tests/`;
//! what they share is here.

pub mod account;
pub mod agent;
pub mod awx;
pub mod ground;
pub mod image;
pub mod job;
pub mod machine;
pub mod mirror;
pub mod programs;
pub mod tools;
pub mod web;
pub mod work;
