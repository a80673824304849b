//! What this process holds in memory stays there: it has secrets.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From here on this process leaves no image of its memory behind when it dies, and nobody but root may look into it.
///
/// The limit keeps the kernel from writing a file; that it is not dumpable, from piping one to a handler, which no limit
/// does. What cannot be had is for the log: a node without it is better than none.
pub fn keep() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "could not keep this process's memory to itself");
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "could not forbid core dumps of this process");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn nothing_of_this_process_can_be_dumped() {
        keep();
        assert_eq!(dumpable_behavior().expect("Linux tells"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
