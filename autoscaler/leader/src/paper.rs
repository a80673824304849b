//! Consul on paper: one lock, the sessions and checks that it hangs on, and ledgers, in virtual time.
//!
//! For simulations and tests. It does what the real one was seen to do: a check that nobody feeds goes critical,
//! its session ends when the catalogue hears of it, the lock is then kept from everybody for a while, and is free
//! at once when it was given back. One check and any number of sessions a caller.

use crate::{
    Answer, CHECK_TTL, Failure, LOCK_DELAY, LedgerError, LedgerRead, LedgerRequest, LedgerVersion, Lock,
    MAX_LEDGER_BYTES, Request, SessionId,
};
use fleet::{ApiError, ErrorClass};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who calls: each process has a number of its own, and a new one after a restart.
pub type Caller = usize;

/// What a [`LedgerRequest`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerAnswer {
    /// To a read.
    Read(Result<LedgerRead, LedgerError>),
    /// To a write: the version it made.
    Written(Result<LedgerVersion, LedgerError>),
}

/// Consul. Time is handed in and never goes back.
#[derive(Clone, Debug, Default)]
pub struct Consul {
    /// How long the catalogue takes to hear of a check that went critical.
    pub lag: Duration,
    /// Counts every change.
    index: u64,
    lock: Lock,
    /// Until then, nobody gets the lock.
    delayed_until: Duration,
    /// When each caller's check goes critical in the catalogue.
    checks: BTreeMap<Caller, Duration>,
    sessions: BTreeMap<SessionId, Caller>,
    /// No session ends before this: asked all the time, so that the next end is looked for only then.
    quiet_until: Duration,
    made: u64,
    ledgers: BTreeMap<String, LedgerRead>,
}

impl Consul {
    /// Answers a request that arrives at `now`. [`Request::Watch`] is answered with the lock as it is: the caller
    /// waits until [`Consul::is_newer`].
    ///
    /// * `holder`: what the caller writes into the lock.
    pub fn answer(&mut self, caller: Caller, holder: &str, request: &Request, now: Duration) -> Answer {
        self.advance(now);
        match request {
            Request::Register => {
                self.set_check(caller, now);
                Answer::Registered(Ok(()))
            }
            Request::CreateSession { instead_of } => {
                if let Some(before) = instead_of {
                    self.end_session(before, now);
                }
                Answer::SessionCreated(self.create_session(caller, now))
            }
            Request::Renew => {
                let lock = self.lock.clone();
                Answer::Renewed(self.feed(caller, now).map(|()| lock))
            }
            Request::Acquire { session } => Answer::Acquired(self.acquire(session, holder, now)),
            Request::Watch { .. } => Answer::Watched(Ok(self.lock.clone())),
            Request::Withdraw { session } => {
                if let Some(session) = session {
                    if self.lock.session.as_ref() == Some(session) {
                        self.free();
                    }
                    self.end_session(session, now);
                }
                self.forget_check(caller, now);
                Answer::Withdrawn(Ok(()))
            }
        }
    }

    /// Reads or writes a ledger.
    pub fn ledger(&mut self, request: &LedgerRequest, now: Duration) -> LedgerAnswer {
        self.advance(now);
        match request {
            LedgerRequest::Read { name } => {
                LedgerAnswer::Read(Ok(self.ledgers.get(name).cloned().unwrap_or_default()))
            }
            LedgerRequest::Write { name, bytes, expected, session } => {
                LedgerAnswer::Written(self.write_ledger(name, bytes, *expected, session))
            }
        }
    }

    /// Somebody puts another value where a ledger is, by hand.
    pub fn edit_ledger(&mut self, name: &str, bytes: &[u8]) {
        self.index += 1;
        let edited = LedgerRead { bytes: bytes.to_vec(), version: LedgerVersion(self.index) };
        self.ledgers.insert(name.to_owned(), edited);
    }

    /// The lock as it is: the first half of [`Request::Renew`].
    pub fn lock(&mut self, now: Duration) -> Lock {
        self.advance(now);
        self.lock.clone()
    }

    /// Whose the lock is.
    pub fn holder(&mut self, now: Duration) -> Option<&SessionId> {
        self.advance(now);
        self.lock.session.as_ref()
    }

    /// Feeds a caller's check: the second half of [`Request::Renew`].
    pub fn feed(&mut self, caller: Caller, now: Duration) -> Result<(), Failure> {
        self.advance(now);
        if !self.checks.contains_key(&caller) {
            return Err(Failure::CheckGone);
        }
        self.set_check(caller, now);
        Ok(())
    }

    fn set_check(&mut self, caller: Caller, now: Duration) {
        let critical = now + CHECK_TTL + self.lag;
        self.checks.insert(caller, critical);
        self.quiet_until = self.quiet_until.min(critical);
    }

    /// Whether a watch from `after` has something to tell.
    pub const fn is_newer(&self, after: u64) -> bool {
        self.lock.index > after || after == 0
    }

