//! The shape of the file, and the settings it is opened with.

use crate::JournalError;
use rusqlite::Connection;

/// "mjrn": tells our files from other people's databases.
const APPLICATION_ID: i64 = 0x6d6a_726e;
/// Raised with every change of the tables or of a record's encoding.
pub(crate) const FORMAT: i64 = 16;

/// `record` holds the present hours, in the order of arrival and without an index: an append touches only the
/// last page, however many streams there are. `block` holds the hours that were packed.
const TABLES: &str = "
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    checkpoint INTEGER -- sequence number of the last one
) STRICT;
CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    at INTEGER NOT NULL, -- wall time in ms; may jump
    flags INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE block (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    checkpoint INTEGER, -- sequence number of the last one in it
    earliest INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX block_of_stream ON block (stream, last_seq);
";

/// Opens for writing: settings, and the tables where the file is new.
pub(crate) fn prepare(connection: &Connection, max_bytes: u64) -> Result<(), JournalError> {
    let failed = JournalError::of;
    let fresh = number(connection, "SELECT count(*) FROM sqlite_schema")? == 0;
    if fresh {
        // Must come before the first page is written.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed("set auto_vacuum"))?;
    }
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .map_err(failed("switch to WAL"))?;
    for (name, value) in [
        ("synchronous", 1_i64),
        // A tick dirties few pages; the cache is for reads, which go to blocks once.
        ("cache_size", -1024),
        // A log that grew under a long read is given back.
        ("journal_size_limit", 4 << 20),
        ("wal_autocheckpoint", 512),
        ("temp_store", 2),
    ] {
        connection.pragma_update(None, name, value).map_err(failed("configure the journal"))?;
    }
    // The last resort if dropping blocks cannot keep to the limit: the file never passes it by a quarter.
    let page = number(connection, "SELECT page_size FROM pragma_page_size")?.max(512);
    let pages = i64::try_from(max_bytes / 4 * 5).unwrap_or(i64::MAX) / page;
    connection
        .pragma_update_and_check(None, "max_page_count", pages.max(16), |_| Ok(()))
        .map_err(failed("limit the journal"))?;
    if fresh {
        let sql = format!(
            "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {TABLES} COMMIT;"
        );
        connection.execute_batch(&sql).map_err(failed("create the journal"))?;
    }
    Ok(())
}

/// Whether the file is one of ours and of a format that we read; a new file is neither and fails.
pub(crate) fn verify(connection: &Connection) -> Result<(), JournalError> {
    if number(connection, "SELECT application_id FROM pragma_application_id")? != APPLICATION_ID {
        return Err(JournalError::Corrupt { action: "open", what: "it is some other database".to_owned() });
    }
    let found = number(connection, "SELECT user_version FROM pragma_user_version")?;
    if found != FORMAT {
        return Err(JournalError::Format { found, known: FORMAT });
    }
    Ok(())
}

pub(crate) fn number(connection: &Connection, sql: &str) -> Result<i64, JournalError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, Option<i64>>(0)))
        .map(Option::unwrap_or_default)
        .map_err(JournalError::of("read the journal"))
}
