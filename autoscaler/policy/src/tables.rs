//! The table of everything that a policy file may say.
//!
//! Ranges say what can work at all; rules between fields are in `rules`.

mod rollout;
mod schedule;
mod sources;

use crate::draft::{Draft, FileDraft, HookDraft, TagDraft, WorkloadDraft};
use crate::texts;
use autoscaler_core::{
    Capacity, Diversification, Drain, DrainBy, FleetBuys, Interruption, Objective, OnDemand, Policy, Protect,
    Rebalance, ScaleIn, ScaleOut,
};
use fleet::{Backend, InstanceId, Power, UsdPerHour, Utilization};
use muster_hcl::{Field, Repeated, Section, Table, Wrong};
use rollout::ROLLOUT;
use schedule::SCHEDULE;
use sources::{CLOUDWATCH, PROMETHEUS, PUSH};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// What EC2 allows a fleet.
const MOST_UNITS: u32 = 10_000;

/// A policy file.
pub(crate) static FILE: Table<FileDraft> = Table { fields: &[], blocks: &[&FLEET] };

static FLEET: Repeated<FileDraft, Draft> = Repeated {
    name: "fleet",
    label: "a name of letters, digits, `-` and `_` that begins with a letter, at most 64 long",
    check: texts::name,
    example: "web",
    docs: "A fleet to hold at its target. A file may hold any number of them; a name stands once in all files \
           that are read together.",
    table: &FLEET_TABLE,
    new: Draft::named,
    push: |file, fleet| file.fleets.push(fleet),
    items: |file| &file.fleets,
    label_of: |fleet| &fleet.name,
};

