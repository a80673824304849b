//! Pushed samples: from what each node says to what the fleet did, in windows of 10 s.

use crate::{CompactSample, Known, State};
use autoscaler_core::Phase;
use fleet::wire::AgentSample;
use fleet::{InstanceId, Sample, Saturation, Source, Timestamp, Utilization};
use std::collections::BTreeMap;
use std::time::Duration;

/// The length of a window: what agents send by default.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// A long sample tells about every window that it covers; about no more than this many.
const MOST_WINDOWS: u32 = 32;
/// Above this a node cannot show how much more there is to do.
const SATURATED: f64 = 0.95;

/// What one node said about one window.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// How much of the window is told about.
    seconds: f64,
    utilization: f64,
    load: (f64, f64),
    psi: (f64, f64),
}

impl Told {
    fn add(&mut self, sample: &AgentSample, seconds: f64) {
        self.seconds += seconds;
        self.utilization += seconds * sample.utilization;
        for (sum, value) in [(&mut self.load, sample.load_per_core), (&mut self.psi, sample.psi)] {
            if let Some(value) = value {
                sum.0 += seconds;
                sum.1 += seconds * value;
            }
        }
    }
}

/// The windows of one fleet that are open, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    open: BTreeMap<Timestamp, BTreeMap<InstanceId, Told>>,
    /// The end of the newest window that was closed: what comes for it or before is late.
    closed: Option<Timestamp>,
}

/// A closed window, and how many of those who should have spoken did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Closed {
    /// What the fleet did.
    pub sample: CompactSample,
    /// How many instances served in the window.
    pub serving: u32,
    /// How many of these spoke.
    pub heard: u32,
}

/// The end of the window that an instant belongs to: windows are half-open at their start.
fn window_end(at: Timestamp) -> Timestamp {
    let floor = at.floor(WINDOW);
    if floor == at { at } else { floor + WINDOW }
}

impl Windows {
    /// Takes in what a node said.
    ///
    /// * returns: whether any window was still open for it.
    pub fn add(&mut self, instance: &InstanceId, sample: &AgentSample) -> bool {
        let period = Duration::from_millis(u64::from(sample.period_ms));
        // A sample of about a window's length tells about the window that it ends in, whatever its phase; a long
        // one about each window that it covers.
        let mut windows = 1_u32;
        while windows < MOST_WINDOWS && WINDOW * windows + WINDOW / 2 <= period {
            windows += 1;
        }
        let seconds = period.as_secs_f64() / f64::from(windows);
        let last = window_end(sample.end_ms);
        let mut taken = false;
        for back in 0..windows {
            let end = last - WINDOW * back;
            if self.closed.is_none_or(|closed| end > closed) {
                self.open.entry(end).or_default().entry(instance.clone()).or_default().add(sample, seconds);
                taken = true;
            }
        }
        taken
    }

    /// Closes every window that ended `grace` ago or longer.
    pub fn close_until(&mut self, now: Timestamp, grace: Duration, state: &State) -> Vec<Closed> {
        let mut closed = Vec::new();
        while let Some((end, _)) = self.open.first_key_value() {
            if *end + grace > now {
                break;
            }
            closed.extend(self.close_first(now, state));
        }
        closed
    }

    /// Closes the windows that have ended and about which every serving instance has spoken.
    ///
    /// While instances boot nobody knows who will speak, and windows wait for their grace: the first of a fleet
    /// whose agents all begin at once must not be taken for the whole of it.
    pub fn close_complete(&mut self, now: Timestamp, state: &State) -> Vec<Closed> {
        let mut closed = Vec::new();
        while let Some((end, told)) = self.open.first_key_value() {
            if *end > now {
                break;
            }
            let begin = *end - WINDOW;
            let phases = state.phases(now);
            // Asked with every batch of every agent: whether one has spoken is known sooner than whether it serves.
            let serves = |known: &Known| {
                let (phase, since) = phases.of(known);
                phase == Phase::InService && since <= begin
            };
            // Whoever tells all of a fleet tells it by id: the last one is the one that is missing.
            let mut all = state.instances.iter().rev();
            if !all.all(|(id, known)| told.contains_key(id) || !serves(known)) || state.boots(now) {
                break;
            }
            closed.extend(self.close_first(now, state));
        }
        closed
    }

