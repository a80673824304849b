//! The names that runners, channels and interruptions have on the command line: those that they have in JSON.

use autoscaler_lab::{Channel, Interruptions, Runner};
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Every runner, in the order of the tables.
pub const RUNNERS: [(&str, Runner); 9] = [
    ("muster", Runner::Muster),
    ("aws-tt", Runner::AwsTt),
    ("aws-tt-5m", Runner::AwsTt5m),
    ("aws-tt-10s", Runner::AwsTt10s),
    ("aws-asg-tt", Runner::AwsAsgTt),
    ("nomad-tv", Runner::NomadTv),
    ("hpa", Runner::Hpa),
    ("static-peak", Runner::StaticPeak),
    ("lag-3+1", Runner::Lag),
];

const CHANNELS: [(&str, Channel); 3] = [
    ("push", Channel::Push),
    ("cloudwatch-1m", Channel::Cloudwatch1m),
    ("cloudwatch-5m", Channel::Cloudwatch5m),
];

const INTERRUPTIONS: [(&str, Interruptions); 3] =
    [("none", Interruptions::None), ("band", Interruptions::Band), ("stress", Interruptions::Stress)];

/// All runners.
const ALL: &str = "all";

/// A runner, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who(Option<Runner>);

impl Who {
    /// The runners that several of these name, each once, in the order in which they were named.
    pub fn named(all: &[Self]) -> Vec<Runner> {
        let mut runners = Vec::new();
        for who in all {
            let meant = RUNNERS.iter().map(|(_, runner)| *runner).filter(|r| who.0.is_none_or(|w| w == *r));
            for runner in meant {
                if !runners.contains(&runner) {
                    runners.push(runner);
                }
            }
        }
        runners
    }
}

/// What a runner is called.
pub fn name(runner: Runner) -> &'static str {
    RUNNERS.iter().find(|(_, known)| *known == runner).map_or("", |(name, _)| name)
}

/// What a channel is called.
pub fn channel(channel: Channel) -> &'static str {
    CHANNELS.iter().find(|(_, known)| *known == channel).map_or("", |(name, _)| name)
}

/// What interruptions are called.
pub fn interrupted(how: Interruptions) -> &'static str {
    INTERRUPTIONS.iter().find(|(_, known)| *known == how).map_or("", |(name, _)| name)
}

/// Parses the name of a runner, or `all`.
pub fn runners() -> impl TypedValueParser<Value = Who> {
    let names = RUNNERS.iter().map(|(name, _)| *name).chain([ALL]);
    PossibleValuesParser::new(names)
        .map(|given| Who(RUNNERS.iter().find(|(name, _)| *name == given).map(|(_, runner)| *runner)))
}

/// Parses the name of a channel.
pub fn channels() -> impl TypedValueParser<Value = Channel> {
    by_name(&CHANNELS)
}

/// Parses the name of interruptions.
pub fn interruptions() -> impl TypedValueParser<Value = Interruptions> {
    by_name(&INTERRUPTIONS)
}

fn by_name<T: Copy + Default + Send + Sync + 'static>(
    all: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|(name, _)| *name)).map(|given| {
        // What is not among the names has been refused before.
        all.iter().find(|(name, _)| *name == given).map(|(_, value)| *value).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    fn check(names: impl IntoIterator<Item = (&'static str, impl Serialize)>) {
        for (name, value) in names {
            assert_eq!(serde_json::to_value(value).expect("a name"), name);
        }
    }

    #[test]
    fn names_are_those_of_json() {
        check(RUNNERS);
        check(CHANNELS);
        check(INTERRUPTIONS);
        assert_eq!((name(Runner::Lag), channel(Channel::Push)), ("lag-3+1", "push"));
        assert_eq!(interrupted(Interruptions::Stress), "stress");
    }

    #[test]
    fn all_stands_for_everybody_and_nobody_runs_twice() {
        let (hpa, all) = (Who(Some(Runner::Hpa)), Who(None));
        assert_eq!(Who::named(&[all, hpa]).len(), RUNNERS.len());
        let runners = Who::named(&[hpa, hpa, Who(Some(Runner::Muster))]);
        assert_eq!(runners, [Runner::Hpa, Runner::Muster]);
    }
}
