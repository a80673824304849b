//! Mangled policies: nothing panics, and what loads makes sense.

use autoscaler_policy::{File, example_file, explain, load};
use fleet::Timestamp;
use proptest::prelude::*;

const PIECES: &[&str] = &[
    "\"",
    "{",
    "}",
    "=",
    "\n",
    "#",
    "0",
    "99999",
    "-1",
    "1.5",
    "\"0s\"",
    "\"99d\"",
    "\"0%\"",
    "\"100%\"",
    "true",
    "null",
    "fleet \"web\" {\n",
    "id = \"fleet-1\"\n",
    "min = 30\n",
    "target = \"80%\"\n",
    "\"* * * * *\"",
    "\"0 0 30 2 *\"",
    "\"Europe/Berlin\"",
    "workload {\n",
    "groups = [\"a/b\"]\n",
    "by = \"fleet\"\n",
    "schedule \"x\" {\n",
    "ä",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mangled_policies_are_told_or_make_sense(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..30, 0..PIECES.len()), 0..6),
        seconds in -2_000_000_000_i64..4_000_000_000,
    ) {
        let mut text = example_file();
        for (at, length, piece) in changes {
            let start = text.floor_char_boundary(at.index(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, PIECES[piece]);
        }
        let now = Timestamp::from_secs(seconds);
        match load(&[File::new("web.hcl", text.as_str())]) {
            Err(problems) => prop_assert!(problems.has_errors() && !problems.render(false).is_empty()),
            Ok(set) => for fleet in &set.fleets {
                let (policy, active) = fleet.at(now);
                prop_assert!(policy.capacity.min <= policy.capacity.max && policy.capacity.min >= fleet.base.capacity.min);
                prop_assert!(policy.target < policy.objective.above && policy.target <= fleet.base.target);
                prop_assert!(active.len() <= fleet.schedules.len());
                prop_assert!(fleet.next_change(now).is_none_or(|next| next > now));
                prop_assert!(!explain(fleet, now).is_empty());
            },
        }
    }
}
