//! The world with pools: what AWS takes back, and what becomes of it.

use crate::traces;
use autoscaler_core::Policy;
use autoscaler_lab::market::{Market, MarketPool, Recorded, RecordedError};
use autoscaler_lab::regret::regret;
use autoscaler_lab::{Interruptions, Outcome, Runner, Scores, Setting, Trace, backtest};
use std::io::Write as _;
use std::sync::Arc;

const RUNNERS: [Runner; 4] = [Runner::Muster, Runner::AwsTt, Runner::NomadTv, Runner::Hpa];

fn pool(number: usize, monthly_interruptions: f64, recorded: Recorded) -> MarketPool {
    MarketPool {
        instance_type: format!("m{number}.large"),
        zone: "eu-west-1a".to_owned(),
        monthly_interruptions,
        recorded,
    }
}

/// Three pools, the first of which has nothing between two minutes.
fn failing(from: usize, until: usize) -> Arc<Market> {
    let available = (0..3000).map(|minute| u32::from(!(from..until).contains(&minute))).collect();
    let recorded = Recorded { gap_seconds: 60, asked: 1, available, ahead: 0 };
    Arc::new(Market {
        pools: (0..3)
            .map(|n| pool(n, 0.0, if n == 0 { recorded.clone() } else { Recorded::default() }))
            .collect(),
    })
}

fn stress(market: Arc<Market>, seed: u64) -> Setting {
    Setting { interruptions: Interruptions::Stress, market: Some(market), seed, ..Setting::default() }
}

fn run(trace: &Trace, runner: Runner, setting: &Setting) -> Outcome {
    backtest(trace, None, runner, &Policy::default(), setting, true)
}

#[test]
fn where_nothing_is_taken_back_pools_serve_as_the_suite_does() {
    let market =
        Some(Arc::new(Market { pools: (0..5).map(|n| pool(n, 0.0, Recorded::default())).collect() }));
    for (seed, boot) in [(1, 120), (2, 60), (3, 180), (4, 70)] {
        let trace = traces::wild(seed, 8640);
        let suite = Setting { boot, ..Setting::default() };
        let pools = Setting { interruptions: Interruptions::Band, market: market.clone(), ..suite.clone() };
        for runner in RUNNERS {
            let (in_suite, in_pools) = (run(&trace, runner, &suite), run(&trace, runner, &pools));
            let none = Scores {
                interruptions: Some(0),
                capacity_gap_unit_seconds: Some(0.0),
                lowest_serving_ratio: Some(1.0),
                lowest_possible_ratio: Some(1.0),
                serving_below_60_ratio: Some(0.0),
                possible_below_60_ratio: Some(0.0),
                ..in_suite.scores
            };
            assert_eq!(in_pools.scores, none, "{runner:?}");
            let (a, b) = (in_suite.course.unwrap(), in_pools.course.unwrap());
            assert_eq!((a.capacity, a.billed, a.decisions), (b.capacity, b.billed, b.decisions));
        }
    }
}

#[test]
fn whoever_heeds_a_notice_misses_nothing_when_boots_are_no_longer_than_it() {
    // Twelve units over three pools; one pool's four go at 3600 s.
    let (trace, setting) = (traces::of(vec![9.0; 1000]), stress(failing(60, 70), 5));
    let ours = run(&trace, Runner::Muster, &setting);
    let s = &ours.scores;
    assert_eq!((s.interruptions, s.capacity_gap_unit_seconds), (Some(4), Some(0.0)));
    assert_eq!((s.drained_in_time_ratio, s.lowest_serving_ratio), (Some(1.0), Some(1.0)));
    // Bought two minutes before the others went.
    let course = ours.course.unwrap();
    assert_eq!((course.billed[347], course.billed[348], course.billed[360]), (12.0, 16.0, 12.0));
    assert_eq!(course.pools[0].1[360..370], [0.0; 10], "nothing to be had there");
}

