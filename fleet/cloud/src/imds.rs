//! The instances' metadata service, version 2 only.

use crate::gate::plain;
use crate::keys::{Key, Principal};
use crate::request::Request;
use crate::shared::{Shared, locked};
use crate::sigv4::hmac;
use crate::wire::Answer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::{Instance, InstanceId, InstanceState, Market, Timestamp};
use fleet_sim::ScheduledEvent;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// The longest life of a token, in seconds.
const MAX_TTL: u32 = 21_600;
/// The most tokens that are kept; those that end first are forgotten first.
const MAX_TOKENS: usize = 10_000;
/// How long the credentials of an instance's role last, and how long before their end others are given.
const CREDENTIALS: Duration = Duration::from_secs(6 * 3600);
const RENEWED: Duration = Duration::from_secs(600);

/// The tokens and the role's keys that were given out.
#[derive(Debug)]
pub(crate) struct Tokens {
    by_token: BTreeMap<String, (InstanceId, Timestamp)>,
    keys: BTreeMap<InstanceId, Key>,
    count: u64,
    seed: u64,
}

impl Tokens {
    pub const fn new(seed: u64) -> Self {
        Self { by_token: BTreeMap::new(), keys: BTreeMap::new(), count: 0, seed }
    }
    fn issue(&mut self, instance: &InstanceId, until: Timestamp) -> String {
        self.count += 1;
        let token = hex::encode(hmac(&self.seed.to_be_bytes(), &format!("imds {}", self.count)));
        if self.by_token.len() >= MAX_TOKENS
            && let Some(first) = self.by_token.iter().min_by_key(|(_, (_, until))| *until)
        {
            let first = first.0.clone();
            self.by_token.remove(&first);
        }
        self.by_token.insert(token.clone(), (instance.clone(), until));
        token
    }
    /// How long a token still holds for an instance; `None`: it does not.
    fn rest(&self, token: &str, instance: &InstanceId, now: Timestamp) -> Option<Duration> {
        let (owner, until) = self.by_token.get(token)?;
        (owner == instance && *until > now).then(|| until.since(now))
    }
}

/// The living instance that a request comes from: by the path, or by the caller's address.
pub(crate) fn instance_of(shared: &Shared, request: &Request, named: Option<&str>) -> Option<Instance> {
    let mut found = shared
        .world()
        .shown_instances()
        .into_iter()
        .filter(|instance| matches!(instance.state, InstanceState::Pending | InstanceState::Running));
    match named {
        Some(id) => found.find(|instance| instance.id.as_str() == id),
        None => found.find(|instance| instance.private_ip == Some(request.peer.ip())),
    }
}