/// A `fleet` block.
pub(crate) static FLEET_TABLE: Table<Draft> = Table {
    fields: &[
        Field::<Draft>::text(
            "id",
            "EC2's id of the fleet. Either this or a `tag` block.",
            "an id such as \"sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\" (Spot Fleet) or \
             \"fleet-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\" (EC2 Fleet)",
            |f| f.id.clone(),
            |f, text| {
                f.id = Some(text.to_owned());
                texts::fleet_id(text)
            },
        )
        .unset("found by `tag`")
        .live_example("\"sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\""),
        Field::<Draft>::choice(
            "backend",
            "Which of EC2's services the fleet belongs to. Needed with `tag` alone.",
            &["spot_fleet", "ec2_fleet"],
            |f| {
                f.backend.map(|backend| match backend {
                    Backend::SpotFleet => "spot_fleet",
                    Backend::Ec2Fleet => "ec2_fleet",
                })
            },
            |f, word| {
                f.backend = Some(if word == "ec2_fleet" { Backend::Ec2Fleet } else { Backend::SpotFleet });
            },
        )
        .unset("follows from `id`")
        .example("\"spot_fleet\""),
        Field::<Draft>::text(
            "region",
            "The AWS region of the fleet.",
            "a region such as \"eu-west-1\"",
            |f| f.region.clone(),
            |f, text| {
                f.region = Some(text.to_owned());
                texts::region(text)
            },
        )
        .unset("the region that the daemon runs for")
        .example("\"eu-west-1\""),
        Field::flag(
            "observe_only",
            "Watch, plan and report, and leave the fleet to others.",
            |f: &Draft| Some(f.base.observe_only),
            |f, v| f.base.observe_only = v,
        ),
        Field::flag(
            "dry_run",
            "Plan and report as if the fleet were held, and change nothing.",
            |f: &Draft| Some(f.base.dry_run),
            |f, v| f.base.dry_run = v,
        ),
        Field::duration(
            "boot",
            "How long an instance takes from being requested to serving. Believed until the fleet's own times \
             have been measured.",
            (SECOND, HOUR),
            |f: &Draft| Some(f.base.boot),
            |f, v| f.base.boot = v,
        ),
        Field::<Draft>::number_map(
            "power",
            "How much work an instance of a type does, relative to the other types. Turns utilisation into \
             demand; it is not the fleet's own weight, which is read from the fleet.",
            "instance types to their power, such as { \"m5.large\" = 2 }",
            (0.01, 10_000.0),
            |f| f.base.power.iter().map(|(of, power)| (of.as_str().to_owned(), power.get())).collect(),
            |f, of, power| {
                f.base.power.insert(of.into(), Power::new(power));
                texts::instance_type(of)
            },
        )
        .unset("vCPUs")
        .example("{ \"m5.large\" = 2, \"c5.large\" = 2.4 }"),
    ],
    blocks: &[
        &TAG,
        &Section {
            name: "capacity",
            label: None,
            docs: "How small and how large the fleet may be, in the fleet's own units: what its target counts.",
            table: &CAPACITY,
            get: |f: &Draft| Some(&f.base.capacity),
            open: |f| &mut f.base.capacity,
            default: || Policy::default().capacity,
        },
        &Section {
            name: "target",
            label: None,
            docs: "What to hold.",
            table: &TARGET,
            get: |f: &Draft| Some(&f.base),
            open: |f| &mut f.base,
            default: Policy::default,
        },
        &Section {
            name: "objective",
            label: None,
            docs: "The promise that sizing keeps: how much of the time utilisation may be above a level. Headroom \
                   is bought for it, and no more than it needs.",
            table: &OBJECTIVE,
            get: |f: &Draft| Some(&f.base.objective),
            open: |f| &mut f.base.objective,
            default: || Policy::default().objective,
        },
        &PUSH,
        &CLOUDWATCH,
        &PROMETHEUS,
        &Section {
            name: "scale_out",
            label: None,
            docs: "Limits on the way up.",
            table: &SCALE_OUT,
            get: |f: &Draft| Some(&f.base.scale_out),
            open: |f| &mut f.base.scale_out,
            default: || Policy::default().scale_out,
        },
        &Section {
            name: "scale_in",
            label: None,
            docs: "Limits on the way down.",
            table: &SCALE_IN,
            get: |f: &Draft| Some(&f.base.scale_in),
            open: |f| &mut f.base.scale_in,
            default: || Policy::default().scale_in,
        },
        &SCHEDULE,
        &Section {
            name: "diversification",
            label: None,
            docs: "How capacity must be spread, so that what takes one pool does not take the service.",
            table: &DIVERSIFICATION,
            get: |f: &Draft| Some(&f.base.diversification),
            open: |f| &mut f.base.diversification,
            default: || Policy::default().diversification,
        },
        &Section {
            name: "protect",
            label: None,
            docs: "Instances that are never given back or replaced by choice, beside those that carry the tag \
                   `muster:protected` = `true` and those that autoscalers run on. What AWS takes is replaced all the \
                   same.",
            table: &PROTECT,
            get: |f: &Draft| Some(&f.base.protect),
            open: |f| &mut f.base.protect,
            default: || Policy::default().protect,
        },
        &Section {
            name: "workload",
            label: None,
            docs: "How load gets onto new nodes: more of them help only if it does.",
            table: &WORKLOAD,
            get: |f: &Draft| Some(&f.workload),
            open: |f| &mut f.workload,
            default: WorkloadDraft::default,
        },
        &Section {
            name: "drain",
            label: None,
            docs: "How a node is emptied before it goes.",
            table: &DRAIN,
            get: |f: &Draft| Some(&f.base.drain),
            open: |f| &mut f.base.drain,
            default: || Policy::default().drain,
        },
        &Section {
            name: "interruption",
            label: None,
            docs: "What is done about interruptions.",
            table: &INTERRUPTION,
            get: |f: &Draft| Some(&f.base.interruption),
            open: |f| &mut f.base.interruption,
            default: || Policy::default().interruption,
        },
        &DRAIN_HOOK,
        &Section {
            name: "on_demand",
            label: None,
            docs: "On-demand capacity in place of spot capacity that does not come.",
            table: &ON_DEMAND,
            get: |f: &Draft| Some(&f.base.on_demand),
            open: |f| &mut f.base.on_demand,
            default: || Policy::default().on_demand,
        },
        &Section {
            name: "rollout",
            label: None,
            docs: "How another version of the launch template reaches the fleet, once `rollout start` orders it.",
            table: &ROLLOUT,
            get: |f: &Draft| Some(&f.base.rollout),
            open: |f| &mut f.base.rollout,
            default: || Policy::default().rollout,
        },
    ],
};

