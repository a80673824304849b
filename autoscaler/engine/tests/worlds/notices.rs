//! Instances that AWS takes back: heard of at once, drained in time, replaced exactly once, whatever happens to the
//! processes meanwhile.

use autoscaler_engine::{Answer, Effect, Event, Write};
use fleet::{
    ApiError, ErrorClass, InstanceId, InstanceState, MessageId, News, Notice, NoticeKind, NoticeSource,
    Region, Timestamp,
};
use fleet_sim::{Demand, InstancePhase, Replaced, WorldSpec};
use muster_worlds::cluster::Cluster;
use muster_worlds::harness::{fleet, minutes, secs, start, world};
use std::time::Duration;

/// When things begin to happen.
const BEGINS: Duration = minutes(6);

/// A world of one steady fleet of six.
fn steady(replaced: Replaced) -> WorldSpec {
    let mut spec = world(vec![fleet(6, Demand::constant(3.8))]);
    spec.interruptions.replaced = replaced;
    // Where the fleet buys at the marking, only a describe can tell: one that lags tells too late, and what was
    // bought twice is given back.
    spec.timing.describe_lag = if replaced == Replaced::AtDeath { secs(2) } else { Duration::ZERO };
    spec
}

fn pinned(policy: &mut autoscaler_core::Policy) {
    policy.capacity.min = 6;
    policy.capacity.max = 6;
    policy.capacity.surge = 2;
}

fn cluster(replaced: Replaced, processes: usize) -> Cluster {
    let mut cluster = Cluster::new(steady(replaced), 3, processes).policy(pinned);
    cluster.run_until(BEGINS);
    assert_eq!(cluster.truth_of(0).in_service, 6);
    cluster
}

fn serving(cluster: &Cluster) -> Vec<InstanceId> {
    let in_service = cluster.members(0).into_iter().filter(|m| m.phase == InstancePhase::InService);
    in_service.map(|member| member.id).collect()
}

/// Everything is as before, but for the instances that went: each has one in its place, and no other was bought.
fn replaced_once(cluster: &Cluster, gone: &[InstanceId], what: &str) {
    let bought = cluster.members(0).len() - 6;
    assert_eq!(bought, gone.len(), "{what}: exactly one was bought for each:\n{}", cluster.story());
    has_come_right(cluster, gone, what);
}

/// Everything is as before, but for the instances that went.
fn has_come_right(cluster: &Cluster, gone: &[InstanceId], what: &str) {
    let members = cluster.members(0);
    let alive = members.iter().filter(|member| member.phase != InstancePhase::Gone).count();
    let truth = cluster.truth_of(0);
    assert_eq!((truth.target, alive, truth.in_service), (6, 6, 6), "{what}: {truth:?}");
    for instance in gone {
        assert!(members.iter().any(|m| m.id == *instance && m.phase == InstancePhase::Gone), "{what}");
    }
    assert_eq!(cluster.nomad.ineligible().count(), 0, "{what}: nothing is left over");
    cluster.conclude();
}

#[test]
fn an_interrupted_instance_is_cordoned_at_once_drained_in_time_and_replaced_once_in_both_worlds() {
    for replaced in [Replaced::AtMarking, Replaced::AtDeath] {
        for processes in [1, 2] {
            let what = format!("{replaced:?}, {processes} processes");
            let mut cluster = cluster(replaced, processes);
            let victim = serving(&cluster)[0].clone();
            assert!(cluster.world.interrupt(&victim));
            cluster.run_until(BEGINS + secs(3));
            let cordoned = cluster.nomad.cordoned.get(&victim).copied().expect(&what);
            assert!(cordoned.since(start() + BEGINS) <= Duration::from_millis(1300), "{what}: {cordoned:?}");
            cluster.run_until(BEGINS + minutes(20));
            assert_eq!(cluster.nomad.lost, 0, "{what}: it was drained in time");
            replaced_once(&cluster, &[victim], &what);
        }
    }
}

#[test]
fn a_notice_reaches_the_node_though_describes_hang() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    let slow = fleet_sim::Effect::Slow { action: None, latency: secs(60) };
    cluster.world.inject(fleet_sim::Fault {
        from: BEGINS.saturating_sub(secs(1)),
        until: Some(BEGINS + secs(40)),
        effect: slow,
    });
    let victim = serving(&cluster)[0].clone();
    cluster.run_until(BEGINS + secs(12));
    cluster.world.interrupt(&victim);
    cluster.run_until(BEGINS + secs(15));
    assert!(cluster.nomad.cordoned.contains_key(&victim), "{:?}", cluster.nomad.cordoned);
    cluster.run_until(BEGINS + minutes(20));
    replaced_once(&cluster, &[victim], "slow describes");
}

