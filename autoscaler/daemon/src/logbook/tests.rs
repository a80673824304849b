use super::*;
use autoscaler_core::{Action, Plan, Remark, Report};
use autoscaler_engine::{Alarm, NotSent};
use fleet::ports::Change;
use fleet::{Backend, CapacityUnits, ErrorClass, FleetRef, Timestamp};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A log that is kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the log says while something is told: a line each, from the level on.
fn told(tell: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    let writer = kept.clone();
    let log = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .finish();
    tracing::subscriber::with_default(log, tell);
    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = String::from_utf8(bytes).expect("the log is text");
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn at() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00Z").expect("a time")
}

fn web() -> FleetName {
    FleetName::new("web")
}

fn fleet_ref() -> FleetRef {
    FleetRef { backend: Backend::SpotFleet, id: "sfr-1".into() }
}

#[test]
fn a_decision_is_told_in_plain_fields_and_a_reason_that_lasts_once() {
    let change = Change::of_target(6, 0);
    let modify = Action::Modify { fleet: fleet_ref(), from: 4, change };
    let report = Report {
        decision: Decision::ScaleOut { from: 4, to: 6 },
        utilization: Some(Utilization::new(0.5)),
        ..Report::default()
    };
    let acts = Decided { at: at(), plan: Plan { actions: vec![modify] }, withheld: None, report };
    let waits = Decided {
        plan: Plan::default(),
        report: Report {
            decision: Decision::Held,
            target: Some(6),
            holds: vec![Hold::Modifying { since: at() }, Hold::NoSamples],
            remarks: vec![Remark::Missing { units: CapacityUnits::new(2.0) }],
            ..Report::default()
        },
        ..acts.clone()
    };
    let lines = told(|| {
        let mut book = Logbook::default();
        book.cycle(&web(), &acts);
        book.cycle(&web(), &waits);
        book.cycle(&web(), &waits);
    });
    let [acts, waits] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(
        acts,
        "INFO cycle{fleet=web}: decided to act decision=\"scale_out\" from=4 to=6 utilization=0.5 steps=1 holds=\"\""
    );
    let plain = "INFO cycle{fleet=web}: decided to wait decision=\"held\" target=6 holds=\"modifying,no_samples\" why=";
    assert!(waits.starts_with(plain), "{waits}");
    assert!(waits.contains("2026-03-01T12:00:00Z") && waits.contains("remarks=\"2 units"), "{waits}");
}

#[test]
fn orders_writes_and_outcomes_are_told_in_plain_fields() {
    let command = |order| Command { fleet: Some(web()), order, by: "jo".into(), reason: "a sale".into() };
    let (hour, target) = (Duration::from_secs(3600), Some(Utilization::new(0.6)));
    let region = Region::new("eu-west-1");
    let failed = Outcome::Failed { class: ErrorClass::Denied, message: "ec2 says no".into() };
    let lines = told(|| {
        Logbook::order(&command(Order::Pause { lasts: hour }));
        Logbook::order(&command(Order::Override { min: Some(8), max: None, target, lasts: hour }));
        Logbook::order(&Command { fleet: None, ..command(Order::Resume) });
        let change = Change::of_target(6, 1);
        Logbook::write(&region, &Write::Modify { fleet: fleet_ref(), change });
        let instances = vec!["i-1".into(), "i-2".into()];
        Logbook::write(&region, &Write::Terminate { fleet: fleet_ref(), instances });
        Logbook::outcome(&web(), Operation::Modify, &Outcome::Done);
        Logbook::outcome(&web(), Operation::Modify, &failed);
        Logbook::outcome(&web(), Operation::Terminate, &Outcome::NotSent(NotSent::Expired));
    });
    assert_eq!(
        lines,
        [
            r#"INFO received an order fleet="web" order="pause" lasts="1h" by="jo" reason="a sale""#,
            r#"INFO received an order fleet="web" order="override" min=8 target_utilization=0.6 lasts="1h" by="jo" reason="a sale""#,
            r#"INFO received an order order="resume" by="jo" reason="a sale""#,
            r#"INFO began a write region=eu-west-1 operation="modify" id="sfr-1" target=6 on_demand_target=1"#,
            r#"INFO began a write region=eu-west-1 operation="terminate" id="sfr-1" instances="i-1,i-2""#,
            r#"INFO carried a step out fleet=web operation="modify""#,
            r#"WARN could not carry a step out fleet=web operation="modify" outcome="failed" class="denied" why="ec2 says no""#,
            r#"WARN could not carry a step out fleet=web operation="terminate" outcome="not_sent" why="its permit had run out""#,
        ]
    );
}

#[test]
fn an_alarm_is_told_in_words_and_the_first_foreign_write_is_a_warning() {
    let change = |raised, alarm| AlarmChange { at: at(), fleet: Some(web()), raised, alarm };
    let lines = told(|| {
        Logbook::alarm(&change(true, Alarm::ForeignWrite { was: 4, found: 9, at: at() }));
        Logbook::alarm(&change(true, Alarm::NoSamples { since: Some(at()) }));
        Logbook::alarm(&change(false, Alarm::NoSamples { since: Some(at()) }));
    });
    assert!(
        lines[0].starts_with(
            r#"WARN raised an alarm fleet="web" alarm="foreign_write" detail="somebody else set the target from 4 to 9 at 2026-03-01T12:00:00Z"#
        ),
        "{lines:#?}"
    );
    assert_eq!(
        lines[1..],
        [
            r#"ERROR raised an alarm fleet="web" alarm="no_samples" detail="no source has told the utilisation since 2026-03-01T12:00:00Z: nothing is given back""#,
            r#"INFO cleared an alarm fleet="web" alarm="no_samples""#,
        ]
    );
}
