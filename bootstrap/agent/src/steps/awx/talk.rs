//! The conversation with AWX: its callback, its list of jobs, and what tells of a job's end.

use super::super::patience::Patience;
use super::COMPLETIONS;
use super::note::{Asked, Note};
use crate::drive::Notes;
use crate::http::{BEARER, Http, HttpError, Reply, secret_of};
use crate::node::Node;
use bootstrap_config::{AwxSettings, KeySource};
use bootstrap_core::awx::{Answer, Ended, Job, Next};
use bootstrap_core::{Failure, Inputs, Secret, Step};
use fleet::{ErrorClass, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// AWX may look through its inventory, and have it synchronised, before it answers.
const CALLBACK_WITHIN: Duration = Duration::from_secs(300);
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// How often the job is looked at.
const LOOKS: Duration = Duration::from_secs(2);
/// A job whose number is not known is asked for again so often: while it runs, that is "already pending", and changes
/// nothing. It may be somebody else's. And so long is one waited for that AWX does not know any more.
const NAMELESS_PATIENCE: Duration = Duration::from_secs(300);
/// The same for one whose end only its playbook tells of: it may have ended before its last task. A playbook that has none
/// is not to run every few minutes.
const SILENT_PATIENCE: Duration = Duration::from_secs(1800);
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

/// The callback's body.
#[derive(Serialize)]
struct Request<'a> {
    host_config_key: &'a str,
    extra_vars: BTreeMap<&'a str, &'a str>,
}

impl Request<'_> {
    /// As JSON, which holds a secret.
    fn text(&self) -> Zeroizing<Vec<u8>> {
        // JSON writes a byte with six at most. There is room for all: a vector that has to move leaves its contents behind.
        let names = self.extra_vars.iter().map(|(name, value)| name.len() + value.len() + 1);
        let room = 64 + 6 * (self.host_config_key.len() + names.sum::<usize>());
        let mut text = Zeroizing::new(Vec::with_capacity(room));
        // Texts alone: there is nothing that JSON could not say.
        let _ = serde_json::to_writer(&mut *text, self);
        debug_assert!(text.capacity() == room, "it has not moved");
        text
    }
}

/// A job's output.
#[derive(Deserialize)]
struct Output {
    content: String,
}

/// The newest jobs of a template, newest first.
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

impl Listed {
    /// The newest one of an instance that was begun since a time, and after another one.
    fn newest_of(&self, instance: &str, since: Timestamp, over: Option<u64>) -> Option<u64> {
        // Clocks differ by a little.
        let since = Timestamp::from_millis(since.millis().saturating_sub(60_000));
        let ours = |row: &&Row| {
            let variables: serde_json::Value = serde_json::from_str(&row.extra_vars).unwrap_or_default();
            let new = Timestamp::parse(&row.created).is_ok_and(|created| created >= since);
            let new = new && over.is_none_or(|over| row.id > over);
            new && variables["instance_id"] == json!(instance)
        };
        self.results.iter().find(ours).map(|row| row.id)
    }
}

/// Reads what AWX, and a playbook's last task, may have said; for those who give it anything.
pub(crate) fn reads(body: &[u8]) {
    if let Ok(listed) = serde_json::from_slice::<Listed>(body) {
        let _ = listed.newest_of("i-0123456789abcdef0", Timestamp::EPOCH, Some(1));
    }
    let _ = serde_json::from_slice::<Output>(body);
    let _ = serde_json::from_slice::<Completion>(body);
}

/// What a look at a job came to.
enum Look {
    /// It has ended.
    Ended(Result<u64, Stop>),
    /// It has not.
    Runs,
    /// AWX cannot tell just now.
    Unseen(Failure),
    /// AWX has no such job, or none that the token may see.
    Unknown(Failure),
}

/// Why there is no end to report.
pub(super) enum Stop {
    /// It cannot be told now.
    Later(Failure),
    /// The job has failed.
    Failed { job: Option<u64>, failure: Box<Failure> },
}

impl Stop {
    /// The job, where it is known to be over; and why.
    pub(super) fn into_parts(self) -> (Option<u64>, Failure) {
        match self {
            Self::Later(failure) => (None, failure),
            Self::Failed { job, failure } => (job, *failure),
        }
    }
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Later(error.into())
    }
}

