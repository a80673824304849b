//! The lab: what would a policy have done, what would it have cost, and what could have been had at best?
//!
//! * [`trace`]: recorded demand, from every form in which an operator may have it.
//! * [`setting`]: the world that a policy is tried in.
//! * [`suite`]: runs a policy, ours or a rival's, through a trace, and scores it.
//! * [`outcome`]: what came out: scores, and on demand the whole course of the run.
//! * [`rivals`]: what others do.
//! * [`oracle`], [`regret`]: what could have been had at best, and what the rest is lost to.
//! * [`sweep`], [`compare`], [`shuffle`]: many runs at once, policies side by side, and whether it was luck.
//! * [`promise`]: was the promise kept in every week?
//! * [`tune`]: is there a better setting for one's own load?
//! * [`market`]: where spot capacity comes from, and what AWS takes back.
//! * [`html`]: the same to look at, in one file.
//! * [`decide`]: the policy for somebody else's simulator, a line at a time.
//!
//! Everything is computed in virtual time from the arguments alone: the same bytes on any number of threads.

mod bench;
pub mod compare;
pub mod decide;
pub mod html;
pub mod market;
mod muster;
mod number;
pub mod oracle;
pub mod outcome;
mod packed;
pub mod promise;
pub mod regret;
pub mod rivals;
pub mod setting;
pub mod shuffle;
pub mod suite;
pub mod sweep;
pub mod trace;
pub mod tune;
mod world;

pub use bench::Bench;
pub use outcome::{Course, Outcome, Scores};
pub use setting::{Channel, Interruptions, Runner, Setting};
pub use suite::backtest;
pub use trace::Trace;
