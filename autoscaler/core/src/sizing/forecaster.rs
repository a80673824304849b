//! Where demand will be when what is bought now begins to serve.

use super::Expert;
use super::history::History;
use super::regression::{FEATURES, Regression};
use super::tempo::{RECENT, Tempo};
use crate::number::{pick, real, short, signed};
use fleet::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many forecasters there are.
pub(super) const EXPERTS: usize = 7;
/// Them, in the order in which their forecasts are kept.
pub(super) const ALL: [Expert; EXPERTS] = [
    Expert::Level,
    Expert::Mean,
    Expert::Trend,
    Expert::Regression,
    Expert::Cycle,
    Expert::Yesterday,
    Expert::LastWeek,
];
/// Short periods that loads have, in minutes: what people write into crontabs.
const CYCLES: [i64; 8] = [15, 20, 30, 60, 120, 180, 240, 360];
/// So many rounds back a cycle is looked at: one alone would repeat every accident.
const ROUNDS: i64 = 3;
/// A cycle must do so much better than the one in use to replace it.
const CYCLE_MARGIN: f64 = 1.1;
const DAY: Duration = Duration::from_secs(86_400);

/// What was forecast, kept until it can be compared with what came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Demand at the time; 0 where nothing was known.
    pub demand: f32,
    /// The size of demand around then: what errors are relative to.
    pub scale: f32,
    features: [f32; FEATURES],
    said: [f32; EXPERTS],
    /// What they said together.
    pub forecast: f32,
}

/// A forecast of the mean demand of the tick that lies [`Tempo::lead`] ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Forecast {
    /// What they say together, in power, above 0.
    pub demand: f64,
    /// What each says.
    pub said: [f64; EXPERTS],
    /// What each counts for; sums to 1.
    pub weights: [f64; EXPERTS],
    /// How demand has been going over the last lead, as a share of its size.
    pub slope: f64,
    /// How far the last forecast to come due was off, as a share: positive where more came.
    pub surprise: f64,
    /// How demand has risen with the newest tick, as a share of its size.
    pub rise: f64,
    /// Mean demand of the last minute, in power.
    pub lately: f64,
}

/// An ensemble whose members are weighted by how well they did lately at the distance that matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Forecaster {
    /// Demand of recent ticks, by number modulo [`RECENT`].
    recent: Vec<f32>,
    /// How many ticks have been seen since the tempo last changed.
    ticks: usize,
    /// Level over ten minutes and over an hour.
    mean: f64,
    hour: f64,
    /// Forecasts in flight, by number modulo [`RECENT`].
    origins: Vec<Origin>,
    regression: Regression,
    /// Squared relative errors, each expert's, and how many they are.
    losses: [f64; EXPERTS],
    loss_count: f64,
    /// By how much each cycle did better than the level did, in squared relative errors.
    cycle_gains: [f64; CYCLES.len()],
    cycle: usize,
    cycle_turn: f64,
}

impl Default for Forecaster {
    fn default() -> Self {
        Self {
            recent: vec![0.0; RECENT],
            ticks: 0,
            mean: 0.0,
            hour: 0.0,
            origins: vec![Origin::default(); RECENT],
            regression: Regression::default(),
            losses: [0.0; EXPERTS],
            loss_count: 0.0,
            cycle_gains: [0.0; CYCLES.len()],
            cycle: 3,
            cycle_turn: 0.0,
        }
    }
}

impl Forecaster {
    /// Takes a tick's demand in.
    ///
    /// * returns: the forecast that was made for this tick a lead ago, if one was.
    ///
    /// O(1), no allocation.
    pub fn learn(&mut self, tempo: &Tempo, history: &History, end: Timestamp, demand: f64) -> Option<Origin> {
        if self.ticks == 0 {
            self.recent.fill(short(demand));
            (self.mean, self.hour) = (demand, demand);
        }
        self.ticks += 1;
        let slot = self.ticks % RECENT;
        self.recent[slot] = short(demand);
        self.origins[slot] = Origin::default();
        self.mean = demand + (self.mean - demand) * tempo.keep.mean;
        self.hour = demand + (self.hour - demand) * tempo.keep.hour;
        if self.ticks <= tempo.lead {
            return None;
        }
        let origin = self.origins[(self.ticks - tempo.lead) % RECENT].clone();
        if origin.demand <= 0.0 {
            return None;
        }
        self.judge(tempo, &origin, demand);
        self.judge_a_cycle(tempo, history, end, demand);
        Some(origin)
    }

    /// Fills ticks that no sample came for: nothing is learned from them.
    pub fn skip(&mut self, count: usize) {
        if self.ticks == 0 {
            return;
        }
        for _ in 0..count.min(RECENT) {
            let last = self.recent[self.ticks % RECENT];
            self.ticks += 1;
            self.recent[self.ticks % RECENT] = last;
            self.origins[self.ticks % RECENT] = Origin::default();
        }
    }

    /// Begins anew at another tempo, with what was learned of the experts.
    pub fn restart(&mut self) {
        self.ticks = 0;
        self.origins.fill(Origin::default());
    }

