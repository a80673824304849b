//! The lab as people and scripts meet it: backtest, oracle, tune and decide on the command line.

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tests::programs::{autoscaler, run};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn file(directory: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = directory.path().join(name);
    fs::write(&path, bytes).expect("a file");
    text(&path)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of letters").to_owned()
}

fn json(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in:\n{data}"))
}

/// A command that must succeed: its standard output.
fn done(arguments: &[&str]) -> String {
    let (code, out, err) = run(arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out
}

/// The program with something to read; its exit code, what it said and what it told.
fn fed(command: &mut Command, input: &[u8]) -> (i32, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // Less than a pipe holds, so that nobody waits for anybody.
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let words = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("it ends by itself"), words(stdout), words(stderr))
}

fn policy(directory: &TempDir, body: &str) -> String {
    let id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5";
    let text = format!(
        "# Ours.\nfleet \"web\" {{\n  id = \"{id}\"\n  workload {{\n    kind = \"spreads\"\n  }}\n{body}}}\n"
    );
    file(directory, "web.hcl", text)
}

#[test]
fn a_backtest_without_arguments_plays_a_sample() {
    let (code, out, err) = run(["backtest"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("two days of sample:taxi"), "{err}");
    for word in
        ["sample:taxi: 2 days, boot 2m, cloudwatch-1m", "x optimum", "over 80%", "contract", "< muster"]
    {
        assert!(out.contains(word), "no {word:?} in:\n{out}");
    }
    let runners: Vec<&str> =
        out.lines().skip(3).take(5).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(runners, ["muster", "aws-tt", "nomad-tv", "hpa", "optimum"], "{out}");
}

#[test]
fn json_is_an_object_a_trace_and_runner_in_their_order() {
    let out = done(&[
        "backtest",
        "--trace",
        "sample:nasa",
        "sample:wiki",
        "--runner",
        "hpa,muster",
        "--boot",
        "180s",
        "--metric",
        "push",
        "--seed",
        "7",
        "--noise",
        "5%",
        "--format",
        "json",
    ]);
    let all = json(&out);
    let all = all.as_array().expect("an array");
    let names: Vec<_> = all.iter().map(|o| (o["trace"].as_str(), o["runner"].as_str())).collect();
    let expected = [
        ("sample:nasa", "hpa"),
        ("sample:nasa", "muster"),
        ("sample:wiki", "hpa"),
        ("sample:wiki", "muster"),
    ];
    assert_eq!(names, expected.map(|(trace, runner)| (Some(trace), Some(runner))));
    for outcome in all {
        assert_eq!(outcome["seconds"]["scored"], 172_800);
        assert_eq!(outcome["config"]["boot"], 180);
        assert_eq!((&outcome["config"]["metric"], &outcome["config"]["seed"]), (&"push".into(), &7.into()));
        assert_eq!(outcome["config"]["noise"], 0.05);
        for ratio in
            ["breach80_ratio", "saturated_ratio", "unserved_ratio", "queue_over_1s_ratio", "mean_utilization"]
        {
            let value = outcome[ratio].as_f64().unwrap_or_else(|| panic!("no {ratio} in {outcome}"));
            assert!((0.0..=1.0).contains(&value), "{ratio} is {value}");
        }
        let number = |name: &str| outcome[name].as_f64().unwrap_or_else(|| panic!("no {name} in {outcome}"));
        let ratio = number("cost_unit_hours") / number("oracle_unit_hours");
        assert!((ratio - number("cost_ratio")).abs() < 1e-12, "{outcome}");
        assert!(
            outcome.get("soft_cost_ratio").is_some_and(|soft| soft.is_null() || soft.as_f64() > Some(0.0))
        );
        assert_eq!(
            outcome["contract_kept"],
            outcome["contract_broken"].as_array().is_some_and(Vec::is_empty)
        );
    }
}

#[test]
fn regrets_are_the_same_on_any_number_of_threads() {
    let with = |jobs: &str| {
        done(&[
            "oracle",
            "--trace",
            "sample:elb",
            "sample:nasa",
            "--runner",
            "muster,hpa",
            "--jobs",
            jobs,
            "--format",
            "json",
        ])
    };
    let (one, three) = (with("1"), with("3"));
    assert_eq!(one, three);
    let all = json(&one);
    assert_eq!((&all[1]["trace"], &all[1]["splits"][1]["runner"]), (&"sample:nasa".into(), &"hpa".into()));
}

#[test]
fn policies_that_differ_in_a_hold_are_told_apart_by_their_configuration() {
    let directory = directory();
    let played = |body: &str, more: &[&str]| {
        let file = policy(&directory, body);
        let arguments = ["backtest", "--trace", "sample:nasa", "--runner", "muster,hpa", "--format", "json"];
        let all = json(&done(&[&arguments[..], &["--policy", &file], more].concat()));
        [all[0]["config"].clone(), all[1]["config"].clone()]
    };
    let hold = |hold: &str| format!("  scale_in {{\n    hold = \"{hold}\"\n  }}\n");
    let ([short, _], [long, _]) = (played(&hold("2m"), &[]), played(&hold("9m"), &[]));
    assert_ne!(short, long);
    assert_eq!((&short["scale_in_hold"], &long["scale_in_hold"]), (&120.into(), &540.into()));
    let schedule = "  schedule \"office\" {\n    start = \"0 9 * * 1-5\"\n    zone  = \"Europe/Vienna\"\n    \
                    for   = \"9h\"\n    min   = 4\n  }\n";
    let [ours, theirs] = played(schedule, &["--history", "50%"]);
    assert_eq!((&ours["schedules"][0]["name"], &ours["history"]), (&"office".into(), &"sample:nasa".into()));
    assert_eq!((&theirs["schedules"], &theirs["history"]), (&Value::Array(Vec::new()), &Value::Null));
    assert_eq!((&short["history"], &short["scale_in_max_step"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_same_arguments_give_the_same_bytes_on_any_number_of_threads() {
    let with = |jobs: &str, format: &str| {
        done(&[
            "backtest",
            "--trace",
            "sample:elb",
            "sample:nasa",
            "--runner",
            "all",
            "--stochastic",
            "--interruptions",
            "stress",
            "--noise",
            "0.1",
            "--jobs",
            jobs,
            "--format",
            format,
        ])
    };
    for format in ["table", "json", "csv"] {
        assert_eq!(with("1", format), with("3", format));
    }
    let csv = with("2", "csv");
    assert_eq!(csv.lines().count(), 1 + 2 * 9, "{csv}");
    let columns = csv.lines().next().map_or(0, |head| head.split(',').count());
    assert!(csv.lines().all(|line| line.split(',').count() == columns), "{csv}");
}

#[test]
fn a_trace_may_be_fed_and_a_history_is_not_scored() {
    let rows: String = (0..=1440).fold("seconds,demand\n".to_owned(), |mut rows, minute| {
        writeln!(rows, "{},{}", 86_400 + minute * 60, 4 + minute % 7).expect("memory");
        rows
    });
    let directory = directory();
    let before = file(&directory, "before.csv", "seconds,demand\n0,4\n86400,5\n");
    let arguments =
        ["backtest", "--trace", "-", "--history", &before, "--runner", "muster", "--format", "json"];
    let (code, out, err) = fed(autoscaler().args(arguments), rows.as_bytes());
    assert_eq!(code, 0, "{err}");
    let outcome = &json(&out)[0];
    assert_eq!((&outcome["trace"], &outcome["seconds"]["scored"]), (&"-".into(), &86_400.into()));
    assert_eq!(outcome["seconds"]["simulated"], 172_800);
    assert_eq!(err, "", "it ends as the trace begins");
    let (code, _, err) =
        run(["backtest", "--trace", "sample:nasa", "--history", "sample:nasa", "--runner", "hpa"]);
    assert_eq!(code, 0);
    assert!(err.contains("sample:nasa does not end before sample:nasa begins; it is taken as"), "{err}");
}

#[test]
fn a_share_of_each_trace_may_be_its_history() {
    let out = done(&[
        "backtest",
        "--trace",
        "sample:nasa",
        "sample:elb",
        "--history",
        "75%",
        "--runner",
        "muster",
        "--format",
        "json",
    ]);
    for outcome in json(&out).as_array().expect("an array") {
        assert_eq!(
            (&outcome["seconds"]["scored"], &outcome["seconds"]["simulated"]),
            (&43_200.into(), &172_800.into())
        );
    }
    let (code, _, err) = run([
        "backtest",
        "--trace",
        "sample:nasa",
        "sample:elb",
        "--history",
        "50%",
        "--history",
        "sample:elb",
    ]);
    assert_eq!((code, err.contains("goes with no other --history")), (64, true), "{err}");
}

#[test]
fn the_schedules_of_a_policy_act_in_every_command_that_tries_it() {
    let directory = directory();
    let with = |name: &str, schedule: &str| {
        let text = format!(
            "fleet \"web\" {{\n  id = \"sfr-1\"\n  workload {{ kind = \"spreads\" }}\n{schedule}}}\n"
        );
        file(&directory, name, &text)
    };
    let plain = with("plain.hcl", "");
    let nights = with(
        "nights.hcl",
        "  schedule \"night\" {\n    start = \"0 22 * * *\"\n    zone  = \"Europe/Berlin\"\n    for   = \"6h\"\n    min   = 19\n  }\n",
    );
    // A load that says when it was: 21 to 3 o'clock in UTC, in the winter.
    let trace =
        file(&directory, "load.csv", "timestamp,demand\n2026-01-05T00:00:00Z,3\n2026-01-07T00:00:00Z,3\n");
    let cost = |policy: &str| {
        let out = done(&[
            "backtest", "--trace", &trace, "--policy", policy, "--runner", "muster", "--format", "json",
        ]);
        json(&out)[0]["cost_unit_hours"].as_f64().expect("a number")
    };
    let (without, with) = (cost(&plain), cost(&nights));
    // Three hours of the first night, all of the second and the first three of the third, with 14 units more.
    let more = with - without;
    assert!((150.0..190.0).contains(&more), "{with} with the schedule, {without} without it");
    let regret = |policy: &str| {
        let out = done(&[
            "oracle", "--trace", &trace, "--policy", policy, "--runner", "muster", "--format", "json",
        ]);
        json(&out)[0]["splits"][0]["cost_unit_hours"].as_f64().unwrap_or_else(|| panic!("{out}"))
    };
    assert!((regret(&nights) - with).abs() < 1e-6);
    let tuned = done(&["tune", "--trace", &trace, "--policy", &nights, "--most", "1", "--format", "json"]);
    let first =
        json(&tuned)["base"]["first"]["cost_unit_hours"].as_f64().unwrap_or_else(|| panic!("{tuned}"));
    assert!(first > without / 2.0 + 60.0, "{first} on the first day");
}

#[test]
fn cloudwatchs_own_answer_is_a_trace() {
    let (mut times, mut cpu, mut count) = (Vec::new(), Vec::new(), Vec::new());
    // The newest first, as CloudWatch gives it.
    for minute in (0..120).rev() {
        times.push(format!("\"2026-03-01T{:02}:{:02}:00+00:00\"", 8 + minute / 60, minute % 60));
        cpu.push((40 + minute % 30).to_string());
        count.push("10".to_owned());
    }
    let times = times.join(",");
    let answer = format!(
        r#"{{"MetricDataResults": [
            {{"Id": "m1", "Label": "CPUUtilization", "Timestamps": [{times}], "Values": [{}]}},
            {{"Id": "m2", "Label": "GroupInServiceInstances", "Timestamps": [{times}], "Values": [{}]}}]}}"#,
        cpu.join(","),
        count.join(",")
    );
    let directory = directory();
    let path = file(&directory, "cloudwatch.json", &answer);
    let out = done(&["backtest", "--trace", &path, "--runner", "static-peak", "--format", "json"]);
    let outcome = &json(&out)[0];
    assert_eq!((&outcome["trace"], &outcome["seconds"]["scored"]), (&path.as_str().into(), &7200.into()));

    let alone =
        file(&directory, "cpu.json", answer.replace("GroupInServiceInstances", "Latency").replace("m2", "x"));
    let (code, out, err) = run(["backtest", "--trace", &alone]);
    assert_eq!((code, out.as_str()), (65, ""), "{err}");
    assert!(
        err.contains(
            "cpu.json: no series of the number of instances among `m1` (CPUUtilization), `x` (Latency)"
        ),
        "{err}"
    );
}

#[test]
fn recorded_pools_take_instances_back() {
    let directory = directory();
    // Six hours without a single instance, six hours with all.
    let ticks: Vec<&str> = (0..288).map(|tick| if (tick / 36) % 2 == 0 { "4" } else { "0" }).collect();
    let recorded = format!("{{\"metadata\": {{\"gap_seconds\": 600}}, \"data\": [{}]}}", ticks.join(","));
    let pool = file(&directory, "eu-west-1a_m5.json", recorded);
    let always =
        file(&directory, "eu-west-1b_m5.json", "{\"metadata\": {\"gap_seconds\": 600}, \"data\": [4]}");
    let with = |pools: &[&str]| {
        let fixed =
            ["backtest", "--runner", "muster", "--interruptions", "stress", "--format", "json", "--spot"];
        json(&done(&[&fixed, pools].concat()))[0].clone()
    };
    assert!(with(&[&pool, &always])["interruptions"].as_u64() > Some(0));
    assert_eq!(with(&[&always])["interruptions"], 0);
    let bad = file(&directory, "bad.json", "[]");
    let (code, _, err) = run(["backtest", "--interruptions", "stress", "--spot", &bad]);
    assert_eq!(code, 65);
    assert!(err.contains("bad.json"), "{err}");
}

#[test]
fn a_bad_trace_exits_with_65_and_says_where() {
    let directory = directory();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../autoscaler/samples/elb.csv.gz");
    let sample = fs::read(sample).expect("a sample");
    for (name, bytes, expected) in [
        ("empty.csv", b"".as_slice(), "empty.csv: the trace is empty"),
        ("one.csv", b"seconds,demand\n0,1\n", "one.csv:2: the trace has a single row"),
        ("unsorted.csv", b"seconds,demand\n0,1\n60,1\n30,1\n", "unsorted.csv:4: time 30 is not after 60"),
        ("twice.csv", b"seconds,demand\n0,1\n0,1\n", "twice.csv:3: time 0 is not after 0"),
        ("negative.csv", b"seconds,demand\n0,1\n60,-1\n", "negative.csv:3: \"-1\" is not a demand"),
        ("nan.csv", b"seconds,demand\n0,1\n60,NaN\n", "nan.csv:3: \"NaN\" is not a demand"),
        ("header.csv", b"time,cpu\n0,1\n", "header.csv:1: \"time,cpu\" is not a header"),
        ("cut.csv.gz", &sample[..3000], "could not be read: the gzip data breaks off before its end"),
        ("latin.csv", b"seconds,demand\n0,1\n60,\xe9\n", "latin.csv:3: byte 0xe9 in column 4 is not UTF-8"),
        ("program", b"\x7fELF\x02\x01", "program:1: "),
    ] {
        let path = file(&directory, name, bytes);
        for command in ["backtest", "oracle", "tune"] {
            let (code, out, err) = run([command, "--trace", &path]);
            assert_eq!((code, out.as_str()), (65, ""), "{command} {name}: {err}");
            assert!(err.contains(expected), "{command} {name}: {err}");
        }
    }
    let (code, _, err) = run(["backtest", "--trace", "/nonexistent.csv"]);
    assert_eq!(code, 65);
    assert!(err.contains("failed to read /nonexistent.csv"), "{err}");
}

#[test]
fn a_wrong_question_to_the_lab_exits_with_64_or_78() {
    let directory = directory();
    let twice = "fleet \"api\" {\n  id = \"sfr-1\"\n}\nfleet \"web\" {\n  id = \"sfr-2\"\n}\n";
    let two = file(&directory, "two.hcl", twice);
    let bad = file(&directory, "bad.hcl", "fleet \"web\" {\n  idd = 7\n}\n");
    for (arguments, expected, word) in [
        (vec!["backtest", "--runner", "nobody"], 64, "aws-tt-10s"),
        (vec!["backtest", "--boot", "125s"], 64, "multiple of 10s"),
        (vec!["backtest", "--noise", "a lot"], 64, "5%"),
        (vec!["backtest", "--metric", "smoke"], 64, "cloudwatch-5m"),
        (vec!["backtest", "--jobs", "0"], 64, "--jobs"),
        (vec!["backtest", "--trace", "sample:moon"], 64, "asgcpu, elb, flash"),
        (
            vec!["backtest", "--history", "sample:elb", "--history", "sample:nasa"],
            64,
            "2 histories for 1 traces",
        ),
        (vec!["backtest", "--policy", &two], 64, "several fleets, api, web; name one with --fleet"),
        (vec!["backtest", "--policy", &two, "--fleet", "db"], 64, "has no fleet db; it has api, web"),
        (vec!["backtest", "--policy", &bad], 78, "bad.hcl:2:"),
        (vec!["tune", "--train", "95%"], 64, "from 10% to 90%"),
        (vec!["decide"], 64, "--config"),
        (vec!["decide", "--config", &bad], 78, "bad.hcl:2:"),
    ] {
        let (code, out, err) = run(&arguments);
        assert_eq!((code, out.as_str()), (expected, ""), "{arguments:?}: {err}");
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
    let chosen =
        done(&["backtest", "--policy", &two, "--fleet", "api", "--runner", "hpa", "--format", "csv"]);
    assert_eq!(chosen.lines().count(), 2, "{chosen}");
}

#[test]
fn a_fleets_own_policy_is_what_is_tried() {
    let directory = directory();
    let own = policy(
        &directory,
        "  boot = \"65s\"\n  dry_run = true\n  capacity {\n    max = 30\n  }\n  target {\n    cpu = \"60%\"\n  }\n",
    );
    let config = |arguments: &[&str]| {
        let fixed = ["backtest", "--runner", "muster", "--format", "json"];
        json(&done(&[&fixed, arguments].concat()))[0].clone()
    };
    let cool = config(&["--policy", &own]);
    assert_eq!((&cool["config"]["target"], &cool["config"]["max"]), (&0.6.into(), &30.into()));
    assert_eq!(cool["config"]["boot"], 70, "whole steps");
    assert!(cool["actions_per_day"].as_f64() > Some(1.0), "it acts, though the file says to watch alone");
    let default = config(&[]);
    assert!(cool["mean_utilization"].as_f64() < default["mean_utilization"].as_f64());
    assert_eq!(config(&["--policy", &own, "--boot", "60s"])["config"]["boot"], 60);
}

#[test]
fn the_optimum_is_shown_with_its_schedule_and_what_others_lose() {
    let out = done(&["oracle", "--trace", "sample:taxi", "--runner", "muster,aws-tt"]);
    for word in ["unit-hours at best", "above optimum", "forecast error", "day 0", "day 1", "aws-tt"] {
        assert!(out.contains(word), "no {word:?} in:\n{out}");
    }
    let all = json(&done(&["oracle", "--trace", "sample:nasa", "--format", "json"]));
    let of = &all[0];
    let split = &of["splits"][0];
    let number = |name: &str| split[name].as_f64().unwrap_or_else(|| panic!("no {name} in {split}"));
    let parts = [
        "delay_unit_hours",
        "rounding_unit_hours",
        "forecast_error_unit_hours",
        "hold_down_unit_hours",
        "interruptions_unit_hours",
    ];
    let sum: f64 = parts.iter().map(|part| number(part)).sum();
    assert!((sum - number("regret_unit_hours")).abs() <= 0.01 * number("regret_unit_hours").abs(), "{split}");
    let regret = number("cost_unit_hours") - of["unit_hours"].as_f64().expect("a number");
    assert!((regret - number("regret_unit_hours")).abs() < 1e-6, "{split}");

    // The schedule bills what is said: each change until the next, and a boot for what is launched.
    let csv = done(&["oracle", "--trace", "sample:nasa", "--format", "csv"]);
    let rows: Vec<(f64, f64)> = csv
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[1].parse().expect("seconds"), cells[2].parse().expect("units"))
        })
        .collect();
    let mut billed = 0.0;
    for (index, (at, units)) in rows.iter().enumerate() {
        let until = rows.get(index + 1).map_or(172_800.0, |next| next.0);
        let before = index.checked_sub(1).map_or(*units, |before| rows[before].1);
        billed += units * (until - at) + (units - before).max(0.0) * 120.0;
    }
    assert!((billed / 3600.0 - of["unit_hours"].as_f64().expect("a number")).abs() < 1e-6, "{billed}");
}

