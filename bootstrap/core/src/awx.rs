//! AWX's provisioning callback: what its answers mean, and how its job ended.
//!
//! The callback says little: that a job was queued, that one is, or that something is wrong in one of a dozen ways, which
//! differ in whether asking again can help. The words are AWX 24's, read off a real one.

use crate::Failure;
use fleet::ErrorClass;
use serde::Deserialize;
use std::time::Duration;

/// Inventories lag behind EC2: for so long a host that is not in one may still come.
pub const NO_HOST_PATIENCE: Duration = Duration::from_secs(900);
/// Two hosts with our address are an inventory that has not forgotten the last one that had it. It does with its next
/// synchronisation, if at all, and what it was told last is kept for a minute or two.
pub const MULTIPLE_HOSTS_PATIENCE: Duration = Duration::from_secs(300);
/// The pause before AWX is asked again whose inventory is not up to date, a half of it by chance, and longer each time:
/// every such question may have it synchronise all of its sources.
pub const INVENTORY_PAUSE: Duration = Duration::from_secs(30);
/// Of AWX's own words, as many characters are kept.
const MAX_WORDS: usize = 512;

/// What came of a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An answer in HTTP.
    Http {
        /// The status code.
        status: u16,
        /// `Location`, as it was given: relative, as a rule.
        location: Option<String>,
        /// `Retry-After` in seconds, where a proxy before AWX says so.
        retry_after: Option<Duration>,
        /// The body, bounded by whoever read it.
        body: Vec<u8>,
    },
    /// It was sent, and what came of it is not known: a timeout, a cut connection.
    Lost {
        /// What happened instead of an answer.
        why: String,
    },
}

/// What to do after a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is a job for this host: wait for it.
    Wait {
        /// Its number, where it was told; else it has to be found.
        job: Option<u64>,
    },
    /// Ask again, after the step's pause.
    Again(Failure),
    /// Asking again does not help.
    Fail(Failure),
}

/// One node's conversation with the callback. One request at a time: AWX's own guard against two jobs for one host is
/// none when two requests come at once.
#[derive(Clone, Debug, Default)]
pub struct Callback {
    /// Since when the host was not in the inventory.
    unknown_since: Option<Duration>,
    /// Since when two hosts had our address.
    multiple_since: Option<Duration>,
}

impl Callback {
    /// Takes an answer in. One that speaks of a job ends the conversation: the next callback begins another, with all of
    /// its patience.
    ///
    /// * `now`: monotonic.
    pub fn answered(&mut self, answer: &Answer, now: Duration) -> Next {
        let next = self.judge(answer, now);
        if matches!(next, Next::Wait { .. }) {
            *self = Self::default();
        }
        next
    }

    fn judge(&mut self, answer: &Answer, now: Duration) -> Next {
        let (status, location, retry_after, body) = match answer {
            Answer::Lost { why } => {
                let what = format_args!("{why}; whether it has begun a job is not known");
                return Next::Again(Failure::new(ErrorClass::Unclear, what));
            }
            Answer::Http { status, location, retry_after, body } => (*status, location, *retry_after, body),
        };
        let words = words(body);
        let lasting = |class, hint: &str| Next::Fail(Failure::lasting(class, said(status, &words, hint)));
        let again = |class| Next::Again(Failure::new(class, said(status, &words, "")));
        match status {
            201 => Next::Wait { job: location.as_deref().and_then(job_in) },
            // Somebody else's, on the way to AWX: a page to log in at, of a proxy. No job was begun.
            200..=299 => {
                let hint = "that is no answer of its callback, but perhaps a proxy's";
                Next::Again(Failure::new(ErrorClass::Malformed, said(status, &words, hint)))
            }
            300..=399 => lasting(ErrorClass::Malformed, "it redirects: give the address that it leads to"),
            400 => self.bad_request(&words, now),
            401 | 405 => lasting(ErrorClass::Malformed, "the address is not that of a provisioning callback"),
            403 => lasting(
                ErrorClass::Denied,
                "the host config key is wrong, or the job template allows no callback",
            ),
            404 => lasting(ErrorClass::NotFound, "is the number of the job template right?"),
            429 => again(ErrorClass::Throttled { retry_after }),
            503 if retry_after.is_some() => again(ErrorClass::Throttled { retry_after }),
            500..=599 => again(ErrorClass::Unclear),
            // 415, and what nobody has seen yet.
            _ => lasting(ErrorClass::Malformed, ""),
        }
    }

