//! Chance, to the bit: a small generator that is forked per entity, so that what one entity draws does not
//! depend on what another does.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, every seed a good one, and short enough to stay the
/// same for ever, which a library's default generator does not promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rng(u64);

/// The constant of the Weyl sequence: 2^64 divided by the golden ratio, odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Two to the power of 53, the number of evenly spaced values that [`Rng::share`] has.
const SHARES: f64 = 9_007_199_254_740_992.0;

const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Rng {
    /// A generator of its own for each seed.
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }
    /// A generator for one entity, named by what it is and which one. Does not advance this one.
    pub const fn fork(self, what: u64, which: u64) -> Self {
        Self(mix(self.0 ^ mix(what.wrapping_mul(GAMMA) ^ mix(which))))
    }
    /// 64 even bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }
    /// Evenly in 0..1, 1 not included.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit into the mantissa exactly")]
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / SHARES
    }
    /// Whether something of this chance happens.
    pub fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }
    /// Normally distributed, mean 0, variance 1 (Box-Muller; `libm` gives the same bits on every machine,
    /// which the host's library does not).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.share()));
        radius * libm::cos(std::f64::consts::TAU * self.share())
    }
    /// Exponentially distributed, mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.share())
    }
}
