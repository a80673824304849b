//! `step "NAME"`.

use super::{DAY, SECOND, secs, time};
use crate::model::{Settings, StepSettings};
use bootstrap_core::{OnFailure, Step};
use muster_hcl::{Field, Repeated, Table, Wrong, nearest};

pub(super) static STEP: Repeated<Settings, StepSettings> = Repeated {
    name: "step",
    label: "a step of the boot: identity, time, configuration, vault, awx, monitoring, consul, nomad or ready",
    check: |label| {
        let known = || Step::ALL.into_iter().map(Step::name);
        let wrong = || {
            let help = nearest(label, known()).map(|meant| format!("did you mean \"{meant}\"?"));
            Wrong::new("is not a step").help(help)
        };
        Step::named(label).map(|_| ()).ok_or_else(wrong)
    },
    example: "awx",
    docs: "How a step is repeated, and what it means that it cannot be done. What is not said is as the step has it.",
    table: &TABLE,
    new: StepSettings::of,
    push: |settings, step| {
        settings.steps.retain(|known| known.step != step.step);
        settings.steps.push(step);
    },
    items: |settings| &settings.steps,
    label_of: |step| &step.step,
};

static TABLE: Table<StepSettings> = Table {
    fields: &[
        time!(StepSettings, "attempt", "The longest that one attempt may take.", (SECOND, DAY), attempt),
        time!(
            StepSettings,
            "pause",
            "The pause after the first failure. Each one after it is twice as long, and half of each is by chance.",
            (SECOND, secs(600)),
            pause
        ),
        time!(StepSettings, "most_pause", "The longest pause.", (SECOND, DAY), most_pause),
        time!(
            StepSettings,
            "deadline",
            "The time from its beginning within which it has to be done, all attempts and pauses together.",
            (SECOND, secs(604_800)),
            deadline
        ),
        Field::choice(
            "on_failure",
            "What it means that it is not done by then, or cannot be. `retry`: it is tried on, those that need it \
             wait. `ignore`: those that need it go on. `quarantine`: the node is kept, without work. `unhealthy`: \
             as quarantine, and Consul's check says so. `terminate`: the instance is powered off, unless the \
             breaker is open.",
            &["retry", "ignore", "quarantine", "unhealthy", "terminate"],
            |step: &StepSettings| Some(step.on_failure.name()),
            |step, word| step.on_failure = OnFailure::named(word).unwrap_or(step.on_failure),
        ),
    ],
    blocks: &[],
};
