//! Rules between fields: what each may say for itself, but not together.

use crate::draft::{Draft, ScheduleDraft};
use autoscaler_core::DrainBy;
use fleet::Backend;
use muster_hcl::{Place, Places, Problem, Problems, duration_text, share_text};
use std::collections::BTreeMap;

/// One fleet of a file, with where the file says what.
pub(crate) struct Rules<'a> {
    pub(crate) fleet: &'a Draft,
    pub(crate) places: &'a Places,
    pub(crate) problems: &'a mut Problems,
}

impl Rules<'_> {
    /// Checks every rule. Where a value has a problem already, the rules about it say nothing.
    pub(crate) fn check(&mut self) {
        self.selector();
        self.capacity();
        self.objective();
        self.cloudwatch();
        self.workload();
        self.drain();
        for schedule in &self.fleet.schedules {
            self.schedule(schedule);
        }
        self.rollout();
        self.likely_slips();
    }

    fn path(&self, rest: &str) -> String {
        format!("fleet.{}.{rest}", self.fleet.name)
    }

    /// Whether what the file says of all these makes sense.
    fn sound(&self, rests: &[&str]) -> bool {
        rests.iter().all(|rest| self.places.is_sound(&self.path(rest)))
    }

    /// Reports a problem of the first of these that the file says, else of the first.
    fn error(&mut self, rests: &[&str], message: &str, expected: &str) {
        let path = self.first_given(rests);
        self.problems.push(self.places.error(&path, message).expected(expected));
    }

    fn warning(&mut self, rests: &[&str], message: &str, expected: &str) {
        let path = self.first_given(rests);
        self.problems.push(self.places.warning(&path, message).expected(expected));
    }

    fn first_given(&self, rests: &[&str]) -> String {
        let paths: Vec<String> = rests.iter().map(|rest| self.path(rest)).collect();
        paths.iter().find(|path| self.places.given(path)).or(paths.first()).cloned().unwrap_or_default()
    }

    fn given(&self, rest: &str) -> bool {
        self.places.given(&self.path(rest))
    }

    fn selector(&mut self) {
        let both = self.given("id") && self.given("tag");
        if !both && !self.sound(&["id", "tag", "backend"]) {
            return;
        }
        match (self.given("id"), self.given("tag")) {
            (false, false) => {
                self.error(&["id"], "is missing", "`id = \"sfr-…\"`, `id = \"fleet-…\"` or a `tag` block");
            }
            (true, true) => self.error(&["tag"], "stands beside `id`", "either `id` or `tag`"),
            (false, true) if self.fleet.backend.is_none() => {
                let expected = "\"spot_fleet\" or \"ec2_fleet\": only an `id` tells it by itself";
                self.error(&["backend"], "is missing", expected);
            }
            (true, false) => {
                let by_id = self.fleet.id.as_deref().and_then(crate::model::backend_of);
                if let (Some(said), Some(by_id)) = (self.fleet.backend, by_id)
                    && said != by_id
                {
                    let message = format!("`{said}` is not what the id is of");
                    self.error(&["backend"], &message, &format!("\"{by_id}\", or nothing: the id tells it"));
                }
            }
            (false, true) => {}
        }
    }

    fn capacity(&mut self) {
        let capacity = self.fleet.base.capacity;
        if !self.sound(&["capacity.min", "capacity.max"]) {
            return;
        }
        if capacity.min > capacity.max {
            let message = format!("min {} is above max {}", capacity.min, capacity.max);
            let expected =
                format!("a min of at most {}, or a max of at least {}", capacity.max, capacity.min);
            self.error(&["capacity.min", "capacity.max"], &message, &expected);
        } else if capacity.min == capacity.max {
            let message = format!("min and max are both {}: nothing can be scaled", capacity.min);
            self.warning(&["capacity.max", "capacity.min"], &message, "a max above min");
        }
    }

    fn objective(&mut self) {
        let (target, above) = (self.fleet.base.target, self.fleet.base.objective.above);
        if self.sound(&["target.cpu", "objective.above"]) && above <= target {
            let message = format!("the level {above} is not above the target {target}");
            let expected = format!("a level above {target}, or a target below {above}");
            self.error(&["objective.above", "target.cpu"], &message, &expected);
        }
    }

    fn rollout(&mut self) {
        let rollout = &self.fleet.base.rollout;
        let idle = !rollout.alarms.is_empty() && rollout.watched().is_empty();
        if idle && self.sound(&["rollout.alarms", "rollout.pause_on"]) {
            let message = "no alarm halts a roll-out: they are not watched";
            self.warning(&["rollout.pause_on"], message, "\"alarm\" among them, or no `alarms`");
        }
    }

    fn cloudwatch(&mut self) {
        let cloudwatch = &self.fleet.cloudwatch;
        let own = ["namespace", "metric", "statistic", "dimensions"];
        if !self.given("source.cloudwatch") || !self.sound(&["source.cloudwatch"]) {
            return;
        }
        let path = |name: &str| format!("source.cloudwatch.{name}");
        if cloudwatch.is_custom() {
            for (name, missing) in
                [("namespace", cloudwatch.namespace.is_none()), ("metric", cloudwatch.metric.is_none())]
            {
                if missing {
                    let named = own.iter().find(|name| self.given(&path(name))).copied().unwrap_or_default();
                    let message = format!("is missing beside `{named}`");
                    self.error(&[&path(name)], &message, "a metric of your own by `namespace` and `metric`");
                }
            }
        }
        if cloudwatch.by.is_some() && cloudwatch.is_custom() {
            self.error(
                &[&path("by")],
                "stands beside a metric of your own",
                "either `by` or `namespace` and `metric`",
            );
        } else if cloudwatch.by == Some("fleet") && self.fleet.backend() == Some(Backend::Ec2Fleet) {
            self.error(&[&path("by")], "an EC2 Fleet has no metric of its own", "\"instance\"");
        }
    }

    fn workload(&mut self) {
        let workload = &self.fleet.workload;
        if !self.sound(&["workload.kind", "workload.groups"]) {
            return;
        }
        match (workload.kind, workload.groups.is_empty()) {
            (None, true) => {
                let message = "nobody says how load gets onto new nodes";
                self.warning(&["workload.kind"], message, "\"system\", \"service\" or \"spreads\"");
            }
            (None, false) => {
                self.error(&["workload.kind"], "is missing beside `groups`", "`kind = \"service\"`");
            }
            (Some("service"), true) => {
                let expected = "the groups to scale with the fleet, such as [\"web/frontend\"]";
                self.error(&["workload.groups"], "is missing", expected);
            }
            (Some(kind), false) if kind != "service" => {
                let message = format!("`{kind}` has no groups");
                self.error(&["workload.groups"], &message, "nothing, or `kind = \"service\"`");
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        if !self.sound(&["drain.by", "drain_hook"]) {
            return;
        }
        let by_hook = self.fleet.base.drain.by == DrainBy::Hook;
        match (&self.fleet.hook, by_hook) {
            (None, true) => {
                self.error(&["drain.by"], "says `hook`, and no hook is given", "a `drain_hook` block");
            }
            (Some(_), false) => {
                self.error(
                    &["drain_hook"],
                    "is not what empties nodes here",
                    "`by = \"hook\"` in the `drain` block",
                );
            }
            (Some(hook), true) => match (hook.command.is_empty(), hook.url.is_empty()) {
                (true, true) => self.error(&["drain_hook"], "does nothing", "`command` or `url`"),
                (false, false) => {
                    self.error(&["drain_hook.url"], "stands beside `command`", "either `command` or `url`");
                }
                (false, true) if hook.token_file.is_some() => {
                    self.error(&["drain_hook.token_file"], "is for `url` alone", "nothing, or `url`");
                }
                _ => {}
            },
            (None, false) => {}
        }
    }

    fn schedule(&mut self, schedule: &ScheduleDraft) {
        let path = |name: &str| format!("schedule.{}.{name}", schedule.name);
        if !self.sound(&[&path("min"), &path("target")]) {
            return;
        }
        if schedule.min.is_none() && schedule.target.is_none() {
            let whole = format!("schedule.{}", schedule.name);
            self.error(&[&whole], "changes nothing", "`min`, `target` or both");
        }
        let capacity = self.fleet.base.capacity;
        if let Some(min) = schedule.min
            && self.sound(&["capacity.min", "capacity.max"])
            && capacity.min <= capacity.max
        {
            let expected =
                format!("{} to {}: from `capacity.min` to `capacity.max`", capacity.min, capacity.max);
            if min > capacity.max {
                self.error(&[&path("min")], &format!("{min} is above the max {}", capacity.max), &expected);
            } else if min < capacity.min {
                let message = format!("{min} is below the min {}: a schedule only raises", capacity.min);
                self.error(&[&path("min")], &message, &expected);
            } else if min == capacity.min && schedule.target.is_none() {
                let message = format!("{min} is the min at all hours: the schedule changes nothing");
                self.warning(&[&path("min")], &message, &expected);
            }
        }
        let usual = self.fleet.base.target;
        if let Some(target) = schedule.target
            && self.sound(&["target.cpu"])
        {
            let expected = format!("a target below {}: lower is more capacity", share_text(usual.get()));
            if target > usual {
                let message =
                    format!("{target} is above the target {usual}: a schedule only raises capacity");
                self.error(&[&path("target")], &message, &expected);
            } else if target == usual && schedule.min.is_none() {
                let message = format!("{target} is the target at all hours: the schedule changes nothing");
                self.warning(&[&path("target")], &message, &expected);
            }
        }
    }

    /// What is allowed, and likely not meant.
    fn likely_slips(&mut self) {
        let base = &self.fleet.base;
        let said = self.given("scale_in.hold") || self.given("boot");
        let sooner = base.scale_in.enabled && base.scale_in.hold < base.boot;
        if said && sooner && self.sound(&["scale_in.hold", "boot"]) {
            let (hold, boot) = (duration_text(base.scale_in.hold), duration_text(base.boot));
            let message = format!("capacity is given back after {hold}, sooner than it boots ({boot})");
            let expected = format!("at least \"{boot}\"");
            self.warning(&["scale_in.hold", "boot"], &message, &expected);
        }
        if base.on_demand.fallback > 0 && base.on_demand.prices.is_empty() && self.sound(&["on_demand"]) {
            let message = "what stands in for spot cannot be shown with its cost";
            let expected = "the on-demand prices of the fleet's types, such as { \"m5.large\" = 0.107 }";
            self.warning(&["on_demand.prices", "on_demand.fallback"], message, expected);
        }
        if self.sound(&["observe_only", "dry_run"]) && base.observe_only && base.dry_run {
            let message = "`observe_only` changes nothing either";
            self.warning(&["dry_run"], message, "`observe_only` or `dry_run`");
        }
    }
}

/// Finds what two fleets must not share: names over all files, and the fleet itself.
///
/// * `fleets`: all that were read, each with where its file says what.
pub(crate) fn across(fleets: &[(&Draft, &Places)], problems: &mut Problems) {
    let mut names: BTreeMap<&str, &Places> = BTreeMap::new();
    let mut ids: BTreeMap<&str, (&str, Place)> = BTreeMap::new();
    let at = |place: &Place| format!("{}:{}", place.file(), place.line());
    for (fleet, places) in fleets {
        let path = format!("fleet.{}", fleet.name);
        if let Some(first) = names.get(fleet.name.as_str()) {
            let message = format!("a fleet of this name stands in {}, too", at(first.place(&path)));
            problems.push(Problem::error(places.place(&path), &path, message).expected("a name of its own"));
        } else {
            names.insert(&fleet.name, places);
        }
        let path = format!("{path}.id");
        let Some(id) = fleet.id.as_deref().filter(|_| places.is_sound(&path)) else { continue };
        if let Some((other, first)) = ids.get(id) {
            let message =
                format!("this is fleet {other} of {}, too: two policies would fight over it", at(first));
            problems.push(places.error(&path, message).expected("a fleet of its own"));
        } else {
            ids.insert(id, (&fleet.name, places.place(&path).clone()));
        }
    }
}
