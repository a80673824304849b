//! The fields of `rollout`.

use super::{DAY, MOST_UNITS};
use autoscaler_core::{RolloutPace, RolloutTrouble};
use muster_hcl::{Field, Table, Wrong, nearest};
use std::time::Duration;

/// CloudWatch's limit of names in one question, and so the most alarms of a fleet.
const MOST_ALARMS: usize = 100;

/// The troubles by their words.
const TROUBLES: [(&str, RolloutTrouble); 4] = [
    ("not_ready", RolloutTrouble::NotReady),
    ("unhealthy", RolloutTrouble::Unhealthy),
    ("launch_failed", RolloutTrouble::LaunchFailed),
    ("alarm", RolloutTrouble::Alarm),
];

pub(super) static ROLLOUT: Table<RolloutPace> = Table {
    fields: &[
        Field::<RolloutPace>::whole(
            "surge",
            "How many instances are replaced at once. Above `capacity.max` no more than `capacity.surge` units of them.",
            (1, MOST_UNITS),
            |r| Some(r.surge),
            |r, v| r.surge = v,
        )
        .why("another is bought before one goes"),
        Field::whole(
            "unavailable",
            "How many units less than are wanted may serve meanwhile. 0: an instance is emptied when another is ready in \
             its place.",
            (0, MOST_UNITS),
            |r: &RolloutPace| Some(r.unavailable),
            |r, v| r.unavailable = v,
        ),
        Field::share(
            "canary",
            "The share of the instances that is replaced first and watched; at least one. \"0%\": none.",
            (0.0, 1.0),
            |r: &RolloutPace| Some(r.canary),
            |r, v| r.canary = v,
        ),
        Field::duration(
            "canary_for",
            "How long that share must run without trouble before the others follow.",
            (Duration::ZERO, Duration::from_secs(7 * 86_400)),
            |r: &RolloutPace| Some(r.canary_for),
            |r, v| r.canary_for = v,
        ),
        Field::<RolloutPace>::duration(
            "ready_within",
            "The longest that a new instance may take from its launch until work can be placed on it.",
            (Duration::from_secs(10), DAY),
            |r| r.ready_within,
            |r, v| r.ready_within = Some(v),
        )
        .unset("twice `boot`")
        .example("\"10m\""),
        Field::<RolloutPace>::texts(
            "pause_on",
            "What halts it, and makes the fleet launch what it launched before: a new instance that is `not_ready` in \
             time, one that is `unhealthy` by EC2's status checks, a version of which nothing could be launched \
             (`launch_failed`), an `alarm` of `alarms` that is off.",
            "troubles: \"not_ready\", \"unhealthy\", \"launch_failed\" or \"alarm\"",
            |r| {
                let known = TROUBLES.iter().filter(|(_, trouble)| r.pause_on.contains(trouble));
                known.map(|(word, _)| (*word).to_owned()).collect()
            },
            |r, text| {
                let known = TROUBLES.iter().find(|(word, _)| *word == text).map(|(_, trouble)| *trouble);
                let words = || TROUBLES.iter().map(|(word, _)| *word);
                let trouble = known.ok_or_else(|| {
                    let meant = nearest(text, words()).map(|word| format!("did you mean \"{word}\"?"));
                    Wrong::new("no such trouble").help(meant)
                })?;
                r.pause_on.push(trouble);
                Ok(())
            },
        )
        .unset("nothing")
        .replaces(|r| r.pause_on.clear()),
        Field::<RolloutPace>::texts(
            "alarms",
            "Alarms of CloudWatch in the fleet's region, of single metrics or composite, that are watched meanwhile; at \
             most 100. One that is off before, or does not exist, keeps a roll-out from beginning.",
            "names of alarms, such as [\"web-5xx\"]",
            |r| r.alarms.clone(),
            |r, text| {
                r.alarms.push(text.to_owned());
                let legal = (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control);
                if !legal {
                    return Err(Wrong::new("is not the name of an alarm").expected("1 to 255 printable characters"));
                }
                if r.alarms.len() > MOST_ALARMS {
                    return Err(Wrong::new("is one too many").expected("at most 100 alarms"));
                }
                Ok(())
            },
        )
        .unset("none")
        .example("[\"web-5xx\"]")
        .replaces(|r| r.alarms.clear()),
    ],
    blocks: &[],
};
