//! Texts with a form of their own: ids, names, patterns.

use crate::schedule::{ScheduleError, find_zone, parse_cron};
use jiff::tz::TimeZoneDatabase;
use muster_hcl::{Wrong, nearest};

/// Ok where a text is as it should be.
type Checked = Result<(), Wrong>;

fn must(fine: bool, what: &str) -> Checked {
    if fine { Ok(()) } else { Err(Wrong::new(what)) }
}

/// Takes a text that is neither empty nor longer than so many characters.
pub(crate) fn into(field: &mut String, text: &str, most: usize) -> Checked {
    text.clone_into(field);
    must(!text.trim().is_empty(), "is empty")?;
    must(text.chars().count() <= most, "is too long")
}

/// A name that can stand in paths, metrics and URLs as it is.
pub(crate) fn name(text: &str) -> Checked {
    must(text.starts_with(|c: char| c.is_ascii_alphabetic()), "does not begin with a letter")?;
    let other = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_'));
    other.map_or(Ok(()), |other| Err(Wrong::new(format!("holds {other:?}"))))?;
    must(text.len() <= 64, "is too long")
}

pub(crate) fn fleet_id(text: &str) -> Checked {
    let rest = text.strip_prefix("sfr-").or_else(|| text.strip_prefix("fleet-"));
    let fine = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    must(rest.is_some_and(fine), "is not a fleet's id")
}

pub(crate) fn instance_id(text: &str) -> Checked {
    let fine = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    must(text.strip_prefix("i-").is_some_and(fine), "is not an instance's id")
}

/// EC2's limits of a tag. An empty value is one.
pub(crate) fn tag(key: &str, value: &str) -> Checked {
    let is = |what: &str| format!("has the key {key:?}, which {what}");
    must(!key.trim().is_empty(), &is("is empty"))?;
    must(key.chars().count() <= 128, &is("is too long"))?;
    must(value.chars().count() <= 256, &format!("has a value for {key:?} that is too long"))
}

/// The form of a region's name; regions are opened faster than programs are shipped, so there is no list.
pub(crate) fn region(text: &str) -> Checked {
    let parts: Vec<&str> = text.split('-').collect();
    let fine = match parts.as_slice() {
        [first, middle @ .., last] => {
            !middle.is_empty()
                && first.len() == 2
                && [*first]
                    .iter()
                    .chain(middle)
                    .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()))
                && !last.is_empty()
                && last.chars().all(|c| c.is_ascii_digit())
        }
        _ => false,
    };
    let zone = text.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|rest| region(rest).is_ok());
    let help = zone.map(|region| format!("\"{text}\" is a zone, its region is \"{region}\""));
    must(fine, "is not a region").map_err(|wrong| wrong.help(help))
}

pub(crate) fn instance_type(text: &str) -> Checked {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let fine = text.split_once('.').is_some_and(|(family, size)| part(family) && part(size));
    let wrong = Wrong::new(format!("is given for {text:?}, which is not an instance type"));
    if fine { Ok(()) } else { Err(wrong) }
}

pub(crate) fn statistic(text: &str) -> Checked {
    let plain = ["Average", "Minimum", "Maximum", "Sum", "SampleCount", "IQM"];
    // p90, tm99.5, TM(10%:90%), …
    let ranked = |text: &str| {
        let letters = text.chars().take_while(char::is_ascii_alphabetic).count();
        matches!(text[..letters].to_ascii_lowercase().as_str(), "p" | "tm" | "wm" | "tc" | "ts" | "pr")
            && text[letters..].starts_with(|c: char| c.is_ascii_digit() || c == '(')
    };
    let meant = nearest(text, plain);
    must(plain.contains(&text) || ranked(text), "is not a statistic")
        .map_err(|wrong| wrong.help(meant.map(|meant| format!("did you mean \"{meant}\"?"))))
}

pub(crate) fn address(text: &str) -> Checked {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    must(host.is_some(), "does not begin with http:// or https://")?;
    let fine = host.is_some_and(|host| !host.is_empty()) && text.chars().all(|c| c.is_ascii_graphic());
    must(fine, "is not an address")?;
    // Anywhere: a slash in a password is no reason to take what follows for a path.
    must(!text.contains('@'), "holds a password; use `token_file`")?;
    must(!text.contains(['?', '#']), "has a query")
}