#[test]
fn whoever_heeds_no_notice_misses_what_is_gone_until_the_fleet_has_replaced_it() {
    let (trace, setting) = (traces::of(vec![9.0; 1000]), stress(failing(60, 70), 5));
    let s = run(&trace, Runner::StaticPeak, &setting).scores;
    assert_eq!((s.interruptions, s.capacity_gap_unit_seconds), (Some(4), Some(4.0 * 120.0)));
    assert_eq!((s.drained_in_time_ratio, s.lowest_serving_ratio), (Some(0.0), Some(8.0 / 12.0)));
    let slow = Setting { boot: 180, ..setting };
    let s = run(&trace, Runner::StaticPeak, &slow).scores;
    assert_eq!(s.capacity_gap_unit_seconds, Some(4.0 * 180.0));
}

#[test]
fn the_band_takes_back_its_share_of_the_instances_a_month() {
    // Twelve instances, each taken back fifty times a month: a month has 730 hours.
    let pools = (0..12).map(|n| pool(n, 50.0, Recorded::default())).collect();
    let setting = Setting {
        interruptions: Interruptions::Band,
        market: Some(Arc::new(Market { pools })),
        ..Setting::default()
    };
    let s = run(&traces::of(vec![9.0; 8640 * 20]), Runner::StaticPeak, &setting).scores;
    let expected = 12.0 * 50.0 * 20.0 * 24.0 / 730.0;
    let found = s.interruptions.unwrap() as f64;
    assert!((found / expected - 1.0_f64).abs() < 0.15, "{found} of {expected}");
}

#[test]
fn a_fleet_without_any_pool_waits_for_one() {
    let available = (0..300).map(|minute| u32::from(!(60..90).contains(&minute))).collect();
    let recorded = Recorded { gap_seconds: 60, asked: 1, available, ahead: 0 };
    let market = Arc::new(Market { pools: vec![pool(0, 0.0, recorded)] });
    let outcome = run(&traces::of(vec![3.0; 1500]), Runner::Muster, &stress(market, 1));
    let course = outcome.course.unwrap();
    // What replaced the first was bought where it is taken back two minutes later, too.
    assert!(course.capacity[373..540].iter().all(|c| *c == 0.0), "half an hour without");
    assert_eq!(course.capacity[540 + 12], 4.0, "and back after a boot");
    assert_eq!(outcome.scores.lowest_serving_ratio, Some(0.0));
    assert!(outcome.scores.unserved_ratio > 0.1);
    // Nor could a clairvoyant have had any for half an hour but the notice, and a boot.
    let s = &outcome.scores;
    assert_eq!((s.lowest_possible_ratio, s.possible_below_60_ratio), (Some(0.0), Some(180.0 / 1500.0)));
    assert_eq!(s.serving_below_60_ratio, Some(188.0 / 1500.0));
}

#[test]
fn nobody_has_more_than_a_clairvoyant_could_have_had() {
    let trace = traces::wild(5, 8640 * 3);
    for (seed, boot) in [(1, 120), (2, 180), (3, 300)] {
        let setting = Setting { interruptions: Interruptions::Stress, seed, boot, ..Setting::default() };
        for runner in RUNNERS {
            let s = run(&trace, runner, &setting).scores;
            assert!(s.lowest_serving_ratio <= s.lowest_possible_ratio, "{runner:?}: {s:?}");
            assert!(s.serving_below_60_ratio >= s.possible_below_60_ratio, "{runner:?}: {s:?}");
        }
    }
    let one_of_three = stress(failing(60, 70), 5);
    let s = run(&traces::of(vec![9.0; 1000]), Runner::StaticPeak, &one_of_three).scores;
    assert_eq!((s.lowest_possible_ratio, s.possible_below_60_ratio), (Some(1.0), Some(0.0)));
}

#[test]
fn a_shaken_market_shakes_zones_and_gives_the_same_bytes_again() {
    let trace = traces::wild(3, 8640 * 3);
    let setting =
        Setting { interruptions: Interruptions::Stress, stochastic: true, seed: 11, ..Setting::default() };
    for runner in RUNNERS {
        let outcome = run(&trace, runner, &setting);
        let s = &outcome.scores;
        assert!(s.interruptions.unwrap() > 20, "{runner:?}: {s:?}");
        assert_eq!(outcome, run(&trace, runner, &setting));
        assert_ne!(outcome.scores, run(&trace, runner, &Setting { seed: 12, ..setting.clone() }).scores);
        // What each pool serves adds up to what serves.
        let course = outcome.course.unwrap();
        for step in 0..trace.demand.len() {
            let sum: f32 = course.pools.iter().map(|(_, capacity)| capacity[step]).sum();
            assert_eq!(sum, course.capacity[step], "{step}");
        }
    }
}