#[test]
fn tune_writes_the_operators_own_file_with_what_is_better() {
    let directory = directory();
    let wasteful = policy(&directory, "  scale_in {\n    hold = \"6h\" # to be safe\n  }\n");
    let tuned = text(&directory.path().join("tuned.hcl"));
    let arguments =
        ["tune", "--trace", "sample:asgcpu", "--policy", &wasteful, "--most", "40", "--write", &tuned];
    let out = done(&arguments);
    assert!(out.contains("\nTake ") && out.contains("% less (2 % would have been enough)"), "{out}");
    assert!(out.contains("in force") && out.contains("knee"), "{out}");
    let written = fs::read_to_string(&tuned).expect("it was written");
    assert!(
        written.starts_with("# Ours.\n# Chosen by `muster-autoscaler tune` on sample:asgcpu.\n# On the part"),
        "{written}"
    );
    assert!(written.contains("# to be safe") && !written.contains("\"6h\""), "{written}");
    assert_eq!(run(["check", &tuned]).0, 0);
    let printed = json(&done(&[&arguments[..7], &["--jobs", "1", "--format", "json"]].concat()));
    assert_eq!(printed["verdict"]["advice"], "take");
    assert_eq!(printed["policy_file"], written.as_str());
    assert_eq!((&printed["worth"], &printed["traces"][0]), (&0.02.into(), &"sample:asgcpu".into()));
}

