//! Services that do not exist, of characters that do: demand by the minute, made from a seed.
//!
//! Recordings are few, and what is fitted to them is not learned from them. A change of sizing must help here, too.

/// A sequence that looks random and is the same everywhere.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66_D1CE_4E5B)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 <= x < 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, deviation 1.
    pub fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.share(), self.share());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    /// At least 1, infinitely many means for `shape <= 1`.
    fn pareto(&mut self, shape: f64) -> f64 {
        (1.0 - self.share()).powf(-1.0 / shape)
    }

    fn pick(&mut self, count: usize) -> usize {
        (self.share() * count as f64) as usize
    }
}

/// A kind of service.
pub type Make = fn(&mut Chance, usize) -> Vec<f64>;

/// All kinds, by name.
pub const KINDS: [(&str, Make); 13] = [
    ("cron", cron),
    ("hourly", hourly),
    ("diurnal", diurnal),
    ("office", office),
    ("bursts", bursts),
    ("shots", shots),
    ("regimes", regimes),
    ("batch", batch),
    ("walk", walk),
    ("restless", restless),
    ("steps", steps),
    ("points", points),
    ("mixture", mixture),
];

/// Demand by the minute over some days, scaled as the recordings are: the 99.9th percentile needs 18 of 20.
pub fn service(make: Make, seed: u64, days: usize) -> Vec<f64> {
    scaled(make(&mut Chance::new(seed), days * 1440))
}

/// Scales demand so that its 99.9th percentile is 13.5 units.
pub fn scaled(mut minutes: Vec<f64>) -> Vec<f64> {
    let mut sorted = minutes.clone();
    sorted.sort_by(f64::total_cmp);
    let high = sorted[sorted.len() * 999 / 1000].max(1e-9);
    for demand in &mut minutes {
        *demand = (*demand * 13.5 / high).max(0.0);
    }
    minutes
}

/// 10 s steps between the minutes' values.
pub fn by_steps(minutes: &[f64]) -> Vec<f64> {
    let between = |pair: &[f64]| {
        let (a, b) = (pair[0], pair[1]);
        (0..6).map(move |k| a + (b - a) * (f64::from(k) + 0.5) / 6.0)
    };
    minutes.windows(2).flat_map(between).collect()
}

/// The recording's days in another order.
pub fn shuffled(minutes: &[f64], seed: u64) -> Vec<f64> {
    let mut days: Vec<&[f64]> = minutes.chunks_exact(1440).collect();
    let mut chance = Chance::new(seed);
    for last in (1..days.len()).rev() {
        days.swap(last, chance.pick(last + 1));
    }
    days.concat()
}

/// The recording run faster (above 1) or slower, and its swings amplified (above 1) or damped.
pub fn warped(minutes: &[f64], speed: f64, swing: f64) -> Vec<f64> {
    let count = ((minutes.len() - 1) as f64 / speed) as usize;
    let at = |k: usize| {
        let t = k as f64 * speed;
        let i = (t as usize).min(minutes.len() - 2);
        minutes[i] + (minutes[i + 1] - minutes[i]) * (t - i as f64).min(1.0)
    };
    scaled((0..count).map(|k| at(k).max(0.0).powf(swing)).collect())
}

/// A level that stays where it is, by 10 s steps: within `spread` of it, jumping at random (`memory` 0) or wandering
/// slowly (`memory` in minutes).
pub fn constant(level: f64, spread: f64, memory: f64, seed: u64, steps: usize) -> Vec<f64> {
    let mut chance = Chance::new(seed);
    if memory <= 0.0 {
        return (0..steps).map(|_| level * (1.0 + spread * (2.0 * chance.share() - 1.0))).collect();
    }
    let slow = wander(&mut chance, steps, 0.5, memory * 6.0);
    slow.iter().map(|w| level * (1.0 + spread * w.clamp(-1.0, 1.0))).collect()
}

