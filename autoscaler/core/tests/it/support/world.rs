//! A small world to size in: one pool of instances of weight 1, a queue, a metric that comes late.

use autoscaler_core::{Learned, Policy, sizing};
use fleet::{Power, Sample, Saturation, Source, Timestamp, Utilization};
use std::collections::VecDeque;
use std::time::Duration;

/// How samples come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// 10 s means, with load per core, at once.
    Push,
    /// 60 s means, 60 s late.
    Cloudwatch1m,
    /// 300 s means, 300 s late.
    Cloudwatch5m,
}

impl Channel {
    fn steps(self) -> usize {
        match self {
            Self::Push => 1,
            Self::Cloudwatch1m => 6,
            Self::Cloudwatch5m => 30,
        }
    }
    fn late_steps(self) -> usize {
        if self == Self::Push { 0 } else { self.steps() }
    }
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    pub days: f64,
    pub unit_hours: f64,
    /// Over the sum of `ceil(demand / target)` of every step.
    pub over_ceil: f64,
    /// Over the clairvoyant optimum.
    pub over_oracle: f64,
    pub breach80: f64,
    /// The most of it in a week, of those that are at least half there.
    pub worst_week: f64,
    pub saturated: f64,
    pub unserved: f64,
    pub mean_utilization: f64,
    pub actions_per_day: f64,
    pub flips_per_day: f64,
    /// (second, from, to) of every change of the target.
    pub actions: Vec<(u32, u32, u32)>,
    /// Seconds of the steps above 80 %.
    pub above: Vec<u32>,
}

/// The world's fixed settings.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub channel: Channel,
    pub boot_steps: usize,
    /// When the recording begins, in seconds since midnight.
    pub start: i64,
}

impl Default for World {
    fn default() -> Self {
        Self { channel: Channel::Push, boot_steps: 12, start: 0 }
    }
}

const STEP: f64 = 10.0;

/// Lets the sizing kernel hold a fleet against `demand` (10 s steps), starting with nothing learned.
pub fn hold(world: World, policy: &Policy, learned: &mut Learned, demand: &[f64]) -> Scores {
    let goal = policy.target.get();
    let first = ((demand[0] / goal).ceil() as u32).clamp(policy.capacity.min, policy.capacity.max);
    let mut target = first;
    let mut serving = first;
    // When each instance on its way begins to serve.
    let mut coming: VecDeque<usize> = VecDeque::new();
    let mut queue = 0.0_f64;
    let mut window: VecDeque<(f64, f64, f64)> = VecDeque::new();
    let mut late: VecDeque<(usize, Sample)> = VecDeque::new();
    let mut tally = Tally::default();
    for (step, d) in demand.iter().copied().enumerate() {
        while coming.front().is_some_and(|ready| *ready <= step) {
            coming.pop_front();
            serving += 1;
        }
        let capacity = f64::from(serving);
        let offered = queue + d * STEP;
        let served = offered.min(capacity * STEP);
        queue = offered - served;
        let dropped = (queue - 30.0 * capacity).max(0.0);
        queue -= dropped;
        tally.step(step, d, capacity, served, dropped, serving as usize + coming.len());
        window.push_back((served, capacity * STEP, offered / (capacity * STEP)));
        let end = world.start + (step as i64 + 1) * 10;
        if (step + 1) % world.channel.steps() == 0 {
            late.push_back((step + world.channel.late_steps(), sample(world.channel, end, &mut window)));
        }
        let mut news = false;
        while late.front().is_some_and(|(seen, _)| *seen <= step) {
            let (_, sample) = late.pop_front().expect("just seen");
            learned.observe(policy, &sample);
            news = true;
        }
        if !news {
            continue;
        }
        let now = Timestamp::from_secs(end + 1);
        let Some(sizing) = sizing::size(policy, learned, Power::new(1.0), now) else { continue };
        let buy = sizing.buy.clamp(policy.capacity.min, policy.capacity.max);
        let keep = sizing.keep.clamp(buy, policy.capacity.max);
        let wanted = target.clamp(buy, keep);
        if wanted == target {
            continue;
        }
        tally.action(step, target, wanted, world.boot_steps);
        for _ in target..wanted {
            coming.push_back(step + 1 + world.boot_steps);
        }
        for _ in wanted..target {
            // What does not serve yet goes first.
            if coming.pop_back().is_none() {
                serving -= 1;
            }
        }
        target = wanted;
    }
    tally.scores(demand, policy, world.boot_steps)
}

