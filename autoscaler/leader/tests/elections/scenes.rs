//! Single scenes: what one fault does, and when.

use crate::world::{Fault, Link, SECOND, World};
use autoscaler_leader::paper::LedgerAnswer;
use autoscaler_leader::{
    Answer, CallId, Effect, Elector, Event, Failure, GIVES_WAY_AFTER, GIVES_WAY_AGAIN, LEASE,
    LEAVES_TO_OTHERS, LOCK_DELAY, LedgerError, LedgerRead, LedgerRequest, LedgerVersion, Lock,
    MAX_LEDGER_BYTES, Request, Role, SessionId, Term,
};
use fleet::{ApiError, ErrorClass};
use std::time::Duration;

/// Two processes, of which one leads.
fn led() -> (World, usize, usize) {
    let (world, leader) = led_of(1, 2);
    (world, leader, 1 - leader)
}

/// So many processes, of which one leads.
fn led_of(seed: u64, places: usize) -> (World, usize) {
    let mut world = World::new(seed, places);
    world.run_for(10 * SECOND);
    let [leader] = world.writers()[..] else { panic!("one leads: {:?}", world.trail) };
    (world, leader)
}

/// How long after now the other one leads.
fn until_leads(world: &mut World, place: usize) -> Duration {
    let since = world.now;
    world.run_for(20 * SECOND);
    let (at, _, _) = *world.elections.last().expect("somebody was elected");
    assert_eq!(world.writers(), [place], "{:?}", world.trail);
    at.saturating_sub(since)
}

#[test]
fn a_killed_leader_is_followed_within_eleven_seconds() {
    let (mut world, leader, other) = led();
    world.fault_in(Duration::ZERO, Fault::Kill(leader));
    let took = until_leads(&mut world, other);
    assert!(took >= 9 * SECOND && took <= 11 * SECOND, "{took:?}");
}

#[test]
fn a_frozen_leader_is_followed_and_wakes_as_a_standby() {
    let (mut world, leader, other) = led();
    world.fault_in(Duration::ZERO, Fault::Freeze(leader));
    let took = until_leads(&mut world, other);
    assert!(took <= 11 * SECOND, "{took:?}");
    world.fault_in(Duration::ZERO, Fault::Thaw(leader));
    world.run_for(SECOND);
    assert!(
        matches!(world.role(leader), Some(Role::Standby { leader: Some(_) })),
        "{:?}",
        world.role(leader)
    );
    assert_eq!(world.writers(), [other]);
}

#[test]
fn a_leader_that_resigns_is_followed_at_once() {
    let (mut world, leader, other) = led();
    world.fault_in(Duration::ZERO, Fault::Resign(leader));
    let took = until_leads(&mut world, other);
    assert!(took <= Duration::from_millis(200), "no lock delay: {took:?}");
}

#[test]
fn whom_aws_does_not_answer_leaves_a_free_lock_to_the_others_and_takes_it_where_there_are_none() {
    for seed in 0..20 {
        let (mut world, leader) = led_of(seed, 3);
        let [blind, able] = [(leader + 1) % 3, (leader + 2) % 3];
        world.set_blind(blind, true);
        world.fault_in(Duration::ZERO, Fault::Resign(leader));
        assert!(until_leads(&mut world, able) <= SECOND, "seed {seed}");
        world.fault_in(Duration::ZERO, Fault::Kill(able));
        let since = world.now;
        world.run_for(12 * SECOND);
        assert_eq!(world.writers(), [], "seed {seed}: it waits");
        world.run_for(10 * SECOND);
        assert_eq!(world.writers(), [blind], "seed {seed}: {:?}", world.trail);
        let (at, _, _) = *world.elections.last().expect("somebody was elected");
        assert!(at.saturating_sub(since) >= LOCK_DELAY + LEAVES_TO_OTHERS, "seed {seed}");
        let elections = world.elections.len();
        world.run_for(GIVES_WAY_AGAIN + LOCK_DELAY + LEAVES_TO_OTHERS + 5 * SECOND);
        assert_eq!(world.writers(), [blind], "seed {seed}: it has it back where nobody wants it");
        assert!(world.elections.len() <= elections + 1, "seed {seed}: {:?}", world.trail);
    }
}

#[test]
fn a_leader_that_aws_does_not_answer_gives_way_to_one_that_it_does() {
    for seed in 0..20 {
        let (mut world, leader) = led_of(seed, 2);
        world.set_blind(leader, true);
        world.run_for(GIVES_WAY_AFTER.saturating_sub(SECOND));
        assert_eq!(world.writers(), [leader], "seed {seed}: not at once");
        world.run_for(SECOND + LOCK_DELAY + SECOND);
        assert_eq!(world.writers(), [1 - leader], "seed {seed}: {:?}", world.trail);
        world.run_for(60 * SECOND);
        assert_eq!(world.writers(), [1 - leader], "seed {seed}");
    }
}

