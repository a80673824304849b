//! The report: its structure, and that nothing in it can do harm.

mod markup;
mod runs;

use autoscaler_lab::html::render;
use autoscaler_lab::{Course, Outcome};
use markup::Markup;
use runs::report;

fn page(days: usize, runners: usize) -> (Vec<Outcome>, String) {
    let (outcomes, fronts) = report("samples/made-up.csv.gz", days, runners);
    let page = render(&outcomes, &fronts);
    (outcomes, page)
}

#[test]
fn every_run_has_its_row_its_mark_its_chart_and_its_decisions() {
    let (outcomes, page) = page(1, 4);
    let markup = Markup::read(&page);
    assert_eq!(markup.count("figure", "course"), 4);
    assert_eq!(markup.count("figure", "scatter"), 1);
    assert_eq!(markup.of_tag("table").count(), 2);
    assert_eq!(markup.of_tag("tr").count(), 2 * 5);
    assert_eq!(markup.of_tag("g").filter(|g| g.attribute("class").starts_with("runner")).count(), 4);
    let decided: usize = outcomes.iter().filter_map(|o| o.course.as_ref()).map(|c| c.decisions.len()).sum();
    assert_eq!(markup.of_tag("li").filter(|li| !li.attribute("data-t").is_empty()).count(), decided);
    let with_pools =
        outcomes.iter().filter(|o| o.course.as_ref().is_some_and(|c| !c.pools.is_empty())).count();
    assert_eq!(markup.count("path", "pool"), with_pools * 8);
    assert_eq!(markup.count("ul", "legend"), with_pools);
}

#[test]
fn charts_speak_to_those_who_do_not_see_them() {
    let (_, page) = page(1, 4);
    let markup = Markup::read(&page);
    let charts: Vec<_> = markup.of_tag("svg").filter(|svg| svg.attribute("role") == "img").collect();
    assert_eq!(charts.len(), 5);
    for chart in &charts {
        let ids: Vec<&str> = chart.attribute("aria-labelledby").split(' ').collect();
        for (id, tag) in ids.iter().zip(["title", "desc"]) {
            let named = markup.elements.iter().find(|e| e.attribute("id") == *id).expect("it is there");
            assert_eq!(named.tag, tag);
            assert!(named.text.len() > 10, "{id}: {}", named.text);
        }
    }
    let unseen = markup.of_tag("svg").filter(|svg| svg.attribute("role") != "img");
    assert!(unseen.into_iter().all(|svg| svg.attribute("aria-hidden") == "true"));
    // Each list of decisions can be walked through by keyboard, and says where one is.
    let walks: Vec<_> = markup.of_tag("div").filter(|div| div.attribute("role") == "slider").collect();
    assert_eq!(walks.len(), 4);
    for walk in walks {
        assert_eq!(walk.attribute("tabindex"), "0");
        for attribute in ["aria-label", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"] {
            assert!(!walk.attribute(attribute).is_empty(), "{attribute}");
        }
    }
    assert!(markup.of_tag("th").all(|th| !th.attribute("scope").is_empty()));
}

