//! What is read of Nomad.

use crate::client::{Nomad, Request};
use crate::error::NomadError;
use crate::facts::{self, AllocFact, BlockedFact, GroupCount, NodeFact};
use crate::wire;
use fleet::ErrorClass;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Jobs of blocked evaluations that are asked about at one look; what the rest ask for stays open.
const MAX_BLOCKED_JOBS: usize = 50;
/// Allocations that have not ended.
const LIVING: &str = r#"ClientStatus == "pending" or ClientStatus == "running" or ClientStatus == "unknown""#;
/// A namespace that nobody has.
const NOBODYS: &str = "muster-asks-whether-it-may-read-all-namespaces";

/// What does not change: a node until its index moves, a version of a job for as long as the job is not purged.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    nodes: BTreeMap<String, Arc<wire::Node>>,
    jobs: Carried,
}

/// Versions of jobs that allocations carry. More than one of a key where a job was purged while some of it lived, and
/// registered again: its versions begin anew.
type Carried = BTreeMap<JobVersion, Vec<Version>>;

/// Namespace, id, version.
type JobVersion = (String, String, u64);

/// One version of one life of a job.
#[derive(Clone, Debug)]
struct Version {
    job: Arc<wire::Job>,
    /// The index of the newest allocation that was seen to carry it.
    up_to: u64,
}

impl Version {
    /// Whether an allocation of its key carries it for certain: it was created after the job, and not after another one that
    /// carries it.
    fn is_carried_by(&self, alloc: &wire::Alloc) -> bool {
        let life = self.job.create_index..=self.up_to;
        life.contains(&alloc.create_index) && self.job.group(&alloc.task_group).is_some()
    }
}

impl Nomad {
    /// The nodes of the fleet's pool and class, in all states, without what is on them; by id.
    ///
    /// A read. One call, and one more for each node that changed since it was last seen: a quiet cluster costs
    /// one. The token needs `node:read`.
    pub async fn nodes(&self) -> Result<Vec<NodeFact>, NomadError> {
        let nodes = self.wire_nodes().await?;
        Ok(nodes.iter().map(|node| facts::node(node, Vec::new(), &BTreeSet::new())).collect())
    }

    /// The nodes of the fleet's pool and class with all that is on them, by id: enough to say what fits where.
    ///
    /// A read. As [`Nomad::nodes`], one call more, one for each 1,000 allocations, and one for each version of a
    /// job of which an allocation is new. The token needs `node:read`, and `read-job` on all namespaces, whichever
    /// [`crate::Options::namespaces`] are looked at otherwise: a node is empty when nobody's work is on it.
    /// [`NomadError::NotAllNamespaces`]: it has not.
    pub async fn survey(&self) -> Result<Vec<NodeFact>, NomadError> {
        self.must_see_all().await?;
        let nodes = self.wire_nodes().await?;
        let ids: BTreeSet<&str> = nodes.iter().map(|node| &*node.id).collect();
        let query = [("namespace", "*"), ("resources", "true"), ("task_states", "false"), ("filter", LIVING)];
        let request = Request::read("list allocations", &["allocations"], &query);
        let mut allocs: Vec<wire::Alloc> = self.list(&request).await?;
        allocs.retain(|alloc| ids.contains(&*alloc.node_id));
        let jobs = self.jobs_of(&allocs).await?;
        let mut by_node: BTreeMap<&str, Vec<AllocFact>> = BTreeMap::new();
        for alloc in &allocs {
            let fact = facts::alloc(alloc, jobs.get(&*alloc.id).map(|job| &**job));
            by_node.entry(&alloc.node_id).or_default().extend(fact);
        }
        let named = facts::named(by_node.values().flatten());
        let fact =
            |node: &Arc<wire::Node>| facts::node(node, by_node.remove(&*node.id).unwrap_or_default(), &named);
        Ok(nodes.iter().map(fact).collect())
    }