#[test]
fn tune_says_plainly_when_there_is_nothing_to_gain() {
    let out = done(&["tune", "--trace", "sample:wiki", "--most", "1"]);
    assert!(
        out.contains(
            "Stay with what is in force: it is not worth leaving.\nOn the part that was searched on, no other"
        ),
        "{out}"
    );
    assert!(!out.contains("fleet \"web\""), "there is no file to take: {out}");
    let directory = directory();
    let short = file(&directory, "short.csv", "seconds,demand\n0,1\n3600,1\n");
    let (code, _, err) = run(["tune", "--trace", &short]);
    assert_eq!(code, 65);
    assert!(err.contains("short.csv is 3600 s long; a search needs a day at least"), "{err}");
}

#[test]
fn decide_answers_line_by_line_and_goes_on_after_a_bad_one() {
    let directory = directory();
    let config = policy(&directory, "");
    let seen = |t: u32| {
        format!(
            "{{\"t\": {t}, \"fleet\": \"web\", \"target\": 2, \"instances\": [\
             {{\"id\": \"i-1\", \"pool\": \"m5.large/eu-west-1a\", \"weight\": 1, \"state\": \"in_service\", \"since\": 0}},\
             {{\"id\": \"i-2\", \"pool\": \"c5.large/eu-west-1b\", \"weight\": 1, \"state\": \"in_service\", \"since\": 0}}],\
             \"samples\": [{{\"end\": {}, \"period\": 60, \"capacity\": 2, \"utilization\": 0.99}}], \"notices\": []}}\n",
            t - 60
        )
    };
    let input = [seen(1200).as_str(), "nonsense\n", seen(1260).as_str()].concat();
    let (code, out, err) = fed(autoscaler().args(["decide", "--config", &config]), input.as_bytes());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let lines: Vec<Value> = out.lines().map(json).collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert_eq!((&lines[0]["t"], &lines[0]["fleet"]), (&1200.0.into(), &"web".into()));
    assert!(lines[0]["target"].as_u64() > Some(2), "99 % of two needs more: {out}");
    assert_eq!(lines[1]["line"], 2);
    assert!(lines[1]["error"].is_string());
    assert_eq!(lines[2]["t"], 1260.0);
}

