//! How busy the node is, as the kernel counts it, and the samples that are made of that.

use fleet::InstanceId;
use fleet::Timestamp;
use fleet::wire::{AgentSample, MAX_SAMPLES, SampleBatch, VERSION};
use std::time::Duration;

/// The longest period that a sample may speak of; what was longer apart (a suspended host) is nobody's mean.
const LONGEST: Duration = Duration::from_secs(300);

/// What the kernel has counted up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Time that cores worked or wanted to, in ticks of all cores: steal is counted, for the load is there all the same;
    /// waiting for a disk is not.
    busy: u64,
    /// All of it.
    total: u64,
    /// Cores.
    cores: u32,
    /// Microseconds in which some task waited for a core.
    waited: Option<u64>,
}

impl Reading {
    /// Reads `/proc/stat`, and `/proc/pressure/cpu` where the kernel has it.
    ///
    /// * returns: `None` where `/proc/stat` is not what it has been since Linux 2.6.
    pub fn parse(stat: &str, pressure: Option<&str>) -> Option<Self> {
        let first = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user, nice, system, idle, iowait, irq, softirq, steal; what guests used is in user and nice already.
        let ticks: Vec<u64> = first.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
        let (idle, waiting) = (*ticks.get(3)?, ticks.get(4).copied().unwrap_or_default());
        let total = ticks.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
        let numbered = |line: &&str| {
            line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let cores = u32::try_from(stat.lines().filter(numbered).count()).ok().filter(|cores| *cores > 0)?;
        Some(Self {
            busy: total.saturating_sub(idle).saturating_sub(waiting),
            total,
            cores,
            waited: pressure.and_then(waited),
        })
    }
}

/// Tasks that run or could, the one that reads not counted: by `/proc/loadavg`, which costs the kernel next to nothing.
///
/// * returns: `None` where that is not what it has been since Linux 2.4.
pub fn runnable(loadavg: &str) -> Option<u32> {
    let (running, _) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    running.parse().ok().map(|running: u32| running.saturating_sub(1))
}

/// `total` of the line `some`.
fn waited(pressure: &str) -> Option<u64> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// The beginning of a period.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// When it was to be: who wakes a little late does so by another little each time, and periods are whole ones by this alone.
    planned: Duration,
    /// When it was.
    at: Duration,
    reading: Reading,
}

/// Makes a sample of the readings at both ends of each period, and of what could run meanwhile.
#[derive(Clone, Debug)]
pub struct Sampler {
    period: Duration,
    begun: Option<Begun>,
    /// Sum and number of what could run at each look since then.
    runnable: (u64, u32),
}

impl Sampler {
    /// * `period`: from one sample to the next, 1 s to 300 s.
    pub const fn new(period: Duration) -> Self {
        Self { period, begun: None, runnable: (0, 0) }
    }

    /// Takes in how many tasks could run. * `planned`: when this look was to be, monotonic. * returns: whether a reading is due.
    pub fn look(&mut self, runnable: u32, planned: Duration) -> bool {
        self.runnable.0 += u64::from(runnable);
        self.runnable.1 += 1;
        self.begun.is_none_or(|begun| planned.saturating_sub(begun.planned) >= self.period)
    }

    /// Takes a reading in, once it is due. * returns: a sample of the period that it ends, if it ends one.
    ///
    /// * `planned`: as [`Self::look`] was told. `now`: when it was read, monotonic too. `wall`: for the sample's end.
    ///
    /// Counters that go back (a container that moved), cores that come or go, and a host that slept begin anew.
    pub fn take(
        &mut self,
        reading: Reading,
        planned: Duration,
        now: Duration,
        wall: Timestamp,
    ) -> Option<AgentSample> {
        let sample = self.begun.and_then(|begun| {
            let passed = now.saturating_sub(begun.at);
            if passed <= LONGEST { self.sample(&begun.reading, &reading, passed, wall) } else { None }
        });
        self.begun = Some(Begun { planned, at: now, reading });
        self.runnable = (0, 0);
        sample
    }

    fn sample(
        &self,
        first: &Reading,
        last: &Reading,
        passed: Duration,
        wall: Timestamp,
    ) -> Option<AgentSample> {
        let total = last.total.checked_sub(first.total).filter(|total| *total > 0)?;
        if first.cores != last.cores {
            return None;
        }
        // The kernel's idle time is not quite monotonic: a share may come out a hair beyond its bounds.
        let busy = last.busy.saturating_sub(first.busy);
        let waited = first.waited.zip(last.waited).and_then(|(first, last)| last.checked_sub(first));
        let (sum, count) = self.runnable;
        let mean = ratio(sum, u64::from(count.max(1)));
        Some(AgentSample {
            end_ms: wall,
            period_ms: u32::try_from(passed.as_millis()).ok()?,
            utilization: ratio(busy, total).min(1.0),
            load_per_core: Some(mean / f64::from(last.cores)),
            psi: waited
                .map(|waited| (Duration::from_micros(waited).as_secs_f64() / passed.as_secs_f64()).min(1.0)),
        })
    }
}

