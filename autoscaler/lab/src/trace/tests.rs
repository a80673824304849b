use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::{BufReader, Read as _, Write as _};

fn read(bytes: &[u8]) -> Result<Trace, String> {
    Trace::read("load", bytes).map_err(|error| error.to_string())
}

fn refused(bytes: &[u8]) -> String {
    read(bytes).expect_err("not a trace")
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn close(trace: &Trace, expected: &[f64]) {
    assert_eq!(trace.demand.len(), expected.len(), "{:?}", trace.demand);
    for (found, expected) in trace.demand.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{:?} is not {expected:?}", trace.demand);
    }
}

/// What CloudWatch answers: the newest first, counts by label, a CPU of 50 % of 4, 6 and 8 instances.
const CLOUDWATCH: &str = r#"{
    "MetricDataResults": [
        {
            "Id": "m1",
            "Label": "CPUUtilization",
            "Timestamps": ["2026-03-01T08:02:00+00:00", "2026-03-01T08:01:00+00:00", "2026-03-01T08:00:00+00:00"],
            "Values": [50.0, 50.0, 50.0],
            "StatusCode": "Complete"
        },
        {
            "Id": "m2",
            "Label": "GroupInServiceInstances",
            "Timestamps": ["2026-03-01T08:00:00Z", "2026-03-01T08:01:00Z", "2026-03-01T08:02:00Z"],
            "Values": [4, 6, 8.0],
            "StatusCode": "Complete"
        }
    ],
    "Messages": []
}
"#;

#[test]
fn a_step_is_the_mean_of_the_straight_lines_within_it() {
    // Up from 0 to 2 in twenty seconds, down to 1 in five, flat for five more, and a last step of four seconds.
    let trace = read(b"seconds,demand\n100,0\n120,2\n125,1\n130,1\n134,3\n").expect("a trace");
    close(&trace, &[0.5, 1.5, 1.25, 2.0]);
    assert_eq!((trace.start, trace.seconds()), (Timestamp::from_secs(100), 40));
    let constant = read(b"seconds,demand\n0,3.3\n777.777,3.3\n").expect("a trace");
    assert!(constant.demand.iter().all(|demand| (demand - 3.3).abs() < 1e-12), "{constant:?}");
}

#[test]
fn a_trace_that_says_when_it_was_recorded_begins_then() {
    let trace =
        read(b"timestamp,demand\n2026-03-01T08:00:00Z,1\n2026-03-01T09:00:20+01:00,2\n").expect("a trace");
    close(&trace, &[1.25, 1.75]);
    assert_eq!(Ok(trace.start), Timestamp::parse("2026-03-01T08:00:00Z"));
}

#[test]
fn the_first_bytes_tell_what_it_is_whatever_its_name() {
    let csv = b"seconds,demand\n0,1\n20,3\n";
    let plain = read(csv).expect("a trace");
    assert_eq!(read(&zipped(csv)), Ok(plain.clone()));
    let two_members = [zipped(b"seconds,demand\n0,1\n"), zipped(b"20,3\n")].concat();
    assert_eq!(read(&two_members), Ok(plain.clone()));
    assert_eq!(read(b"\xef\xbb\xbfseconds,demand\r\n0,1\r\n20,3\r\n"), Ok(plain.clone()));
    // A reader that gives a byte at a time is no different.
    let slow = BufReader::with_capacity(1, std::io::Cursor::new(zipped(csv)));
    assert_eq!(Trace::read("load", slow), Ok(plain));
    let json = read(CLOUDWATCH.as_bytes()).expect("a trace");
    assert_eq!(read(&zipped(CLOUDWATCH.as_bytes())), Ok(json.clone()));
    assert_eq!(read(format!("\u{feff} {CLOUDWATCH}").as_bytes()), Ok(json));
}

