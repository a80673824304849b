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
    #[must_use]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The first draws for seed 1234567 of the generator as its authors published it: `new` mixes the seed
    /// first, so the state is set by hand here.
    #[test]
    fn the_bits_are_those_of_splitmix64() {
        let mut rng = Rng(1_234_567);
        let drawn = [rng.bits(), rng.bits(), rng.bits()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn forks_differ_and_leave_their_parent_alone() {
        let parent = Rng::new(1);
        let mut forks: Vec<u64> =
            (0..100).flat_map(|n| [parent.fork(1, n), parent.fork(2, n)]).map(|mut f| f.bits()).collect();
        forks.sort_unstable();
        forks.dedup();
        assert_eq!(forks.len(), 200);
        assert_eq!(parent, Rng::new(1));
    }

    #[test]
    fn distributions_have_their_means_and_spreads() {
        let mut rng = Rng::new(5);
        let mut mean =
            |draw: fn(&mut Rng) -> f64| (0..100_000).map(|_| draw(&mut rng)).sum::<f64>() / 100_000.0;
        for (name, mean, expected) in [
            ("share", mean(Rng::share), 0.5),
            ("exponential", mean(Rng::exponential), 1.0),
            ("normal", mean(Rng::normal), 0.0),
            ("variance of normal", mean(|rng| rng.normal().powi(2)), 1.0),
            ("chance", mean(|rng| f64::from(u8::from(rng.chance(0.3)))), 0.3),
        ] {
            assert!((mean - expected).abs() < 0.02, "{name}: {mean}");
        }
    }
}
