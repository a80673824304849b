//! The one TLS provider of the process.

/// Makes ring the provider of every TLS connection that does not name another. Idempotent.
///
/// The HTTP client is built without a provider of its own, so that the binary carries one and not two.
pub fn install_provider() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client in the making for addresses of one kind.
///
/// * `secure`: whether they are `https`. Otherwise nobody's certificate is looked at, and a host that trusts none, such as
///   a container with nothing but this program in it, is good enough.
pub fn client(secure: bool) -> reqwest::ClientBuilder {
    install_provider();
    let builder = reqwest::Client::builder();
    if secure { builder } else { builder.tls_certs_only([]) }
}
