//! What others do: the policies that ours is compared with, each as its documentation or its emulators have it.

mod hpa;
mod simple;
mod target_tracking;
mod target_value;

use crate::suite::Controller;
use crate::suite::metric::Seen;
use crate::suite::tally::Rules;
use crate::{Runner, Setting};
pub use hpa::Hpa;
pub use simple::Lag;
pub use target_tracking::{Quiet, TargetTracking};
pub use target_value::TargetValue;

/// A rival with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rival {
    /// AWS target tracking, in one of its variants.
    TargetTracking(TargetTracking),
    /// Nomad Autoscaler's target-value strategy.
    TargetValue(TargetValue),
    /// As Kubernetes' horizontal pod autoscaler.
    Hpa(Hpa),
    /// Enough for the highest demand of the trace, all the time; a clairvoyant's idea of safety.
    StaticPeak {
        /// Utilisation at the peak.
        target: f64,
    },
    /// What demand needed some time ago, and some units more.
    Lag(Lag),
}

impl Rival {
    /// A runner's rival with the parameters of the suite; `None` for our own policy.
    pub fn of(runner: Runner, target: f64, setting: &Setting) -> Option<Self> {
        Some(match runner {
            Runner::Muster => return None,
            Runner::AwsTt => Self::TargetTracking(TargetTracking::one_minute(target)),
            Runner::AwsTt5m => Self::TargetTracking(TargetTracking::five_minutes(target)),
            Runner::AwsTt10s => Self::TargetTracking(TargetTracking::ten_seconds(target)),
            Runner::AwsAsgTt => Self::TargetTracking(TargetTracking::of_a_group(target, setting.boot)),
            Runner::NomadTv => Self::TargetValue(TargetValue::new(target)),
            Runner::Hpa => Self::Hpa(Hpa::new(target)),
            Runner::StaticPeak => Self::StaticPeak { target },
            Runner::Lag => Self::Lag(Lag::new(target)),
        })
    }

    /// The same with another target.
    #[must_use]
    pub fn at(self, target: f64) -> Self {
        match self {
            Self::TargetTracking(rival) => Self::TargetTracking(TargetTracking { target, ..rival }),
            Self::TargetValue(rival) => Self::TargetValue(TargetValue { target, ..rival }),
            Self::Hpa(rival) => Self::Hpa(Hpa { target, ..rival }),
            Self::StaticPeak { .. } => Self::StaticPeak { target },
            Self::Lag(rival) => Self::Lag(Lag { target, ..rival }),
        }
    }

    /// Somebody who decides by it.
    ///
    /// * `peak`: the highest demand of the trace.
    pub(crate) fn begin(&self, rules: &Rules, peak: f64) -> Deciding {
        match self {
            Self::TargetTracking(rival) => Deciding::TargetTracking(rival.begin(rules)),
            Self::TargetValue(rival) => Deciding::TargetValue(rival.begin(rules)),
            Self::Hpa(rival) => Deciding::Hpa(rival.begin(rules)),
            Self::StaticPeak { target } => Deciding::Fixed(simple::Fixed::new(rules, peak / target)),
            Self::Lag(rival) => Deciding::Lag(rival.begin(rules)),
        }
    }
}

/// A rival at work.
#[derive(Clone, Debug)]
pub(crate) enum Deciding {
    TargetTracking(target_tracking::Tracker),
    TargetValue(target_value::Evaluator),
    Hpa(hpa::Syncer),
    Fixed(simple::Fixed),
    Lag(simple::Lagging),
}

/// Hands a controller on to what needs its very type, so that the loop over the steps knows what it calls.
macro_rules! with_controller {
    ($deciding:expr, $controller:ident => $body:expr) => {
        match $deciding {
            $crate::rivals::Deciding::TargetTracking($controller) => $body,
            $crate::rivals::Deciding::TargetValue($controller) => $body,
            $crate::rivals::Deciding::Hpa($controller) => $body,
            $crate::rivals::Deciding::Fixed($controller) => $body,
            $crate::rivals::Deciding::Lag($controller) => $body,
        }
    };
}
pub(crate) use with_controller;

impl Controller for Deciding {
    fn decide(&mut self, seen: &Seen) -> u32 {
        with_controller!(self, controller => controller.decide(seen))
    }
    fn need(&self) -> u32 {
        with_controller!(self, controller => controller.need())
    }
    fn reason(&self) -> String {
        with_controller!(self, controller => controller.reason())
    }
}