pub(crate) fn absolute_path(text: &str) -> Checked {
    must(text.starts_with('/') && !text.contains('\0'), "is not an absolute path")
}

pub(crate) fn group(text: &str) -> Checked {
    let fine = text.rsplit_once('/').is_some_and(|(job, group)| !job.is_empty() && !group.is_empty());
    must(fine && !text.contains(char::is_whitespace), "is not a job and its group")
}

pub(crate) fn cron(text: &str) -> Checked {
    match parse_cron(text) {
        Err(ScheduleError::Never { .. }) => {
            Err(Wrong::new("never comes: no month that it names has such a day")
                .expected("a cron pattern that comes, such as \"0 8 * * MON-FRI\""))
        }
        Err(ScheduleError::Pattern { reason, .. }) => {
            Err(Wrong::new(format!("is not a cron pattern: {reason}")))
        }
        Err(_) | Ok(_) => Ok(()),
    }
}

pub(crate) fn zone(text: &str) -> Checked {
    if find_zone(text).is_ok() {
        return Ok(());
    }
    let database = TimeZoneDatabase::bundled();
    let known: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let meant = nearest(text, known.iter().map(String::as_str));
    let help = meant.map(|meant| format!("did you mean \"{meant}\"?"));
    Err(Wrong::new("is not a time zone")
        .expected("a name of the IANA database such as \"Europe/Berlin\"")
        .help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of: fn(&str) -> Checked, fine: &[&str], wrong: &[&str]) {
        for text in fine {
            assert_eq!(of(text), Ok(()), "{text:?}");
        }
        for text in wrong {
            assert!(of(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn forms_are_told_apart() {
        check(name, &["web", "Web-2_x"], &["", "2web", "-a", "a.b", "a b", "ä", &"a".repeat(65)]);
        check(
            fleet_id,
            &["sfr-1a", "fleet-12a34b55-67cd"],
            &["", "sfr-", "sfr-…", "i-1", "SFR-1", "sfr-a b"],
        );
        check(instance_id, &["i-0abc123def4567890"], &["", "i-", "sfr-1", "I-1", "i-a b"]);
        check(
            region,
            &["eu-west-1", "us-gov-west-1", "ap-southeast-3", "us-isob-east-1"],
            &["", "eu", "eu-west", "eu-west-1a", "EU-west-1", "eu--1", "west-1", "eu-1"],
        );
        check(
            instance_type,
            &["m5.large", "u-6tb1.metal", "c7gn.2xlarge"],
            &["", "m5", "M5.large", "m5.", "m5 .large"],
        );
        check(statistic, &["Average", "p90", "p99.9", "TM(10%:90%)"], &["", "average", "p", "pp90", "é9"]);
        check(
            address,
            &["http://p:9090", "https://p.example/prefix"],
            &[
                "",
                "p:9090",
                "ftp://p",
                "http://",
                "http://a b",
                "http://u:p@h",
                "http://u:a/b@h",
                "http://p/?x",
            ],
        );
        check(absolute_path, &["/a"], &["", "a", "~/a"]);
        check(group, &["web/front"], &["", "web", "/x", "x/", "a b/c"]);
        check(
            zone,
            &["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"],
            &["", "Berlin", "Europe/Berln", "+01:00"],
        );
    }

    #[test]
    fn a_zone_of_a_region_names_its_region() {
        let wrong = region("eu-west-1a").expect_err("a zone");
        assert_eq!(wrong.help.as_deref(), Some("\"eu-west-1a\" is a zone, its region is \"eu-west-1\""));
    }

    #[test]
    fn misspelt_zones_lead_to_the_nearest() {
        for (text, meant) in
            [("Europe/Berln", "Europe/Berlin"), ("berlin", "Europe/Berlin"), ("new-york", "America/New_York")]
        {
            let help = zone(text).expect_err(text).help;
            assert_eq!(help, Some(format!("did you mean \"{meant}\"?")));
        }
    }
}
