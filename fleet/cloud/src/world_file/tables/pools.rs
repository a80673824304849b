//! `pool` blocks.

use super::{SECOND, YEAR, ZERO, plain};
use crate::world_file::draft::{PoolDraft, WindowDraft, WorldDraft, pool_of};
use muster_hcl::{Field, Repeated, Table, Wrong};

pub(super) static POOL: Repeated<WorldDraft, PoolDraft> = Repeated {
    name: "pool",
    label: "a type and a zone such as \"m5.large/eu-west-1a\", with \"/on-demand\" behind it where that is meant",
    check: |text| pool_of(text).map(drop).ok_or_else(|| Wrong::new("is not a pool")),
    example: "m5.large/eu-west-1a",
    docs: "Where capacity comes from: an instance type in a zone. Without any, the world has four pools of three \
           families in two zones.",
    table: &POOL_TABLE,
    new: PoolDraft::named,
    push: |world, pool| world.pools.push(pool),
    items: |world| &world.pools,
    label_of: |pool| &pool.name,
};

static POOL_TABLE: Table<PoolDraft> = Table {
    fields: &[
        Field::<PoolDraft>::text(
            "price",
            "What an instance costs an hour, in US dollars.",
            "a price such as \"0.041\"",
            |p| (p.spec.price.micros() > 0).then(|| p.spec.price.to_string()),
            |p, text| {
                p.spec.price = text.parse().map_err(|_| Wrong::new("is not a price"))?;
                Ok(())
            },
        )
        .required()
        .example("\"0.041\""),
        Field::<PoolDraft>::text(
            "on_demand_price",
            "What it would cost on demand, for comparison.",
            "a price such as \"0.107\"",
            |p| p.spec.on_demand_price.map(|price| price.to_string()),
            |p, text| {
                p.spec.on_demand_price = Some(text.parse().map_err(|_| Wrong::new("is not a price"))?);
                Ok(())
            },
        )
        .unset("unknown")
        .example("\"0.107\""),
        Field::whole(
            "depth",
            "How many instances it can give at once.",
            (0, 1_000_000),
            |p: &PoolDraft| Some(p.spec.depth),
            |p, v| p.spec.depth = v,
        ),
        Field::whole(
            "vcpus",
            "vCPUs of an instance.",
            (1, 1024),
            |p: &PoolDraft| p.spec.vcpus,
            |p, v| p.spec.vcpus = Some(v),
        )
        .unset("by the size in the type's name")
        .example("2"),
        Field::number(
            "power",
            "How much work an instance does, in units of demand.",
            (0.001, 1_000_000.0),
            |p: &PoolDraft| p.spec.power,
            |p, v| p.spec.power = Some(v),
        )
        .unset("as much as its weight in its fleet says")
        .example("1"),
        Field::share(
            "monthly_interruptions",
            "Share of its instances that are interrupted in a month, with `hazard = \"band\"`.",
            (0.0, 1.0),
            |p: &PoolDraft| Some(p.spec.monthly_interruptions),
            |p, v| p.spec.monthly_interruptions = v,
        ),
    ],
    blocks: &[&WINDOW],
};

static WINDOW: Repeated<PoolDraft, WindowDraft> = Repeated {
    name: "window",
    label: "a name of its own",
    check: |text| plain(text, "-_"),
    example: "dry",
    docs: "A time in which the pool gives less. What runs is not taken back.",
    table: &WINDOW_TABLE,
    new: WindowDraft::named,
    push: |pool, window| pool.windows.push(window),
    items: |pool| &pool.windows,
    label_of: |window| &window.name,
};

static WINDOW_TABLE: Table<WindowDraft> = Table {
    fields: &[
        Field::duration(
            "from",
            "When it begins, counted from the start.",
            (ZERO, YEAR),
            |w: &WindowDraft| Some(w.window.from),
            |w, v| w.window.from = v,
        )
        .required()
        .example("\"6h\""),
        Field::duration(
            "until",
            "When it ends.",
            (SECOND, YEAR),
            |w: &WindowDraft| Some(w.window.until).filter(|until| !until.is_zero()),
            |w, v| w.window.until = v,
        )
        .required()
        .example("\"10h\""),
        Field::whole(
            "depth",
            "How many instances the pool can have given out meanwhile.",
            (0, 1_000_000),
            |w: &WindowDraft| Some(w.window.depth),
            |w, v| w.window.depth = v,
        ),
    ],
    blocks: &[],
};
