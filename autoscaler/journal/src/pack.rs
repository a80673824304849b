//! Keeping small: hours that are over become compressed blocks; the oldest blocks go when the limit is reached.

use crate::schema::number;
use crate::store::{CHECKPOINT, checksum};
use crate::{Journal, JournalError, Stored};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use fleet::Timestamp;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// What one round of tidying did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Records that went into blocks.
    pub packed: u64,
    /// Blocks that were dropped to keep to the limit.
    pub dropped: u64,
    /// Whether there is more to do at once.
    pub more: bool,
    /// Whether the journal is over its limit and may drop nothing more: what is left is needed for a restore.
    pub over_limit: bool,
}

/// How much is packed in one go: bounds both the memory it takes and how long an append may wait for it.
const SLICE_BYTES: usize = 4 << 20;
/// A block that claims to be larger than this is damaged.
const MOST_BYTES: u64 = 256 << 20;
/// Pages given back to the file system in one go (4 MiB).
const VACUUM_PAGES: i64 = 1024;
/// Blocks dropped in one go.
const DROP_AT_ONCE: usize = 64;

/// Records of one stream, by columns: what repeats from record to record lies together and compresses.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Block {
    /// Distance to the sequence number before.
    seqs: Vec<i64>,
    /// Distance to the time before, in ms; wall time may go back.
    ats: Vec<i64>,
    /// Indices of checkpoints.
    checkpoints: Vec<u64>,
    lengths: Vec<u64>,
    bytes: Vec<u8>,
}

pub(crate) fn tidy(journal: &mut Journal, now: Timestamp) -> Result<Tidied, JournalError> {
    let (packed, more) = pack_slice(journal, now)?;
    let mut tidied = Tidied { packed, more, ..Tidied::default() };
    // Begin below the limit, so that the appends until the next round fit.
    let high = journal.limits.bytes / 20 * 19;
    if journal.used_bytes()? > high {
        tidied.dropped = drop_blocks(journal, DROP_AT_ONCE)?;
        tidied.more |= tidied.dropped > 0;
        tidied.over_limit = tidied.dropped == 0 && journal.used_bytes()? > journal.limits.bytes;
    }
    vacuum(journal)?;
    Ok(tidied)
}

/// Packs the oldest slice of records of one past hour.
///
/// "Past" is any hour but the present one: after a jump of the wall clock records of the future do not wait for
/// it. Slices are runs of sequence numbers, so that what is deleted is whole pages.
fn pack_slice(journal: &mut Journal, now: Timestamp) -> Result<(u64, bool), JournalError> {
    let failed = || JournalError::of("pack the journal");
    let hour = journal.limits.block;
    let first: Option<i64> = journal
        .connection
        .query_row("SELECT at FROM record ORDER BY seq LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(failed())?;
    let Some(first) = first.map(|at| Timestamp::from_millis(at).floor(hour)) else { return Ok((0, false)) };
    if first == now.floor(hour) {
        return Ok((0, false));
    }
    let transaction =
        journal.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
    let mut slices: BTreeMap<i64, Vec<Stored>> = BTreeMap::new();
    let mut last = 0;
    let mut count = 0_u64;
    {
        let mut size = 0;
        let mut select = transaction
            .prepare_cached("SELECT seq, at, flags, crc, bytes, stream FROM record ORDER BY seq")
            .map_err(failed())?;
        let mut rows = select.query([]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let stored = stored_of(row)?;
            if stored.at.floor(hour) != first || size > SLICE_BYTES {
                break;
            }
            size += stored.bytes.len() + 64;
            last = stored.seq;
            count += 1;
            slices.entry(row.get(5).map_err(failed())?).or_default().push(stored);
        }
    }
    for (stream, records) in slices {
        insert_block(&transaction, stream, &records)?;
    }
    transaction.execute("DELETE FROM record WHERE seq <= ?1", [last]).map_err(failed())?;
    transaction.commit().map_err(failed())?;
    Ok((count, true))
}

/// Reads `seq, at, flags, crc, bytes` and checks the checksum.
pub(crate) fn stored_of(row: &rusqlite::Row<'_>) -> Result<Stored, JournalError> {
    let failed = || JournalError::of("read a record");
    let seq: i64 = row.get(0).map_err(failed())?;
    let at: i64 = row.get(1).map_err(failed())?;
    let flags: i64 = row.get(2).map_err(failed())?;
    let crc: i64 = row.get(3).map_err(failed())?;
    let bytes: Vec<u8> = row.get(4).map_err(failed())?;
    if i64::from(checksum(&bytes)) != crc {
        let what = format!("record {seq} does not match its checksum");
        return Err(JournalError::Corrupt { action: "read a record", what });
    }
    Ok(Stored { seq, at: Timestamp::from_millis(at), checkpoint: flags & CHECKPOINT != 0, bytes })
}

fn insert_block(transaction: &Transaction<'_>, stream: i64, records: &[Stored]) -> Result<(), JournalError> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
    let checkpoint = records.iter().rev().find(|record| record.checkpoint).map(|record| record.seq);
    let earliest = records.iter().map(|record| record.at).min().unwrap_or(first.at);
    let latest = records.iter().map(|record| record.at).max().unwrap_or(last.at);
    transaction
        .prepare_cached(
            "INSERT INTO block (stream, first_seq, last_seq, checkpoint, earliest, latest, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                stream,
                first.seq,
                last.seq,
                checkpoint,
                earliest.millis(),
                latest.millis(),
                compress(records),
            ])
        })
        .map(|_| ())
        .map_err(JournalError::of("write a block"))
}

