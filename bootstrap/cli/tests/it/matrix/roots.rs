//! Whom the host trusts, while an agent runs: who comes to it, who has lapsed, and who is taken away.

use super::proxy::stranger;
use super::{Service, Site, said, sites};
use bootstrap_core::{Condition, Step};
use std::fs;

/// Somebody else, of the host's own.
fn other() -> String {
    stranger().pem()
}

/// A site that knows its service's authority by the host's roots alone, or not.
struct OfHost(Site);

impl OfHost {
    /// * `trusted`: whose certificates the host has.
    fn start(service: &impl Service, number: usize, trusted: impl FnOnce(&Site) -> String) -> Self {
        let mut site = service.site(number, None);
        let file = site.node.path().join("bootstrap.hcl");
        let text = fs::read_to_string(&file).expect("it is there");
        let place = site.node.path().display();
        // Vault is asked again for what it gave no lease for, and by a new connection.
        let instead = if service.step() == Step::Vault { "  refresh = \"5s\"\n" } else { "" };
        let text = text.replace(&format!("  ca_file = \"{place}/ca.pem\"\n"), instead);
        fs::write(file, text).expect("written");
        let roots = site.node.path().join("roots.pem").display().to_string();
        site.node.environment.retain(|(name, _)| name != "SSL_CERT_FILE");
        site.node.environment.push(("SSL_CERT_FILE".to_owned(), roots));
        let trusted = trusted(&site);
        let mut of_host = Self(site);
        of_host.trust(&trusted);
        of_host.0.node.start();
        of_host
    }

    /// The host trusts these from now on: in a file that takes the place of the one before, as Debian writes it.
    fn trust(&self, pem: &str) {
        let place = self.0.node.path();
        fs::write(place.join("roots.new"), pem).expect("written");
        fs::rename(place.join("roots.new"), place.join("roots.pem")).expect("renamed");
    }

    /// Waits until the service is not trusted, and says why.
    fn is_refused(&self, service: &impl Service, why: &str) {
        self.0.node.wait_until(why, |status| {
            format!("{}\n{}", said(status, service.step()), status.alarms.join("\n")).contains(why)
        });
    }
}

/// * `unknown`: what is said of an authority that is not trusted.
fn follows_the_host(service: &impl Service, unknown: &str) {
    let lapsed = OfHost::start(service, 0, |site| site.proxy.lapsed_pem().to_owned());
    lapsed.is_refused(
        service,
        "the authority that signed its certificate has expired: CN=rcgen self signed cert",
    );
    assert!(!lapsed.0.node.path().join("run/ready").exists());
    drop(lapsed);

    let boot = OfHost::start(service, 1, |_| other());
    boot.is_refused(service, unknown);
    assert!(!boot.0.node.path().join("run/ready").exists());
    boot.trust(&(other() + boot.0.proxy.pem()));
    boot.0.node.wait_done();
    boot.trust(&other());
    let refused = |of: &OfHost| {
        let status = of.0.node.status().expect("it runs");
        format!("{}\n{}", said(&status, service.step()), status.alarms.join("\n")).contains(unknown)
    };
    boot.0.node.verify_until(unknown, || refused(&boot).then_some(()));
    boot.trust(boot.0.proxy.pem());
    boot.0.node.verify_until("trust again", || (!refused(&boot)).then_some(()));
    boot.0.node.wait_until("all to stand", |status| status.report.condition == Condition::Done);
}

#[test]
fn vault_is_trusted_by_the_roots_that_the_host_has_now() {
    follows_the_host(&sites::Secrets::start(), "no trust between us and https://");
}

#[test]
fn consul_is_trusted_by_the_roots_that_the_host_has_now() {
    follows_the_host(
        &sites::Catalogue::start(),
        "is not trusted: its certificate was signed by an authority that",
    );
}
