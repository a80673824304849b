//! What is told of an instance's end, and what an agent is answered that tells of its own: a yes where its node can be told to let go, and nowhere else. It takes that
//! for the last word, and does not leave by itself.

use autoscaler_core::{DrainBy, Remark};
use autoscaler_engine::{Answer, Event, Write};
use fleet::wire::{AgentNotice, NoticeBatch};
use fleet::{ApiError, ErrorClass, InstanceId, InstanceState, MessageId, News, NoticeKind, Timestamp};
use fleet_sim::{Demand, InstancePhase};
use muster_worlds::cluster::Cluster;
use muster_worlds::harness::{fleet, minutes, secs, world};
use std::time::Duration;

/// When things begin to happen.
const BEGINS: Duration = minutes(6);

/// A steady fleet of six, whose agents tell by the test's hand alone.
fn steady(processes: usize) -> Cluster {
    let mut cluster =
        Cluster::new(world(vec![fleet(6, Demand::constant(3.8))]), 3, processes).policy(|policy| {
            (policy.capacity.min, policy.capacity.max, policy.capacity.surge) = (6, 6, 2);
        });
    (cluster.agents_tell, cluster.queue_tells) = (false, false);
    cluster.run_until(BEGINS);
    cluster
}

fn victim(cluster: &Cluster) -> InstanceId {
    let mut serving = cluster.members(0).into_iter().filter(|m| m.phase == InstancePhase::InService);
    serving.next().expect("six serve").id
}

/// Tells a process that an instance goes in two minutes. * returns: what it answers.
fn tell(cluster: &mut Cluster, who: usize, instance: &InstanceId) -> bool {
    let deadline = cluster.world.now() + minutes(2);
    tell_until(cluster, who, instance, deadline)
}

fn tell_until(cluster: &mut Cluster, who: usize, instance: &InstanceId, deadline: Timestamp) -> bool {
    let (kind, at_ms) = (NoticeKind::SpotInterruption, cluster.world.now());
    let notices = vec![AgentNotice { kind, at_ms, deadline_ms: Some(deadline) }];
    let peer = cluster.world.private_address(instance).expect("an address");
    let batch = NoticeBatch { version: 1, instance: instance.clone(), sequence: None, notices };
    cluster.tell_notices(who, peer, &batch)
}

#[test]
fn who_can_be_emptied_hears_yes() {
    let mut cluster = steady(1);
    let victim = victim(&cluster);
    assert!(cluster.world.interrupt(&victim));
    assert!(tell(&mut cluster, 0, &victim));
    cluster.run_until(BEGINS + minutes(5));
    assert_eq!(cluster.nomad.lost, 0, "{}", cluster.story());
}

#[test]
fn who_must_not_be_touched_hears_no() {
    let mut cluster = steady(1);
    let by_tag = victim(&cluster);
    let tags = [("muster:protected".to_owned(), "true".to_owned())].into();
    cluster.world.create_tags("somebody", &[by_tag.as_str()], &tags).expect("it lives");
    // Who begins anew looks at everything.
    cluster.die(0);
    cluster.run_until(BEGINS + minutes(4));
    assert!(!tell(&mut cluster, 0, &by_tag), "protected by its tag");

    let mut cluster = steady(1);
    let own = victim(&cluster);
    cluster.config.own_instance = Some(own.clone());
    cluster.die(0);
    cluster.run_until(BEGINS + minutes(4));
    assert!(!tell(&mut cluster, 0, &own), "we run there");
}

#[test]
fn whom_another_policy_protects_is_not_known_before_ec2_was_asked_and_hears_no() {
    for (away, answer) in [(true, false), (false, true)] {
        let mut cluster = steady(1);
        let victim = victim(&cluster);
        cluster.processes[0].aws_off = away;
        cluster.policies[0].base.protect.tags = [("Role".to_owned(), "primary".to_owned())].into();
        let policies = cluster.policies.clone();
        cluster.happen(0, Event::PoliciesLoaded(policies));
        cluster.run_until(BEGINS + minutes(1));
        assert_eq!(tell(&mut cluster, 0, &victim), answer, "EC2 is away: {away}");
    }
}

#[test]
fn where_nobody_empties_nodes_the_answer_is_no() {
    for (by, answer) in [(DrainBy::Nobody, false), (DrainBy::Hook, true)] {
        let mut cluster = steady(1);
        cluster.policies[0].base.drain.by = by;
        cluster.die(0);
        cluster.run_until(BEGINS + minutes(4));
        let victim = victim(&cluster);
        assert_eq!(tell(&mut cluster, 0, &victim), answer, "{by:?}");
    }
}

#[test]
fn a_new_leader_says_no_until_it_has_looked() {
    let mut cluster = steady(2);
    let leader = cluster.leader().expect("somebody leads");
    let next = 1 - leader;
    let slow = fleet_sim::Effect::Slow { action: None, latency: secs(40) };
    let (from, until) = (BEGINS, Some(BEGINS + minutes(2)));
    cluster.world.inject(fleet_sim::Fault { from, until, effect: slow });
    cluster.stays_dead = true;
    cluster.die(leader);
    let mut at = BEGINS;
    while cluster.leader() != Some(next) {
        at += secs(1);
        cluster.run_until(at);
    }
    cluster.run_until(at + secs(3));
    let victim = victim(&cluster);
    assert!(!tell(&mut cluster, next, &victim), "it leads, and tells no node anything yet");
    cluster.run_until(at + minutes(4));
    assert!(tell(&mut cluster, next, &victim));
}