    /// Closes the oldest window: the mean of those who spoke, by power, stands for all who served.
    fn close_first(&mut self, now: Timestamp, state: &State) -> Option<Closed> {
        let (end, told) = self.open.pop_first()?;
        self.closed = self.closed.max(Some(end));
        let begin = end - WINDOW;
        let (mut power, mut serving, mut heard, mut saturated) = (0.0, 0_u32, 0_u32, 0_u32);
        let (mut heard_power, mut busy) = (0.0, 0.0);
        let (mut load, mut psi) = ((0.0, 0.0), (0.0, 0.0));
        for (id, of_instance) in state.served_through(begin, end, now) {
            let of_instance = of_instance.get();
            serving += 1;
            power += of_instance;
            let Some(told) = told.get(id).filter(|told| told.seconds > 0.0) else { continue };
            let utilization = told.utilization / told.seconds;
            heard += 1;
            heard_power += of_instance;
            busy += of_instance * utilization;
            saturated += u32::from(utilization > SATURATED);
            for (sum, (seconds, value)) in [(&mut load, told.load), (&mut psi, told.psi)] {
                if seconds > 0.0 {
                    sum.0 += of_instance;
                    sum.1 += of_instance * value / seconds;
                }
            }
        }
        if heard_power <= 0.0 {
            return None;
        }
        let mean = |(weight, sum): (f64, f64)| (weight > 0.0).then(|| sum / weight);
        let sample = Sample {
            source: Source::Push,
            end,
            period: WINDOW,
            utilization: Utilization::new(busy / heard_power),
            power: fleet::Power::new(power),
            instances: heard,
            saturation: Saturation {
                load_per_core: mean(load),
                psi: mean(psi),
                saturated_share: Some(f64::from(saturated) / f64::from(heard)),
            },
        };
        Some(Closed { sample: CompactSample::of(&sample), serving, heard })
    }

