//! The rivals, by their stated timings, to the second.

use crate::traces;
use autoscaler_core::Policy;
use autoscaler_lab::rivals::{Quiet, Rival, TargetTracking};
use autoscaler_lab::{Bench, Runner, Setting, Trace, backtest};

/// (second, from, to) of every change of the target.
fn moves(trace: &Trace, runner: Runner) -> Vec<(u32, u32, u32)> {
    let outcome = backtest(trace, None, runner, &Policy::default(), &Setting::default(), true);
    let course = outcome.course.expect("asked for");
    course.decisions.iter().map(|change| (change.at, change.from, change.to)).collect()
}

#[test]
fn target_tracking_scales_out_after_three_minutes_and_the_metrics_delay() {
    let trace = traces::stairs(&[(0, 3.0), (600, 12.0)], 3600);
    // Three periods end at 780 s, the last is seen at 840 s: 4 units at 100 % are to be 6. They serve at 960 s, the
    // next full minute on 6 ends at 1020 s and is seen at 1080 s, and so on. The first minute on 15 units works off
    // what waits, and looks like 100 %; fifteen on 20 from 1920 s on are low, and seen at 2880 s.
    let expected = [(840, 4, 6), (1080, 6, 8), (1320, 8, 11), (1560, 11, 15), (1800, 15, 20), (2880, 20, 16)];
    assert_eq!(moves(&trace, Runner::AwsTt), expected);
}

#[test]
fn target_tracking_waits_for_three_periods_in_a_row() {
    // Two minutes above the target, one at it, and again: never three.
    let stairs: Vec<(u32, f64)> =
        (0..20).flat_map(|n| [(n * 180, 3.0), (n * 180 + 60, 3.3), (n * 180 + 180, 3.0)]).collect();
    assert_eq!(moves(&traces::stairs(&stairs, 3600), Runner::AwsTt), []);
    let three = traces::stairs(&[(0, 3.0), (600, 3.3), (780, 3.0)], 3600);
    assert_eq!(moves(&three, Runner::AwsTt)[0], (840, 4, 5));
}

#[test]
fn target_tracking_scales_in_after_fifteen_minutes_and_the_metrics_delay() {
    let trace = traces::stairs(&[(0, 3.0), (1200, 0.9)], 5400);
    assert_eq!(moves(&trace, Runner::AwsTt), [(2160, 4, 2)]);
    // 0.9 x 75 % is 67.5 %: just above is left alone for ever.
    assert_eq!(moves(&traces::stairs(&[(0, 15.0), (1200, 13.6)], 9000), Runner::AwsTt), []);
    assert_eq!(moves(&traces::stairs(&[(0, 15.0), (1200, 13.4)], 9000), Runner::AwsTt), [(2160, 20, 18)]);
}

#[test]
fn target_tracking_leaves_five_minutes_between_two_scale_ins() {
    let trace = traces::stairs(&[(0, 9.0), (1200, 6.0), (2160, 3.0)], 5400);
    // The low alarm stays on: 3 of 12 units, then of 8, are low, too.
    assert_eq!(moves(&trace, Runner::AwsTt), [(2160, 12, 8), (2460, 8, 4)]);
    // A group has no cooldown: it acts when the metric shows the next fall, a minute and the delay later.
    assert_eq!(moves(&trace, Runner::AwsAsgTt), [(2160, 12, 8), (2280, 8, 4)]);
}

#[test]
fn target_tracking_gives_nothing_back_after_a_scale_out() {
    let bench_trace = traces::stairs(&[(0, 0.75), (60, 3.0), (240, 0.3)], 3600);
    let (policy, setting) = (Policy::default(), Setting { boot: 60, ..Setting::default() });
    let bench = Bench::new(&bench_trace, &policy, &setting);
    let at = |quiet| {
        // A low alarm of one period, so that quiet alone decides.
        let rules = TargetTracking { periods_in: 1, quiet, ..TargetTracking::one_minute(0.75) };
        let run = bench.run_rival(Runner::AwsTt, &Rival::TargetTracking(rules), &policy, true);
        let decisions = run.course.expect("asked for").decisions;
        let first_in = decisions.iter().find(|change| change.to < change.from).expect("falls");
        let last_out = decisions.iter().rfind(|c| c.to > c.from && c.at < first_in.at).expect("rises");
        first_in.at - last_out.at
    };
    assert_eq!((at(Quiet::Cooldown(300)), at(Quiet::Cooldown(600)), at(Quiet::WarmUp(120))), (300, 600, 120));
    // What ends between two samples ends with the next.
    assert_eq!(at(Quiet::Cooldown(310)), 360);
}

