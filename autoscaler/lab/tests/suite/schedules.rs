//! Schedules act in the lab as they do in the daemon: at the hours of their zone, upwards only, on our policy alone.

use crate::traces;
use autoscaler_core::Policy;
use autoscaler_lab::regret::regret;
use autoscaler_lab::{Course, Runner, Setting, Trace, backtest};
use autoscaler_policy::{FleetPolicy, Schedule};
use fleet::{Timestamp, Utilization};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const HOUR: usize = 360;

/// A steady load of two units from some moment on.
fn steady(start: &str, hours: usize) -> Trace {
    Trace { start: Timestamp::parse(start).expect(start), ..traces::of(vec![2.0; hours * HOUR]) }
}

fn schedule(start: &str, zone: &str, hours: u64, min: Option<u32>, target: Option<f64>) -> Schedule {
    let lasts = Duration::from_secs(hours * 3600);
    Schedule::new("office", start, zone, lasts, min, target.map(Utilization::new)).expect(start)
}

fn with(schedules: Vec<Schedule>) -> Setting {
    Setting { schedules, ..Setting::default() }
}

fn course(trace: &Trace, history: Option<&Trace>, runner: Runner, setting: &Setting) -> Course {
    backtest(trace, history, runner, &Policy::default(), setting, true).course.expect("asked for")
}

/// (seconds from the start, units) of every change of the target.
fn moves(course: &Course) -> Vec<(u32, u32)> {
    course.decisions.iter().map(|change| (change.at, change.to)).collect()
}

#[test]
fn a_minimum_holds_at_its_hours_in_its_zone() {
    // Nine o'clock in Berlin is eight o'clock in March, and seven from the last Sunday on.
    let office = || with(vec![schedule("0 9 * * *", "Europe/Berlin", 2, Some(8), None)]);
    for (start, eight) in [("2026-03-02T04:00:00Z", 4), ("2026-03-30T04:00:00Z", 3)] {
        let run = course(&steady(start, 12), None, Runner::Muster, &office());
        let (from, until) = (eight * HOUR, (eight + 2) * HOUR);
        let serving = |step: usize| f64::from(run.capacity[step]);
        assert_eq!((serving(from - 1), serving(from + 13)), (3.0, 8.0), "{start}");
        assert!((from + 13..until).all(|step| serving(step) >= 8.0), "{start}: given back before its end");
        assert!(serving(until + HOUR) < 8.0, "{start}: kept after its end");
        // It is asked for when it begins, whether or not a sample comes just then.
        let at = u32::try_from(from).expect("short") * Trace::STEP;
        assert!(moves(&run).contains(&(at, 8)), "{start}: {:?}", moves(&run));
    }
}

#[test]
fn a_target_holds_at_its_hours() {
    let cool = with(vec![schedule("0 8 * * *", "UTC", 4, None, Some(0.40))]);
    let run = course(&steady("2026-03-02T00:00:00Z", 24), None, Runner::Muster, &cool);
    let mean = |from: usize, until: usize| {
        f64::from(run.utilization[from..until].iter().sum::<f32>()) / (until - from) as f64
    };
    assert!(mean(9 * HOUR, 12 * HOUR) < 0.45, "at 40 %: {}", mean(9 * HOUR, 12 * HOUR));
    assert!(mean(4 * HOUR, 8 * HOUR) > 0.6, "before: {}", mean(4 * HOUR, 8 * HOUR));
    assert!(mean(20 * HOUR, 24 * HOUR) > 0.6, "after: {}", mean(20 * HOUR, 24 * HOUR));
}