#[test]
fn every_bad_csv_is_refused_with_its_name_and_place() {
    let mut damaged = zipped(b"seconds,demand\n0,1\n60,2\n");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    for (bytes, expected) in [
        (b"".as_slice(), "load: the trace is empty"),
        (b"\n \n", "load: the trace is empty"),
        (&zipped(b""), "load: the trace is empty"),
        (b"seconds,demand\n0,1\n", "load:2: the trace has a single row"),
        (b"time,cpu\n0,1\n", "load:1: \"time,cpu\" is not a header"),
        (b"seconds,demand\n0,1\n60,2\n30,1\n", "load:4: time 30 is not after 60"),
        (b"seconds,demand\n0,1\n60,2\n60,2\n", "load:4: time 60 is not after 60"),
        (b"seconds,demand\n0,1\n60,-0.5\n", "load:3: \"-0.5\" is not a demand"),
        (b"seconds,demand\n0,1\n60,nan\n", "load:3: \"nan\" is not a demand"),
        (b"seconds,demand\n0,1\n60,1e999\n", "load:3: \"1e999\" is not a demand"),
        (
            b"seconds,demand\n0,1\n60,1e12\n",
            "load:3: 1000000000000 is not a demand; expected a finite number of",
        ),
        (
            b"seconds,demand\n0,1\n1e8,1\n",
            "load:3: 1973-03-03T09:46:40Z is 1157 days after the first time; a trace may be 1100",
        ),
        (b"seconds,demand\n0,1\n\xff\xfe,1\n", "load:3: byte 0xff in column 1 is not UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", "load:1: \"\\u{7f}ELF\\u{2}\\u{1}\\u{1}\\0\" is not a header"),
        (&damaged, "load"),
        (
            b"\x1f\x8b",
            "load: could not be read: the gzip data breaks off before its end; expected a complete file",
        ),
        (&zipped(&zipped(b"seconds,demand\n0,1\n60,2\n")), "load:1: byte 0x8b in column 2 is not UTF-8"),
    ] {
        let error = refused(bytes);
        assert!(error.starts_with(expected), "{error:?} does not begin with {expected:?}");
        assert!(error.len() < 400, "{error}");
    }
}

#[test]
fn a_gzip_file_that_is_cut_off_is_refused_after_its_good_rows() {
    let rows: Vec<String> = (0..5000).map(|row| format!("{},{}\n", row * 60, row % 7)).collect();
    let whole = zipped(format!("seconds,demand\n{}", rows.concat()).as_bytes());
    let error = refused(&whole[..whole.len() / 2]);
    assert!(error.contains("could not be read: the gzip data breaks off before its end"), "{error}");
    let line: u64 = error.split(':').nth(1).and_then(|line| line.parse().ok()).expect("a line");
    assert!((1000..5000).contains(&line), "{error}");
}

#[test]
fn a_hole_is_bridged_and_told_of() {
    let recording = Recording::read("load", b"seconds,demand\n0,2\n60,2\n14460,4\n14520,4\n".as_slice());
    let Recording { trace, hole } = recording.expect("a trace");
    assert!((trace.demand[6 + 720] - 3.0).abs() < 0.01, "half way is half way up");
    let hole = hole.expect("four hours");
    assert_eq!((hole.line, hole.from, hole.lasted.as_secs()), (4, Timestamp::from_secs(60), 14_400));
    let hourly =
        Recording::read("load", b"seconds,demand\n0,2\n3600,2\n7200,4\n".as_slice()).expect("a trace");
    assert_eq!(hourly.hole, None, "rows by the hour are no holes");
}

#[test]
fn cloudwatch_has_demand_as_cpu_times_the_instances_of_then() {
    let trace = read(CLOUDWATCH.as_bytes()).expect("a trace");
    assert_eq!(Ok(trace.start), Timestamp::parse("2026-03-01T08:00:00Z"));
    assert_eq!(trace.seconds(), 180);
    // Flat to the middle of the first minute, then up to that of the second: 2 -> 3 -> 4 units.
    let near = |step: usize, expected: f64| {
        assert!((trace.demand[step] - expected).abs() < 0.1, "step {step} of {:?}", trace.demand);
    };
    for (step, expected) in [(0, 2.0), (2, 2.0), (8, 3.0), (15, 4.0), (17, 4.0)] {
        near(step, expected);
    }
}

#[test]
fn a_cpu_goes_with_the_last_number_of_instances_before_it() {
    let json = |counts: &str| {
        format!(
            r#"{{"MetricDataResults": [
                {{"Id": "cpu", "Timestamps": [4000, 4060.0, 4120], "Values": [80, 80, 80]}},
                {{"Id": "instances", "Label": "", "Timestamps": [{counts}], "Values": [10]}}]}}"#
        )
    };
    let trace = read(json("3400").as_bytes()).expect("a trace");
    assert!(trace.demand.iter().all(|demand| *demand == 8.0), "{trace:?}");
    let hour_old = read(json("460").as_bytes()).expect("a trace");
    assert_eq!(hour_old.seconds(), 120, "the third is a minute too late for it");
    let error = refused(json("4100").as_bytes());
    assert!(error.starts_with("load: only 1 of 3 values of `cpu` have a value of `instances`"), "{error}");
}

#[test]
fn answers_that_follow_each_other_are_one_series() {
    let page = |time: u32| {
        format!(
            r#"{{"MetricDataResults": [{{"Id": "cpu", "Timestamps": [{time}], "Values": [50]}},
                {{"Id": "count", "Timestamps": [{time}], "Values": [4]}}], "NextToken": "more"}}"#
        )
    };
    let trace = read([page(60), page(0), page(60)].join("\n").as_bytes()).expect("a trace");
    assert_eq!(trace.demand, vec![2.0; 12]);
}