#[test]
fn half_of_a_fleet_at_once_with_duplicates_is_replaced_once_each_within_the_surge() {
    for replaced in [Replaced::AtMarking, Replaced::AtDeath] {
        let mut cluster = cluster(replaced, 2);
        cluster.duplicates = 3;
        let victims: Vec<InstanceId> = serving(&cluster).into_iter().take(3).collect();
        for (index, victim) in victims.iter().enumerate() {
            cluster.world.interrupt(victim);
            cluster.run_until(BEGINS + secs(10 * (index as u64 + 1)));
        }
        cluster.run_until(BEGINS + minutes(25));
        assert_eq!(cluster.nomad.lost, 0, "{replaced:?}");
        replaced_once(&cluster, &victims, &format!("{replaced:?}"));
    }
}

#[test]
fn what_is_heard_late_from_the_queue_alone_or_never_is_replaced_all_the_same() {
    for (agents, queue, late) in [(false, true, secs(60)), (true, false, secs(0)), (false, false, secs(0))] {
        let mut cluster = cluster(Replaced::AtDeath, 1);
        (cluster.agents_tell, cluster.queue_tells, cluster.late) = (agents, queue, late);
        let victim = serving(&cluster)[0].clone();
        cluster.world.interrupt(&victim);
        cluster.run_until(BEGINS + minutes(20));
        replaced_once(&cluster, &[victim], &format!("agents {agents}, queue {queue}, late {late:?}"));
    }
}

/// What EventBridge says of an interruption that was decided now.
fn warning(cluster: &Cluster, victim: &InstanceId) -> Event {
    let at = cluster.world.now();
    let notice = Notice {
        instance: victim.clone(),
        kind: NoticeKind::SpotInterruption,
        source: NoticeSource::EventBridge,
        at,
        deadline: Some(at + minutes(2)),
    };
    let region = cluster.config.region.clone().expect("a region");
    Event::Heard { region, message: Some(MessageId::new("m")), news: vec![News::Notice(notice)] }
}

/// What a process does about a warning once its records are on disk; nothing else is answered meanwhile.
fn upon_warning(cluster: &mut Cluster, who: usize, victim: &InstanceId) -> (Vec<Effect>, Vec<Effect>) {
    let (warning, now) = (warning(cluster, victim), cluster.now(who));
    let engine = cluster.processes[who].engine.as_mut().expect("it runs");
    let at_once = engine.handle(warning, now);
    let recorded = at_once.iter().filter_map(|effect| match effect {
        Effect::Record { batch, durable: true, .. } => Some(*batch),
        _ => None,
    });
    let recorded: Vec<_> = recorded.collect();
    let written =
        recorded.into_iter().flat_map(|batch| engine.handle(Event::Recorded { batch, result: Ok(()) }, now));
    let written = written.collect();
    (at_once, written)
}

fn acknowledges(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Acknowledge { .. }))
}

#[test]
fn a_warning_is_recorded_then_acknowledged_and_its_node_cordoned_without_any_answer_of_ec2() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    let victim = serving(&cluster)[0].clone();
    let (at_once, written) = upon_warning(&mut cluster, 0, &victim);
    assert!(!acknowledges(&at_once), "it may be forgotten still: {at_once:#?}");
    assert!(acknowledges(&written), "{written:#?}");
    let cordons = |effect: &Effect| matches!(effect, Effect::Write { write: Write::Cordon(node), .. } if node.instance == victim);
    assert!(!at_once.iter().any(cordons), "its intent is not on disk: {at_once:#?}");
    assert!(written.iter().any(cordons), "{written:#?}");
    let (again, _) = upon_warning(&mut cluster, 0, &victim);
    assert!(acknowledges(&again), "what is on disk already is acknowledged at once: {again:#?}");
}

#[test]
fn a_warning_that_a_full_disk_lost_is_acknowledged_when_it_comes_again_and_there_is_room() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    let victim = serving(&cluster)[0].clone();
    let (warning, now) = (warning(&cluster, &victim), cluster.now(0));
    let engine = cluster.processes[0].engine.as_mut().expect("it runs");
    let mut tell = |full: bool| -> Vec<Effect> {
        let mut effects = engine.handle(warning.clone(), now);
        let mut place = 0;
        while place < effects.len() {
            if let Effect::Record { batch, .. } = &effects[place] {
                let result = if full { Err("no space left on device".to_owned()) } else { Ok(()) };
                let more = engine.handle(Event::Recorded { batch: *batch, result }, now);
                effects.extend(more);
            }
            place += 1;
        }
        effects
    };
    assert!(!acknowledges(&tell(true)));
    assert!(!acknowledges(&tell(true)), "it comes again, and the disk is full still");
    let freed = tell(false);
    assert!(acknowledges(&freed), "{freed:#?}");
}

