//! The elector: what Consul answers goes in, what is to be asked of it comes out.

use crate::calls::{CallId, Pending, Slot};
use crate::{
    ACQUIRE_AGAIN, ANSWER_WITHIN, Answer, CHECK_TTL, CLING, FEED_EVERY, Failure, Fence, GIVES_WAY_AFTER,
    GIVES_WAY_AGAIN, LEASE, LEAVES_TO_OTHERS, LOCK_DELAY, Lock, RETRY_AFTER, Request, Role, SessionId,
    Status, Term, Trouble, WATCH_WAIT,
};
use fleet::{ApiError, ErrorClass};
use std::collections::VecDeque;
use std::time::Duration;

/// How much longer than the shell the elector waits for an answer.
const GRACE: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The time of the last [`Effect::WakeAt`] has come; also the first event of an elector's life. Harmless at
    /// any other time.
    Timer,
    /// An [`Effect::Call`] has ended.
    Answered {
        /// Which.
        call: CallId,
        /// How.
        answer: Answer,
    },
    /// Give leadership up for good, then [`Effect::Resigned`]. Comes when no write is in flight any more: the next
    /// leader may follow at once.
    Resign,
}

/// Something to be done by the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask Consul; answered by [`Event::Answered`].
    Call {
        /// For the answer.
        call: CallId,
        /// What.
        request: Request,
    },
    /// Send [`Event::Timer`] when monotonic time reaches `at`. Replaces every earlier one.
    WakeAt {
        /// When.
        at: Duration,
    },
    /// We are something else than before.
    Became(Role),
    /// Leadership is given up, and the elector wants nothing more.
    Resigned,
}

/// How a process comes to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By a lock in Consul.
    Contend,
    /// By being the only one: a state directory belongs to one process at a time.
    Alone,
}

/// The lock is ours, as far as was seen.
#[derive(Clone, Copy, Debug)]
struct Leading {
    term: Term,
    /// When we learnt of it. What was asked before may tell of a time before.
    known: Duration,
    /// The end of the last lease.
    until: Duration,
}

/// Decides whether this process leads. See the crate's documentation.
///
/// Its events have to come from the loop that decides about fleets, so that a loop that hangs feeds no check and
/// leads no longer.
#[derive(Debug)]
pub struct Elector {
    way: Way,
    fence: Fence,
    registered: bool,
    session: Option<SessionId>,
    /// The session may have ended without our hearing of it: the check was not fed in time, or the lock was lost.
    doubtful: bool,
    /// When the last feeding of the check that succeeded was begun.
    fed: Duration,
    /// The lock as it was last seen.
    lock: Option<Lock>,
    /// Since when it is seen to be free.
    free_since: Option<Duration>,
    /// Since when we could do little if we led.
    blind_since: Option<Duration>,
    /// When we last let go of the lock for that, or took it because nobody else did.
    gave_way: Option<Duration>,
    /// Whether our session has not ended yet since.
    gives_way: bool,
    leading: Option<Leading>,
    terms: u64,
    /// What must happen one after the other: register, make a session, take the lock, withdraw.
    steps: Slot,
    renewal: Slot,
    watch: Slot,
    /// [`Lock::index`] to watch from.
    watched: u64,
    troubles: Vec<Trouble>,
    resigning: bool,
    resigned: bool,
    calls: u64,
    said: Option<Role>,
    woken_at: Option<Duration>,
    out: VecDeque<Effect>,
}

impl Elector {
    /// One of several: leads while it can prove that Consul's lock is its own.
    pub fn contender() -> Self {
        Self::new(Way::Contend, Fence::default())
    }

    /// The only one: leads always. What keeps a second process away is the lock on the state directory.
    pub fn alone() -> Self {
        Self::new(Way::Alone, Fence::open())
    }

    fn new(way: Way, fence: Fence) -> Self {
        Self {
            way,
            fence,
            registered: false,
            session: None,
            doubtful: false,
            fed: Duration::ZERO,
            lock: None,
            free_since: None,
            blind_since: None,
            gave_way: None,
            gives_way: false,
            leading: None,
            terms: 0,
            steps: Slot::default(),
            renewal: Slot::default(),
            watch: Slot::default(),
            watched: 0,
            troubles: Vec::new(),
            resigning: false,
            resigned: false,
            calls: 0,
            said: None,
            woken_at: None,
            out: VecDeque::new(),
        }
    }

