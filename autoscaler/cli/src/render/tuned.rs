//! What a search for a better setting came to, for people.

use super::Table;
use super::outcomes::{clause, percent};
use crate::out::Paint;
use autoscaler_lab::tune::{Candidate, Knobs, Score, Stay, Take, Tuned, Verdict, WORTH};
use fleet::Utilization;

/// Rows of the front that are shown are at least this part of its span apart.
const APART: f64 = 10.0;

/// The front, the knee, and what is advised.
pub fn tuned(tuned: &Tuned, paint: Paint) -> String {
    let chosen = match &tuned.verdict {
        Verdict::Take { candidate, .. } | Verdict::Stay { candidate: Some(candidate), .. } => Some(candidate),
        Verdict::Stay { candidate: None, .. } => None,
    };
    let level = Utilization::new(tuned.objective_above);
    let (over, over_rest) = (format!("over {level}"), format!("over {level}, rest"));
    let head = [
        "setting",
        "cost",
        &over,
        "cost, rest",
        &over_rest,
        "flips/day, rest",
        "contract, rest",
        "other than in force",
    ];
    let mut rows = vec![head.into_iter().map(|name| (name.to_owned(), paint.faint(name))).collect()];
    let force = tuned.base.knobs;
    rows.push(row("in force", &tuned.base, force, paint));
    let shown = shown(tuned);
    for index in shown.iter().copied() {
        let candidate = &tuned.front[index];
        let is_chosen = chosen.is_some_and(|chosen| chosen.knobs == candidate.knobs);
        let mark = match (is_chosen, index == tuned.knee) {
            (true, true) => "best, knee",
            (true, false) => "best",
            (false, true) => "knee",
            (false, false) => "front",
        };
        rows.push(row(mark, candidate, force, paint));
    }
    let off_front =
        chosen.filter(|chosen| shown.iter().all(|index| tuned.front[*index].knobs != chosen.knobs));
    rows.extend(off_front.map(|chosen| row("best", chosen, force, paint)));
    let advice = advice(tuned);
    let advice = match tuned.verdict {
        Verdict::Take { .. } => paint.good(advice),
        Verdict::Stay { .. } => paint.name(advice),
    };
    format!(
        "{}{}\n{advice}\n{}\n",
        Table::numbers(rows, 6).render(),
        paint.faint(format_args!(
            "{} settings tried on the first part; nothing tried beats the front in both cost and breach{}",
            tuned.tried,
            match tuned.front.len() - shown.len() {
                0 => String::new(),
                more => format!(" ({more} more of it: --format json)"),
            }
        )),
        reasons(tuned)
    )
}

/// Which of the front are shown to people: its ends, its knee, and between them what differs enough to be looked at.
fn shown(tuned: &Tuned) -> Vec<usize> {
    let cost = |index: usize| tuned.front[index].first.cost_unit_hours;
    let last = tuned.front.len() - 1;
    let apart = (cost(last) - cost(0)) / APART;
    let mut shown: Vec<usize> = Vec::new();
    for index in 0..=last {
        let far = |from: usize| cost(index) - cost(from) >= apart;
        if index == last || index == tuned.knee || shown.last().is_none_or(|from| far(*from)) {
            shown.push(index);
        }
    }
    shown
}

fn row(name: &str, candidate: &Candidate, force: Knobs, paint: Paint) -> Vec<(String, String)> {
    let Candidate { knobs, first, rest } = candidate;
    let plain = |text: String| (text.clone(), text);
    let of = |score: &Score| [format!("{:.1}", score.cost_unit_hours), percent(score.above_ratio)];
    let other: Vec<String> = knobs.beyond(&force).iter().map(ToString::to_string).collect();
    let mut cells = vec![(name.to_owned(), paint.name(name))];
    cells.extend(of(first).map(plain));
    match rest {
        Some(rest) => {
            cells.extend(of(rest).map(plain));
            cells.push(plain(format!("{:.1}", rest.flips_per_day)));
            let kept = contract(rest);
            let painted = if rest.kept() { paint.good(&kept) } else { paint.bad(&kept) };
            cells.push((kept, painted));
        }
        None => cells.extend(std::iter::repeat_n(plain("-".to_owned()), 4)),
    }
    cells.push(plain(other.join(", ")));
    cells
}

fn contract(score: &Score) -> String {
    let clauses: Vec<&str> = score.contract_broken.iter().copied().map(clause).collect();
    if clauses.is_empty() { "kept".to_owned() } else { format!("broken: {}", clauses.join(", ")) }
}

/// What to do, in a line.
fn advice(tuned: &Tuned) -> String {
    let setting = |candidate: &Candidate| {
        let knobs: Vec<String> =
            candidate.knobs.beyond(&tuned.base.knobs).iter().map(ToString::to_string).collect();
        knobs.join(", ")
    };
    match &tuned.verdict {
        Verdict::Take { candidate, .. } => format!("Take {}.", setting(candidate)),
        Verdict::Stay { .. } => "Stay with what is in force: it is not worth leaving.".to_owned(),
    }
}