#[test]
fn a_standby_hears_and_neither_acts_nor_acknowledges() {
    let mut cluster = cluster(Replaced::AtDeath, 2);
    let standby = 1 - cluster.leader().expect("somebody leads");
    let victim = serving(&cluster)[0].clone();
    let (at_once, written) = upon_warning(&mut cluster, standby, &victim);
    let writes = |effect: &Effect| matches!(effect, Effect::Write { .. });
    assert!(!acknowledges(&at_once) && !acknowledges(&written), "the leader has to hear it, too");
    assert!(!at_once.iter().chain(&written).any(writes));
}

#[test]
fn what_a_fleet_gives_back_by_itself_is_never_replaced() {
    let mut cluster = Cluster::new(world(vec![fleet(5, Demand::constant(0.8))]), 3, 1).policy(|policy| {
        (policy.capacity.min, policy.capacity.max) = (2, 5);
        policy.scale_in.enabled = false;
    });
    cluster.truth.others_write = true;
    cluster.run_until(BEGINS);
    let change = fleet_sim::ModifyFleet {
        target: Some(4),
        excess: Some(fleet::ExcessCapacity::Termination),
        ..fleet_sim::ModifyFleet::default()
    };
    let (id, backend) = (cluster.id(0), cluster.world.fleets()[0].backend);
    cluster.world.modify_fleet("somebody", backend, &id, change).expect("they may");
    cluster.run_until(BEGINS + minutes(20));
    let members = cluster.members(0);
    let alive = members.iter().filter(|member| member.phase != InstancePhase::Gone).count();
    assert_eq!((members.len(), alive, cluster.truth_of(0).target), (5, 4, 4), "{}", cluster.story());
    cluster.conclude();
}

/// The effects of all processes while an instance is replaced.
fn effects_of_the_replacement(replaced: Replaced, processes: usize) -> std::ops::Range<u64> {
    let mut cluster = cluster(replaced, processes);
    let from = cluster.effects + 1;
    let victim = serving(&cluster)[0].clone();
    cluster.world.interrupt(&victim);
    cluster.run_until(BEGINS + secs(200));
    from..cluster.effects
}

/// What becomes of the first change to the fleet after this.
#[derive(Clone, Copy, Debug, PartialEq)]
enum First {
    Works,
    /// It was done, and nobody says so.
    LosesItsAnswer,
    /// It was not done, and nobody says so.
    IsLost,
}

/// Before every effect where all works, before some where the first change has another fate.
fn deaths(effects: std::ops::Range<u64>) -> impl Iterator<Item = (u64, First)> {
    let fates = |at: u64| match at % 8 {
        0 => [First::Works, First::LosesItsAnswer],
        4 => [First::Works, First::IsLost],
        _ => [First::Works; 2],
    };
    effects.flat_map(move |at| {
        let [first, second] = fates(at);
        std::iter::once((at, first)).chain((first != second).then_some((at, second)))
    })
}

fn spoil_first(cluster: &mut Cluster, first: First) {
    let from = cluster.elapsed();
    match first {
        First::Works => {}
        First::LosesItsAnswer => {
            for action in
                [fleet_sim::Action::MODIFY_SPOT_FLEET_REQUEST, fleet_sim::Action::TERMINATE_INSTANCES]
            {
                let effect = fleet_sim::Effect::LoseAnswer { action: Some(action), share: 1.0 };
                cluster.world.inject(fleet_sim::Fault { from, until: Some(from + secs(40)), effect });
            }
        }
        First::IsLost => {
            let mut spoiled = false;
            cluster.spoil = Some(Box::new(move |write| {
                let error = || ApiError::new(ErrorClass::Unclear, "ec2", "call", None, "no answer in time");
                let answer = match write {
                    Write::Modify { .. } => Answer::Modified(Err(error())),
                    Write::Terminate { .. } => Answer::Terminated(Err(error())),
                    _ => return None,
                };
                (!std::mem::replace(&mut spoiled, true)).then_some(answer)
            }));
        }
    }
}

/// Whether the target was being lowered when somebody died or froze, and nobody can tell whether that was done: their own books
/// say so, and nothing has shown.
fn lowering_is_unclear(cluster: &Cluster, who: usize) -> bool {
    let expected = written_by(cluster, who).memory.expected.filter(|expected| !expected.shown);
    expected.is_some_and(|expected| expected.before.is_some_and(|before| expected.target < before.target))
}

/// Runs until somebody has died or frozen. * returns: whether the lowering is unclear from then on.
fn run_until_it_stops(cluster: &mut Cluster, until: Duration) -> bool {
    while cluster.last.is_none() && cluster.elapsed() < until {
        cluster.run_until(cluster.elapsed() + Duration::from_millis(500));
    }
    let who = cluster.last.expect("somebody died or froze");
    lowering_is_unclear(cluster, who)
}

