//! An AWX that answers as a real one of version 24 does, row by row; a stand-in, because none can be had.
//!
//! What it says stands in the tests as it was recorded. Jobs are begun as there: the guard against two for one host looks
//! before it creates, so that two callbacks at once make two.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// The key of template 7.
pub const KEY: &str = "k3y-a8f1c2d9";
/// The token that may look.
pub const TOKEN: &str = "eQt4-7f3b20c1";

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
    pub status: &'static str,
    pub variables: Value,
    pub output: String,
    created: String,
}

#[derive(Debug, Default)]
pub struct State {
    pub jobs: Vec<Job>,
    /// Answers to the next callbacks, before what is right.
    pub rows: Vec<Row>,
    /// Callbacks that came, right or not.
    pub callbacks: usize,
    /// Callbacks under way, and the most at once.
    pub most_at_once: usize,
    at_once: usize,
    /// How a job that is begun ends at once; empty: it runs.
    pub ends_as: &'static str,
    /// What looks at jobs are answered, in place of what is right.
    pub jobs_say: Option<(u16, &'static str)>,
}

pub struct Awx {
    at: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Awx {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("it listens");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // Who hangs up in the middle gets no answer, and that is all.
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { at, state }
    }
    pub fn address(&self) -> String {
        format!("http://{}", self.at)
    }
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }
    /// Ends the last job.
    pub fn end(&self, status: &'static str, output: &str) {
        let mut state = self.state();
        let job = state.jobs.last_mut().expect("a job");
        job.status = status;
        output.clone_into(&mut job.output);
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("whole")
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut length, mut token) = (0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => value.trim().clone_into(&mut token),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Some(answer) = answer(state, method, path, &token, &body) else { return Ok(()) };
        let (status, headers, body) = answer;
        let length = body.len();
        write!(
            &mut &*stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nX-API-Node: awx-1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )?;
    }
}

type Answer = (u16, String, String);

/// `None`: the connection is cut.
fn answer(state: &Mutex<State>, method: &str, path: &str, token: &str, body: &[u8]) -> Option<Answer> {
    if let Some(template) = path.strip_prefix("/api/v2/job_templates/") {
        let template = template.trim_end_matches("/callback/");
        return callback(state, method, template, body);
    }
    let plain = |status: u16, body: Value| Some((status, String::new(), body.to_string()));
    if token != format!("Bearer {TOKEN}") {
        return plain(401, json!({"detail": "Authentication credentials were not provided."}));
    }
    let state = locked(state);
    if let Some((status, body)) = state.jobs_say {
        return Some((status, String::new(), body.to_owned()));
    }
    let rest = path.strip_prefix("/api/v2/jobs/")?;
    if rest.starts_with('?') {
        let rows: Vec<Value> = state.jobs.iter().enumerate().rev().map(|(at, job)| shown(at, job)).collect();
        return plain(200, json!({"count": rows.len(), "next": null, "previous": null, "results": rows}));
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

fn shown(at: usize, job: &Job) -> Value {
    json!({
        "id": at + 1, "type": "job", "status": job.status, "failed": job.status == "failed", "launch_type": "callback",
        "limit": "node-a", "created": job.created, "extra_vars": job.variables.to_string(), "job_explanation": "",
        "event_processing_finished": !matches!(job.status, "pending" | "running"),
    })
}

fn callback(state: &Mutex<State>, method: &str, template: &str, body: &[u8]) -> Option<Answer> {
    let says = |status: u16, body: &str| Some((status, String::new(), body.to_owned()));
    if method != "POST" {
        return says(401, r#"{"detail":"Authentication credentials were not provided."}"#);
    }
    let row = {
        let mut state = locked(state);
        state.callbacks += 1;
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        if state.rows.is_empty() { None } else { Some(state.rows.remove(0)) }
    };
    // As long as a real one looks through its inventory.
    thread::sleep(Duration::from_millis(20));
    let answer = match row {
        Some(Row::Says(status, body)) => says(status, body),
        Some(Row::CutBefore) => None,
        Some(Row::CutAfter) => {
            begin(state, template, body);
            None
        }
        Some(Row::Hangs) => {
            begin(state, template, body);
            thread::sleep(Duration::from_secs(600));
            None
        }
        None => begin(state, template, body),
    };
    locked(state).at_once -= 1;
    answer
}

fn begin(state: &Mutex<State>, template: &str, body: &[u8]) -> Option<Answer> {
    let says = |status: u16, body: &str| Some((status, String::new(), body.to_owned()));
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return says(400, r#"{"detail":"JSON parse error - Expecting value: line 1 column 1 (char 0)"}"#);
    };
    if template != "7" {
        return says(404, r#"{"detail":"No JobTemplate matches the given query."}"#);
    }
    if asked["host_config_key"] != KEY {
        return says(403, r#"{"detail":"You do not have permission to perform this action."}"#);
    }
    let mut state = locked(state);
    if state.jobs.iter().any(|job| matches!(job.status, "pending" | "waiting" | "running")) {
        return says(400, r#"{"msg":"Host callback job already pending."}"#);
    }
    let status = if state.ends_as.is_empty() { "running" } else { state.ends_as };
    let created = fleet::ports::Clock::wall(&fleet_clock::SystemClock::new()).to_string();
    state.jobs.push(Job { status, variables: asked["extra_vars"].clone(), output: String::new(), created });
    let number = state.jobs.len();
    Some((201, format!("Location: /api/v2/jobs/{number}/\r\n"), String::new()))
}
