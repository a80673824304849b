//! How many lines a second the external drive answers, on one core:
//! `cargo run --release -p autoscaler-lab --example decide_rate -- [LINES]`.
//!
//! Eight fleets of 6 to 20 instances follow a daily wave of load, with a sample of 10 s in every line. The simulator
//! of the tests follows the answers first, and its lines are recorded; then they are answered again, by the clock.
//! Answers are flushed a line at a time. Prints JSON.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    dead_code,
    reason = "a tool: it measures how long something takes, with a part of what the tests share"
)]

#[path = "../tests/decide/world.rs"]
mod world;

use autoscaler_lab::decide::drive;
use autoscaler_policy::FleetPolicy;
use std::cell::RefCell;
use std::f64::consts::TAU;
use std::io::{self, BufRead, Read};
use std::rc::Rc;
use std::time::Instant;
use world::{Manners, Mouth, World, ends};

const FLEETS: usize = 8;

fn main() {
    let lines: usize = std::env::args().nth(1).map_or(200_000, |n| n.parse().expect("a number of lines"));
    let policies = [FleetPolicy::of("default", "fleet-default")];
    let input = observations(&policies, lines);
    let mut output = Vec::with_capacity(input.len() / 4);
    let begun = Instant::now();
    let driven = drive(&policies, input.as_bytes(), &mut output).expect("memory is read and written");
    let seconds = begun.elapsed().as_secs_f64();
    let answers = String::from_utf8_lossy(&output);
    println!(
        "{{\"lines\": {}, \"refused\": {}, \"fleets\": {}, \"instances_a_line\": {:.1}, \"bytes_a_line\": {}, \
         \"scale_outs\": {}, \"scale_ins\": {}, \"seconds\": {seconds:.3}, \"lines_per_second\": {:.0}}}",
        driven.lines,
        driven.refused,
        driven.fleets,
        input.matches("\"id\"").count() as f64 / driven.lines as f64,
        input.len() as u64 / driven.lines,
        answers.matches("\"scale out").count(),
        answers.matches("\"scale in").count(),
        driven.lines as f64 / seconds
    );
}

/// What the fleets show, taking turns.
fn observations(policies: &[FleetPolicy], lines: usize) -> String {
    let steps = lines.div_ceil(FLEETS);
    let fleets: Vec<String> = (0..FLEETS).map(|fleet| recorded(policies, fleet, steps)).collect();
    let mut turns: Vec<_> = fleets.iter().map(|text| text.lines()).collect();
    let mut input = String::with_capacity(fleets.iter().map(String::len).sum());
    for turn in 0..steps * FLEETS {
        input.push_str(turns[turn % FLEETS].next().expect("a line a step"));
        input.push('\n');
    }
    input
}

/// What one fleet shows that follows the answers.
fn recorded(policies: &[FleetPolicy], fleet: usize, steps: usize) -> String {
    let demand = |step: usize| {
        let day = step as f64 / 8640.0 + fleet as f64 / FLEETS as f64;
        9.0 - 4.5 * (day * TAU).cos() + 0.2 * (day * TAU * 97.0).sin()
    };
    let manners = Manners { sample_steps: 1, drain: 30.0 };
    let world = Rc::new(RefCell::new(World::new(manners, (0..steps).map(demand).collect())));
    let (mouth, ear) = ends(&world);
    let mut recorder = Recorder { mouth, said: Vec::new() };
    drive(policies, &mut recorder, ear).expect("the world listens to the end");
    let said = String::from_utf8(recorder.said).expect("lines are UTF-8");
    said.replace("\"fleet\":\"web\"", &format!("\"fleet\":\"web-{fleet}\""))
}

/// Notes what is read.
struct Recorder {
    mouth: Mouth,
    said: Vec<u8>,
}

impl Read for Recorder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.mouth.read(into)?;
        self.said.extend_from_slice(&into[..count]);
        Ok(count)
    }
}

impl BufRead for Recorder {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.mouth.fill_buf()
    }
    fn consume(&mut self, count: usize) {
        let seen = self.mouth.fill_buf().map(|bytes| bytes[..count].to_vec()).unwrap_or_default();
        self.said.extend_from_slice(&seen);
        self.mouth.consume(count);
    }
}