#[test]
fn the_report_is_one_file_that_needs_no_network() {
    let directory = directory();
    let path = directory.path().join("report.html");
    let (code, out, err) = run(["backtest", "--runner", "muster,hpa", "--html", &text(&path)]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("sample:taxi") && err.contains("wrote "), "{err}");
    let report = fs::read_to_string(&path).expect("a report");
    assert!(
        report.starts_with("<!") && report.contains("muster") && report.contains("hpa"),
        "{} bytes",
        report.len()
    );
}

/// Whether a process takes interrupts by itself.
fn takes_interrupts(process: u32) -> bool {
    const INTERRUPT: u64 = 1 << 1;
    let status = fs::read_to_string(PathBuf::from(format!("/proc/{process}/status"))).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & INTERRUPT != 0)
}

#[test]
fn ctrl_c_prints_what_is_finished_so_far() {
    let directory = directory();
    let rows = (0..2400).fold("seconds,demand\n".to_owned(), |mut rows, hour| {
        writeln!(rows, "{},{}", hour * 3600, 5 + hour % 9).expect("memory");
        rows
    });
    let long = file(&directory, "long.csv", rows);
    let mut command = autoscaler();
    command.args(["backtest", "--runner", "muster", "--jobs", "1", "--format", "json", "--trace"]);
    command.args(std::iter::repeat_n(&long, 100));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    while !takes_interrupts(child.id()) {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it could be interrupted");
        std::thread::yield_now();
    }
    let interrupted = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(interrupted.expect("a shell").success());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(130), "{err}");
    assert!(err.contains("interrupted: what was finished is shown"), "{err}");
    let finished = json(&out);
    assert!(finished.as_array().is_some_and(|all| all.len() < 100), "{out}");
}
