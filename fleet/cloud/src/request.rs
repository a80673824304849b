//! A request, read whole and within bounds.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use std::net::SocketAddr;

/// The largest body that is read; EC2's own limit is of this order.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// A request that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who speaks: instances are told apart by it.
    pub peer: SocketAddr,
}

impl Request {
    /// A header's value; `None` where it is absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    /// The path, as it was sent.
    pub fn path(&self) -> &str {
        self.uri.path()
    }
    /// The query string, as it was sent; empty where there is none.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
    /// The application's own name in the user agent (`app/NAME`), as every SDK sends it when it is configured.
    pub fn app_id(&self) -> Option<&str> {
        let words = |header| self.header(header).into_iter().flat_map(str::split_whitespace);
        words("user-agent").chain(words("x-amz-user-agent")).find_map(|word| word.strip_prefix("app/"))
    }
}
