//! Samples in integers, so that what is folded is what is kept.

use fleet::{Power, Sample, Saturation, Source, Timestamp, Utilization};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A sample in integers: what is folded is what is kept, to the bit, in some 25 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactSample {
    /// [`Sample::source`].
    pub source: Source,
    /// [`Sample::end`].
    pub end: Timestamp,
    /// [`Sample::period`] in milliseconds.
    pub period_ms: u32,
    /// [`Sample::utilization`] in hundred thousandths.
    pub utilization: u32,
    /// [`Sample::power`] in thousandths.
    pub power: u32,
    /// [`Sample::instances`].
    pub instances: u32,
    /// [`Saturation::load_per_core`] in thousandths.
    pub load_per_core: Option<u32>,
    /// [`Saturation::psi`] in thousandths.
    pub psi: Option<u32>,
    /// [`Saturation::saturated_share`] in thousandths.
    pub saturated_share: Option<u32>,
}

/// Rounds to a whole number of `1 / scale`, within what `u32` holds; what is not a number becomes 0.
fn scaled(value: f64, scale: f64) -> u32 {
    let scaled = (value * scale).round().clamp(0.0, f64::from(u32::MAX));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded and clamped to the range; a cast takes what is not a number as 0"
    )]
    let whole = scaled as u32;
    whole
}

impl CompactSample {
    /// Rounds a sample.
    pub fn of(sample: &Sample) -> Self {
        Self {
            source: sample.source,
            end: sample.end,
            period_ms: u32::try_from(sample.period.as_millis()).unwrap_or(u32::MAX),
            utilization: scaled(sample.utilization.get(), 1e5),
            power: scaled(sample.power.get(), 1e3),
            instances: sample.instances,
            load_per_core: sample.saturation.load_per_core.map(|load| scaled(load, 1e3)),
            psi: sample.saturation.psi.map(|psi| scaled(psi, 1e3)),
            saturated_share: sample.saturation.saturated_share.map(|share| scaled(share, 1e3)),
        }
    }

    /// The sample, as every fold sees it.
    pub fn sample(&self) -> Sample {
        let thousandths = |whole: u32| f64::from(whole) / 1e3;
        Sample {
            source: self.source,
            end: self.end,
            period: self.period(),
            utilization: Utilization::new(f64::from(self.utilization) / 1e5),
            power: Power::new(thousandths(self.power)),
            instances: self.instances,
            saturation: Saturation {
                load_per_core: self.load_per_core.map(thousandths),
                psi: self.psi.map(thousandths),
                saturated_share: self.saturated_share.map(thousandths),
            },
        }
    }

    /// [`Sample::period`].
    pub fn period(&self) -> Duration {
        Duration::from_millis(u64::from(self.period_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_folded() {
        let sample = Sample {
            source: Source::Push,
            end: Timestamp::from_secs(1_700_000_010),
            period: Duration::from_secs(10),
            utilization: Utilization::new(2.0 / 3.0),
            power: Power::new(12.5),
            instances: 7,
            saturation: Saturation {
                load_per_core: Some(1.0 / 3.0),
                psi: Some(f64::NAN),
                saturated_share: None,
            },
        };
        let compact = CompactSample::of(&sample);
        let folded = compact.sample();
        assert_eq!(CompactSample::of(&folded), compact, "rounding twice changes nothing");
        assert!((folded.utilization.get() - 2.0 / 3.0).abs() < 1e-5);
        assert_eq!(folded.power.get(), 12.5);
        assert_eq!(folded.saturation.psi, Some(0.0), "what is not a number cannot be kept");
        let bytes = postcard::to_stdvec(&compact).expect("it encodes");
        assert!(bytes.len() <= 26, "{} bytes", bytes.len());
        assert_eq!(postcard::from_bytes(&bytes), Ok(compact));
    }
}
