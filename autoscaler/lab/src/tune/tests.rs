use super::*;
use autoscaler_core::ScaleOut;
use autoscaler_policy::File;
use fleet::Utilization;
use std::time::Duration;

fn score(cost: f64, breach: f64) -> Score {
    // At a level that is not 80 %, of which nothing is asked.
    let breach80_ratio = (3.0 * breach).min(1.0);
    let (above_ratio, worst_above_ratio) = (breach, breach);
    Score { cost_unit_hours: cost, breach80_ratio, above_ratio, worst_above_ratio, ..Score::default() }
}

fn candidate(target: f64, first: Score, rest: Score) -> Candidate {
    let policy = Policy { target: Utilization::new(target), ..Policy::default() };
    Candidate { knobs: Knobs::of(&policy), first, rest: Some(rest) }
}

fn broken(cost: f64) -> Score {
    Score { contract_broken: vec![Clause::Breach], ..score(cost, 0.05) }
}

#[test]
fn a_front_holds_what_nothing_beats_in_both() {
    let all = [(5.0, 0.1), (3.0, 0.3), (4.0, 0.3), (3.0, 0.3), (9.0, 0.1), (9.0, 0.0), (4.0, 0.2)];
    let scores: Vec<Score> = all.iter().map(|(cost, breach)| score(*cost, *breach)).collect();
    let found = front(&scores, |score| score);
    assert_eq!(found, [1, 6, 0, 5]);
    // By the definition: on it is what nobody dominates, of equals the first.
    for (index, point) in all.iter().enumerate() {
        let beaten = all.iter().any(|other| dominates(*other, *point));
        assert_eq!(found.contains(&index), !beaten && index != 3, "{index}");
    }
}

#[test]
fn the_knee_is_where_the_front_bends() {
    let points = [(1.0, 0.5), (1.1, 0.1), (1.2, 0.05), (3.0, 0.0)];
    let front: Vec<Score> = points.iter().map(|(cost, breach)| score(*cost, *breach)).collect();
    assert_eq!(knee(&front), 2);
    assert_eq!(knee(&front[..1]), 0);
    assert_eq!(knee(&[score(1.0, 0.5), score(2.0, 0.0)]), 0, "two points have no bend");
}

#[test]
fn another_setting_is_advised_when_it_is_clearly_better_on_what_was_not_searched() {
    let base = candidate(0.75, score(100.0, 0.005), score(100.0, 0.005));
    let with = |rest: Score| verdict(&base, candidate(0.77, score(80.0, 0.0), rest));
    assert!(
        matches!(with(score(90.0, 0.009)), Verdict::Take { why: Take::Cheaper, saving, .. } if (saving - 0.1).abs() < 1e-9)
    );
    assert!(matches!(with(score(98.5, 0.009)), Verdict::Stay { why: Stay::TooLittle, .. }));
    assert!(matches!(with(broken(50.0)), Verdict::Stay { why: Stay::BreaksThePromise, .. }));
    let verdict_itself = verdict(&base, base.clone());
    assert!(matches!(verdict_itself, Verdict::Stay { why: Stay::NothingBetter, candidate: None, .. }));
    let base = candidate(0.75, broken(100.0), broken(100.0));
    let dearer = verdict(&base, candidate(0.7, score(110.0, 0.0), score(110.0, 0.0)));
    assert!(matches!(dearer, Verdict::Take { why: Take::KeepsThePromise, saving, .. } if saving < 0.0));
}

#[test]
fn knobs_turned_come_out_as_they_are_read_from_a_policy() {
    let base = Policy::default();
    let own = Knobs::of(&base);
    assert_eq!(own.on(&base), base);
    let neighbours = own.neighbours(&base);
    // Two targets, two holds in, one minimum (never below), and one step in (none is beyond no limit).
    assert_eq!(neighbours.len(), 6, "{neighbours:?}");
    for knobs in &neighbours {
        let policy = knobs.on(&base);
        assert_eq!(Knobs::of(&policy), *knobs);
        assert_eq!(knobs.beyond(&own).len(), 1, "one knob, one step");
        assert!(policy.capacity.min >= base.capacity.min && policy.target < policy.objective.above);
        assert_eq!((policy.objective, policy.capacity.max), (base.objective, base.capacity.max));
        let back = knobs.neighbours(&base);
        assert!(back.contains(&own), "what was turned can be turned back: {knobs:?}");
    }
    let odd = Policy { target: Utilization::new(1.0 / 3.0), ..Policy::default() };
    assert_eq!(Knobs::of(&odd).on(&odd).target, odd.target, "what is not turned stays to the bit");
}

