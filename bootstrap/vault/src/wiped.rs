//! Bytes that are overwritten when they are let go, also when they had to move while they grew.

use std::io::{self, Write};
use zeroize::Zeroizing;

/// Where secrets are gathered: the body of an answer, a request, a rendered file.
#[derive(Default)]
pub struct Wiped {
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
}

impl Wiped {
    /// Room for at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(1024.min(limit))), limit }
    }

    /// Adds some. * returns: `false` where that is more than may be, and nothing was added.
    #[must_use]
    pub fn append(&mut self, more: &[u8]) -> bool {
        let needed = self.bytes.len() + more.len();
        if needed > self.limit {
            return false;
        }
        if needed > self.bytes.capacity() {
            // A vector that grows leaves what it held behind.
            let mut moved = Zeroizing::new(Vec::with_capacity(needed.max(self.bytes.capacity() * 2)));
            moved.extend_from_slice(&self.bytes);
            self.bytes = moved;
        }
        self.bytes.extend_from_slice(more);
        true
    }

    /// What there is.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, still overwritten when it is let go.
    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

impl Write for Wiped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.append(more) { Ok(more.len()) } else { Err(io::Error::from(io::ErrorKind::FileTooLarge)) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_up_to_its_limit_and_no_further() {
        let mut wiped = Wiped::new(5000);
        for _ in 0..5 {
            assert!(wiped.append(&[7; 1000]));
        }
        assert!(!wiped.append(&[7]));
        assert_eq!(wiped.as_slice(), [7; 5000]);
        assert_eq!(
            Wiped::new(3).write(b"four").map_err(|error| error.kind()),
            Err(io::ErrorKind::FileTooLarge)
        );
    }
}