    fn bad_request(&mut self, words: &str, now: Duration) -> Next {
        let has = |part: &str| words.contains(part);
        let failure = |class, hint: &str| Failure::new(class, said(400, words, hint));
        let lasting = |class, hint: &str| Next::Fail(Failure::lasting(class, said(400, words, hint)));
        if has("already pending") {
            // Our own job, which a lost answer has not told us of.
            return Next::Wait { job: None };
        }
        if has("No matching host") {
            self.multiple_since = None;
            let since = *self.unknown_since.get_or_insert(now);
            let hint = "the inventory does not have this instance's private address as ansible_host (yet)";
            return if now.saturating_sub(since) < NO_HOST_PATIENCE {
                Next::Again(failure(ErrorClass::NotFound, hint).with_pause(INVENTORY_PAUSE))
            } else {
                lasting(ErrorClass::NotFound, hint)
            };
        }
        self.unknown_since = None;
        if has("Multiple hosts") {
            let since = *self.multiple_since.get_or_insert(now);
            let hint = "an old host has this address still: the inventory source needs `overwrite`";
            return if now.saturating_sub(since) < MULTIPLE_HOSTS_PATIENCE {
                Next::Again(failure(ErrorClass::Conflict, hint).with_pause(INVENTORY_PAUSE))
            } else {
                lasting(ErrorClass::Conflict, hint)
            };
        }
        self.multiple_since = None;
        if has("Error starting job") {
            return Next::Again(failure(ErrorClass::Transient, ""));
        }
        if has("inventory is required") {
            return lasting(ErrorClass::Malformed, "the job template has no inventory");
        }
        if has("user input required") {
            return lasting(ErrorClass::Malformed, "the job template asks for what a callback cannot give");
        }
        lasting(ErrorClass::Malformed, "")
    }
}

/// The number in a job's address: `/api/v2/jobs/17/`, relative or not.
fn job_in(location: &str) -> Option<u64> {
    let (_, rest) = location.rsplit_once("/jobs/")?;
    rest.trim_end_matches('/').parse().ok()
}

fn said(status: u16, words: &str, hint: &str) -> String {
    let words = if words.is_empty() { "nothing" } else { words };
    let hint = if hint.is_empty() { String::new() } else { format!(": {hint}") };
    format!("AWX answered {status} ({words}){hint}")
}

/// What an answer says in its `msg` or `detail`, or as it is where it is no JSON; without what a terminal would obey.
fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        msg: Option<String>,
        detail: Option<String>,
    }
    let read: Option<Body> = serde_json::from_slice(body).ok();
    let text = read.and_then(|Body { msg, detail }| msg.or(detail));
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    text.trim().chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}

/// A job, as `GET /api/v2/jobs/N/` tells of it. Fields that AWX has beside these are not minded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// AWX's word: see [`Job::ended`].
    pub status: String,
    /// Why it did not begin, where it did not.
    #[serde(default)]
    pub job_explanation: String,
    /// Whether its output is whole: a job ends before that.
    #[serde(default)]
    pub event_processing_finished: bool,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its playbook came to its end on this host.
    Successful,
    /// It did not.
    Failed,
}

impl Job {
    /// How it ended; `None`: it has not. A word that AWX has learned since is one of a job that has not.
    pub fn ended(&self) -> Option<Ended> {
        match self.status.as_str() {
            "successful" => Some(Ended::Successful),
            "failed" | "error" | "canceled" => Some(Ended::Failed),
            _ => None,
        }
    }

    /// What the step says of a job that failed.
    ///
    /// * `link`: where a person finds it.
    /// * `output`: the end of its output, oldest line first.
    pub fn failure(&self, link: String, output: &str, lines: usize) -> Failure {
        let Self { id, status, job_explanation, event_processing_finished: _ } = self;
        let why: String =
            job_explanation.trim().chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
        let why = if why.is_empty() { why } else { format!(": {why}") };
        let mut tail: Vec<String> =
            output.lines().rev().map(plain).filter(|line| !line.is_empty()).take(lines).collect();
        tail.reverse();
        let failure =
            Failure::lasting(ErrorClass::Conflict, format!("job {id} of AWX ended as {status}{why}"));
        Failure { see: Some(link), tail, ..failure }
    }
}

