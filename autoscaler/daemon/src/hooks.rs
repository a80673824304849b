//! An operator's own way to empty a node: a program, or an address.

use autoscaler_policy::{DrainHook, FleetPolicy};
use fleet::ports::{Clock, MayWrite};
use fleet::{ApiError, ErrorClass, FleetName, InstanceId, Timestamp};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::pin::pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;

/// How long after the deadline a hook is waited for: what it told to stop at the deadline ends meanwhile.
const GRACE: Duration = Duration::from_secs(60);
/// How often an address that says "not yet" is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How soon a hook ends after the lead is lost.
const LEAD_SEEN_EVERY: Duration = Duration::from_secs(1);
/// For one request.
const REQUEST: Duration = Duration::from_secs(10);
/// How long the last words of a program that has ended are waited for: whom it left behind may hold its stderr open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What is kept of a failing program's last words.
const WORDS: usize = 256;
/// Where programs are looked for that a hook's program starts: its own environment is otherwise empty.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) fleet: FleetName,
    pub(crate) instance: InstanceId,
    pub(crate) deadline: Timestamp,
    pub(crate) cause: &'static str,
}

impl Order {
    fn json(&self) -> serde_json::Value {
        let Self { fleet, instance, deadline, cause } = self;
        serde_json::json!({
            "fleet": fleet.as_str(),
            "instance": instance.as_str(),
            "deadline": deadline.to_string(),
            "cause": cause,
        })
    }
}

/// The hooks of all fleets, and those that run. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    of: Arc<Mutex<BTreeMap<FleetName, DrainHook>>>,
    /// FENCE, where several may lead.
    guard: Arc<OnceLock<MayWrite>>,
    running: Arc<Mutex<Running>>,
}

