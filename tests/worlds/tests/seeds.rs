//! Worlds by chance: those that once showed something wrong, and what is left of a world that does.

use muster_worlds::fate::{Fate, Trouble, What, cluster, live, run};
use muster_worlds::shrink::shrink;
use std::time::Duration;

/// Fates of worlds that showed something wrong once, one a line, as `muster-worlds` prints them: victims whose work had no room,
/// targets that followed a victim upon an old look, a node that came just then, a lowering that was lost, a clock that ran ahead of a
/// notice; roll-outs of a fleet with no room to shrink, of instances that were ordered before the fleet was told, of a fleet that is
/// mostly of what has failed, and one that was taken back right after the fleet was told; two at risk that waited for each other,
/// some that seemed bought by the fleet and were counted all the same, and one whose leader could not look at EC2 while it was taken;
/// some at risk that let go for what had been asked for in another's place and was not shown yet, so that each waited for the other;
/// drains that a leader began whose clock was slow, and that were over at once by the next one's; a version that
/// failed and went no more, because those that never served did not say how busy they are; and one at risk that stayed
/// after all, and whose node was given back its work and denied it by turns; an interruption that nobody had heard of, whose
/// successor was given back and bought again; scheduled events of several, of which one's victim was counted in another's place and
/// stayed to its event, and one that was heard of by a clock that ran ahead; an instance at risk that a roll-out took for unready for
/// good; writes of two leaders within one minute; a look that lagged behind the one before it; a drain whose time seemed over by a
/// clock that jumped ahead; a leader that AWS did not answer, where the other one could have led; one that had never seen what the
/// leader before it was about to empty; a roll-out in which one without a place beside what was wanted kept the others from theirs;
/// one that was emptied early, in whose place nothing was asked for because another waited for just that before it went; two unheard
/// interruptions, of which the second's successor was given back; and a version that was ordered twice, whose failures counted as
/// ready.
/// In others it was the judge who was wrong: of repairs that go on in peace, of victims who are told one after the other, of a roll-out
/// that halts right before the end, of the only one on demand, whose going leaves a pool more than its share, of some that leave so few
/// that no spread counts, of orders that were let be before they were launched, of an instance that AWS marks right after another was
/// asked for in its place, of one that was given up in time and taken before the target followed or just after, and of leaders that
/// could not prove it. Kept whole, for a seed is another world as soon as anything is drawn otherwise.
const KEPT: &str = include_str!("kept.jsonl");

#[test]
fn worlds_that_once_showed_something_wrong_are_right() {
    for line in KEPT.lines() {
        let fate: Fate = serde_json::from_str(line).expect("a fate");
        let outcome = run(&fate);
        assert_eq!(outcome.complaints, [] as [String; 0], "{line}");
    }
    assert_eq!(KEPT.lines().count(), 78);
}

#[test]
fn a_fate_is_read_back_as_it_was_written() {
    for seed in 0..200 {
        for fate in [Fate::of(seed), Fate::rolling(seed), Fate::pinned(seed).varied()] {
            let text = serde_json::to_string(&fate).expect("it can be written");
            assert_eq!(serde_json::from_str::<Fate>(&text).expect("and read"), fate, "{text}");
        }
    }
}

/// The same of another policy and another market: on demand is bought where spot has nothing to give, and given back.
#[test]
fn worlds_of_other_policies_are_right_and_on_demand_stands_in_for_spot() {
    let mut stood_in = 0;
    for seed in 0..24 {
        let fate = Fate::of(seed).varied();
        let mut world = cluster(&fate);
        let outcome = live(&fate, &mut world);
        assert_eq!(outcome.complaints, [] as [String; 0], "seed {seed}");
        let part = fate.setting.habits.on_demand;
        stood_in += usize::from(world.truth.most_on_demand > part);
    }
    assert!(stood_in > 0, "nobody bought on demand");
}

/// The same of fleets whose size never changes: what is bought is held against what AWS took.
#[test]
fn exactly_one_is_bought_for_each_that_aws_takes() {
    let mut taken = 0;
    for seed in 0..8 {
        let outcome = run(&Fate::pinned(seed));
        assert_eq!(outcome.complaints, [] as [String; 0], "seed {seed}");
        taken += outcome.interruptions;
    }
    assert!(taken > 10, "{taken}");
}

#[test]
fn whom_to_let_go_is_judged() {
    let choices: usize = (0..6).map(|seed| run(&Fate::of(seed)).choices).sum();
    assert!(choices > 3, "{choices}");
}

#[test]
fn the_same_seed_is_the_same_world() {
    let fate = Fate::of(7);
    assert_eq!(run(&fate), run(&fate));
}

#[test]
fn a_world_without_troubles_is_right_and_does_something() {
    let fate = Fate { troubles: Vec::new(), ..Fate::of(3) };
    let outcome = run(&fate);
    assert_eq!(outcome.complaints, [] as [String; 0]);
    assert!(outcome.writes > 0);
}

/// EC2 answers nobody for half an hour. In its midst instances are taken back: their work leaves in time, for that takes Nomad
/// alone, and afterwards the fleet is what it was.
#[test]
fn work_leaves_in_time_while_ec2_answers_nobody() {
    let seconds = Duration::from_secs;
    for seed in [3, 8, 21] {
        let away = |who| Trouble { from: seconds(600), until: seconds(2400), what: What::NoAws { who } };
        let taken = Trouble { from: seconds(1500), until: seconds(1501), what: What::Interrupt(2) };
        let fate = Fate { troubles: vec![away(0), away(1), taken], ..Fate::of(seed) };
        let mut world = cluster(&fate);
        let outcome = live(&fate, &mut world);
        assert_eq!(outcome.complaints, [] as [String; 0], "seed {seed}:\n{}", world.story());
        assert!(outcome.interruptions > 0 && world.nomad.lost == 0, "seed {seed}: {}", world.nomad.lost);
    }
}

#[test]
fn of_a_world_that_fails_what_it_needs_is_left() {
    // Nomad never comes back, so that what was cordoned stays so: nobody can set it right.
    let seconds = Duration::from_secs;
    let mut fate = Fate { replays: false, ..Fate::of(11) };
    fate.trouble = seconds(4800);
    let silent = Trouble { from: seconds(100), until: seconds(200), what: What::MetricsGap };
    let forever = |who| Trouble {
        from: seconds(4700),
        until: seconds(9000),
        what: What::NoConsul { who, way: muster_worlds::seat::Way::Closed },
    };
    fate.troubles = vec![silent, forever(0), forever(1)];
    let mut world = cluster(&fate);
    let found = live(&fate, &mut world).complaints;
    assert!(found.iter().any(|complaint| complaint.contains("nobody leads")), "{found:?}");
    let smallest = shrink(&fate, || true);
    assert!(
        smallest.troubles.iter().all(|trouble| matches!(trouble.what, What::NoConsul { .. })),
        "{smallest:?}"
    );
}
