//! Who a node is: instance identity documents that AWS has signed, and the tokens that are given for them.
//!
//! 1. [`Trust::open`] checks the signature of what an instance's metadata service has at
//!    `dynamic/instance-identity/rsa2048`, and answers with the [`Document`] that was signed.
//! 2. [`Rules::admit`] says whether that document is that of a living instance of ours that speaks for itself: a
//!    document is no secret, and is as good after its instance has gone.
//! 3. [`TokenKeys::issue`] makes a bearer token for that instance alone, [`TokenKeys::verify`] knows it again. Nothing
//!    is kept of it: every process that holds the same keys takes it.
//!
//! Nothing here reads a clock, a file or a socket. Why it is so, and what was rejected: docs/decisions/0047.

mod admit;
mod document;
mod pkcs7;
mod token;
mod trust;

pub use admit::{Described, NotAdmitted, Rules, SkewedBy};
pub use document::{Document, MAX_DOCUMENT_BYTES};
pub use pkcs7::{MAX_TEXT_BYTES, NotSigned};
pub use token::{KeysError, TokenKeys, TokenRefused};
pub use trust::{Trust, TrustError};
