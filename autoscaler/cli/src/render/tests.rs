use super::*;
use crate::out::Paint;
use autoscaler_core::{
    Action, DrainCause, Halt, Halted, Hold, Observed, Pause, Phase, Plan, Remark, RemovalStep,
    ReplacementCause, ReplacementStep, Report, Rollout, TroubleKind, WatchedAlarm,
};
use autoscaler_engine::{
    ActiveAlarm, Alarm, ConsulTrouble, Decided, FleetStatus, Going, GoingStep, InstanceStatus, LeaderRole,
    Leadership, NodeStatus, Override, PoolStatus, RolloutStatus, StandIn, Status, Withheld, WriteStatus,
};
use fleet::ports::Change;
use fleet::{
    AlarmState, Backend, CapacityUnits, FleetRef, FleetSelector, FleetState, Health, NoticeKind, Pool, Power,
    Region, UsdPerHour, Utilization, Weight,
};

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

fn now() -> Timestamp {
    time("2026-03-01T12:00:00Z")
}

/// A fleet of which nobody has seen anything yet.
fn unseen(name: &str) -> FleetStatus {
    let selector = FleetSelector::Tag { key: "service".into(), value: name.into() };
    FleetStatus {
        region: Some(Region::new("eu-west-1")),
        min: 1,
        max: 20,
        ..FleetStatus::unseen(name.into(), Backend::SpotFleet, selector)
    }
}

