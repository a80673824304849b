//! How far forecasts are off, by the situation they are made in.

use super::estimator::Estimate;
use super::forecaster::Forecast;
use super::phases::Phases;
use super::ratios::{Ratios, Tails, bin_of};
use super::tempo::{RECENT, Tempo};
use fleet::Timestamp;
use serde::{Deserialize, Serialize};

/// A slope of so much over a lead is one, where it stands out from the usual error by so much.
const SLOPE: f64 = 0.08;
const SLOPE_ERRORS: f64 = 3.0;
/// Restlessness below and above these shares of the usual is calm and wild.
const CALM: f64 = 0.6;
const WILD: f64 = 1.3;
/// Errors below this are none: a load that stands still is neither calm nor wild.
const STILL: f64 = 1e-3;
/// What comes out so many times the usual error above its forecast, and by so much, is a surprise, as long as it
/// goes on rising.
const SURPRISE: f64 = 6.0;
const SURPRISE_LEAST: f64 = 0.15;
const STILL_RISING: f64 = 0.5;
/// So many observations of the whole stand behind those of a situation.
const SHRINK: f64 = 30.0;
/// What a surprise or saturation is remembered by, each time it is seen: they are rare.
const RARE_KEEP: f64 = 0.98;

/// What the fleet's load was like when a forecast was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Situation {
    /// Level, and about as restless as ever.
    #[default]
    Usual,
    /// One of the others between calm and wild, falling and rising; the number is `restlessness x 3 + slope`.
    Ordinary(u8),
    /// Far more came than was forecast.
    Surprised,
    /// Saturated: demand is at least what was served.
    Saturated,
    /// Saturated, and what waits is known.
    SaturatedByLoad,
    /// Where it has been for hours.
    AtRest,
}

impl Situation {
    /// Whether it must be left as fast as it can be, whatever breach may cost at other times.
    pub(super) fn is_urgent(self) -> bool {
        matches!(self, Self::Surprised | Self::Saturated | Self::SaturatedByLoad)
    }
}

/// The middle of the nine ordinary situations.
const MIDDLE: u8 = 4;

/// The situation of a forecast, and the minute of the hour that it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Context {
    pub situation: Situation,
    pub phase: u8,
}

/// What may come over a forecast.
pub(super) struct Outlook {
    /// At the tick that was forecast.
    pub then: Tails,
    /// At the worst of the minutes in which a release would be bought back, where that is another.
    pub soon: Option<Tails>,
}

/// Distributions of what came over what was forecast. 9 KiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Errors {
    all: Ratios,
    ordinary: Vec<Ratios>,
    surprised: Ratios,
    saturated: Ratios,
    by_load: Ratios,
    phases: Phases,
    /// Mean relative error lately, and as a rule.
    restless: f64,
    usual: f64,
    /// How many errors have been learned.
    learned: f64,
    /// Contexts of the forecasts in flight, by number of the tick modulo [`RECENT`].
    contexts: Vec<Context>,
    ticks: usize,
}

impl Default for Errors {
    fn default() -> Self {
        Self {
            all: Ratios::prior(10.0, unknown),
            ordinary: vec![Ratios::default(); 9],
            // A step of unknown height: as likely to double as to double again.
            surprised: Ratios::prior(5.0, |r| (r.ln() / 4.0_f64.ln()).clamp(0.0, 1.0)),
            saturated: Ratios::prior(5.0, |r| (r.ln() / 5.0_f64.ln()).clamp(0.0, 1.0)),
            by_load: Ratios::prior(5.0, |r| ((r.ln() + 0.4) / 1.0).clamp(0.0, 1.0)),
            phases: Phases::default(),
            restless: 0.02,
            usual: 0.02,
            learned: 5.0,
            contexts: vec![Context::default(); RECENT],
            ticks: 0,
        }
    }
}

/// What is thought of a fleet that nothing is known of: five minutes change load by 5 %, and once in twenty by
/// 30 %.
fn unknown(ratio: f64) -> f64 {
    let z = ratio.ln();
    let laplace = |s: f64| if z < 0.0 { 0.5 * (z / s).exp() } else { 1.0 - 0.5 * (-z / s).exp() };
    0.95 * laplace(0.01) + 0.05 * laplace(0.3)
}

impl Errors {
    /// Moves on by ticks without forecasts.
    pub fn skip(&mut self, ticks: usize) {
        self.ticks += ticks;
    }

