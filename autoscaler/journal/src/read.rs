//! Reading: to restore, to explain, to replay.

use crate::schema::verify;
use crate::{JOURNAL_FILE, Journal, JournalError, pack};
use fleet::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Orders the records of all streams.
    pub seq: i64,
    /// When, by the wall; may go back where the clock did.
    pub at: Timestamp,
    /// Whether a restore may begin with it.
    pub checkpoint: bool,
    /// The record.
    pub bytes: Vec<u8>,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record there is.
    Oldest,
    /// With the last checkpoint; with the oldest record where there is none.
    LastCheckpoint,
    /// With the last checkpoint written at or before this time, so that a replay reaches the time with all that
    /// was known; with the oldest record where there is none.
    CheckpointBefore(Timestamp),
    /// With the record that follows this sequence number.
    After(i64),
}

/// What there is of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// The time of the oldest record.
    pub earliest: Timestamp,
    /// The time of the newest.
    pub latest: Timestamp,
    /// Whether it has a checkpoint.
    pub checkpointed: bool,
}

/// The journal, open for reading: beside the daemon that writes it, or after its end.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the journal of a state directory, changing nothing in it.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(JOURNAL_FILE);
        if !path.exists() {
            return Err(JournalError::Missing { path });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&path, flags).map_err(JournalError::of("open the journal"))?;
        match verify(&connection) {
            Ok(()) => Ok(Self { connection }),
            Err(error @ (JournalError::Corrupt { .. } | JournalError::Format { .. })) => Err(error),
            // A reader has to write to the shared-memory file; where it may not and nobody writes the journal,
            // the file alone is the whole truth.
            Err(error) => Self::open_alone(&path).map_err(|_| error),
        }
    }

    fn open_alone(path: &Path) -> Result<Self, JournalError> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        if std::fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            return Err(JournalError::Missing { path: path.to_owned() });
        }
        let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
            .map_err(JournalError::of("open the journal"))?;
        verify(&connection)?;
        Ok(Self { connection })
    }

    /// The streams that have records, by name.
    pub fn streams(&self) -> Result<Vec<StreamInfo>, JournalError> {
        streams(&self.connection)
    }

    /// Visits the records of a stream in order, until the visitor has enough.
    ///
    /// * An unknown stream has no records.
    /// * Fails with [`JournalError::Corrupt`] at a damaged record; what was visited before is sound.
    pub fn visit(
        &self,
        stream: &str,
        start: Start,
        visitor: impl FnMut(Stored) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        // One view of the file: what is packed meanwhile must be met neither twice nor not at all.
        let _view = self.connection.unchecked_transaction().map_err(JournalError::of("read the journal"))?;
        let Some((id, last_checkpoint)) = stream_of(&self.connection, stream)? else { return Ok(()) };
        let from = match start {
            Start::Oldest => 0,
            Start::LastCheckpoint => last_checkpoint.unwrap_or(0),
            Start::After(seq) => seq.saturating_add(1),
            Start::CheckpointBefore(time) => checkpoint_before(&self.connection, id, time)?,
        };
        visit(&self.connection, id, from, visitor)
    }
}

