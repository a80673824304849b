//! The post-configuration: AWX's provisioning callback, and the wait for its job.
//!
//! A job that is noted is waited for and not asked for again, whatever happened in between. Once one has succeeded the node
//! stands as it left it; each one after it is a *drift run*, whose failures of any kind are counted, and are the step's only
//! when there were enough of them in a row.

mod note;
mod talk;
#[cfg(test)]
mod tests;

use super::{inputs_of, wanted};
use crate::drive::{Looked, Made, Notes};
use crate::node::Node;
use crate::status::Drift;
use bootstrap_config::AwxSettings;
use bootstrap_core::awx::{Callback, NO_HOST_PATIENCE};
use bootstrap_core::{Checked, Entry, Failure, Inputs, Phase, Step, spread};
use fleet::{ErrorClass, Timestamp};
use note::Note;
use std::time::Duration;
pub(crate) use talk::reads;
use talk::{Stop, Talk};

/// Where the playbook's last task says that it is done, below the state directory: it survives a reboot.
pub const COMPLETIONS: &str = "awx";

/// A drift run whose callback is not taken for so long has failed. As long as an inventory may lag.
const CALLBACK_PATIENCE: Duration = NO_HOST_PATIENCE;

pub(super) fn check(node: &Node, last: Option<&Entry>) -> Looked {
    let awx = wanted(node.settings().awx, Step::Awx)?;
    let inputs = inputs(&awx);
    let note = Note::of(last);
    let stands = note.has_ended(&inputs) && !has_drifted(&awx, &note);
    let checked = match last {
        // It has just been made so; what its line says now was before that.
        Some(last) if last.phase == Phase::Intent && node.is_applied(Step::Awx, &inputs) => Checked::Already,
        Some(last) if stands => {
            recall(node, last.at, &note);
            // A drift run that was cut off, before it was noted or after that, is taken up by a later look: it holds up no boot.
            // Where it is due, those that need this step stand meanwhile, and are looked at.
            let is_due = last.phase == Phase::Done && is_drift_due(node, &awx, &note, last.at);
            if is_due { Checked::Again } else { Checked::Already }
        }
        _ => Checked::Needed,
    };
    Ok((checked, inputs))
}

/// What another answer of which is another job.
fn inputs(awx: &AwxSettings) -> Inputs {
    inputs_of(&(&awx.server.address, awx.template, &awx.extra_vars))
}

/// Whether so many drift runs in a row have failed that it is the step's failure.
fn has_drifted(awx: &AwxSettings, note: &Note) -> bool {
    !awx.drift.is_zero() && note.failures >= awx.drift_failures
}

/// Failures that an agent before this one has counted are shown, too.
fn recall(node: &Node, at: Timestamp, note: &Note) {
    if node.drift().is_none() && note.failures > 0 {
        let outcome = "it failed, before the agent was started".to_owned();
        node.set_drift(Drift { at, failures: note.failures, outcome });
    }
}

/// Whether the job is to run again. Spread over the last quarter of the time, so that a fleet that booted together does
/// not ask together; never on a node that is about to go.
fn is_drift_due(node: &Node, awx: &AwxSettings, note: &Note, last: Timestamp) -> bool {
    if awx.drift.is_zero() || node.is_going() {
        return false;
    }
    if note.drift.is_some() {
        return true;
    }
    let since = node.drift().map_or(last, |drift| drift.at.max(last));
    let quarter = awx.drift / 4;
    let due = since + quarter * 3 + spread(quarter, node.seed(), since.millis().unsigned_abs());
    node.clock.wall() >= due
}

pub(super) async fn apply(node: &Node, last: Option<Entry>, notes: Notes) -> Made {
    node.set_applied(Step::Awx, None);
    let awx = wanted(node.settings().awx, Step::Awx)?;
    let inputs = inputs(&awx);
    let note = Note::of(last.as_ref());
    let note = if note.has_ended(&inputs) {
        Run { node, awx: &awx, notes: &notes, inputs: &inputs }.again(note).await?
    } else {
        let since = last.map_or(Timestamp::EPOCH, |last| last.at);
        Run { node, awx: &awx, notes: &notes, inputs: &inputs }.first(note, since).await?
    };
    node.set_applied(Step::Awx, Some(inputs));
    Ok(Some(note.to_string()))
}

/// How a drift run ended.
enum Outcome {
    Succeeded {
        job: Option<u64>,
    },
    /// The node is about to go: nobody is asked now.
    PutOff,
}

/// A run of the job. * returns, each of them: the note that says what came of it.
struct Run<'a> {
    node: &'a Node,
    awx: &'a AwxSettings,
    notes: &'a Notes,
    inputs: &'a Inputs,
}