#[test]
fn whenever_a_process_dies_an_interrupted_instance_is_replaced_once_unless_the_lowering_is_unclear() {
    for (replaced, processes) in [(Replaced::AtMarking, 1), (Replaced::AtDeath, 1), (Replaced::AtDeath, 2)] {
        let effects = effects_of_the_replacement(replaced, processes);
        assert!(effects.end - effects.start > 60, "{effects:?}");
        let mut unclear = 0;
        for (dies_at, first) in deaths(effects) {
            let what =
                format!("{replaced:?} {processes}: died before effect {dies_at}, the first change {first:?}");
            let mut cluster = cluster(replaced, processes);
            let victim = serving(&cluster)[0].clone();
            cluster.world.interrupt(&victim);
            cluster.dies_at = Some(dies_at);
            spoil_first(&mut cluster, first);
            // Whoever dies over the lowering leaves it unclear until the instance has gone and another is bought, which
            // then goes again.
            let may_be_two = run_until_it_stops(&mut cluster, BEGINS + minutes(20));
            cluster.run_until(BEGINS + minutes(20));
            assert_eq!(cluster.crashes, 1);
            has_come_right(&cluster, &[victim], &what);
            let bought = cluster.members(0).len() - 6;
            assert!(bought == 1 || (bought == 2 && may_be_two), "{what}: {bought} were bought");
            unclear += u32::from(may_be_two);
        }
        assert!(replaced == Replaced::AtMarking || unclear > 0, "{processes}: nobody died over the lowering");
    }
}

/// One has to go: a drained removal.
fn shrink(cluster: &mut Cluster) {
    for policy in &mut cluster.policies {
        (policy.base.capacity.min, policy.base.capacity.max) = (5, 5);
    }
    cluster.truth.bounds = Some((5, 6));
    for who in 0..cluster.processes.len() {
        cluster.happen(who, Event::PoliciesLoaded(cluster.policies.clone()));
    }
}

fn one_less(cluster: &Cluster, what: &str) {
    let members = cluster.members(0);
    let alive = members.iter().filter(|member| member.phase != InstancePhase::Gone).count();
    let truth = cluster.truth_of(0);
    assert_eq!((members.len(), alive, truth.target), (6, 5, 5), "{what}: {truth:?}");
    assert_eq!(cluster.truth.terminations.len(), 1, "{what}");
    assert_eq!((cluster.nomad.lost, cluster.nomad.ineligible().count()), (0, 0), "{what}");
    cluster.conclude();
}

#[test]
fn whenever_a_process_dies_a_drained_removal_ends_with_exactly_one_instance_less() {
    for processes in [1, 2] {
        let mut undisturbed = cluster(Replaced::AtDeath, processes);
        let from = undisturbed.effects + 1;
        shrink(&mut undisturbed);
        undisturbed.run_until(BEGINS + secs(150));
        let until = undisturbed.effects;
        undisturbed.run_until(BEGINS + minutes(15));
        one_less(&undisturbed, "undisturbed");
        for (dies_at, first) in deaths(from..until) {
            let mut cluster = cluster(Replaced::AtDeath, processes);
            cluster.dies_at = Some(dies_at);
            spoil_first(&mut cluster, first);
            shrink(&mut cluster);
            cluster.run_until(BEGINS + minutes(15));
            let what =
                format!("{processes} processes, died before effect {dies_at}, the first change {first:?}");
            one_less(&cluster, &what);
        }
    }
}

#[test]
fn a_leader_that_dies_is_followed_and_one_that_was_frozen_begins_no_write() {
    let mut undisturbed = cluster(Replaced::AtDeath, 2);
    let from = undisturbed.effects + 1;
    let victim = serving(&undisturbed)[0].clone();
    undisturbed.world.interrupt(&victim);
    undisturbed.run_until(BEGINS + secs(130));
    for freezes_at in (from..undisturbed.effects).step_by(4) {
        let what = format!("frozen before effect {freezes_at}");
        let mut cluster = cluster(Replaced::AtDeath, 2);
        let victim = serving(&cluster)[0].clone();
        cluster.freezes_at = Some(freezes_at);
        cluster.world.interrupt(&victim);
        let may_be_two = run_until_it_stops(&mut cluster, BEGINS + secs(180));
        cluster.run_until(BEGINS + secs(180));
        let frozen = cluster.last.expect("somebody froze");
        assert_eq!(cluster.leader(), Some(1 - frozen), "{what}: the other one leads");
        let before = cluster.processes[frozen].writes;
        cluster.thaw(frozen);
        assert_eq!(cluster.processes[frozen].writes, before, "{what}: nothing is begun upon waking");
        cluster.run_until(BEGINS + minutes(20));
        assert_eq!(cluster.processes[frozen].writes, before, "{what}: nor later");
        // One that froze over the lowering leaves it unknown whether that was sent: it may be that the fleet buys a
        // second one before that is clear, which then goes.
        has_come_right(&cluster, &[victim], &what);
        let bought = cluster.members(0).len() - 6;
        assert!(bought == 1 || (bought == 2 && may_be_two), "{what}: {bought}\n{}", cluster.story());
    }
}

