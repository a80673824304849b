//! The post-configuration: AWX's provisioning callback, and the wait for its job.
//!
//! The note says how far it is: `job 17` (it runs, `job ?`: its number is not known), `failed 17`, `ended 17`. A job that
//! is noted is waited for and not asked for again, whatever happened in between.

use super::{inputs_of, wanted};
use crate::drive::{Looked, Made, Notes};
use crate::http::{BEARER, Http, HttpError, Reply, secret_of};
use crate::node::Node;
use crate::status::Drift;
use bootstrap_config::{AwxSettings, KeySource};
use bootstrap_core::awx::{Answer, Callback, Ended, Job, Next};
use bootstrap_core::{Checked, Entry, Failure, Inputs, Phase, Secret, Step, spread};
use fleet::{ErrorClass, Timestamp};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the playbook's last task says that it is done, below the state directory: it survives a reboot.
pub const COMPLETIONS: &str = "awx";

/// AWX may look through its inventory, and have it synchronised, before it answers.
const CALLBACK_WITHIN: Duration = Duration::from_secs(300);
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// How often the job is looked at.
const LOOKS: Duration = Duration::from_secs(2);
/// Of a failed job's output.
const TAIL_LINES: usize = 20;
/// Of the newest jobs, where one's number has to be found: a fleet may have booted together.
const NEWEST: u32 = 200;
/// AWX's output is processed after the job's end, and sometimes never.
const OUTPUT_PATIENCE: u32 = 10;

/// What the playbook's last task writes: `JOB.json`.
#[derive(Debug, Deserialize)]
struct Completion {
    job: u64,
    instance: String,
    status: String,
    #[serde(default)]
    message: String,
}

/// How far the note says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    Nothing,
    Runs { job: Option<u64> },
    Failed { job: Option<u64> },
    Ended { job: Option<u64> },
}

impl Noted {
    /// A job that is over: what is looked for is newer.
    const fn over(self) -> Option<u64> {
        match self {
            Self::Failed { job } | Self::Ended { job } => job,
            Self::Nothing | Self::Runs { .. } => None,
        }
    }
}

fn noted(last: Option<&Entry>) -> Noted {
    let note = last.and_then(|entry| entry.note.as_deref()).unwrap_or_default();
    match note.split_once(' ') {
        Some(("job", number)) => Noted::Runs { job: number.parse().ok() },
        Some(("failed", number)) => Noted::Failed { job: number.parse().ok() },
        Some(("ended", number)) => Noted::Ended { job: number.parse().ok() },
        _ => Noted::Nothing,
    }
}

fn note(word: &str, job: Option<u64>) -> String {
    job.map_or_else(|| format!("{word} ?"), |job| format!("{word} {job}"))
}

pub(super) fn check(node: &Node, last: Option<&Entry>) -> Looked {
    let awx = wanted(node.settings().awx, Step::Awx)?;
    let inputs = inputs(&awx);
    let applied = node.is_applied(Step::Awx, &inputs);
    let done =
        last.filter(|entry| entry.inputs == inputs && matches!(noted(Some(*entry)), Noted::Ended { .. }));
    let checked = match done {
        // An intent that bears another run's end is one that was not begun.
        Some(entry) if entry.phase == Phase::Done || applied => {
            if is_drift_due(node, &awx, entry.at) {
                Checked::Needed
            } else {
                Checked::Already
            }
        }
        _ if applied => Checked::Already,
        _ => Checked::Needed,
    };
    Ok((checked, inputs))
}

/// What another answer of which is another job.
fn inputs(awx: &AwxSettings) -> Inputs {
    inputs_of(&(&awx.server.address, awx.template, &awx.extra_vars))
}

/// Whether the job is to run again. Spread over the last quarter of the time, so that a fleet that booted together does
/// not ask together; never on a node that is about to go.
fn is_drift_due(node: &Node, awx: &AwxSettings, last: Timestamp) -> bool {
    if awx.drift.is_zero() || node.is_going() {
        return false;
    }
    let since = node.drift().map_or(last, |drift| drift.at.max(last));
    let quarter = awx.drift / 4;
    let due = since + quarter * 3 + spread(quarter, node.seed(), since.millis().unsigned_abs());
    node.clock.wall() >= due
}