#[test]
fn whom_aws_answers_again_takes_a_free_lock_at_once() {
    let (mut world, leader, other) = led();
    world.set_blind(other, true);
    world.fault_in(Duration::ZERO, Fault::Resign(leader));
    world.run_for(3 * SECOND);
    assert_eq!(world.writers(), []);
    world.set_blind(other, false);
    assert!(until_leads(&mut world, other) <= 2 * SECOND);
}

#[test]
fn a_session_destroyed_by_an_operator_stops_the_leader_at_once() {
    let (mut world, leader, other) = led();
    world.fault_in(Duration::ZERO, Fault::EndSessions(leader));
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.writers(), [] as [usize; 0], "its watch told it");
    assert!(matches!(world.role(leader), Some(Role::Standby { .. })));
    world.run_for(6 * SECOND);
    assert_eq!(world.writers().len(), 1, "one of the two, {leader} or {other}");
}

#[test]
fn without_consul_a_leader_stops_after_its_lease_and_says_so() {
    let (mut world, leader, _) = led();
    for place in 0..2 {
        world.fault_in(Duration::ZERO, Fault::Link(place, Link::Cut));
        world.fault_in(20 * SECOND, Fault::Link(place, Link::Up));
    }
    world.run_for(LEASE + SECOND / 10);
    assert_eq!(world.writers(), [] as [usize; 0]);
    assert_eq!(world.role(leader), Some(Role::Lost { term: Term(1) }));
    let troubles = world.elector(leader).status(world.now).troubles;
    assert!(
        troubles.iter().any(|trouble| trouble.operation == "renew" && trouble.failures > 2),
        "{troubles:?}"
    );
    world.run_for(30 * SECOND);
    assert_eq!(world.writers().len(), 1, "and one leads again");
}

#[test]
fn a_hiccup_of_consul_shorter_than_the_lease_is_nothing() {
    let (mut world, leader, _) = led();
    for place in 0..2 {
        world.fault_in(Duration::ZERO, Fault::Link(place, Link::Cut));
        world.fault_in(2 * SECOND, Fault::Link(place, Link::Up));
    }
    world.run_for(20 * SECOND);
    assert_eq!(world.writers(), [leader]);
    assert_eq!(world.elections.len(), 1, "{:?}", world.trail);
    assert!(!world.trail.iter().any(|line| line.contains("Lost")), "{:?}", world.trail);
}

#[test]
fn a_leader_whose_answers_come_too_late_lets_go_of_the_lock() {
    let (mut world, leader, other) = led();
    world.fault_in(Duration::ZERO, Fault::Link(leader, Link::Slow));
    world.run_for(120 * SECOND);
    assert_eq!(world.writers(), [other], "{:?}", world.trail);
}

#[test]
fn a_lone_process_leads_without_consul_until_it_stops() {
    let mut elector = Elector::alone();
    let leads = Effect::Became(Role::Leader { term: Term(1) });
    assert_eq!(elector.handle(Event::Timer, SECOND), [leads]);
    let day = Duration::from_secs(86_400);
    assert!(elector.may_write(day));
    assert_eq!(elector.permit_until(day, 15 * SECOND), Some(day + 15 * SECOND));
    assert_eq!(elector.handle(Event::Resign, day), [Effect::Resigned, Effect::Became(Role::Resigned)]);
    assert!(!elector.may_write(day));
    assert_eq!(elector.handle(Event::Timer, day), []);
}

/// Answers the request of this kind that is among the effects.
fn answer(
    elector: &mut Elector,
    effects: &[Effect],
    label: &str,
    answer: Answer,
    now: Duration,
) -> Vec<Effect> {
    let call = call_of(effects, label).unwrap_or_else(|| panic!("no {label} in {effects:?}"));
    elector.handle(Event::Answered { call, answer }, now)
}

fn call_of(effects: &[Effect], label: &str) -> Option<CallId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Call { call, request } if request.label() == label => Some(*call),
        _ => None,
    })
}

/// An elector that leads, by a lock that it asked for at 1 s and got at `got`.
fn elected(got: Duration) -> (Elector, SessionId) {
    let mut elector = Elector::contender();
    let ours = SessionId("ours".to_owned().into());
    let first = elector.handle(Event::Timer, SECOND);
    let after = answer(&mut elector, &first, "register", Answer::Registered(Ok(())), SECOND);
    answer(&mut elector, &after, "create_session", Answer::SessionCreated(Ok(ours.clone())), SECOND);
    let free = Lock { index: 7, ..Lock::default() };
    let seen = answer(&mut elector, &first, "watch", Answer::Watched(Ok(free)), SECOND);
    answer(&mut elector, &seen, "acquire", Answer::Acquired(Ok(true)), got);
    (elector, ours)
}

