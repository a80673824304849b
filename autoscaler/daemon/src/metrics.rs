//! What `/metrics` shows: everything that is measured, in one place.
//!
//! One table ([`table`]) names every metric, what it means and where its values come from; the registry is
//! encoded from it and `docs/metrics.md` is checked against it. Values are read off the engine's [`Status`] and
//! counters at each scrape, so that nothing is stored twice and a fleet that is gone leaves no series behind.
//!
//! Labels are fleet names and words from a fixed list, never ids of instances: an autoscaler makes new instances
//! all day, and each would be a series for ever.

mod counts;
mod table;

pub use counts::FleetCounts;

use crate::notices::{LettersKept, QueueCounts, QueueWatch};
use autoscaler_engine::{EngineMetrics, Entry, Status};
use fleet::FleetName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::METRICS;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a process. Clones share one registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    counted: Arc<Mutex<Counted>>,
    queues: Arc<Mutex<Vec<QueueWatch>>>,
    scraped: Arc<Mutex<Scrape>>,
}

/// What is counted here, because the engine counts over all fleets only and knows nothing of HTTP.
#[derive(Clone, Debug, Default)]
struct Counted {
    fleets: BTreeMap<FleetName, FleetCounts>,
    requests: BTreeMap<(&'static str, u16), u64>,
}

/// What one scrape shows.
#[derive(Clone, Debug, Default)]
struct Scrape {
    status: Option<Status>,
    engine: EngineMetrics,
    counted: Counted,
    queues: BTreeMap<String, QueueCounts>,
    letters: LettersKept,
}

/// A family of metrics.
struct Metric {
    /// As Prometheus stores it.
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// A sentence without its full stop.
    help: &'static str,
    /// Emits each of its series.
    read: fn(&Scrape, &mut Emit<'_>),
}

/// Takes one series: the labels' values in order, and the value.
type Emit<'a> = dyn FnMut(&[&str], f64) + 'a;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that show nothing yet.
    pub fn new() -> Self {
        let scraped = Arc::new(Mutex::new(Scrape::default()));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Table { scraped: Arc::clone(&scraped) }));
        Self { registry: Arc::new(registry), counted: Arc::default(), queues: Arc::default(), scraped }
    }

    /// Counts what the engine had recorded of its fleets: to be called with every batch of records.
    pub fn count(&self, entries: &[Entry]) {
        let mut counted = locked(&self.counted);
        for entry in entries {
            // Looked up first: the name is cloned once in a fleet's life.
            if !counted.fleets.contains_key(&entry.fleet) {
                counted.fleets.insert(entry.fleet.clone(), FleetCounts::default());
            }
            if let Some(counts) = counted.fleets.get_mut(&entry.fleet) {
                entry.records.iter().for_each(|record| counts.count(record));
            }
        }
    }

    /// Counts an answered request: `route` as the router names it, never as the caller wrote it.
    pub fn count_request(&self, route: &'static str, status: u16) {
        *locked(&self.counted).requests.entry((route, status)).or_default() += 1;
    }

    /// Shows a queue from now on; one of the same name no longer.
    pub fn watch_queue(&self, queue: QueueWatch) {
        let mut queues = locked(&self.queues);
        queues.retain(|known| known.name() != queue.name());
        queues.push(queue);
    }

    /// The text of one scrape, in the format of OpenMetrics ([`CONTENT_TYPE`]).
    pub fn render(&self, status: Status, engine: EngineMetrics) -> String {
        {
            let mut counted = locked(&self.counted);
            // What is no policy's any more is forgotten; it starts at 0 if it comes back.
            counted.fleets.retain(|name, _| status.fleets.iter().any(|fleet| fleet.name == *name));
            let counted = counted.clone();
            let watched = locked(&self.queues).clone();
            let queues = watched.iter().map(|queue| (queue.name().to_owned(), queue.counts())).collect();
            // All queues share one record.
            let letters = watched.first().map(QueueWatch::letters).unwrap_or_default();
            *locked(&self.scraped) = Scrape { status: Some(status), engine, counted, queues, letters };
        }
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// A panic elsewhere cannot have left half a count.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Encodes [`METRICS`] from what was scraped.
#[derive(Debug)]
struct Table {
    scraped: Arc<Mutex<Scrape>>,
}

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let scrape = std::mem::take(&mut *locked(&self.scraped));
        METRICS.iter().try_for_each(|metric| metric.encode(&scrape, &mut encoder))
    }
}

impl Metric {
    fn encode(&self, scrape: &Scrape, encoder: &mut DescriptorEncoder) -> fmt::Result {
        // The encoder puts `_total` behind counters by itself.
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let mut family = encoder.encode_descriptor(name, self.help, None, self.kind.metric_type())?;
        let mut result = Ok(());
        (self.read)(scrape, &mut |values, number| {
            let labels: Vec<_> = self.labels.iter().copied().zip(values.iter().copied()).collect();
            let encoded = if labels.is_empty() {
                self.kind.encode(&mut family, number)
            } else {
                family.encode_family(&labels).and_then(|mut series| self.kind.encode(&mut series, number))
            };
            result = std::mem::replace(&mut result, Ok(())).and(encoded);
        });
        result
    }
}

impl Kind {
    const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
        }
    }
    const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
    fn encode(self, series: &mut MetricEncoder, number: f64) -> fmt::Result {
        match self {
            Self::Counter => series.encode_counter::<NoLabelSet, f64, f64>(&number, None),
            Self::Gauge => series.encode_gauge(&number),
        }
    }
}

/// Every metric as a table in Markdown: what `docs/metrics.md` holds.
pub fn markdown() -> String {
    let mut text = String::from("| metric | kind | labels | what it tells |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help, .. } in METRICS {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "| `{name}` | {} | {labels} | {help}. |", kind.label());
    }
    text
}

#[cfg(test)]
mod tests;