/// A conversation. One request at a time: AWX's own guard against two jobs for one host is none when two come at once.
pub(super) struct Talk<'a> {
    node: &'a Node,
    awx: &'a AwxSettings,
    http: Http,
    notes: &'a Notes,
    inputs: Inputs,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        node: &'a Node,
        awx: &'a AwxSettings,
        notes: &'a Notes,
        inputs: &Inputs,
    ) -> Result<Self, HttpError> {
        let http = Http::new("AWX", &awx.server, Some(BEARER))?;
        Ok(Self { node, awx, http, notes, inputs: inputs.clone() })
    }

    /// Asks for the job, unless it was asked for already. * returns: its number, where it was told; it is on disk then.
    ///
    /// * `since`: when it was first to be asked for.
    pub(super) async fn begin(&self, note: &mut Note, since: Timestamp) -> Result<Option<u64>, Failure> {
        // That its number is not noted does not say that nobody has asked: an answer may have been lost, or its reader.
        let job = if self.can_watch() {
            self.find(since, note.over()).await?
        } else {
            self.completion(None, since, note.over())?.map(|completion| completion.job)
        };
        match job {
            Some(job) => self.keep(note, Some(job)).await,
            None => self.ask(note).await,
        }
    }

    /// Sends the callback. * returns: the job's number, where it was told.
    async fn ask(&self, note: &mut Note) -> Result<Option<u64>, Failure> {
        let answer = self.call_back().await?;
        match self.node.callback(|callback| callback.answered(&answer, self.node.clock.monotonic())) {
            Next::Wait { job } => self.keep(note, job).await,
            Next::Again(failure) | Next::Fail(failure) => Err(failure),
        }
    }

    /// Notes the job that is waited for.
    async fn keep(&self, note: &mut Note, job: Option<u64>) -> Result<Option<u64>, Failure> {
        note.runs = Some(Asked { job, of: self.inputs.clone() });
        self.notes.keep(&note.to_string()).await?;
        Ok(job)
    }

    async fn call_back(&self) -> Result<Answer, Failure> {
        let key = self.key().await?;
        let instance = self.node.identity()?.document.instance.clone();
        let mut extra_vars: BTreeMap<&str, &str> =
            self.awx.extra_vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        extra_vars.insert("instance_id", instance.as_str());
        let body = Request { host_config_key: key.expose(), extra_vars }.text();
        let path = format!("/api/v2/job_templates/{}/callback/", self.awx.template);
        // The callback is nobody's: a token there is refused by some of AWX's versions, and never needed.
        let server = bootstrap_config::Server { token_file: None, ..self.awx.server.clone() };
        let anonymous = Http::new("AWX", &server, None)?;
        self.node.awaits(Step::Awx, "AWX has not answered the callback yet");
        match anonymous.post_secret(&path, body, &key, CALLBACK_WITHIN).await {
            Ok(reply) => {
                let body = reply.text().into_bytes();
                let Reply { status, location, retry_after, .. } = reply;
                Ok(Answer::Http { status, location, retry_after, body })
            }
            Err(error @ HttpError::Cut { .. }) => Ok(Answer::Lost { why: error.to_string() }),
            // It was never sent.
            Err(error) => Err(error.into()),
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
    ///
    /// * returns: its number, which may never have been told.
    pub(super) async fn end_of(
        &self,
        note: &mut Note,
        job: Option<u64>,
        since: Timestamp,
    ) -> Result<Option<u64>, Stop> {
        let mut known = job;
        let mut unknown_since = None;
        let mut asked = self.node.clock.monotonic();
        // As long as the attempt lasts: a playbook takes the time that it takes.
        let mut looks = Patience::new(self.node, Step::Awx, LOOKS, Duration::MAX);
        loop {
            if self.can_watch() {
                if known.is_none() {
                    known = self.find(since, note.over()).await?;
                    if known.is_some() {
                        self.keep(note, known).await?;
                    }
                }
                if let Some(job) = known {
                    match self.watched(job).await? {
                        Look::Ended(ended) => return ended.map(Some),
                        Look::Runs => unknown_since = None,
                        Look::Unseen(failure) => {
                            looks.after(failure).await?;
                            continue;
                        }
                        Look::Unknown(failure) => {
                            let now = self.node.clock.monotonic();
                            let since = *unknown_since.get_or_insert(now);
                            if now >= since + NAMELESS_PATIENCE && !self.node.is_going() {
                                return Err(Stop::Failed { job: known, failure: Box::new(failure) });
                            }
                            looks.for_more(&format!("AWX knows no job {job}, which it had begun")).await;
                            continue;
                        }
                    }
                }
            } else if let Some(completion) = self.completion(known, since, note.over())? {
                return self.completed(completion).map(Some);
            }
            let now = self.node.clock.monotonic();
            let patience = match known {
                None => Some(NAMELESS_PATIENCE),
                Some(_) if !self.can_watch() => Some(SILENT_PATIENCE),
                Some(_) => None,
            };
            if patience.is_some_and(|patience| now >= asked + patience) && !self.node.is_going() {
                asked = now;
                known = self.ask_again(note, known).await?;
            }
            let job = known.map_or_else(
                || "its job, whose number is not known".to_owned(),
                |job| format!("its job {job}"),
            );
            looks.for_more(&format!("AWX has not ended {job}")).await;
        }
    }

    /// Asks for a job that cannot be looked at again. * returns: its number, as far as it is known.
    async fn ask_again(&self, note: &mut Note, known: Option<u64>) -> Result<Option<u64>, Failure> {
        let before = note.clone();
        match self.ask(note).await {
            // It is pending.
            Ok(None) if known.is_some() => {
                *note = before;
                self.keep(note, known).await
            }
            Ok(Some(job)) => {
                tracing::info!(job, before = known, "AWX had no job any more, and has begun another");
                Ok(Some(job))
            }
            Ok(None) => Ok(None),
            // It does not end because nobody can ask.
            Err(failure) if !failure.lasting => Ok(known),
            Err(failure) => Err(failure),
        }
    }

    /// The newest job of the template that was begun for this instance since a time, by a callback or by somebody who has
    /// one's job run again.
    ///
    /// Known by the variable `instance_id`, which the template has to prompt for: AWX's own name of this host is not known
    /// here.
    ///
    /// * `over`: a job that is over, where one is known: only newer ones are looked for.
    async fn find(&self, since: Timestamp, over: Option<u64>) -> Result<Option<u64>, Failure> {
        let template = self.awx.template;
        let path = format!("/api/v2/jobs/?job_template={template}&order_by=-id&page_size={NEWEST}");
        self.node.awaits(Step::Awx, "AWX has not listed its jobs yet");
        let reply = self.http.get(&path, ANSWERS_WITHIN).await?;
        if !reply.is_success() {
            return Err(reply.failure("AWX", "list its jobs"));
        }
        let instance = self.node.identity()?.document.instance.to_string();
        Ok(reply.json::<Listed>("AWX")?.newest_of(&instance, since, over))
    }

    /// The job's end as AWX tells of it.
    async fn watched(&self, job: u64) -> Result<Look, Failure> {
        let path = format!("/api/v2/jobs/{job}/");
        let mut output_looks = 0;
        loop {
            let reply = match self.http.get(&path, ANSWERS_WITHIN).await {
                Ok(reply) => reply,
                Err(error @ HttpError::Unusable { .. }) => return Err(error.into()),
                // A job does not end because nobody can look at it.
                Err(error) => return Ok(Look::Unseen(error.into())),
            };
            if reply.status != 200 {
                let failure = reply.failure("AWX", &format!("show job {job}"));
                return match reply.status {
                    429 | 500.. => Ok(Look::Unseen(failure)),
                    // It may have been restored from a backup, or have tidied up.
                    404 => Ok(Look::Unknown(failure)),
                    _ => Err(failure),
                };
            }
            let seen: Job = reply.json("AWX")?;
            match seen.ended() {
                None => return Ok(Look::Runs),
                Some(Ended::Successful) => return Ok(Look::Ended(Ok(job))),
                Some(Ended::Failed) if seen.event_processing_finished || output_looks >= OUTPUT_PATIENCE => {
                    let output = self.output(job).await;
                    let failure = Box::new(seen.failure(self.link(job), &output, TAIL_LINES));
                    return Ok(Look::Ended(Err(Stop::Failed { job: Some(job), failure })));
                }
                Some(Ended::Failed) => {
                    output_looks += 1;
                    self.node.clock.sleep_until(self.node.clock.monotonic() + LOOKS).await;
                }
            }
        }
    }

    /// Where a person finds a job.
    fn link(&self, job: u64) -> String {
        format!("{}/#/jobs/playbook/{job}/output", self.awx.server.address)
    }

    /// The job's output; what cannot be had is not worth failing otherwise for.
    async fn output(&self, job: u64) -> String {
        let path = format!("/api/v2/jobs/{job}/stdout/?format=json");
        let reply = self.http.get(&path, ANSWERS_WITHIN).await.ok().filter(Reply::is_success);
        reply
            .and_then(|reply| reply.json::<Output>("AWX").ok())
            .map_or_else(String::new, |output| output.content)
    }

    /// What a playbook has written of its job for this instance; `None`: nothing yet.
    ///
    /// * `job`: the one that is waited for; else the newest that was written since a time, and is newer than `over`.
    fn completion(
        &self,
        job: Option<u64>,
        since: Timestamp,
        over: Option<u64>,
    ) -> Result<Option<Completion>, Failure> {
        let instance = self.node.identity()?.document.instance.to_string();
        let directory = self.node.directories.state.join(COMPLETIONS);
        let path = match job {
            Some(job) => Some(directory.join(format!("{job}.json"))),
            None => newest(&directory, since, over),
        };
        let Some(path) = path.filter(|path| path.exists()) else { return Ok(None) };
        completed(&path, &instance)
    }

    /// The job's end as its playbook tells of it.
    fn completed(&self, completion: Completion) -> Result<u64, Stop> {
        let Completion { job, instance: _, status, message } = completion;
        if status == "successful" {
            return Ok(job);
        }
        let seen = Job { id: job, status, job_explanation: String::new(), event_processing_finished: true };
        let failure = Box::new(seen.failure(self.link(job), &message, TAIL_LINES));
        Err(Stop::Failed { job: Some(job), failure })
    }
}

/// What a completion file says of its job; `None`: nothing, as it is another instance's, or another job's.
fn completed(path: &Path, instance: &str) -> Result<Option<Completion>, Failure> {
    let text = secret_of(path).map_err(|why| Failure::new(ErrorClass::Transient, why))?;
    // The task may be writing it: it is whole a moment later.
    let read: Option<Completion> = serde_json::from_str(text.expose()).ok();
    let name = path.file_stem().and_then(|stem| stem.to_str());
    Ok(read.filter(|completion| {
        completion.instance == instance && name == Some(completion.job.to_string().as_str())
    }))
}

/// The completion file of the newest job, of those that were written since a time.
fn newest(directory: &Path, since: Timestamp, over: Option<u64>) -> Option<PathBuf> {
    let mut found: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let written = written
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|at| Timestamp::EPOCH + at);
        let job = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if path.extension().is_some_and(|ending| ending == "json")
            && let Some(job) = job
            && over.is_none_or(|over| job > over)
            && written.is_some_and(|written| written >= since)
            && found.as_ref().is_none_or(|(newest, _)| *newest < job)
        {
            found = Some((job, path));
        }
    }
    found.map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callbacks_body_has_room_for_whatever_json_makes_of_it() {
        let odd = "\u{1}\"\\\u{1f}".repeat(50);
        for key in ["k3y", odd.as_str()] {
            let extra_vars = BTreeMap::from([("instance_id", "i-1"), (odd.as_str(), odd.as_str())]);
            let text = Request { host_config_key: key, extra_vars }.text();
            let read: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(read["host_config_key"], key);
            assert_eq!(read["extra_vars"]["instance_id"], "i-1");
        }
    }

    #[test]
    fn a_completion_file_tells_of_the_job_that_it_is_called_after() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("17.json");
        let told = |text: &str| {
            std::fs::write(&path, text).expect("written");
            completed(&path, "i-1").expect("it can be read").map(|completion| completion.job)
        };
        assert_eq!(told(r#"{"job": 17, "instance": "i-1", "status": "successful"}"#), Some(17));
        assert_eq!(told(r#"{"job": 16, "instance": "i-1", "status": "successful"}"#), None, "another job's");
        assert_eq!(told(r#"{"job": 17, "instance": "i-2", "status": "successful"}"#), None);
        assert_eq!(told(r#"{"job": 17, "inst"#), None, "it is being written");
    }

    #[test]
    fn a_completion_file_of_a_job_that_is_over_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["17.json", "9.json", "x.json", "18.tmp"] {
            std::fs::write(directory.path().join(name), "{}").expect("written");
        }
        let newest = |over| newest(directory.path(), Timestamp::EPOCH, over);
        assert_eq!(newest(None), Some(directory.path().join("17.json")));
        assert_eq!(newest(Some(16)), Some(directory.path().join("17.json")));
        assert_eq!(newest(Some(17)), None);
    }
}
