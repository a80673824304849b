//! What a file says, and everything that is wrong with it, by a table with a field of every kind.

mod fuzz;
mod table;

use muster_hcl::{File, Places, Problems, TableDoc, read};
use std::time::Duration;
use table::{Limits, Route, SERVER, Server, default};

fn decode(text: &str) -> (Server, Problems, Places) {
    let mut server = default();
    let mut problems = Problems::default();
    let places = read(&File::new("f", text), 0, &SERVER, &mut server, &mut problems);
    (server, problems, places)
}

/// `expect`: the problems, one a line, without the file's name.
fn check(text: &str, expect: &[&str]) {
    let (_, problems, _) = decode(text);
    let found: Vec<String> = problems
        .iter()
        .map(|p| {
            let help = p.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
            format!("{p}{help}")[2..].to_owned()
        })
        .collect();
    assert_eq!(found, expect, "{text}");
}

#[test]
fn every_kind_of_field_is_read() {
    let text = r#"
open  = false
port  = 8080
ratio = 1.5
share = "12.5%"
wait  = "1m30s"
mode  = "slow"
name  = <<-EOF
  two
    lines
  EOF
tags  = ["a", "b"]
labels = { x = "1", "y.z" = "2" }
sizes = { "m5.large" = 2, small = 0.5 }

limits {
  low = 2
}
store "disk" { high = 7 }
route "home" { to = "/" }
route "about" {
  to = "/about"
}
"#;
    let (server, problems, places) = decode(text);
    assert_eq!(problems.to_string(), "");
    let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    assert_eq!(
        server,
        Server {
            open: false,
            port: 8080,
            ratio: 1.5,
            share: 0.125,
            wait: Some(Duration::from_secs(90)),
            mode: "slow",
            name: Some("two\n  lines\n".into()),
            tags: vec!["a".into(), "b".into()],
            labels: texts(&[("x", "1"), ("y.z", "2")]),
            sizes: [("m5.large".into(), 2.0), ("small".into(), 0.5)].into(),
            limits: Limits { low: 2, high: 9 },
            store: Some(Limits { low: 0, high: 7 }),
            routes: vec![
                Route { label: "home".into(), to: "/".into() },
                Route { label: "about".into(), to: "/about".into() },
            ],
        }
    );
    assert_eq!((places.place("limits.low").line(), places.text("limits.low")), (17, Some("2")));
    assert_eq!(places.place("limits.high").line(), 16, "what is not given is looked for in its block");
    assert!(places.given("route.home.to") && !places.given("limits.high"));
}

#[test]
fn values_of_other_types_say_how_to_write_them() {
    let whole = "expected a whole number from 1 to 65535";
    for (text, expect) in [
        (
            "open = \"true\"",
            "1:8: open: \"true\" is a text; expected `true` or `false` [without quotes: true]".into(),
        ),
        ("port = \"80\"", format!("1:8: port: \"80\" is a text; {whole} [without quotes: 80]")),
        ("port = 0", format!("1:8: port: 0 is too small; {whole}")),
        ("port = 80.5", format!("1:8: port: 80.5 is not a whole number; {whole}")),
        ("port = -1", format!("1:8: port: -1 is too small; {whole}")),
        (
            "port = 99999999999999999999999",
            format!("1:8: port: 99999999999999999999999 is too large; {whole}"),
        ),
        ("port = 8 + 1", format!("1:8: port: 8 + 1 is an expression, and nothing is computed here; {whole}")),
        ("port = null", format!("1:8: port: null is no value; {whole}")),
        ("ratio = 3", "1:9: ratio: 3 is too large; expected a number from 0.5 to 2".into()),
    ] {
        check(text, &[&expect]);
    }
    let share = "expected a share from \"1%\" to \"99%\"";
    check("share = 75", &[&format!("1:9: share: 75 is a number; {share} [\"75%\"]")]);
    check("share = 0.75", &[&format!("1:9: share: 0.75 is a number; {share} [\"75%\"]")]);
    check("share = \"75\"", &[&format!("1:9: share: \"75\" is not a share; {share} [\"75%\"]")]);
    check("share = \"nan%\"", &[&format!("1:9: share: \"nan%\" is not a share; {share}")]);
    check("share = \"100%\"", &[&format!("1:9: share: \"100%\" is too large; {share}")]);
    let wait = "expected a duration from \"0s\" to \"1h\"";
    check("wait = 300", &[&format!("1:8: wait: 300 is a number; {wait} [\"5m\" if seconds are meant]")]);
    check(
        "wait = \"300\"",
        &[&format!("1:8: wait: \"300\" is not a duration; {wait} [\"300s\" if seconds are meant]")],
    );
    check(
        "wait = \"5 min\"",
        &[&format!("1:8: wait: \"5 min\" is not a duration; {wait} [such as \"90s\", \"5m\" or \"1h30m\"]")],
    );
    check("wait = \"2h\"", &[&format!("1:8: wait: \"2h\" is too large; {wait}")]);
    let mode = "expected \"fast\" or \"slow\"";
    check(
        "mode = \"slw\"",
        &[&format!("1:8: mode: \"slw\" is not one of the choices; {mode} [did you mean \"slow\"?]")],
    );
    check(
        "mode = slow",
        &[&format!("1:8: mode: slow is a name without quotes; {mode} [with quotes: \"slow\"]")],
    );
    check(
        "name = \"${x}\"",
        &["1:8: name: \"${x}\" is a text with `${`, and nothing is filled in here; expected a name"],
    );
}

