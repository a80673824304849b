//! A report on made-up runs, to look at: `cargo run -p autoscaler-lab --example html_sample -- [DAYS [RUNNERS]] > report.html`.
#![allow(clippy::print_stdout, reason = "a tool: what it makes is printed")]

#[path = "../tests/html/runs.rs"]
mod runs;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<usize>().expect("a number"));
    let (days, count) = (arguments.next().unwrap_or(2), arguments.next().unwrap_or(4));
    let (outcomes, fronts) = runs::report("../samples/made-up.csv.gz", days, count);
    print!("{}", autoscaler_lab::html::render(&outcomes, &fronts));
}
