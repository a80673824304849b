//! The one TLS provider of the process.

/// Makes ring the provider of every TLS connection that does not name another. Idempotent.
///
/// The HTTP client is built without a provider of its own, so that the binary carries one and not two.
pub fn install_provider() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