impl Journal {
    /// Visits what a restart needs: of every stream its last checkpoint and all that follows, each stream in
    /// order, the streams mixed.
    ///
    /// * A stream that never had a checkpoint is visited whole.
    /// * A damaged record, or one that the visitor calls [`JournalError::Corrupt`], ends its own stream and no
    ///   other: what was visited is sound, and older than it should be where a stream was cut short. The first
    ///   such error is returned once all is visited.
    pub fn restore(
        &self,
        mut visitor: impl FnMut(&str, Stored) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let failed = || JournalError::of("restore from the journal");
        let mut streams = self.restored_streams()?;
        let mut damage = None;
        let mut cut_short = |stream: &mut Restoring, error| match error {
            error @ JournalError::Corrupt { .. } => {
                stream.ended = true;
                damage.get_or_insert(error);
                Ok(())
            }
            other => Err(other),
        };
        for (id, stream) in &mut streams {
            let mut outcome = Ok(());
            let visited = visit_blocks(&self.connection, *id, stream.from, |stored| {
                outcome = visitor(&stream.name, stored);
                if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if let Err(error) = visited.map(|_| ()).and(outcome) {
                cut_short(stream, error)?;
            }
        }
        // One pass over the records of the present hour serves all streams.
        let mut select = self
            .connection
            .prepare_cached("SELECT seq, at, flags, crc, bytes, stream FROM record ORDER BY seq")
            .map_err(failed())?;
        let mut rows = select.query([]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let (seq, id): (i64, i64) = (row.get(0).map_err(failed())?, row.get(5).map_err(failed())?);
            let Some(stream) = streams.get_mut(&id).filter(|stream| !stream.ended && seq >= stream.from)
            else {
                continue;
            };
            if let Err(error) = pack::stored_of(row).and_then(|stored| visitor(&stream.name, stored)) {
                cut_short(stream, error)?;
            }
        }
        damage.map_or(Ok(()), Err)
    }

    fn restored_streams(&self) -> Result<BTreeMap<i64, Restoring>, JournalError> {
        let failed = || JournalError::of("list the streams");
        let mut select = self
            .connection
            .prepare_cached("SELECT id, name, ifnull(checkpoint, 0) FROM stream")
            .map_err(failed())?;
        let rows = select
            .query_map([], |row| {
                Ok((row.get(0)?, Restoring { name: row.get(1)?, from: row.get(2)?, ended: false }))
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

/// A stream that is being restored.
struct Restoring {
    name: String,
    /// The sequence number to begin with.
    from: i64,
    /// Whether damage cut it short.
    ended: bool,
}

fn streams(connection: &Connection) -> Result<Vec<StreamInfo>, JournalError> {
    let failed = || JournalError::of("list the streams");
    let mut select = connection
        .prepare_cached(
            "SELECT name, min(earliest), max(latest), stream.checkpoint IS NOT NULL FROM (
                 SELECT stream, min(earliest) AS earliest, max(latest) AS latest FROM block GROUP BY stream
                 UNION ALL SELECT stream, min(at), max(at) FROM record GROUP BY stream
             ) AS spans JOIN stream ON stream.id = spans.stream GROUP BY name ORDER BY name",
        )
        .map_err(failed())?;
    let rows = select
        .query_map([], |row| {
            Ok(StreamInfo {
                name: row.get(0)?,
                earliest: Timestamp::from_millis(row.get(1)?),
                latest: Timestamp::from_millis(row.get(2)?),
                checkpointed: row.get(3)?,
            })
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

fn stream_of(connection: &Connection, name: &str) -> Result<Option<(i64, Option<i64>)>, JournalError> {
    connection
        .prepare_cached("SELECT id, checkpoint FROM stream WHERE name = ?1")
        .and_then(|mut select| select.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(JournalError::of("look up a stream"))
}

/// The sequence number of the last checkpoint at or before a time; 0 where there is none.
fn checkpoint_before(connection: &Connection, stream: i64, time: Timestamp) -> Result<i64, JournalError> {
    let failed = || JournalError::of("look for a checkpoint");
    let in_records: Option<i64> = connection
        .prepare_cached("SELECT max(seq) FROM record WHERE stream = ?1 AND flags & 1 AND at <= ?2")
        .and_then(|mut select| select.query_row([stream, time.millis()], |row| row.get(0)))
        .map_err(failed())?;
    if let Some(seq) = in_records {
        return Ok(seq);
    }
    // The last checkpoint of a block may be too late and an earlier one in it just right: blocks are opened
    // from the newest candidate back until one has it.
    let mut select = connection
        .prepare_cached(
            "SELECT bytes FROM block WHERE stream = ?1 AND checkpoint IS NOT NULL AND earliest <= ?2
             ORDER BY last_seq DESC",
        )
        .map_err(failed())?;
    let mut rows = select.query([stream, time.millis()]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let bytes = row.get_ref(0).map_err(failed())?.as_blob().unwrap_or_default();
        let found = pack::unpack(bytes)?.into_iter().rev().find(|r| r.checkpoint && r.at <= time);
        if let Some(record) = found {
            return Ok(record.seq);
        }
    }
    Ok(0)
}

fn visit(
    connection: &Connection,
    stream: i64,
    from: i64,
    mut visitor: impl FnMut(Stored) -> ControlFlow<()>,
) -> Result<(), JournalError> {
    if visit_blocks(connection, stream, from, &mut visitor)?.is_break() {
        return Ok(());
    }
    let failed = || JournalError::of("read the journal");
    let mut select = connection
        .prepare_cached(
            "SELECT seq, at, flags, crc, bytes FROM record WHERE seq >= ?2 AND stream = ?1 ORDER BY seq",
        )
        .map_err(failed())?;
    let mut rows = select.query([stream, from]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        if visitor(pack::stored_of(row)?).is_break() {
            break;
        }
    }
    Ok(())
}

fn visit_blocks(
    connection: &Connection,
    stream: i64,
    from: i64,
    mut visitor: impl FnMut(Stored) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, JournalError> {
    let failed = || JournalError::of("read the journal");
    let mut select = connection
        .prepare_cached("SELECT bytes FROM block WHERE stream = ?1 AND last_seq >= ?2 ORDER BY last_seq")
        .map_err(failed())?;
    let mut rows = select.query([stream, from]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let bytes = row.get_ref(0).map_err(failed())?.as_blob().unwrap_or_default();
        for stored in pack::unpack(bytes)? {
            if stored.seq >= from && visitor(stored).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
