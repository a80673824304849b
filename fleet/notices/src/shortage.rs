//! What a fleet says about a pool that had nothing to give or could not launch, in its history and on EventBridge.

use fleet::{InstanceType, UsdPerHour, Zone};

/// A pool that had nothing to give, as far as the fleet's words name it. They are JSON
/// (`{"instanceType":"m5.large",…,"availabilityZone":"eu-west-1a"}`) or a sentence
/// (`m5.large, ami-0…, Linux/UNIX, eu-west-1a, …`), and in both the words themselves tell what they are: nothing
/// else looks like a type or a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// The type asked for.
    pub instance_type: Option<InstanceType>,
    /// The zone asked for.
    pub zone: Option<Zone>,
    /// The price at the time.
    pub price: Option<UsdPerHour>,
}

/// What an error or an information of a fleet says about a lack of capacity: for want of machines, of quota, or
/// at the price that the fleet would pay. `None`: it is about something else.
///
/// * `sub_type`: of the record, in either service's spelling.
/// * `text`: its description. O(n).
pub fn shortage(sub_type: &str, text: &str) -> Option<Shortage> {
    const SIGNS: [&str; 8] = [
        "insufficientinstancecapacity",
        "insufficient capacity",
        "no spot capacity available",
        "unfulfillablecapacity",
        "maxspotinstancecountexceeded",
        "vcpulimitexceeded",
        "spotmaxpricetoolow",
        "less than spot market price",
    ];
    let sub_type = sub_type.to_ascii_lowercase();
    let lower = text.to_ascii_lowercase();
    let lacking = matches!(sub_type.as_str(), "launchspecunusable" | "spotinstancecountlimitexceeded")
        || SIGNS.iter().any(|sign| lower.contains(sign));
    lacking.then(|| Shortage::of(text))
}

/// A launch that failed, and not for want of capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLaunch {
    /// The type.
    pub instance_type: InstanceType,
    /// The zone, where the words name one.
    pub zone: Option<Zone>,
}

/// What an error or an information of a fleet says about a launch that failed, where it names the type. Errors that name
/// one are about its launch; of the informations only that a line of the shopping list is given up for a while. To be
/// asked where there is no [`shortage`].
///
/// * `error`: whether it is an error.
/// * `sub_type`, `text`: as of [`shortage`]. O(n).
pub fn failed_launch(error: bool, sub_type: &str, text: &str) -> Option<FailedLaunch> {
    let given_up = sub_type.eq_ignore_ascii_case("launchSpecTemporarilyBlacklisted");
    let Shortage { instance_type, zone, price: _ } = Shortage::of(text);
    let instance_type = instance_type.filter(|_| error || given_up)?;
    Some(FailedLaunch { instance_type, zone })
}

impl Shortage {
    fn of(text: &str) -> Self {
        let mut found = Self::default();
        let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '$')));
        for word in parts.map(|part| part.trim_matches(['.', '-'])) {
            if found.instance_type.is_none() && is_instance_type(word) {
                found.instance_type = Some(InstanceType::new(word));
            } else if found.zone.is_none() && is_zone(word) {
                found.zone = Some(Zone::new(word));
            } else if let Some(price) = word.strip_prefix('$') {
                // The price that was bid stands before that of the market.
                found.price = price.parse().ok().or(found.price);
            }
        }
        found
    }
}

/// `m5.large`, `c6gd.12xlarge`, `u-6tb1.metal`.
fn is_instance_type(word: &str) -> bool {
    let Some((family, size)) = word.split_once('.') else { return false };
    let sizes = ["nano", "micro", "small", "medium", "large"];
    family.starts_with(|c: char| c.is_ascii_lowercase())
        && family.contains(|c: char| c.is_ascii_digit())
        && (sizes.contains(&size) || size.ends_with("xlarge") || size.starts_with("metal"))
}

/// `eu-west-1a`, `us-gov-east-1b`, `us-west-2-lax-1a`.
fn is_zone(word: &str) -> bool {
    let mut parts = word.split('-');
    let place =
        parts.next().is_some_and(|place| place.len() == 2 && place.bytes().all(|b| b.is_ascii_lowercase()));
    let last = parts.next_back().unwrap_or_default();
    let lettered = last.strip_suffix(|c: char| c.is_ascii_lowercase());
    let numbered =
        lettered.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    place && numbered && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(instance_type: &str, zone: Option<&str>, price: Option<u64>) -> Shortage {
        Shortage {
            instance_type: Some(instance_type.into()),
            zone: zone.map(Zone::from),
            price: price.map(UsdPerHour::from_micros),
        }
    }

    #[test]
    fn the_pool_that_had_nothing_is_read_from_sentences_and_from_json() {
        for (sub_type, text, expected) in [
            (
                "spotFleetRequestConfigurationInvalid",
                "m3.large, ami-00413793e4d8a02c8, Linux/UNIX: There is no Spot capacity available that matches your request.",
                Some(lacking("m3.large", None, None)),
            ),
            (
                "launchSpecTemporarilyBlacklisted",
                "c5.12xlarge, ami-0abc, Linux/UNIX, us-east-1b, while launching instances: InsufficientInstanceCapacity",
                Some(lacking("c5.12xlarge", Some("us-east-1b"), None)),
            ),
            (
                "",
                r#"{"instanceType":"m5.large","image":"ami-0abc","availabilityZone":"us-west-2-lax-1a","error":"InsufficientInstanceCapacity"}"#,
                Some(lacking("m5.large", Some("us-west-2-lax-1a"), None)),
            ),
            (
                "launchSpecUnusable",
                "c3.large, ami-0abc, Linux/UNIX, us-east-1a: Spot price $0.0200 is less than Spot market price $0.0619.",
                Some(lacking("c3.large", Some("us-east-1a"), Some(61_900))),
            ),
            ("iamFleetRoleInvalid", "the role cannot be assumed", None),
        ] {
            assert_eq!(shortage(sub_type, text), expected, "{text}");
        }
    }

    #[test]
    fn a_launch_that_failed_is_read_where_the_type_is_named() {
        let blacklisted = "launchSpecTemporarilyBlacklisted";
        let sentence =
            "c5.12xlarge, ami-0abc, Linux/UNIX, us-east-1b, while launching instances: Client.InvalidAMIID";
        let failed = |zone: Option<&str>| {
            Some(FailedLaunch { instance_type: "c5.12xlarge".into(), zone: zone.map(Zone::from) })
        };
        for (error, sub_type, text, expected) in [
            (true, "spotFleetRequestConfigurationInvalid", sentence, failed(Some("us-east-1b"))),
            (false, blacklisted, sentence, failed(Some("us-east-1b"))),
            (true, "", "c5.12xlarge, ami-0abc, Linux/UNIX: The image id does not exist", failed(None)),
            (false, "fleetProgressHalted", sentence, None),
            (true, "iamFleetRoleInvalid", "the role cannot be assumed", None),
        ] {
            assert_eq!(shortage(sub_type, text), None, "{text}");
            assert_eq!(failed_launch(error, sub_type, text), expected, "{text}");
        }
    }

    #[test]
    fn words_that_only_resemble_types_and_zones_are_neither() {
        for word in ["ami-0abc", "ami.small", "1.large", "Linux", "1.5"] {
            assert!(!is_instance_type(word), "{word}");
        }
        for word in ["us-east-1", "ami-0a", "eu-1a", "abc-west-1a", "sg-12-b"] {
            assert!(!is_zone(word), "{word}");
        }
    }
}
