//! What happened, for who was not there: as text, and as a page.

use crate::timeline::{Boot, Figure, Timeline};
use std::fmt::Write as _;
use std::time::Duration;

/// The text: what happened, figures, boots by step.
pub fn text(timeline: &Timeline) -> String {
    let mut text = String::new();
    for event in timeline.events() {
        line(&mut text, &format!("{:7.1} s  {}", event.at.as_secs_f64(), event.what));
    }
    line(&mut text, "");
    for Figure { what, value } in timeline.figures() {
        line(&mut text, &format!("{what:68} {value:>10}"));
    }
    // Where nothing but images was made, no machine is a node.
    if timeline.boots().is_empty() {
        return text;
    }
    line(&mut text, "");
    let steps = steps(&timeline.boots());
    let head = joined(&steps, |step| format!("{step:>14}"));
    line(&mut text, &format!("{:22}{:>10}{:>10}{head}", "boot", "ready", "muster"));
    for boot in timeline.boots() {
        let row = joined(&steps, |step| format!("{:>14}", seconds(boot.step(step))));
        let (ready, own) = (seconds(Some(boot.ready)), seconds(Some(boot.own())));
        line(&mut text, &format!("{:22}{ready:>10}{own:>10}{row}", boot.instance));
    }
    text
}

/// The page, which needs nothing beside it.
pub fn page(timeline: &Timeline) -> String {
    let mut page = String::from(HEAD);
    page.push_str("<h1>The platform on one machine</h1>\n<table>\n");
    for Figure { what, value } in timeline.figures() {
        line(
            &mut page,
            &format!("<tr><td>{}</td><td class=\"n\">{}</td></tr>", escaped(&what), escaped(&value)),
        );
    }
    page.push_str("</table>\n<h2>From launch to ready, in seconds</h2>\n<table>\n");
    let steps = steps(&timeline.boots());
    let head = joined(&steps, |step| format!("<th>{step}</th>"));
    line(&mut page, &format!("<tr><th>instance</th><th>ready</th><th>muster</th>{head}</tr>"));
    for boot in timeline.boots() {
        let cell = |value: Option<Duration>| format!("<td class=\"n\">{}</td>", seconds(value));
        let row = joined(&steps, |step| cell(boot.step(step)));
        let (ready, own) = (cell(Some(boot.ready)), cell(Some(boot.own())));
        line(&mut page, &format!("<tr><td>{}</td>{ready}{own}{row}</tr>", escaped(&boot.instance)));
    }
    page.push_str("</table>\n<h2>What happened</h2>\n<table>\n");
    for event in timeline.events() {
        let (at, what) = (seconds(Some(event.at)), escaped(&event.what));
        line(&mut page, &format!("<tr><td class=\"n\">{at}</td><td>{what}</td></tr>"));
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>The platform on one machine</title>\n\
<style>\nbody { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1a1a1a; background: #fff }\n\
table { border-collapse: collapse; margin: 0 0 1.5rem }\ntd, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }\n\
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }\n\
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #161616 } td, th { border-color: #333 } }\n</style>\n</head>\n<body>\n";

fn line(text: &mut String, line: &str) {
    writeln!(text, "{}", line.trim_end()).expect("text");
}

fn joined(steps: &[String], cell: impl Fn(&str) -> String) -> String {
    steps.iter().map(|step| cell(step)).collect::<Vec<_>>().concat()
}

/// All steps that any boot had, in order of the first that had them.
fn steps(boots: &[Boot]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (step, _) in boots.iter().flat_map(|boot| &boot.steps) {
        if !all.contains(step) {
            all.push(step.clone());
        }
    }
    all
}

fn seconds(value: Option<Duration>) -> String {
    value.map_or_else(String::new, |value| format!("{:.1}", value.as_secs_f64()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tell_what_happened_the_figures_and_each_boot_by_step() {
        let timeline = Timeline::begin();
        timeline.say("i-1 boots <ami-1> & more");
        timeline.measured("from nothing to nothing", "600 s".to_owned());
        assert!(text(&timeline).ends_with("600 s\n"), "there is no node to tell of");
        let step = |name: &str, tenths: u64| (name.to_owned(), Duration::from_millis(100 * tenths));
        for (instance, steps) in
            [("i-1", vec![step("identity", 1), step("nomad", 23)]), ("i-2", vec![step("identity", 2)])]
        {
            let (ready, agent) = (Duration::from_millis(4200), Duration::from_millis(900));
            timeline.booted(Boot { instance: instance.to_owned(), ready, steps, agent });
        }
        let text = text(&timeline);
        for of_it in
            ["i-1 boots <ami-1> & more", "from nothing to nothing", "identity", "nomad", "2.3", "4.2"]
        {
            assert!(text.contains(of_it), "{of_it}: {text}");
        }
        let page = page(&timeline);
        for of_it in [
            "<td>i-1 boots &lt;ami-1&gt; &amp; more</td>",
            "<td>from nothing to nothing</td><td class=\"n\">600 s</td>",
            "<th>identity</th><th>nomad</th>",
            "<tr><td>i-2</td><td class=\"n\">4.2</td>",
            "<td class=\"n\">2.3</td>",
        ] {
            assert!(page.contains(of_it), "{of_it}: {page}");
        }
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert_eq!(page.matches("<table>").count(), page.matches("</table>").count());
    }
}
