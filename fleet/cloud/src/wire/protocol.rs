//! AWS's protocols: how a request of each is read and an answer is written.

use super::{AwsError, Data, cbor, json, xml};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use std::fmt::Write as _;

/// A complete answer, before faults are laid on it.
pub(crate) type Answer = Response<Bytes>;

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// EC2's own Query dialect.
    Ec2,
    /// AWS Query, with the namespace of its answers.
    Query(&'static str),
    /// AWS JSON, `1.0` or `1.1`.
    Json(&'static str),
    /// Smithy RPC v2 CBOR.
    Cbor,
}

/// The namespace of EC2's answers.
const EC2_NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");

impl Protocol {
    /// Reads the body of a request.
    pub fn read(self, body: &[u8]) -> Result<Data, AwsError> {
        match self {
            Self::Ec2 | Self::Query(_) => super::form::parse(body),
            Self::Json(_) => json::read(body),
            Self::Cbor => cbor::read(body),
        }
    }

    /// Writes the answer to an operation that was carried out.
    pub fn success(self, operation: &str, request_id: &str, value: &Data) -> Answer {
        let body = match self {
            Self::Ec2 => {
                let mut out = XML_HEAD.to_owned();
                // Writing to a `String` cannot fail.
                let _ = write!(
                    out,
                    "<{operation}Response xmlns=\"{EC2_NAMESPACE}\"><requestId>{request_id}</requestId>"
                );
                xml::write(&mut out, value, "item");
                let _ = write!(out, "</{operation}Response>");
                out.into_bytes()
            }
            Self::Query(namespace) => {
                let mut out = format!("<{operation}Response xmlns=\"{namespace}\"><{operation}Result>");
                xml::write(&mut out, value, "member");
                let _ = write!(
                    out,
                    "</{operation}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                     </{operation}Response>"
                );
                out.into_bytes()
            }
            Self::Json(_) => json::to_value(value).to_string().into_bytes(),
            Self::Cbor => cbor::write(value),
        };
        self.answer(StatusCode::OK, request_id, body)
    }

    /// Writes a refusal.
    pub fn refusal(self, request_id: &str, error: &AwsError) -> Answer {
        let mut code = String::new();
        let known = error.query_code.filter(|_| matches!(self, Self::Query(_))).unwrap_or(&error.code);
        xml::write(&mut code, &known.into(), "");
        let mut message = String::new();
        xml::write(&mut message, &error.message.as_str().into(), "");
        let body = match self {
            Self::Ec2 => format!(
                "{XML_HEAD}<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>{request_id}</RequestID></Response>"
            )
            .into_bytes(),
            Self::Query(namespace) => format!(
                "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{}</Type><Code>{code}</Code>\
                 <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
                error.sender()
            )
            .into_bytes(),
            Self::Json(_) => {
                serde_json::json!({"__type": error.code, "message": error.message}).to_string().into_bytes()
            }
            Self::Cbor => cbor::write(&super::map([
                ("__type", error.code.as_str().into()),
                ("message", error.message.as_str().into()),
            ])),
        };
        let mut answer = self.answer(error.status, request_id, body);
        if matches!(self, Self::Json(_) | Self::Cbor) {
            insert(&mut answer, ERROR_TYPE, &error.code);
            // Services that once spoke Query say its code too; those of JSON 1.1 never did.
            if let Some(query_code) = error.query_code.filter(|_| self != Self::Json("1.1")) {
                insert(&mut answer, QUERY_ERROR, &format!("{query_code};{}", error.sender()));
            }
        }
        answer
    }

    /// The refusal of an operation that the service does not have, in the protocol's words.
    pub fn unknown_operation(self, name: &str) -> AwsError {
        let name: String = name.chars().take(64).collect();
        match self {
            Self::Ec2 => AwsError::new(
                "InvalidAction",
                format!("The action {name} is not valid for this web service."),
            ),
            Self::Query(_) => AwsError::new("InvalidAction", format!("Could not find operation {name}")),
            Self::Json(_) => AwsError::new("UnknownOperationException", format!("no operation {name}")),
            Self::Cbor => AwsError::new("UnknownOperationException", format!("no operation {name}"))
                .with_status(StatusCode::NOT_FOUND),
        }
    }
    fn answer(self, status: StatusCode, request_id: &str, body: Vec<u8>) -> Answer {
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = status;
        insert(&mut answer, REQUEST_ID, request_id);
        insert(
            &mut answer,
            CONTENT_TYPE,
            match self {
                Self::Ec2 => "text/xml;charset=UTF-8",
                // Vault's AWS login takes no other type from STS.
                Self::Query(_) => "text/xml",
                Self::Json("1.0") => "application/x-amz-json-1.0",
                Self::Json(_) => "application/x-amz-json-1.1",
                Self::Cbor => "application/cbor",
            },
        );
        if self == Self::Cbor {
            insert(&mut answer, SMITHY_PROTOCOL, "rpc-v2-cbor");
        }
        answer
    }
}

const XML_HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn insert(answer: &mut Answer, name: HeaderName, value: &str) {
    // A value that no header can hold is left out: it is only ever a repetition of the body.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::map;
    use super::*;

    fn body(answer: &Answer) -> &str {
        std::str::from_utf8(answer.body()).expect("text")
    }

    #[test]
    fn ec2_answers_in_its_own_xml() {
        let answer = Protocol::Ec2.success("ModifyFleet", "r-1", &map([("return", true.into())]));
        assert_eq!(
            body(&answer),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ModifyFleetResponse \
             xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r-1</requestId><return>true</return>\
             </ModifyFleetResponse>"
        );
        let error = AwsError::new("RequestLimitExceeded", "Request limit exceeded.")
            .with_status(StatusCode::SERVICE_UNAVAILABLE);
        let answer = Protocol::Ec2.refusal("r-2", &error);
        assert_eq!(answer.status(), 503);
        assert_eq!(
            body(&answer),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
             <Message>Request limit exceeded.</Message></Error></Errors><RequestID>r-2</RequestID></Response>"
        );
    }

    #[test]
    fn sts_answers_as_vault_wants_it() {
        let answer = Protocol::Query("https://sts.amazonaws.com/doc/2011-06-15/").success(
            "GetCallerIdentity",
            "r-1",
            &map([("Account", "123456789012".into())]),
        );
        assert_eq!(answer.headers()["content-type"], "text/xml");
        assert_eq!(
            body(&answer),
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        );
    }

    #[test]
    fn json_and_cbor_refusals_name_both_codes() {
        let error =
            AwsError::new("com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
                .with_query_code("AWS.SimpleQueueService.NonExistentQueue");
        for protocol in [Protocol::Json("1.0"), Protocol::Cbor] {
            let answer = protocol.refusal("r-1", &error);
            assert_eq!(answer.status(), 400);
            assert_eq!(
                answer.headers()["x-amzn-query-error"],
                "AWS.SimpleQueueService.NonExistentQueue;Sender"
            );
            let read = protocol.read(answer.body()).expect("its own protocol");
            assert_eq!(read.get("__type").as_str(), Some("com.amazonaws.sqs#QueueDoesNotExist"));
        }
    }
}