#[test]
fn the_search_stays_below_the_level_and_the_maximum() {
    let mut base = Policy { target: Utilization::new(0.79), ..Policy::default() };
    base.capacity.max = 1;
    for knobs in reachable(&base) {
        let policy = knobs.on(&base);
        assert!(policy.target.get() < 0.8 && policy.capacity.min == 1, "{policy:?}");
    }
}

/// All settings that a search could reach.
fn reachable(base: &Policy) -> BTreeSet<Knobs> {
    let mut seen = BTreeSet::from([Knobs::of(base)]);
    let mut todo = vec![Knobs::of(base)];
    while let Some(knobs) = todo.pop() {
        for next in knobs.neighbours(base) {
            if seen.insert(next) {
                todo.push(next);
            }
        }
    }
    seen
}

#[test]
fn the_way_up_is_never_made_slower() {
    let mut base = Policy::default();
    base.scale_out.max_step = Some(3);
    base.scale_out.hold = Duration::from_secs(60);
    let policies: Vec<Policy> = reachable(&base).iter().map(|knobs| knobs.on(&base)).collect();
    for ScaleOut { max_step, hold } in policies.iter().map(|policy| policy.scale_out) {
        assert!(
            max_step.is_none_or(|step| step >= 3) && hold <= Duration::from_secs(60),
            "{max_step:?} {hold:?}"
        );
    }
    assert!(policies.iter().any(|policy| policy.scale_out == Policy::default().scale_out));
}

/// Days of load that rises and falls, none quite like another.
fn wavy(days: u32) -> Trace {
    let step = |step: u32| {
        let hours = f64::from(step) / 360.0;
        6.0 + 4.0 * (hours * std::f64::consts::TAU / 24.0).sin() + 0.5 * (hours * 2.3).sin()
    };
    Trace {
        name: "wavy".into(),
        start: fleet::Timestamp::from_secs(0),
        demand: (0..days * 8640).map(step).collect(),
    }
}

fn searched(policy: &Policy, threads: usize, stop: bool) -> Result<Tuned, TuneError> {
    let traces = [wavy(4)];
    let search = Search {
        traces: &traces,
        histories: &[None],
        policy,
        setting: &Setting::default(),
        share: 0.5,
        most: 40,
        threads: NonZeroUsize::new(threads).expect("some"),
    };
    tune(&search, &AtomicBool::new(stop), &|_| ())
}

#[test]
fn a_wasteful_setting_is_found_out_on_any_number_of_threads() {
    let mut wasteful = Policy::default();
    wasteful.scale_in.hold = Duration::from_secs(6 * 3600);
    let tuned = searched(&wasteful, 1, false).expect("a result");
    let Verdict::Take { candidate, saving, why } = &tuned.verdict else { panic!("{tuned:?}") };
    assert_eq!(*why, Take::Cheaper);
    assert!(*saving > 0.05, "{saving}");
    assert!(candidate.knobs.on(&wasteful).scale_in.hold < wasteful.scale_in.hold);
    assert!(tuned.tried <= 40 && tuned.knee < tuned.front.len());
    assert!(tuned.front.iter().all(|candidate| candidate.rest.is_some()), "all are judged");
    assert_eq!(Ok(tuned), searched(&wasteful, 3, false));
}