    /// Takes in what happened at monotonic time `now`; answers with what is to be done, in order. Never fails,
    /// never waits.
    ///
    /// A call counts as begun at the `now` that handed it out, whenever it is really sent: that can make a lease
    /// shorter, never longer.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        self.take_in(event, now);
        self.out.drain(..).collect()
    }

    /// The same for who asks for what is to be done one by one ([`Elector::next_effect`]).
    pub fn take_in(&mut self, event: Event, now: Duration) {
        match event {
            Event::Timer => {}
            Event::Answered { call, answer } => self.answered(call, answer, now),
            Event::Resign => self.resign(),
        }
        if self.way == Way::Contend {
            self.give_up_lost(now);
            self.give_way(now);
            self.go_on(now);
        }
        self.say_role(now);
        self.wake(now);
    }

    /// Whether we could do little if we led, because AWS does not answer us. A free lock is left to others for a while then
    /// ([`LOCK_DELAY`] and [`LEAVES_TO_OTHERS`]); who leads lets go of it once that has lasted ([`GIVES_WAY_AFTER`]), and takes it back
    /// where nobody else does. To be told before each event.
    pub fn set_blind(&mut self, blind: bool, now: Duration) {
        self.blind_since = blind.then(|| self.blind_since.unwrap_or(now));
    }

    /// What is to be done next.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// Whether a write may be begun now: a proof of leadership was begun less than [`LEASE`] ago.
    pub fn may_write(&self, now: Duration) -> bool {
        self.fence.may_write(now)
    }

    /// For who sends writes: to be asked immediately before each attempt.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// The end of a permit that is given now for at most `within`: never after the end of the lease. `None`: no
    /// write may be begun.
    pub fn permit_until(&self, now: Duration, within: Duration) -> Option<Duration> {
        let until = self.fence.until().filter(|_| self.may_write(now))?;
        Some(until.min(now.saturating_add(within)))
    }

    /// Our session, to fence the ledger with ([`crate::LedgerRequest::Write`]); `None` where there is none, or no
    /// need of one.
    pub const fn session(&self) -> Option<&SessionId> {
        self.session.as_ref()
    }

    /// What we are now.
    pub fn role(&self, now: Duration) -> Role {
        if self.resigning {
            return Role::Resigned;
        }
        match (self.way, self.leading) {
            (Way::Alone, _) => Role::Leader { term: Term(1) },
            (Way::Contend, Some(Leading { term, .. })) if self.may_write(now) => Role::Leader { term },
            (Way::Contend, Some(Leading { term, .. })) => Role::Lost { term },
            (Way::Contend, None) => {
                let held = self.lock.as_ref().filter(|lock| lock.session.is_some());
                Role::Standby { leader: held.and_then(|lock| lock.holder.clone()) }
            }
        }
    }

    /// Everything at a glance.
    pub fn status(&self, now: Duration) -> Status {
        Status {
            role: self.role(now),
            lease_until: self.fence.until().filter(|_| self.may_write(now)),
            lost_at: self.leading.map(|leading| leading.until).filter(|_| !self.may_write(now)),
            session: self.session.clone(),
            troubles: self.troubles.clone(),
        }
    }

    fn resign(&mut self) {
        self.resigning = true;
        self.leading = None;
        self.fence.set(None);
        if self.way == Way::Alone && !self.resigned {
            self.resigned = true;
            self.out.push_back(Effect::Resigned);
        }
    }

    fn answered(&mut self, call: CallId, answer: Answer, now: Duration) {
        let slot = match &answer {
            Answer::Renewed(_) => &mut self.renewal,
            Answer::Watched(_) => &mut self.watch,
            _ => &mut self.steps,
        };
        let Some(pending) = slot.close(call) else { return };
        match answer {
            Answer::Registered(Ok(())) => {
                self.registered = true;
                self.fed = pending.begun;
                self.went_well(pending.label);
            }
            Answer::SessionCreated(Ok(session)) => {
                self.session = Some(session);
                (self.doubtful, self.gives_way) = (false, false);
                self.went_well(pending.label);
            }
            Answer::Acquired(Ok(ours)) => self.acquired(ours, pending, now),
            Answer::Renewed(Ok(lock)) => self.renewed(lock, pending, now),
            Answer::Watched(Ok(lock)) => self.watched(lock, pending, now),
            // Whatever came of it, there is no more that can be done: the check runs out by itself.
            Answer::Withdrawn(_) => self.withdrawn(),
            Answer::Registered(Err(failure))
            | Answer::SessionCreated(Err(failure))
            | Answer::Acquired(Err(failure))
            | Answer::Renewed(Err(failure))
            | Answer::Watched(Err(failure)) => self.failed(pending, failure, now),
        }
    }

    fn acquired(&mut self, ours: bool, pending: Pending, now: Duration) {
        self.went_well(pending.label);
        if ours {
            self.lead(pending.begun, now);
        } else {
            // The lock delay, or somebody else was first.
            self.steps.not_before = now + ACQUIRE_AGAIN;
        }
    }

    /// The lock was read, and then the check was fed: a proof, if the lock shows our session.
    fn renewed(&mut self, lock: Lock, pending: Pending, now: Duration) {
        self.went_well(pending.label);
        self.renewal.not_before = pending.begun + FEED_EVERY;
        self.doubtful |= now.saturating_sub(self.fed) >= CHECK_TTL;
        self.fed = pending.begun;
        if self.is_ours(&lock) {
            self.lead(pending.begun, now);
        } else {
            self.lose(pending.begun);
        }
        self.see(lock, now);
    }

    /// The lock has changed. That it is ours is no proof, because the answer may be old; that it is not is enough
    /// to stop at once.
    fn watched(&mut self, lock: Lock, pending: Pending, now: Duration) {
        self.went_well(pending.label);
        // An index that goes back is of another Consul: one restored from a snapshot.
        self.watched = if lock.index < self.watched { 0 } else { lock.index };
        if !self.is_ours(&lock) && self.lose(pending.begun) {
            self.renewal.not_before = now;
        }
        self.see(lock, now);
    }

    fn is_ours(&self, lock: &Lock) -> bool {
        self.session.is_some() && lock.session == self.session
    }

    /// The lock was ours at some time after `begun`.
    fn lead(&mut self, begun: Duration, now: Duration) {
        if self.resigning || self.gives_way {
            return;
        }
        let until = begun + LEASE;
        if self.leading.is_none() {
            self.terms += 1;
            // A lock that was left to others and that nobody took.
            self.gave_way = self.blind_since.map_or(self.gave_way, |_| Some(now));
        }
        self.doubtful = false;
        let term = Term(self.terms);
        let leading = self.leading.get_or_insert(Leading { term, known: now, until });
        leading.until = leading.until.max(until);
        self.fence.set(Some(leading.until));
    }

    /// The lock was not ours at some time after `begun`. Returns whether that is news.
    fn lose(&mut self, begun: Duration) -> bool {
        let news = self.leading.is_some_and(|leading| begun >= leading.known);
        if news {
            self.doubtful = true;
            self.leading = None;
            self.fence.set(None);
        }
        news
    }

    /// Whether the lock has been ours for too long without a proof, or is still ours though we have let go of it: then the check is fed
    /// no more, and ends the session.
    fn clings(&self, now: Duration) -> bool {
        let lost = self.leading.map(|leading| leading.until);
        let still_ours = || self.lock.as_ref().is_none_or(|lock| self.is_ours(lock));
        let let_go = self.gave_way.filter(|_| self.gives_way && still_ours());
        lost.or(let_go).is_some_and(|since| now >= since + CLING)
    }

    /// When we last let go of the lock because AWS does not answer us; `None` once that session has ended.
    pub fn gave_way(&self) -> Option<Duration> {
        self.gave_way.filter(|_| self.gives_way)
    }

    fn see(&mut self, lock: Lock, now: Duration) {
        let was_held = self.lock.as_ref().is_none_or(|before| before.session.is_some());
        if was_held && lock.session.is_none() && !self.steps.is_busy() {
            self.steps.not_before = now;
        }
        self.free_since = lock.session.is_none().then(|| self.free_since.unwrap_or(now));
        self.lock = Some(lock);
    }

    /// When we let go of the lock, if we lead and AWS goes on not to answer.
    fn gives_way_at(&self) -> Option<Duration> {
        let after = self.blind_since.filter(|_| self.leading.is_some())? + GIVES_WAY_AFTER;
        Some(self.gave_way.map_or(after, |at| after.max(at + GIVES_WAY_AGAIN)))
    }

    /// Lets go of the lock: our session is ended, and what we have begun has the lock's delay to end in.
    fn give_way(&mut self, now: Duration) {
        if !self.resigning && self.gives_way_at().is_some_and(|at| now >= at) {
            self.gave_way = Some(now);
            (self.doubtful, self.gives_way) = (true, true);
            self.leading = None;
            self.fence.set(None);
            self.steps.not_before = now;
        }
    }

    /// Until when a free lock is left to others.
    fn left_to_others_until(&self) -> Option<Duration> {
        self.free_since
            .filter(|_| self.blind_since.is_some())
            .map(|since| since + LOCK_DELAY + LEAVES_TO_OTHERS)
    }

    fn withdrawn(&mut self) {
        self.session = None;
        self.resigned = true;
        self.out.push_back(Effect::Resigned);
    }

    fn failed(&mut self, pending: Pending, failure: Failure, now: Duration) {
        let retry = now + RETRY_AFTER;
        match (pending.label, &failure) {
            // The session may still have the lock: it is not given up before the lock was seen.
            ("renew", Failure::CheckGone) => {
                self.registered = false;
                self.doubtful = true;
                self.steps.not_before = now;
                self.renewal.not_before = now;
            }
            ("renew", _) => self.renewal.not_before = retry,
            ("watch", _) => {
                self.watched = 0;
                self.watch.not_before = retry;
            }
            ("acquire", Failure::SessionGone) => {
                self.session = None;
                self.steps.not_before = now;
            }
            _ => self.steps.not_before = retry,
        }
        self.note_trouble(pending.label, failure, now);
    }

    fn note_trouble(&mut self, operation: &'static str, failure: Failure, now: Duration) {
        if let Some(trouble) = self.troubles.iter_mut().find(|trouble| trouble.operation == operation) {
            trouble.failures = trouble.failures.saturating_add(1);
            trouble.failure = failure;
        } else {
            self.troubles.push(Trouble { operation, since: now, failures: 1, failure });
        }
    }

    fn went_well(&mut self, operation: &'static str) {
        self.troubles.retain(|trouble| trouble.operation != operation);
    }

    /// Calls that nobody answered are taken as failed: a shell that forgets must not stop the loop.
    fn give_up_lost(&mut self, now: Duration) {
        loop {
            let slots = [&mut self.steps, &mut self.renewal, &mut self.watch];
            let Some(pending) = slots.into_iter().find_map(|slot| slot.give_up(now)) else { return };
            if pending.label == "withdraw" {
                self.withdrawn();
                continue;
            }
            let error =
                ApiError::new(ErrorClass::Unclear, "consul", pending.label, None, "no answer in time");
            self.failed(pending, Failure::Api(error), now);
        }
    }

    fn go_on(&mut self, now: Duration) {
        if self.steps.is_due(now)
            && let Some(request) = self.next_step(now)
        {
            let within = ANSWER_WITHIN + GRACE;
            let call = self.call(request.clone());
            self.steps.open(call, &request, now, within);
        }
        if self.resigning {
            return;
        }
        if self.registered && self.renewal.is_due(now) && !self.clings(now) {
            let call = self.call(Request::Renew);
            self.renewal.open(call, &Request::Renew, now, ANSWER_WITHIN + GRACE);
        }
        if self.watch.is_due(now) {
            let request = Request::Watch { after: self.watched, wait: WATCH_WAIT };
            let call = self.call(request.clone());
            self.watch.open(call, &request, now, WATCH_WAIT + WATCH_WAIT / 16 + ANSWER_WITHIN + GRACE);
        }
    }

    /// What comes next of the things that have an order.
    fn next_step(&self, now: Duration) -> Option<Request> {
        if self.resigning {
            let withdraw = Request::Withdraw { session: self.session.clone() };
            return (!self.resigned).then_some(withdraw);
        }
        if !self.registered {
            return Some(Request::Register);
        }
        let Some(session) = self.session.as_ref().filter(|_| !self.doubtful || self.leading.is_some()) else {
            return Some(Request::CreateSession { instead_of: self.session.clone() });
        };
        // Only a lock that was seen to be free: an attempt that races with the end of its holder's session could
        // slip past the lock delay. And only when leadership could be proved, or nobody would lead.
        let free = self.lock.as_ref().is_some_and(|lock| lock.session.is_none());
        let able = self.troubles.iter().all(|trouble| trouble.operation != "renew");
        let left = self.left_to_others_until().is_some_and(|until| now < until);
        let wanted = free && able && !left && self.leading.is_none();
        wanted.then(|| Request::Acquire { session: session.clone() })
    }

    fn call(&mut self, request: Request) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        self.out.push_back(Effect::Call { call, request });
        call
    }

    fn say_role(&mut self, now: Duration) {
        let role = self.role(now);
        if self.said.as_ref() != Some(&role) {
            self.said = Some(role.clone());
            self.out.push_back(Effect::Became(role));
        }
    }

    fn wake(&mut self, now: Duration) {
        if self.way == Way::Alone || self.resigned {
            return;
        }
        let mut at = Duration::MAX;
        if self.steps.is_busy() || self.next_step(now).is_some() {
            at = at.min(self.steps.next());
        }
        let waits = [self.left_to_others_until(), self.gives_way_at()];
        for until in waits.into_iter().flatten().filter(|until| *until > now) {
            at = at.min(until);
        }
        if self.registered && !self.resigning && (self.renewal.is_busy() || !self.clings(now)) {
            at = at.min(self.renewal.next());
        }
        if !self.resigning {
            at = at.min(self.watch.next());
        }
        if let Some(lease) = self.fence.until().filter(|_| self.may_write(now)) {
            at = at.min(lease);
        }
        if at == Duration::MAX {
            return;
        }
        let at = at.max(now);
        if self.woken_at != Some(at) || at <= now {
            self.woken_at = Some(at);
            self.out.push_back(Effect::WakeAt { at });
        }
    }
}
