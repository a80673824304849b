//! What the next leader has to know, in Consul: read when we begin to lead, written with every change before what
//! it announces is begun.

use crate::idle::Busy;
use crate::leadership::Session;
use crate::queue::{Envelope, Happened};
use autoscaler_consul::Consul;
use autoscaler_engine::{BatchId, Ledger, LedgerLeft};
use autoscaler_leader::{LedgerError, LedgerVersion, SessionId};
use fleet::{ApiError, ErrorClass, FleetName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The form of the ledgers in Consul. JSON, so that people can read one, and an update can add to it.
const FORM: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    form: u32,
    ledger: &'a Ledger,
}

#[derive(Deserialize)]
struct Found {
    form: u32,
    ledger: Ledger,
}

/// A batch on its way to Consul.
struct Job {
    batch: BatchId,
    /// The session that led when it was handed in. It is written under this one or not at all: under a later one it would
    /// overwrite what another leader has left meanwhile.
    session: Option<SessionId>,
    ledgers: Vec<(FleetName, Box<Ledger>)>,
    busy: Busy,
}

/// Reads and writes ledgers. Clones share what they know.
#[derive(Clone)]
pub(crate) struct Ledgers {
    consul: Consul,
    session: Session,
    jobs: UnboundedSender<Job>,
    /// The version of each that we read or wrote last.
    versions: Arc<Mutex<BTreeMap<FleetName, LedgerVersion>>>,
}

impl Ledgers {
    /// * returns: them, and the task that writes, one batch after the other.
    pub(crate) fn new(
        consul: Consul,
        session: Session,
        happened: UnboundedSender<Envelope<Happened>>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, waiting) = unbounded_channel();
        let ledgers = Self { consul, session, jobs, versions: Arc::default() };
        // The task keeps no way to hand itself jobs: it ends when everybody else has gone.
        let writer = Writer {
            consul: ledgers.consul.clone(),
            session: ledgers.session.clone(),
            versions: Arc::clone(&ledgers.versions),
        };
        (ledgers, writer.run(waiting, happened))
    }

    /// Hands a batch's ledgers to the task; the answer comes as [`Happened::LedgersWritten`].
    pub(crate) fn write(&self, batch: BatchId, ledgers: Vec<(FleetName, Box<Ledger>)>, busy: Busy) {
        // The task lives as long as the runtime that calls this.
        let _ = self.jobs.send(Job { batch, session: self.session.get(), ledgers, busy });
    }

    /// What a leader left of these fleets, one for each, in order.
    ///
    /// One that is `Malformed` cannot be read: nothing of its fleet may be written before an operator has looked. What
    /// else fails is no one fleet's, and fails the whole.
    pub(crate) async fn read(&self, fleets: &[FleetName]) -> Result<Vec<LedgerLeft>, ApiError> {
        let mut found = Vec::with_capacity(fleets.len());
        for fleet in fleets {
            match self.read_one(fleet).await {
                Err(error) if error.class() != ErrorClass::Malformed => return Err(error),
                left => found.push(left),
            }
        }
        Ok(found)
    }

    async fn read_one(&self, fleet: &FleetName) -> LedgerLeft {
        let malformed = |why: &str| {
            let key = self.consul.ledger_key(fleet.as_str());
            let words = format!(
                "the ledger of fleet {fleet} (Consul's key {key}) cannot be read ({why}): run the version that wrote it, \
                 or delete the key once no removal is under way"
            );
            ApiError::new(ErrorClass::Malformed, "consul", "read_ledger", None, &words)
        };
        let read = match self.consul.read_ledger(fleet.as_str()).await.map_err(as_api_error) {
            Err(error) if error.class() == ErrorClass::Malformed => {
                return Err(malformed(&error.to_string()));
            }
            read => read?,
        };
        let ledger = (!read.bytes.is_empty()).then(|| decode(&read.bytes)).transpose();
        let ledger = ledger.map_err(|why| malformed(&why))?;
        self.versions.lock().await.insert(fleet.clone(), read.version);
        Ok(ledger.map(Box::new))
    }
}

struct Writer {
    consul: Consul,
    session: Session,
    versions: Arc<Mutex<BTreeMap<FleetName, LedgerVersion>>>,
}

impl Writer {
    async fn run(self, mut waiting: UnboundedReceiver<Job>, happened: UnboundedSender<Envelope<Happened>>) {
        while let Some(Job { batch, session, ledgers, busy }) = waiting.recv().await {
            let result = self.write_all(session.as_ref(), &ledgers).await.map_err(|error| error.to_string());
            let what = Happened::LedgersWritten { batch, result };
            // Without an engine nobody waits for the answer.
            let _ = happened.send(Envelope { what, busy });
        }
    }

