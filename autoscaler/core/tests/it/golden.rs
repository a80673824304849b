//! Reports as an operator reads them. A changed text is a changed decision or a changed word: look at both.

use crate::support::nodes::{node, service};
use crate::support::scene::{NOON, Scene, seconds};
use autoscaler_core::{DrainBy, Observed, Pause, PoolMemory};
use fleet::{Backend, ExcessCapacity, FleetState, Notice, NoticeKind, NoticeSource, Saturation, UsdPerHour};
use std::collections::BTreeMap;
use std::fs;

/// Compares with `tests/it/golden/NAME.txt`. Built with `UPDATE_GOLDEN=1`, writes it.
fn golden(name: &str, scene: &Scene) {
    let planned = scene.plan();
    let text = format!("{}\n--\n{}\n", planned.report.one_line(), planned.report);
    let file = format!("{}/tests/it/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if option_env!("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &text).expect("the folder is there");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{file} (UPDATE_GOLDEN=1 at build time writes it)");
}

#[test]
fn reports_say_what_is_done_and_why() {
    golden("steady", &Scene::of(8, 6));
    golden("scale_out", &Scene::of(4, 12));
    golden("scale_in", &Scene::of(12, 6));
}

#[test]
fn reports_say_why_not() {
    let mut paused = Scene::of(4, 12);
    let until = NOON + seconds(1800);
    paused.seen.pause = Some(Pause { until, by: "ada".to_owned(), reason: "rollout".to_owned() });
    golden("paused", &paused);

    let mut stale = Scene::of(12, 6);
    if let Some(latest) = &mut stale.seen.latest {
        latest.end = NOON - seconds(400);
    }
    golden("stale_samples", &stale);

    let mut foreign = Scene::of(8, 6);
    foreign.view().target = 11;
    foreign.memory.foreign_writes = 1;
    golden("ceded", &foreign);

    let mut modifying = Scene::of(4, 12);
    modifying.view().state = FleetState::Modifying;
    golden("modifying", &modifying);
}

#[test]
fn reports_say_what_is_odd() {
    let mut odd = Scene::of(8, 6);
    let view = odd.view();
    view.excess = ExcessCapacity::Termination;
    view.capacity_rebalance = true;
    view.valid_until = Some(NOON + seconds(7200));
    view.overrides.truncate(1);
    golden("odd_fleet", &odd);

    let mut request = Scene::of(8, 6);
    request.view().backend = Backend::Ec2Fleet;
    request.view().kind = fleet::FleetKind::Instant;
    golden("not_holdable", &request);
}

#[test]
fn reports_say_that_a_saturated_fleet_needs_more_than_it_shows() {
    let mut scene = Scene::of(4, 3);
    let end = scene.now - seconds(1);
    let mut sample = crate::support::scene::sample(end, 1.0, 4.0);
    sample.saturation = Saturation { load_per_core: Some(3.0), psi: Some(1.0), saturated_share: Some(1.0) };
    scene.seen.samples = vec![sample];
    scene.seen.latest = Some(sample);
    scene.now = scene.now + seconds(9);
    let (policy, seen, memory) = (scene.policy.clone(), scene.seen.clone(), scene.memory.clone());
    sample.end = scene.now;
    scene.learned.learn(&policy, &seen, &memory, scene.now);
    scene.learned.observe(&policy, &sample);
    golden("saturated", &scene);
}

#[test]
fn reports_say_who_goes_and_who_comes() {
    let mut draining = Scene::of(9, 6);
    draining.policy.drain.by = DrainBy::Nomad;
    let nodes = draining.members().iter().map(|m| node(&m.id, vec![service(); 3])).collect();
    draining.seen.nodes = Some(Observed { at: NOON, what: nodes });
    let pool = draining.members()[1].pool.clone();
    draining.seen.prices = vec![(pool.clone(), UsdPerHour::from_micros(41_000))];
    draining.memory.pools = vec![PoolMemory {
        pool,
        interrupted: 1.0,
        refused: 0.0,
        at: NOON - seconds(600),
        told: BTreeMap::new(),
    }];
    golden("draining", &draining);

    let mut replacing = Scene { now: NOON + seconds(10), ..Scene::of(20, 15) };
    for n in [3, 4, 5] {
        let id = replacing.members()[n].id.clone();
        replacing.seen.notices.push(Notice {
            instance: id,
            kind: NoticeKind::SpotInterruption,
            source: NoticeSource::Agent,
            at: NOON,
            deadline: Some(NOON + seconds(120)),
        });
    }
    let heard = replacing.plan();
    replacing.remember(&heard);
    golden("replacing", &replacing.later(1));
}