#[test]
fn ten_thousand_foreign_messages_cost_few_describes_and_each_is_acknowledged() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    cluster.queue_tells = false;
    let calls = |cluster: &Cluster| cluster.world.calls().total(muster_worlds::harness::CALLER);
    let before = calls(&cluster);
    let region: Region = cluster.config.region.clone().expect("a region");
    for number in 0..10_000_u32 {
        let instance = InstanceId::new(format!("i-foreign{number}"));
        let at: Timestamp = cluster.world.now();
        let news = vec![News::State { instance, state: InstanceState::Running, at }];
        let message = Some(MessageId::new(format!("f-{number}")));
        cluster.happen(0, Event::Heard { region: region.clone(), message, news });
        if number % 1000 == 0 {
            cluster.run_until(cluster.elapsed() + Duration::from_millis(500));
        }
    }
    cluster.run_until(cluster.elapsed() + secs(10));
    assert!(cluster.processes[0].acknowledged >= 10_000, "{}", cluster.processes[0].acknowledged);
    let cost = calls(&cluster) - before;
    assert!(cost <= 12, "{cost} calls");
    let engine = cluster.processes[0].engine.as_ref().expect("it runs");
    assert_eq!(engine.metrics().messages_foreign, 10_000);
    cluster.conclude();
}

#[test]
fn a_warning_waits_for_the_fleet_that_a_policy_names_and_no_describe_has_shown_yet() {
    let mut spec = steady(Replaced::AtDeath);
    spec.fleets.push(fleet(6, Demand::constant(3.8)));
    let mut cluster = Cluster::new(spec, 3, 1).policy(pinned);
    (cluster.agents_tell, cluster.queue_tells) = (false, false);
    let second = cluster.policies.pop().expect("two policies");
    cluster.run_until(BEGINS);
    // The policy is new, and for a while DescribeFleets tells nothing: a describe of all that are known comes first.
    let refuse = fleet_sim::Effect::Refuse {
        action: Some(fleet_sim::Action::DESCRIBE_SPOT_FLEET_REQUESTS),
        share: 1.0,
        class: ErrorClass::Transient,
        code: "InternalError".into(),
    };
    let until = Some(BEGINS + secs(8));
    cluster.world.inject(fleet_sim::Fault { from: BEGINS, until, effect: refuse });
    cluster.policies.push(second);
    cluster.happen(0, Event::PoliciesLoaded(cluster.policies.clone()));
    let victim = cluster.members(1)[0].id.clone();
    let acknowledged = cluster.processes[0].acknowledged;
    let warning = warning(&cluster, &victim);
    cluster.happen(0, warning);
    cluster.run_until(BEGINS + secs(7));
    assert_eq!(cluster.processes[0].acknowledged, acknowledged, "its fleet may be the one that is not found");
    cluster.run_until(BEGINS + secs(40));
    assert_eq!(cluster.processes[0].acknowledged, acknowledged + 1);
    assert!(cluster.nomad.cordoned.contains_key(&victim), "it is heard");
    let foreign =
        |cluster: &Cluster| cluster.processes[0].engine.as_ref().expect("it runs").metrics().messages_foreign;
    assert_eq!(foreign(&cluster), 0);
    // A fleet that is never found keeps nobody's message for ever.
    let mut nowhere = cluster.policies[0].clone();
    (nowhere.name, nowhere.selector) = ("nowhere".into(), fleet::FleetSelector::Id("sfr-nowhere".into()));
    cluster.policies.push(nowhere);
    cluster.happen(0, Event::PoliciesLoaded(cluster.policies.clone()));
    let stranger = self::warning(&cluster, &"i-stranger".into());
    cluster.happen(0, stranger);
    let heard = cluster.elapsed();
    cluster.run_until(heard + secs(100));
    assert_eq!(foreign(&cluster), 0);
    cluster.run_until(heard + secs(140));
    assert_eq!((foreign(&cluster), cluster.processes[0].acknowledged), (1, acknowledged + 2));
}

#[test]
fn ec2_itself_is_asked_as_often_as_the_policy_says_and_then_tells_in_time() {
    for (poll, in_time) in [(secs(25), true), (minutes(15), false)] {
        let mut cluster = Cluster::new(steady(Replaced::AtDeath), 3, 1).policy(|policy| {
            pinned(policy);
            policy.interruption.poll = poll;
        });
        (cluster.agents_tell, cluster.queue_tells) = (false, false);
        cluster.run_until(BEGINS);
        let victim = serving(&cluster)[0].clone();
        cluster.world.interrupt(&victim);
        cluster.run_until(BEGINS + secs(40));
        assert_eq!(cluster.nomad.cordoned.contains_key(&victim), in_time, "asked every {poll:?}");
        if in_time {
            cluster.run_until(BEGINS + minutes(20));
            replaced_once(&cluster, &[victim], "EC2 alone told");
        }
    }
}

