//! The leader is killed (SIGKILL) in the middle of a removal and of a replacement, on real Nomad and Consul: whoever leads next
//! finds the ledger in Consul and goes on with it, and it ends with exactly one less, or one replaced.

use fleet::InstanceId;
use muster_test_servers::{Consul, ConsulOptions, NomadOptions, wait_for};
use tests::ground::{Daemon, Site};
use tests::job::CONSUL_RIGHTS;
use tests::work::service;

/// How many instances there are at first, each with one of a service that takes half a minute to leave.
const FIRST: u32 = 3;

/// Two daemons of one fleet, of whom one leads.
struct Pair<'a> {
    site: Site,
    consul: &'a Consul,
    daemons: Vec<Daemon>,
}

impl<'a> Pair<'a> {
    fn start(consul: &'a Consul, smallest: u32) -> Self {
        let site = Site::start(FIRST, smallest, NomadOptions::default(), None);
        site.write("consul-token", &consul.new_token(CONSUL_RIGHTS));
        site.nomad.register(&service("web", FIRST, 500, 30));
        wait_for("the work to run", || (site.places("web").len() == FIRST as usize).then_some(()));
        let mut pair = Self { site, consul, daemons: Vec::new() };
        for name in ["east", "west"] {
            let daemon = pair.daemon(name);
            pair.daemons.push(daemon);
        }
        pair
    }

    fn daemon(&self, name: &'static str) -> Daemon {
        let at = self.consul.address();
        self.site.daemon(name, &["--consul-address", &at, "--consul-token-file", "consul-token"])
    }

    /// Kills whoever leads, starts it again, and waits until one of them leads: either may.
    fn kill_the_leader(&mut self) {
        let leads = |daemon: &Daemon| daemon.status()["leads"] == true;
        let place = wait_for("a leader", || self.daemons.iter().position(leads));
        let killed = self.daemons.remove(place);
        let name = killed.name;
        killed.running.signal("KILL");
        killed.running.end();
        let again = self.daemon(name);
        self.daemons.insert(place, again);
        wait_for("another one to lead", || self.daemons.iter().any(leads).then_some(()));
    }

    /// All instances that there have ever been.
    fn all(&self) -> usize {
        self.site.cloud.world().instance_truths(self.site.cloud.fleet()).len()
    }

    /// It has ended: so many live, as many are asked for, one is gone whose work had left before, and all of the work runs on
    /// nodes that take more.
    fn ends_with(self, count: usize, gone: &InstanceId, ever: usize) {
        let site = &self.site;
        wait_for("the victim to be gone", || (!site.cloud.living().contains(gone)).then_some(()));
        assert!(site.left("web", gone).is_some(), "its work had left before");
        wait_for("the work to run", || (site.places("web").len() == FIRST as usize).then_some(()));
        let living = site.cloud.living();
        assert_eq!((living.len(), site.cloud.target() as usize, self.all()), (count, count, ever));
        assert!(living.iter().all(|instance| site.is_eligible(instance)), "nothing is left over");
        for daemon in self.daemons {
            daemon.stop();
        }
    }
}

#[test]
fn leaders_that_are_killed_amid_a_removal_leave_exactly_one_instance_less() {
    let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    let mut pair = Pair::start(&consul, FIRST - 1);
    let victim = wait_for("a drain", || pair.site.drained());
    pair.kill_the_leader();
    wait_for("the target to be lowered", || (pair.site.cloud.target() == FIRST - 1).then_some(()));
    pair.kill_the_leader();
    pair.ends_with(2, &victim, 3);
}

#[test]
fn leaders_that_are_killed_amid_a_replacement_leave_exactly_one_replaced() {
    let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    let mut pair = Pair::start(&consul, FIRST);
    let before = pair.site.cloud.living();
    let victim = before[0].clone();
    // Both have looked, and one leads.
    let decided = |daemon: &Daemon| daemon.status()["fleets"][0]["decided"].is_object();
    wait_for("both to decide", || pair.daemons.iter().all(decided).then_some(()));
    pair.site.cloud.interrupt(&victim);
    wait_for("the target to be raised", || (pair.site.cloud.target() == FIRST + 1).then_some(()));
    pair.kill_the_leader();
    let new = wait_for("the replacement", || {
        pair.site.cloud.living().into_iter().find(|instance| !before.contains(instance))
    });
    pair.site.add_node(&new, None);
    wait_for("its node to be drained", || (pair.site.drained() == Some(victim.clone())).then_some(()));
    pair.kill_the_leader();
    pair.ends_with(3, &victim, 4);
}