#[test]
fn ids_are_unique_and_what_is_referred_to_is_there() {
    let (outcomes, fronts) = report("a", 1, 4);
    let (others, more) = report("b", 1, 2);
    let page = render(&[outcomes, others].concat(), &[fronts, more].concat());
    let markup = Markup::read(&page);
    let mut ids: Vec<&str> =
        markup.elements.iter().map(|e| e.attribute("id")).filter(|id| !id.is_empty()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids are unique");
    let there = |id: &str| assert!(ids.binary_search(&id).is_ok(), "{id} is referred to");
    for element in &markup.elements {
        element.attribute("aria-labelledby").split_whitespace().for_each(there);
        element.attribute("href").strip_prefix('#').into_iter().for_each(there);
        for attribute in ["fill", "clip-path"] {
            let url =
                element.attribute(attribute).strip_prefix("url(#").and_then(|rest| rest.strip_suffix(')'));
            url.into_iter().for_each(there);
        }
    }
    assert_eq!(markup.of_tag("a").count(), 2, "a link for each of several traces");
}

#[test]
fn nothing_is_asked_of_the_network() {
    let (_, page) = page(1, 4);
    for asks in ["http:", "https:", "src=", "@import", "<link", "fetch", "XMLHttp", "<img", "<iframe"] {
        assert!(!page.contains(asks), "{asks}");
    }
    assert!(page.match_indices("url(").all(|(at, _)| page[at..].starts_with("url(#")));
    let markup = Markup::read(&page);
    assert!(markup.of_tag("a").all(|a| a.attribute("href").starts_with('#')));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let hostile = "x/\"><script>alert('1')</script><!--]]>&amp;\u{0}\u{202e}";
    let (mut outcomes, fronts) = report(hostile, 1, 2);
    for outcome in &mut outcomes {
        let course: &mut Course = outcome.course.as_mut().expect("a course");
        course.decisions.truncate(3);
        course.decisions[0].reason = hostile.to_owned();
        course.pools = vec![(hostile.to_owned(), course.capacity.clone())];
    }
    let page = render(&outcomes, &fronts);
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert_eq!(page.matches("</script").count(), 1);
    assert!(!page.contains("<!--") && !page.contains('\u{202e}') && !page.contains('\u{0}'));
    let markup = Markup::read(&page);
    let shown = hostile.replace(['\u{0}', '\u{202e}'], "\u{fffd}");
    assert!(markup.of_tag("li").any(|li| li.text.contains(&shown)), "in the list of decisions");
    assert!(markup.of_tag("path").any(|path| path.attribute("data-name") == shown), "as the name of a pool");
    assert!(markup.of_tag("p").any(|p| p.text.contains(&shown)), "as the name of the trace");
}

#[test]
fn one_bad_step_in_four_weeks_is_marked() {
    let (mut outcomes, fronts) = report("a", 28, 1);
    let course = outcomes[0].course.as_mut().expect("a course");
    let steps = course.demand.len();
    course.demand = vec![6.0; steps];
    course.capacity = vec![8.0; steps];
    let marks = |outcomes: &[Outcome], class: &str| {
        let page = render(outcomes, &fronts);
        let markup = Markup::read(&page);
        let path = markup.of_tag("path").find(|path| path.attribute("class") == class).expect("a path");
        path.attribute("d").matches('M').count()
    };
    assert_eq!((marks(&outcomes, "above mark"), marks(&outcomes, "full mark")), (0, 0));
    for (demand, expect) in [(6.5, (1, 0)), (8.5, (0, 1))] {
        let course = outcomes[0].course.as_mut().expect("a course");
        course.demand[123_456] = demand;
        assert_eq!((marks(&outcomes, "above mark"), marks(&outcomes, "full mark")), expect, "{demand}");
    }
}

#[test]
fn four_weeks_of_four_runners_fit_into_two_megabytes() {
    let (mut outcomes, fronts) = report("a", 28, 4);
    for outcome in &mut outcomes {
        let course = outcome.course.as_mut().expect("a course");
        // The worst to draw: nothing is level, and pools are many.
        let mut chance = 1_u32;
        let mut rough = |value: &mut f32| {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value *= 0.7 + 0.6 * f32::from(u16::try_from(chance >> 16).expect("sixteen bits")) / 65_536.0;
        };
        [&mut course.demand, &mut course.capacity, &mut course.utilization, &mut course.billed]
            .into_iter()
            .flatten()
            .for_each(&mut rough);
        course.pools =
            (0..12).map(|pool| (format!("m5.large/eu-west-1{pool}"), course.capacity.clone())).collect();
        let (of_a_day, days) = (course.decisions.clone(), 10);
        course.decisions = (0..days).flat_map(|_| of_a_day.clone()).collect();
    }
    let page = render(&outcomes, &fronts);
    assert!(page.len() <= 2_000_000, "{} bytes", page.len());
    assert!(
        Markup::read(&page).of_tag("p").any(|p| p.text.starts_with("The first ")),
        "what is left out is said"
    );
}

#[test]
fn odd_figures_and_missing_parts_are_no_reason_to_fail() {
    assert!(Markup::read(&render(&[], &[])).of_tag("p").any(|p| p.text == "No runs."));
    let (mut outcomes, mut fronts) = report("a", 1, 4);
    fronts[0].points.clear();
    outcomes[0].course = None;
    outcomes[1].course = Some(Course::default());
    outcomes[1].scores.cost_ratio = f64::NAN;
    outcomes[2].scores.above_ratio = f64::INFINITY;
    let course = outcomes[3].course.as_mut().expect("a course");
    course.demand[7] = f32::NAN;
    course.capacity.truncate(100);
    course.utilization.clear();
    course.billed.clear();
    course.decisions.clear();
    let page = render(&outcomes, &fronts);
    let markup = Markup::read(&page);
    assert_eq!(markup.count("figure", "course"), 2);
    for path in markup.of_tag("path") {
        let d = path.attribute("d");
        assert!(!d.contains("NaN") && !d.contains("inf") && !d.contains('–'), "{d}");
    }
    assert!(markup.of_tag("p").any(|p| p.text.starts_with("No decision")));
}

#[test]
fn cost_is_drawn_against_breach_of_the_policys_own_level() {
    let (mut outcomes, fronts) = report("a", 1, 1);
    let page = |outcome: &Outcome| render(std::slice::from_ref(outcome), &fronts);
    let at_80 = page(&outcomes[0]);
    assert!(at_80.contains("time above 80 % (root scale)"));
    (outcomes[0].config.objective_above, outcomes[0].scores.above_ratio) = (0.9, 0.004);
    let at_90 = page(&outcomes[0]);
    assert!(at_90.contains("time above 90 % (root scale)"));
    assert!(at_90.contains(", above 90 % 0.4"), "in words, and at the mark");
}

#[test]
fn the_worst_day_of_a_long_course_is_shown_closely() {
    let (outcomes, fronts) = report("a", 9, 2);
    let page = render(&outcomes, &fronts);
    let markup = Markup::read(&page);
    assert_eq!(markup.count("figure", "course"), 4);
    let days = markup.of_tag("h4").filter(|h4| h4.text.contains(", its worst day: ")).count();
    assert_eq!(days, 2);
}