#[test]
fn what_is_in_force_is_what_the_daemon_would_have_in_force() {
    let mut fleet = FleetPolicy::of("web", "sfr-1");
    fleet.schedules = vec![
        schedule("0 8 * * MON-FRI", "America/New_York", 3, Some(6), None),
        schedule("30 9 * * *", "America/New_York", 5, Some(9), None),
        schedule("0 * * * *", "UTC", 24, Some(4), None),
    ];
    let trace = steady("2026-03-06T00:00:00Z", 4 * 24);
    let run = course(&trace, None, Runner::Muster, &with(fleet.schedules.clone()));
    let boot = 13;
    for (step, serving) in run.capacity.iter().enumerate().skip(boot) {
        let least = (step - boot..=step).map(|step| fleet.at(trace.at(step)).0.capacity.min).min();
        assert!(f64::from(*serving) >= f64::from(least.expect("some")), "{}", trace.at(step));
    }
    let most = run.capacity.iter().copied().fold(0.0, f32::max);
    assert_eq!(most, 9.0, "never more than the load or a schedule asks for");
}

#[test]
fn a_schedule_that_is_active_at_the_start_acts_at_once() {
    let always = with(vec![schedule("0 * * * *", "UTC", 2, Some(7), None)]);
    let run = course(&steady("2026-03-02T00:30:00Z", 3), None, Runner::Muster, &always);
    assert_eq!(moves(&run)[0], (10, 7));
}

#[test]
fn seconds_count_from_the_midnight_of_a_thursday_in_utc() {
    let text = "seconds,demand\n0,2\n172800,2\n";
    let trace = Trace::read("seconds.csv", text.as_bytes()).expect("a trace");
    let on = |day: &str| {
        let setting = with(vec![schedule(&format!("0 8 * * {day}"), "UTC", 2, Some(8), None)]);
        let changes = moves(&course(&trace, None, Runner::Muster, &setting));
        changes.iter().find(|(_, to)| *to == 8).map(|(at, _)| *at)
    };
    assert_eq!((on("THU"), on("FRI"), on("SAT")), (Some(8 * 3600), Some(32 * 3600), None));
}

#[test]
fn rivals_and_optimum_know_nothing_of_schedules() {
    let trace = steady("2026-03-02T00:00:00Z", 24);
    let (policy, plain) = (Policy::default(), Setting::default());
    let office = with(vec![schedule("0 8 * * *", "UTC", 8, Some(8), None)]);
    for runner in Runner::ALL {
        let run = |setting: &Setting| backtest(&trace, None, runner, &policy, setting, false).scores;
        let (without, with) = (run(&plain), run(&office));
        assert_eq!(without.oracle_unit_hours, with.oracle_unit_hours);
        let dearer = with.cost_unit_hours > without.cost_unit_hours + 30.0;
        assert_eq!(dearer, runner == Runner::Muster, "{runner:?}");
    }
    let split = regret(&trace, None, Runner::Muster, &policy, &office);
    let parts = split.delay_unit_hours
        + split.rounding_unit_hours
        + split.forecast_error_unit_hours
        + split.hold_down_unit_hours
        + split.interruptions_unit_hours;
    assert!((parts - split.regret_unit_hours).abs() < 1e-6);
    assert!(split.forecast_error_unit_hours > 30.0, "a schedule is a forecast, too: {split:?}");
}

#[test]
fn tuning_tries_settings_with_the_schedules_in_force() {
    use autoscaler_lab::tune::{Search, tune};
    let trace = steady("2026-03-02T00:00:00Z", 4 * 24);
    let cost = |setting: &Setting| {
        let search = Search {
            traces: std::slice::from_ref(&trace),
            histories: &[None],
            policy: &Policy::default(),
            setting,
            share: 0.5,
            most: 1,
            threads: NonZeroUsize::MIN,
        };
        let tuned = tune(&search, &AtomicBool::new(false), &|_| {}).expect("a search");
        (tuned.base.first.cost_unit_hours, tuned.base.rest.expect("judged").cost_unit_hours)
    };
    let plain = cost(&Setting::default());
    let office = cost(&with(vec![schedule("0 8 * * *", "UTC", 8, Some(8), None)]));
    assert!(office.0 > plain.0 + 60.0 && office.1 > plain.1 + 60.0, "{office:?}, without: {plain:?}");
}