/// What the first process has written, as it would read it.
fn on_disk(cluster: &Cluster) -> autoscaler_engine::State {
    written_by(cluster, 0)
}

fn written_by(cluster: &Cluster, who: usize) -> autoscaler_engine::State {
    let mut state = autoscaler_engine::State::default();
    let records = cluster.processes[who].disk.entries().flat_map(|entry| entry.records);
    records.for_each(|record| state.apply(&record));
    state
}

#[test]
fn a_scheduled_event_is_over_when_ec2_has_lacked_it_twice() {
    // Told by EC2's list alone, and by a message before that.
    for by_message in [false, true] {
        let mut cluster = Cluster::new(steady(Replaced::AtDeath), 3, 1).policy(|policy| {
            pinned(policy);
            policy.interruption.poll = secs(60);
            policy.capacity.surge = 0;
        });
        (cluster.agents_tell, cluster.queue_tells) = (false, false);
        cluster.run_until(BEGINS);
        let victim = serving(&cluster)[0].clone();
        assert!(cluster.world.schedule(&victim, fleet_sim::ScheduledCode::InstanceStop, minutes(30)));
        if by_message {
            let (at, source) = (cluster.world.now(), NoticeSource::EventBridge);
            let (kind, deadline) = (NoticeKind::ScheduledEvent, Some(at + minutes(30)));
            let news = vec![News::Notice(Notice { instance: victim.clone(), kind, source, at, deadline })];
            let region = cluster.config.region.clone().expect("a region");
            cluster.happen(0, Event::Heard { region, message: None, news });
        }
        cluster.run_until(BEGINS + secs(90));
        assert!(cluster.nomad.cordoned.contains_key(&victim), "it is known");
        assert!(cluster.world.call_off(&victim));
        // A list that lacks it once says little.
        for (lacks, left) in [(1, 1), (2, 0)] {
            let before = marks_asked(&cluster);
            while marks_asked(&cluster) == before {
                cluster.run_until(cluster.elapsed() + secs(1));
            }
            let notices = on_disk(&cluster).notices;
            let events = notices.iter().filter(|notice| notice.kind == NoticeKind::ScheduledEvent).count();
            assert_eq!(events, left, "lacked {lacks} times, by message {by_message}");
        }
        cluster.run_until(cluster.elapsed() + secs(60));
        assert!(cluster.nomad.ineligible().next().is_none(), "its node takes work again");
        cluster.run_until(BEGINS + minutes(40));
        assert_eq!(cluster.members(0).len(), 6, "nobody was bought:\n{}", cluster.story());
    }
}

/// How often EC2's own marks have been answered.
fn marks_asked(cluster: &Cluster) -> u64 {
    answered(cluster, "marks")
}

/// How many calls of a kind have been answered.
fn answered(cluster: &Cluster, operation: &str) -> u64 {
    let engine = cluster.processes[0].engine.as_ref().expect("it runs");
    let calls = engine.metrics().calls.iter().filter(|(call, _)| call.operation == operation);
    calls.map(|(_, count)| count).sum()
}

#[test]
fn a_fleet_that_says_much_is_looked_at_once_a_second_and_a_warning_needs_one_look_and_no_turn() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    let (region, fleet) = (cluster.config.region.clone().expect("a region"), cluster.id(0));
    let before = answered(&cluster, "describe_fleets");
    let step = Duration::from_millis(100);
    for _ in 0..100 {
        let news = vec![News::FleetChanged { fleet: fleet.clone(), at: cluster.world.now() }];
        cluster.happen(0, Event::Heard { region: region.clone(), message: None, news });
        cluster.run_until(cluster.elapsed() + step);
    }
    let looks = answered(&cluster, "describe_fleets") - before;
    assert!((9..=12).contains(&looks), "{looks} in ten seconds");
    cluster.run_until(cluster.elapsed() + secs(2));
    let last = answered(&cluster, "describe_fleets") - before;
    assert!(last <= looks + 2, "what is told last is looked at, too, and then no more: {last}, {looks}");

    // Right after such a look.
    let news = vec![News::FleetChanged { fleet, at: cluster.world.now() }];
    cluster.happen(0, Event::Heard { region, message: None, news });
    cluster.run_until(cluster.elapsed() + step);
    let (target, looked) = (cluster.truth_of(0).target, answered(&cluster, "describe_fleets"));
    let victim = serving(&cluster)[0].clone();
    let warning = warning(&cluster, &victim);
    cluster.happen(0, warning);
    cluster.run_until(cluster.elapsed() + 3 * step);
    assert_eq!(cluster.truth_of(0).target, target + 1, "{}", cluster.story());
    assert!(answered(&cluster, "describe_fleets") <= looked + 2, "one look, and one after the write");
}

