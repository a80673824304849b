//! Rules between values: what each may say for itself, but not together; and what has to be said by somebody.

use crate::model::{FileRule, Settings, StepSettings};
use bootstrap_core::{OnFailure, Step};
use muster_hcl::{Places, Problem, Problems, duration_text};

/// What an address of the node itself begins with.
const NEAR: [&str; 3] = ["127.", "localhost", "[::1]"];

/// The settings of all layers, with where each says what.
pub(crate) struct Rules<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) layers: &'a [Places],
    pub(crate) problems: &'a mut Problems,
}

impl Rules<'_> {
    /// Checks every rule. Where a value has a problem already, the rules about it say nothing.
    pub(crate) fn check(&mut self) {
        self.identity();
        self.vault();
        self.awx();
        self.agents();
        self.watch();
        self.steps();
        self.plain_text();
    }

    /// Who said this last, else whoever said the block around it last.
    fn layer(&self, path: &str) -> Option<&Places> {
        let mut path = path;
        loop {
            if let Some(places) = self.layers.iter().rev().find(|places| places.given(path)) {
                return Some(places);
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return self.layers.first(),
            }
        }
    }

    fn sound(&self, path: &str) -> bool {
        self.layers.iter().all(|places| places.is_sound(path))
    }

    fn push(&mut self, path: &str, problem: impl FnOnce(&Places) -> Problem) {
        if let Some(places) = self.layer(path).filter(|_| self.sound(path)) {
            let problem = problem(places);
            self.problems.push(problem);
        }
    }

    fn error(&mut self, path: &str, message: &str, expected: &str) {
        self.push(path, |places| places.error(path, message).expected(expected));
    }

    /// Something that has to be said is not.
    fn need(&mut self, path: &str, is_there: bool, expected: &str) {
        if !is_there {
            self.push(path, |places| {
                Problem::error(places.place(path), path, "is missing").expected(expected)
            });
        }
    }

    /// What files have to say, because it is needed before anything else is known.
    pub(crate) fn identity(&mut self) {
        let there = !self.settings.identity.certificates.is_empty();
        self.need(
            "identity.certificates",
            there,
            "a list of PEM files with AWS's certificates of this region",
        );
        let there = !self.settings.identity.endpoints.is_empty();
        self.need("identity.endpoints", there, "at least one address such as \"http://169.254.169.254\"");
        if let Some(unit) = self.settings.time.unit.as_deref() {
            self.unit("time.unit", unit);
        }
    }

    fn vault(&mut self) {
        let settings = self.settings;
        let Some(vault) = &settings.vault else { return };
        self.need(
            "vault.address",
            !vault.server.address.is_empty(),
            "an address such as \"https://vault.example.com:8200\"",
        );
        let methods = [vault.aws.is_some(), vault.approle.is_some(), vault.jwt.is_some()];
        match methods.iter().filter(|wanted| **wanted).count() {
            0 => {
                self.error("vault", "does not say how the node logs in", "a block `aws`, `approle` or `jwt`");
            }
            1 => {}
            _ => self.error(
                "vault",
                "says in more than one way how the node logs in",
                "one of `aws`, `approle` and `jwt`",
            ),
        }
        if let Some(aws) = &vault.aws {
            self.need("vault.aws.role", !aws.role.is_empty(), "a role in Vault");
        }
        if let Some(approle) = &vault.approle {
            self.need("vault.approle.role_id_file", !approle.role_id_file.is_empty(), "an absolute path");
            self.need("vault.approle.secret_id_file", !approle.secret_id_file.is_empty(), "an absolute path");
        }
        if let Some(jwt) = &vault.jwt {
            self.need("vault.jwt.role", !jwt.role.is_empty(), "a role in Vault");
            self.need("vault.jwt.file", !jwt.file.is_empty(), "an absolute path");
        }
        if vault.cert_file.is_some() != vault.key_file.is_some() {
            let given = if vault.cert_file.is_some() { "vault.cert_file" } else { "vault.key_file" };
            self.error(given, "stands alone", "`cert_file` and `key_file`, or neither");
        }
        if let Some(file) = &vault.file {
            self.file("vault.file", file);
            if vault.token_file.is_some() {
                self.error("vault.file", "stands beside `token_file`", "one place to leave the token in");
            }
            let rule = settings.host.files.iter().find(|rule| rule.name == *file);
            if rule.and_then(FileRule::bits).is_some_and(|bits| bits & 0o007 != 0) {
                let expected = "a mode without rights for everybody, such as \"0400\"";
                self.error("vault.file", "is a `file` of `host` that everybody may read", expected);
            }
        }
        for template in &vault.templates {
            let at = |name: &str| format!("vault.template.{}.{name}", template.name);
            self.need(&at("source"), !template.source.is_empty(), "an absolute path");
            match (&template.path, &template.file) {
                (None, None) => self.need(&at("path"), false, "`path` or `file`"),
                (Some(_), Some(_)) => {
                    self.error(&at("file"), "stands beside `path`", "one place to render it to");
                }
                (None, Some(file)) => self.file(&at("file"), file),
                (Some(_), None) => {}
            }
            if template.file.is_some() && template.remove_at_stop {
                // The agent has no right to it, and whoever has it may be using it.
                let expected = "`path`, whose file is the agent's own";
                self.error(&at("remove_at_stop"), "stands beside `file`, which root wrote", expected);
            }
            for unit in &template.reload {
                self.unit(&at("reload"), unit);
            }
        }
    }

    fn awx(&mut self) {
        let Some(awx) = &self.settings.awx else { return };
        self.need(
            "awx.address",
            !awx.server.address.is_empty(),
            "an address such as \"https://awx.example.com\"",
        );
        self.need("awx.template", awx.template > 0, "the number of a job template");
        match (&awx.key_file, &awx.key_parameter) {
            (None, None) => self.need("awx.key_file", false, "`key_file` or `key_parameter`"),
            (Some(_), Some(_)) => self.error(
                "awx.key_parameter",
                "stands beside `key_file`",
                "one place to have the host config key from",
            ),
            _ => {}
        }
    }

    /// What the steps ask of the host is what the host may do.
    fn agents(&mut self) {
        let settings = self.settings;
        if let Some(monitoring) = &settings.monitoring {
            self.unit("monitoring.unit", &monitoring.unit);
            self.file("monitoring.arguments_file", &monitoring.arguments_file);
            self.reached("monitoring.address", monitoring.address.as_deref());
            if let Some(package) = &monitoring.package
                && !settings.host.packages.iter().any(|rule| rule.name == *package)
            {
                self.error(
                    "monitoring.package",
                    "is no `package` of `host`",
                    &format!("`package \"{package}\"` in `host`"),
                );
            }
        }
        if let Some(consul) = &settings.consul {
            self.unit("consul.unit", &consul.unit);
            self.file("consul.file", &consul.file);
            self.directory("consul.directory", &consul.directory);
        }
        if let Some(nomad) = &settings.nomad {
            self.unit("nomad.unit", &nomad.unit);
            self.file("nomad.file", &nomad.file);
            self.directory("nomad.directory", &nomad.directory);
            if nomad.node_pool == nomad.proving_pool {
                self.error("nomad.proving_pool", "is the pool that it works in", "a pool that no job names");
            }
            if nomad.servers.is_empty() && settings.consul.is_none() {
                self.need("nomad.servers", false, "servers, or a `consul` block to find them through");
            }
            if let Some(registry) = &nomad.registry {
                self.need(
                    "nomad.registry.image",
                    !registry.image.is_empty(),
                    "an image such as \"registry.example.com/app:1\"",
                );
                self.need("nomad.registry.auth_file", !registry.auth_file.is_empty(), "an absolute path");
            }
        }
    }

    /// What Consul tells others of is where they find it.
    fn reached(&mut self, path: &str, address: Option<&str>) {
        let is_near = |address: &str| {
            let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
            NEAR.iter().any(|near| rest.starts_with(near))
        };
        if self.settings.consul.is_some() && address.is_some_and(is_near) {
            self.push(path, |places| {
                places
                    .warning(path, "is reached from this node alone, and Consul tells others of it")
                    .expected("an address of the instance's network, or none: its private address")
            });
        }
    }

    fn unit(&mut self, path: &str, unit: &str) {
        if !self.settings.host.units.iter().any(|known| known == unit) {
            self.error(
                path,
                &format!("`{unit}` is none of `host`'s units"),
                &format!("`units = [\"{unit}\", …]` in `host`"),
            );
        }
    }
    fn file(&mut self, path: &str, name: &str) {
        if !self.settings.host.files.iter().any(|rule| rule.name == name) {
            self.error(
                path,
                &format!("`{name}` is no `file` of `host`"),
                &format!("`file \"{name}\" {{ … }}` in `host`"),
            );
        }
    }
    fn directory(&mut self, path: &str, name: &str) {
        if !self.settings.host.directories.iter().any(|rule| rule.name == name) {
            let expected = format!("`directory \"{name}\" {{ … }}` in `host`");
            self.error(path, &format!("`{name}` is no `directory` of `host`"), &expected);
        }
    }

    fn watch(&mut self) {
        let Some(autoscaler) = &self.settings.watch.autoscaler else { return };
        self.need(
            "watch.autoscaler.fleet",
            !autoscaler.fleet.is_empty(),
            "the fleet's name in the autoscaler's policy",
        );
        match (&autoscaler.service, autoscaler.addresses.is_empty()) {
            (None, true) => self.need("watch.autoscaler.addresses", false, "`addresses` or `service`"),
            (Some(_), false) => {
                self.error("watch.autoscaler.service", "stands beside `addresses`", "one way to find it");
            }
            (Some(_), true) if self.settings.consul.is_none() => {
                self.error(
                    "watch.autoscaler.service",
                    "needs Consul to be found in",
                    "a `consul` block, or `addresses`",
                );
            }
            _ => {}
        }
    }

    fn steps(&mut self) {
        for step in Step::ALL {
            let StepSettings { attempt, pause, most_pause, deadline, on_failure, .. } =
                self.settings.step(step);
            let at = |name: &str| format!("step.{step}.{name}");
            if pause > most_pause {
                let expected = format!("at most most_pause, \"{}\"", duration_text(most_pause));
                self.error(&at("pause"), "is longer than the longest pause", &expected);
            }
            if attempt > deadline {
                let expected = format!("at most deadline, \"{}\"", duration_text(deadline));
                self.error(&at("attempt"), "is longer than all attempts together", &expected);
            }
            if on_failure == OnFailure::Terminate && !self.settings.host.power_off {
                self.error(
                    &at("on_failure"),
                    "needs `power_off = true` in `host`",
                    "another consequence, or that right",
                );
            } else if on_failure == OnFailure::Terminate {
                self.breaker(step, &at("on_failure"));
            }
        }
    }

    /// Nobody ends himself whom no breaker could keep: that is in this node's own Consul.
    fn breaker(&mut self, step: Step, path: &str) {
        let without = if self.settings.consul.is_none() {
            "never ends the node: the breaker is in Consul, and there is no `consul` block"
        } else if matches!(
            step,
            Step::Identity | Step::Time | Step::Configuration | Step::Vault | Step::Consul
        ) {
            "ends no node whose Consul does not run, as it does not when this step fails in a boot: the breaker is there"
        } else {
            return;
        };
        self.push(path, |places| {
            places.warning(path, without).expected("\"quarantine\" or \"unhealthy\", and an alert")
        });
    }

    /// A secret that leaves the host as it is.
    fn plain_text(&mut self) {
        let mut servers = Vec::new();
        if let Some(vault) = &self.settings.vault {
            servers.push(("vault.address", vault.server.address.clone()));
        }
        if let Some(awx) = &self.settings.awx {
            servers.push(("awx.address", awx.server.address.clone()));
        }
        if let Some(autoscaler) = &self.settings.watch.autoscaler {
            servers.extend(
                autoscaler.addresses.iter().map(|address| ("watch.autoscaler.addresses", address.clone())),
            );
        }
        for (path, address) in servers {
            let Some(rest) = address.strip_prefix("http://") else { continue };
            if !NEAR.iter().any(|near| rest.starts_with(near)) {
                self.push(path, |places| {
                    places
                        .warning(path, "is asked without TLS: its key or token can be read on the way")
                        .expected("https://")
                });
            }
        }
    }
}
