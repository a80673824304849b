//! The daemon's own tasks: each has a name, and its end is told, however it comes.

use std::collections::HashMap;
use std::future::Future;
use tokio::task::{Id, JoinSet};

/// Tasks with names. Dropping this ends them.
#[derive(Debug, Default)]
pub(crate) struct Named {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// The end of a task.
#[derive(Debug)]
pub(crate) struct TaskEnd {
    pub(crate) name: &'static str,
    /// The words of its panic, if it did not end by itself.
    pub(crate) panic: Option<String>,
}

impl Named {
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for the next end; for ever while there is no task.
    pub(crate) async fn next(&mut self) -> TaskEnd {
        let (id, panic) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error.to_string())),
            None => std::future::pending().await,
        };
        TaskEnd { name: self.names.remove(&id).unwrap_or("unknown"), panic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_end_is_told_by_name() {
        let mut tasks = Named::default();
        tasks.spawn("quiet", async {});
        let TaskEnd { name, panic } = tasks.next().await;
        assert_eq!((name, panic), ("quiet", None));
        tasks.spawn("loud", async { panic!("of all things") });
        let TaskEnd { name, panic } = tasks.next().await;
        assert_eq!(name, "loud");
        assert!(panic.expect("its words").contains("of all things"));
    }
}