#[test]
fn lists_and_maps_are_told_by_their_entries() {
    check(
        "tags = [\n  \"a b\",\n  1,\n  \"c\",\n  \"c\",\n]",
        &[
            "2:3: tags: \"a b\" has a space; expected a list of words such as \"a\"",
            "3:3: tags: 1 is a number; expected a list of words such as \"a\"",
            "5:3: tags: \"c\" is given twice; expected a list of words such as \"a\"",
        ],
    );
    check("tags = \"a\"", &["1:8: tags: \"a\" is a text; expected a list of words such as \"a\" [[\"a\"]]"]);
    let sizes = "expected a map from types to sizes, numbers from 0.1 to 10";
    check(
        "sizes = {\n  \"m5.large\" = 0\n  # a = 1\n  a = \"2\"\n  m5.xlarge = 2\n  \"a\" = 3\n}",
        &[
            &format!("2:16: sizes.m5.large: 0 is too small; {sizes}"),
            &format!("4:7: sizes.a: \"2\" is a text; {sizes} [without quotes: 2]"),
            &format!("5:3: sizes: the key m5.xlarge is not a text; {sizes} [with quotes: \"m5.xlarge\"]"),
            &format!("6:9: sizes.a: 3 is a second value for this key; {sizes}"),
        ],
    );
}

#[test]
fn unknown_names_lead_to_the_nearest_known_one() {
    let all = "`open`, `port`, `ratio`, `share`, `wait`, `mode`, `name`, `tags`, `labels`, `sizes`, `limits`, \
               `store` or `route`";
    check(
        "prot = 1",
        &[&format!("1:1: prot: `prot` is not known here; expected {all} [did you mean `port`?]")],
    );
    check(
        "limit {\n}",
        &[&format!("1:1: limit: `limit` is not known here; expected {all} [did you mean `limits`?]")],
    );
    check(
        "limits {\n  hgih = 3\n}",
        &["2:3: limits.hgih: `hgih` is not known here; expected `low` or `high` [did you mean `high`?]"],
    );
    check("zzz = 1", &[&format!("1:1: zzz: `zzz` is not known here; expected {all}")]);
    check(
        "store \"dsk\" {\n}",
        &["1:1: store.dsk: `dsk` is not known here; expected `disk` [did you mean \"disk\"?]"],
    );
}

#[test]
fn blocks_and_attributes_are_not_mixed_up() {
    check("limits = 3", &["1:1: limits: `limits` is a block, not an attribute; expected `limits { … }`"]);
    check("route = 3", &["1:1: route: `route` is a block, not an attribute; expected `route \"…\" { … }`"]);
    check(
        "sizes {\n}",
        &[
            "1:1: sizes: `sizes` is an attribute, not a block; expected `sizes = …`, a map from types to sizes, \
           numbers from 0.1 to 10",
        ],
    );
    check("limits \"a\" {\n}", &["1:1: limits: too many labels; expected `limits {`"]);
    let label = "expected `route \"…\" {`, where … is a word of lowercase letters";
    check("route {\n}", &[&format!("1:1: route: the label is missing; {label}")]);
    check("route \"a\" \"b\" {\n}", &[&format!("1:1: route.a: too many labels; {label}")]);
    check("store {\n}", &["1:1: store: the label is missing; expected `store \"…\" {`, where … is `disk`"]);
    check(
        "route \"A\" { to = \"/\" }",
        &["1:7: route.A: \"A\" has other signs; expected a word of lowercase letters"],
    );
}

