//! `fleet` blocks.

use super::{LOAD, plain};
use crate::world_file::draft::{FleetDraft, LoadDraft, WorldDraft};
use fleet::{AllocationStrategy, Backend, ExcessCapacity, FleetKind};
use muster_hcl::{Field, Repeated, Section, Table};

/// What EC2 allows a fleet.
const MOST_UNITS: u32 = 10_000;

pub(super) static FLEET: Repeated<WorldDraft, FleetDraft> = Repeated {
    name: "fleet",
    label: "a name of letters, digits, `-` and `_`",
    check: |text| plain(text, "-_"),
    example: "web",
    docs: "A fleet that is there from the start, in service. Others can be made through the API. The name is its \
           tag `Name`.",
    table: &FLEET_TABLE,
    new: FleetDraft::named,
    push: |world, fleet| world.fleets.push(fleet),
    items: |world| &world.fleets,
    label_of: |fleet| &fleet.name,
};

static FLEET_TABLE: Table<FleetDraft> = Table {
    fields: &[
        Field::<FleetDraft>::text(
            "id",
            "EC2's id of it.",
            "an id such as \"sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\" or \"fleet-…\"",
            |f| f.id.clone(),
            |f, text| {
                f.id = Some(text.to_owned());
                plain(text, "-")
            },
        )
        .unset("made from the seed")
        .example("\"sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5\""),
        Field::<FleetDraft>::choice(
            "backend",
            "Which of EC2's services it belongs to.",
            &["spot_fleet", "ec2_fleet"],
            |f| {
                Some(match f.request.backend {
                    Backend::SpotFleet => "spot_fleet",
                    Backend::Ec2Fleet => "ec2_fleet",
                })
            },
            |f, word| {
                f.request.backend = if word == "ec2_fleet" { Backend::Ec2Fleet } else { Backend::SpotFleet };
            },
        ),
        Field::<FleetDraft>::choice(
            "type",
            "What it does about its target.",
            &["maintain", "request"],
            |f| Some(if f.request.kind == FleetKind::Maintain { "maintain" } else { "request" }),
            |f, word| {
                f.request.kind = if word == "request" { FleetKind::Request } else { FleetKind::Maintain };
            },
        ),
        Field::whole(
            "target",
            "Its target at the start, in its own units; that much is in service.",
            (1, MOST_UNITS),
            |f: &FleetDraft| f.initial,
            |f, v| (f.initial, f.request.target) = (Some(v), v),
        )
        .unset("what its demand needs at the start, at 75 %")
        .example("4"),
        Field::whole(
            "on_demand_target",
            "The on-demand part of the target.",
            (0, MOST_UNITS),
            |f: &FleetDraft| Some(f.request.on_demand_target),
            |f, v| f.request.on_demand_target = v,
        ),
        Field::<FleetDraft>::choice(
            "strategy",
            "How it spreads over its pools.",
            STRATEGIES,
            |f| STRATEGIES.get(strategy_place(f.request.strategy)).copied(),
            |f, word| {
                let place = STRATEGIES.iter().position(|known| *known == word).unwrap_or_default();
                f.request.strategy = ALL_STRATEGIES[place];
            },
        ),
        Field::<FleetDraft>::choice(
            "excess_capacity",
            "What it does with capacity above a lowered target.",
            &["no_termination", "termination"],
            |f| {
                Some(match f.request.excess {
                    ExcessCapacity::NoTermination => "no_termination",
                    ExcessCapacity::Termination => "termination",
                })
            },
            |f, word| {
                f.request.excess = if word == "termination" {
                    ExcessCapacity::Termination
                } else {
                    ExcessCapacity::NoTermination
                };
            },
        ),
        Field::<FleetDraft>::number_map(
            "weights",
            "The types that it buys, and what an instance of each counts for.",
            "instance types to weights, such as { \"m5.large\" = 1 }",
            (0.001, 1000.0),
            |f| f.weights.iter().map(|(of, weight)| (of.clone(), *weight)).collect(),
            |f, of, weight| {
                f.weights.insert(of.to_owned(), weight);
                plain(of, ".-")
            },
        )
        .unset("all types, each for 1")
        .example("{ \"m5.large\" = 1, \"c5.large\" = 1 }"),
        Field::flag(
            "detailed_monitoring",
            "Metrics of one minute in place of five.",
            |f: &FleetDraft| Some(f.request.detailed_monitoring),
            |f, v| f.request.detailed_monitoring = v,
        ),
        Field::<FleetDraft>::text_map(
            "tags",
            "Its tags.",
            "names to values, such as { service = \"web\" }",
            |f| f.request.tags.clone().into_iter().collect(),
            |f, key, value| {
                f.request.tags.insert(key.to_owned(), value.to_owned());
                Ok(())
            },
        )
        .unset("none but `Name`")
        .example("{ service = \"web\" }"),
    ],
    blocks: &[&Section {
        name: "load",
        label: None,
        docs: "What it has to serve.",
        table: &LOAD,
        get: |f: &FleetDraft| Some(&f.load),
        open: |f| &mut f.load,
        default: LoadDraft::default,
    }],
};

const STRATEGIES: &[&str] = &[
    "lowest_price",
    "diversified",
    "capacity_optimized",
    "capacity_optimized_prioritized",
    "price_capacity_optimized",
];

/// In the order of their words.
const ALL_STRATEGIES: [AllocationStrategy; 5] = [
    AllocationStrategy::LowestPrice,
    AllocationStrategy::Diversified,
    AllocationStrategy::CapacityOptimized,
    AllocationStrategy::CapacityOptimizedPrioritized,
    AllocationStrategy::PriceCapacityOptimized,
];

fn strategy_place(strategy: AllocationStrategy) -> usize {
    ALL_STRATEGIES.iter().position(|known| *known == strategy).unwrap_or_default()
}