#[test]
fn a_lease_counts_from_the_beginning_of_a_proof_not_from_its_answer() {
    let (elector, _) = elected(3 * SECOND);
    assert!(elector.may_write(4 * SECOND));
    assert!(!elector.may_write(5 * SECOND), "asked at 1 s, 4 s of lease");
    assert_eq!(
        elector.permit_until(3 * SECOND, 15 * SECOND),
        Some(5 * SECOND),
        "no permit outlives the lease"
    );
    assert_eq!(elector.permit_until(3 * SECOND, SECOND), Some(4 * SECOND));
    assert_eq!(elector.permit_until(5 * SECOND, SECOND), None);
    let (elector, _) = elected(6 * SECOND);
    assert_eq!(elector.role(6 * SECOND), Role::Lost { term: Term(1) }, "an answer that slept proves nothing");
}

#[test]
fn a_former_leader_feeds_its_check_for_two_seconds_more_and_then_lets_the_session_end() {
    let (mut elector, _) = elected(SECOND);
    let failure = || {
        let error = ApiError::new(ErrorClass::Transient, "consul", "renew", None, "too slow");
        Answer::Renewed(Err(Failure::Api(error)))
    };
    let (mut last, mut watch) = (Duration::ZERO, None);
    let mut now = SECOND;
    while now < 20 * SECOND {
        let effects = elector.handle(Event::Timer, now);
        watch = call_of(&effects, "watch").or(watch);
        if call_of(&effects, "renew").is_some() {
            last = now;
            answer(&mut elector, &effects, "renew", failure(), now);
        }
        now += SECOND / 10;
    }
    // Asked at 1 s, 4 s of lease.
    assert!(last > 6 * SECOND && last < 7 * SECOND, "{last:?}");
    assert_eq!(elector.role(now), Role::Lost { term: Term(1) });
    let theirs = Lock { session: Some(SessionId("theirs".to_owned().into())), holder: None, index: 9 };
    let call = watch.expect("it goes on watching");
    let seen = elector.handle(Event::Answered { call, answer: Answer::Watched(Ok(theirs)) }, now);
    assert!(call_of(&seen, "renew").is_some(), "a standby feeds again: {seen:?}");
    let anew = |effect: &Effect| {
        matches!(effect, Effect::Call { request: Request::CreateSession { instead_of: Some(_) }, .. })
    };
    assert!(seen.iter().any(anew), "in place of the session that has ended: {seen:?}");
}

#[test]
fn one_that_cannot_end_its_session_when_it_gives_way_lets_its_check_run_out() {
    let (mut elector, ours) = elected(SECOND);
    elector.set_blind(true, SECOND);
    let held = || Lock { session: Some(ours.clone()), holder: None, index: 8 };
    let (mut now, mut last, mut refused, mut watch) = (SECOND, Duration::ZERO, 0, None);
    while now < GIVES_WAY_AFTER + 20 * SECOND {
        let effects = elector.handle(Event::Timer, now);
        watch = call_of(&effects, "watch").or(watch);
        if call_of(&effects, "renew").is_some() {
            last = now;
            answer(&mut elector, &effects, "renew", Answer::Renewed(Ok(held())), now);
        }
        if call_of(&effects, "create_session").is_some() {
            let error = ApiError::new(ErrorClass::Denied, "consul", "create_session", None, "not allowed");
            answer(
                &mut elector,
                &effects,
                "create_session",
                Answer::SessionCreated(Err(Failure::Api(error))),
                now,
            );
            refused += 1;
        }
        assert_eq!(elector.may_write(now), now < GIVES_WAY_AFTER + SECOND, "at {now:?}");
        now += SECOND / 10;
    }
    assert!(refused > 3, "it goes on trying");
    assert!(last <= GIVES_WAY_AFTER + 4 * SECOND, "it was fed until {last:?}");
    // The check has run out, and the session with it: it is one of those that stand by.
    let call = watch.expect("it goes on watching");
    let free = Lock { index: 9, ..Lock::default() };
    let seen = elector.handle(Event::Answered { call, answer: Answer::Watched(Ok(free)) }, now);
    assert!(call_of(&seen, "renew").is_some(), "a standby feeds again: {seen:?}");
}