/// Why that is advised, in lines without marks: they stand in policy files, too.
pub fn reasons(tuned: &Tuned) -> String {
    let threshold = 100.0 * WORTH;
    match &tuned.verdict {
        Verdict::Take { candidate, saving, why: Take::Cheaper } => format!(
            "On the part that the search had not seen it cost {:.1} % less ({threshold} % would have been enough)\n\
             and kept the contract: {}.",
            100.0 * saving,
            compared(tuned, candidate),
        ),
        Verdict::Take { candidate, saving, why: Take::KeepsThePromise } => format!(
            "On the part that the search had not seen it kept the contract, which what was in force did not\n\
             ({}); it cost {:.1} % {}: {}.",
            tuned.base.rest.as_ref().map(contract).unwrap_or_default(),
            100.0 * saving.abs(),
            if *saving < 0.0 { "more" } else { "less" },
            compared(tuned, candidate),
        ),
        Verdict::Stay { why: Stay::NothingBetter, .. } => {
            let broken = tuned.base.rest.as_ref().filter(|rest| !rest.kept()).map(contract);
            format!(
                "On the part that was searched on, no other setting was cheaper and kept the contract with a fifth of\n\
                 the promise to spare.{}",
                broken
                    .map(|broken| format!(" On the rest, what is in force did not keep it ({broken})."))
                    .unwrap_or_default()
            )
        }
        Verdict::Stay { candidate, saving, why: Stay::TooLittle } => format!(
            "The best other setting saved {:.1} % on the part that the search had not seen; less than {threshold} % comes\n\
             out of the same policy from one week to the next{}.",
            100.0 * saving,
            candidate.as_ref().map(|c| format!(" ({})", compared(tuned, c))).unwrap_or_default(),
        ),
        Verdict::Stay { candidate, why: Stay::BreaksThePromise, .. } => format!(
            "The best other setting did not keep the contract on the part that the search had not seen ({}){}.",
            candidate.as_ref().and_then(|c| c.rest.as_ref()).map(contract).unwrap_or_default(),
            match &tuned.base.rest {
                Some(rest) if !rest.kept() => "; nor did what is in force",
                _ => "",
            },
        ),
    }
}

/// Cost and breach, before and after.
fn compared(tuned: &Tuned, candidate: &Candidate) -> String {
    let of = |candidate: &Candidate| {
        let rest = candidate.rest.clone().unwrap_or_default();
        (rest.cost_unit_hours, percent(rest.above_ratio))
    };
    let ((cost, breach), (cost_now, breach_now)) = (of(candidate), of(&tuned.base));
    let level = 100.0 * tuned.objective_above;
    format!("{cost_now:.1} -> {cost:.1} unit-hours, {breach_now} -> {breach} of the time above {level:.0} %")
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoscaler_core::Policy;

    fn candidate(target: f64, cost: f64, breach: f64) -> Candidate {
        let policy = Policy { target: Utilization::new(target), ..Policy::default() };
        let score = Score { cost_unit_hours: cost, above_ratio: breach, ..Score::default() };
        Candidate { knobs: Knobs::of(&policy), first: score.clone(), rest: Some(score) }
    }

    fn with(verdict: Verdict) -> Tuned {
        let front =
            vec![candidate(0.78, 90.0, 0.03), candidate(0.76, 95.0, 0.005), candidate(0.7, 120.0, 0.0)];
        Tuned {
            objective_above: 0.8,
            base: candidate(0.75, 100.0, 0.004),
            front,
            knee: 1,
            tried: 40,
            verdict,
        }
    }

    #[test]
    fn the_front_the_knee_and_the_advice_are_shown() {
        let why = Take::Cheaper;
        let taken = with(Verdict::Take { candidate: candidate(0.76, 95.0, 0.005), saving: 0.05, why });
        let expected = "\
setting      cost  over 80%  cost, rest  over 80%, rest  flips/day, rest  contract, rest  other than in force
in force    100.0     0.40%       100.0           0.40%              0.0  kept
front        90.0     3.00%        90.0           3.00%              0.0  kept            target.cpu = \"78%\"
best, knee   95.0     0.50%        95.0           0.50%              0.0  kept            target.cpu = \"76%\"
front       120.0     0.00%       120.0           0.00%              0.0  kept            target.cpu = \"70%\"
40 settings tried on the first part; nothing tried beats the front in both cost and breach
Take target.cpu = \"76%\".
On the part that the search had not seen it cost 5.0 % less (2 % would have been enough)
and kept the contract: 100.0 -> 95.0 unit-hours, 0.40% -> 0.50% of the time above 80 %.
";
        assert_eq!(tuned(&taken, Paint::default()), expected);
    }

    #[test]
    fn of_a_long_front_what_differs_is_shown() {
        let mut long = with(Verdict::Stay { candidate: None, saving: 0.0, why: Stay::NothingBetter });
        long.front =
            (0..100).map(|n| candidate(0.75, 100.0 + f64::from(n), 0.1 - f64::from(n) / 1000.0)).collect();
        long.knee = 47;
        assert_eq!(shown(&long), [0, 10, 20, 30, 40, 47, 57, 67, 77, 87, 97, 99]);
        let text = tuned(&long, Paint::default());
        assert!(
            text.contains("breach (88 more of it: --format json)\n") && text.contains("\nknee"),
            "{text}"
        );
        long.base.rest = None;
        assert!(reasons(&long).ends_with("to spare."), "{}", reasons(&long));
    }

    #[test]
    fn staying_is_said_plainly_with_the_threshold() {
        let too_little = with(Verdict::Stay {
            candidate: Some(candidate(0.77, 99.0, 0.005)),
            saving: 0.01,
            why: Stay::TooLittle,
        });
        let text = tuned(&too_little, Paint::default());
        assert!(text.contains("Stay with what is in force: it is not worth leaving.\n"), "{text}");
        assert!(text.contains("saved 1.0 % on the part") && text.contains("less than 2 %"), "{text}");
        assert!(text.contains("\nbest  "), "the best is shown though it is not on the front: {text}");
    }
}
