//! Worlds by chance: those that once showed something wrong, and what is left of a world that does.

use muster_worlds::fate::{Fate, Trouble, What, cluster, live, run};
use muster_worlds::shrink::shrink;
use std::time::Duration;

/// Each showed something wrong once: victims whose work had no room, targets that followed a victim upon an old look,
/// a node that came just then, a lowering that was lost, a clock that ran ahead of a notice.
const KEPT: [u64; 21] = [
    0, 121, 125, 130, 166, 201, 228, 245, 333, 361, 393, 559, 645, 726, 753, 1277, 2139, 2841, 2989, 3024,
    3226,
];

#[test]
fn worlds_that_once_showed_something_wrong_are_right() {
    for seed in KEPT {
        let outcome = run(&Fate::of(seed));
        assert_eq!(outcome.complaints, [] as [String; 0], "seed {seed}");
    }
}

/// The same of worlds with a roll-out: a fleet with no room to shrink, a write of what is launched alone, instances that were
/// ordered before the fleet was told, a fleet that is mostly of what has failed.
const ROLLED: [u64; 5] = [0, 23, 497, 597, 638];

#[test]
fn roll_outs_that_once_showed_something_wrong_are_right() {
    for seed in ROLLED {
        let outcome = run(&Fate::rolling(seed));
        assert_eq!(outcome.complaints, [] as [String; 0], "seed {seed}");
    }
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