static TAG: Section<Draft, TagDraft> = Section {
    name: "tag",
    label: None,
    docs: "Finds the fleet by a tag of its own, in place of `id`. Exactly one living fleet of the backend must carry \
           it.",
    table: &Table {
        fields: &[
            Field::<TagDraft>::text(
                "key",
                "The tag's key.",
                "a tag's key, up to 128 characters",
                |t| Some(t.key.clone()).filter(|text| !text.is_empty()),
                |t, text| texts::into(&mut t.key, text, 128),
            )
            .required()
            .example("\"service\""),
            Field::<TagDraft>::text(
                "value",
                "The tag's value.",
                "a tag's value, up to 256 characters",
                |t| Some(t.value.clone()).filter(|text| !text.is_empty()),
                |t, text| texts::into(&mut t.value, text, 256),
            )
            .required()
            .example("\"web\""),
        ],
        blocks: &[],
    },
    get: |f| f.tag.as_ref(),
    open: |f| f.tag.get_or_insert_default(),
    default: TagDraft::default,
};

static CAPACITY: Table<Capacity> = Table {
    fields: &[
        Field::<Capacity>::whole("min", "Never below.", (1, MOST_UNITS), |c| Some(c.min), |c, v| c.min = v)
            .why("a fleet of none serves nobody, and shows no load to grow by"),
        Field::whole(
            "max",
            "Never above, but for `surge`.",
            (1, MOST_UNITS),
            |c: &Capacity| Some(c.max),
            |c, v| c.max = v,
        ),
        Field::<Capacity>::whole(
            "surge",
            "How far above `max` the fleet may reach for a while, so that what replaces a doomed instance boots \
             before that one is gone.",
            (1, MOST_UNITS),
            |c| Some(c.surge),
            |c, v| c.surge = v,
        )
        .why("at `max`, a replacement can only be bought ahead of the loss within `surge`"),
    ],
    blocks: &[],
};

static TARGET: Table<Policy> = Table {
    fields: &[Field::<Policy>::share(
        "cpu",
        "The mean CPU utilisation to hold.",
        (0.05, 0.95),
        |p| Some(p.target.get()),
        |p, v| p.target = Utilization::new(v),
    )
    .why("above about 95% a CPU no longer shows how much more there is to do")],
    blocks: &[],
};

static OBJECTIVE: Table<Objective> = Table {
    fields: &[
        Field::share(
            "above",
            "The level. It lies above the target.",
            (0.06, 1.0),
            |o: &Objective| Some(o.above.get()),
            |o, v| o.above = Utilization::new(v),
        ),
        Field::<Objective>::share(
            "at_most",
            "How much of the time utilisation may be above the level.",
            (0.0001, 0.5),
            |o| Some(o.at_most),
            |o, v| o.at_most = v,
        )
        .why("a promise of never cannot be kept: load grows faster than instances boot"),
        Field::duration(
            "over",
            "The rolling window that the time is counted over.",
            (HOUR, Duration::from_secs(31 * 86_400)),
            |o: &Objective| Some(o.over),
            |o, v| o.over = v,
        ),
    ],
    blocks: &[],
};

static SCALE_OUT: Table<ScaleOut> = Table {
    fields: &[
        Field::<ScaleOut>::whole(
            "max_step",
            "The largest single step, in the fleet's units.",
            (1, MOST_UNITS),
            |s| s.max_step,
            |s, v| s.max_step = Some(v),
        )
        .unset("up to `capacity.max` at once")
        .example("5"),
        Field::duration(
            "hold",
            "How long need must last before it is acted upon.",
            (Duration::ZERO, HOUR),
            |s: &ScaleOut| Some(s.hold),
            |s, v| s.hold = v,
        ),
    ],
    blocks: &[],
};

static SCALE_IN: Table<ScaleIn> = Table {
    fields: &[
        Field::flag(
            "enabled",
            "Whether anything is given back at all.",
            |s: &ScaleIn| Some(s.enabled),
            |s, v| s.enabled = v,
        ),
        Field::<ScaleIn>::whole(
            "max_step",
            "The largest single step, in the fleet's units.",
            (1, MOST_UNITS),
            |s| s.max_step,
            |s, v| s.max_step = Some(v),
        )
        .unset("no limit but safety")
        .example("2"),
        Field::duration(
            "hold",
            "How long capacity must have been superfluous before it is given back.",
            (Duration::ZERO, DAY),
            |s: &ScaleIn| Some(s.hold),
            |s, v| s.hold = v,
        ),
    ],
    blocks: &[],
};

