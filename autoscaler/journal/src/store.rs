//! Writing: open, append.

use crate::schema::{number, prepare, verify};
use crate::{JOURNAL_FILE, JournalError, StateDir, directory, pack};
use fleet::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How large the journal may grow and how it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The file's size in bytes; the oldest blocks go first.
    pub bytes: u64,
    /// Records of one such step of wall time are packed together, once it is over.
    pub block: Duration,
}

impl Default for Limits {
    /// 1 GiB holds a fleet for years, or 500 fleets for days. An hour is what an `explain` reads at least.
    fn default() -> Self {
        Self { bytes: 1 << 30, block: Duration::from_secs(3600) }
    }
}

/// One record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whose it is.
    pub stream: &'a str,
    /// When, by the wall.
    pub at: Timestamp,
    /// Whether a restore of this stream may begin with it.
    pub checkpoint: bool,
    /// The record.
    pub bytes: &'a [u8],
}

/// The journal, open for writing. One process has it, by [`StateDir`].
#[derive(Debug)]
pub struct Journal {
    pub(crate) connection: Connection,
    pub(crate) limits: Limits,
    pub(crate) next_seq: i64,
    streams: HashMap<String, i64>,
    directory: PathBuf,
}

/// A journal that was opened, and what had to be done for that.
#[derive(Debug)]
pub struct Opened {
    /// Ready to be written to.
    pub journal: Journal,
    /// What was there before and could not be read. An operator should hear of it.
    pub set_aside: Option<SetAside>,
}

/// A journal that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

pub(crate) const CHECKPOINT: i64 = 1;
/// Damaged journals are evidence, but not at any price: so many are kept.
const KEPT_ASIDE: usize = 3;
/// What errors of appending say they were about.
const APPEND: &str = "append to the journal";