/// A line of a playbook's output without colours and what else a terminal would obey.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars().take(2 * MAX_WORDS);
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // An escape sequence ends with its first letter.
            rest.find(char::is_ascii_alphabetic);
        } else if !c.is_control() {
            text.push(c);
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, body: &str) -> Answer {
        Answer::Http { status, location: None, retry_after: None, body: body.as_bytes().to_vec() }
    }
    fn msg(text: &str) -> Answer {
        http(400, &format!("{{\"msg\":\"{text}\"}}"))
    }
    fn detail(status: u16, text: &str) -> Answer {
        http(status, &format!("{{\"detail\":\"{text}\"}}"))
    }
    fn once(answer: &Answer) -> Next {
        Callback::default().answered(answer, Duration::ZERO)
    }

    #[test]
    fn a_job_that_was_begun_is_known_by_its_address() {
        for (location, job) in [
            (Some("/api/v2/jobs/17/"), Some(17)),
            (Some("https://awx.example/api/v2/jobs/17/"), Some(17)),
            (Some("/api/v2/workflow_jobs/"), None),
            (Some("/jobs/99999999999999999999999/"), None),
            (None, None),
        ] {
            let location = location.map(str::to_owned);
            let answer = Answer::Http { status: 201, location, retry_after: None, body: Vec::new() };
            assert_eq!(once(&answer), Next::Wait { job });
        }
    }

    #[test]
    fn one_that_is_pending_is_ours() {
        assert_eq!(once(&msg("Host callback job already pending.")), Next::Wait { job: None });
    }

    #[test]
    fn what_asking_again_does_not_help_is_said_once_and_with_what_to_do() {
        for (answer, class, part) in [
            (
                detail(403, "You do not have permission to perform this action."),
                ErrorClass::Denied,
                "host config key",
            ),
            (
                detail(404, "No JobTemplate matches the given query."),
                ErrorClass::NotFound,
                "number of the job template",
            ),
            (detail(404, "Not found."), ErrorClass::NotFound, "number"),
            (
                detail(415, "You did not use correct Content-Type in your HTTP request."),
                ErrorClass::Malformed,
                "415",
            ),
            (detail(401, "Authentication credentials were not provided."), ErrorClass::Malformed, "callback"),
            (detail(400, "JSON parse error - Expecting value"), ErrorClass::Malformed, "JSON parse"),
            (
                msg("Cannot start automatically, an inventory is required."),
                ErrorClass::Malformed,
                "no inventory",
            ),
            (msg("Cannot start automatically, user input required!"), ErrorClass::Malformed, "asks for"),
            (http(302, ""), ErrorClass::Malformed, "redirects"),
        ] {
            let Next::Fail(failure) = once(&answer) else { panic!("{answer:?} is tried again") };
            assert!(failure.lasting && failure.class == class, "{failure:?}");
            assert!(failure.what.contains(part), "{failure}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let retry_after = Some(Duration::from_secs(7));
        let throttled = Answer::Http { status: 429, location: None, retry_after, body: Vec::new() };
        let overloaded = Answer::Http { status: 503, location: None, retry_after, body: Vec::new() };
        for (answer, class) in [
            (msg("Error starting job!"), ErrorClass::Transient),
            (http(500, "<h1>Server Error (500)</h1>"), ErrorClass::Unclear),
            (http(502, ""), ErrorClass::Unclear),
            (http(503, ""), ErrorClass::Unclear),
            (http(504, ""), ErrorClass::Unclear),
            (throttled, ErrorClass::Throttled { retry_after }),
            (overloaded, ErrorClass::Throttled { retry_after }),
            // What stands between may answer anything, and has begun no job.
            (http(200, "<html>Log in</html>"), ErrorClass::Malformed),
            (http(204, ""), ErrorClass::Malformed),
            (Answer::Lost { why: "AWX hung up".to_owned() }, ErrorClass::Unclear),
        ] {
            let Next::Again(failure) = once(&answer) else { panic!("{answer:?} is final") };
            assert!(!failure.lasting && failure.class == class, "{failure:?}");
        }
    }

    #[test]
    fn an_inventory_may_lag_but_not_for_ever() {
        let mut callback = Callback::default();
        let none = msg("No matching host could be found!");
        assert!(matches!(callback.answered(&none, Duration::from_secs(100)), Next::Again(_)));
        assert!(matches!(callback.answered(&none, Duration::from_secs(999)), Next::Again(_)));
        let mut other = callback.clone();
        let Next::Fail(failure) = callback.answered(&none, Duration::from_secs(1000)) else {
            panic!("it is final")
        };
        assert!(failure.what.contains("ansible_host"), "{failure}");
        other.answered(&msg("Error starting job!"), Duration::from_secs(999));
        let again = other.answered(&none, Duration::from_secs(1000));
        assert!(matches!(again, Next::Again(_)), "it was in the inventory meanwhile");
    }

    #[test]
    fn an_inventory_that_forgets_an_old_host_only_after_two_minutes_is_in_time() {
        let mut callback = Callback::default();
        let two = msg("Multiple hosts matched the request!");
        for second in [100, 115, 145, 205, 265, 399] {
            let next = callback.answered(&two, Duration::from_secs(second));
            assert!(matches!(next, Next::Again(_)), "after {second} s: {next:?}");
        }
        assert!(matches!(callback.answered(&two, Duration::from_secs(400)), Next::Fail(_)));
    }

    #[test]
    fn an_inventory_that_is_behind_is_given_time_before_it_is_asked_again() {
        for text in ["No matching host could be found!", "Multiple hosts matched the request!"] {
            let Next::Again(failure) = once(&msg(text)) else { panic!("{text} is final") };
            assert_eq!(failure.pause, INVENTORY_PAUSE);
        }
        let Next::Again(failure) = once(&msg("Error starting job!")) else { panic!("it is final") };
        assert_eq!(failure.pause, Duration::ZERO);
    }

    #[test]
    fn a_job_that_was_begun_ends_the_conversation_and_the_next_has_all_its_patience() {
        let hours = Duration::from_secs(6 * 3600);
        let (begun, pending) = (http(201, ""), msg("Host callback job already pending."));
        for (ends, text) in [&begun, &pending].into_iter().flat_map(|ends| {
            ["No matching host could be found!", "Multiple hosts matched the request!"]
                .map(|text| (ends, text))
        }) {
            let mut callback = Callback::default();
            assert!(matches!(callback.answered(&msg(text), Duration::ZERO), Next::Again(_)));
            assert!(matches!(callback.answered(ends, Duration::from_secs(30)), Next::Wait { .. }));
            let next = callback.answered(&msg(text), hours);
            assert!(matches!(next, Next::Again(_)), "{text} after {ends:?}: {next:?}");
        }
    }

    #[test]
    fn no_body_is_too_odd() {
        let long = "x".repeat(100_000);
        for body in ["", "null", "[]", "{\"msg\":7}", "\u{1b}[2Jgone", &long] {
            let Next::Fail(failure) = once(&http(400, body)) else { panic!("{body} is tried again") };
            assert!(failure.what.len() < 2 * MAX_WORDS, "{failure}");
            assert!(!failure.what.contains('\u{1b}'), "{failure}");
        }
        let not_text =
            Answer::Http { status: 400, location: None, retry_after: None, body: vec![0xff, 0xfe] };
        assert!(matches!(once(&not_text), Next::Fail(_)));
    }

    #[test]
    fn a_job_is_waited_for_until_its_last_word() {
        for (status, ended) in [
            ("new", None),
            ("pending", None),
            ("waiting", None),
            ("running", None),
            ("successful", Some(Ended::Successful)),
            ("failed", Some(Ended::Failed)),
            ("error", Some(Ended::Failed)),
            ("canceled", Some(Ended::Failed)),
        ] {
            let text = format!("{{\"id\":1,\"status\":\"{status}\",\"failed\":false,\"elapsed\":1.5}}");
            let job: Job = serde_json::from_str(&text).expect("a job");
            assert_eq!(job.ended(), ended, "{status}");
        }
    }

    #[test]
    fn a_failed_job_tells_where_and_shows_its_end() {
        let job = Job {
            id: 17,
            status: "failed".to_owned(),
            job_explanation: String::new(),
            event_processing_finished: true,
        };
        let output =
            "PLAY [all]\n\n\u{1b}[0;31mfatal: [node-a]: UNREACHABLE!\u{1b}[0m\nPLAY RECAP\nnode-a : ok=0\n";
        let failure = job.failure("https://awx.example/#/jobs/playbook/17".to_owned(), output, 3);
        assert_eq!(
            failure.to_string(),
            "job 17 of AWX ended as failed (see https://awx.example/#/jobs/playbook/17)"
        );
        assert_eq!(failure.tail, ["fatal: [node-a]: UNREACHABLE!", "PLAY RECAP", "node-a : ok=0"]);
        assert!(failure.lasting);
    }
}
