//! Whole days in a simulator that knows nothing but the format.

use crate::support::web;
use crate::world::{Manners, Tally, World, ends};
use autoscaler_core::Policy;
use autoscaler_lab::decide::drive;
use autoscaler_lab::{Runner, Setting, Trace, backtest};
use flate2::read::GzDecoder;
use fleet::Timestamp;
use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

/// The first day of a sample, as demand of 10 s steps.
fn day(sample: &str) -> Vec<f64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(format!("{sample}.csv.gz"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzip of text");
    let number = |text: &str| text.trim().parse::<f64>().expect("a number");
    let points: Vec<f64> =
        text.lines().skip(1).map(|row| number(row.split_once(',').expect("two columns").1)).collect();
    let steps = |minute: &[f64]| {
        let (from, to) = (minute[0], minute[1]);
        (0..6).map(move |step| from + (to - from) * (f64::from(step) + 0.5) / 6.0)
    };
    points.windows(2).take(1440).flat_map(steps).collect()
}

fn hold(sample: &str, manners: Manners) -> Tally {
    let demand = day(sample);
    let lines = demand.len() as u64;
    let world = Rc::new(RefCell::new(World::new(manners, demand)));
    let (mouth, ear) = ends(&world);
    let driven = drive(&web(), mouth, ear).expect("the world listens to the end");
    assert_eq!((driven.lines, driven.refused, driven.fleets), (lines, 0, 1));
    world.borrow().tally
}

#[test]
fn a_day_of_load_is_held_by_a_stranger_who_follows_the_answers() {
    for (sample, manners) in [
        ("wiki", Manners { sample_steps: 6, drain: 0.0 }),
        ("taxi", Manners { sample_steps: 6, drain: 45.0 }),
        ("wc98", Manners { sample_steps: 1, drain: 30.0 }),
    ] {
        let tally = hold(sample, manners);
        let share = |part: f64, whole: f64| part / whole;
        let above = share(f64::from(tally.above_80), f64::from(tally.steps));
        let mean = share(tally.served, tally.capacity);
        assert!(above <= 0.02, "{sample}: {above} of the time above 80 %");
        assert!((0.40..=0.76).contains(&mean), "{sample}: {mean} busy");
        assert_eq!(tally.dropped, 0.0, "{sample}");
        assert!(tally.removed >= 3 && tally.changes <= 120, "{sample}: {tally:?}");
    }
}

#[test]
fn a_strangers_day_comes_out_like_a_backtest() {
    for sample in ["taxi", "wiki", "elb"] {
        let tally = hold(sample, Manners { sample_steps: 6, drain: 0.0 });
        let trace = Trace { name: sample.to_owned(), start: Timestamp::EPOCH, demand: day(sample) };
        let (policy, setting) = (Policy::default(), Setting::default());
        let outcome = backtest(&trace, None, Runner::Muster, &policy, &setting, true);
        let course = outcome.course.expect("it was asked for");
        let after_two_hours = &course.capacity[720..];
        let served: f64 = after_two_hours.iter().map(|units| f64::from(*units) * 10.0).sum();
        let ratio = tally.capacity / served;
        assert!((ratio - 1.0).abs() < 0.001, "{sample}: {ratio} of the capacity of a backtest");
    }
}