/// Ticks of a period and counts of tasks are far below 2^32, or as good as that here.
fn ratio(part: u64, whole: u64) -> f64 {
    let small = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    small(part) / small(whole)
}

/// Samples on their way to the autoscaler: one batch at a time, a lost one sent once more, then let go. Old load is worth
/// little, and a flood of it after an outage less than nothing.
#[derive(Clone, Debug)]
pub struct Outbox {
    instance: InstanceId,
    sequence: u64,
    waiting: Vec<AgentSample>,
    /// The batch that was sent last, and how often.
    out: Option<(SampleBatch, u32)>,
}

impl Outbox {
    /// An empty one.
    pub const fn new(instance: InstanceId) -> Self {
        Self { instance, sequence: 0, waiting: Vec::new(), out: None }
    }

    /// Takes a sample in; of too many that wait the oldest is let go.
    pub fn push(&mut self, sample: AgentSample) {
        if self.waiting.len() == MAX_SAMPLES {
            self.waiting.remove(0);
        }
        self.waiting.push(sample);
    }

    /// The batch to send now; `None` while one is out or nothing waits.
    pub fn to_send(&mut self) -> Option<SampleBatch> {
        if self.out.is_some() || self.waiting.is_empty() {
            return None;
        }
        let samples = std::mem::take(&mut self.waiting);
        let batch = SampleBatch {
            version: VERSION,
            instance: self.instance.clone(),
            sequence: self.sequence,
            samples,
        };
        self.sequence += 1;
        self.out = Some((batch.clone(), 1));
        Some(batch)
    }

    /// The batch that is out was taken, or refused for good: neither comes again.
    pub fn settled(&mut self) {
        self.out = None;
    }