impl Journal {
    /// Opens the journal of a state directory, or begins one.
    ///
    /// What cannot be read is set aside as `journal.corrupt-<time>` and a fresh one begun: the answer says so.
    /// Only the file's frame is looked at here: checking a gigabyte would delay the first decision by seconds.
    /// Records and blocks carry checksums and are checked when they are read; see [`Journal::replace_damaged`].
    ///
    /// * `now`: for the name of what is set aside.
    /// * Fails where not even a fresh one can be had: [`JournalError::Full`], [`JournalError::Io`].
    pub fn open(directory: &StateDir, limits: Limits, now: Timestamp) -> Result<Opened, JournalError> {
        let path = directory.path();
        match Self::try_open(path, limits) {
            Ok(journal) => Ok(Opened { journal, set_aside: None }),
            Err(error) if error.is_unreadable() => {
                let set_aside = set_aside(path, now, &error)?;
                Ok(Opened { journal: Self::try_open(path, limits)?, set_aside: Some(set_aside) })
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up a journal that turned out damaged in use, and begins a fresh one in its place.
    pub fn replace_damaged(self, now: Timestamp, error: &JournalError) -> Result<Opened, JournalError> {
        let Self { connection, limits, directory, .. } = self;
        // Closing a damaged database may fail; its file is moved away either way.
        drop(connection);
        let set_aside = set_aside(&directory, now, error)?;
        Ok(Opened { journal: Self::try_open(&directory, limits)?, set_aside: Some(set_aside) })
    }

    fn try_open(directory: &Path, limits: Limits) -> Result<Self, JournalError> {
        let path = directory.join(JOURNAL_FILE);
        // SQLite would make the file by the umask; its companions take over the file's own mode.
        drop(directory::private(&mut OpenOptions::new(), &path)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(JournalError::of("open the journal"))?;
        prepare(&connection, limits.bytes)?;
        verify(&connection)?;
        let last = number(
            &connection,
            "SELECT max((SELECT ifnull(max(seq), 0) FROM record), (SELECT ifnull(max(last_seq), 0) FROM block))",
        )?;
        Ok(Self {
            connection,
            limits,
            next_seq: last + 1,
            streams: HashMap::new(),
            directory: directory.to_owned(),
        })
    }

    /// Writes the records of one tick in one transaction: all or none.
    ///
    /// * `durable`: whether they must be on the disk when this returns (an fsync). The others survive the death
    ///   of the process, and a power cut up to the last durable one.
    /// * Fails with [`JournalError::Full`] when there is no space even after the oldest blocks were given up.
    pub fn append(&mut self, entries: &[Entry<'_>], durable: bool) -> Result<(), JournalError> {
        self.append_with(durable, |tick| entries.iter().try_for_each(|entry| tick.push(*entry)))
    }

    /// As [`Journal::append`], for records that are made one by one, so that they need not all be in memory.
    ///
    /// * `write`: pushes the records. May be called twice, when space had to be found first. An error of its own
    ///   is returned, and nothing is kept.
    pub fn append_with(
        &mut self,
        durable: bool,
        mut write: impl FnMut(&mut Tick<'_>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        match self.try_append(durable, &mut write) {
            Err(JournalError::Full { .. }) => {
                self.make_room()?;
                self.try_append(durable, &mut write)
            }
            done => done,
        }
    }

    fn try_append(
        &mut self,
        durable: bool,
        write: &mut dyn FnMut(&mut Tick<'_>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let failed = || JournalError::of(APPEND);
        self.connection
            .pragma_update(None, "synchronous", if durable { 2_i64 } else { 1 })
            .map_err(failed())?;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let mut tick = Tick {
            transaction: &transaction,
            known: &self.streams,
            named: HashMap::new(),
            next_seq: self.next_seq,
        };
        write(&mut tick)?;
        let Tick { named, next_seq, .. } = tick;
        transaction.commit().map_err(failed())?;
        self.next_seq = next_seq;
        self.streams.extend(named);
        Ok(())
    }

    /// Finds space on a full disk: what the write-ahead log holds goes into the file's own free pages, and the
    /// oldest blocks make more of those. Each step may itself find no space: then the next may have made some.
    fn make_room(&self) -> Result<(), JournalError> {
        for step in [Self::truncate_log, Self::drop_some, Self::truncate_log] {
            match step(self) {
                Ok(()) | Err(JournalError::Full { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn drop_some(&self) -> Result<(), JournalError> {
        pack::drop_blocks(self, 64).map(|_| ())
    }

    fn truncate_log(&self) -> Result<(), JournalError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(JournalError::of("give back the write-ahead log"))
    }

    /// How many bytes of the file are in use.
    pub(crate) fn used_bytes(&self) -> Result<u64, JournalError> {
        let bytes = number(
            &self.connection,
            "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        )?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Packs a slice of what is old, and keeps to the byte limit. Call it now and then; again at once while the
    /// answer says `more`. Takes some ten milliseconds.
    pub fn tidy(&mut self, now: Timestamp) -> Result<pack::Tidied, JournalError> {
        pack::tidy(self, now)
    }
}

/// A transaction that takes records.
#[derive(Debug)]
pub struct Tick<'a> {
    transaction: &'a Transaction<'a>,
    known: &'a HashMap<String, i64>,
    /// Streams that are new with this transaction.
    named: HashMap<String, i64>,
    next_seq: i64,
}

impl Tick<'_> {
    /// Adds a record.
    pub fn push(&mut self, entry: Entry<'_>) -> Result<(), JournalError> {
        let failed = || JournalError::of(APPEND);
        let Entry { stream, at, checkpoint, bytes } = entry;
        let known = self.known.get(stream).or_else(|| self.named.get(stream)).copied();
        let stream = if let Some(id) = known {
            id
        } else {
            let id = stream_id(self.transaction, stream)?;
            self.named.insert(stream.to_owned(), id);
            id
        };
        let seq = self.next_seq;
        let flags = if checkpoint { CHECKPOINT } else { 0 };
        self.transaction
            .prepare_cached(
                "INSERT INTO record (seq, stream, at, flags, crc, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut insert| {
                insert.execute(params![seq, stream, at.millis(), flags, i64::from(checksum(bytes)), bytes])
            })
            .map_err(failed())?;
        if checkpoint {
            mark_checkpoint(self.transaction, stream, seq)?;
        }
        self.next_seq += 1;
        Ok(())
    }
}

fn stream_id(connection: &Connection, name: &str) -> Result<i64, JournalError> {
    let failed = || JournalError::of("name a stream of the journal");
    let found = connection
        .prepare_cached("SELECT id FROM stream WHERE name = ?1")
        .and_then(|mut statement| statement.query_row([name], |row| row.get(0)).optional())
        .map_err(failed())?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection.execute("INSERT INTO stream (name) VALUES (?1)", [name]).map_err(failed())?;
    Ok(connection.last_insert_rowid())
}

fn mark_checkpoint(connection: &Connection, stream: i64, seq: i64) -> Result<(), JournalError> {
    connection
        .prepare_cached("UPDATE stream SET checkpoint = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute([stream, seq]))
        .map(|_| ())
        .map_err(JournalError::of("mark a checkpoint"))
}

pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn set_aside(directory: &Path, now: Timestamp, error: &JournalError) -> Result<SetAside, JournalError> {
    let stamp: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let mut name = format!("journal.corrupt-{stamp}");
    let mut copy = 1;
    while directory.join(&name).exists() {
        copy += 1;
        name = format!("journal.corrupt-{stamp}-{copy}");
    }
    // The write-ahead log belongs to the file: together they can still be looked into.
    for suffix in ["", "-wal", "-shm"] {
        let from = directory.join(format!("{JOURNAL_FILE}{suffix}"));
        if from.exists() {
            let to = directory.join(format!("{name}{suffix}"));
            std::fs::rename(&from, to).map_err(JournalError::io("set aside", &from))?;
        }
    }
    forget_oldest_aside(directory);
    Ok(SetAside { path: directory.join(name), why: error.to_string() })
}

/// Best effort: what cannot be removed stays.
fn forget_oldest_aside(directory: &Path) {
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut aside: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.starts_with("journal.corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .collect();
    // Names sort by time.
    aside.sort();
    let surplus = aside.len().saturating_sub(KEPT_ASIDE);
    for name in aside.into_iter().take(surplus) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(directory.join(format!("{name}{suffix}")));
        }
    }
}
