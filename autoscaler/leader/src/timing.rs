//! The times that leadership hangs on. They are no settings: each is safe only beside the others.
//!
//! A lock that was not given back is free for others no sooner than [`LOCK_DELAY`] after its session ended, and a
//! session that ends because nobody feeds its check ends no sooner than [`CHECK_TTL`] after the last feeding. Both
//! lie after the last proof, and [`LEASE`] is shorter than either.

use std::time::Duration;

/// How often the check is fed and leadership proved. Two failures in a row leave time for a third try within
/// [`LEASE`].
pub const FEED_EVERY: Duration = Duration::from_secs(1);

/// How long after the beginning of the last proof a write may still be begun.
///
/// A second less than [`LOCK_DELAY`], so that even where a session is ended by force right after a proof, nobody
/// else leads before we have stopped: a second is 20 % of error in the clocks' rates.
pub const LEASE: Duration = Duration::from_secs(4);

/// The TTL of the check that the session hangs on. A session's own TTL would take 10 s at least, and up to twice
/// what it says.
pub const CHECK_TTL: Duration = Duration::from_secs(5);

/// How long Consul keeps a lock from others after its session ended.
///
/// With [`CHECK_TTL`] it leaves a call that was begun at the very end of a lease 6 s to end before anybody else
/// leads.
pub const LOCK_DELAY: Duration = Duration::from_secs(5);

/// How long a blocking query waits for the lock to change. Shorter than what lies between us and Consul tends to
/// allow an idle connection.
pub const WATCH_WAIT: Duration = Duration::from_secs(10);

/// How long one that could not act leaves a free lock to those that can. Beyond [`LOCK_DELAY`] there is time for a look at the lock
/// and a try; and where nobody else is there, it leads soon enough to do what it can.
pub const LEAVES_TO_OTHERS: Duration = Duration::from_secs(5);

/// How long a leader that could not act goes on, before it lets go of the lock for one that could.
pub const GIVES_WAY_AFTER: Duration = Duration::from_secs(60);

/// How long after that it keeps the lock that nobody else wanted, before it tries to give way once more: each try leaves everybody
/// without a leader for [`LOCK_DELAY`] and [`LEAVES_TO_OTHERS`] where there is nobody else.
pub const GIVES_WAY_AGAIN: Duration = Duration::from_secs(600);

/// The distance of attempts to take a lock that is free: Consul refuses during the lock delay and tells nobody
/// when that has passed. A refusal costs Consul's leader a look into a table, and no entry in its log.
pub const ACQUIRE_AGAIN: Duration = Duration::from_millis(300);

/// The pause after a call that failed.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long an answer is waited for. A shell ends its calls sooner than that, a blocking query [`WATCH_WAIT`] and
/// a sixteenth of it later.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long after the end of its lease a former leader goes on feeding its check. Who keeps a lock that it cannot
/// prove to have, because answers come too late, say, keeps everybody from leading. Beyond this, others would have
/// to wait too long; and where Consul itself was away for so long, the session is about to end in any case.
pub const CLING: Duration = Duration::from_secs(2);
