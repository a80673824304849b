//! What Packer has left behind in AWS after a bake that did not end well, and its end.
//!
//! Packer removes what it has made, but not what EC2 was about to make when Packer was cut off: told to end while it waits for a
//! launch template, it removes the template by its name before there is one, and EC2 makes it all the same. So it is with a
//! machine, a group and a key, and with an image for as long as EC2 makes it. All that a bake makes carries the bake's own tag from
//! the moment it is made, and is found by that.

use fleet::ports::{Answer, Clock};
use fleet::{ApiError, DurationText, ErrorClass};
use fleet_aws::{Aws, Leftover, LeftoverKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The tag of what a bake makes; its value is the bake's.
pub const TAG: &str = "muster:bake";
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// For how long there has to be nothing: what EC2 was asked for it makes within seconds, and shows within some more.
const QUIET: Duration = Duration::from_secs(15);
/// How long things are tried again: a group is in use until its machine has ended, which takes a minute or two.
const PATIENCE: Duration = Duration::from_secs(300);

/// One account in one region, as the end of a bake needs it.
///
/// Every method's error has the class of [`ErrorClass`], and all have the same effect however often they are asked.
pub trait Workshop: Send + Sync {
    /// The region.
    fn region(&self) -> &str;
    /// What carries a bake's tag and can be removed, for as long as EC2 shows it.
    fn left<'a>(&'a self, bake: &'a str) -> Answer<'a, BTreeSet<Leftover>>;
    /// Removes one of them. * returns: whether it was there. `Conflict`: something still uses it.
    fn remove<'a>(&'a self, leftover: &'a Leftover) -> Answer<'a, bool>;
}

impl Workshop for Aws {
    fn region(&self) -> &str {
        self.region().as_str()
    }
    fn left<'a>(&'a self, bake: &'a str) -> Answer<'a, BTreeSet<Leftover>> {
        Box::pin(self.leftovers(TAG, bake))
    }
    fn remove<'a>(&'a self, leftover: &'a Leftover) -> Answer<'a, bool> {
        Box::pin(self.remove_leftover(leftover))
    }
}

/// Removes what a bake has left, until there has been nothing for 15 seconds, or for five minutes at most. Each thing that it removes is
/// told in a line, and each that it cannot, with how to.
///
/// Never fails: the bake has failed already, and that stands. Dropped anywhere, it leaves the rest as it was.
pub async fn sweep(workshop: &dyn Workshop, bake: &str, clock: &dyn Clock, tell: &(dyn Fn(&str) + Sync)) {
    tell(&format!(
        "looking for what Packer has left behind, for {}; another interrupt ends that",
        DurationText(QUIET)
    ));
    let mut quiet_since = clock.monotonic();
    let deadline = quiet_since + PATIENCE;
    // EC2 goes on showing what was removed for a while.
    let mut removed = BTreeSet::new();
    let mut stuck: BTreeMap<Leftover, ApiError> = BTreeMap::new();
    loop {
        let found = match workshop.left(bake).await {
            Ok(found) => found,
            Err(error) => {
                tell(&format!(
                    "cannot see what Packer has left behind: {error}; {}",
                    by_hand(bake, workshop.region())
                ));
                break;
            }
        };
        stuck.retain(|one, _| found.contains(one));
        let still: Vec<Leftover> = found.into_iter().filter(|one| !removed.contains(one)).collect();
        let busy = remove(workshop, still, &mut removed, &mut stuck, tell).await;
        let now = clock.monotonic();
        if busy {
            quiet_since = now;
        }
        if now >= deadline || now >= quiet_since + QUIET {
            break;
        }
        clock.sleep_until(now + PAUSE).await;
    }
    for (Leftover { kind, id }, error) in &stuck {
        let command = command(*kind);
        tell(&format!(
            "cannot remove the {} {id}: {error}; remove it by: aws ec2 {command} {id} --region {}",
            name(*kind),
            workshop.region()
        ));
    }
}

/// Removes what it can of these. * returns: whether there was something to do that may have to be done again.
async fn remove(
    workshop: &dyn Workshop,
    found: Vec<Leftover>,
    removed: &mut BTreeSet<Leftover>,
    stuck: &mut BTreeMap<Leftover, ApiError>,
    tell: &(dyn Fn(&str) + Sync),
) -> bool {
    let mut busy = false;
    for one in found {
        match workshop.remove(&one).await {
            Ok(was_there) => {
                stuck.remove(&one);
                busy |= was_there;
                if was_there {
                    tell(&format!("removed the {} {}, which Packer had left behind", name(one.kind), one.id));
                    removed.insert(one);
                }
            }
            Err(error) => {
                busy |= !matches!(error.class, ErrorClass::Denied | ErrorClass::Malformed);
                stuck.insert(one, error);
            }
        }
    }
    busy
}

/// How what a bake has left is found, in words.
pub fn by_hand(bake: &str, region: &str) -> String {
    format!(
        "find it by: aws ec2 describe-tags --filters Name=key,Values={TAG} Name=value,Values={bake} --region {region}"
    )
}

const fn name(kind: LeftoverKind) -> &'static str {
    match kind {
        LeftoverKind::Instance => "instance",
        LeftoverKind::LaunchTemplate => "launch template",
        LeftoverKind::KeyPair => "key pair",
        LeftoverKind::SecurityGroup => "security group",
        LeftoverKind::Image => "image",
        LeftoverKind::Snapshot => "snapshot",
    }
}

