//! How a service refuses.

use http::StatusCode;

/// A refusal in the service's own words: fits after "failed to modify the fleet: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct AwsError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The service's code, as the model of its current protocol spells it.
    pub code: String,
    /// The code that clients of the service's former Query protocol know, where it differs
    /// (`x-amzn-query-error`).
    pub query_code: Option<&'static str>,
    /// The service's words.
    pub message: String,
}

impl AwsError {
    /// A refusal with a status of 400, as most are.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: code.to_owned(),
            query_code: None,
            message: message.into(),
        }
    }
    /// The same with another status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
    /// The same with the code that clients of the Query protocol know.
    pub fn with_query_code(self, query_code: &'static str) -> Self {
        Self { query_code: Some(query_code), ..self }
    }
    /// Whose fault it is, in the words of the Query protocol.
    pub fn sender(&self) -> &'static str {
        if self.status.is_server_error() { "Receiver" } else { "Sender" }
    }
}