/// Noise that remembers itself for some minutes.
fn wander(chance: &mut Chance, minutes: usize, deviation: f64, memory: f64) -> Vec<f64> {
    let keep = (-1.0 / memory).exp();
    let fresh = deviation * (1.0 - keep * keep).sqrt();
    let mut at = deviation * chance.normal();
    (0..minutes)
        .map(|_| {
            at = at * keep + fresh * chance.normal();
            at
        })
        .collect()
}

/// A day's course between 0 and 1, highest in the afternoon, with quieter weekends.
fn day(minute: usize) -> f64 {
    let hour = (minute % 1440) as f64 / 60.0;
    let weekend = if (minute / 1440) % 7 >= 5 { 0.7 } else { 1.0 };
    weekend * (0.5 - 0.5 * ((hour - 3.0) / 24.0 * std::f64::consts::TAU).cos())
}

/// Adds a swell that rises at once and decays.
fn add_burst(load: &mut [f64], at: usize, height: f64, lasts: f64) {
    for (k, demand) in load[at..].iter_mut().enumerate().take((lasts * 6.0) as usize + 1) {
        *demand += height * (-(k as f64) / lasts).exp();
    }
}

/// Jobs every half hour and every hour on a quiet floor, each run of another size.
fn cron(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let (half, whole) = (chance.pick(30), chance.pick(60));
    let mut load: Vec<f64> = wander(chance, minutes, 0.1, 30.0).iter().map(|w| 2.0 * w.exp()).collect();
    for minute in 0..minutes {
        let size = |chance: &mut Chance| (0.3 * chance.normal()).exp();
        if minute % 30 == half {
            let (height, lasts) = (3.0 * size(chance), 2.0 + 3.0 * chance.share());
            add_burst(&mut load, minute, height, lasts);
        }
        if minute % 60 == whole && chance.share() < 0.9 {
            let (height, lasts) = (6.0 * size(chance), 1.0 + 2.0 * chance.share());
            add_burst(&mut load, minute, height, lasts);
        }
    }
    load
}

/// A swing each hour or two, on the course of a day.
fn hourly(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let period = [60.0, 90.0, 120.0][chance.pick(3)];
    let noise = wander(chance, minutes, 0.04, 5.0);
    let at = |(m, w): (usize, &f64)| {
        let swing = 0.5 + 0.5 * (m as f64 / period * std::f64::consts::TAU).sin();
        (1.0 + 2.0 * day(m)) * (1.0 + swing.powi(3)) * w.exp()
    };
    noise.iter().enumerate().map(at).collect()
}

/// The course of a day with little noise.
fn diurnal(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let low = 0.1 + 0.4 * chance.share();
    let (slow, fast) = (wander(chance, minutes, 0.08, 600.0), wander(chance, minutes, 0.03, 3.0));
    (0..minutes).map(|m| (low + (1.0 - low) * day(m)) * (slow[m] + fast[m]).exp()).collect()
}

/// Steep mornings, lunch, closing time, and nights with backups.
fn office(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let noise = wander(chance, minutes, 0.07, 8.0);
    let rise = 5.0 + 20.0 * chance.share();
    let ramp = |m: f64, at: f64| 1.0 / (1.0 + (-(m - at) / rise).exp());
    let at = |(m, w): (usize, &f64)| {
        let t = (m % 1440) as f64;
        let open = if (m / 1440) % 7 < 5 { 1.0 } else { 0.15 };
        let work = ramp(t, 540.0) - 0.35 * (ramp(t, 720.0) - ramp(t, 790.0)) - ramp(t, 1050.0);
        let backup = if (120.0..150.0).contains(&t) { 0.5 } else { 0.0 };
        (0.12 + open * work + backup).max(0.05) * w.exp()
    };
    noise.iter().enumerate().map(at).collect()
}

/// Bursts of all sizes at any time on a noisy floor.
fn bursts(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let mut load: Vec<f64> = wander(chance, minutes, 0.15, 10.0)
        .iter()
        .enumerate()
        .map(|(m, w)| (1.0 + day(m)) * w.exp())
        .collect();
    let mean = 40.0 + 80.0 * chance.share();
    let mut at = chance.exponential(mean);
    while at < minutes as f64 {
        let (height, lasts) = (chance.pareto(1.6).min(12.0) * 0.6, 1.0 + chance.exponential(6.0));
        add_burst(&mut load, at as usize, height, lasts);
        at += chance.exponential(mean);
    }
    load
}

