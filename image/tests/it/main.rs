//! Channels, publishing and the janitor against the loopback cloud: races, kills between any two calls, refusals, lost answers.

mod channels;
mod ground;
mod janitor;
mod publishing;
