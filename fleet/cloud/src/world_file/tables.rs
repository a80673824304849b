//! The table of everything that a world file may say.

mod fleets;
mod pools;

use super::draft::{LoadDraft, ScriptDraft, WorldDraft, pool_of};
use fleet::Timestamp;
use fleet_sim::{Hazard, InterruptionSpec, Replaced, ServiceSpec};
use fleets::FLEET;
use muster_hcl::{Field, Repeated, Section, Table, Wrong};
use pools::POOL;
use std::net::Ipv4Addr;
use std::time::Duration;

const ZERO: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// A world file.
pub(super) static WORLD: Table<WorldDraft> = Table {
    fields: &[
        Field::<WorldDraft>::text(
            "region",
            "The region: requests signed for another are refused.",
            "a region such as \"eu-west-1\"",
            |w| Some(w.spec.region.to_string()),
            |w, text| {
                w.spec.region = text.into();
                plain(text, "-")
            },
        ),
        Field::<WorldDraft>::text(
            "account",
            "The account's id.",
            "twelve digits",
            |w| Some(w.spec.account.clone()),
            |w, text| {
                text.clone_into(&mut w.spec.account);
                let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
                if digits { Ok(()) } else { Err(Wrong::new("is not an account's id")) }
            },
        ),
        Field::<WorldDraft>::texts(
            "zones",
            "The availability zones.",
            "zones such as \"eu-west-1a\"",
            |w| w.spec.zones.iter().map(ToString::to_string).collect(),
            |w, text| {
                w.spec.zones.push(text.into());
                plain(text, "-")
            },
        )
        .unset("those of the pools"),
        Field::<WorldDraft>::text(
            "start",
            "When the world's time begins.",
            "a time such as \"2026-03-02T00:00:00Z\"",
            |w| w.start.map(|start| start.to_string()),
            |w, text| {
                w.start = Some(Timestamp::parse(text).map_err(|_| Wrong::new("is not a time"))?);
                Ok(())
            },
        )
        .unset("the host's time")
        .example("\"2026-03-02T00:00:00Z\""),
        Field::<WorldDraft>::text(
            "first_address",
            "The private address of the first instance; the others follow.",
            "an address such as \"127.16.0.4\"",
            |w| Some(w.spec.first_address.to_string()),
            |w, text| {
                let address: Ipv4Addr = text.parse().map_err(|_| Wrong::new("is not an IPv4 address"))?;
                w.spec.first_address = address;
                Ok(())
            },
        ),
        Field::flag(
            "throttling",
            "Whether EC2's documented request rates are enforced.",
            |w: &WorldDraft| Some(w.spec.throttling),
            |w, v| w.spec.throttling = v,
        ),
    ],
    blocks: &[&POOL, &FLEET, &TIMING_BLOCK, &SERVICE_BLOCK, &INTERRUPTIONS_BLOCK, &INTERRUPT, &LOAD_BLOCK],
};

static LOAD: Table<LoadDraft> = Table {
    fields: &[
        Field::number(
            "demand",
            "The same at all times: in units, 1 keeps an instance of weight 1 fully busy.",
            (0.0, 1_000_000.0),
            |l: &LoadDraft| l.demand,
            |l, v| l.demand = Some(v),
        )
        .unset("0, or the trace")
        .example("4.5"),
        Field::<LoadDraft>::text(
            "trace",
            "A recording: CSV, plain or gzip, with the header `seconds,demand`. The path is relative to this file.",
            "a file such as \"day.csv.gz\"",
            |l| l.trace.clone(),
            |l, text| {
                l.trace = Some(text.to_owned());
                Ok(())
            },
        )
        .unset("none")
        .example("\"day.csv.gz\""),
        Field::number(
            "scale",
            "What every value of the trace is multiplied by.",
            (0.0, 1_000_000.0),
            |l: &LoadDraft| l.scale,
            |l, v| l.scale = Some(v),
        )
        .unset("1")
        .example("1"),
    ],
    blocks: &[],
};