#[test]
fn what_cannot_be_launched_is_held_against_its_pool_or_against_all_of_its_type() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    let (region, fleet) = (cluster.config.region.clone().expect("a region"), cluster.id(0));
    let pool = |instance_type: &str, zone: &str| fleet::Pool {
        instance_type: instance_type.into(),
        zone: zone.into(),
        market: fleet::Market::Spot,
    };
    let at = cluster.world.now();
    let tell = |cluster: &mut Cluster, news: News| {
        let message = Some(MessageId::new(format!("{news:?}")));
        cluster.happen(0, Event::Heard { region: region.clone(), message, news: vec![news] });
    };
    let (instance_type, zone) = ("r5.large".into(), Some("eu-west-1b".into()));
    tell(&mut cluster, News::LaunchFailed { fleet: fleet.clone(), instance_type, zone, at });
    cluster.run_until(BEGINS + secs(20));
    let refused = |cluster: &Cluster| -> Vec<fleet::Pool> {
        let state = on_disk(cluster);
        let held = state.memory.pools.into_iter().filter(|held| held.refused > 0.5);
        held.map(|held| held.pool).collect()
    };
    assert_eq!(refused(&cluster), [pool("r5.large", "eu-west-1b")]);
    // Without a zone it may be any of the type's.
    let (at, instance_type) = (cluster.world.now(), Some("m5.large".into()));
    tell(&mut cluster, News::NoCapacity { fleet, instance_type, zone: None, at });
    cluster.run_until(BEGINS + secs(40));
    let all =
        [pool("m5.large", "eu-west-1a"), pool("m5.large", "eu-west-1b"), pool("r5.large", "eu-west-1b")];
    assert_eq!(refused(&cluster), all);
}

#[test]
fn a_scheduled_event_that_is_called_off_or_put_off_leads_to_no_replacement() {
    // One that is far off, and one that is near and waits for room.
    let cases = [(minutes(100), 2, None), (minutes(30), 0, None), (minutes(30), 0, Some(minutes(600)))];
    let both = cases.into_iter().flat_map(|case| [(case, false), (case, true)]);
    for ((ends_in, surge, put_off), restarts) in both {
        let mut cluster = Cluster::new(steady(Replaced::AtDeath), 3, 1).policy(|policy| {
            pinned(policy);
            policy.capacity.surge = surge;
        });
        cluster.run_until(BEGINS);
        let what = format!("{ends_in:?} {surge} {put_off:?} {restarts}");
        let victim = serving(&cluster)[0].clone();
        let scheduled = |at: Timestamp, deadline: Timestamp| {
            let (instance, kind) = (victim.clone(), NoticeKind::ScheduledEvent);
            let deadline = Some(deadline);
            News::Notice(Notice { instance, kind, source: NoticeSource::EventBridge, at, deadline })
        };
        let region = cluster.config.region.clone().expect("a region");
        let tell = |cluster: &mut Cluster, number: u32, news: &News| {
            let (region, message) = (region.clone(), Some(MessageId::new(format!("h-{number}"))));
            cluster.happen(0, Event::Heard { region, message, news: vec![news.clone()] });
            cluster.run_until(cluster.elapsed() + secs(25));
        };
        let first = scheduled(cluster.world.now(), cluster.world.now() + ends_in);
        tell(&mut cluster, 1, &first);
        let at = cluster.world.now();
        let over = News::CalledOff { instance: victim.clone(), at };
        let second = put_off.map_or(over, |later| scheduled(at, at + later));
        tell(&mut cluster, 2, &second);
        if restarts {
            cluster.die(0);
            cluster.run_until(cluster.elapsed() + secs(25));
        }
        tell(&mut cluster, 3, &first);
        let state = on_disk(&cluster);
        assert!(state.memory.replacements.is_empty(), "{what}: {:?}", state.memory.replacements);
        cluster.run_until(BEGINS + ends_in + minutes(5));
        assert_eq!(cluster.members(0).len(), 6, "{what}: nobody was bought:\n{}", cluster.story());
        assert_eq!(cluster.nomad.ineligible().count(), 0, "{what}");
    }
}

#[test]
fn a_cordon_that_fails_is_tried_again_within_seconds() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    let mut refused = 0;
    cluster.spoil = Some(Box::new(move |write| {
        let error = || ApiError::new(ErrorClass::Transient, "nomad", "eligibility", None, "no leader");
        let spoils = matches!(write, Write::Cordon(_)) && refused < 2;
        refused += u32::from(spoils);
        spoils.then(|| Answer::Done(Err(error())))
    }));
    let victim = serving(&cluster)[0].clone();
    cluster.world.interrupt(&victim);
    cluster.run_until(BEGINS + secs(6));
    assert!(cluster.nomad.cordoned.contains_key(&victim));
    cluster.run_until(BEGINS + minutes(20));
    replaced_once(&cluster, &[victim], "a cordon that failed");
}

