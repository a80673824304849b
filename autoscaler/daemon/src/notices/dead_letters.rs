//! Messages that could not be read, kept for people.

use fleet::{MessageId, Timestamp};
use fleet_notices::Unread;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The file's name in the state directory, and that of what was in it before.
const FILE: &str = "dead-letters.jsonl";
const OLDER: &str = "dead-letters.1.jsonl";
/// A file that has grown to this is set aside in place of the one before it: no more than twice this is ever kept.
const FULL: u64 = 512 * 1024;
/// As much of a body as is kept: enough to see what it is.
const BODY: usize = 4096;

/// The record of messages that could not be read: a line of JSON each, the oldest set aside first, at most 1 MiB in
/// all. Clones share it.
///
/// Without a state directory nothing is kept, only counted.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    directory: Option<PathBuf>,
    letters: u64,
    oldest: Option<Timestamp>,
}

/// What is kept now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LettersKept {
    /// How many.
    pub letters: u64,
    /// When the oldest of them was recorded.
    pub oldest: Option<Timestamp>,
}

/// A message that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// When it was recorded.
    at: Timestamp,
    /// In which queue it was.
    queue: String,
    message: MessageId,
    sent: Timestamp,
    /// Why it could not be read: a word, and a sentence.
    reason: String,
    detail: String,
    /// Its beginning.
    body: String,
}

impl Letter {
    pub(super) fn new(at: Timestamp, queue: &str, message: &fleet::ports::Message, unread: &Unread) -> Self {
        let body = &message.body;
        Self {
            at,
            queue: queue.to_owned(),
            message: message.id.clone(),
            sent: message.sent,
            reason: unread.label().to_owned(),
            detail: unread.to_string(),
            body: body[..body.floor_char_boundary(BODY)].to_owned(),
        }
    }
}

impl DeadLetters {
    /// The record in a state directory, with what is in it already; a line that is no letter is passed over.
    pub fn open(directory: Option<&Path>) -> io::Result<Self> {
        let mut kept = Kept { directory: directory.map(Path::to_owned), letters: 0, oldest: None };
        if directory.is_some() {
            kept.count_again()?;
        }
        Ok(Self { kept: Arc::new(Mutex::new(kept)) })
    }
    /// What is kept now.
    pub fn kept(&self) -> LettersKept {
        let Kept { letters, oldest, .. } = &*self.locked();
        LettersKept { letters: *letters, oldest: *oldest }
    }
    /// Writes letters to the disk. Blocks. Fails when they are not there for certain.
    pub(super) fn put(&self, letters: &[Letter]) -> io::Result<()> {
        self.locked().put(letters)
    }
    fn locked(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves nothing half done in here but a line without its end, which is passed over.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn put(&mut self, letters: &[Letter]) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let path = directory.join(FILE);
        let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path)?;
        let mut lines = Vec::new();
        if !ends_a_line(&file)? {
            lines.push(b'\n');
        }
        for letter in letters {
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
        }
        whole(&file, |mut file| {
            file.write_all(&lines)?;
            file.sync_data()
        })?;
        self.letters += letters.len() as u64;
        self.oldest = self.oldest.or_else(|| letters.first().map(|letter| letter.at));
        if file.metadata()?.len() >= FULL {
            fs::rename(&path, directory.join(OLDER))?;
            self.count_again()?;
        }
        Ok(())
    }

    fn count_again(&mut self) -> io::Result<()> {
        (self.letters, self.oldest) = (0, None);
        let directory = self.directory.iter();
        let paths: Vec<PathBuf> =
            directory.flat_map(|directory| [OLDER, FILE].map(|name| directory.join(name))).collect();
        for path in paths {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in BufReader::new(file).split(b'\n') {
                if let Ok(letter) = serde_json::from_slice::<Letter>(&line?) {
                    self.letters += 1;
                    self.oldest = self.oldest.or(Some(letter.at));
                }
            }
        }
        Ok(())
    }
}

