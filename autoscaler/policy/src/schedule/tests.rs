//! Schedules on real changes of the clocks, and against a slow oracle that looks at every minute.

use super::*;

fn schedule(start: &str, zone: &str, minutes: u64) -> Schedule {
    Schedule::new("s", start, zone, Duration::from_secs(minutes * 60), Some(5), None).expect(start)
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

/// The moments from `from` to `to` at which a schedule begins or ceases to be active, as `2026-03-29T01:00Z+`.
fn changes(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let mut changes = Vec::new();
    let mut now = time(from);
    while let Some(next) = schedule.next_change(now).filter(|next| *next <= time(to)) {
        assert!(next > now, "{next} does not lie after {now}");
        let sign = if schedule.is_active(next) { '+' } else { '-' };
        assert_ne!(
            schedule.is_active(next),
            schedule.is_active(next - Duration::from_millis(1)),
            "nothing at {next}"
        );
        assert_eq!(schedule.next_change(next - Duration::from_millis(1)), Some(next));
        changes.push(format!("{}Z{sign}", &next.to_string()[..16]));
        now = next;
    }
    changes
}

#[test]
fn starts_follow_the_wall_clock_and_lengths_are_elapsed_time() {
    let office = schedule("0 8 * * MON-FRI", "Europe/Berlin", 9 * 60);
    let expect = [
        // Friday in winter, Monday in summer time.
        "2026-03-27T07:00Z+",
        "2026-03-27T16:00Z-",
        "2026-03-30T06:00Z+",
        "2026-03-30T15:00Z-",
    ];
    assert_eq!(changes(&office, "2026-03-27T00:00:00Z", "2026-03-31T00:00:00Z"), expect);
    let night = schedule("0 22 * * *", "Europe/Berlin", 9 * 60);
    assert_eq!(
        changes(&night, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
        ["2026-03-28T21:00Z+", "2026-03-29T06:00Z-"],
        "nine hours, though the clocks show ten"
    );
    assert_eq!(
        changes(&night, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
        ["2026-10-24T20:00Z+", "2026-10-25T05:00Z-"],
        "nine hours, though the clocks show eight"
    );
}

#[test]
fn a_start_that_the_clocks_skip_comes_at_the_end_of_the_gap() {
    for start in ["30 2 * * *", "0 2,14 * * *", "15 2 29 3 *"] {
        let in_gap = schedule(start, "Europe/Berlin", 60);
        assert_eq!(
            changes(&in_gap, "2026-03-29T00:00:00Z", "2026-03-29T06:00:00Z"),
            ["2026-03-29T01:00Z+", "2026-03-29T02:00Z-"],
            "{start}"
        );
    }
    let midnight = schedule("0 0 * * *", "America/Santiago", 60);
    assert_eq!(
        changes(&midnight, "2026-09-06T00:00:00Z", "2026-09-07T00:00:00Z"),
        ["2026-09-06T04:00Z+", "2026-09-06T05:00Z-"],
        "the day begins at one"
    );
    let apia = schedule("0 8 * * *", "Pacific/Apia", 60);
    assert_eq!(
        changes(&apia, "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z"),
        [
            "2011-12-29T18:00Z+",
            "2011-12-29T19:00Z-",
            "2011-12-30T10:00Z+",
            "2011-12-30T11:00Z-",
            "2011-12-30T18:00Z+",
            "2011-12-30T19:00Z-"
        ],
        "the 30th was left out of the calendar"
    );
}

#[test]
fn a_start_that_the_clocks_show_twice_comes_once() {
    let once = schedule("30 2 * * *", "Europe/Berlin", 30);
    assert_eq!(
        changes(&once, "2026-10-24T23:00:00Z", "2026-10-25T06:00:00Z"),
        ["2026-10-25T00:30Z+", "2026-10-25T01:00Z-"]
    );
    let hourly = schedule("0 * * * *", "Europe/Berlin", 30);
    assert_eq!(
        changes(&hourly, "2026-10-24T23:59:00Z", "2026-10-25T02:45:00Z"),
        [
            "2026-10-25T00:00Z+",
            "2026-10-25T00:30Z-",
            "2026-10-25T01:00Z+",
            "2026-10-25T01:30Z-",
            "2026-10-25T02:00Z+",
            "2026-10-25T02:30Z-"
        ],
        "a pattern for every hour has no hole"
    );
    let lord_howe = schedule("*/10 * * * *", "Australia/Lord_Howe", 10);
    assert_eq!(changes(&lord_howe, "2026-04-04T10:05:00Z", "2026-04-04T20:00:00Z"), [""; 0], "always active");
}

/// The minutes from `from` to `to` on which a start falls, by looking at the clocks of each.
fn starts_between(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let wall = |at: Timestamp| {
        schedule.zone.to_datetime(jiff::Timestamp::from_millisecond(at.millis()).expect("in range"))
    };
    let minute = |wall: DateTime| wall.checked_add(jiff::SignedDuration::from_mins(1)).expect("in range");
    let matches = |wall: DateTime| schedule.cron.is_time_matching(&wall).expect("a wall time can be matched");
    let hour = schedule.start().split_whitespace().nth(1).unwrap_or_default();
    let mut shown = std::collections::BTreeSet::from([wall(from)]);
    let mut before = wall(from);
    let mut starts = Vec::new();
    let mut at = from;
    while at < to {
        at = at + Duration::from_secs(60);
        let now = wall(at);
        let again = !shown.insert(now);
        // What the clocks skipped since the minute before.
        let mut skipped = std::iter::successors(Some(minute(before)), |wall| Some(minute(*wall)));
        let in_gap = skipped.by_ref().take_while(|wall| *wall < now).any(matches);
        if in_gap || (matches(now) && (!again || hour.starts_with('*'))) {
            starts.push(at);
        }
        before = now;
    }
    starts
}

#[test]
fn starts_are_those_that_the_clocks_show() {
    let transitions = [
        ("Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("America/Santiago", "2026-09-06T04:00:00Z"),
        ("America/Santiago", "2026-04-05T03:00:00Z"),
        ("UTC", "2026-03-29T01:00:00Z"),
    ];
    let patterns = [
        "* * * * *",
        "*/7 * * * *",
        "30 */2 * * *",
        "15,45 1,2 * * *",
        "0 2 * * *",
        "59 1 * * SUN",
        "0 0 * * *",
        "30 1 * 4,10,11 *",
    ];
    for (zone, around) in transitions {
        for pattern in patterns {
            let schedule = schedule(pattern, zone, 1);
            let from = time(around) - Duration::from_secs(4 * 3600);
            let to = time(around) + Duration::from_secs(4 * 3600);
            let told =
                std::iter::successors(schedule.start_after(from), |start| schedule.start_after(*start));
            let told: Vec<Timestamp> = told.take_while(|start| *start <= to).collect();
            assert_eq!(told, starts_between(&schedule, from, to), "{pattern} in {zone}");
        }
    }
}

#[test]
fn what_cannot_be_active_is_refused() {
    let hour = Duration::from_secs(3600);
    let new = |start: &str, zone: &str, lasts| Schedule::new("s", start, zone, lasts, Some(2), None);
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31W 2 *", "0 0 30 2 +MON"] {
        assert!(matches!(new(never, "UTC", hour), Err(ScheduleError::Never { .. })), "{never} was taken");
    }
    for fine in ["0 0 29 2 *", "0 0 30 2,3 *", "0 0 30 2 MON", "0 0 L 2 *", "0 0 * 2 MON#5", "0 8 * * SUN-7"]
    {
        assert!(new(fine, "UTC", hour).is_ok(), "{fine} was refused");
    }
    for (wrong, reason) in [
        ("", "it has 0 fields, not 5"),
        ("@daily", "it has 1 field, not 5"),
        ("0 0 8 * * *", "it has 6 fields, not 5"),
        ("0 25 * * *", "the hour \"25\" is not made of 0 to 23"),
        ("61 8 * * *", "the minute \"61\" is not made of 0 to 59"),
        ("0 8 * * FUNDAY", "the day of the week \"FUNDAY\" is not made of 0 to 7, SUN to SAT"),
    ] {
        let error = new(wrong, "UTC", hour).expect_err(wrong);
        assert_eq!(error, ScheduleError::Pattern { pattern: wrong.into(), reason: reason.into() });
    }
    for lasts in [Duration::ZERO, LONGEST + hour] {
        assert_eq!(new("0 8 * * *", "UTC", lasts), Err(ScheduleError::Length { lasts }));
    }
    assert_eq!(new("0 8 * * *", "Mars/Base", hour), Err(ScheduleError::Zone { zone: "Mars/Base".into() }));
}

#[test]
fn rare_and_endless_schedules_are_followed() {
    let leap = schedule("0 0 29 2 *", "UTC", 60);
    assert_eq!(
        changes(&leap, "2026-01-01T00:00:00Z", "2033-01-01T00:00:00Z"),
        ["2028-02-29T00:00Z+", "2028-02-29T01:00Z-", "2032-02-29T00:00Z+", "2032-02-29T01:00Z-"]
    );
    let always = schedule("* * * * *", "UTC", 2);
    let now = time("2026-01-01T00:00:30Z");
    let next = always.next_change(now).expect("it is looked at again");
    assert!(always.is_active(now) && always.is_active(next), "it never ceases");
    assert!(next > now + Duration::from_secs(3600), "it is not looked at all the time");
}

#[test]
fn the_ends_of_time_are_survived() {
    let daily = schedule("0 8 * * *", "Europe/Berlin", 60);
    for now in [i64::MIN, -62_135_596_800_000, 0, 253_402_300_799_999, i64::MAX].map(Timestamp::from_millis) {
        let _ = (daily.is_active(now), daily.next_change(now));
    }
}

#[test]
fn schedules_are_journaled_as_their_text() {
    let schedule = schedule("0 8 * * *", "Europe/Berlin", 60);
    let json = serde_json::to_string(&schedule).expect("it serialises");
    assert!(json.contains("\"zone\":\"Europe/Berlin\""), "{json}");
    assert_eq!(serde_json::from_str::<Schedule>(&json).expect("it reads back"), schedule);
    let broken = json.replace("0 8", "0 25");
    assert!(serde_json::from_str::<Schedule>(&broken).is_err(), "{broken}");
}