pub(super) async fn apply(node: &Node, last: Option<Entry>, notes: Notes) -> Made {
    node.set_applied(Step::Awx, None);
    let awx = wanted(node.settings().awx, Step::Awx)?;
    let talk = Talk { node, awx: &awx, http: Http::new("AWX", &awx.server, Some(BEARER))?, notes };
    let before = noted(last.as_ref());
    let job = match before {
        Noted::Runs { job } => job,
        Noted::Nothing | Noted::Failed { .. } | Noted::Ended { .. } => {
            if before == Noted::Nothing {
                let pause = spread(awx.jitter, node.seed(), 0);
                node.clock.sleep_until(node.clock.monotonic() + pause).await;
            }
            talk.begin(last.as_ref()).await?
        }
    };
    let (job, failure) = match talk.end_of(job, last.as_ref()).await {
        Ok(job) => (job, None),
        Err(Stop::Later(failure)) => return Err(failure),
        Err(Stop::Failed { job, failure }) => {
            // Another attempt is another job.
            talk.notes.keep(&note("failed", job)).await?;
            (job, Some(*failure))
        }
    };
    if matches!(before, Noted::Ended { .. }) {
        talk.drifted(failure)?;
    } else if let Some(failure) = failure {
        return Err(failure);
    }
    node.set_applied(Step::Awx, Some(inputs(&awx)));
    Ok(Some(note("ended", job)))
}

/// Why there is no end to report.
enum Stop {
    /// It cannot be told now.
    Later(Failure),
    /// The job has failed.
    Failed { job: Option<u64>, failure: Box<Failure> },
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Later(error.into())
    }
}

/// A conversation with AWX. One request at a time: its own guard against two jobs for one host is none when two come
/// at once.
struct Talk<'a> {
    node: &'a Node,
    awx: &'a AwxSettings,
    http: Http,
    notes: Notes,
}