    async fn write_all(
        &self,
        session: Option<&SessionId>,
        ledgers: &[(FleetName, Box<Ledger>)],
    ) -> Result<(), LedgerError> {
        for (fleet, ledger) in ledgers {
            let bytes = serde_json::to_vec(&Written { form: FORM, ledger }).map_err(|error| {
                ApiError::new(ErrorClass::Malformed, "muster", "write_ledger", None, &error.to_string())
            })?;
            match self.write_one(session, fleet, &bytes).await {
                // Only a leader writes, and the lock was still this session's: it was a write of ours whose answer was lost.
                Err(LedgerError::Conflict { .. }) => {
                    self.versions.lock().await.remove(fleet);
                    self.write_one(session, fleet, &bytes).await?;
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn write_one(
        &self,
        session: Option<&SessionId>,
        fleet: &FleetName,
        bytes: &[u8],
    ) -> Result<(), LedgerError> {
        let fenced = |message: &str| Err(LedgerError::Fenced { message: message.to_owned() });
        let Some(session) = session else { return fenced("there is no session") };
        if self.session.get().as_ref() != Some(session) {
            return fenced("its session has ended");
        }
        let known = self.versions.lock().await.get(fleet).copied();
        let expected = match known {
            Some(version) => version,
            None => self.consul.read_ledger(fleet.as_str()).await?.version,
        };
        let written = self.consul.write_ledger(fleet.as_str(), bytes, expected, session).await;
        let mut versions = self.versions.lock().await;
        match &written {
            Ok(version) => versions.insert(fleet.clone(), *version),
            Err(_) => versions.remove(fleet),
        };
        written.map(drop)
    }
}

/// * returns: the ledger, or why it is none.
fn decode(bytes: &[u8]) -> Result<Ledger, String> {
    let found: Found = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if found.form == FORM { Ok(found.ledger) } else { Err(format!("form {}", found.form)) }
}

fn as_api_error(error: LedgerError) -> ApiError {
    match error {
        LedgerError::Api(error) => error,
        other => ApiError::new(other.class(), "consul", "read_ledger", None, &other.to_string()),
    }
}

/// So many batches wait for both their halves at most: who leads has far fewer under way, and the engine gives up what is
/// not answered within half a minute.
const HALVES: usize = 1024;

/// Batches that are answered when both their halves are: the journal's and Consul's.
#[derive(Debug, Default)]
pub(crate) struct Halves {
    waiting: BTreeMap<BatchId, Option<Result<(), String>>>,
    /// The newest that was not waited for any more. What comes of one as old as it is half an answer, or may be.
    forgotten: Option<BatchId>,
}

impl Halves {
    /// Two answers are to come for this batch.
    pub(crate) fn expect(&mut self, batch: BatchId) {
        self.waiting.insert(batch, None);
        while self.waiting.len() > HALVES {
            self.forgotten = self.waiting.pop_first().map(|(oldest, _)| oldest).max(self.forgotten);
        }
    }

    /// One has come. * returns: the answer of the whole, once it is known.
    pub(crate) fn came(&mut self, batch: BatchId, result: Result<(), String>) -> Option<Result<(), String>> {
        match self.waiting.get_mut(&batch) {
            None if self.forgotten.is_some_and(|forgotten| batch <= forgotten) => {
                Some(result.and_then(|()| Err("its other half was not waited for".to_owned())))
            }
            // Not one of two.
            None => Some(result),
            Some(first @ None) => {
                *first = Some(result);
                None
            }
            Some(Some(_)) => {
                let first = self.waiting.remove(&batch).flatten();
                Some(first.unwrap_or(Ok(())).and(result))
            }
        }
    }
}

#[cfg(test)]
mod wire_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_two_halves_is_answered_once_and_fails_with_either() {
        let failed = || Err("no".to_owned());
        for (first, second, whole) in
            [(Ok(()), Ok(()), Ok(())), (failed(), Ok(()), failed()), (Ok(()), failed(), failed())]
        {
            let mut halves = Halves::default();
            halves.expect(BatchId(1));
            assert_eq!(halves.came(BatchId(1), first), None);
            assert_eq!(halves.came(BatchId(2), Ok(())), Some(Ok(())), "a batch of the journal alone");
            assert_eq!(halves.came(BatchId(1), second), Some(whole));
            assert_eq!(halves.came(BatchId(1), Ok(())), Some(Ok(())), "forgotten");
        }
    }

    #[test]
    fn of_very_many_batches_the_oldest_are_not_waited_for_and_never_taken_for_written() {
        let mut halves = Halves::default();
        let most = HALVES as u64;
        (0..most + 10).for_each(|batch| halves.expect(BatchId(batch)));
        assert_eq!(halves.waiting.len(), HALVES);
        for oldest in [0, 9] {
            assert!(halves.came(BatchId(oldest), Ok(())).is_some_and(|whole| whole.is_err()), "{oldest}");
        }
        assert_eq!(halves.came(BatchId(10), Ok(())), None);
        assert_eq!(halves.came(BatchId(10), Ok(())), Some(Ok(())));
        assert_eq!(halves.came(BatchId(most + 10), Ok(())), Some(Ok(())), "a batch of the journal alone");
    }

    #[test]
    fn a_ledger_is_read_back_as_it_was_written_and_a_later_form_is_refused() {
        let ledger = Ledger { held: Some("sfr-1".into()), ..Ledger::default() };
        let bytes = serde_json::to_vec(&Written { form: FORM, ledger: &ledger }).expect("it serialises");
        assert_eq!(decode(&bytes), Ok(ledger.clone()));
        let later = serde_json::to_vec(&Written { form: FORM + 1, ledger: &ledger }).expect("it serialises");
        assert_eq!(decode(&later), Err("form 2".to_owned()), "a form that nobody here knows");
        assert!(decode(b"{").is_err());
    }
}