impl Run<'_> {
    /// The job that the node stands on, of these inputs.
    ///
    /// * `since`: when it was first to be asked for.
    async fn first(&self, mut note: Note, since: Timestamp) -> Result<Note, Failure> {
        let talk = Talk::new(self.node, self.awx, self.notes, self.inputs)?;
        let job = if let Some(runs) = note.running(self.inputs) {
            runs.job
        } else {
            if note == Note::default() {
                let pause = spread(self.awx.jitter, self.node.seed(), 0);
                self.node.clock.sleep_until(self.node.clock.monotonic() + pause).await;
            }
            note.begin_anew();
            talk.begin(&mut note, since).await?
        };
        match talk.end_of(&mut note, job, since).await {
            Ok(job) => Ok(Note::ended(job, self.inputs.clone())),
            Err(Stop::Later(failure)) => Err(failure),
            Err(Stop::Failed { job, failure }) => {
                // Another attempt is another job.
                note.give_up(job);
                self.notes.keep(&note.to_string()).await?;
                Err(*failure)
            }
        }
    }

    /// A drift run: what goes wrong in it is counted.
    async fn again(&self, mut note: Note) -> Result<Note, Failure> {
        let since = note.drift.unwrap_or_else(|| self.node.clock.wall());
        if note.drift.is_none() {
            // One that is cut off is known as one, and goes on as one.
            note.drift = Some(since);
            self.notes.keep(&note.to_string()).await?;
            self.node.callback(|callback| *callback = Callback::default());
        }
        // Before the attempt is over: that would be the step's failure.
        let within = self.node.settings().step(Step::Awx).attempt / 10 * 9;
        let until = self.node.clock.monotonic() + within;
        let ended = tokio::select! {
            ended = self.drift(&mut note, since) => ended,
            () = self.node.clock.sleep_until(until) => {
                let within = bootstrap_config::duration_text(within);
                let what = format!("AWX's job has not ended within {within}");
                Err(Failure::new(ErrorClass::Unclear, what).into())
            }
        };
        match ended {
            // What has failed too often is not mended by not being tried.
            Ok(Outcome::PutOff) if has_drifted(self.awx, &note) => {
                let what = "its drift runs have failed, and a node that is about to go begins none";
                Err(Failure::new(ErrorClass::Conflict, what))
            }
            Ok(Outcome::PutOff) => Ok(note),
            Ok(Outcome::Succeeded { job }) => {
                self.tell(0, "ok".to_owned());
                Ok(Note::ended(job, self.inputs.clone()))
            }
            Err(stop) => {
                let (job, failure) = stop.into_parts();
                self.count(note, job, failure).await
            }
        }
    }

    async fn drift(&self, note: &mut Note, since: Timestamp) -> Result<Outcome, Stop> {
        let talk = Talk::new(self.node, self.awx, self.notes, self.inputs)?;
        let retry = self.node.settings().plans()[&Step::Awx].retry;
        let until = self.node.clock.monotonic() + CALLBACK_PATIENCE;
        let mut begun = note.running(self.inputs).map(|runs| runs.job);
        let mut failures = 0;
        let job = loop {
            if let Some(job) = begun {
                break job;
            }
            if self.node.is_going() {
                return Ok(Outcome::PutOff);
            }
            match talk.begin(note, since).await {
                Ok(job) => begun = Some(job),
                Err(failure) if failure.lasting || self.node.clock.monotonic() >= until => {
                    return Err(failure.into());
                }
                Err(failure) => {
                    failures += 1;
                    let pause = retry.pause_after(&failure, failures, self.node.seed());
                    self.node.wait(Step::Awx, &failure.to_string(), pause).await;
                }
            }
        };
        let job = talk.end_of(note, job, since).await?;
        Ok(Outcome::Succeeded { job })
    }

    /// A drift run has failed: enough of them in a row are the step's failure.
    async fn count(&self, mut note: Note, job: Option<u64>, failure: Failure) -> Result<Note, Failure> {
        note.give_up(job);
        note.drift = None;
        note.failures += 1;
        self.tell(note.failures, failure.to_string());
        if has_drifted(self.awx, &note) {
            self.notes.keep(&note.to_string()).await?;
            // It was tried often enough.
            return Err(Failure { lasting: true, ..failure });
        }
        tracing::warn!(failures = note.failures, %failure, "a drift run failed");
        Ok(note)
    }

    fn tell(&self, failures: u32, outcome: String) {
        self.node.set_drift(Drift { at: self.node.clock.wall(), failures, outcome });
    }
}
