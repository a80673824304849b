//! What is behind `muster-image`: decisions that are pure (what a channel becomes, what goes and what stays, what a machine's
//! facts say of its image), and what carries them out through one port to AWS, Packer, and a machine that boots.

pub mod account;
pub mod bake;
pub mod channel;
pub mod janitor;
pub mod publish;
pub mod verify;

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