    /// When something happens by itself: a session ends.
    pub fn next(&self) -> Option<Duration> {
        self.sessions.values().filter_map(|caller| self.checks.get(caller)).min().copied()
    }

    /// Ends what has run out by `now`.
    pub fn advance(&mut self, now: Duration) {
        if now < self.quiet_until {
            return;
        }
        while let Some(at) = self.next().filter(|at| *at <= now) {
            let ended = |caller: &Caller| self.checks.get(caller).is_some_and(|check| *check <= at);
            let ids: Vec<SessionId> =
                self.sessions.iter().filter(|(_, caller)| ended(caller)).map(|(id, _)| id.clone()).collect();
            for id in ids {
                self.end_session(&id, at);
            }
        }
        // Whatever is fed later ends later, and what begins to count sooner says so.
        self.quiet_until = self.next().unwrap_or(Duration::MAX);
    }

    /// An agent restarts without its data, or an operator deregisters the service: the check is gone, and with it
    /// its sessions.
    pub fn forget_check(&mut self, caller: Caller, now: Duration) {
        self.checks.remove(&caller);
        self.end_sessions_of(caller, now);
    }

    /// A node fails, or an operator destroys sessions.
    pub fn end_sessions_of(&mut self, caller: Caller, now: Duration) {
        let ids: Vec<SessionId> =
            self.sessions.iter().filter(|(_, of)| **of == caller).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.end_session(&id, now);
        }
    }

    fn end_session(&mut self, session: &SessionId, now: Duration) {
        if self.sessions.remove(session).is_some() && self.lock.session.as_ref() == Some(session) {
            self.free();
            self.delayed_until = now + LOCK_DELAY;
        }
    }

    /// The holder's text stays: it says who was the last.
    fn free(&mut self) {
        self.lock.session = None;
        self.touch();
    }

    fn touch(&mut self) {
        self.index += 1;
        self.lock.index = self.index;
    }

    fn create_session(&mut self, caller: Caller, now: Duration) -> Result<SessionId, Failure> {
        let check = self.checks.get(&caller).filter(|critical| **critical > now);
        let Some(critical) = check else {
            return Err(failed("create_session", "the check is in critical state").into());
        };
        self.quiet_until = self.quiet_until.min(*critical);
        self.made += 1;
        let id = SessionId(format!("session-{}", self.made).into());
        self.sessions.insert(id.clone(), caller);
        Ok(id)
    }

    fn acquire(&mut self, session: &SessionId, holder: &str, now: Duration) -> Result<bool, Failure> {
        // Asked before anything else, as Consul's leader does.
        if now < self.delayed_until {
            return Ok(false);
        }
        if !self.sessions.contains_key(session) {
            return Err(Failure::SessionGone);
        }
        if let Some(holder) = &self.lock.session {
            return Ok(holder == session);
        }
        self.lock.session = Some(session.clone());
        self.lock.holder = Some(holder.to_owned().into());
        self.touch();
        Ok(true)
    }

    fn write_ledger(
        &mut self,
        name: &str,
        bytes: &[u8],
        expected: LedgerVersion,
        session: &SessionId,
    ) -> Result<LedgerVersion, LedgerError> {
        if bytes.len() > MAX_LEDGER_BYTES {
            return Err(LedgerError::TooLarge { bytes: bytes.len() });
        }
        if self.lock.session.as_ref() != Some(session) {
            return Err(LedgerError::Fenced { message: "failed session check".to_owned() });
        }
        let ledger = self.ledgers.entry(name.to_owned()).or_default();
        if ledger.version != expected {
            return Err(LedgerError::Conflict { message: "index is stale".to_owned() });
        }
        self.index += 1;
        *ledger = LedgerRead { bytes: bytes.to_vec(), version: LedgerVersion(self.index) };
        Ok(ledger.version)
    }
}

fn failed(operation: &str, message: &str) -> ApiError {
    ApiError::new(ErrorClass::Transient, "consul", operation, Some("500"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_check_however_much_later_others_end() {
        let at = Duration::from_millis;
        let mut consul = Consul::default();
        let session = |consul: &mut Consul, caller, now| {
            let asked = Request::CreateSession { instead_of: None };
            let Answer::SessionCreated(Ok(session)) = consul.answer(caller, "", &asked, now) else {
                panic!("it has a check");
            };
            session
        };
        consul.answer(1, "", &Request::Register, at(0));
        session(&mut consul, 1, at(0));
        consul.answer(2, "", &Request::Register, at(1000));
        consul.feed(1, at(4000)).expect("it is known");
        // Here the first one's session is the only one, and ends after nine seconds.
        consul.advance(at(5500));
        let second = session(&mut consul, 2, at(5500));
        let acquire = Request::Acquire { session: second.clone() };
        assert_eq!(consul.answer(2, "second", &acquire, at(5500)), Answer::Acquired(Ok(true)));
        assert_eq!(consul.holder(at(5999)), Some(&second));
        assert_eq!(consul.holder(at(6000)), None, "nobody fed its check for five seconds");
    }
}