/// Many small jobs at once, some of them huge: each holds its share for as long as it takes.
fn shots(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let mut load = vec![0.3; minutes];
    let mut at = 0.0;
    while at < minutes as f64 {
        let lasts = (chance.pareto(1.3) * 2.0).min(240.0) as usize;
        let size = 0.2 + chance.exponential(0.3);
        for demand in load[at as usize..].iter_mut().take(lasts) {
            *demand += size;
        }
        at += chance.exponential(1.5 / (0.4 + day(at as usize)));
    }
    load
}

/// Another level now and then, and noise of another strength with it.
fn regimes(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let noise = wander(chance, minutes, 1.0, 4.0);
    let (mut level, mut strength, mut left) = (1.0, 0.05, 0.0);
    let step = |w: &f64| {
        left -= 1.0;
        if left <= 0.0 {
            left = chance.exponential(500.0);
            level = (0.5 * chance.normal()).exp();
            strength = 0.02 + 0.2 * chance.share().powi(2);
        }
        level * (strength * w).exp()
    };
    noise.iter().map(step).collect()
}

/// Jobs that take a share of the fleet for an hour or so, and nothing in between.
fn batch(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let mut load: Vec<f64> = wander(chance, minutes, 0.05, 5.0).iter().map(|w| w.exp()).collect();
    let mut at = chance.exponential(200.0);
    while at < minutes as f64 {
        let (size, lasts) = (1.0 + chance.exponential(3.0), 20.0 + chance.exponential(60.0));
        for (k, demand) in load[at as usize..].iter_mut().enumerate().take(lasts as usize) {
            *demand += size * ((k + 1) as f64 / 4.0).min(1.0);
        }
        at += lasts + chance.exponential(200.0);
    }
    load
}

/// A level that wanders and returns within hours.
fn walk(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let (slow, fast) = (wander(chance, minutes, 0.5, 240.0), wander(chance, minutes, 0.05, 2.0));
    slow.iter().zip(&fast).map(|(s, f)| (s + f).exp()).collect()
}

/// Restless within minutes, more so at some times than at others.
fn restless(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let noise = wander(chance, minutes, 1.0, 6.0);
    let strength = wander(chance, minutes, 0.6, 300.0);
    (0..minutes).map(|m| (0.6 + day(m)) * (0.2 * strength[m].exp().min(4.0) * noise[m]).exp()).collect()
}

/// A level load that some events multiply for a while.
fn steps(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let mut load: Vec<f64> = wander(chance, minutes, 0.02, 3.0).iter().map(|w| w.exp()).collect();
    let mut at = chance.exponential(700.0);
    while at < minutes as f64 {
        let (times, lasts) = (1.5 + 3.0 * chance.share(), 30.0 + chance.exponential(90.0));
        for demand in load[at as usize..].iter_mut().take(lasts as usize) {
            *demand *= times;
        }
        at += lasts + chance.exponential(700.0);
    }
    load
}

/// Known every five minutes alone, straight in between, with a spike now and then.
fn points(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let noise = wander(chance, minutes / 5 + 2, 0.25, 3.0);
    let knots: Vec<f64> = noise
        .iter()
        .enumerate()
        .map(|(k, w)| {
            let spike = if chance.share() < 0.01 { 1.0 + chance.exponential(2.0) } else { 1.0 };
            (0.5 + day(k * 5)) * w.exp() * spike
        })
        .collect();
    (0..minutes).map(|m| knots[m / 5] + (knots[m / 5 + 1] - knots[m / 5]) * (m % 5) as f64 / 5.0).collect()
}

/// Half a day's course, a quarter jobs, a quarter bursts.
fn mixture(chance: &mut Chance, minutes: usize) -> Vec<f64> {
    let parts = [diurnal, cron, bursts].map(|make| scaled(make(chance, minutes)));
    (0..minutes).map(|m| 2.0 * parts[0][m] + parts[1][m] + parts[2][m]).collect()
}
