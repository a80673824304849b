//! The adapter on a real socket, against recorded answers and every way in which an answer can fail to come.

mod calls;
mod describe;
mod failures;
mod identity;
mod metrics;
mod notices;
mod stub;
