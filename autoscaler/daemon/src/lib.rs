//! The daemon: a thin shell around the engine. It carries effects out (calls, records, timers), hands their
//! outcomes back as events, and answers agents and operators. It makes no choices.
//!
//! * [`Daemon::start`] begins one; a [`Handle`] is what everybody else holds of it.
//! * One task owns the engine and never waits for a call; calls run in tasks of their own, few of a kind at a
//!   time, and each ends with an event: by its answer, its deadline or its panic.
//! * The journal has a thread of its own. A write is begun only when its intent has been written.
//! * Everything but transport waits on the [`fleet::ports::Clock`] that it is given, and [`Handle::idle`] tells
//!   when nothing can happen before that moves on: a day takes as long as its work takes.
//!
//! No AWS in here: ports come through [`Connect`].

mod alarm;
mod config;
mod daemon;
mod effects;
mod handle;
mod hooks;
pub mod http;
mod idle;
mod leadership;
mod ledgers;
mod logbook;
pub mod metrics;
mod named;
mod nodes;
pub mod notices;
mod peers;
pub mod policies;
pub mod prometheus;
mod queue;
mod queues;
mod recorder;
mod runtime;
mod signals;
pub mod tls;

pub use alarm::alarm_text;
pub use config::{Connect, DaemonConfig, Everywhere, RegionPorts, StartError};
pub use daemon::Daemon;
pub use handle::{Handle, ReloadError, explain};
pub use queues::QueueSource;
pub use runtime::Ended;
pub use signals::Signals;
