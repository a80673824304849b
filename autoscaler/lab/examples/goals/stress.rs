//! What serves while AWS takes back.

use super::Asked;
use autoscaler_core::Policy;
use autoscaler_lab::market::Market;
use autoscaler_lab::{Interruptions, Runner, Setting, Trace, backtest};
use serde_json::{Value, json};
use std::sync::Arc;

/// Our policy on each trace without and with interruptions: recorded ones where there are recordings, else made up
/// from several seeds.
pub fn stress(asked: &Asked) -> Value {
    let market = (!asked.spot.is_empty()).then(|| Arc::new(Market::replaying(&asked.spot)));
    let seeds = if market.is_some() { 0..1 } else { 0..3 };
    let policy = Policy::default();
    let run = |trace: &Trace, setting: &Setting| {
        backtest(trace, None, Runner::Muster, &policy, setting, false).scores
    };
    let of = |trace: &Trace, seed: u64| {
        let calm = run(trace, &Setting::default());
        let interruptions = Interruptions::Stress;
        let setting = Setting { interruptions, seed, market: market.clone(), ..Setting::default() };
        let stressed = run(trace, &setting);
        json!({"trace": trace.name, "seed": seed, "calm": calm, "stressed": stressed})
    };
    let of = &of;
    asked.traces.iter().flat_map(|trace| seeds.clone().map(move |seed| of(trace, seed))).collect()
}