    /// Forecasts the tick that lies a lead ahead of the newest, and remembers the forecast until it comes due.
    pub fn forecast(&mut self, tempo: &Tempo, history: &History, end: Timestamp, surprise: f64) -> Forecast {
        let now = self.back(0);
        let scale = self.mean.max(now / 2.0).max(f64::MIN_POSITIVE);
        let features = self.features(tempo, history, end, scale);
        let lead = tempo.span(tempo.lead);
        let again = |ago: Duration| {
            let (then, later) = (history.around(end - ago)?, history.around(end + lead - ago)?);
            (then > 0.0).then(|| now * (later / then).clamp(0.25, 4.0))
        };
        let cycle = (self.cycle_gains[self.cycle] > 0.0).then(|| now + scale * features[FEATURES - 1]);
        let opinions = [
            Some(now),
            Some(self.mean),
            Some(now + (now - self.back(tempo.lead)) / 2.0),
            Some(now + scale * self.regression.predict(&features)),
            cycle,
            again(DAY),
            again(DAY * 7),
        ];
        // No expert is believed beyond four times what was seen, nor below a fiftieth of it.
        let size = now.max(self.mean);
        let said = opinions.map(|f| f.unwrap_or(now).clamp(size / 50.0, size * 4.0).max(f64::MIN_POSITIVE));
        let weights = self.weights(opinions.map(|f| f.is_some()));
        let demand = said.iter().zip(&weights).map(|(f, w)| f * w).sum::<f64>();
        self.origins[self.ticks % RECENT] = Origin {
            demand: short(now),
            scale: short(scale),
            features: features.map(short),
            said: said.map(short),
            forecast: short(demand),
        };
        let minute = tempo.ticks(Duration::from_secs(60));
        let lately = (0..minute).map(|ago| self.back(ago)).sum::<f64>() / real(signed(minute));
        Forecast { demand, said, weights, slope: features[2], surprise, rise: features[0], lately }
    }

    /// Demand so many ticks ago.
    fn back(&self, ticks: usize) -> f64 {
        f64::from(self.recent[(self.ticks + RECENT * 2 - ticks.min(RECENT - 1)) % RECENT])
    }

    /// What the regression looks at, relative to the size of demand: slopes, distance from the means, and how
    /// the cycle went on from here.
    fn features(&self, tempo: &Tempo, history: &History, end: Timestamp, scale: f64) -> [f64; FEATURES] {
        let now = self.back(0);
        let period = CYCLES[self.cycle];
        let found = self.cycle_gains[self.cycle] > 0.0;
        let cycle = if found { rounds(history, end, period, -tempo.lead_minutes()) } else { 0.0 };
        [
            now - self.back(1),
            now - self.back((tempo.lead / 2).max(2)),
            now - self.back(tempo.lead),
            now - self.mean,
            now - self.hour,
            cycle,
        ]
        .map(|x| (x / scale).clamp(-4.0, 4.0))
    }

    /// The inverse squares of the mean squared errors, so that who is twice as good counts sixteen times as much.
    /// Who has nothing to say does not count: it would only be one more voice for the level.
    fn weights(&self, speaks: [bool; EXPERTS]) -> [f64; EXPERTS] {
        let mut weights = [0.0; EXPERTS];
        if self.loss_count < 1.0 {
            weights[0] = 1.0;
            return weights;
        }
        for ((weight, loss), speaks) in weights.iter_mut().zip(&self.losses).zip(speaks) {
            // A hundredth of error is as good as none: it keeps the weights of a constant load apart from noise.
            let loss = (loss + 1e-4) / (self.loss_count + 1.0);
            *weight = f64::from(u8::from(speaks)) / (loss * loss);
        }
        let sum: f64 = weights.iter().sum();
        weights.map(|w| w / sum)
    }

    /// Compares what the experts said a lead ago with what came.
    fn judge(&mut self, tempo: &Tempo, origin: &Origin, came: f64) {
        let scale = f64::from(origin.scale).max(f64::MIN_POSITIVE);
        let change = (came - f64::from(origin.demand)) / scale;
        self.regression.learn(&origin.features.map(f64::from), change.clamp(-3.0, 3.0), tempo.keep.errors);
        self.loss_count = self.loss_count * tempo.keep.losses + 1.0;
        for (loss, said) in self.losses.iter_mut().zip(&origin.said) {
            let error = (f64::from(*said) - came) / scale;
            *loss = *loss * tempo.keep.losses + error * error;
        }
    }

    /// Judges one of the cycles, another one each tick; the turns follow the golden ratio, so that they do not
    /// beat with any period.
    fn judge_a_cycle(&mut self, tempo: &Tempo, history: &History, end: Timestamp, came: f64) {
        self.cycle_turn = (self.cycle_turn + 0.618_033_988_749_895).fract();
        let turn = pick(self.cycle_turn, CYCLES.len());
        let scale = self.hour.max(f64::MIN_POSITIVE);
        let naive = (came - self.back(tempo.lead)) / scale;
        let end = end - Duration::from_secs(60) * u32::try_from(tempo.lead_minutes()).unwrap_or(0);
        let change = rounds(history, end, CYCLES[turn], -tempo.lead_minutes()) / scale;
        let gain = naive * naive - (naive - change) * (naive - change);
        self.cycle_gains[turn] = self.cycle_gains[turn] * tempo.keep.day + gain;
        if self.cycle_gains[turn] > self.cycle_gains[self.cycle].max(0.0) * CYCLE_MARGIN {
            self.cycle = turn;
        }
    }
}

/// How demand went on, in the rounds of a cycle before: the mean change from `end` minus whole periods to
/// `-minutes` later. 0 without history.
fn rounds(history: &History, end: Timestamp, period: i64, minutes: i64) -> f64 {
    if period + minutes < 0 {
        return 0.0;
    }
    let at = |ago: i64| history.minute(Timestamp::from_millis(end.millis() - 1 - ago * 60_000));
    let (mut sum, mut count) = (0.0, 0.0);
    for round in 1..=ROUNDS {
        let (Some(then), Some(later)) = (at(round * period), at(round * period + minutes)) else { break };
        sum += later - then;
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}