static LOAD_BLOCK: Section<WorldDraft, LoadDraft> = Section {
    name: "load",
    label: None,
    docs: "What a fleet has to serve that is made through the API.",
    table: &LOAD,
    get: |w: &WorldDraft| Some(&w.load),
    open: |w| &mut w.load,
    default: LoadDraft::default,
};

static TIMING_BLOCK: Section<WorldDraft, WorldDraft> = Section {
    name: "timing",
    label: None,
    docs: "How long things take.",
    table: &TIMING,
    get: |w: &WorldDraft| Some(w),
    open: |w| w,
    default: WorldDraft::default,
};

/// A duration of the world's timing.
const fn timing(
    name: &'static str,
    docs: &'static str,
    get: fn(&WorldDraft) -> Option<Duration>,
    set: fn(&mut WorldDraft, Duration),
) -> Field<WorldDraft> {
    Field::duration(name, docs, (ZERO, DAY), get, set)
}

static TIMING: Table<WorldDraft> = Table {
    fields: &[
        timing(
            "boot",
            "From the request of an instance until it serves; the median, where `boot_p95` is given.",
            |w| Some(w.boot.median),
            |w, v| w.boot.median = v,
        ),
        timing(
            "boot_p95",
            "One instance of twenty takes longer than this: lognormal.",
            |w| w.boot.p95,
            |w, v| w.boot.p95 = Some(v),
        )
        .unset("all take as long")
        .example("\"3m\""),
        timing(
            "submitted",
            "From a fleet's request to its first purchase.",
            |w| Some(w.spec.timing.submitted),
            |w, v| w.spec.timing.submitted = v,
        ),
        timing(
            "modifying",
            "How long a modification keeps a fleet in `modifying`.",
            |w| Some(w.spec.timing.modifying),
            |w, v| w.spec.timing.modifying = v,
        ),
        timing(
            "shutting_down",
            "From the end of an instance to `terminated`.",
            |w| Some(w.spec.timing.shutting_down),
            |w, v| w.spec.timing.shutting_down = v,
        ),
        timing(
            "retry",
            "After how long a fleet tries again when no pool had anything to give.",
            |w| Some(w.spec.timing.retry),
            |w, v| w.spec.timing.retry = v,
        ),
        Field::duration(
            "describe_lag",
            "How old the world is that describes show.",
            (ZERO, Duration::from_secs(900)),
            |w: &WorldDraft| Some(w.spec.timing.describe_lag),
            |w, v| w.spec.timing.describe_lag = v,
        ),
    ],
    blocks: &[],
};

static SERVICE_BLOCK: Section<WorldDraft, ServiceSpec> = Section {
    name: "service",
    label: None,
    docs: "How work is served.",
    table: &SERVICE,
    get: |w: &WorldDraft| Some(&w.spec.service),
    open: |w| &mut w.spec.service,
    default: ServiceSpec::default,
};

static SERVICE: Table<ServiceSpec> = Table {
    fields: &[
        Field::duration(
            "queue",
            "The longest queue, in seconds of the capacity of the moment; what exceeds it is dropped.",
            (ZERO, HOUR),
            |s: &ServiceSpec| Some(s.queue),
            |s, v| s.queue = v,
        ),
        Field::number(
            "noise",
            "The standard deviation of a lognormal factor on the demand of every ten seconds.",
            (0.0, 2.0),
            |s: &ServiceSpec| Some(s.noise),
            |s, v| s.noise = v,
        ),
        Field::share(
            "boot_utilization",
            "How busy an instance is that runs and does not serve yet.",
            (0.0, 1.0),
            |s: &ServiceSpec| Some(s.boot_utilization),
            |s, v| s.boot_utilization = v,
        ),
    ],
    blocks: &[],
};

static INTERRUPTIONS_BLOCK: Section<WorldDraft, InterruptionSpec> = Section {
    name: "interruptions",
    label: None,
    docs: "What AWS takes back, and what is heard of it before.",
    table: &INTERRUPTIONS,
    get: |w: &WorldDraft| Some(&w.spec.interruptions),
    open: |w| &mut w.spec.interruptions,
    default: InterruptionSpec::default,
};