static DIVERSIFICATION: Table<Diversification> = Table {
    fields: &[
        Field::<Diversification>::whole(
            "families",
            "Over at least so many instance families, such as m5 and c6g.",
            (2, 20),
            |d| Some(d.families),
            |d, v| d.families = v,
        )
        .why("instances of one family are interrupted together"),
        Field::share(
            "max_pool_share",
            "The largest share of the fleet that one pool (an instance type in a zone) should hold. Judged from 4 \
             instances up.",
            (0.05, 1.0),
            |d: &Diversification| Some(d.max_pool_share),
            |d, v| d.max_pool_share = v,
        ),
        Field::share(
            "max_zone_share",
            "The largest share of the fleet that one availability zone should hold. Judged from 4 instances up.",
            (0.05, 1.0),
            |d: &Diversification| Some(d.max_zone_share),
            |d, v| d.max_zone_share = v,
        ),
        Field::whole(
            "repairs_per_hour",
            "How many instances an hour may be replaced to bring a fleet back that AWS let drift out of these bounds. \
             0: none; victims are chosen by them all the same.",
            (0, 60),
            |d: &Diversification| Some(d.repairs_per_hour),
            |d, v| d.repairs_per_hour = v,
        ),
    ],
    blocks: &[],
};

static PROTECT: Table<Protect> = Table {
    fields: &[
        Field::<Protect>::texts(
            "instances",
            "These instances.",
            "instance ids, such as [\"i-0abc123def4567890\"]",
            |p| p.instances.iter().map(|id| id.as_str().to_owned()).collect(),
            |p, text| {
                p.instances.insert(InstanceId::new(text));
                texts::instance_id(text)
            },
        )
        .unset("none")
        .example("[\"i-0abc123def4567890\"]"),
        Field::<Protect>::text_map(
            "tags",
            "Instances that carry any of these tags with that value.",
            "keys to values, such as { Role = \"primary\" }",
            |p| p.tags.clone().into_iter().collect(),
            |p, key, value| {
                p.tags.insert(key.to_owned(), value.to_owned());
                texts::tag(key, value)
            },
        )
        .unset("none")
        .example("{ Role = \"primary\" }"),
    ],
    blocks: &[],
};

static WORKLOAD: Table<WorkloadDraft> = Table {
    fields: &[
        Field::<WorkloadDraft>::choice(
            "kind",
            "`system`: Nomad system jobs run on every node. `service`: groups of Nomad service jobs, whose count \
             is scaled with the fleet. `spreads`: it spreads by itself, as workers on a queue do.",
            &["system", "service", "spreads"],
            |w| w.kind,
            |w, word| {
                w.kind = Some(match word {
                    "system" => "system",
                    "service" => "service",
                    _ => "spreads",
                });
            },
        )
        .unset("not known, which `check` warns of")
        .example("\"service\""),
        Field::<WorkloadDraft>::texts(
            "groups",
            "The groups that are scaled with the fleet; for `service` alone.",
            "groups as \"JOB/GROUP\", such as [\"web/frontend\"]",
            |w| w.groups.clone(),
            |w, text| {
                w.groups.push(text.to_owned());
                texts::group(text)
            },
        )
        .unset("none")
        .example("[\"web/frontend\"]"),
        Field::<WorkloadDraft>::whole(
            "per_unit",
            "How many allocations of each group there are for each unit of the fleet that serves; for `service` alone.",
            (1, 1000),
            |w| Some(w.per_unit),
            |w, v| w.per_unit = v,
        ),
        Field::<WorkloadDraft>::text(
            "namespace",
            "The Nomad namespace of the groups.",
            "a namespace such as \"default\"",
            |w| Some(w.namespace.clone()),
            |w, text| texts::into(&mut w.namespace, text, 128),
        ),
    ],
    blocks: &[],
};

