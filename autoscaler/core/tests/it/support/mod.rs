//! What the tests stand on.

pub mod ec2;
pub mod nodes;
pub mod scene;
pub mod services;
pub mod trace;
pub mod world;
