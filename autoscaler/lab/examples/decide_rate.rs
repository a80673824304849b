//! How many lines a second the external drive answers, on one core:
//! `cargo run --release -p autoscaler-lab --example decide_rate -- [LINES [INSTANCES]]`.
//!
//! Eight fleets take turns; each shows as many instances as its load asks for, a sample of 10 s in every line, and a
//! daily wave of load. Answers are written into memory, flushed a line at a time. Prints JSON.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a tool: it measures how long something takes"
)]

use autoscaler_lab::decide::drive;
use autoscaler_policy::FleetPolicy;
use std::fmt::Write as _;
use std::time::Instant;

const FLEETS: usize = 8;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<usize>().expect("a number"));
    let lines = arguments.next().unwrap_or(200_000);
    let most = arguments.next().unwrap_or(20);
    let policies = [FleetPolicy::of("default", "fleet-default")];
    let input = observations(lines, most);
    let mut output = Vec::with_capacity(input.len() / 4);
    let begun = Instant::now();
    let driven = drive(&policies, input.as_bytes(), &mut output).expect("memory is read and written");
    let seconds = begun.elapsed().as_secs_f64();
    let rate = lines as f64 / seconds;
    let instances = input.matches("\"id\"").count() as f64 / lines as f64;
    println!(
        "{{\"lines\": {lines}, \"refused\": {}, \"instances_a_line\": {instances:.1}, \
         \"bytes_a_line\": {}, \"seconds\": {seconds:.3}, \"lines_per_second\": {rate:.0}}}",
        driven.refused,
        input.len() / lines
    );
}

/// A stream: about a third to all of `most` instances a line, as load has it.
fn observations(lines: usize, most: usize) -> String {
    let mut text = String::with_capacity(lines * (200 + most * 100));
    for line in 0..lines {
        let (fleet, t) = (line % FLEETS, line / FLEETS * 10);
        let day = (t % 86_400) as f64 / 86_400.0 + fleet as f64 / FLEETS as f64;
        let demand = most as f64 * 0.75 * (0.65 - 0.35 * (day * std::f64::consts::TAU).cos());
        let count = ((demand / 0.75).ceil() as usize).clamp(1, most);
        let _ = write!(text, "{{\"t\":{t},\"fleet\":\"fleet-{fleet}\",\"target\":{count},\"instances\":[");
        for i in 0..count {
            let comma = if i == 0 { "" } else { "," };
            let zone = ["a", "b", "c"][i % 3];
            let _ = write!(
                text,
                "{comma}{{\"id\":\"i-{i:017x}\",\"pool\":\"m5.large/eu-west-1{zone}\",\"weight\":1,\
                 \"state\":\"in_service\",\"since\":-100.0}}"
            );
        }
        let utilization = (demand / count as f64).min(1.0);
        let _ = writeln!(
            text,
            "],\"samples\":[{{\"end\":{t},\"period\":10,\"capacity\":{count},\"utilization\":{utilization}}}],\
             \"notices\":[]}}"
        );
    }
    text
}