static DRAIN: Table<Drain> = Table {
    fields: &[
        Field::choice(
            "by",
            "Who empties a node: `nomad` drains it, `hook` runs what the `drain_hook` block says, `nobody` leaves it \
             to the instance's own shutdown.",
            &["nobody", "nomad", "hook"],
            |d: &Drain| {
                Some(match d.by {
                    DrainBy::Nobody => "nobody",
                    DrainBy::Nomad => "nomad",
                    DrainBy::Hook => "hook",
                })
            },
            |d, word| {
                d.by = match word {
                    "nomad" => DrainBy::Nomad,
                    "hook" => DrainBy::Hook,
                    _ => DrainBy::Nobody,
                };
            },
        ),
        Field::duration(
            "deadline",
            "The longest that work may take to leave a node that is given back.",
            (Duration::ZERO, DAY),
            |d: &Drain| Some(d.deadline),
            |d, v| d.deadline = v,
        ),
        Field::<Drain>::duration(
            "margin",
            "Time kept back before the end that an interruption's notice gives.",
            (Duration::ZERO, Duration::from_secs(110)),
            |d| Some(d.margin),
            |d, v| d.margin = v,
        )
        .why("a notice comes two minutes ahead"),
        Field::flag(
            "ignore_system_jobs",
            "Whether system jobs stay until the node goes.",
            |d: &Drain| Some(d.ignore_system_jobs),
            |d, v| d.ignore_system_jobs = v,
        ),
        Field::flag(
            "interrupt_batch",
            "Whether a node on which batch jobs run may be given back, or replaced for the spread or a roll-out; \
             `false` waits until they have ended. What AWS announces does not ask.",
            |d: &Drain| Some(d.interrupt_batch),
            |d, v| d.interrupt_batch = v,
        ),
    ],
    blocks: &[],
};

static DRAIN_HOOK: Section<Draft, HookDraft> = Section {
    name: "drain_hook",
    label: None,
    docs: "What empties a node where `drain.by` is `hook`: a program, or an address.",
    table: &Table {
        fields: &[
            Field::<HookDraft>::texts(
                "command",
                "A program with its arguments; no shell is between. It learns the instance, the deadline and the \
                 cause from MUSTER_INSTANCE, MUSTER_DEADLINE and MUSTER_CAUSE. When it exits with 0 the node is empty.",
                "a program by its absolute path, then its arguments, such as [\"/usr/local/bin/empty-node\", \"--wait\"]",
                |h| h.command.clone(),
                |h, text| {
                    h.command.push(text.to_owned());
                    if h.command.len() == 1 { texts::absolute_path(text) } else { Ok(()) }
                },
            )
            .unset("none")
            .example("[\"/usr/local/bin/empty-node\", \"--wait\"]"),
            Field::<HookDraft>::text(
                "url",
                "An address that is sent the same as JSON by POST. 200 says that the node is empty, 202 that it is not \
                 yet and must be asked again.",
                "an address such as \"https://drain.example/v1/empty\"",
                |h| Some(h.url.clone()).filter(|url| !url.is_empty()),
                |h, text| {
                    text.clone_into(&mut h.url);
                    texts::address(text)
                },
            )
            .unset("none")
            .example("\"https://drain.example/v1/empty\""),
            Field::<HookDraft>::text(
                "token_file",
                "A file that holds a bearer token for `url`. Read again when it changes; never logged.",
                "an absolute path such as \"/run/secrets/drain\"",
                |h| h.token_file.clone(),
                |h, text| {
                    h.token_file = Some(text.to_owned());
                    texts::absolute_path(text)
                },
            )
            .unset("no token")
            .example("\"/run/secrets/drain\""),
        ],
        blocks: &[],
    },
    get: |f| f.hook.as_ref(),
    open: |f| f.hook.get_or_insert_default(),
    default: HookDraft::default,
};

