//! An AWX that answers as a real one of version 24 does, row by row; a stand-in, because none can be had.
//!
//! What it says stands in the tests as it was recorded. Jobs are begun as there: the guard against two for one host looks
//! before it creates, so that two callbacks at once make two.

use crate::ground::port;
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// The host config key of template 7.
pub const KEY: &str = "k3y-a8f1c2d9";
/// The token that may look.
pub const TOKEN: &str = "eQt4-7f3b20c1";

/// As long as a real one looks through its inventory, and as long as it takes from there to the job.
const LOOKS: Duration = Duration::from_millis(20);
/// Callbacks that are to meet, and do not by then, go on.
const MEETS_WITHIN: Duration = Duration::from_secs(10);
/// Jobs on a page, unless another number is asked for.
const PAGE: usize = 25;

/// How the next callback is answered, in place of what is right.
#[derive(Clone, Debug)]
pub enum Row {
    /// A status with a body.
    Says(u16, &'static str),
    /// The job is begun, and the connection is cut before the answer.
    CutAfter,
    /// The connection is cut before anything is done.
    CutBefore,
    /// The job is begun, and nobody hears of it for a while.
    Hangs,
}

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// AWX's word.
    pub status: &'static str,
    /// Its `extra_vars`.
    pub variables: Value,
    /// What its playbook said.
    pub output: String,
    /// `callback` or `relaunch`.
    launch_type: &'static str,
    created: String,
}

impl Job {
    /// What the guard against two jobs for one host looks for.
    fn is_active(&self) -> bool {
        matches!(self.status, "pending" | "waiting" | "running")
    }
}

/// What it knows, and how it is to behave.
#[derive(Debug, Default)]
pub struct State {
    /// Its jobs; the first one's number is 1.
    pub jobs: Vec<Job>,
    /// Answers to the next callbacks, before what is right.
    pub rows: Vec<Row>,
    /// Callbacks that came, right or not.
    pub callbacks: usize,
    /// What callbacks were answered: the status and the body; those that were cut off are missing.
    pub answered: Vec<(u16, String)>,
    /// Callbacks under way, and the most at once.
    pub most_at_once: usize,
    at_once: usize,
    /// So many callbacks have to have looked for another job before any of them creates its own.
    pub meet: usize,
    looked: usize,
    /// How a job that is begun ends at once; empty: it runs.
    pub ends_as: &'static str,
    /// What looks at jobs are answered, in place of what is right.
    pub jobs_say: Option<(u16, &'static str)>,
}

struct Shared {
    state: Mutex<State>,
    met: Condvar,
    clock: Arc<dyn Clock>,
    /// Everybody who is connected; `None`: nobody can be.
    connected: Mutex<Option<Vec<TcpStream>>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }
}