#[test]
fn where_nomad_is_away_or_denies_or_does_not_show_the_node_the_answer_is_no() {
    type Spoils = fn(&mut Cluster, &InstanceId);
    let ways: [(&str, Spoils); 4] = [
        ("down", |cluster, _| cluster.nomad.down = true),
        ("denied", |cluster, _| cluster.nomad.denies = true),
        ("unreachable", |cluster, _| cluster.processes[0].nomad_off = true),
        ("hidden", |cluster, victim| _ = cluster.nomad.hidden.insert(victim.clone())),
    ];
    for (what, spoils) in ways {
        let mut cluster = steady(1);
        let victim = victim(&cluster);
        spoils(&mut cluster, &victim);
        cluster.run_until(BEGINS + minutes(1));
        assert!(!tell(&mut cluster, 0, &victim), "{what}");
    }
}

#[test]
fn where_nodes_may_be_seen_and_not_told_the_answer_is_no() {
    let mut cluster = steady(1);
    cluster.spoil = Some(Box::new(|write| {
        let error = || ApiError::new(ErrorClass::Denied, "nomad", "eligibility", None, "Permission denied");
        matches!(write, Write::Cordon(_) | Write::Drain { .. }).then(|| Answer::Done(Err(error())))
    }));
    let victim = victim(&cluster);
    assert!(tell(&mut cluster, 0, &victim), "nobody can know yet");
    cluster.run_until(BEGINS + secs(2));
    assert!(!tell(&mut cluster, 0, &victim));
}

#[test]
fn a_fleet_that_nobody_has_seen_for_long_is_emptied_all_the_same() {
    let mut cluster = steady(1);
    cluster.processes[0].aws_off = true;
    cluster.run_until(BEGINS + minutes(9));
    let victim = victim(&cluster);
    assert!(cluster.world.interrupt(&victim));
    assert!(tell(&mut cluster, 0, &victim));
    cluster.run_until(BEGINS + minutes(12));
    assert_eq!(cluster.nomad.lost, 0, "{}", cluster.story());
    cluster.processes[0].aws_off = false;
    cluster.run_until(BEGINS + minutes(30));
    assert_eq!((cluster.members(0).len(), cluster.truth_of(0).in_service), (7, 6), "{}", cluster.story());
    assert_eq!(cluster.nomad.ineligible().count(), 0);
    cluster.conclude();
}

#[test]
fn of_two_words_for_an_interruption_the_earlier_deadline_counts_whichever_comes_first() {
    for told in [[100, 70], [70, 100]] {
        let mut cluster = steady(1);
        let (victim, at) = (victim(&cluster), cluster.world.now());
        for until in told {
            assert!(tell_until(&mut cluster, 0, &victim, at + secs(until)));
            cluster.run_until(cluster.elapsed() + secs(3));
        }
        // Nothing serves in its place by then.
        cluster.run_until(BEGINS + secs(45));
        assert!(cluster.nomad.work_on(&victim, cluster.world.now()) > 0, "{told:?}: it works on");
        cluster.run_until(BEGINS + secs(70));
        assert_eq!(cluster.nomad.work_on(&victim, cluster.world.now()), 0, "{told:?}:\n{}", cluster.story());
    }
}

#[test]
fn who_ends_without_a_word_is_remarked_upon_with_how_late_that_was_heard() {
    let mut cluster = steady(1);
    (cluster.agents_tell, cluster.queue_tells) = (false, false);
    let lost = victim(&cluster);
    assert!(cluster.world.interrupt(&lost), "it runs");
    let gone = |cluster: &Cluster| {
        cluster.members(0).iter().all(|member| member.id != lost || member.phase == InstancePhase::Gone)
    };
    while !gone(&cluster) {
        cluster.run_until(cluster.elapsed() + secs(1));
    }
    let at = cluster.world.now();
    let told = |cluster: &Cluster| {
        let status = cluster.processes[0].engine.as_ref().expect("it runs").status(cluster.now(0));
        let report = status.fleets[0].decided.clone().expect("a decision").report;
        report.remarks.iter().find_map(|remark| match remark {
            Remark::LostUnannounced { instance, late, .. } => Some((instance.clone(), *late)),
            _ => None,
        })
    };
    let news = vec![News::State { instance: lost.clone(), state: InstanceState::Terminated, at }];
    let region = cluster.config.region.clone().expect("a region");
    let mut found = None;
    for second in 0..90 {
        if second == 20 {
            let (region, message) = (region.clone(), Some(MessageId::new("m")));
            cluster.happen(0, Event::Heard { region, message, news: news.clone() });
        }
        let until = cluster.elapsed() + secs(1);
        cluster.run_until(until);
        let now = cluster.world.now();
        found = found.or_else(|| told(&cluster).map(|(instance, late)| (instance, late, now.since(at))));
    }
    let (instance, late, really) = found.unwrap_or_else(|| panic!("nobody remarks it: {}", cluster.story()));
    // A describe that sees it may be sooner than the word for it.
    assert!(instance == lost && late <= really && really < late + secs(15), "{instance} {late:?} {really:?}");
    let status = cluster.processes[0].engine.as_ref().expect("it runs").status(cluster.now(0));
    assert!(status.fleets[0].pools.iter().any(|pool| pool.interrupted > 0.9), "{:?}", status.fleets[0].pools);
}