#[test]
fn our_policy_loses_less_than_its_rivals_to_the_same_shocks() {
    let trace = traces::sample("wc98");
    let setting = Setting { interruptions: Interruptions::Stress, seed: 3, ..Setting::default() };
    let gap = |runner| {
        let s = run(&trace, runner, &setting).scores;
        s.capacity_gap_unit_seconds.unwrap() / s.interruptions.unwrap() as f64
    };
    assert!(gap(Runner::Muster) < 0.5 * gap(Runner::AwsTt));
}

#[test]
fn whoever_is_doomed_serves_until_somebody_else_does_or_its_work_must_leave() {
    // One pool's four of twelve go at 3600 s, again and again; boots and drains take as long as they happen to.
    let (mut drained, mut gaps) = (0.0, 0.0);
    for seed in 0..40 {
        let setting = Setting { stochastic: true, ..stress(failing(60, 70), seed) };
        let s = run(&traces::of(vec![9.0; 1000]), Runner::Muster, &setting).scores;
        assert_eq!(s.interruptions, Some(4));
        drained += s.drained_in_time_ratio.unwrap() / 40.0;
        gaps += s.capacity_gap_unit_seconds.unwrap() / 160.0;
    }
    // 80 s before the end at the latest: five of six drains end in time, and of a boot of 75 s half is missing.
    assert!((0.75..0.92).contains(&drained), "{drained}");
    assert!((25.0..60.0).contains(&gaps), "{gaps}");
}

#[test]
fn a_pool_that_is_down_gives_nothing_and_keeps_what_it_gave_where_fulfilment_varies() {
    // From 3 to 12 units while the first of three pools is down.
    let trace = traces::stairs(&[(0, 2.25), (3900, 9.0)], 9000);
    let of = |stochastic| {
        let setting = Setting {
            interruptions: Interruptions::Band,
            stochastic,
            market: Some(failing(60, 160)),
            ..Setting::default()
        };
        let outcome = run(&trace, Runner::StaticPeak, &setting);
        assert_eq!(outcome.scores.interruptions, Some(0), "nobody is taken back");
        outcome.course.unwrap().pools.iter().map(|(_, serving)| serving[400]).collect::<Vec<_>>()
    };
    assert_eq!(of(false), of(true), "asked for at the start, when it was not down");
    let late = |stochastic| {
        let setting = Setting {
            stochastic,
            interruptions: Interruptions::Band,
            market: Some(failing(60, 160)),
            ..Setting::default()
        };
        let course = run(&trace, Runner::AwsTt, &setting).course.unwrap();
        (course.pools[0].1[899], course.capacity[899])
    };
    let ((never, all), (down, as_many)) = (late(false), late(true));
    assert!(never > 1.0 && down == 1.0, "{never} {down}");
    assert!(as_many >= 12.0 && all >= 12.0, "the others give it: {all} {as_many}");
}

#[test]
fn made_up_pools_are_down_now_and_then_and_each_by_itself() {
    let (market, calm) = (Market::failing(3), Market::made_up());
    assert_eq!(market, Market::failing(3));
    assert_ne!(market, Market::failing(4));
    let down = |pool: &MarketPool| {
        let minutes = pool.recorded.available.len() as f64;
        pool.recorded.available.iter().filter(|available| **available == 0).count() as f64 / minutes
    };
    for (pool, calm) in market.pools.iter().zip(&calm.pools) {
        assert!((0.02..0.12).contains(&down(pool)), "{}: {}", pool.name(), down(pool));
        assert_eq!(pool.monthly_interruptions, calm.monthly_interruptions);
        assert_eq!(calm.recorded, Recorded::default());
    }
    assert_ne!(market.pools[0].recorded, market.pools[1].recorded);
    // By the bands of the types.
    let of =
        |kind: &str| calm.pools.iter().find(|pool| pool.instance_type == kind).unwrap().monthly_interruptions;
    assert_eq!(["m5.large", "m6i.large", "c5.large", "r5.large"].map(of), [0.075, 0.025, 0.025, 0.075]);
}