/// A fleet to which everything happens at once.
fn busy() -> FleetStatus {
    let instance = |id: &str, phase, health| InstanceStatus {
        id: id.into(),
        pool: Pool::spot("m5.large", "eu-west-1a"),
        weight: Weight::new(1.0),
        power: Power::new(2.0),
        phase,
        since: time("2026-03-01T09:30:00Z"),
        health,
        protected: id == "i-1",
        launch: None,
        node: None,
    };
    let report = Report {
        utilization: Some(Utilization::new(0.712)),
        goal: Some(Utilization::new(0.75)),
        serving: CapacityUnits::new(2.0),
        coming: CapacityUnits::new(1.0),
        ..Report::default()
    };
    FleetStatus {
        id: Some("sfr-1".into()),
        state: Some(FleetState::Modifying),
        target: Some(3),
        fulfilled: Some(CapacityUnits::new(2.0)),
        min: 3,
        seen: Some(time("2026-03-01T11:59:48Z")),
        instances_seen: Some(time("2026-03-01T11:59:48Z")),
        instances: vec![
            instance("i-1", Phase::InService, Health::Healthy),
            instance("i-2", Phase::Booting, Health::Unhealthy),
        ],
        schedules: vec!["office".into()],
        pause: Some(Pause {
            until: time("2026-03-01T12:05:00Z"),
            by: "jo".into(),
            reason: "failover".into(),
        }),
        bent: Some(Override {
            min: Some(3),
            max: None,
            target: Some(Utilization::new(0.6)),
            until: time("2026-03-01T13:00:00Z"),
            by: "ann".into(),
            reason: "launch".into(),
        }),
        dry_run: true,
        observe_only: true,
        writing: Some(WriteStatus { operation: "modify".into(), since: time("2026-03-01T11:59:58Z") }),
        decided: Some(Decided {
            at: time("2026-03-01T11:59:56Z"),
            plan: Plan::default(),
            withheld: None,
            report,
        }),
        alarms: vec![ActiveAlarm {
            since: time("2026-03-01T11:00:00Z"),
            alarm: Alarm::NoSamples { since: None },
        }],
        ..unseen("web")
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn the_overview_has_a_row_a_fleet_and_a_line_for_whatever_is_unusual() {
    let status = Status {
        fleets: vec![unseen("api"), busy()],
        alarms: vec![ActiveAlarm {
            since: now(),
            alarm: Alarm::JournalFailing { message: "disk full".into() },
        }],
        dry_run: true,
        ..Status::empty(now())
    };
    let text = overview(&status, Paint::default());
    let shown = lines(&text);
    assert_eq!(shown[1], "api    -          -      -     -       1..20  -        -       -");
    assert!(
        shown[2].starts_with("web    modifying  71.2%  75%   3       3..20  2        1       steady"),
        "{text}"
    );
    assert_eq!(
        shown[3..],
        [
            "! dry run: nothing is changed anywhere",
            "! the journal fails; scale-out goes on, removals do not begin: disk full",
            "! web: paused by jo, ends in 5m: failover",
            "! web: min 3, target 60% by ann's override, ends in 1h: launch",
            "! web: the policy says to observe only",
            "! web: dry run: nothing is changed",
            "! web: no source has ever told the utilisation: nothing is given back",
        ]
    );
}

#[test]
fn one_fleet_is_shown_in_full() {
    let text = fleet(&busy(), now(), Paint::default());
    let shown: Vec<&str> = lines(&text).into_iter().filter(|line| !line.starts_with("decided")).collect();
    assert_eq!(
        shown,
        [
            "fleet      web: spot_fleet sfr-1 in eu-west-1",
            "state      modifying, seen 12s ago",
            "target     3 of 3..20, 2 fulfilled",
            "schedules  office",
            "writing    modify, begun 2s ago",
            "instances  2 instances: 1 in service, 1 booting",
            "           i-1 m5.large/eu-west-1a weight 1, in service for 2h30m, protected",
            "           i-2 m5.large/eu-west-1a weight 1, booting for 2h30m, unhealthy",
            "note       paused by jo, ends in 5m: failover",
            "note       min 3, target 60% by ann's override, ends in 1h: launch",
            "note       the policy says to observe only",
            "note       dry run: nothing is changed",
            "alarm      since 2026-03-01T11:00:00Z: no source has ever told the utilisation: nothing is given back",
        ]
    );
    let text = fleet(&unseen("api"), now(), Paint::default());
    assert_eq!(
        lines(&text),
        [
            "fleet      api: spot_fleet tag service=api in eu-west-1",
            "state      not seen yet",
            "target     - of 1..20",
            "instances  not seen yet",
            "decided    nothing yet",
        ]
    );
}

/// A fleet that loses an instance to an interruption, gives one back, and buys on demand meanwhile.
fn troubled() -> FleetStatus {
    let slow = |group: &str, seconds| Remark::SlowToLeave {
        job: "shop".into(),
        group: group.into(),
        grace: Duration::from_secs(seconds),
    };
    let report = Report {
        holds: vec![Hold::Modifying { since: time("2026-03-01T11:59:50Z") }, Hold::SurgeFull { waiting: 2 }],
        remarks: vec![
            slow("cart", 150),
            slow("search", 300),
            Remark::StandsIn { units: 2, since: time("2026-03-01T11:40:00Z"), extra: None },
            Remark::Unaccounted { instance: "i-3".into(), since: time("2026-03-01T11:58:00Z") },
        ],
        ..Report::default()
    };
    let interrupted = Going {
        instance: "i-1".into(),
        step: GoingStep::Replacement(ReplacementStep::Raised),
        since: time("2026-03-01T11:59:30Z"),
        cause: DrainCause::Replaced(ReplacementCause::Notice(NoticeKind::SpotInterruption)),
        drain_until: Some(time("2026-03-01T12:01:00Z")),
        deadline: Some(time("2026-03-01T12:01:30Z")),
    };
    let given_back = Going {
        instance: "i-2".into(),
        step: GoingStep::Removal(RemovalStep::Draining),
        since: time("2026-03-01T11:59:00Z"),
        cause: DrainCause::ScaleIn,
        drain_until: None,
        deadline: None,
    };
    let fleet = busy();
    let nodes = [(false, true, 3), (true, false, 1)];
    let nodes = nodes.map(|(eligible, draining, allocations)| NodeStatus { eligible, draining, allocations });
    let instances = fleet.instances.into_iter().zip(nodes);
    FleetStatus {
        instances: instances.map(|(one, node)| InstanceStatus { node: Some(node), ..one }).collect(),
        going: vec![interrupted, given_back],
        pools: vec![PoolStatus {
            pool: Pool::spot("m5.large", "eu-west-1a"),
            interrupted: 1.84,
            refused: 0.5,
            last_at: time("2026-03-01T11:55:00Z"),
            last: Some(TroubleKind::NoCapacity),
        }],
        fallback: Some(StandIn {
            units: 2,
            since: time("2026-03-01T11:40:00Z"),
            tried: Some(time("2026-03-01T11:59:00Z")),
            cost: Some(UsdPerHour::from_micros(192_000)),
            extra: Some(UsdPerHour::from_micros(120_000)),
        }),
        decided: fleet.decided.map(|decided| Decided { report, ..decided }),
        schedules: Vec::new(),
        pause: None,
        bent: None,
        dry_run: false,
        observe_only: false,
        writing: None,
        alarms: Vec::new(),
        ..unseen("web")
    }
}

#[test]
fn a_hold_hides_nothing_that_is_told_of_instances_groups_and_costs() {
    let status = Status { fleets: vec![troubled()], ..Status::empty(now()) };
    let text = overview(&status, Paint::default());
    assert_eq!(
        lines(&text)[2..],
        [
            "! web: 2 instances on their way out, the first goes in 1m30s",
            "! web: 2 units on demand stand in for spot since 2026-03-01T11:40:00Z, at 0.192000 USD an hour, 0.120000 more than spot",
            "! web: 2 replacements wait: no more than capacity.max and surge is asked for",
            "! web: cart of shop may take 2m30s to end: longer than an interruption leaves",
            "! web: search of shop may take 5m to end: longer than an interruption leaves",
            "! web: i-3 is drained and ineligible since 2026-03-01T11:58:00Z, and nobody accounts for it",
        ]
    );
}

#[test]
fn one_fleet_shows_who_goes_the_nodes_the_pools_and_what_stands_in() {
    let text = fleet(&troubled(), now(), Paint::default());
    let shown: Vec<&str> =
        lines(&text).into_iter().skip_while(|line| !line.starts_with("instances")).collect();
    assert_eq!(
        shown,
        [
            "instances  2 instances: 1 in service, 1 booting",
            "           i-1 m5.large/eu-west-1a weight 1, in service for 2h30m, protected, 3 allocations, ineligible, node draining",
            "           i-2 m5.large/eu-west-1a weight 1, booting for 2h30m, unhealthy, 1 allocation",
            "going      i-1 waits for the one that is bought in its place for 30s, spot interruption, drains until 2026-03-01T12:01:00Z, goes at 2026-03-01T12:01:30Z",
            "           i-2 draining for 1m, scale-in",
            "pools      m5.large/eu-west-1a took back 1.8, refused 0.5; last had no capacity 5m ago",
            "fallback   2 units on demand stand in for spot since 2026-03-01T11:40:00Z, at 0.192000 USD an hour, 0.120000 more than spot; spot asked for again 1m ago",
            "decided    steady; the fleet has been modifying since 2026-03-01T11:59:50Z, 4s ago",
            "note       2 replacements wait: no more than capacity.max and surge is asked for",
            "note       cart of shop may take 2m30s to end: longer than an interruption leaves",
            "note       search of shop may take 5m to end: longer than an interruption leaves",
            "note       i-3 is drained and ineligible since 2026-03-01T11:58:00Z, and nobody accounts for it",
        ]
    );
}

#[test]
fn a_decision_shows_its_steps_and_why_they_were_not_taken() {
    let fleet = FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() };
    let modify = |from, target, on_demand_target| Action::Modify {
        fleet: fleet.clone(),
        from,
        change: Change::of_target(target, on_demand_target),
    };
    let terminate = Action::Terminate { fleet: fleet.clone(), instances: vec!["i-1".into(), "i-2".into()] };
    let plan = Plan { actions: vec![modify(3, 5, 0), modify(3, 4, 2), modify(3, 3, 0), terminate] };
    let mut decided =
        Decided { at: now(), plan, withheld: Some(Withheld::DryRun), report: Report::default() };
    let text = decision(&"web".into(), &decided, Paint::default());
    let shown = lines(&text);
    assert_eq!(shown[0], "web at 2026-03-01T12:00:00Z");
    assert_eq!(
        shown[shown.len() - 5..],
        [
            "  step 1: set the target of sfr-1 from 3 to 5",
            "  step 2: set the target of sfr-1 from 3 to 4, 2 of it on demand",
            "  step 3: set sfr-1 to its target 3 again, with NoTermination",
            "  step 4: terminate i-1, i-2",
            "  not carried out: dry run",
        ]
    );
    decided.plan.actions.clear();
    let text = decision(&"web".into(), &decided, Paint::default());
    assert!(!text.contains("not carried out"), "where nothing was to be done nothing is missing: {text}");
}

#[test]
fn times_are_told_as_people_tell_them() {
    let before = |seconds| now() - Duration::from_secs(seconds);
    assert_eq!(ago(now(), now()), "just now");
    assert_eq!(ago(before(75), now()), "1m15s ago");
    assert_eq!(ago(now() + Duration::from_secs(5), now()), "just now", "clocks differ a little");
    assert_eq!(until(now() + Duration::from_millis(90_900), now()), "in 1m30s");
    assert_eq!((counted(1, "fleet"), counted(0, "fleet")), ("1 fleet".to_owned(), "0 fleets".to_owned()));
}

#[test]
fn who_leads_is_said_and_what_keeps_us_from_knowing() {
    let shown = |role: LeaderRole, troubles: Vec<ConsulTrouble>| {
        let leadership = Leadership { role, lease_seconds: None, troubles };
        let status = Status { leadership: Some(leadership), ..Status::empty(now()) };
        let text = overview(&status, Paint::default());
        lines(&text)[1..]
            .iter()
            .filter(|line| line.starts_with('!'))
            .map(|&line| line.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(LeaderRole::Leader, Vec::new()), ["! leads"]);
    let leader = Some("10.0.0.7:7575".to_owned());
    assert_eq!(shown(LeaderRole::Standby { leader }, Vec::new()), ["! stands by; 10.0.0.7:7575 leads"]);
    assert_eq!(shown(LeaderRole::Standby { leader: None }, Vec::new()), ["! stands by; nobody leads"]);
    let trouble = ConsulTrouble {
        operation: "renew".to_owned(),
        since: time("2026-03-01T11:59:48Z"),
        failures: 3,
        message: "connection refused".to_owned(),
    };
    assert_eq!(
        shown(LeaderRole::Lost { since: time("2026-03-01T11:59:51.25Z") }, vec![trouble]),
        [
            "! cannot prove its lease since 2026-03-01T11:59:51Z: changes nothing until it can",
            "! Consul: renew has failed for 12s, 3 times: connection refused",
        ]
    );
}

#[test]
fn a_roll_out_that_an_alarm_has_halted_says_so_everywhere() {
    let who = ("jo".to_owned(), "kernel fix".to_owned());
    let started = time("2026-03-01T11:00:00Z");
    let mut rollout = Rollout::begin("lt-1".to_owned(), (3, 4), None, who, started);
    let since = Some(time("2026-03-01T11:50:00Z"));
    let why = Halt::Alarm { name: "web-5xx".to_owned(), since };
    rollout.halted = Some(Halted { at: time("2026-03-01T11:51:00Z"), why });
    let alarm = |name: &str, state| WatchedAlarm { name: name.to_owned(), state, since };
    let what = vec![
        alarm("web-5xx", Some(AlarmState::Alarm)),
        alarm("web-late", Some(AlarmState::InsufficientData)),
        alarm("web-old", None),
    ];
    let alarms = Some(Observed { at: time("2026-03-01T11:59:30Z"), what });
    let fleet = FleetStatus {
        rollout: Some(RolloutStatus { rollout, done: 1, ready: 1, of: 4, protected: 0, alarms }),
        ..unseen("web")
    };
    let halted = "alarm web-5xx is off since 2026-03-01T11:50:00Z";
    let text = rollout_text(&fleet);
    assert!(text.contains(&format!("9m ago: {halted}")), "{text}");
    let read = "web-5xx ALARM, web-late INSUFFICIENT_DATA, web-old does not exist; read 30s ago";
    assert!(text.contains(read), "{text}");
    let under_way = rollout::under_way(&fleet).expect("it is under way");
    assert!(under_way.contains(halted), "{under_way}");
}

fn rollout_text(fleet: &FleetStatus) -> String {
    rollout(fleet, now(), Paint::default())
}