    /// The end of the oldest open window.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.open.first_key_value().map(|(end, _)| *end)
    }

    /// Forgets everything: the clock that cut the windows has jumped.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InstanceSeen, Record};
    use fleet::{Health, InstanceState, Pool};

    const GRACE: Duration = Duration::from_millis(2500);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    /// A fleet whose instances have served since time 0: `large` has twice the power of the others.
    fn fleet(ids: &[&str]) -> State {
        let mut state = State::default();
        let seen = ids.iter().map(|id| InstanceSeen {
            id: (*id).into(),
            pool: Pool::spot(if *id == "large" { "m5.xlarge" } else { "m5.large" }, "eu-west-1a"),
            state: InstanceState::Running,
            health: Health::Healthy,
            launched: at(-1000),
            vcpus: None,
            private_ip: None,
            protected: false,
            launch: None,
        });
        let (missing, gone) = (Vec::new(), Vec::new());
        state.apply(&Record::Instances { at: at(0), seen: seen.collect(), missing, gone });
        state
    }

    fn told(end: i64, seconds: u32, utilization: f64) -> AgentSample {
        AgentSample {
            end_ms: at(end),
            period_ms: seconds * 1000,
            utilization,
            load_per_core: Some(utilization * 2.0),
            psi: None,
        }
    }

    #[test]
    fn a_window_closes_at_once_when_all_have_spoken_and_weighs_by_power() {
        let state = fleet(&["a", "large"]);
        let mut windows = Windows::default();
        assert!(windows.add(&"a".into(), &told(10, 10, 0.3)));
        assert!(windows.close_complete(at(11), &state).is_empty(), "one has not spoken");
        assert!(windows.add(&"large".into(), &told(10, 10, 0.6)));
        let closed = windows.close_complete(at(11), &state);
        let [Closed { sample, serving: 2, heard: 2 }] = closed[..] else { panic!("{closed:?}") };
        let sample = sample.sample();
        assert_eq!((sample.end, sample.period, sample.instances), (at(10), WINDOW, 2));
        assert_eq!((sample.utilization.get(), sample.power.get()), (0.5, 6.0));
        assert_eq!(sample.saturation.load_per_core, Some(1.0));
        assert_eq!(sample.saturation.psi, None);
        assert!(!windows.add(&"a".into(), &told(10, 10, 0.9)), "what comes later is late");
    }

    #[test]
    fn the_first_to_speak_is_not_taken_for_a_fleet_whose_others_may_speak_at_any_moment() {
        let mut state = fleet(&["a", "b"]);
        let seen =
            state.instances.values().map(|known| InstanceSeen { launched: at(-5), ..known.seen.clone() });
        let (seen, missing, gone) = (seen.collect(), Vec::new(), Vec::new());
        state.apply(&Record::Instances { at: at(0), seen, missing, gone });
        state.apply(&Record::Serves { instance: "a".into(), since: at(0) });
        let mut windows = Windows::default();
        windows.add(&"a".into(), &told(10, 10, 0.9));
        assert!(windows.close_complete(at(11), &state).is_empty(), "b may speak yet");
        state.apply(&Record::Serves { instance: "b".into(), since: at(0) });
        windows.add(&"b".into(), &told(10, 10, 0.7));
        let closed = windows.close_complete(at(11), &state);
        assert!(matches!(closed[..], [Closed { serving: 2, heard: 2, .. }]), "{closed:?}");
    }

    #[test]
    fn the_silent_are_taken_to_be_as_busy_as_those_who_spoke() {
        let state = fleet(&["a", "b", "c", "d"]);
        let mut windows = Windows::default();
        windows.add(&"a".into(), &told(10, 10, 0.8));
        windows.add(&"stranger".into(), &told(10, 10, 0.1));
        assert!(windows.close_until(at(12), GRACE, &state).is_empty(), "the others may yet speak");
        let closed = windows.close_until(at(13), GRACE, &state);
        let [Closed { sample, serving: 4, heard: 1 }] = closed[..] else { panic!("{closed:?}") };
        assert_eq!(sample.sample().power.get(), 8.0, "the power of all that serve");
        assert_eq!((sample.sample().utilization.get(), sample.instances), (0.8, 1));
    }

    #[test]
    fn samples_of_any_length_and_phase_find_their_windows() {
        let state = fleet(&["a"]);
        let means = |samples: &[AgentSample]| {
            let mut windows = Windows::default();
            assert!(samples.iter().all(|sample| windows.add(&"a".into(), sample)));
            let closed = windows.close_until(at(100), GRACE, &state);
            closed
                .iter()
                .map(|c| (c.sample.end.secs(), c.sample.sample().utilization.get()))
                .collect::<Vec<_>>()
        };
        assert_eq!(means(&[told(7, 10, 0.5)]), [(10, 0.5)], "out of phase");
        assert_eq!(means(&[told(5, 5, 0.2), told(10, 5, 0.4)]), [(10, 0.3)], "two halves");
        assert_eq!(means(&[told(30, 30, 0.5)]), [(10, 0.5), (20, 0.5), (30, 0.5)], "a long one");
    }

    #[test]
    fn an_instance_that_began_to_serve_within_the_window_does_not_count_yet() {
        let mut state = fleet(&["a", "young"]);
        state.apply(&Record::Serves { instance: "young".into(), since: at(4) });
        let mut windows = Windows::default();
        windows.add(&"a".into(), &told(10, 10, 0.9));
        windows.add(&"young".into(), &told(10, 6, 0.1));
        let closed = windows.close_complete(at(11), &state);
        let [Closed { sample, serving: 1, heard: 1 }] = closed[..] else { panic!("{closed:?}") };
        assert_eq!((sample.sample().utilization.get(), sample.sample().power.get()), (0.9, 2.0));
    }
}