#[test]
fn whoever_just_kept_the_promise_where_it_was_chosen_is_not_chosen() {
    let policy = Policy::default();
    let search = Search {
        traces: &[],
        histories: &[],
        policy: &policy,
        setting: &Setting::default(),
        share: 0.5,
        most: 10,
        threads: NonZeroUsize::MIN,
    };
    let parts = Parts { first: Vec::new(), rest: Vec::new() };
    let chosen = |found: &[Candidate]| {
        let tried = Tried { search: &search, parts: &parts, found: found.to_vec(), seen: BTreeSet::new() };
        tried.chosen().map(|candidate| candidate.first.cost_unit_hours)
    };
    let with = |first: Score| candidate(0.7, first, Score::default());
    let (close, safe) = (with(score(80.0, 0.0095)), with(score(90.0, 0.005)));
    assert_eq!(chosen(&[with(score(100.0, 0.0095)), close.clone(), safe.clone()]), Some(90.0));
    assert_eq!(
        chosen(&[with(score(85.0, 0.0095)), close, safe.clone()]),
        Some(85.0),
        "what is in force may stay"
    );
    let uneven = with(Score { worst_above_ratio: 0.0095, ..score(70.0, 0.001) });
    assert_eq!(
        chosen(&[with(broken(50.0)), safe, uneven]),
        Some(90.0),
        "the worst of several recordings counts"
    );
    assert_eq!(chosen(&[with(broken(50.0))]), None);
}

#[test]
fn several_recordings_are_scored_by_what_is_in_force() {
    let outcome = |seconds: u64, breach: f64, utilization: f64, broken: &[Clause]| Outcome {
        trace: "x".into(),
        runner: Runner::Muster,
        seconds: crate::outcome::Seconds { simulated: seconds, scored: seconds },
        scores: crate::Scores {
            cost_unit_hours: 10.0,
            breach80_ratio: 3.0 * breach,
            above_ratio: breach,
            mean_utilization: utilization,
            contract_broken: broken.to_vec(),
            ..crate::Scores::default()
        },
        config: crate::outcome::Config {
            setting: Setting::default(),
            min: 1,
            max: 20,
            target: 0.78,
            objective_above: 0.8,
            objective_at_most: 0.01,
            ..crate::outcome::Config::default()
        },
        course: None,
    };
    let (long, short) = (outcome(300, 0.0, 0.7, &[Clause::Flips]), outcome(100, 0.02, 0.77, &[]));
    let score = together(&[&long, &short], &Policy::default());
    assert_eq!(
        (score.cost_unit_hours, score.breach80_ratio, score.above_ratio, score.worst_above_ratio),
        (20.0, 0.015, 0.005, 0.02)
    );
    // 77 % is within a candidate's own target of 78 %, and above the 75 % that are in force.
    assert_eq!(score.contract_broken, [Clause::MeanUtilization, Clause::Flips]);
}

#[test]
fn a_round_is_a_part_of_the_whole_search() {
    // The second round of a search of up to 10 settings: 2 of 3 settings on 4 recordings of 5 days are done.
    let round = Progress { done: 8, jobs: 12, days_done: 40.0, days: 60.0 };
    let whole = within(round, 1, 3, 10);
    assert_eq!(whole, Progress { done: 12, jobs: 40, days_done: 60.0, days: 200.0 });
}

#[test]
fn a_search_that_is_stopped_at_once_knows_nothing() {
    assert_eq!(searched(&Policy::default(), 1, true), Err(TuneError::Stopped));
}

fn turned(change: impl Fn(&mut Policy)) -> (Knobs, Knobs) {
    let base = Policy::default();
    let mut policy = base.clone();
    change(&mut policy);
    (Knobs::of(&base), Knobs::of(&policy))
}

#[test]
fn a_policy_file_is_changed_where_it_must_be_and_nowhere_else() {
    let before = "\
# Ours.
fleet \"api\" {
  id = \"sfr-1\"
}

fleet \"web\" {
  id = \"sfr-2\" # the old one
  scale_in {
    hold     = \"2m\" # patience
    max_step = 4
  }
  workload { kind = \"spreads\" }
}
";
    let file = File::new("web.hcl", before);
    let from = {
        let set = autoscaler_policy::load(std::slice::from_ref(&file)).expect("a policy");
        set.fleets[1].base.clone()
    };
    let mut to = from.clone();
    to.target = Utilization::new(0.725);
    to.scale_in.hold = Duration::from_secs(480);
    to.scale_in.max_step = None;
    let after =
        edited(&file, "web", &Knobs::of(&from), &Knobs::of(&to), "Cheaper.\n\nBy 3 %.").expect("a file");
    let expected = "\
# Ours.
fleet \"api\" {
  id = \"sfr-1\"
}

