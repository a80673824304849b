//! Parameter Store: all that stands beneath a path.

use crate::error::{bounded, chain};
use crate::{Aws, AwsError, Operation};
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::types::ParameterType;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bootstrap_core::Secret;
use std::time::Duration;

/// The most parameters beneath a path, and the most bytes of them: a node's configuration has dozens.
const MOST_PARAMETERS: usize = 1000;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// What SSM gives in a page at most.
const PAGE: i32 = 10;

/// A parameter, decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The whole name, as it stands in the store: `/muster/web/nomad/gossip_key`.
    pub name: String,
    /// Its value. All are taken for secrets: SSM's types say what is encrypted in the store, not what is secret.
    pub value: Secret,
    /// Whether it is a SecureString.
    pub secure: bool,
    /// Counts its changes, from 1 on.
    pub version: i64,
}

impl Aws {
    /// All parameters beneath a path, in the order that SSM has them, decrypted, at whatever depth.
    ///
    /// * `path`: begins with a slash.
    ///
    /// Takes a call for each ten of them. More than 1000, or 4 MiB, are an error: that is another path than was
    /// meant. Needs `ssm:GetParametersByPath` on the path, and `kms:Decrypt` on the key of those that are
    /// encrypted by a key of one's own.
    pub async fn parameters(&self, path: &str) -> Result<Vec<Parameter>, AwsError> {
        let operation = || Operation::Parameters { path: path.to_owned() };
        let too_much = |limit: String| AwsError::TooMuch { operation: operation(), limit };
        let (mut found, mut bytes, mut token) = (Vec::new(), 0, None::<String>);
        loop {
            let call = self.ssm.get_parameters_by_path().path(path).recursive(true).with_decryption(true);
            let page = call.max_results(PAGE).set_next_token(token.clone()).send().await;
            let page = page.map_err(|error| refusal(operation(), &error))?;
            for parameter in page.parameters.unwrap_or_default() {
                let (Some(name), Some(value)) = (parameter.name, parameter.value) else { continue };
                bytes += name.len() + value.len();
                let secure = parameter.r#type == Some(ParameterType::SecureString);
                found.push(Parameter { name, value: Secret::new(value), secure, version: parameter.version });
            }
            if found.len() > MOST_PARAMETERS {
                return Err(too_much(format!("{MOST_PARAMETERS} parameters")));
            }
            if bytes > MOST_BYTES {
                return Err(too_much(format!("{MOST_BYTES} bytes of parameters")));
            }
            let next = page.next_token.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(found);
            }
            // Filtered pages may be empty, but a page that leads to itself never ends.
            if next == token {
                return Err(AwsError::Unanswered {
                    operation: operation(),
                    why: "a page leads to itself".to_owned(),
                });
            }
            token = next;
        }
    }

    /// A parameter by its name, decrypted.
    ///
    /// Needs `ssm:GetParameter` on it, and `kms:Decrypt` on its key where that is one of one's own.
    pub async fn parameter(&self, name: &str) -> Result<Parameter, AwsError> {
        let operation = || Operation::Parameter { name: name.to_owned() };
        let answer = self.ssm.get_parameter().name(name).with_decryption(true).send().await;
        let parameter = answer.map_err(|error| refusal(operation(), &error))?.parameter;
        let found = parameter.and_then(|parameter| {
            let secure = parameter.r#type == Some(ParameterType::SecureString);
            let value = Secret::new(parameter.value?);
            Some(Parameter { name: name.to_owned(), value, secure, version: parameter.version })
        });
        let why = || "the answer holds no parameter".to_owned();
        found.ok_or_else(|| AwsError::Unanswered { operation: operation(), why: why() })
    }
}

/// When the server said to come back, in seconds.
fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let after = answer.headers().get("retry-after")?;
    after.trim().parse().ok().map(Duration::from_secs)
}

fn refusal<E>(operation: Operation, error: &SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let (code, message) = (answer.err().code(), answer.err().message().unwrap_or_default());
            AwsError::refused(operation, status, code, message, retry_after(answer.raw()))
        }
        // Refused by somebody who does not speak as AWS does, such as a proxy in between.
        SdkError::ResponseError(answer) if !answer.raw().status().is_success() => {
            let status = answer.raw().status().as_u16();
            let message = "the answer is not in AWS's form: something in between may have given it";
            AwsError::refused(operation, status, None, message, retry_after(answer.raw()))
        }
        SdkError::ResponseError(_) => {
            let why = format!("the answer is not in AWS's form: {}", chain(error));
            AwsError::Unanswered { operation, why: bounded(&why) }
        }
        other => {
            let credentials = std::iter::successors(std::error::Error::source(other), |error| error.source())
                .find_map(|error| error.downcast_ref());
            match credentials {
                Some(error) => AwsError::credentials(error),
                None => AwsError::Unanswered { operation, why: bounded(&chain(other)) },
            }
        }
    }
}