#[test]
fn an_answer_from_before_the_lock_was_ours_does_not_end_leadership() {
    let mut elector = Elector::contender();
    let ours = SessionId("ours".to_owned().into());
    let first = elector.handle(Event::Timer, SECOND);
    let free = Lock { index: 7, ..Lock::default() };
    let mut seen = answer(&mut elector, &first, "watch", Answer::Watched(Ok(free.clone())), SECOND);
    seen.extend(answer(&mut elector, &first, "register", Answer::Registered(Ok(())), SECOND));
    let made = Answer::SessionCreated(Ok(ours.clone()));
    seen.extend(answer(&mut elector, &seen.clone(), "create_session", made, SECOND));
    answer(&mut elector, &seen, "acquire", Answer::Acquired(Ok(true)), 2 * SECOND);
    answer(&mut elector, &seen, "renew", Answer::Renewed(Ok(free.clone())), 2 * SECOND);
    answer(&mut elector, &seen, "watch", Answer::Watched(Ok(free)), 2 * SECOND);
    assert_eq!(elector.role(2 * SECOND), Role::Leader { term: Term(1) });
}

#[test]
fn an_answer_to_a_question_that_was_given_up_changes_nothing() {
    let mut elector = Elector::contender();
    let first = elector.handle(Event::Timer, SECOND);
    let call = call_of(&first, "register").expect("it registers first");
    let again = elector.handle(Event::Timer, 10 * SECOND);
    assert_eq!(call_of(&again, "register"), None, "after a pause");
    let late = Event::Answered { call, answer: Answer::Registered(Ok(())) };
    assert_eq!(call_of(&elector.handle(late, 10 * SECOND), "create_session"), None);
    assert!(call_of(&elector.handle(Event::Timer, 11 * SECOND), "register").is_some());
}

#[test]
fn only_a_lock_that_was_seen_to_be_free_is_asked_for() {
    let mut elector = Elector::contender();
    let first = elector.handle(Event::Timer, SECOND);
    let held = Lock {
        session: Some(SessionId("theirs".to_owned().into())),
        holder: Some("they".to_owned().into()),
        index: 3,
    };
    let mut seen = answer(&mut elector, &first, "watch", Answer::Watched(Ok(held)), SECOND);
    assert!(
        seen.contains(&Effect::Became(Role::Standby { leader: Some("they".to_owned().into()) })),
        "{seen:?}"
    );
    seen.extend(answer(&mut elector, &first, "register", Answer::Registered(Ok(())), SECOND));
    let made = Answer::SessionCreated(Ok(SessionId("ours".to_owned().into())));
    seen.extend(answer(&mut elector, &seen.clone(), "create_session", made, SECOND));
    assert_eq!(call_of(&seen, "acquire"), None);
    let watched = call_of(&seen, "watch").expect("it goes on watching");
    let watches =
        |effect: &Effect| matches!(effect, Effect::Call { request: Request::Watch { after: 3, .. }, .. });
    assert!(seen.iter().any(watches), "from what it saw");
    let free = Answer::Watched(Ok(Lock { index: 4, ..Lock::default() }));
    let now = elector.handle(Event::Answered { call: watched, answer: free }, 2 * SECOND);
    assert!(call_of(&now, "acquire").is_some(), "{now:?}");
}

#[test]
fn a_ledger_is_written_by_the_leader_alone_and_over_what_it_knows() {
    let (mut world, leader, _) = led();
    let now = world.now;
    let session = world.elector(leader).session().expect("it leads").clone();
    let write = |bytes: &[u8], expected, session: &SessionId| LedgerRequest::Write {
        name: "web".to_owned(),
        bytes: bytes.to_vec(),
        expected,
        session: session.clone(),
    };
    let LedgerAnswer::Written(Ok(version)) =
        world.consul.ledger(&write(b"one", LedgerVersion(0), &session), now)
    else {
        panic!("the first write makes it");
    };
    let stale = world.consul.ledger(&write(b"two", LedgerVersion(0), &session), now);
    assert!(matches!(stale, LedgerAnswer::Written(Err(LedgerError::Conflict { .. }))), "{stale:?}");
    let other = SessionId("theirs".to_owned().into());
    let fenced = world.consul.ledger(&write(b"two", version, &other), now);
    assert!(matches!(fenced, LedgerAnswer::Written(Err(LedgerError::Fenced { .. }))), "{fenced:?}");
    let large = world.consul.ledger(&write(&vec![0; MAX_LEDGER_BYTES + 1], version, &session), now);
    assert!(matches!(large, LedgerAnswer::Written(Err(LedgerError::TooLarge { .. }))));
    let read = world.consul.ledger(&LedgerRequest::Read { name: "web".to_owned() }, now);
    assert_eq!(read, LedgerAnswer::Read(Ok(LedgerRead { bytes: b"one".to_vec(), version })));
}