/// The stand-in: listens on loopback until the process ends.
pub struct Awx {
    at: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Awx {
    /// One whose jobs are created at the host's time.
    pub fn start() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// One whose jobs are created at a clock's time.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind(port()).expect("a port");
        let at = listener.local_addr().expect("it listens");
        let shared =
            Shared { state: Mutex::default(), met: Condvar::new(), clock, connected: Mutex::new(None) };
        let awx = Self { at, shared: Arc::new(shared), accepting: Mutex::new(None) };
        awx.accept(listener);
        awx
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The same for who asks by hand.
    pub const fn addr(&self) -> SocketAddr {
        self.at
    }

    /// What it knows.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Ends the last job.
    pub fn end(&self, status: &'static str, output: &str) {
        let mut state = self.state();
        let job = state.jobs.last_mut().expect("a job");
        job.status = status;
        output.clone_into(&mut job.output);
    }

    /// Ends one. * `number`: the first one's is 1.
    pub fn end_job(&self, number: usize, status: &'static str, output: &str) {
        let mut state = self.state();
        let job = state.jobs.get_mut(number.wrapping_sub(1)).expect("a job");
        job.status = status;
        output.clone_into(&mut job.output);
    }

    /// Runs the last job again, as an operator does who presses Relaunch. * returns: the new one's number.
    pub fn relaunch(&self) -> usize {
        let created = self.shared.clock.wall().to_string();
        let mut state = self.state();
        let last = state.jobs.last().cloned().expect("a job");
        let output = String::new();
        state.jobs.push(Job { status: "running", output, launch_type: "relaunch", created, ..last });
        state.jobs.len()
    }

    /// Nobody listens any more, and who is connected is cut off.
    pub fn go_away(&self) {
        let connected = self.shared.connected.lock().expect("whole").take();
        for stream in connected.into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // It looks whether it is to listen on when somebody comes.
        let _ = TcpStream::connect(self.at);
        let accepting = self.accepting.lock().expect("whole").take();
        accepting.expect("it listened").join().expect("it ends");
    }

    /// It listens again, with what it knew.
    pub fn come_back(&self) {
        self.accept(TcpListener::bind(self.at).expect("its port"));
    }

    fn accept(&self, listener: TcpListener) {
        *self.shared.connected.lock().expect("whole") = Some(Vec::new());
        let shared = Arc::clone(&self.shared);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(connected) = &mut *shared.connected.lock().expect("whole") else { return };
                connected.extend(stream.try_clone());
                let shared = Arc::clone(&shared);
                // Who hangs up in the middle gets no answer, and that is all.
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        *self.accepting.lock().expect("whole") = Some(accepting);
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut length, mut token, mut closes) = (0, String::new(), false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => value.trim().clone_into(&mut token),
                "connection" => closes = value.trim() == "close",
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = first.trim_end().split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        closes |= words.next() == Some("HTTP/1.0");
        let Some((status, headers, body)) = answer(shared, method, path, &token, &body) else {
            return stream.shutdown(Shutdown::Both);
        };
        let length = body.len();
        write!(
            &mut &*stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nX-API-Node: awx-1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )?;
        if closes {
            return stream.shutdown(Shutdown::Both);
        }
    }
}

type Answer = (u16, String, String);

/// `None`: the connection is cut.
fn answer(shared: &Shared, method: &str, path: &str, token: &str, body: &[u8]) -> Option<Answer> {
    if let Some(template) = path.strip_prefix("/api/v2/job_templates/") {
        let template = template.trim_end_matches("/callback/");
        let answer = callback(shared, method, template, body);
        let mut state = shared.state();
        state.at_once = state.at_once.saturating_sub(1);
        state.answered.extend(answer.iter().map(|(status, _, body)| (*status, body.clone())));
        return answer;
    }
    let plain = |status: u16, body: Value| Some((status, String::new(), body.to_string()));
    if token != format!("Bearer {TOKEN}") {
        return plain(401, json!({"detail": "Authentication credentials were not provided."}));
    }
    let state = shared.state();
    let rest = path.strip_prefix("/api/v2/jobs/")?;
    if let Some((status, body)) = state.jobs_say {
        return Some((status, String::new(), body.to_owned()));
    }
    if let Some(query) = rest.strip_prefix('?') {
        return match listed(&state.jobs, query) {
            Ok(list) => plain(200, list),
            Err(detail) => plain(400, json!({ "detail": detail })),
        };
    }
    let (number, rest) = rest.split_once('/')?;
    let at: usize = number.parse::<usize>().ok()?.checked_sub(1)?;
    let Some(job) = state.jobs.get(at) else {
        return plain(404, json!({"detail": "No Job matches the given query."}));
    };
    if rest.starts_with("stdout") {
        return plain(
            200,
            json!({"range": {"start": 0, "end": 1, "absolute_end": 1}, "content": job.output}),
        );
    }
    plain(200, shown(at, job))
}

/// The jobs that a query's filters let through. * fails: with what AWX says of a filter that it does not have.
fn listed(jobs: &[Job], query: &str) -> Result<Value, String> {
    let mut rows: Vec<Value> = jobs.iter().enumerate().map(|(at, job)| shown(at, job)).collect();
    let mut page = PAGE;
    for filter in query.split('&').filter(|filter| !filter.is_empty()) {
        let (name, value) = filter.split_once('=').unwrap_or((filter, ""));
        match name {
            "job_template" => rows.retain(|row| row[name].as_u64() == value.parse().ok()),
            "launch_type" | "limit" => rows.retain(|row| row[name] == value),
            "status__in" => {
                rows.retain(|row| value.split(',').any(|status| row["status"] == status));
            }
            "order_by" if value == "id" => {}
            "order_by" if value == "-id" => rows.reverse(),
            "page_size" => page = value.parse().map_err(|_| "Invalid page_size".to_owned())?,
            _ => return Err(format!("Job has no field named '{name}'")),
        }
    }
    let count = rows.len();
    rows.truncate(page);
    Ok(json!({"count": count, "next": null, "previous": null, "results": rows}))
}

fn shown(at: usize, job: &Job) -> Value {
    json!({
        "id": at + 1, "type": "job", "status": job.status, "failed": job.status == "failed",
        "launch_type": job.launch_type, "job_template": 7, "limit": "node-a", "created": job.created,
        "extra_vars": job.variables.to_string(), "job_explanation": "", "event_processing_finished": !job.is_active(),
    })
}

fn says(status: u16, body: &str) -> Answer {
    (status, String::new(), body.to_owned())
}

fn callback(shared: &Shared, method: &str, template: &str, body: &[u8]) -> Option<Answer> {
    let row = {
        let mut state = shared.state();
        state.callbacks += 1;
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        if state.rows.is_empty() { None } else { Some(state.rows.remove(0)) }
    };
    if method != "POST" {
        return Some(says(401, r#"{"detail":"Authentication credentials were not provided."}"#));
    }
    match row {
        Some(Row::Says(status, body)) => {
            thread::sleep(LOOKS);
            Some(says(status, body))
        }
        Some(Row::CutBefore) => None,
        Some(Row::CutAfter) => {
            begin(shared, template, body);
            None
        }
        Some(Row::Hangs) => {
            begin(shared, template, body);
            thread::sleep(Duration::from_secs(600));
            None
        }
        None => Some(begin(shared, template, body)),
    }
}

fn begin(shared: &Shared, template: &str, body: &[u8]) -> Answer {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return says(400, r#"{"detail":"JSON parse error - Expecting value: line 1 column 1 (char 0)"}"#);
    };
    if template != "7" {
        return says(404, r#"{"detail":"No JobTemplate matches the given query."}"#);
    }
    if asked["host_config_key"] != KEY {
        return says(403, r#"{"detail":"You do not have permission to perform this action."}"#);
    }
    let is_pending = {
        let mut state = shared.state();
        // Of a template that does not prompt for variables, it is the only host's.
        let instance = |variables: &Value| variables["instance_id"].as_str().map(str::to_owned);
        let caller = instance(&asked["extra_vars"]);
        let same = |job: &&Job| instance(&job.variables).is_none_or(|one| Some(one) == caller);
        let is_pending = state.jobs.iter().filter(same).any(Job::is_active);
        state.looked += 1;
        shared.met.notify_all();
        let waits = |state: &mut State| state.looked < state.meet;
        drop(shared.met.wait_timeout_while(state, MEETS_WITHIN, waits).expect("whole"));
        is_pending
    };
    // Nothing is locked from the look to the job: whoever looks now sees what this one saw.
    thread::sleep(LOOKS);
    if is_pending {
        return says(400, r#"{"msg":"Host callback job already pending."}"#);
    }
    let created = shared.clock.wall().to_string();
    let mut state = shared.state();
    let status = if state.ends_as.is_empty() { "running" } else { state.ends_as };
    let variables = asked["extra_vars"].clone();
    state.jobs.push(Job { status, variables, output: String::new(), launch_type: "callback", created });
    let number = state.jobs.len();
    (201, format!("Location: /api/v2/jobs/{number}/\r\n"), String::new())
}