fn sample(channel: Channel, end: i64, window: &mut VecDeque<(f64, f64, f64)>) -> Sample {
    let (served, capacity) = window.iter().fold((0.0, 0.0), |(s, c), w| (s + w.0, c + w.1));
    let load = window.iter().map(|w| w.2).sum::<f64>() / window.len() as f64;
    let period = window.len() as f64 * STEP;
    window.clear();
    let push = channel == Channel::Push;
    Sample {
        source: if push { Source::Push } else { Source::Cloudwatch },
        end: Timestamp::from_secs(end),
        period: Duration::from_secs_f64(period),
        utilization: Utilization::new(served / capacity),
        power: Power::new(capacity / period),
        instances: 0,
        saturation: Saturation { load_per_core: push.then_some(load), psi: None, saturated_share: None },
    }
}

#[derive(Default)]
struct Tally {
    unit_steps: f64,
    breach: usize,
    saturated: usize,
    served: f64,
    offered: f64,
    capacity: f64,
    dropped: f64,
    flips: usize,
    last_in: Option<usize>,
    actions: Vec<(u32, u32, u32)>,
    above: Vec<u32>,
}

impl Tally {
    fn step(&mut self, step: usize, d: f64, capacity: f64, served: f64, dropped: f64, billed: usize) {
        self.unit_steps += billed as f64;
        self.capacity += capacity * STEP;
        self.served += served;
        self.offered += d * STEP;
        self.dropped += dropped;
        if d > 0.8 * capacity {
            self.breach += 1;
            self.above.push(step as u32 * 10);
        }
        self.saturated += usize::from(d > capacity);
    }

    fn action(&mut self, step: usize, from: u32, to: u32, boot_steps: usize) {
        self.actions.push((step as u32 * 10, from, to));
        if to < from {
            self.last_in = Some(step);
        } else if self.last_in.take().is_some_and(|at| step - at <= boot_steps + 30) {
            self.flips += 1;
        }
    }

    fn scores(self, demand: &[f64], policy: &Policy, boot_steps: usize) -> Scores {
        let steps = demand.len() as f64;
        let days = steps / 8640.0;
        let goal = policy.target.get();
        let max = f64::from(policy.capacity.max);
        let ceil: f64 = demand.iter().map(|d| (d / goal).ceil().clamp(1.0, max)).sum();
        let unit_hours = self.unit_steps / 360.0;
        Scores {
            days,
            unit_hours,
            over_ceil: self.unit_steps / ceil,
            over_oracle: unit_hours / oracle(demand, policy, boot_steps / 6),
            breach80: self.breach as f64 / steps,
            worst_week: worst_week(&self.above, demand.len()),
            saturated: self.saturated as f64 / steps,
            unserved: self.dropped / self.offered,
            mean_utilization: self.served / self.capacity,
            actions_per_day: self.actions.len() as f64 / days,
            flips_per_day: self.flips as f64 / days,
            actions: self.actions,
            above: self.above,
        }
    }
}

fn worst_week(above: &[u32], steps: usize) -> f64 {
    const WEEK: usize = 7 * 8640;
    let weeks = (0..steps).step_by(WEEK).filter(|from| steps - from >= WEEK.min(steps) / 2);
    let share = |from: usize| {
        let to = (from + WEEK).min(steps);
        let inside = above.iter().filter(|at| (from..to).contains(&(**at as usize / 10))).count();
        inside as f64 / (to - from) as f64
    };
    weeks.map(share).fold(0.0, f64::max)
}

/// The least unit-hours with which demand stays at or below the target in every minute, known in advance.
pub fn oracle(demand: &[f64], policy: &Policy, boot_minutes: usize) -> f64 {
    let (min, max) = (policy.capacity.min as usize, policy.capacity.max as usize);
    let beta = boot_minutes as f64;
    let mut best: Option<Vec<f64>> = None;
    for minute in demand.chunks(6) {
        let peak = minute.iter().copied().fold(0.0, f64::max);
        let need = ((peak / policy.target.get()).ceil() as usize).clamp(min, max);
        let mut next = vec![f64::INFINITY; max + 1];
        // From more: nothing is paid for what is given back. From less: the launch of what is missing.
        let mut least = f64::INFINITY;
        for x in (0..=max).rev() {
            least = best.as_ref().map_or(0.0, |before| least.min(before[x]));
            next[x] = least;
        }
        let mut least = f64::INFINITY;
        for (x, cost) in next.iter_mut().enumerate() {
            least = best.as_ref().map_or(0.0, |before| (least + beta).min(before[x]));
            *cost = if x < need { f64::INFINITY } else { x as f64 + cost.min(least) };
        }
        best = Some(next);
    }
    best.unwrap_or_default().into_iter().fold(f64::INFINITY, f64::min) / 60.0
}