/// Answers an instance.
pub(crate) fn answer(shared: &Shared, request: &Request, instance: &Instance, path: &str) -> Answer {
    let now = shared.host.wall();
    if request.method == Method::PUT {
        return put(shared, request, instance, path, now);
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    let token = request.header(TOKEN).unwrap_or_default();
    let Some(rest) = locked(&shared.tokens).rest(token, &instance.id, now) else {
        return plain(StatusCode::UNAUTHORIZED, "");
    };
    let Some(found) = found(shared, instance, path, now) else {
        return plain(StatusCode::NOT_FOUND, "");
    };
    let mut answer = plain(StatusCode::OK, found);
    if let Ok(rest) = HeaderValue::from_str(&rest.as_secs().to_string()) {
        answer.headers_mut().insert(HeaderName::from_static(TTL), rest);
    }
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// `PUT /latest/api/token`, and nothing else.
fn put(shared: &Shared, request: &Request, instance: &Instance, path: &str, now: Timestamp) -> Answer {
    // Behind a proxy anybody could ask: EC2 refuses that, too.
    if path != "/latest/api/token" || request.headers.contains_key("x-forwarded-for") {
        return plain(StatusCode::FORBIDDEN, "");
    }
    let seconds = request.header(TTL).and_then(|seconds| seconds.parse::<u32>().ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=MAX_TTL).contains(seconds)) else {
        return plain(StatusCode::BAD_REQUEST, "");
    };
    let until = now + Duration::from_secs(seconds.into());
    let token = locked(&shared.tokens).issue(&instance.id, until);
    let mut answer = plain(StatusCode::OK, token);
    answer.headers_mut().insert(HeaderName::from_static(TTL), HeaderValue::from(seconds));
    answer
}

/// What stands at a path; `None`: nothing.
fn found(shared: &Shared, instance: &Instance, path: &str, now: Timestamp) -> Option<String> {
    let path = path.strip_prefix("/latest/")?.trim_end_matches('/');
    match path {
        "user-data" => return user_data(shared, instance),
        "dynamic/instance-identity" => return Some("document\nrsa2048".to_owned()),
        "dynamic/instance-identity/document" => return Some(document(shared, instance)),
        "dynamic/instance-identity/rsa2048" => {
            let document = document(shared, instance);
            return shared.signer().ok()?.sign(document.as_bytes(), instance.launched).ok();
        }
        _ => {}
    }
    let path = if path == "meta-data" { "" } else { path.strip_prefix("meta-data/")? };
    let region = shared.world().spec().region.to_string();
    let role = &shared.instance_role;
    let notices = shared.world().notices(&instance.id).unwrap_or_default();
    let address = instance.private_ip.map(|address| address.to_string());
    let image = || shared.world().image_of(instance).map(str::to_owned);
    Some(match path {
        "" => LISTING.join("\n"),
        "ami-id" => image()?,
        "instance-id" => instance.id.to_string(),
        "instance-type" => instance.pool.instance_type.to_string(),
        "instance-life-cycle" => match instance.pool.market {
            Market::Spot => "spot".to_owned(),
            Market::OnDemand => "on-demand".to_owned(),
        },
        "local-ipv4" => address?,
        "hostname" | "local-hostname" => {
            format!("ip-{}.{region}.compute.internal", address?.replace('.', "-"))
        }
        "mac" => mac(&instance.id),
        "placement" => "availability-zone\nregion".to_owned(),
        "placement/availability-zone" => instance.pool.zone.to_string(),
        "placement/region" => region,
        "services" => "domain\npartition".to_owned(),
        "services/domain" => "amazonaws.com".to_owned(),
        "services/partition" => "aws".to_owned(),
        "tags" => "instance/".to_owned(),
        "tags/instance" => names(&instance.tags).collect::<Vec<_>>().join("\n"),
        "spot/instance-action" => {
            let at = notices.terminate_at?;
            json!({"action": "terminate", "time": seconds(at)}).to_string()
        }
        "spot/termination-time" => seconds(notices.terminate_at?),
        "events/recommendations/rebalance" => json!({"noticeTime": seconds(notices.rebalance?)}).to_string(),
        "events/maintenance/scheduled" => {
            let event = |event: ScheduledEvent| {
                json!({
                    "Code": event.code.word(),
                    "Description": event.code.word(),
                    "EventId": event_id(&instance.id),
                    "NotBefore": maintenance_time(event.not_before),
                    "State": "active",
                })
            };
            json!(notices.scheduled.map(event).into_iter().collect::<Vec<_>>()).to_string()
        }
        "events/maintenance/history" => "[]".to_owned(),
        "iam/security-credentials" => role.clone(),
        "iam/info" => {
            let account = shared.world().spec().account.clone();
            let arn = format!("arn:aws:iam::{account}:instance-profile/{role}");
            let id = format!("AIPA{}", &hex::encode(hmac(b"profile", role)).to_uppercase()[..17]);
            let updated = seconds(instance.launched);
            json!({"Code": "Success", "LastUpdated": updated, "InstanceProfileArn": arn, "InstanceProfileId": id})
                .to_string()
        }
        path => {
            if let Some(key) = path.strip_prefix("tags/instance/") {
                return names(&instance.tags).any(|name| name == key).then(|| instance.tags[key].clone());
            }
            let named = path.strip_prefix("iam/security-credentials/")?;
            return if named == role { credentials(shared, instance, now) } else { None };
        }
    })
}

/// What the instance was launched with, decoded; `None` where it has none, or none that is text.
fn user_data(shared: &Shared, instance: &Instance) -> Option<String> {
    let [template, version] =
        ["id", "version"].map(|of| instance.tags.get(&format!("aws:ec2launchtemplate:{of}")));
    let encoded = locked(&shared.templates).user_data(template?, version?)?.to_owned();
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// What the root of the metadata lists.
const LISTING: &[&str] = &[
    "ami-id",
    "events/",
    "hostname",
    "iam/",
    "instance-id",
    "instance-life-cycle",
    "instance-type",
    "local-hostname",
    "local-ipv4",
    "mac",
    "placement/",
    "services/",
    "spot/",
    "tags/",
];

/// The names of tags that the metadata service can show: no spaces, no slashes, not only dots.
fn names(tags: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c);
    tags.keys()
        .map(String::as_str)
        .filter(move |name| name.chars().all(legal) && !matches!(*name, "." | ".." | "_index"))
}

/// A time to the second.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_secs(time.secs()).to_string()
}