#[test]
fn what_is_required_and_what_is_given_twice_is_told() {
    check("route \"a\" {\n}", &["1:1: route.a.to: is missing; expected a path such as \"/home\""]);
    check(
        "route \"a\" {\n  too = \"/\"\n}",
        &["2:3: route.a.too: `too` is not known here; expected `to` [did you mean `to`?]"],
    );
    check(
        "route \"a\" { to = \"/\" }\nroute \"a\" { to = \"x\" }",
        &["2:1: route.a: `route \"a\"` is given twice; expected one such block [the first is in line 1]"],
    );
    check(
        "limits {\n}\nlimits {\n}",
        &["3:1: limits: `limits` is given twice; expected one such block [the first is in line 1]"],
    );
    check(
        "limits {\n  low = 1\n  low = 2\n  low = 3\n}",
        &[
            "3:3: limits.low: `low` is given twice; expected one value [the first is in line 2]",
            "4:3: limits.low: `low` is given twice; expected one value [the first is in line 2]",
        ],
    );
}

#[test]
fn a_slip_of_syntax_does_not_hide_the_others() {
    check(
        "port = 70000\nwait = 5m\nlimits {\n  low == 3\n  high = 101\n}\nmode = fast\nroute 'a' {\n  to = \"/\"\n}\nratio = 9\n",
        &[
            "1:8: port: 70000 is too large; expected a whole number from 1 to 65535",
            "2:9: a number with a unit is text; expected quotes around it, such as \"5m\"",
            "4:8: limits: unexpected `=`; expected a value",
            "5:10: limits.high: 101 is too large; expected a whole number from 0 to 100",
            "7:8: mode: fast is a name without quotes; expected \"fast\" or \"slow\" [with quotes: \"fast\"]",
            "8:7: strings are not quoted with `'`; expected `\"`",
            "11:9: ratio: 9 is too large; expected a number from 0.5 to 2",
        ],
    );
    check(
        "name = \"x\nport = 0\n",
        &[
            "1:8: this string is not closed; expected `\"` at its end, on the same line",
            "2:8: port: 0 is too small; expected a whole number from 1 to 65535",
        ],
    );
    check(
        "limits {\n  low = }\nport = 0\n",
        &[
            "2:9: limits: unexpected `}`; expected a value",
            "3:8: port: 0 is too small; expected a whole number from 1 to 65535",
        ],
    );
    // What is missing may stand in what was left out.
    check("route \"a\" {\n  to = /x\n}\n", &["2:8: route.a: unexpected `/`; expected a value"]);
    // Where the brackets do not match, nothing else can be told.
    check("limits {\n  low = 900\nport = 0\n", &["1:8: this `{` is never closed; expected `}`"]);
}

#[test]
fn what_has_a_problem_is_not_sound() {
    let (_, _, places) = decode("limits {\n  hgih = 3\n  low = 900\n}\nport = 1\n");
    for (path, sound) in
        [("limits.low", false), ("limits.high", false), ("limits", false), ("port", true), ("mode", true)]
    {
        assert_eq!(places.is_sound(path), sound, "{path}");
    }
    let (_, _, places) = decode("port = 1\nmode = ?\n");
    assert!(places.is_sound("port") && !places.is_sound("mode"), "the mode was left out");
}

#[test]
fn large_files_are_refused() {
    let text = "# ".to_owned() + &"x".repeat(1 << 20);
    check(
        &text,
        &[
            "1:1: the file has 1048578 bytes; expected at most 1048576 bytes; fleets may be spread over several files",
        ],
    );
}

#[test]
fn a_table_documents_itself() {
    let doc = TableDoc::of(&SERVER, &default());
    let reference = doc.markdown(2);
    for line in [
        "| `port` | a whole number from 1 to 65535 | `80` | Where it listens. |",
        "| `wait` | a duration from \"0s\" to \"1h\" | no end | A wait. |",
        "| `to` | a path such as \"/home\" | **required** | Where it leads. |",
        "## `store \"disk\"`",
        "`NAME` is a word of lowercase letters.",
    ] {
        assert!(reference.lines().any(|l| l == line), "{line} is not in\n{reference}");
    }
    let example = doc.example();
    assert!(example.contains("\n# wait = \"5m\"\n"), "{example}");
    assert!(example.contains("\n# store \"disk\" {\n"), "{example}");
    let (read_back, problems, _) = decode(&example);
    assert_eq!(problems.to_string(), "", "{example}");
    let home = Route { label: "home".into(), to: "/home".into() };
    assert_eq!(read_back, Server { routes: vec![home], ..default() });

    let mut settings = Vec::new();
    SERVER.settings(&read_back, "server.", &mut settings);
    let shown: Vec<String> = settings.iter().map(|s| format!("{} = {}", s.path, s.value)).collect();
    assert!(shown.contains(&"server.share = \"50%\"".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"server.wait = no end".to_owned()));
    assert!(shown.contains(&"server.route.home.to = \"/home\"".to_owned()));
    assert!(!shown.iter().any(|line| line.contains("store")), "{shown:#?}");
}
