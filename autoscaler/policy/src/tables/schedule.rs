//! The table of a schedule.

use super::MOST_UNITS;
use crate::draft::{Draft, ScheduleDraft};
use crate::texts;
use fleet::Utilization;
use muster_hcl::{Field, Repeated, Table};
use std::time::Duration;

pub(super) static SCHEDULE: Repeated<Draft, ScheduleDraft> = Repeated {
    name: "schedule",
    label: "a name of letters, digits, `-` and `_` that begins with a letter, at most 64 long",
    check: texts::name,
    example: "office-hours",
    docs: "Hours at which the fleet must be larger. A schedule only ever raises capacity, by `min`, by a lower \
           `target`, or by both. Where schedules overlap, the maximum holds: the largest `min`, and the `target` \
           that makes the larger fleet, which is the lowest. Starts follow the wall clock of the zone: one that the \
           clocks skip comes at the end of the gap, one that they show twice comes once, at the first (patterns \
           for every hour, whose hour is `*` or a step of it, start at both).",
    table: &Table {
        fields: &[
            Field::<ScheduleDraft>::text(
                "start",
                "When it begins: minute, hour, day of the month, month, day of the week.",
                "a cron pattern of five fields such as \"0 8 * * MON-FRI\"",
                |s| Some(s.start.clone()).filter(|text| !text.is_empty()),
                |s, text| {
                    text.clone_into(&mut s.start);
                    texts::cron(text)
                },
            )
            .required()
            .example("\"0 8 * * MON-FRI\""),
            Field::text(
                "zone",
                "The time zone whose clocks `start` means.",
                "a time zone such as \"Europe/Berlin\"",
                |s: &ScheduleDraft| Some(s.zone.clone()),
                |s, text| {
                    text.clone_into(&mut s.zone);
                    texts::zone(text)
                },
            ),
            Field::<ScheduleDraft>::duration(
                "for",
                "How long it lasts from each start, in elapsed time: nine hours are nine hours on the day that \
                 clocks change, too.",
                (Duration::from_secs(60), crate::LONGEST),
                |s| Some(s.lasts).filter(|lasts| !lasts.is_zero()),
                |s, v| s.lasts = v,
            )
            .required()
            .example("\"9h\""),
            Field::<ScheduleDraft>::whole(
                "min",
                "The least capacity meanwhile, from `capacity.min` to `capacity.max`.",
                (1, MOST_UNITS),
                |s| s.min,
                |s, v| s.min = Some(v),
            )
            .unset("`capacity.min`")
            .live_example("6"),
            Field::<ScheduleDraft>::share(
                "target",
                "The mean CPU utilisation to hold meanwhile, at most `target.cpu`: lower is more capacity.",
                (0.05, 0.95),
                |s| s.target.map(Utilization::get),
                |s, v| s.target = Some(Utilization::new(v)),
            )
            .unset("`target.cpu`")
            .live_example("\"65%\""),
        ],
        blocks: &[],
    },
    new: ScheduleDraft::named,
    push: |fleet, schedule| fleet.schedules.push(schedule),
    items: |fleet| &fleet.schedules,
    label_of: |schedule| &schedule.name,
};