    /// The batch that is out was lost. * returns: it, to be sent again; `None`: it is let go.
    pub fn lost(&mut self) -> Option<SampleBatch> {
        match &mut self.out {
            Some((batch, times)) if *times == 1 => {
                *times = 2;
                Some(batch.clone())
            }
            _ => {
                self.out = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESSURE: &str = "some avg10=1.00 avg60=0.50 avg300=0.10 total=2500000\nfull avg10=0 total=0\n";

    /// As the kernel writes it, with these counts in its first line.
    fn stat(ticks: &str) -> String {
        format!(
            "cpu  {ticks}\ncpu0 1 0 0 1\ncpu1 1 0 0 1\nintr 7 1\nctxt 9\nprocs_running 3\nprocs_blocked 0\n"
        )
    }
    fn reading(ticks: &str) -> Reading {
        Reading::parse(&stat(ticks), Some(PRESSURE)).expect("it is one")
    }
    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn steal_is_load_and_waiting_for_a_disk_is_not() {
        // 2 cores, 10 s: 2000 ticks, of which 500 user, 100 steal, 400 waiting for a disk, 1000 idle; guests are in user.
        let mut sampler = Sampler::new(secs(10));
        let first = reading("1000 0 0 5000 100 0 0 0 0 0");
        assert_eq!(sampler.take(first, secs(0), secs(0), Timestamp::from_secs(0)), None);
        let later = Reading { waited: Some(3_500_000), ..reading("1500 0 0 6000 500 0 0 100 200 0") };
        assert!(sampler.look(4, secs(10)));
        let sample =
            sampler.take(later, secs(10), secs(10), Timestamp::from_secs(10)).expect("a period has passed");
        assert_eq!(sample.utilization, 0.3);
        assert_eq!(sample.load_per_core, Some(2.0), "four tasks on two cores");
        assert_eq!(sample.psi, Some(0.1));
        assert_eq!((sample.period_ms, sample.end_ms), (10_000, Timestamp::from_secs(10)));
    }

    #[test]
    fn what_can_run_is_the_mean_of_all_looks_and_one_who_looks_is_not_counted() {
        let mut sampler = Sampler::new(secs(3));
        for (second, running) in [(0, 99), (1, 1), (2, 3), (3, 5)] {
            let runnable = runnable(&format!("0.16 0.56 0.82 {running}/92 8758\n")).expect("a count");
            let is_due = sampler.look(runnable, secs(second));
            assert_eq!(is_due, second % 3 == 0, "at first, and after each period");
            if is_due {
                let ticks = format!("{} 0 0 1000 0 0 0 0", 1000 + second * 200);
                let sample =
                    sampler.take(reading(&ticks), secs(second), secs(second), Timestamp::from_secs(9));
                assert_eq!(sample.as_ref().map(|sample| sample.utilization), (second == 3).then_some(1.0));
                assert_eq!(sample.and_then(|sample| sample.load_per_core), (second == 3).then_some(1.0));
            }
        }
        for text in ["", "0.16 0.56 0.82", "0.16 0.56 0.82 2 8758", "0.16 0.56 0.82 x/92 8758"] {
            assert_eq!(runnable(text), None, "{text:?}");
        }
    }

    #[test]
    fn who_wakes_late_by_another_little_each_time_makes_samples_of_whole_periods() {
        let mut sampler = Sampler::new(secs(10));
        let mut periods = Vec::new();
        for second in 0..=100 {
            // A timer is never early, and mostly later by some milliseconds than the last or the next.
            let now = secs(second) + Duration::from_millis(9 - second % 7);
            if sampler.look(0, secs(second)) {
                let ticks = format!("{} 0 0 1000 0 0 0 0", 1000 + second * 200);
                let sample = sampler.take(reading(&ticks), secs(second), now, Timestamp::EPOCH);
                periods.extend(sample.map(|sample| sample.period_ms));
            }
        }
        assert_eq!(periods.len(), 10, "{periods:?}");
        assert!(periods.iter().all(|period| (9_990..=10_010).contains(period)), "{periods:?}");
    }

    #[test]
    fn counters_that_go_back_cores_that_come_and_a_host_that_slept_make_no_sample() {
        let first = reading("1000 0 0 1000 0 0 0 0");
        let later = reading("2000 0 0 2000 0 0 0 0");
        let odd = [Reading { total: 1, ..later }, Reading { cores: 4, ..later }];
        for second in odd.into_iter().chain([later]) {
            let mut sampler = Sampler::new(secs(10));
            sampler.take(first, secs(0), secs(0), Timestamp::EPOCH);
            let sample = sampler.take(second, secs(10), secs(10), Timestamp::EPOCH);
            assert_eq!(sample.is_some(), second == later, "{second:?}");
        }
        let mut sampler = Sampler::new(secs(10));
        sampler.take(first, secs(0), secs(0), Timestamp::EPOCH);
        assert_eq!(sampler.take(later, secs(3600), secs(3600), Timestamp::EPOCH), None, "it slept");
    }

    #[test]
    fn a_kernel_without_pressure_and_texts_that_are_none() {
        assert_eq!(Reading::parse(&stat("1 2 3 4 5 6 7 8"), None).expect("a reading").waited, None);
        for text in ["", "cpu\n", "cpu  1 2\ncpu0 1 2\n", "cpu  1 2 x 4\ncpu0 1\n", "cpu  1 2 3 4\n"] {
            assert_eq!(Reading::parse(text, Some(PRESSURE)), None, "{text:?}");
        }
        for pressure in ["", "some\n", "some total=x", "full total=3"] {
            assert_eq!(Reading::parse(&stat("1 2 3 4"), Some(pressure)).expect("a reading").waited, None);
        }
    }

    fn sample(second: i64) -> AgentSample {
        let end_ms = Timestamp::from_secs(second);
        AgentSample { end_ms, period_ms: 10_000, utilization: 0.5, load_per_core: None, psi: None }
    }

    #[test]
    fn a_lost_batch_is_sent_once_more_and_then_let_go() {
        let mut outbox = Outbox::new(InstanceId::new("i-1"));
        assert_eq!(outbox.to_send(), None);
        outbox.push(sample(10));
        let first = outbox.to_send().expect("a batch");
        assert_eq!((first.sequence, first.samples.len()), (0, 1));
        outbox.push(sample(20));
        assert_eq!(outbox.to_send(), None, "one at a time");
        assert_eq!(outbox.lost(), Some(first), "as it was, with its number");
        assert_eq!(outbox.lost(), None);
        let second = outbox.to_send().expect("the next one");
        assert_eq!((second.sequence, second.samples), (1, vec![sample(20)]));
        outbox.settled();
        assert_eq!(outbox.to_send(), None);
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_is_kept() {
        let mut outbox = Outbox::new(InstanceId::new("i-1"));
        for second in 0..1000 {
            outbox.push(sample(second));
        }
        let batch = outbox.to_send().expect("a batch");
        assert_eq!(batch.samples.len(), MAX_SAMPLES);
        assert_eq!(batch.samples.last(), Some(&sample(999)));
    }
}