# Cheaper.
#
# By 3 %.
fleet \"web\" {
  id = \"sfr-2\" # the old one
  scale_in {
    hold     = \"8m\" # patience
  }
  workload { kind = \"spreads\" }

  target {
    cpu = \"72.5%\"
  }
}
";
    assert_eq!(after, expected);
}

#[test]
fn blocks_on_one_line_are_opened() {
    let (from, to) = turned(|policy| {
        policy.capacity.min = 3;
        policy.scale_in.max_step = Some(2);
    });
    let file = File::new("web.hcl", "fleet \"web\" {\n  id = \"sfr-1\"\n  capacity { max = 20 }\n}\n");
    let after = edited(&file, "web", &from, &to, "Why.").expect("a file");
    assert!(after.contains("  capacity {\n    max = 20\n    min = 3\n  }\n"), "{after}");
    let file = File::new("web.hcl", "fleet \"web\" { id = \"sfr-1\" }");
    let after = edited(&file, "web", &from, &to, "Why.").expect("a file");
    assert!(
        after.starts_with("# Why.\nfleet \"web\" {\n  id = \"sfr-1\"\n  capacity {\n    min = 3\n"),
        "{after}"
    );
}

#[test]
fn a_file_that_cannot_be_changed_is_said_so() {
    let (from, to) = turned(|policy| policy.capacity.min = 3);
    let refused =
        |text: &str| edited(&File::new("web.hcl", text), "web", &from, &to, "").expect_err("no fleet");
    assert_eq!(refused("fleet {").to_string(), "web.hcl is not HCL");
    assert_eq!(refused("fleet \"api\" {\n}\n").to_string(), "web.hcl has no fleet \"web\"");
    let odd = refused("fleet \"web\" {\n  id = \"nothing\"\n}\n").to_string();
    assert_eq!(odd, "web.hcl is written in a way that could not be changed; set by hand: capacity.min = 3");
}

#[test]
fn a_fresh_file_says_what_was_turned_and_reads_back() {
    let (from, to) = turned(|policy| {
        policy.target = Utilization::new(0.7);
        policy.scale_out.hold = Duration::from_secs(30);
    });
    let text = fresh(&from, &to, "Why.");
    let set = autoscaler_policy::load(&[File::new("web.hcl", text.as_str())]).expect(&text);
    assert_eq!(Knobs::of(&set.fleets[0].base), to, "{text}");
    assert!(text.starts_with("# Why.\nfleet \"web\" {\n") && !text.contains("scale_in"), "{text}");
}

#[test]
fn what_is_known_before_the_rest_is_the_first_part_and_what_joins_on_to_it() {
    let trace = |start: i64, demand: Vec<f64>| Trace {
        name: "x".into(),
        start: fleet::Timestamp::from_secs(start),
        demand,
    };
    let first = trace(20, vec![3.0, 4.0]);
    assert_eq!(joined(&trace(0, vec![1.0, 2.0]), &first), trace(0, vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(
        joined(&trace(0, vec![1.0]), &first),
        first,
        "with a hole between them, the nearer one is worth more"
    );
}

#[test]
fn a_recording_too_short_to_judge_by_is_refused() {
    let short = Trace { name: "x".into(), start: fleet::Timestamp::from_secs(0), demand: vec![1.0; 100] };
    let search = Search {
        traces: &[short],
        histories: &[None],
        policy: &Policy::default(),
        setting: &Setting::default(),
        share: 0.5,
        most: 4,
        threads: NonZeroUsize::MIN,
    };
    let refused = tune(&search, &AtomicBool::new(false), &|_| ()).expect_err("too short");
    assert_eq!(
        refused.to_string(),
        "x is 1000 s long; a search needs a day at least, to have something to judge by"
    );
}