    /// Learns how the forecast that came due has come out.
    ///
    /// * `ratio`: what came over what was forecast, both on top of the usual demand; `off`: the difference as a share of the size of demand.
    pub fn learn(&mut self, tempo: &Tempo, ratio: f64, off: f64) {
        let context = self.contexts[(self.ticks + 1 + RECENT - tempo.lead) % RECENT];
        let bin = bin_of(ratio);
        let keep = tempo.keep.errors;
        match context.situation {
            Situation::Surprised => self.surprised.add(bin, tempo.weight, RARE_KEEP),
            Situation::Saturated => return self.saturated.add(bin, tempo.weight, RARE_KEEP),
            Situation::SaturatedByLoad => return self.by_load.add(bin, tempo.weight, RARE_KEEP),
            Situation::Usual | Situation::Ordinary(_) | Situation::AtRest => {
                let number = number(context.situation);
                let keeps = (tempo.keep.phase, tempo.keep.day);
                {
                    let all = self.all.share_above(0.0, |_| 0.0);
                    let here = self.ordinary[number].share_above(SHRINK, &all);
                    self.phases.learn(context.phase, bin, tempo.weight, keeps, &all, &here);
                }
                self.all.add(bin, tempo.weight, keep);
                self.ordinary[number].add(bin, tempo.weight, keep);
            }
        }
        self.restless = off.abs() + (self.restless - off.abs()) * tempo.keep.restless;
        // A plain mean at first: two days are too long to wait for what is usual.
        self.learned += 1.0;
        let keep = tempo.keep.usual.min(1.0 - 1.0 / self.learned);
        self.usual = off.abs() + (self.usual - off.abs()) * keep;
    }

    /// Takes note of the situation of a forecast, and says what may come over it.
    pub fn outlook(
        &mut self,
        tempo: &Tempo,
        end: Timestamp,
        estimate: &Estimate,
        forecast: &Forecast,
    ) -> (Context, Outlook) {
        let ahead = i64::try_from(tempo.lead).unwrap_or(0) * tempo.tick;
        let situation = self.situation(estimate, forecast);
        let context = Context { situation, phase: Phases::of(end.millis() - 1 + ahead) };
        self.ticks += 1;
        self.contexts[self.ticks % RECENT] = context;
        let all = self.all.tails();
        let here = self.here(situation, &all);
        let ordinary = matches!(situation, Situation::Usual | Situation::Ordinary(_));
        if !ordinary || !self.phases.help() {
            return (context, Outlook { then: here, soon: None });
        }
        let minutes = usize::try_from(i64::try_from(tempo.flip).unwrap_or(0) * tempo.tick / 60_000);
        let then = self.phases.apply(context.phase, 0, &all, &here);
        let mut soon = self.phases.apply(context.phase, minutes.unwrap_or(0).min(20), &all, &here);
        for (soon, then) in soon.iter_mut().zip(&then) {
            *soon = soon.max(*then);
        }
        (context, Outlook { then, soon: Some(soon) })
    }

    fn situation(&self, estimate: &Estimate, forecast: &Forecast) -> Situation {
        if estimate.saturated && !estimate.by_load {
            return Situation::Saturated;
        }
        let surprise = (self.usual * SURPRISE).max(SURPRISE_LEAST);
        if forecast.surprise > surprise && forecast.rise > surprise * STILL_RISING {
            return Situation::Surprised;
        }
        if estimate.saturated {
            return Situation::SaturatedByLoad;
        }
        let restless = self.restless / self.usual.max(STILL);
        let restless = u8::from(restless >= CALM) + u8::from(restless >= WILD);
        let steep = (self.usual * SLOPE_ERRORS).max(SLOPE);
        let slope = u8::from(forecast.slope >= -steep) + u8::from(forecast.slope >= steep);
        match restless * 3 + slope {
            MIDDLE => Situation::Usual,
            other => Situation::Ordinary(other),
        }
    }

    /// The tails of errors in a situation, backed by the whole where it was seldom met.
    fn here(&self, situation: Situation, all: &Tails) -> Tails {
        match situation {
            Situation::Surprised => self.surprised.tails(),
            Situation::Saturated => self.saturated.tails(),
            Situation::SaturatedByLoad => self.by_load.tails(),
            Situation::Usual | Situation::Ordinary(_) | Situation::AtRest => {
                self.ordinary[number(situation)].backed_by(SHRINK, all)
            }
        }
    }
}

/// The number of an ordinary situation.
fn number(situation: Situation) -> usize {
    match situation {
        Situation::Ordinary(number) => usize::from(number).min(8),
        _ => usize::from(MIDDLE),
    }
}