#[test]
fn nodes_that_we_may_not_see_are_looked_at_soon_after_a_token_is_good_again_and_at_once_when_something_moves()
{
    let mut cluster = cluster(Replaced::AtDeath, 1);
    cluster.nomad.denies = true;
    cluster.run_until(BEGINS + minutes(5));
    let before = cluster.nomad.looks;
    cluster.run_until(BEGINS + minutes(6));
    let asked = cluster.nomad.looks - before;
    assert!((5..=7).contains(&asked), "{asked} in a minute");
    // Hints come in storms.
    for _ in 0..100 {
        cluster.happen(0, Event::NodesMoved);
    }
    cluster.run_until(BEGINS + minutes(6) + Duration::from_millis(900));
    assert!(cluster.nomad.looks - before - asked <= 1);
    cluster.run_until(BEGINS + minutes(6) + secs(5));
    cluster.nomad.denies = false;
    let before = cluster.nomad.looks;
    cluster.happen(0, Event::NodesMoved);
    assert_eq!(cluster.nomad.looks, before + 1, "a change is heard, and looked at");
    cluster.run_until(BEGINS + minutes(7));
    assert!(on_disk(&cluster).nodes_at.is_some_and(|at| at >= start() + BEGINS + minutes(6) + secs(5)));
}

/// What a cycle of two engines, their world and Nomad costs; printed for whoever asks, asserted generously.
#[test]
#[expect(clippy::print_stderr, reason = "a figure for whoever runs it by itself")]
fn two_simulated_hours_of_two_autoscalers_are_cheap() {
    let mut cluster = Cluster::new(steady(Replaced::AtDeath), 3, 2);
    let began = processor_time();
    cluster.run_until(minutes(120));
    let took = processor_time().saturating_sub(began);
    let a_cycle = took / 720;
    eprintln!("two hours: {took:?}, a cycle of two: {a_cycle:?}");
    cluster.conclude();
    assert!(took < secs(120), "{took:?}");
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

#[test]
fn a_drain_that_never_shows_is_ordered_again_ever_more_seldom() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    let victim = serving(&cluster)[0].clone();
    let ordered = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let told = std::rc::Rc::clone(&ordered);
    let whose = victim.clone();
    // Nomad takes each order, and shows nothing of it.
    cluster.spoil = Some(Box::new(move |write| match write {
        Write::Drain { node, .. } if node.instance == whose => {
            told.borrow_mut().push(());
            Some(Answer::Done(Ok(())))
        }
        _ => None,
    }));
    cluster.world.schedule(&victim, fleet_sim::ScheduledCode::InstanceRetirement, minutes(30));
    cluster.run_until(BEGINS + minutes(25));
    let often = ordered.borrow().len();
    assert!((3..=12).contains(&often), "ordered {often} times:\n{}", cluster.story());
}

#[test]
fn a_leader_whose_clock_is_far_off_orders_a_drain_once() {
    for off in [-49 * 60_000, 49 * 60_000] {
        let mut cluster = cluster(Replaced::AtDeath, 1);
        cluster.processes[0].wall_off = off;
        cluster.run_until(BEGINS + minutes(2));
        let victim = serving(&cluster)[0].clone();
        cluster.world.interrupt(&victim);
        let before = cluster.processes[0].writes;
        cluster.run_until(BEGINS + minutes(12));
        let writes = cluster.processes[0].writes - before;
        assert!(writes <= 12, "{off}: {writes} writes:\n{}", cluster.story());
    }
}

fn wants_too_much(
    policy: &autoscaler_core::Policy,
    seen: &autoscaler_core::Snapshot,
    memory: &autoscaler_core::Memory,
    learned: &autoscaler_core::Learned,
    now: Timestamp,
) -> autoscaler_core::Planned {
    let mut planned = autoscaler_core::plan(policy, seen, memory, learned, now);
    for action in &mut planned.plan.actions {
        if let autoscaler_core::Action::Modify { change, .. } = action {
            change.target = policy.capacity.max + policy.capacity.surge + 1;
        }
    }
    planned
}

#[test]
fn what_aws_takes_is_emptied_though_the_checker_refuses_the_plan_s_target() {
    let mut cluster = cluster(Replaced::AtDeath, 1);
    cluster.config.planner = wants_too_much;
    cluster.die(0);
    cluster.run_until(BEGINS + minutes(2));
    let victim = serving(&cluster)[0].clone();
    cluster.world.interrupt(&victim);
    cluster.run_until(BEGINS + minutes(6));
    assert!(cluster.complaints.iter().any(|what| what.contains("Cap")), "{:?}", cluster.complaints);
    assert!(cluster.nomad.cordoned.contains_key(&victim));
    assert_eq!(cluster.nomad.lost, 0, "its work had left:\n{}", cluster.story());
}
