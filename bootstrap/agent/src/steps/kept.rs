//! Whether what an agent of this node was started from is still there, and it alone: somebody else may have changed its file.
//!
//! Root looks, since the files are others'. Who cannot be asked says nothing against a node that works; but a file that is another
//! one, and nobody to say since when its agent runs, is a restart.

use super::is_done;
use crate::host::{Contents, Done, Request};
use crate::node::Node;
use bootstrap_core::{Entry, Failure, Inputs, Step};
use fleet::Timestamp;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Answers take some milliseconds, where root has nothing else to do; a step is not kept waiting by one who is out of order.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// A file of the `host` block that an agent of this node is started from.
pub(super) struct Kept<'a> {
    /// Whose it is.
    pub step: Step,
    /// Its name there.
    pub file: &'a str,
    /// What it is to hold.
    pub contents: &'a Contents,
    /// The unit that is started from it.
    pub unit: &'a str,
}

/// How it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// As it should be; or there is nobody who could say.
    Ours,
    /// Otherwise, and what runs was started when it was as it should be: writing it again is enough.
    Changed,
    /// Otherwise, and what runs may have been started from that.
    Taken,
}

impl Kept<'_> {
    /// Looks at it. * `inputs`, `last`: of its step, which was done once: what ran then was started from what it should be.
    pub(super) async fn look(&self, node: &Node, inputs: &Inputs, last: Option<&Entry>) -> Found {
        let now = node.clock.wall();
        match compared(node, self.file, &self.contents.0).await {
            Some(Done::Otherwise) => {}
            Some(Done::Unchanged | Done::Changed) => {
                tracing::debug!(file = self.file, "a file is as it should be");
                node.set_kept(self.step, now);
                // Which nobody has to say for this one.
                node.alarm(self.since(now).to_string(), None);
                return Found::Ours;
            }
            None => return Found::Ours,
        }
        let done = last.filter(|last| is_done(last, inputs)).map(|last| last.at);
        let Some(at) = node.kept(self.step).max(done) else { return Found::Taken };
        let ran_on = asked(node, self.since(at)).await == Some(Done::Unchanged);
        tracing::warn!(step = %self.step, file = self.file, ran_on, "somebody has changed a file");
        if ran_on { Found::Changed } else { Found::Taken }
    }

    /// The question whether what runs was started before.
    fn since(&self, at: Timestamp) -> Request {
        Request::StartedBefore { unit: self.unit.to_owned(), at }
    }

    /// Writes it as it should be.
    pub(super) async fn place(&self, node: &Node) -> Result<(), Failure> {
        node.host.ask(Request::Place { file: self.file.to_owned(), contents: self.contents.clone() }).await?;
        Ok(())
    }

    /// Looks at it, and writes it again where that is enough. * returns: whether what runs was started from it.
    pub(super) async fn holds(
        &self,
        node: &Node,
        inputs: &Inputs,
        last: Option<&Entry>,
    ) -> Result<bool, Failure> {
        match self.look(node, inputs, last).await {
            Found::Ours => Ok(true),
            Found::Changed => self.place(node).await.map(|()| true),
            Found::Taken => Ok(false),
        }
    }
}

/// Whether a package is installed as it came; `true` where nobody can say.
pub(super) async fn is_intact(node: &Node, package: &str) -> bool {
    asked(node, Request::Inspect { package: package.to_owned() }).await != Some(Done::Otherwise)
}

/// Whether a file of the `host` block is as it was written; `true` where nobody can say.
pub(super) async fn is_whole(node: &Node, file: &str, contents: &str) -> bool {
    compared(node, file, contents).await != Some(Done::Otherwise)
}

async fn compared(node: &Node, file: &str, contents: &str) -> Option<Done> {
    let sha256 = hex::encode(Sha256::digest(contents.as_bytes()));
    asked(node, Request::Compare { file: file.to_owned(), sha256 }).await
}

/// Asks root something that changes nothing. * returns: its answer; `None`, and an alarm, where there is none.
async fn asked(node: &Node, request: Request) -> Option<Done> {
    let until = node.clock.monotonic() + ANSWERS_WITHIN;
    let question = request.to_string();
    let answer = tokio::select! {
        answer = node.host.ask(request) => answer.map_err(|error| error.to_string()),
        () = node.clock.sleep_until(until) => Err(format!("nobody has answered who was to {question}")),
    };
    let unseen = answer.as_ref().err().map(|why| format!("what runs here could not be looked at: {why}"));
    // Each question has its own: what one finds says nothing of another one.
    node.alarm(question, unseen);
    answer.ok()
}