#[test]
fn what_is_missing_in_cloudwatchs_answer_is_named() {
    let series = |id: &str, label: &str, values: &str| {
        let times =
            (0..values.split(',').count()).map(|i| (i * 60).to_string()).collect::<Vec<_>>().join(",");
        format!(r#"{{"Id":"{id}","Label":"{label}","Timestamps":[{times}],"Values":[{values}]}}"#)
    };
    let answer = |all: &[String]| format!(r#"{{"MetricDataResults":[{}]}}"#, all.join(","));
    let cpu = || series("m1", "CPUUtilization", "50,60");
    let count = || series("m2", "GroupInServiceInstances", "4,4");
    for (json, expected) in [
        (
            answer(&[]),
            "load: no series of CPU utilisation among none; expected one whose Id or Label says `cpu`",
        ),
        (
            answer(&[cpu()]),
            "load: no series of the number of instances among `m1` (CPUUtilization); expected one whose",
        ),
        (
            answer(&[count()]),
            "load: no series of CPU utilisation among `m2` (GroupInServiceInstances); expected one",
        ),
        (
            answer(&[cpu(), series("m3", "i-0a CPUUtilization", "1,2"), count()]),
            "load: `m1` (CPUUtilization), `m3` (i-0a CPUUtilization) could each be the series of CPU utilisation; expected one",
        ),
        (
            answer(&[series("cpu", "", "50,-1"), count()]),
            "load: series `cpu` says -1 at 1970-01-01T00:01:00Z; expected percent",
        ),
        (answer(&[series("cpu", "", "50,1500"), count()]), "load: series `cpu` says 1500 at"),
        (answer(&[cpu(), series("count", "", "4,-4")]), "load: series `count` says -4 at"),
        (
            r#"{"MetricDataResults":[{"Id":"cpu","Timestamps":[0,60],"Values":[1]}]}"#.to_owned(),
            "load: series `cpu` has 2 timestamps and 1 values; expected as many",
        ),
        (
            answer(&[cpu(), r#"{"Id":"count","Timestamps":[0,0],"Values":[1,2]}"#.to_owned()]),
            "load: series `count` has two values for 1970-01-01T00:00:00Z, 1 and 2; expected one",
        ),
        (
            answer(&[cpu(), r#"{"Id":"count","Timestamps":[],"Values":[]}"#.to_owned()]),
            "load: series `count` has no values",
        ),
        (
            r#"{"MetricDataResults":[{"Id":"cpu","Timestamps":["noon"],"Values":[1]}]}"#.to_owned(),
            "load:1:54: invalid value: string \"noon\", expected a time",
        ),
        (r#"{"MetricDataResults":[{"Id":"cpu","Timest"#.to_owned(), "load:1:41: EOF while parsing a string"),
        (
            "{\n\"Datapoints\": []}".to_owned(),
            "load:2:17: missing field `MetricDataResults`; expected the output of `aws",
        ),
        ("[1, 2]".to_owned(), "load:1:"),
    ] {
        let error = refused(json.as_bytes());
        assert!(error.starts_with(expected), "{error:?} does not begin with {expected:?}");
    }
}

#[test]
fn json_without_an_end_is_stopped() {
    let endless = BufReader::new(b"{\"MetricDataResults\": \"".chain(std::io::repeat(b'x')));
    let error = cloudwatch::read_within("load", endless, 1).expect_err("endless").to_string();
    assert!(error.starts_with("load: more than 1 MiB of JSON; ask CloudWatch for longer periods"), "{error}");
}

#[test]
fn the_surest_name_is_chosen_among_several_counts() {
    let json = r#"{"MetricDataResults": [
        {"Id": "cpu", "Label": "CPUUtilization", "Timestamps": [0, 60], "Values": [50, 50]},
        {"Id": "m2", "Label": "GroupTotalInstances", "Timestamps": [0, 60], "Values": [100, 100]},
        {"Id": "m3", "Label": "GroupInServiceInstances", "Timestamps": [0, 60], "Values": [6, 6]}]}"#;
    assert_eq!(read(json.as_bytes()).expect("a trace").demand, vec![3.0; 12]);
}

#[test]
fn samples_may_come_in_any_order() {
    let at = Timestamp::from_secs;
    let trace = Trace::from_samples("web", [(at(20), 3.0), (at(0), 9.0), (at(0), 1.0)]).expect("a trace");
    close(&trace, &[1.5, 2.5]);
    for (samples, expected) in [
        (vec![], "web: 0 usable samples"),
        (vec![(at(5), 1.0), (at(5), 2.0)], "web: 2 usable samples"),
        (vec![(at(5), 1.0), (at(6), f64::NAN)], "web: NaN is not a demand"),
        (vec![(at(0), 1.0), (at(200_000_000), 1.0)], "web: 1976-05-03T19:33:20Z is 2314 days after"),
    ] {
        let error = Trace::from_samples("web", samples).expect_err("not a trace").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn the_parts_of_a_trace_are_the_whole() {
    let trace = read(b"seconds,demand\n50,0\n150,10\n").expect("a trace");
    let (first, rest) = trace.split(4).expect("ten steps");
    assert_eq!((first.start, rest.start), (Timestamp::from_secs(50), Timestamp::from_secs(90)));
    assert_eq!([first.demand, rest.demand].concat(), trace.demand);
    assert!(trace.split(0).is_some_and(|(first, _)| first.demand.len() == 1));
    assert!(trace.split(99).is_some_and(|(_, rest)| rest.demand.len() == 1));
    assert_eq!(read(b"seconds,demand\n0,1\n7,1\n").expect("a step").split(1), None);
}

/// However much is fed, what stays is a number a step: a reader that would give 10 GB is stopped at the first row
/// that is too late, and one that never ends in a header, at its first line.
#[test]
fn what_is_too_much_is_stopped_while_it_is_read() {
    struct Endless(u64, Vec<u8>, usize);
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.2 == self.1.len() {
                let rows = (0..1000).map(|_| {
                    self.0 += 3600;
                    format!("{},1\n", self.0)
                });
                self.1 = rows.collect::<String>().into_bytes();
                self.2 = 0;
            }
            let count = buffer.len().min(self.1.len() - self.2);
            buffer[..count].copy_from_slice(&self.1[self.2..self.2 + count]);
            self.2 += count;
            Ok(count)
        }
    }
    let rows = Endless(0, b"seconds,demand\n".to_vec(), 0);
    let error = Trace::read("load", BufReader::new(rows)).expect_err("endless").to_string();
    assert!(
        error.starts_with("load:26403: ") && error.contains("is 1100 days after the first time"),
        "{error}"
    );
    let error = Trace::read("load", BufReader::new(std::io::repeat(b'x'))).expect_err("endless").to_string();
    assert!(error.starts_with("load:1: a line of more than 4096 bytes, beginning \"xxx"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = read(&[b"seconds,demand\n".as_slice(), &bytes].concat());
        let _ = read(&zipped(&bytes));
        let _ = read(&[GZIP_HEAD.as_slice(), &bytes].concat());
    }

    #[test]
    fn no_text_that_is_nearly_a_trace_is_a_panic(
        text in "(seconds|timestamp|\\{\"MetricDataResults\":\\[\\{\"Id\":\"cpu\",),demand\n([-0-9.eE]{1,9},[-0-9.eEinfa]{1,9}\n){0,6}",
    ) {
        let _ = read(text.as_bytes());
    }

    #[test]
    fn a_broken_answer_of_cloudwatch_is_no_panic(at in 0_usize..CLOUDWATCH.len(), byte in any::<u8>()) {
        let mut bytes = CLOUDWATCH.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = read(&bytes);
        let _ = read(&bytes[..at]);
    }

    /// The work in a trace is the area under its lines, however they fall upon the steps.
    #[test]
    fn no_work_is_lost_between_rows_and_steps(
        gaps in prop::collection::vec((1_i64..90_000, 0.0_f64..20.0), 1..30),
        start in 0_i64..1_000_000,
    ) {
        let mut at = start;
        let mut samples = vec![(Timestamp::from_millis(at), 1.0)];
        for (gap, units) in gaps {
            at += gap;
            samples.push((Timestamp::from_millis(at), units));
        }
        let area: f64 = samples
            .windows(2)
            .map(|pair| pair[1].0.since(pair[0].0).as_secs_f64() * (pair[0].1 + pair[1].1) / 2.0)
            .sum();
        let trace = Trace::from_samples("x", samples).expect("two samples");
        let (last, whole) = trace.demand.split_last().expect("a step");
        let rest = Timestamp::from_millis(at).since(trace.at(whole.len())).as_secs_f64();
        let work = 10.0 * whole.iter().sum::<f64>() + rest * last;
        prop_assert!(rest > 0.0 && rest <= 10.0, "{rest}");
        prop_assert!((work - area).abs() < 1e-6 * area.max(1.0), "{work} is not {area}");
    }
}

/// A gzip header after which anything may come.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
