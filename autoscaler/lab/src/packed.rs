//! Files that may be packed: told by their first bytes, never by the name.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// How many first bytes are looked at.
const HEAD: u64 = 64;
/// The first bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A reader whose first bytes have been looked at.
pub(crate) type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// What a file says, unpacked where it is gzip: all members of it, one after the other.
pub(crate) enum Opened<R: BufRead> {
    /// As it is.
    Plain(Peeked<R>),
    /// Out of gzip.
    Packed(BufReader<Unpacked<MultiGzDecoder<Peeked<R>>>>),
}

/// Looks whether a file is packed.
pub(crate) fn opened<R: BufRead>(reader: R) -> io::Result<Opened<R>> {
    let (head, reader) = peek(reader)?;
    Ok(if head.starts_with(&GZIP) {
        Opened::Packed(BufReader::new(Unpacked(MultiGzDecoder::new(reader))))
    } else {
        Opened::Plain(reader)
    })
}

/// The first bytes, and a reader that begins with them.
pub(crate) fn peek<R: BufRead>(mut reader: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::new();
    (&mut reader).take(HEAD).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

impl<R: BufRead> Read for Opened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Packed(reader) => reader.read(buffer),
        }
    }
}

impl<R: BufRead> BufRead for Opened<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(reader) => reader.fill_buf(),
            Self::Packed(reader) => reader.fill_buf(),
        }
    }
    fn consume(&mut self, amount: usize) {
        match self {
            Self::Plain(reader) => reader.consume(amount),
            Self::Packed(reader) => reader.consume(amount),
        }
    }
}

/// What gzip unpacks to, with errors that say what is wrong with the file.
pub(crate) struct Unpacked<R>(R);

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                error.kind(),
                "the gzip data breaks off before its end; expected a complete file: copy it again",
            ),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => io::Error::new(
                error.kind(),
                format!("the gzip data is damaged ({error}); copy the file again"),
            ),
            _ => error,
        })
    }
}