    /// Placements that Nomad cannot make, a fact a group, in order.
    ///
    /// A read, of one call a namespace and one a job that is blocked. Jobs come and go in between: what one asks
    /// for stays open then.
    pub async fn blocked(&self) -> Result<Vec<BlockedFact>, NomadError> {
        let mut evaluations: Vec<wire::Evaluation> = Vec::new();
        for namespace in self.namespaces() {
            let query = [("namespace", namespace), ("status", "blocked")];
            evaluations
                .extend(self.list(&Request::read("list evaluations", &["evaluations"], &query)).await?);
        }
        let mut jobs = BTreeMap::new();
        for evaluation in &evaluations {
            let key = (evaluation.namespace.clone(), evaluation.job_id.clone());
            if jobs.len() >= MAX_BLOCKED_JOBS || jobs.contains_key(&key) {
                continue;
            }
            let (namespace, id) = &key;
            let query = [("namespace", &**namespace)];
            match self.ask::<wire::Job>(&Request::read("read job", &["job", id], &query)).await {
                Ok(job) if !job.stop => drop(jobs.insert(key, job)),
                Ok(_) => {}
                Err(error) if error.class() == ErrorClass::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(facts::blocked(&evaluations, &jobs))
    }

    /// How many there are of each group of a job.
    ///
    /// A read. `NotFound`: there is no such job. The token needs `read-job-scaling` or `read-job`.
    pub async fn group_counts(
        &self,
        namespace: &str,
        job: &str,
    ) -> Result<BTreeMap<String, GroupCount>, NomadError> {
        let query = [("namespace", namespace)];
        let path = ["job", job, "scale"];
        let request = Request::read("read job scale", &path, &query);
        Ok(facts::group_counts(&self.ask::<wire::ScaleStatus>(&request).await?))
    }

    /// Every node of the fleet, whole: asked for where it changed since it was last seen.
    async fn wire_nodes(&self) -> Result<Vec<Arc<wire::Node>>, NomadError> {
        let options = &self.shared.options;
        let stubs: Vec<wire::NodeStub> = self.list(&Request::read("list nodes", &["nodes"], &[])).await?;
        let ours = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let ours = |stub: &wire::NodeStub| {
            ours(&options.node_pool, &stub.node_pool) && ours(&options.node_class, &stub.node_class)
        };
        let mut nodes = BTreeMap::new();
        for stub in stubs.into_iter().filter(ours) {
            let known = self.cache().nodes.get(&stub.id).cloned();
            let known =
                known.filter(|node| node.modify_index == stub.modify_index && node.status == stub.status);
            let node = match known {
                Some(node) => node,
                None => match self.ask(&Request::read("read node", &["node", &stub.id], &[])).await {
                    Ok(node) => Arc::new(node),
                    // It was purged since it was listed.
                    Err(error) if error.class() == ErrorClass::NotFound => continue,
                    Err(error) => return Err(error),
                },
            };
            nodes.insert(stub.id, node);
        }
        self.cache().nodes.clone_from(&nodes);
        Ok(nodes.into_values().collect())
    }

    /// Asks for a namespace that nobody has: the answer is empty where the token may read every namespace, and
    /// denied where it may read some by name. Listing all of them tells nothing: what may not be read is left out.
    ///
    /// One that a rule of its own denies, beside a rule for all, is not found.
    async fn must_see_all(&self) -> Result<(), NomadError> {
        let query = [("namespace", NOBODYS), ("filter", LIVING)];
        let request = Request::read("list allocations", &["allocations"], &query);
        match self.list::<wire::Alloc>(&request).await {
            Ok(_) => Ok(()),
            Err(error) if error.class() == ErrorClass::Denied => {
                Err(NomadError::NotAllNamespaces { denied: Box::new(error) })
            }
            Err(error) => Err(error),
        }
    }

    /// The jobs that these allocations run, by allocation; none for one that was forgotten since it was listed. Asked for where
    /// it is not certain which it is.
    async fn jobs_of<'a>(
        &self,
        allocs: &'a [wire::Alloc],
    ) -> Result<BTreeMap<&'a str, Arc<wire::Job>>, NomadError> {
        let known = self.cache().jobs.clone();
        let (mut carried, mut jobs) = (Carried::new(), BTreeMap::new());
        // The newest first: its answer holds for those before it.
        let mut newest_first: Vec<&wire::Alloc> = allocs.iter().collect();
        newest_first.sort_by_key(|alloc| Reverse(alloc.create_index));
        for alloc in newest_first {
            let key = version(alloc);
            let is_it = |version: &&Version| version.is_carried_by(alloc);
            let found = |all: &Carried| all.get(&key).and_then(|all| all.iter().find(is_it)).cloned();
            let version = if let Some(version) = found(&carried) {
                version
            } else {
                let version = match found(&known) {
                    Some(version) => version,
                    None => match self.job_of(alloc).await? {
                        Some(job) => Version { job: Arc::new(job), up_to: alloc.create_index },
                        None => continue,
                    },
                };
                carried.entry(key).or_default().push(version.clone());
                version
            };
            jobs.insert(&*alloc.id, version.job);
        }
        self.cache().jobs = carried;
        Ok(jobs)
    }

    /// The job as an allocation carries it: the version that it runs, not the newest.
    async fn job_of(&self, alloc: &wire::Alloc) -> Result<Option<wire::Job>, NomadError> {
        let path = ["allocation", &*alloc.id];
        let request = Request::read("read allocation", &path, &[]);
        match self.ask::<wire::Alloc>(&request).await {
            Ok(alloc) => Ok(alloc.job),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn namespaces(&self) -> impl Iterator<Item = &str> {
        let named = &self.shared.options.namespaces;
        let all = named.is_empty().then_some("*");
        all.into_iter().chain(named.iter().map(|name| &**name))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // A panic elsewhere leaves nothing half done in here.
        self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(alloc: &wire::Alloc) -> JobVersion {
    (alloc.namespace.clone(), alloc.job_id.clone(), alloc.job_version.unwrap_or_default())
}
