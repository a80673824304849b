//! Every metric there is.

use super::Kind::{Counter, Gauge};
use super::{Emit, FleetCounts, Metric, Scrape};
use crate::notices::QueueCounts;
use autoscaler_engine::{CallCount, FleetStatus, Leadership, NoticeCount, RolloutStatus, Status};
use fleet::{NoticeKind, NoticeSource, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// Every metric, in the order in which it is shown.
#[rustfmt::skip]
pub(super) const METRICS: &[Metric] = &[
    Metric { name: "muster_fleet_target_units", kind: Gauge, labels: &["fleet"],
        help: "Target of the fleet, in its own units",
        read: |s, emit| fleets(s, emit, |f| f.target.map(f64::from)) },
    Metric { name: "muster_fleet_fulfilled_units", kind: Gauge, labels: &["fleet"],
        help: "What EC2 counts as fulfilled of the target",
        read: |s, emit| fleets(s, emit, |f| f.fulfilled.map(fleet::CapacityUnits::get)) },
    Metric { name: "muster_fleet_min_units", kind: Gauge, labels: &["fleet"],
        help: "The least that the fleet may be set to, schedules and overrides applied",
        read: |s, emit| fleets(s, emit, |f| Some(f64::from(f.min))) },
    Metric { name: "muster_fleet_max_units", kind: Gauge, labels: &["fleet"],
        help: "The most that the fleet may be set to, schedules and overrides applied",
        read: |s, emit| fleets(s, emit, |f| Some(f64::from(f.max))) },
    Metric { name: "muster_fleet_needed_units", kind: Gauge, labels: &["fleet"],
        help: "What the forecast needs at the goal, before bounds and holds",
        read: |s, emit| fleets(s, emit, |f| report(f)?.needed.map(fleet::CapacityUnits::get)) },
    Metric { name: "muster_fleet_serving_units", kind: Gauge, labels: &["fleet"],
        help: "What serves",
        read: |s, emit| fleets(s, emit, |f| Some(report(f)?.serving.get())) },
    Metric { name: "muster_fleet_coming_units", kind: Gauge, labels: &["fleet"],
        help: "What was bought and does not serve yet",
        read: |s, emit| fleets(s, emit, |f| Some(report(f)?.coming.get())) },
    Metric { name: "muster_fleet_instances", kind: Gauge, labels: &["fleet", "phase"],
        help: "Instances by phase: `requested`, `booting`, `in_service`, `draining`, `leaving`",
        read: instances },
    Metric { name: "muster_fleet_rollout_stage", kind: Gauge, labels: &["fleet", "stage"],
        help: "1 for the stage of the roll-out that is under way: `canary`, `watched` or `rest`; no series without one",
        read: |s, emit| rollouts(s, |fleet, rollout| emit(&[fleet, rollout.rollout.stage.label()], 1.0)) },
    Metric { name: "muster_fleet_rollout_halted", kind: Gauge, labels: &["fleet", "reason"],
        help: "1 while a roll-out is halted: `ordered`, `not_ready`, `unhealthy`, `launch_failed`, `alarm` or `foreign`: alert on it",
        read: |s, emit| rollouts(s, |fleet, rollout| {
            rollout.rollout.halted.iter().for_each(|halted| emit(&[fleet, halted.why.label()], 1.0));
        }) },
    Metric { name: "muster_fleet_rollout_instances", kind: Gauge, labels: &["fleet", "version"],
        help: "Instances while a roll-out is under way, of the version that everything is to be of (`goal`) and of others (`other`)",
        read: |s, emit| rollouts(s, |fleet, rollout| {
            emit(&[fleet, "goal"], count(rollout.done));
            emit(&[fleet, "other"], count(rollout.of.saturating_sub(rollout.done)));
        }) },
    Metric { name: "muster_fleet_rollout_entered", kind: Gauge, labels: &["fleet"],
        help: "Instances that the roll-out under way, or the last one, has begun to replace",
        read: |s, emit| fleets(s, emit, |f| f.rollout.as_ref().map(|r| f64::from(r.rollout.entered))) },
    Metric { name: "muster_fleet_utilization_ratio", kind: Gauge, labels: &["fleet"],
        help: "Newest mean CPU utilisation, 0 to 1",
        read: |s, emit| fleets(s, emit, |f| report(f)?.utilization.map(fleet::Utilization::get)) },
    Metric { name: "muster_fleet_goal_ratio", kind: Gauge, labels: &["fleet"],
        help: "The utilisation to hold, 0 to 1",
        read: |s, emit| fleets(s, emit, |f| report(f)?.goal.map(fleet::Utilization::get)) },
    Metric { name: "muster_fleet_sample_age_seconds", kind: Gauge, labels: &["fleet"],
        help: "Age of the newest utilisation at the last decision",
        read: |s, emit| fleets(s, emit, |f| report(f)?.sample_age.map(|age| age.as_secs_f64())) },
    Metric { name: "muster_fleet_demand_power", kind: Gauge, labels: &["fleet"],
        help: "Demand now, in power (vCPUs unless the policy says otherwise)",
        read: |s, emit| fleets(s, emit, |f| report(f)?.demand.map(fleet::Power::get)) },
    Metric { name: "muster_fleet_forecast_power", kind: Gauge, labels: &["fleet"],
        help: "Demand expected by the time that capacity bought now would serve",
        read: |s, emit| fleets(s, emit, |f| report(f)?.forecast.map(fleet::Power::get)) },
    Metric { name: "muster_fleet_headroom_ratio", kind: Gauge, labels: &["fleet"],
        help: "What is kept above the forecast, as a share of it",
        read: |s, emit| fleets(s, emit, |f| Some(report(f)?.headroom.share)) },
    Metric { name: "muster_fleet_horizon_seconds", kind: Gauge, labels: &["fleet"],
        help: "How far ahead the forecast looks: metric delay and measured boot time",
        read: |s, emit| fleets(s, emit, |f| report(f)?.horizon.map(|horizon| horizon.as_secs_f64())) },
    Metric { name: "muster_fleet_saturated", kind: Gauge, labels: &["fleet"],
        help: "1 while the fleet is so busy that its demand is more than was measured",
        read: |s, emit| fleets(s, emit, |f| Some(flag(report(f)?.saturated))) },
    Metric { name: "muster_fleet_held", kind: Gauge, labels: &["fleet", "reason"],
        help: "1 for every reason why nothing, or not everything, was done; no series for the others",
        read: holds },
    Metric { name: "muster_fleet_paused", kind: Gauge, labels: &["fleet"],
        help: "1 while an operator's pause is in force",
        read: |s, emit| fleets(s, emit, |f| Some(flag(f.pause.is_some()))) },
    Metric { name: "muster_fleet_overridden", kind: Gauge, labels: &["fleet"],
        help: "1 while an operator's override is in force",
        read: |s, emit| fleets(s, emit, |f| Some(flag(f.bent.is_some()))) },
    Metric { name: "muster_fleet_hands_off", kind: Gauge, labels: &["fleet"],
        help: "1 while nothing is changed: dry run, observe only, or ceded to another writer",
        read: |s, emit| fleets(s, emit, |f| Some(flag(f.dry_run || f.observe_only || f.ceded))) },
    Metric { name: "muster_fleet_alarms", kind: Gauge, labels: &["fleet"],
        help: "How many alarms are raised",
        read: |s, emit| fleets(s, emit, |f| Some(count(f.alarms.len()))) },
    Metric { name: "muster_fleet_alarm", kind: Gauge, labels: &["fleet", "alarm"],
        help: "1 for every alarm that is raised; no series for the others",
        read: |s, emit| each_fleet(s, |f| {
            f.alarms.iter().for_each(|a| emit(&[f.name.as_str(), a.alarm.label()], 1.0));
        }) },
    Metric { name: "muster_fleet_seen_timestamp_seconds", kind: Gauge, labels: &["fleet"],
        help: "When EC2 last showed the fleet, in seconds since 1970",
        read: |s, emit| fleets(s, emit, |f| f.seen.map(seconds)) },
    Metric { name: "muster_fleet_decided_timestamp_seconds", kind: Gauge, labels: &["fleet"],
        help: "When the last decision was made, in seconds since 1970",
        read: |s, emit| fleets(s, emit, |f| f.decided.as_ref().map(|decided| seconds(decided.at))) },
    Metric { name: "muster_fleet_cycles_total", kind: Counter, labels: &["fleet"],
        help: "Plans that were made",
        read: |s, emit| counts(s, emit, |c| c.cycles) },
    Metric { name: "muster_fleet_modifications_total", kind: Counter, labels: &["fleet", "direction"],
        help: "Changes of the target that were begun: `up`, `down`, or `none` where only settings were set right",
        read: |s, emit| each_fleet(s, |f| {
            let c = counts_of(s, f);
            for (direction, n) in [("up", c.raised), ("down", c.lowered), ("none", c.set_right)] {
                emit(&[f.name.as_str(), direction], whole(n));
            }
        }) },
    Metric { name: "muster_fleet_terminations_total", kind: Counter, labels: &["fleet"],
        help: "Instances that were told to go",
        read: |s, emit| counts(s, emit, |c| c.terminated) },
    Metric { name: "muster_fleet_failed_steps_total", kind: Counter, labels: &["fleet"],
        help: "Steps of plans that failed, or whose outcome is unclear",
        read: |s, emit| counts(s, emit, |c| c.failed_steps) },
    Metric { name: "muster_fleet_samples_total", kind: Counter, labels: &["fleet"],
        help: "Samples of the fleet's utilisation that were taken in",
        read: |s, emit| counts(s, emit, |c| c.samples) },

    Metric { name: "muster_engine_cycles_total", kind: Counter, labels: &[],
        help: "Plans that were made, of all fleets",
        read: |s, emit| emit(&[], whole(s.engine.cycles)) },
    Metric { name: "muster_engine_decisions_total", kind: Counter, labels: &["decision"],
        help: "Plans whose steps were begun, by decision",
        read: |s, emit| words(DECISIONS, &s.engine.decisions, emit) },
    Metric { name: "muster_engine_withheld_total", kind: Counter, labels: &["reason"],
        help: "Plans whose steps were not taken, by reason",
        read: |s, emit| words(WITHHELD, &s.engine.withheld, emit) },
    Metric { name: "muster_engine_panics_total", kind: Counter, labels: &[],
        help: "Plans that panicked; each concerned one fleet, which was left as it was",
        read: |s, emit| emit(&[], whole(s.engine.panics)) },
    Metric { name: "muster_engine_breaches_total", kind: Counter, labels: &["invariant"],
        help: "Invariants that a plan would have broken; the checker refused each",
        read: |s, emit| words(INVARIANTS, &s.engine.breaches, emit) },
    Metric { name: "muster_engine_clock_jumps_total", kind: Counter, labels: &[],
        help: "Jumps of the host's wall time",
        read: |s, emit| emit(&[], whole(s.engine.clock_jumps)) },
    Metric { name: "muster_engine_alarm", kind: Gauge, labels: &["alarm"],
        help: "1 for every raised alarm of no fleet in particular; no series for the others",
        read: |s, emit| status(s, |status| {
            status.alarms.iter().for_each(|a| emit(&[a.alarm.label()], 1.0));
        }) },
    Metric { name: "muster_engine_dry_run", kind: Gauge, labels: &[],
        help: "1 while the daemon changes nothing at all",
        read: |s, emit| status(s, |status| emit(&[], flag(status.dry_run))) },

    Metric { name: "muster_leader", kind: Gauge, labels: &[],
        help: "1 while this process may change anything: it is the only one, or leads and can prove it",
        read: |s, emit| status(s, |status| emit(&[], flag(status.leads))) },
    Metric { name: "muster_leader_role", kind: Gauge, labels: &["role"],
        help: "1 for what this process is among several: `leader`, `standby`, `lost` or `resigned`; no series alone",
        read: |s, emit| leadership(s, |leadership| emit(&[leadership.role.label()], 1.0)) },
    Metric { name: "muster_leader_lease_seconds", kind: Gauge, labels: &[],
        help: "How long a write may still be begun without another proof of leadership, 0 while none may",
        read: |s, emit| leadership(s, |leadership| emit(&[], leadership.lease_seconds.unwrap_or(0.0))) },
    Metric { name: "muster_leader_failing_calls", kind: Gauge, labels: &[],
        help: "Kinds of calls to Consul that keep failing: alert when this stays above 0",
        read: |s, emit| leadership(s, |leadership| emit(&[], count(leadership.troubles.len()))) },

    Metric { name: "muster_notices_total", kind: Counter, labels: &["kind", "source"],
        help: "Notices that were news, by what they announce and who told: `agent`, `event_bridge` or `ec2`",
        read: |s, emit| notices(&s.engine.notices, emit) },
    Metric { name: "muster_notices_again_total", kind: Counter, labels: &["kind", "source"],
        help: "Notices that told nothing new: heard before, or from another source",
        read: |s, emit| notices(&s.engine.notices_again, emit) },
    Metric { name: "muster_notices_foreign_messages_total", kind: Counter, labels: &[],
        help: "Messages about instances that a describe from after they came does not know",
        read: |s, emit| emit(&[], whole(s.engine.messages_foreign)) },

    Metric { name: "muster_cloud_calls_total", kind: Counter, labels: &["operation", "class"],
        help: "Calls of AWS, metrics services, Nomad and Consul's ledgers that ended, by error class or `ok`",
        read: calls },
    Metric { name: "muster_samples_accepted_total", kind: Counter, labels: &[],
        help: "Samples of agents that were taken in",
        read: |s, emit| emit(&[], whole(s.engine.samples_accepted)) },
    Metric { name: "muster_samples_dropped_total", kind: Counter, labels: &[],
        help: "Samples of agents that came too late, twice, or for another time than now",
        read: |s, emit| emit(&[], whole(s.engine.samples_dropped)) },
    Metric { name: "muster_samples_batches_rejected_total", kind: Counter, labels: &["reason"],
        help: "Batches of agents that were refused, by reason",
        read: |s, emit| words(REJECTIONS, &s.engine.batches_rejected, emit) },
    Metric { name: "muster_samples_batches_lost_total", kind: Counter, labels: &[],
        help: "Batches of agents that never came, by the gaps in their numbers",
        read: |s, emit| emit(&[], whole(s.engine.batches_lost)) },
    Metric { name: "muster_samples_fleet_total", kind: Counter, labels: &["source"],
        help: "Samples of whole fleets, by source",
        read: |s, emit| words(SOURCES, &s.engine.fleet_samples, emit) },

    Metric { name: "muster_queue_messages", kind: Gauge, labels: &["queue", "state"],
        help: "What is in the queue of notices, by its own approximate count: `waiting` or `in_flight`",
        read: |s, emit| queues(s, |queue, counts| if let Some(depth) = counts.depth {
            emit(&[queue, "waiting"], whole(depth.visible));
            emit(&[queue, "in_flight"], whole(depth.in_flight));
        }) },
    Metric { name: "muster_queue_outstanding_messages", kind: Gauge, labels: &["queue"],
        help: "Messages that are being acted upon, and are deleted when that is on disk",
        read: |s, emit| queues(s, |queue, counts| emit(&[queue], count(counts.outstanding))) },
    Metric { name: "muster_queue_oldest_message_age_seconds", kind: Gauge, labels: &["queue"],
        help: "Age of the oldest message that was received and is not deleted, 0 without one",
        read: |s, emit| queues(s, |queue, counts| emit(&[queue], age(s, counts.oldest))) },
    Metric { name: "muster_queue_last_receive_age_seconds", kind: Gauge, labels: &["queue"],
        help: "How long ago receiving last succeeded, with or without a message; no series where nobody reads",
        read: |s, emit| queues(s, |queue, counts| if let Some(silent) = counts.silent {
            emit(&[queue], silent.as_secs_f64());
        }) },
    Metric { name: "muster_queue_received_messages_total", kind: Counter, labels: &["queue"],
        help: "Messages that were received, each time that they were delivered",
        read: |s, emit| queues(s, |queue, counts| emit(&[queue], whole(counts.received))) },
    Metric { name: "muster_queue_duplicate_messages_total", kind: Counter, labels: &["queue"],
        help: "Of these, those that were being acted upon already",
        read: |s, emit| queues(s, |queue, counts| emit(&[queue], whole(counts.duplicates))) },
    Metric { name: "muster_queue_deleted_messages_total", kind: Counter, labels: &["queue"],
        help: "Messages that were deleted",
        read: |s, emit| queues(s, |queue, counts| emit(&[queue], whole(counts.deleted))) },
    Metric { name: "muster_queue_undeleted_messages_total", kind: Counter, labels: &["queue"],
        help: "Messages that could not be deleted, and come again",
        read: |s, emit| queues(s, |queue, counts| emit(&[queue], whole(counts.undeleted))) },
    Metric { name: "muster_queue_dead_letters_total", kind: Counter, labels: &["queue", "reason"],
        help: "Messages that could not be read, by reason",
        read: |s, emit| queues(s, |queue, counts| {
            words(UNREAD, &counts.dead_letters, &mut |reason, n| emit(&[queue, reason[0]], n));
        }) },
    Metric { name: "muster_queue_kept_dead_letters", kind: Gauge, labels: &[],
        help: "Messages that could not be read and are kept in the state directory",
        read: |s, emit| emit(&[], whole(s.letters.letters)) },
    Metric { name: "muster_queue_oldest_dead_letter_age_seconds", kind: Gauge, labels: &[],
        help: "Age of the oldest of these, 0 without one",
        read: |s, emit| emit(&[], age(s, s.letters.oldest)) },
    Metric { name: "muster_queue_lost_tasks_total", kind: Counter, labels: &["queue"],
        help: "Tasks of the queue's reader that were lost to a panic; each was begun anew",
        read: |s, emit| queues(s, |queue, counts| emit(&[queue], whole(counts.lost_tasks))) },
    Metric { name: "muster_queue_calls_total", kind: Counter, labels: &["queue", "operation", "class"],
        help: "Calls of the queue that ended, by error class or `ok`",
        read: |s, emit| queues(s, |queue, counts| {
            let ok = ["receive", "delete", "depth"].map(|operation| ((operation, "ok"), 0));
            let mut calls = BTreeMap::from(ok);
            calls.extend(&counts.calls);
            for ((operation, class), n) in calls {
                emit(&[queue, operation, class], whole(n));
            }
        }) },

    Metric { name: "muster_policy_loaded_timestamp_seconds", kind: Gauge, labels: &[],
        help: "When the policies in force were loaded, in seconds since 1970",
        read: |s, emit| status(s, |status| {
            status.policies.loaded.into_iter().for_each(|at| emit(&[], seconds(at)));
        }) },
    Metric { name: "muster_policy_rejected", kind: Gauge, labels: &[],
        help: "1 while newer policies were refused and older ones are in force",
        read: |s, emit| status(s, |status| emit(&[], flag(status.policies.rejected.is_some()))) },
    Metric { name: "muster_journal_failing", kind: Gauge, labels: &[],
        help: "1 while the journal cannot be written",
        read: |s, emit| status(s, |status| emit(&[], flag(status.journal.failing_since.is_some()))) },
    Metric { name: "muster_journal_outstanding_batches", kind: Gauge, labels: &[],
        help: "Batches of records that are on their way to the disk",
        read: |s, emit| status(s, |status| emit(&[], count(status.journal.outstanding))) },
    Metric { name: "muster_journal_errors_total", kind: Counter, labels: &[],
        help: "Batches of records that could not be written",
        read: |s, emit| emit(&[], whole(s.engine.journal_errors)) },
    Metric { name: "muster_http_requests_total", kind: Counter, labels: &["route", "status"],
        help: "Requests that were answered, by route and HTTP status",
        read: |s, emit| s.counted.requests.iter().for_each(|((route, status), n)| {
            emit(&[route, &status.to_string()], whole(*n));
        }) },
    Metric { name: "muster_build_info", kind: Gauge, labels: &["version"],
        help: "Always 1; the version is in the label",
        read: |_, emit| emit(&[env!("CARGO_PKG_VERSION")], 1.0) },
];

/// Words that counters begin with, at 0. What else is counted is shown, too.
const DECISIONS: &[&str] = &["scale_out", "scale_in", "set_right", "trim"];
const WITHHELD: &[&str] = &[
    "dry_run",
    "refused",
    "busy",
    "backing_off",
    "budget",
    "journal_failing",
    "stopping",
    "standby",
    "not_looked",
    "panicked",
];
const INVARIANTS: &[&str] = &["CAP", "DATA", "DRAIN", "OWN", "ONCE", "MODIFY", "SPREAD", "PACE"];
const REJECTIONS: &[&str] =
    &["version", "too_many", "malformed", "wrong_peer", "unknown_yet", "duplicate", "stopping"];
const UNREAD: &[&str] = &["too_large", "not_json", "unknown", "missing", "odd"];
const SOURCES: &[&str] = &["push", "cloudwatch", "prometheus"];
const OPERATIONS: &[&str] = &[
    "describe_fleets",
    "describe_instances",
    "fleet_instances",
    "history",
    "scalable_targets",
    "cloudwatch",
    "prometheus",
    "spot_prices",
    "marks",
    "alarms",
    "nodes",
    "ledgers",
    "modify",
    "terminate",
    "cordon",
    "drain",
    "restore",
    "scale_group",
];

/// One counter a word, from 0 on.
fn words(known: &[&'static str], counted: &BTreeMap<&'static str, u64>, emit: &mut Emit) {
    let mut counts: BTreeMap<&str, u64> = known.iter().map(|word| (*word, 0)).collect();
    counts.extend(counted);
    for (word, n) in counts {
        emit(&[word], whole(n));
    }
}

/// Each kind from each of the sources that may tell it, from 0 on.
fn notices(counted: &BTreeMap<NoticeCount, u64>, emit: &mut Emit) {
    use NoticeKind::{FleetScaleIn, RebalanceRecommendation, ScheduledEvent, SpotInterruption};
    let kinds = [SpotInterruption, RebalanceRecommendation, ScheduledEvent];
    let sources = [NoticeSource::Agent, NoticeSource::EventBridge, NoticeSource::Ec2];
    let pairs = kinds.into_iter().flat_map(|kind| sources.map(|source| NoticeCount::of(kind, source)));
    // Agents cannot know it.
    let of_fleet = sources[1..].iter().map(|source| NoticeCount::of(FleetScaleIn, *source));
    let mut counts: BTreeMap<NoticeCount, u64> = pairs.chain(of_fleet).map(|count| (count, 0)).collect();
    counts.extend(counted);
    for (NoticeCount { kind, source }, n) in counts {
        emit(&[kind, source], whole(n));
    }
}

/// Successes from 0 on; failures as they come.
fn calls(scrape: &Scrape, emit: &mut Emit) {
    let ok = |operation: &&'static str| (CallCount { operation, class: "ok" }, 0);
    let mut counts: BTreeMap<CallCount, u64> = OPERATIONS.iter().map(ok).collect();
    counts.extend(&scrape.engine.calls);
    for (CallCount { operation, class }, n) in counts {
        emit(&[operation, class], whole(n));
    }
}

fn status(scrape: &Scrape, read: impl FnMut(&Status)) {
    scrape.status.iter().for_each(read);
}

fn leadership(scrape: &Scrape, mut read: impl FnMut(&Leadership)) {
    status(scrape, |status| status.leadership.iter().for_each(&mut read));
}

fn each_fleet(scrape: &Scrape, read: impl FnMut(&FleetStatus)) {
    scrape.status.iter().flat_map(|status| &status.fleets).for_each(read);
}

/// One series a fleet, none where there is nothing to tell.
fn fleets(scrape: &Scrape, emit: &mut Emit, read: impl Fn(&FleetStatus) -> Option<f64>) {
    each_fleet(scrape, |fleet| {
        if let Some(value) = read(fleet) {
            emit(&[fleet.name.as_str()], value);
        }
    });
}

/// One counter a fleet, from 0 on.
fn counts(scrape: &Scrape, emit: &mut Emit, read: impl Fn(FleetCounts) -> u64) {
    each_fleet(scrape, |fleet| emit(&[fleet.name.as_str()], whole(read(counts_of(scrape, fleet)))));
}

fn counts_of(scrape: &Scrape, fleet: &FleetStatus) -> FleetCounts {
    scrape.counted.fleets.get(&fleet.name).copied().unwrap_or_default()
}

/// Roll-outs that have not ended.
fn rollouts(scrape: &Scrape, mut read: impl FnMut(&str, &RolloutStatus)) {
    each_fleet(scrape, |fleet| {
        if let Some(rollout) = fleet.rollout.as_ref().filter(|rollout| !rollout.rollout.is_over()) {
            read(fleet.name.as_str(), rollout);
        }
    });
}

fn queues(scrape: &Scrape, mut read: impl FnMut(&str, &QueueCounts)) {
    scrape.queues.iter().for_each(|(queue, counts)| read(queue, counts));
}

/// How long ago something was; 0 for nothing.
fn age(scrape: &Scrape, since: Option<Timestamp>) -> f64 {
    let at = scrape.status.as_ref().map(|status| status.at);
    at.zip(since).map_or(0.0, |(at, since)| at.since(since).as_secs_f64())
}

fn report(fleet: &FleetStatus) -> Option<&autoscaler_core::Report> {
    fleet.decided.as_ref().map(|decided| &decided.report)
}

fn instances(scrape: &Scrape, emit: &mut Emit) {
    use autoscaler_core::Phase::{Booting, Draining, InService, Leaving, Requested};
    each_fleet(scrape, |fleet| {
        for phase in [Requested, Booting, InService, Draining, Leaving] {
            let number = fleet.instances.iter().filter(|instance| instance.phase == phase).count();
            emit(&[fleet.name.as_str(), &tag(&phase)], count(number));
        }
    });
}

fn holds(scrape: &Scrape, emit: &mut Emit) {
    each_fleet(scrape, |fleet| {
        let mut reasons: Vec<String> =
            report(fleet).into_iter().flat_map(|r| r.holds.iter().map(tag)).collect();
        reasons.sort_unstable();
        reasons.dedup();
        for reason in &reasons {
            emit(&[fleet.name.as_str(), reason], 1.0);
        }
    });
}

/// The name that a variant has in JSON, which is the one that people meet elsewhere, too.
fn tag(variant: &impl Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => {
            fields.into_iter().next().map(|(name, _)| name).unwrap_or_default()
        }
        _ => String::new(),
    }
}

const fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Exact up to 2^32 of them.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps 64-bit floats, whatever it is given")]
const fn whole(number: u64) -> f64 {
    number as f64
}

fn seconds(at: Timestamp) -> f64 {
    at.since(Timestamp::EPOCH).as_secs_f64()
}