impl Talk<'_> {
    /// Asks for the job. * returns: its number, where it was told; it is on disk then.
    async fn begin(&self, last: Option<&Entry>) -> Result<Option<u64>, Failure> {
        // An intent whose note does not know of a job that runs: the callback may have been sent by who was cut off.
        if let Some(last) = last
            && self.can_watch()
            && let Some(job) = self.find(last.at, noted(Some(last)).over()).await?
        {
            self.notes.keep(&note("job", Some(job))).await?;
            return Ok(Some(job));
        }
        let answer = self.call_back().await?;
        let next = self
            .node
            .callback(|callback: &mut Callback| callback.answered(&answer, self.node.clock.monotonic()));
        match next {
            Next::Wait { job } => {
                self.notes.keep(&note("job", job)).await?;
                Ok(job)
            }
            Next::Again(failure) | Next::Fail(failure) => Err(failure),
        }
    }

    async fn call_back(&self) -> Result<Answer, Failure> {
        let key = self.key().await?;
        let instance = self.node.identity()?.document.instance.clone();
        let mut variables: serde_json::Map<String, serde_json::Value> =
            self.awx.extra_vars.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        variables.insert("instance_id".to_owned(), json!(instance));
        let body = json!({"host_config_key": key.expose(), "extra_vars": variables});
        let path = format!("/api/v2/job_templates/{}/callback/", self.awx.template);
        // The callback is nobody's: a token there is refused by some of AWX's versions, and never needed.
        let server = bootstrap_config::Server { token_file: None, ..self.awx.server.clone() };
        let anonymous = Http::new("AWX", &server, None)?;
        match anonymous.ask(Method::POST, &path, Some(&body), CALLBACK_WITHIN).await {
            Ok(Reply { status, location, retry_after, body, .. }) => {
                Ok(Answer::Http { status, location, retry_after, body })
            }
            Err(HttpError::Unreachable { .. }) => Ok(Answer::Unreachable),
            Err(HttpError::Cut { .. }) => Ok(Answer::Lost),
            Err(error @ HttpError::Unusable { .. }) => Err(error.into()),
        }
    }

    async fn key(&self) -> Result<Secret, Failure> {
        match self.awx.key() {
            Some(KeySource::File(path)) => secret_of(Path::new(&path)).map_err(|why| {
                Failure::new(ErrorClass::NotFound, format_args!("the host config key: {why}"))
            }),
            Some(KeySource::Parameter(name)) => {
                let region = self.node.identity()?.document.region.to_string();
                let endpoint = self.node.settings().parameters.endpoint;
                self.node.aws.secret(&region, endpoint.as_deref(), &name).await
            }
            None => Err(Failure::lasting(ErrorClass::Malformed, "there is no host config key")),
        }
    }

    const fn can_watch(&self) -> bool {
        self.awx.server.token_file.is_some()
    }

    /// Waits for the job's end. The step's attempt is what ends the wait.
    async fn end_of(&self, job: Option<u64>, last: Option<&Entry>) -> Result<Option<u64>, Stop> {
        let since = last.map_or(Timestamp::EPOCH, |last| last.at);
        let over = noted(last).over();
        let mut known = job;
        loop {
            if self.can_watch() {
                if known.is_none() {
                    known = self.find(since, over).await?;
                    if known.is_some() {
                        self.notes.keep(&note("job", known)).await?;
                    }
                }
                if let Some(job) = known
                    && let Some(ended) = self.watched(job).await?
                {
                    return ended.map(Some);
                }
            } else if let Some(ended) = self.completed(known, since)? {
                return ended.map(Some);
            }
            let job = known.map_or_else(
                || "its job, whose number is not known".to_owned(),
                |job| format!("its job {job}"),
            );
            self.node.wait(Step::Awx, format!("AWX has not ended {job}"), LOOKS).await;
        }
    }

    /// The newest job of the template that was begun for this instance since a time.
    ///
    /// Known by the variable `instance_id`, which the template has to prompt for: AWX's own name of this host is not known
    /// here.
    ///
    /// * `over`: a job that is over, where one is known: only newer ones are looked for.
    async fn find(&self, since: Timestamp, over: Option<u64>) -> Result<Option<u64>, Failure> {
        #[derive(Deserialize)]
        struct Listed {
            results: Vec<Row>,
        }
        #[derive(Deserialize)]
        struct Row {
            id: u64,
            #[serde(default)]
            created: String,
            #[serde(default)]
            extra_vars: String,
        }
        let template = self.awx.template;
        let path = format!(
            "/api/v2/jobs/?job_template={template}&launch_type=callback&order_by=-id&page_size={NEWEST}"
        );
        let reply = self.http.get(&path, ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("AWX", "list its jobs"));
        }
        let Listed { results } = reply.json("AWX")?;
        let instance = self.node.identity()?.document.instance.to_string();
        // Clocks differ by a little.
        let since = Timestamp::from_millis(since.millis().saturating_sub(60_000));
        let ours = |row: &&Row| {
            let variables: serde_json::Value = serde_json::from_str(&row.extra_vars).unwrap_or_default();
            let new = Timestamp::parse(&row.created).is_ok_and(|created| created >= since);
            let new = new && over.is_none_or(|over| row.id > over);
            new && variables["instance_id"] == json!(instance)
        };
        Ok(results.iter().find(ours).map(|row| row.id))
    }

    /// The job's end as AWX tells of it; `None`: it has not ended, or AWX cannot tell just now.
    async fn watched(&self, job: u64) -> Result<Option<Result<u64, Stop>>, Failure> {
        let path = format!("/api/v2/jobs/{job}/");
        let mut output_looks = 0;
        loop {
            let reply = match self.http.get(&path, ANSWERS_WITHIN).await {
                Ok(reply) => reply,
                // A job does not end because nobody can look at it.
                Err(HttpError::Unreachable { .. } | HttpError::Cut { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            match reply.status {
                200 => {}
                429 | 500.. => return Ok(None),
                _ => return Err(reply.failure("AWX", &format!("show job {job}"))),
            }
            let seen: Job = reply.json("AWX")?;
            match seen.ended() {
                None => return Ok(None),
                Some(Ended::Successful) => return Ok(Some(Ok(job))),
                Some(Ended::Failed) if seen.event_processing_finished || output_looks >= OUTPUT_PATIENCE => {
                    let output = self.output(job).await;
                    let link = format!("{}/#/jobs/playbook/{job}/output", self.awx.server.address);
                    let failure = Box::new(seen.failure(link, &output, TAIL_LINES));
                    return Ok(Some(Err(Stop::Failed { job: Some(job), failure })));
                }
                Some(Ended::Failed) => {
                    output_looks += 1;
                    self.node.clock.sleep_until(self.node.clock.monotonic() + LOOKS).await;
                }
            }
        }
    }

    /// The job's output; what cannot be had is not worth failing otherwise for.
    async fn output(&self, job: u64) -> String {
        #[derive(Deserialize)]
        struct Output {
            content: String,
        }
        let path = format!("/api/v2/jobs/{job}/stdout/?format=json");
        let reply = self.http.get(&path, ANSWERS_WITHIN).await.ok().filter(Reply::is_success);
        reply
            .and_then(|reply| reply.json::<Output>("AWX").ok())
            .map_or_else(String::new, |output| output.content)
    }

    /// The job's end as its playbook tells of it.
    fn completed(&self, job: Option<u64>, since: Timestamp) -> Result<Option<Result<u64, Stop>>, Failure> {
        let instance = self.node.identity()?.document.instance.to_string();
        let directory = self.node.directories.state.join(COMPLETIONS);
        let path = match job {
            Some(job) => Some(directory.join(format!("{job}.json"))),
            None => newest(&directory, since),
        };
        let Some(path) = path.filter(|path| path.exists()) else { return Ok(None) };
        let text = secret_of(&path).map_err(|why| Failure::new(ErrorClass::Transient, why))?;
        // The task may be writing it: it is whole a moment later.
        let Ok(Completion { job, instance: of, status, message }) = serde_json::from_str(text.expose())
        else {
            return Ok(None);
        };
        if of != instance {
            return Ok(None);
        }
        if status == "successful" {
            return Ok(Some(Ok(job)));
        }
        let what = format!("job {job} of AWX ended as {status}");
        let tail = message.lines().rev().take(TAIL_LINES).map(str::to_owned).collect::<Vec<_>>();
        let failure = Failure {
            see: Some(format!("{}/#/jobs/playbook/{job}/output", self.awx.server.address)),
            tail: tail.into_iter().rev().collect(),
            ..Failure::lasting(ErrorClass::Conflict, what)
        };
        Ok(Some(Err(Stop::Failed { job: Some(job), failure: Box::new(failure) })))
    }

    /// A run after the boot has ended: one that failed counts, and enough of them in a row are the step's failure.
    fn drifted(&self, failure: Option<Failure>) -> Result<(), Failure> {
        let before = self.node.drift().map_or(0, |drift| drift.failures);
        let failures = if failure.is_some() { before + 1 } else { 0 };
        let outcome = failure.as_ref().map_or_else(|| "ok".to_owned(), ToString::to_string);
        self.node.set_drift(Drift { at: self.node.clock.wall(), failures, outcome });
        match failure {
            Some(failure) if failures >= self.awx.drift_failures => Err(failure),
            _ => Ok(()),
        }
    }
}

/// The newest completion file that was written since a time.
fn newest(directory: &Path, since: Timestamp) -> Option<PathBuf> {
    let mut found: Option<(Timestamp, PathBuf)> = None;
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let written = written
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|at| Timestamp::EPOCH + at);
        if path.extension().is_some_and(|ending| ending == "json")
            && let Some(written) = written.filter(|written| *written >= since)
            && found.as_ref().is_none_or(|(newest, _)| *newest < written)
        {
            found = Some((written, path));
        }
    }
    found.map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_how_far_it_is() {
        let of = |note: Option<&str>| {
            let entry = Entry {
                step: Step::Awx,
                phase: Phase::Intent,
                inputs: Inputs::none(),
                at: Timestamp::EPOCH,
                note: note.map(str::to_owned),
            };
            noted(Some(&entry))
        };
        assert_eq!(of(Some(&note("job", Some(17)))), Noted::Runs { job: Some(17) });
        assert_eq!(of(Some(&note("job", None))), Noted::Runs { job: None });
        assert_eq!(of(Some(&note("ended", Some(17)))), Noted::Ended { job: Some(17) });
        assert_eq!(of(Some(&note("failed", None))), Noted::Failed { job: None });
        assert_eq!(of(None), Noted::Nothing);
        assert_eq!(noted(None), Noted::Nothing);
    }
}