static ON_DEMAND: Table<OnDemand> = Table {
    fields: &[
        Field::whole(
            "fallback",
            "The most units of on-demand capacity that stand in for spot, beyond the fleet's own on-demand part. 0: \
             none.",
            (0, MOST_UNITS),
            |o: &OnDemand| Some(o.fallback),
            |o, v| o.fallback = v,
        ),
        Field::duration(
            "after",
            "How long no spot pool must have given what was asked for, with the objective at risk.",
            (Duration::from_secs(60), DAY),
            |o: &OnDemand| Some(o.after),
            |o, v| o.after = v,
        ),
        Field::duration(
            "keep",
            "How long it is kept before spot is tried again.",
            (Duration::from_secs(60), DAY),
            |o: &OnDemand| Some(o.keep),
            |o, v| o.keep = v,
        ),
        Field::<OnDemand>::number_map(
            "prices",
            "What an instance of a type costs on demand, in dollars an hour: EC2's interface tells spot prices alone. \
             `status` shows what stands in for spot with its cost by these.",
            "instance types to dollars an hour, such as { \"m5.large\" = 0.107 }",
            (0.000_001, 10_000.0),
            |o| o.prices.iter().filter_map(|(of, price)| Some((of.as_str().to_owned(), dollars(*price)?))).collect(),
            |o, of, price| {
                // Prices are counted in millionths of a dollar: rounded to these.
                let price = format!("{price:.6}").parse().map_err(|_| Wrong::new("is not a price"))?;
                o.prices.insert(of.into(), price);
                texts::instance_type(of)
            },
        )
        .unset("not known")
        .example("{ \"m5.large\" = 0.107 }"),
    ],
    blocks: &[],
};

fn dollars(price: UsdPerHour) -> Option<f64> {
    price.to_string().parse().ok()
}

static INTERRUPTION: Table<Interruption> = Table {
    fields: &[
        Field::flag(
            "replace",
            "Whether a replacement is bought at the notice, not after the loss.",
            |i: &Interruption| Some(i.replace),
            |i, v| i.replace = v,
        ),
        Field::choice(
            "rebalance",
            "What a rebalance recommendation leads to: `ignore` nothing, `cordon` no new work on the node, `replace` \
             a replacement before the notice comes, `by_risk` a replacement where its pool took an instance back or had \
             nothing to give within `avoid_pool`, else no new work.",
            &["ignore", "cordon", "replace", "by_risk"],
            |i: &Interruption| {
                Some(match i.rebalance {
                    Rebalance::Ignore => "ignore",
                    Rebalance::Cordon => "cordon",
                    Rebalance::Replace => "replace",
                    Rebalance::ByRisk => "by_risk",
                })
            },
            |i, word| {
                i.rebalance = match word {
                    "ignore" => Rebalance::Ignore,
                    "cordon" => Rebalance::Cordon,
                    "by_risk" => Rebalance::ByRisk,
                    _ => Rebalance::Replace,
                };
            },
        ),
        Field::choice(
            "fleet_buys",
            "When the fleet itself buys in the place of an instance that is marked for interruption: AWS does not say. \
             `unknown`: the first interruption shows it, and may be replaced twice. What was seen goes before what is said.",
            &["unknown", "at_marking", "at_death"],
            |i: &Interruption| {
                Some(match i.fleet_buys {
                    FleetBuys::Unknown => "unknown",
                    FleetBuys::AtMarking => "at_marking",
                    FleetBuys::AtDeath => "at_death",
                })
            },
            |i, word| {
                i.fleet_buys = match word {
                    "unknown" => FleetBuys::Unknown,
                    "at_marking" => FleetBuys::AtMarking,
                    _ => FleetBuys::AtDeath,
                };
            },
        ),
        Field::duration(
            "avoid_pool",
            "How long a pool that interrupted, or had nothing to give, is avoided: what is held against it halves in \
             this time.",
            (Duration::ZERO, DAY),
            |i: &Interruption| Some(i.avoid_pool),
            |i, v| i.avoid_pool = v,
        ),
        Field::duration(
            "poll",
            "How often EC2 itself is asked which instances are marked for interruption or have maintenance ahead: two calls \
             each time, for all fleets of a region together. A safety net: agents and the queue are quicker. Where there is \
             neither, \"30s\" hears of an interruption in time and costs 4 calls a minute and region; at \"15m\" it is \
             mostly heard of by the loss.",
            (Duration::from_secs(10), DAY),
            |i: &Interruption| Some(i.poll),
            |i, v| i.poll = v,
        ),
    ],
    blocks: &[],
};