/// Whether what is written next begins a line: a process that died within a letter has left no end of one.
fn ends_a_line(file: &File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Writes at the end of a file, or leaves it as it was: half of a letter would be nobody's.
fn whole(file: &File, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let length = file.metadata()?.len();
    write(file).inspect_err(|_| {
        // Where that fails, too, the next letter begins a line of its own all the same.
        let _ = file.set_len(length);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::ports::{Message, Receipt};
    use std::os::unix::fs::PermissionsExt;

    fn letter(seconds: i64, body: &str) -> Letter {
        let message = Message {
            id: "m1".into(),
            receipt: Receipt("a secret".to_owned()),
            body: body.to_owned(),
            sent: Timestamp::EPOCH,
            deliveries: 1,
        };
        Letter::new(Timestamp::from_secs(seconds), "notices", &message, &Unread::Missing { field: "source" })
    }

    #[test]
    fn letters_outlive_the_process_and_tell_why() {
        let directory = tempfile::tempdir().expect("a directory");
        let letters = DeadLetters::open(Some(directory.path())).expect("a record");
        letters.put(&[letter(1, "{}"), letter(2, &"é".repeat(BODY))]).expect("written");
        let again = DeadLetters::open(Some(directory.path())).expect("a record");
        let expected = LettersKept { letters: 2, oldest: Some(Timestamp::from_secs(1)) };
        assert_eq!((letters.kept(), again.kept()), (expected, expected));
        let path = directory.path().join(FILE);
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.starts_with('{') && text.contains("source is missing"), "{text}");
        assert!(!text.contains("a secret") && text.len() < 2 * BODY + 1000);
        assert_eq!(fs::metadata(path).expect("the file").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn no_more_is_kept_than_was_said_and_the_oldest_goes_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let letters = DeadLetters::open(Some(directory.path())).expect("a record");
        let body = "x".repeat(BODY);
        for ten in 0..40 {
            let batch: Vec<Letter> = (0..10).map(|one| letter(ten * 10 + one, &body)).collect();
            letters.put(&batch).expect("written");
        }
        let size = |name| fs::metadata(directory.path().join(name)).map_or(0, |file| file.len());
        assert!(size(FILE) + size(OLDER) <= 2 * (FULL + 65_536), "{} and {}", size(FILE), size(OLDER));
        let LettersKept { letters: kept, oldest } = letters.kept();
        assert!((100..300).contains(&kept), "{kept}");
        let oldest = oldest.expect("some are kept").secs();
        assert_eq!(u64::try_from(400 - oldest), Ok(kept), "the newest ones");
    }

    #[test]
    fn a_line_that_was_cut_does_no_harm() {
        for cut in ["{\"at\":1,\n", "{\"at\":1,"] {
            let directory = tempfile::tempdir().expect("a directory");
            fs::write(directory.path().join(FILE), cut).expect("a file");
            let letters = DeadLetters::open(Some(directory.path())).expect("a record");
            letters.put(&[letter(5, "{}")]).expect("written");
            assert_eq!(letters.kept().letters, 1);
            let again = DeadLetters::open(Some(directory.path())).expect("a record");
            assert_eq!(again.kept(), letters.kept(), "{cut:?}");
        }
        let nowhere = DeadLetters::open(None).expect("a record");
        nowhere.put(&[letter(5, "{}")]).expect("nothing to write");
        assert_eq!(nowhere.kept(), LettersKept::default());
    }

    #[test]
    fn a_letter_is_written_whole_or_not_at_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let file =
            OpenOptions::new().create(true).append(true).open(directory.path().join(FILE)).expect("a file");
        let torn =
            whole(&file, |mut file| file.write_all(b"{\"at\"").and(Err(io::ErrorKind::StorageFull.into())));
        assert_eq!(torn.map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
        assert_eq!(file.metadata().expect("a file").len(), 0);
        whole(&file, |mut file| file.write_all(b"{}")).expect("there is room again");
        assert_eq!(file.metadata().expect("a file").len(), 2);
    }
}
