//! Ours against AWS target tracking on day-shuffles: `cargo run --release -p autoscaler-lab --example shuffles -- [--count N] FILE...`
#![allow(clippy::print_stdout, missing_docs, reason = "a tool")]

use autoscaler_core::Policy;
use autoscaler_lab::{Setting, Trace, shuffle};
use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

fn main() {
    let mut count = 1000;
    let (policy, setting, go) = (Policy::default(), Setting::default(), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--count" {
            count = args.next().and_then(|count| count.parse().ok()).expect("a number");
            continue;
        }
        let trace = Trace::read(&arg, BufReader::new(File::open(&arg).expect("a file"))).expect("a trace");
        let found = shuffle::against_tracking(&trace, &policy, &setting, count, threads, &go, &|_| {});
        println!("{arg}: {found:?}");
    }
}