static INTERRUPTIONS: Table<InterruptionSpec> = Table {
    fields: &[
        Field::<InterruptionSpec>::choice(
            "hazard",
            "Whether it happens by chance: `band` goes by each pool's monthly share.",
            &["none", "band"],
            |i| Some(if i.hazard == Hazard::Band { "band" } else { "none" }),
            |i, word| i.hazard = if word == "band" { Hazard::Band } else { Hazard::None },
        ),
        Field::<InterruptionSpec>::choice(
            "replaced",
            "When the fleet replaces an instance: AWS does not say.",
            &["at_death", "at_marking"],
            |i| Some(if i.replaced == Replaced::AtMarking { "at_marking" } else { "at_death" }),
            |i, word| {
                i.replaced = if word == "at_marking" { Replaced::AtMarking } else { Replaced::AtDeath };
            },
        ),
        Field::duration(
            "notice",
            "From the notice to the end.",
            (ZERO, HOUR),
            |i: &InterruptionSpec| Some(i.notice),
            |i, v| i.notice = v,
        ),
        Field::share(
            "rebalance_chance",
            "How often a rebalance recommendation comes before the notice.",
            (0.0, 1.0),
            |i: &InterruptionSpec| Some(i.rebalance_chance),
            |i, v| i.rebalance_chance = v,
        ),
        Field::duration(
            "rebalance_lead",
            "How long before the notice at most.",
            (ZERO, DAY),
            |i: &InterruptionSpec| Some(i.rebalance_lead),
            |i, v| i.rebalance_lead = v,
        ),
        Field::share(
            "notice_lost",
            "Share of the notices that never come.",
            (0.0, 1.0),
            |i: &InterruptionSpec| Some(i.notice_lost),
            |i, v| i.notice_lost = v,
        ),
        Field::share(
            "notice_late",
            "Share of the notices that come a minute late.",
            (0.0, 1.0),
            |i: &InterruptionSpec| Some(i.notice_late),
            |i, v| i.notice_late = v,
        ),
    ],
    blocks: &[],
};

static INTERRUPT: Repeated<WorldDraft, ScriptDraft> = Repeated {
    name: "interrupt",
    label: "a name of its own",
    check: |text| plain(text, "-_"),
    example: "storm",
    docs: "An interruption at a given time.",
    table: &INTERRUPT_TABLE,
    new: ScriptDraft::named,
    push: |world, script| world.scripts.push(script),
    items: |world| &world.scripts,
    label_of: |script| &script.name,
};

static INTERRUPT_TABLE: Table<ScriptDraft> = Table {
    fields: &[
        Field::duration(
            "at",
            "When its notice is given, counted from the start.",
            (ZERO, YEAR),
            |s: &ScriptDraft| Some(s.at),
            |s, v| s.at = v,
        )
        .required()
        .example("\"1h\""),
        Field::<ScriptDraft>::text(
            "pool",
            "The pool that it hits.",
            "a pool such as \"m5.large/eu-west-1a\"",
            |s| (!s.pool.is_empty()).then(|| s.pool.clone()),
            |s, text| {
                text.clone_into(&mut s.pool);
                pool_of(text).map(drop).ok_or_else(|| Wrong::new("is not a pool"))
            },
        )
        .required()
        .example("\"m5.large/eu-west-1a\""),
        Field::whole(
            "count",
            "How many of its instances, the oldest first.",
            (1, 1_000_000),
            |s: &ScriptDraft| s.count,
            |s, v| s.count = Some(v),
        )
        .unset("all")
        .example("1"),
    ],
    blocks: &[],
};

/// A text of letters, digits and a few other characters.
fn plain(text: &str, others: &str) -> Result<(), Wrong> {
    let legal = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    if !text.is_empty() && text.len() <= 64 && text.chars().all(legal) {
        Ok(())
    } else {
        Err(Wrong::new("is not of that form"))
    }
}
