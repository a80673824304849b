//! The nearest known name for one that is not known.

/// The known name that was most likely meant, if one is near enough.
///
/// Near: a few slips of the fingers (one in four letters, swapped ones count once), the beginning of the other,
/// or the part behind the last `/` (`Berlin` for `Europe/Berlin`). Case and `-` for `_` do not matter.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = fold(name);
    if wanted.is_empty() {
        return None;
    }
    known
        .into_iter()
        .filter_map(|candidate| {
            let folded = fold(candidate);
            let tail = folded.rsplit('/').next().unwrap_or(&folded);
            let letters = wanted.chars().count();
            let whole = strsim::osa_distance(&wanted, &folded);
            let part = strsim::osa_distance(&wanted, tail);
            // Parts are many: they have to be nearer than wholes.
            let near = whole <= (letters / 4).max(1) || part <= letters / 5;
            let distance = whole.min(part);
            let begins = wanted.len() >= 3
                && folded.len() >= 3
                && (folded.starts_with(&wanted) || wanted.starts_with(&folded));
            (near || begins).then_some((distance, candidate))
        })
        // The first of equally near ones, in the order in which they are known.
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn fold(name: &str) -> String {
    // Longer names are no slip of the fingers, and comparing takes the product of the lengths.
    name.chars().take(64).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// "`a`, `b` or `c`".
pub(crate) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} or {last}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &[
        "min",
        "max",
        "surge",
        "max_step",
        "observe_only",
        "Europe/Berlin",
        "Europe/Paris",
        "Australia/West",
    ];

    #[test]
    fn slips_lead_to_the_name_that_was_meant() {
        for (slip, meant) in [
            ("mxa", "max"),
            ("maxx", "max"),
            ("Max", "max"),
            ("minimum", "min"),
            ("sruge", "surge"),
            ("max-step", "max_step"),
            ("observeonly", "observe_only"),
            ("observe", "observe_only"),
            ("Europe/Berln", "Europe/Berlin"),
            ("berlin", "Europe/Berlin"),
        ] {
            assert_eq!(nearest(slip, KNOWN.iter().copied()), Some(meant), "{slip}");
        }
    }

    #[test]
    fn what_is_far_from_everything_has_no_nearest() {
        for far in ["", "CEST", "colour", "Moon/Sea", &"m".repeat(1_000_000)] {
            assert_eq!(nearest(far, KNOWN.iter().copied()), None);
        }
    }

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(one_of([]), "");
    }
}