/// `21 Jan 2019 09:00:43 GMT`.
fn maintenance_time(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_second(at.secs()).unwrap_or_default();
    time.strftime("%d %b %Y %H:%M:%S GMT").to_string()
}

/// The id of the event that is scheduled for an instance.
pub(crate) fn event_id(instance: &InstanceId) -> String {
    format!("instance-event-{}", &hex::encode(hmac(b"event", instance.as_str()))[..17])
}

/// A locally administered address, made of the instance's id.
fn mac(instance: &InstanceId) -> String {
    let digits = hex::encode(hmac(b"mac", instance.as_str()));
    format!("0a:{}:{}:{}:{}:{}", &digits[..2], &digits[2..4], &digits[4..6], &digits[6..8], &digits[8..10])
}

fn document(shared: &Shared, instance: &Instance) -> String {
    let world = shared.world();
    let spec = world.spec();
    let document = json!({
        "accountId": spec.account,
        "architecture": if crate::ec2::is_arm(instance.pool.instance_type.as_str()) { "arm64" } else { "x86_64" },
        "availabilityZone": instance.pool.zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "imageId": world.image_of(instance),
        "instanceId": instance.id,
        "instanceType": instance.pool.instance_type,
        "kernelId": null,
        "marketplaceProductCodes": null,
        "pendingTime": seconds(instance.launched),
        "privateIp": instance.private_ip,
        "ramdiskId": null,
        "region": spec.region,
        "version": "2017-09-30",
    });
    format!("{document:#}")
}

/// The credentials of the instance's role: the same until they are about to end.
fn credentials(shared: &Shared, instance: &Instance, now: Timestamp) -> Option<String> {
    let mut tokens = locked(&shared.tokens);
    let held = tokens
        .keys
        .get(&instance.id)
        .filter(|key| key.session.as_ref().is_some_and(|session| session.expires > now + RENEWED));
    let key = if let Some(key) = held {
        key.clone()
    } else {
        let principal =
            Principal::Role { role: shared.instance_role.clone(), session: instance.id.to_string() };
        let (key, _) = locked(&shared.keys).issue(principal, now, CREDENTIALS);
        // Keys of instances that are gone are not kept beyond their end.
        tokens.keys.retain(|_, key| key.session.as_ref().is_some_and(|session| session.expires > now));
        tokens.keys.insert(instance.id.clone(), key.clone());
        key
    };
    let session = key.session?;
    let document = json!({
        "Code": "Success",
        "LastUpdated": seconds(session.expires - CREDENTIALS),
        "Type": "AWS-HMAC",
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret.reveal(),
        "Token": session.token.reveal(),
        "Expiration": seconds(session.expires),
    });
    Some(format!("{document:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_instance_and_its_time_alone() {
        let mut tokens = Tokens::new(1);
        let at = Timestamp::from_secs;
        let token = tokens.issue(&"i-1".into(), at(10));
        assert_eq!(tokens.rest(&token, &"i-1".into(), at(4)), Some(Duration::from_secs(6)));
        assert_eq!(tokens.rest(&token, &"i-2".into(), at(4)), None);
        assert_eq!(tokens.rest(&token, &"i-1".into(), at(10)), None);
        assert_eq!(tokens.rest("", &"i-1".into(), at(4)), None);
        for _ in 0..MAX_TOKENS {
            tokens.issue(&"i-1".into(), at(99));
        }
        assert_eq!(tokens.rest(&token, &"i-1".into(), at(4)), None, "the first to end was forgotten");
        assert_eq!(tokens.by_token.len(), MAX_TOKENS);
    }

    #[test]
    fn maintenance_has_times_of_its_own_form() {
        let at = Timestamp::parse("2019-01-21T09:00:43Z").expect("a time");
        assert_eq!(maintenance_time(at), "21 Jan 2019 09:00:43 GMT");
    }

    #[test]
    fn tags_that_no_path_can_hold_are_not_shown() {
        let tags =
            ["Name", "aws:ec2:fleet-id", "a/b", "a b", ".."].map(|name| (name.to_owned(), String::new()));
        let tags = BTreeMap::from(tags);
        assert_eq!(names(&tags).collect::<Vec<_>>(), ["Name", "aws:ec2:fleet-id"]);
    }
}