#[test]
fn target_tracking_on_other_periods_is_as_much_slower_or_faster() {
    let trace = traces::stairs(&[(0, 3.0), (900, 6.0)], 3600);
    assert_eq!(moves(&trace, Runner::AwsTt5m)[0].0, 900 + 3 * 300 + 300);
    assert_eq!(moves(&trace, Runner::AwsTt10s)[0].0, 900 + 30 + 20);
    let falls = traces::stairs(&[(0, 9.0), (900, 3.0)], 9000);
    assert_eq!(moves(&falls, Runner::AwsTt5m)[0].0, 900 + 15 * 300 + 300);
    assert_eq!(moves(&falls, Runner::AwsTt10s)[0].0, 900 + 900 + 20);
}

#[test]
fn nomads_strategy_evaluates_every_ten_seconds_and_rests_after_an_action() {
    let trace = traces::stairs(&[(0, 3.0), (600, 6.0)], 3600);
    let found = moves(&trace, Runner::NomadTv);
    // At 620 s the minute up to 610 s is a sixth busier: 4 x (5 x 75 % + 100 %) / 6 / 75 % = 4.2. It serves at 740 s,
    // and five minutes later the next may follow.
    assert_eq!(found[..2], [(620, 4, 5), (1040, 5, 7)]);
    let within_a_hundredth = traces::stairs(&[(0, 3.0), (600, 3.02)], 3600);
    assert_eq!(moves(&within_a_hundredth, Runner::NomadTv), []);
    let falls = traces::stairs(&[(0, 9.0), (600, 3.0)], 3600);
    let found = moves(&falls, Runner::NomadTv);
    assert_eq!(found[1].0 - found[0].0, 300, "a scale-in is completed at once: {found:?}");
}

#[test]
fn the_pod_autoscaler_syncs_every_fifteen_seconds_and_keeps_the_highest_of_five_minutes() {
    let trace = traces::stairs(&[(0, 3.0), (600, 6.0)], 1200);
    // The sync at 615 s sees the mean up to 610 s, and is carried out at the step's end; that at 750 s is the first to
    // count the new instances, and still sees the old ones overloaded.
    assert_eq!(moves(&trace, Runner::Hpa)[..2], [(620, 4, 6), (750, 6, 8)]);
    let within_a_tenth = traces::stairs(&[(0, 3.0), (600, 3.29)], 1200);
    assert_eq!(moves(&within_a_tenth, Runner::Hpa), []);
    let falls = traces::stairs(&[(0, 9.0), (600, 3.0)], 1800);
    assert_eq!(
        moves(&falls, Runner::Hpa),
        [(920, 12, 4)],
        "the last high recommendation is that of 600 s, and counts at 900 s"
    );
}

#[test]
fn the_simple_rivals_do_as_they_are_called() {
    let trace = traces::stairs(&[(0, 3.0), (600, 6.0)], 1200);
    assert_eq!(moves(&trace, Runner::StaticPeak), [(10, 4, 8)]);
    // Four for the demand of three minutes ago, and one more.
    assert_eq!(moves(&trace, Runner::Lag), [(190, 4, 5), (790, 5, 9)]);
}

#[test]
fn a_fourfold_step_costs_each_rival_about_what_an_independent_simulator_found() {
    let trace = traces::sample("flash");
    let rises = trace.demand.windows(2).filter(|pair| pair[0] < 4.0 && pair[1] >= 4.0).count();
    assert!(rises > 0);
    for (runner, minutes) in [(Runner::AwsTt, 16.7), (Runner::NomadTv, 22.7), (Runner::Hpa, 8.3)] {
        let s = backtest(&trace, None, runner, &Policy::default(), &Setting::default(), false).scores;
        let found = s.breach80_ratio * trace.demand.len() as f64 / 6.0 / rises as f64;
        assert!((found / minutes - 1.0_f64).abs() < 0.1, "{runner:?}: {found} of {minutes}");
    }
}