/// The hooks that run.
#[derive(Default)]
struct Running {
    /// How many were begun: tells one run for an instance from the next.
    begun: u64,
    by_instance: BTreeMap<InstanceId, (u64, oneshot::Sender<()>)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves nothing half done in here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hooks {
    /// The hooks of these policies, in place of those before.
    pub(crate) fn set(&self, fleets: &[FleetPolicy]) {
        let hook = |fleet: &FleetPolicy| Some((fleet.name.clone(), fleet.drain_hook.clone()?));
        *locked(&self.of) = fleets.iter().filter_map(hook).collect();
    }

    /// Asks `may_write` before each request (FENCE), and while hooks run: who does not lead any more empties nobody. The
    /// first one that is given stays.
    pub(crate) fn guard(&self, may_write: MayWrite) {
        let _ = self.guard.set(may_write);
    }

    fn may_write(&self) -> bool {
        self.guard.get().is_none_or(|may_write| may_write())
    }

    /// Waits until the lead is lost; for ever where nobody else could have it.
    async fn lead_lost(&self, clock: &dyn Clock) {
        if self.guard.get().is_none() {
            return std::future::pending().await;
        }
        while self.may_write() {
            clock.sleep_until(clock.monotonic() + LEAD_SEEN_EVERY).await;
        }
    }

    /// Runs the hook of a fleet until it says that the instance is empty, or until a while after the deadline.
    ///
    /// A second run for an instance ends the first. `Transient`: it failed, or did not say so in time.
    pub(crate) async fn run(&self, order: Order, clock: &dyn Clock) -> Result<(), ApiError> {
        let hook = locked(&self.of).get(&order.fleet).cloned();
        let Some(hook) = hook else {
            return Err(failed(ErrorClass::Denied, "the fleet has no hook (any more)"));
        };
        let instance = order.instance.clone();
        let (run, end) = self.begin(&instance);
        let within = order.deadline.since(clock.wall()) + GRACE;
        let work = async {
            match &hook {
                DrainHook::Command(command) => run_command(command, &order).await,
                DrainHook::Webhook { url, token_file } => {
                    ask(url, token_file.as_deref(), &order, clock, || self.may_write()).await
                }
            }
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(within, work) => {
                outcome.unwrap_or_else(|_| Err(failed(ErrorClass::Transient, "did not end in time")))
            }
            () = self.lead_lost(clock) => Err(fenced()),
            _ = end => return Err(failed(ErrorClass::Conflict, "was ended: the instance stays, or is drained anew")),
        };
        self.is_over(&instance, run);
        outcome
    }

    /// * returns: the number of the run, and what says that it is to end.
    fn begin(&self, instance: &InstanceId) -> (u64, oneshot::Receiver<()>) {
        let (ended, end) = oneshot::channel();
        let mut running = locked(&self.running);
        running.begun += 1;
        let run = running.begun;
        // Dropping the sender of a run before ends that one.
        running.by_instance.insert(instance.clone(), (run, ended));
        (run, end)
    }

    /// A run is over by itself; one that was begun in its place runs on.
    fn is_over(&self, instance: &InstanceId, run: u64) {
        let mut running = locked(&self.running);
        if running.by_instance.get(instance).is_some_and(|(newest, _)| *newest == run) {
            running.by_instance.remove(instance);
        }
    }

    /// Ends the hook that empties an instance, if one runs, with all that its program has started.
    pub(crate) fn end(&self, instance: &InstanceId) {
        locked(&self.running).by_instance.remove(instance);
    }
}

fn failed(class: ErrorClass, words: &str) -> ApiError {
    ApiError::new(class, "hook", "drain", None, words)
}

fn fenced() -> ApiError {
    failed(ErrorClass::Conflict, "leadership was lost: whoever leads now empties the instance")
}

async fn run_command(command: &[String], order: &Order) -> Result<(), ApiError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(failed(ErrorClass::Malformed, "names no program"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("MUSTER_FLEET", order.fleet.as_str())
        .env("MUSTER_INSTANCE", order.instance.as_str())
        .env("MUSTER_DEADLINE", order.deadline.to_string())
        .env("MUSTER_CAUSE", order.cause)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // With whatever it starts, so that all of it can be ended.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(ErrorClass::Transient, &format!("cannot start {program}: {error}")))?;
    let stderr = child.stderr.take();
    let mut group = Group::of(&child);
    let mut words = Vec::new();
    let status = {
        let mut talk = pin!(keep_last(stderr, &mut words));
        let mut silent = false;
        let status = tokio::select! {
            status = child.wait() => status,
            () = &mut talk => {
                silent = true;
                child.wait().await
            }
        };
        // Its number is free for others now.
        group.0 = None;
        if !silent {
            let _ = tokio::time::timeout(LAST_WORDS, talk).await;
        }
        status
    };
    let status = status.map_err(|error| failed(ErrorClass::Transient, &error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&words);
    Err(failed(ErrorClass::Transient, &format!("{program} ended with {status}: {}", words.trim())))
}

/// The process group of a program that runs. Dropped meanwhile, all of it is killed.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The one error is that nobody is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Keeps the end of what a program says, however much it says.
async fn keep_last(stderr: Option<ChildStderr>, kept: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0_u8; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        let from = kept.len().saturating_sub(WORDS);
        kept.drain(..from);
    }
}

async fn ask(
    url: &str,
    token_file: Option<&str>,
    order: &Order,
    clock: &dyn Clock,
    may_write: impl Fn() -> bool,
) -> Result<(), ApiError> {
    let secure = !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
    let client = crate::tls::client(secure)
        .timeout(REQUEST)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| failed(ErrorClass::Malformed, &error.to_string()))?;
    loop {
        let mut request = client.post(url).json(&order.json());
        if let Some(file) = token_file {
            let token = tokio::fs::read_to_string(file)
                .await
                .map_err(|error| failed(ErrorClass::Denied, &format!("cannot read {file}: {error}")))?;
            request = request.bearer_auth(token.trim());
        }
        // The last thing before each request: the lease may have run out in the pause.
        if !may_write() {
            return Err(fenced());
        }
        // Its own words may hold the address, and that is all they hold.
        let answer =
            request.send().await.map_err(|error| failed(ErrorClass::Transient, &error.to_string()))?;
        match answer.status().as_u16() {
            // Not yet: it is asked again.
            202 => clock.sleep_until(clock.monotonic() + ASK_AGAIN).await,
            200..=299 => return Ok(()),
            status @ (401 | 403) => return Err(failed(ErrorClass::Denied, &format!("answered {status}"))),
            status => return Err(failed(ErrorClass::Transient, &format!("answered {status}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_clock::SteppedClock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::AsyncWriteExt;

    fn order(instance: &str) -> Order {
        Order {
            fleet: "web".into(),
            instance: instance.into(),
            deadline: Timestamp::from_secs(300),
            cause: "scale-in",
        }
    }

    fn hooks(command: &[&str]) -> Hooks {
        let hooks = Hooks::default();
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let mut policy = FleetPolicy::of("web", "sfr-1");
        policy.drain_hook = Some(DrainHook::Command(command));
        hooks.set(&[policy]);
        hooks
    }

    fn clock() -> SteppedClock {
        SteppedClock::new(Timestamp::EPOCH)
    }

    #[tokio::test]
    async fn a_program_learns_whom_to_empty_and_its_success_says_that_it_is() {
        let script = "test \"$MUSTER_INSTANCE $MUSTER_CAUSE $MUSTER_FLEET\" = 'i-1 scale-in web' \
                      && test \"$MUSTER_DEADLINE\" = 1970-01-01T00:05:00Z && test -z \"$HOME\"";
        assert_eq!(hooks(&["/bin/sh", "-c", script]).run(order("i-1"), &clock()).await, Ok(()));
    }

    #[tokio::test]
    async fn a_program_that_fails_is_quoted_to_its_end() {
        let hooks =
            hooks(&["/bin/sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x >&2; echo not yet >&2; exit 3"]);
        let error = hooks.run(order("i-1"), &clock()).await.expect_err("it fails");
        assert_eq!(error.class(), ErrorClass::Transient);
        let words = error.to_string();
        assert!(words.contains("not yet") && words.contains('3') && words.len() < 2 * WORDS, "{words}");
        let error =
            self::hooks(&["/nowhere/at/all"]).run(order("i-1"), &clock()).await.expect_err("no program");
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }

    #[tokio::test]
    async fn a_hook_that_is_ended_is_killed() {
        let hooks = hooks(&["/bin/sleep", "1000"]);
        let run = tokio::spawn({
            let hooks = hooks.clone();
            async move { hooks.run(order("i-1"), &clock()).await }
        });
        while !locked(&hooks.running).by_instance.contains_key(&InstanceId::from("i-1")) {
            tokio::task::yield_now().await;
        }
        hooks.end(&"i-1".into());
        let error = run.await.expect("it ends").expect_err("it was ended");
        assert_eq!(error.class(), ErrorClass::Conflict);
    }

    /// An address that always says "not yet". * returns: it, and how often it was asked.
    async fn not_yet() -> (String, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/drain", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = axum::routing::post({
            let asked = Arc::clone(&asked);
            move || async move {
                asked.fetch_add(1, Ordering::SeqCst);
                axum::http::StatusCode::ACCEPTED
            }
        });
        let router = axum::Router::new().route("/drain", answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, asked)
    }

    #[tokio::test]
    async fn an_address_is_not_asked_again_by_who_lost_the_lead() {
        let (url, asked) = not_yet().await;
        let hooks = Hooks::default();
        let mut policy = FleetPolicy::of("web", "sfr-1");
        policy.drain_hook = Some(DrainHook::Webhook { url, token_file: None });
        hooks.set(&[policy]);
        let clock = clock();
        // The lease holds for two requests.
        let so_far = Arc::clone(&asked);
        hooks.guard(Arc::new(move || so_far.load(Ordering::SeqCst) < 2));
        let run = tokio::spawn({
            let (hooks, clock) = (hooks.clone(), clock.clone());
            async move { hooks.run(order("i-1"), &clock).await }
        });
        let time = async {
            while !run.is_finished() {
                if let Some(next) = clock.next_wake() {
                    clock.advance_to(next);
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), time).await.expect("it ends");
        let error = run.await.expect("no panic").expect_err("we lead no more");
        assert_eq!((error.class(), asked.load(Ordering::SeqCst)), (ErrorClass::Conflict, 2), "{error}");
        assert!(locked(&hooks.running).by_instance.is_empty());
    }

    #[tokio::test]
    async fn a_program_is_ended_when_the_lead_is_lost() {
        let (hooks, clock) = (hooks(&["/bin/sleep", "1000"]), clock());
        let lease = clock.clone();
        hooks.guard(Arc::new(move || lease.monotonic() < Duration::from_secs(10)));
        let run = hooks.run(order("i-1"), &clock);
        let time = async {
            loop {
                if let Some(next) = clock.next_wake() {
                    clock.advance_to(next);
                }
                tokio::task::yield_now().await;
            }
        };
        let within = tokio::time::timeout(Duration::from_secs(30), async {
            tokio::select! { outcome = run => outcome, () = time => unreachable!() }
        });
        let error = within.await.expect("it ends").expect_err("we lead no more");
        assert_eq!(error.class(), ErrorClass::Conflict);
        assert!(clock.monotonic() < Duration::from_secs(12), "{:?}", clock.monotonic());
    }

    #[tokio::test]
    async fn a_program_that_leaves_a_child_behind_still_succeeds() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("child");
        // The child has its stderr, and is told to end when this is over.
        let script = format!("sleep 1000 & echo $! > {}", file.display());
        let (hooks, clock) = (hooks(&["/bin/sh", "-c", &script]), clock());
        let within = tokio::time::timeout(Duration::from_secs(30), hooks.run(order("i-1"), &clock));
        assert_eq!(within.await, Ok(Ok(())));
        let child = std::fs::read_to_string(file).expect("its number").trim().parse().ok();
        let child = child.and_then(Pid::from_raw).expect("a number");
        rustix::process::kill_process(child, Signal::KILL)
            .expect("it runs on: it is the program's own affair");
    }

    #[tokio::test]
    async fn an_ended_hook_takes_its_children_with_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("child");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let hooks = hooks(&["/bin/sh", "-c", &script]);
        let run = tokio::spawn({
            let hooks = hooks.clone();
            async move { hooks.run(order("i-1"), &clock()).await }
        });
        let child = until(|| std::fs::read_to_string(&file).ok()).await;
        hooks.end(&"i-1".into());
        run.await.expect("it ends").expect_err("it was ended");
        let status = format!("/proc/{}/stat", child.trim());
        // Whoever adopts it may take a while to bury it.
        let is_dead = || std::fs::read_to_string(&status).map_or(true, |stat| stat.contains(") Z "));
        until(|| is_dead().then_some(())).await;
    }

    async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let looking = async {
            let mut interval = tokio::time::interval(Duration::from_millis(5));
            loop {
                interval.tick().await;
                if let Some(found) = look() {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), looking).await.expect("it comes")
    }

    #[tokio::test]
    async fn a_run_that_is_over_ends_no_newer_one() {
        let hooks = Hooks::default();
        let (first, mut end_of_first) = hooks.begin(&"i-1".into());
        let (second, mut end_of_second) = hooks.begin(&"i-1".into());
        assert!(end_of_first.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        hooks.is_over(&"i-1".into(), first);
        assert_eq!(end_of_second.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        hooks.is_over(&"i-1".into(), second);
        assert!(locked(&hooks.running).by_instance.is_empty());
    }

    #[tokio::test]
    async fn an_address_that_says_done_in_any_way_has_emptied_the_instance() {
        for (answer, outcome) in [("204 No Content", true), ("201 Created", true), ("302 Found", false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}/drain", listener.local_addr().expect("an address"));
            let serve = async {
                for answer in ["202 Accepted", answer] {
                    let (mut stream, _) = listener.accept().await.expect("a connection");
                    let mut asked = [0_u8; 4096];
                    let _ = stream.read(&mut asked).await.expect("a request");
                    let text = format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(text.as_bytes()).await.expect("it is answered");
                }
            };
            let clock = clock();
            let order = order("i-1");
            let asked = async {
                tokio::join!(ask(&url, None, &order, &clock, || true), async {
                    let wake = until(|| clock.next_wake()).await;
                    clock.advance_to(wake);
                })
            };
            let ((result, ()), ()) = tokio::join!(asked, serve);
            assert_eq!(result.is_ok(), outcome, "{answer}: {result:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_does_not_end_is_given_up_after_the_deadline() {
        let error =
            hooks(&["/bin/sleep", "100000"]).run(order("i-1"), &clock()).await.expect_err("it does not end");
        assert!(error.to_string().contains("did not end in time"), "{error}");
        let error = Hooks::default().run(order("i-1"), &clock()).await.expect_err("there is no hook");
        assert_eq!(error.class(), ErrorClass::Denied);
    }
}
