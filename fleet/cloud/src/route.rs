//! Which service a request is for, whatever host it names.

use crate::request::Request;
use crate::service::Service;
use crate::sigv4::Authorization;
use crate::wire::{AwsError, Data, Protocol, parse_form};
use http::Method;

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Route<'a> {
    /// The control endpoint; the rest of its path.
    Control(&'a str),
    /// The metadata service; the instance where the path names it, and the path as IMDS has it.
    Metadata { instance: Option<&'a str>, path: &'a str },
    /// An AWS service.
    Aws(Call),
    /// An AWS service, whose request cannot be read.
    Unreadable { protocol: Protocol, error: AwsError },
    /// Nothing that is served here.
    Unknown,
}

/// A call of an AWS service.
#[derive(Debug)]
pub(crate) struct Call {
    pub service: Service,
    pub protocol: Protocol,
    pub operation: String,
    pub input: Data,
}

/// The prefix of the control endpoint.
const CONTROL: &str = "/_muster/";
/// The prefix under which a lab reaches the metadata service of an instance without its address:
/// `/_imds/i-0123/latest/...`.
const METADATA: &str = "/_imds/";
/// The path of CloudWatch's RPC v2 CBOR operations.
const CLOUDWATCH_RPC: &str = "/service/GraniteServiceVersion20100801/operation/";

const CLOUDWATCH_NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Finds out where a request goes.
pub(crate) fn route(request: &Request) -> Route<'_> {
    let path = request.path();
    if let Some(rest) = path.strip_prefix(CONTROL) {
        return Route::Control(rest);
    }
    if let Some(rest) = path.strip_prefix(METADATA) {
        let (instance, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        return Route::Metadata { instance: Some(instance), path };
    }
    if path.starts_with("/latest/") {
        return Route::Metadata { instance: None, path };
    }
    if let Some(operation) = path.strip_prefix(CLOUDWATCH_RPC)
        && request.header("smithy-protocol") == Some("rpc-v2-cbor")
    {
        return call(request, Service::CloudWatch, Protocol::Cbor, operation);
    }
    if let Some((target, operation)) =
        request.header("x-amz-target").and_then(|target| target.split_once('.'))
    {
        let (service, version) = match target {
            "AmazonSQS" => (Service::Sqs, "1.0"),
            "AmazonSSM" => (Service::Ssm, "1.1"),
            "AnyScaleFrontendService" => (Service::AutoScaling, "1.1"),
            "GraniteServiceVersion20100801" => (Service::CloudWatch, "1.0"),
            _ => return Route::Unknown,
        };
        return call(request, service, Protocol::Json(version), operation);
    }
    query(request)
}

fn call<'a>(request: &Request, service: Service, protocol: Protocol, operation: &str) -> Route<'a> {
    match protocol.read(&request.body) {
        Ok(input) => Route::Aws(Call { service, protocol, operation: operation.to_owned(), input }),
        Err(error) => Route::Unreadable { protocol, error },
    }
}

/// The Query protocols: a form in the body, or in the query string of a GET.
fn query<'a>(request: &Request) -> Route<'a> {
    // Who forwards a request may join `/` to `/`, as Vault does.
    let at_root = request.path().bytes().all(|byte| byte == b'/');
    let form = match request.method {
        Method::POST if at_root => &request.body[..],
        Method::GET if request.path() == "/" && !request.query().is_empty() => request.query().as_bytes(),
        _ => return Route::Unknown,
    };
    let signed_for = Authorization::of(request).ok().map(|authorization| authorization.service);
    let parsed = parse_form(form);
    let version = parsed.as_ref().ok().and_then(|input| input.get("Version").as_str());
    let (service, protocol) = match (signed_for.as_deref(), version) {
        (Some("monitoring"), _) | (None, Some("2010-08-01")) => {
            (Service::CloudWatch, Protocol::Query(CLOUDWATCH_NAMESPACE))
        }
        (Some("sts"), _) | (_, Some("2011-06-15")) => (Service::Sts, Protocol::Query(STS_NAMESPACE)),
        // Also what is signed for a service that does not speak Query here: EC2's refusal is as good as any.
        _ => (Service::Ec2, Protocol::Ec2),
    };
    match parsed {
        Ok(input) => {
            let operation = input.get("Action").as_str().unwrap_or_default().to_owned();
            Route::Aws(Call { service, protocol, operation, input })
        }
        Err(error) => Route::Unreadable { protocol, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn request(method: Method, uri: &str, headers: &[(&str, &str)], body: &str) -> Request {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
            })
            .collect();
        Request {
            method,
            uri: uri.parse().expect("a URI"),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            peer: ([127, 0, 0, 1], 1).into(),
        }
    }

    #[test]
    fn services_are_told_apart_without_their_hosts() {
        let scope = |service: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=k/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
            )
        };
        let check = |request: Request, service, operation: &str| match route(&request) {
            Route::Aws(call) => {
                assert_eq!((call.service, call.operation.as_str()), (service, operation));
            }
            other => panic!("{other:?}"),
        };
        let form = "Action=DescribeInstances&Version=2016-11-15";
        check(request(Method::POST, "/", &[], form), Service::Ec2, "DescribeInstances");
        check(request(Method::GET, &format!("/?{form}"), &[], ""), Service::Ec2, "DescribeInstances");
        let form = "Action=GetCallerIdentity&Version=2011-06-15";
        check(request(Method::POST, "/", &[], form), Service::Sts, "GetCallerIdentity");
        // As Vault forwards it.
        check(request(Method::POST, "//", &[], form), Service::Sts, "GetCallerIdentity");
        let form = "Action=GetMetricStatistics";
        let headers = [("authorization", scope("monitoring"))];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        check(request(Method::POST, "/", &headers, form), Service::CloudWatch, "GetMetricStatistics");
        let target = [("x-amz-target", "AmazonSQS.ReceiveMessage")];
        check(request(Method::POST, "/", &target, "{}"), Service::Sqs, "ReceiveMessage");
        let cbor = [("smithy-protocol", "rpc-v2-cbor")];
        let uri = format!("{CLOUDWATCH_RPC}GetMetricData");
        check(request(Method::POST, &uri, &cbor, ""), Service::CloudWatch, "GetMetricData");
    }

    #[test]
    fn the_metadata_service_is_reached_with_and_without_a_prefix() {
        let reached = |uri: &str| match route(&request(Method::GET, uri, &[], "")) {
            Route::Metadata { instance, path } => (instance.map(str::to_owned), path.to_owned()),
            other => panic!("{other:?}"),
        };
        let path = "/latest/meta-data/instance-id".to_owned();
        assert_eq!(reached("/latest/meta-data/instance-id"), (None, path.clone()));
        assert_eq!(reached("/_imds/i-1/latest/meta-data/instance-id"), (Some("i-1".into()), path));
        assert!(matches!(route(&request(Method::GET, "/favicon.ico", &[], "")), Route::Unknown));
    }
}
