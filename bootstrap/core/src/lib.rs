//! What the agent of a node decides: which step of the boot is next, whether to try again, what a failure means.
//!
//! Pure: nothing here asks anybody, reads a file or looks at a clock. [`Boot`] is told what happened
//! ([`Event`]) and answers with what to do ([`Effect`]); the agent does it. So every order of events, every crash and
//! every failure can be played in a test.
//!
//! * [`Step`], [`Step::after`]: the graph of the boot.
//! * [`Boot`]: the machine that walks it, first for the boot and then, every few minutes, to see that it still holds.
//! * [`Progress`]: what must survive a crash, so that nothing is done twice.
//! * [`Report`]: how far it has come, for `status`, `analyze` and the metrics.
//! * [`Lifetime`]: when a token or a certificate is renewed.
//! * [`awx`]: what AWX's answers mean.
//! * [`Watch`]: who is told that the instance goes, and what is done when nobody listens.
//! * [`Sampler`], [`Outbox`]: how busy the node is, and the batches that tell of it.
//! * [`Secret`]: what is never shown, and wiped when it is let go.
//! * [`Breaker`]: when nodes of one image may no longer end themselves.

mod analyze;
pub mod awx;
mod boot;
mod breaker;
mod failure;
mod graph;
mod lifetime;
mod load;
mod progress;
mod report;
mod retry;
mod secret;
mod watch;

pub use analyze::{Link, blame, critical_chain};
pub use boot::{Boot, Checked, Effect, Event, Now, Plan, Work};
pub use breaker::{Breaker, Verdict};
pub use failure::{Failure, OnFailure};
pub use graph::Step;
pub use lifetime::{Lifetime, Renewal};
pub use load::{Outbox, Reading, Sampler, runnable};
pub use progress::{Entry, Inputs, Phase, Progress};
pub use report::{Condition, Report, State, StepReport};
pub use retry::{Pace, Retry, spread};
pub use secret::Secret;
pub use watch::{Answered, Watch, WatchEffect};
