//! What the demo shows of one moment, and what it keeps of the moments before.

use autoscaler_core::Decision;
use autoscaler_engine::Decided;
use fleet::{FleetId, Pool, Timestamp};
use fleet_sim::{FleetTruth, InstancePhase, Scores, World};
use std::collections::BTreeMap;
use std::time::Duration;

/// One moment of the fleet.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Since the start of the day.
    pub elapsed: Duration,
    /// The fleet as it is.
    pub truth: FleetTruth,
    /// How it went so far.
    pub scores: Scores,
    /// Instances by pool: (in service, on their way, leaving); every pool of the world.
    pub pools: Vec<(Pool, [u32; 3])>,
    /// The pools that have nothing to give now.
    pub dry: Vec<Pool>,
}

impl Frame {
    /// Reads the fleet's truth off the world; `None` before it is there.
    pub fn of(world: &World, fleet: &FleetId) -> Option<Self> {
        let elapsed = world.now().since(world.start());
        let mut pools: BTreeMap<Pool, [u32; 3]> =
            world.spec().pools.iter().map(|pool| (pool.pool(), [0; 3])).collect();
        for instance in world.instance_truths(fleet) {
            let slot = match instance.phase {
                InstancePhase::InService => 0,
                InstancePhase::Requested | InstancePhase::Booting => 1,
                InstancePhase::Draining => 2,
                InstancePhase::Gone => continue,
            };
            pools.entry(instance.pool).or_default()[slot] += 1;
        }
        let is_dry = |pool: &&fleet_sim::PoolSpec| {
            pool.windows.iter().any(|w| w.depth == 0 && (w.from..w.until).contains(&elapsed))
        };
        Some(Self {
            elapsed,
            truth: world.truth(fleet)?,
            scores: world.scores(fleet)?,
            pools: pools.into_iter().collect(),
            dry: world.spec().pools.iter().filter(is_dry).map(fleet_sim::PoolSpec::pool).collect(),
        })
    }
}

/// What a chart needs of the past: one point for each slice of the day.
#[derive(Clone, Debug)]
pub struct Past {
    slice: Duration,
    /// (start of the slice, mean demand, capacity in service at its end, highest utilisation).
    pub points: Vec<Point>,
}

/// One slice of the day.
#[derive(Clone, Copy, Debug, Default)]
pub struct Point {
    /// Its start, in hours from the start of the day.
    pub hour: f64,
    /// The highest demand in it.
    pub demand: f64,
    /// The capacity in service at its end.
    pub capacity: f64,
    /// The mean utilisation in it, 0..=1.
    pub utilization: f64,
    moments: u32,
}

impl Past {
    /// Keeps at most some 300 slices of a day of this length.
    pub fn new(length: Duration) -> Self {
        Self { slice: (length / 288).max(Duration::from_secs(10)), points: Vec::new() }
    }

    /// Takes a moment in.
    pub fn add(&mut self, frame: &Frame) {
        let slice = frame.elapsed.as_millis() / self.slice.as_millis().max(1);
        let hour = self.slice.as_secs_f64() * f64::from(u32::try_from(slice).unwrap_or(u32::MAX)) / 3600.0;
        if self.points.last().is_none_or(|last| last.hour < hour) {
            self.points.push(Point { hour, ..Point::default() });
        }
        let Some(point) = self.points.last_mut() else { return };
        point.demand = point.demand.max(frame.truth.demand);
        point.capacity = frame.truth.capacity;
        point.moments += 1;
        point.utilization += (frame.truth.utilization - point.utilization) / f64::from(point.moments);
    }
}

/// A decision that changed something, as a line: `07:42  5 -> 6  needs …`.
pub fn decision_line(decided: &Decided, start: Timestamp) -> Option<String> {
    let size = match &decided.report.decision {
        Decision::ScaleOut { from, to }
        | Decision::ScaleIn { from, to }
        | Decision::Replace { from, to }
        | Decision::LowerBack { from, to } => format!("{from} \u{2192} {to}"),
        Decision::SetRight { target } => format!("{target} set right"),
        Decision::Trim { instances } => format!("trim {instances}"),
        Decision::Drain { instances } => format!("drain {instances}"),
        Decision::Keep { instances } => format!("keep {instances}"),
        Decision::Shift { from, to } => format!("{from} \u{2192} {to} od"),
        Decision::Launch { version } => format!("version {version}"),
        Decision::Steady | Decision::Held => return None,
    };
    let time = clock_time(decided.at.since(start));
    Some(format!("{time}  {size:<8}  {}", decided.report.one_line()))
}

/// `07:42`, as time of the day that is played; hours go beyond 24 on longer ones.
pub fn clock_time(elapsed: Duration) -> String {
    let minutes = elapsed.as_secs() / 60;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}