/// What removes it: a command of `aws ec2`, but the id at its end.
const fn command(kind: LeftoverKind) -> &'static str {
    match kind {
        LeftoverKind::Instance => "terminate-instances --instance-ids",
        LeftoverKind::LaunchTemplate => "delete-launch-template --launch-template-id",
        LeftoverKind::KeyPair => "delete-key-pair --key-pair-id",
        LeftoverKind::SecurityGroup => "delete-security-group --group-id",
        LeftoverKind::Image => "deregister-image --image-id",
        LeftoverKind::Snapshot => "delete-snapshot --snapshot-id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::Timestamp;
    use fleet_clock::SteppedClock;
    use std::pin::pin;
    use std::sync::Mutex;

    const GROUP: (LeftoverKind, &str) = (LeftoverKind::SecurityGroup, "sg-1");
    const TEMPLATE: (LeftoverKind, &str) = (LeftoverKind::LaunchTemplate, "lt-1");
    const MACHINE: (LeftoverKind, &str) = (LeftoverKind::Instance, "i-1");

    /// One thing in an account.
    struct Thing {
        what: (LeftoverKind, &'static str),
        /// From when on it is there, and from when on it can be removed, in seconds.
        made: u64,
        free: u64,
        /// Why it cannot be removed before.
        refused: ErrorClass,
        gone: bool,
    }

    impl Thing {
        const fn of(what: (LeftoverKind, &'static str), made: u64, free: u64) -> Self {
            Self { what, made, free, refused: ErrorClass::Conflict, gone: false }
        }
    }

    struct Fake {
        clock: SteppedClock,
        things: Mutex<Vec<Thing>>,
        blind: bool,
    }

    fn refusal(class: ErrorClass) -> ApiError {
        ApiError::new(class, "ec2", "Anything", Some("Refused"), "no")
    }

    impl Workshop for Fake {
        fn region(&self) -> &'static str {
            "eu-west-1"
        }
        // As EC2 does, it shows what is removed for as long as anybody looks.
        fn left<'a>(&'a self, bake: &'a str) -> Answer<'a, BTreeSet<Leftover>> {
            assert_eq!(bake, "b1");
            let now = self.clock.monotonic().as_secs();
            let things = self.things.lock().expect("no panic");
            let there = things.iter().filter(|thing| thing.made <= now);
            let there =
                there.map(|thing| Leftover { kind: thing.what.0, id: thing.what.1.to_owned() }).collect();
            Box::pin(async move { if self.blind { Err(refusal(ErrorClass::Denied)) } else { Ok(there) } })
        }
        fn remove<'a>(&'a self, leftover: &'a Leftover) -> Answer<'a, bool> {
            let now = self.clock.monotonic().as_secs();
            let mut things = self.things.lock().expect("no panic");
            let thing = things.iter_mut().find(|thing| thing.what.1 == leftover.id).expect("it was shown");
            let result = if now < thing.free {
                Err(refusal(thing.refused))
            } else {
                Ok(!std::mem::replace(&mut thing.gone, true))
            };
            Box::pin(async move { result })
        }
    }

    /// What is told of these things, and after how many seconds it ends.
    fn swept(things: Vec<Thing>, blind: bool) -> (Vec<String>, u64) {
        let clock = SteppedClock::new(Timestamp::EPOCH);
        let fake = Fake { clock: clock.clone(), things: Mutex::new(things), blind };
        let told = Mutex::new(Vec::new());
        let tell = |line: &str| told.lock().expect("no panic").push(line.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut sweep = pin!(sweep(&fake, "b1", &clock, &tell));
            loop {
                tokio::select! {
                    biased;
                    () = &mut sweep => break,
                    () = std::future::ready(()) => clock.advance_to(clock.next_wake().expect("it waits for the clock")),
                }
            }
        });
        let told = told.into_inner().expect("no panic");
        (told[1..].to_vec(), clock.monotonic().as_secs())
    }

    #[test]
    fn where_nothing_is_left_it_looks_for_a_quarter_of_a_minute() {
        assert_eq!(swept(vec![], false), (vec![], 15));
    }

    #[test]
    fn what_is_made_only_after_is_found_and_the_quiet_begins_anew() {
        let (told, ended) = swept(vec![Thing::of(TEMPLATE, 12, 0)], false);
        assert_eq!(told, ["removed the launch template lt-1, which Packer had left behind"]);
        assert_eq!(ended, 30, "found at 15 s");
    }

    #[test]
    fn a_group_is_tried_until_its_machine_has_ended() {
        let (told, ended) = swept(vec![Thing::of(GROUP, 0, 90), Thing::of(MACHINE, 0, 0)], false);
        assert_eq!(
            told,
            [
                "removed the instance i-1, which Packer had left behind",
                "removed the security group sg-1, which Packer had left behind"
            ]
        );
        assert_eq!(ended, 105);
    }

    #[test]
    fn what_cannot_be_removed_is_told_with_how_to() {
        let (told, ended) = swept(vec![Thing::of(GROUP, 0, u64::MAX)], false);
        assert_eq!(
            told,
            [
                "cannot remove the security group sg-1: ec2 Anything answered Refused: no; remove it by: aws ec2 delete-security-group --group-id sg-1 --region eu-west-1"
            ]
        );
        assert_eq!(ended, 300);
        // What is not allowed will not be allowed by waiting; what else there is, is removed.
        let denied = Thing { refused: ErrorClass::Denied, ..Thing::of(MACHINE, 0, u64::MAX) };
        let (told, ended) = swept(vec![denied, Thing::of(TEMPLATE, 0, 0)], false);
        assert!(told[0].starts_with("removed the launch template lt-1"), "{told:?}");
        assert!(told[1].starts_with("cannot remove the instance i-1: "), "{told:?}");
        assert_eq!(ended, 15);
    }

    #[test]
    fn where_nothing_can_be_seen_it_says_how_to_look() {
        let (told, ended) = swept(vec![Thing::of(TEMPLATE, 0, 0)], true);
        assert_eq!(
            told,
            [
                "cannot see what Packer has left behind: ec2 Anything answered Refused: no; find it by: aws ec2 describe-tags --filters Name=key,Values=muster:bake Name=value,Values=b1 --region eu-west-1"
            ]
        );
        assert_eq!(ended, 0);
    }
}