fn compress(records: &[Stored]) -> Vec<u8> {
    let mut block = Block::default();
    let (mut seq, mut at) = (0, 0);
    for (index, record) in (0_u64..).zip(records) {
        block.seqs.push(record.seq - seq);
        block.ats.push(record.at.millis().wrapping_sub(at));
        (seq, at) = (record.seq, record.at.millis());
        if record.checkpoint {
            block.checkpoints.push(index);
        }
        block.lengths.push(record.bytes.len() as u64);
        block.bytes.extend_from_slice(&record.bytes);
    }
    let plain = postcard::to_stdvec(&block).expect("numbers and bytes are always encoded");
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// The records of a block, oldest first.
pub(crate) fn unpack(compressed: &[u8]) -> Result<Vec<Stored>, JournalError> {
    let damaged = |what: &str| JournalError::Corrupt { action: "unpack a block", what: what.to_owned() };
    let mut plain = Vec::new();
    // Zlib ends with a checksum of everything before.
    ZlibDecoder::new(compressed)
        .take(MOST_BYTES)
        .read_to_end(&mut plain)
        .map_err(|_| damaged("a block does not match its checksum"))?;
    let block: Block = postcard::from_bytes(&plain).map_err(|_| damaged("a block has another shape"))?;
    let Block { seqs, ats, checkpoints, lengths, bytes } = block;
    let mut rest = bytes.as_slice();
    let (mut seq, mut at) = (0_i64, 0_i64);
    let mut records = Vec::with_capacity(seqs.len());
    for (index, ((seq_step, at_step), length)) in (0_u64..).zip(seqs.into_iter().zip(ats).zip(lengths)) {
        seq = seq.wrapping_add(seq_step);
        at = at.wrapping_add(at_step);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, behind) = rest.split_at_checked(length).ok_or_else(|| damaged("a block is too short"))?;
        rest = behind;
        records.push(Stored {
            seq,
            at: Timestamp::from_millis(at),
            checkpoint: checkpoints.binary_search(&index).is_ok(),
            bytes: bytes.to_vec(),
        });
    }
    Ok(records)
}

/// Drops up to `most` of the oldest blocks that no restore needs.
///
/// * returns: how many went. A stream that never had a checkpoint keeps everything.
pub(crate) fn drop_blocks(journal: &Journal, most: usize) -> Result<u64, JournalError> {
    let dropped = journal
        .connection
        .prepare_cached(
            "DELETE FROM block WHERE id IN (
                 SELECT block.id FROM block JOIN stream ON stream.id = block.stream
                 WHERE block.last_seq < stream.checkpoint ORDER BY block.id LIMIT ?1)",
        )
        .and_then(|mut delete| delete.execute([i64::try_from(most).unwrap_or(i64::MAX)]))
        .map_err(JournalError::of("drop the oldest blocks"))?;
    Ok(dropped as u64)
}

fn vacuum(journal: &Journal) -> Result<(), JournalError> {
    // Free pages are reused by the next appends; only what is plenty is given back.
    if number(&journal.connection, "SELECT freelist_count FROM pragma_freelist_count")? < VACUUM_PAGES {
        return Ok(());
    }
    let failed = || JournalError::of("give back space");
    let sql = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
    let mut statement = journal.connection.prepare(&sql).map_err(failed())?;
    // Every row that is stepped over is a page that was given back.
    let mut rows = statement.query([]).map_err(failed())?;
    while rows.next().map_err(failed())?.is_some() {}
    Ok(())
}