#[test]
fn boots_and_drains_vary_by_chance_where_they_are_told_to() {
    let trace = traces::stairs(&[(0, 3.0), (6000, 9.0), (20_000, 3.0)], 40_000);
    let of = |seed| run(&trace, Runner::AwsTt, &Setting { stochastic: true, seed, ..Setting::default() });
    let outcome = of(1);
    assert_eq!(outcome.scores.interruptions, None, "nothing is taken back");
    let course = outcome.course.unwrap();
    let asked = course.decisions[0].at as usize / 10;
    let later = course.capacity.iter().skip(asked).position(|capacity| *capacity >= 5.0).unwrap();
    assert!((3..40).contains(&later), "{later}");
    // Whoever drains serves no more, and is billed.
    let falls = course.decisions.iter().find(|change| change.to < change.from).unwrap();
    let step = falls.at as usize / 10;
    assert!(course.capacity[step] <= falls.to as f32 && course.billed[step] > falls.to as f32);
    assert_ne!(course.capacity, of(2).course.unwrap().capacity);
}

#[test]
fn interruptions_are_a_part_of_regret() {
    let trace = traces::sample("nasa");
    let setting = Setting { interruptions: Interruptions::Stress, seed: 2, ..Setting::default() };
    let r = regret(&trace, None, Runner::Muster, &Policy::default(), &setting);
    let parts = r.delay_unit_hours
        + r.rounding_unit_hours
        + r.forecast_error_unit_hours
        + r.hold_down_unit_hours
        + r.interruptions_unit_hours;
    assert!((parts - r.regret_unit_hours).abs() < 1e-6, "{r:?}");
    assert!(r.interruptions_unit_hours > 0.0, "replacements run beside what they replace: {r:?}");
}

#[test]
fn recordings_are_read_plain_and_packed_and_refused_with_a_reason() {
    let text = br#"{"metadata": {"gap_seconds": 300}, "data": [16, 8, 0]}"#;
    let plain = Recorded::read("a.json", &text[..], 16).expect("fine");
    assert_eq!(plain, Recorded { gap_seconds: 300, asked: 16, available: vec![16, 8, 0], ahead: 0 });
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(Recorded::read("a.json.gz", packed.as_slice(), 16).expect("fine"), plain);
    assert_eq!(Recorded::read("a.json", &text[..], 1).expect("fine").asked, 16, "the highest figure");
    // Two members, as `cat a.gz b.gz` makes them.
    let member = |text: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    let two = [member(&text[..30]), member(&text[30..])].concat();
    assert_eq!(Recorded::read("a.json.gz", two.as_slice(), 16).expect("fine"), plain);
    // What never ends is not read to its end.
    let endless = Recorded::read("c.json", std::io::BufReader::new(std::io::repeat(b' ')), 1).unwrap_err();
    assert!(matches!(endless, RecordedError::TooLong { most: 32, .. }), "{endless}");
    let refused = |bytes: &[u8]| Recorded::read("b.json", bytes, 1).unwrap_err();
    assert!(matches!(refused(&packed[..20]), RecordedError::Unreadable { .. }));
    assert!(matches!(refused(b"{}"), RecordedError::Malformed { .. }));
    assert!(matches!(
        refused(br#"{"metadata": {"gap_seconds": 0}, "data": [1]}"#),
        RecordedError::Empty { .. }
    ));
    assert!(refused(br#"{"metadata": {"gap_seconds": 1}, "data": []}"#).to_string().contains("b.json"));
}

#[test]
fn few_recordings_become_four_pools_a_zone() {
    let recorded = |gap_seconds| Recorded { gap_seconds, asked: 1, available: vec![1, 0], ahead: 0 };
    let zones =
        [("b".to_owned(), recorded(60)), ("a".to_owned(), recorded(30)), ("b".to_owned(), recorded(90))];
    let market = Market::replaying(&zones);
    let of = |zone: &str| -> Vec<(u32, u64)> {
        let pools = market.pools.iter().filter(|pool| pool.zone == zone);
        pools.map(|pool| (pool.recorded.gap_seconds, pool.recorded.ahead / 3600)).collect()
    };
    assert_eq!(of("a"), [(30, 0), (30, 7), (30, 14), (30, 21)]);
    assert_eq!(of("b"), [(60, 0), (90, 0), (60, 7), (90, 7)]);
    assert_eq!(Market::replaying(&[]), Market::made_up());
}
