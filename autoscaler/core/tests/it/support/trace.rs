//! Recorded demand, read from `seconds,demand` as plain or gzipped CSV.

use std::io::Read;
use std::path::Path;

/// Demand over time, linear between its points.
#[derive(Clone, Debug)]
pub struct Trace {
    pub name: String,
    points: Vec<(f64, f64)>,
}

impl Trace {
    /// Reads a trace from a file.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        let mut text = String::new();
        if path.extension().is_some_and(|e| e == "gz") {
            flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzip");
        } else {
            text = String::from_utf8(bytes).expect("text");
        }
        let points = text.lines().skip(1).map(|line| {
            let (t, d) = line.split_once(',').expect("two columns");
            (t.parse().expect("seconds"), d.parse().expect("demand"))
        });
        let file = path.file_name().expect("a file").to_string_lossy();
        let name = file.split('.').next().unwrap_or_default().to_owned();
        Self { name, points: points.collect() }
    }

    /// How long it is, in whole seconds.
    pub fn seconds(&self) -> u32 {
        self.points.last().map_or(0.0, |p| p.0) as u32
    }

    /// Demand at the start of every minute.
    pub fn minutes(&self) -> Vec<f64> {
        self.every(60, 0, self.seconds(), 0.0)
    }

    /// Demand at the middle of every 10 s step: linear, so that this is the step's mean.
    pub fn steps(&self, from: u32, seconds: u32) -> Vec<f64> {
        self.every(10, from, seconds, 5.0)
    }

    fn every(&self, step: u32, from: u32, seconds: u32, offset: f64) -> Vec<f64> {
        let mut index = 0;
        let count = seconds.min(self.seconds().saturating_sub(from)) / step;
        (0..count)
            .map(|number| {
                let t = f64::from(from + number * step) + offset;
                while index + 2 < self.points.len() && self.points[index + 1].0 <= t {
                    index += 1;
                }
                let (a, b) = (self.points[index], self.points[index + 1]);
                a.1 + (b.1 - a.1) * ((t - a.0) / (b.0 - a.0)).clamp(0.0, 1.0)
            })
            .collect()
    }
}
