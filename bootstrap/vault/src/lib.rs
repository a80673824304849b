//! Vault for a node: a login, a token in a file, secrets in files, all of it kept fresh, and revoked at the end. It
//! takes the place of Vault Agent, and works with OpenBao as well.
//!
//! * [`Keeper`]: the whole of it. It has no task of its own; whoever holds it calls [`Keeper::step`] when
//!   [`Keeper::next_wake`] says so, and places what was rendered, by [`place::place`] or by somebody with more rights.
//! * [`VaultOptions`]: where Vault is, how to log in ([`Method`]), what to write where ([`Template`]).
//! * [`SignLogin`]: who signs for the method AWS. This crate knows nothing of AWS.
//! * [`VaultError`]: what can go wrong, told apart. Retries are the caller's.
//!
//! What is secret is a [`bootstrap_core::Secret`], shown by no error and no `Debug`, and wiped when it is let go, as are
//! bodies that held secrets. Copies inside the HTTP, TLS and template libraries are beyond that.

mod answer;
mod authorities;
mod client;
mod error;
mod keeper;
mod login;
mod options;
pub mod place;
mod request;
mod template;
mod tls;
mod token;
pub mod trust;
mod wiped;

pub use client::Client;
pub use error::VaultError;
pub use keeper::{Happened, Keeper, Stepped};
pub use login::{LoginRequest, SignLogin, Signing};
pub use options::{Destination, Method, SecretId, Server, Template, VaultOptions};
pub use template::{Rendered, TemplateError};
pub use wiped::Wiped;

/// The readers of outside bytes, for their fuzz targets.
#[doc(hidden)]
pub mod readers {
    use bootstrap_core::Now;

    /// An answer, and what templates see of it.
    pub fn answer(body: &[u8]) {
        if let Ok(envelope) = crate::answer::envelope(body) {
            let _ = envelope.data.and_then(crate::answer::fields_of);
        }
        let _ = crate::answer::words(body, str::to_owned);
    }

    /// What a keeper has left.
    pub fn state(bytes: &[u8], now: Now) {
        crate::keeper::reads(bytes, now);
    }

    /// A certificate.
    pub fn certificate(pem: &str, now: Now) {
        let _ = crate::request::remaining(pem, now);
    }
}
