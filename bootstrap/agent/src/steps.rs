//! The steps of the boot: how each is looked at and made so.

mod awx;
mod configuration;
mod consul;
mod identity;
mod kept;
mod monitoring;
mod nomad;
mod patience;
mod ready;
mod registry;
mod reloads;
mod time;
mod vault;

pub use awx::COMPLETIONS;
pub(crate) use awx::reads as reads_awx;
pub use configuration::{Said, read_files};
pub(crate) use configuration::{keys_in as tag_keys, reads as reads_said};
pub use consul::{Consul, Health};
pub(crate) use consul::{reads as reads_consul, register_again};
pub(crate) use identity::reads as reads_kept;
pub(crate) use monitoring::reads as reads_exporter;
pub(crate) use nomad::reads as reads_nomad;
pub use nomad::{NomadClient, configuration as nomad_configuration};
pub(crate) use nomad::{fit_drain, withhold};
pub use ready::{READY, is_ready};
pub(crate) use ready::{has_served, withdraw};
pub(crate) use registry::reads as reads_registry;
pub use registry::try_manifest;
pub use vault::stop as stop_vault;
pub(crate) use vault::{Held, keep as keep_secrets};

use crate::drive::{Looked, Made, Notes};
use crate::node::Node;
use bootstrap_core::{Entry, Failure, Inputs, Phase, Step};
use fleet::ErrorClass;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Looks at a step.
pub(crate) async fn check(node: &Node, step: Step, last: Option<Entry>) -> Looked {
    match step {
        Step::Identity => identity::check(node).await,
        Step::Time => time::check(node).await,
        Step::Configuration => configuration::check(node, last.as_ref()).await,
        Step::Vault => vault::check(node).await,
        Step::Awx => awx::check(node, last.as_ref()),
        Step::Monitoring => monitoring::check(node, last).await,
        Step::Consul => consul::check(node, last).await,
        Step::Nomad => nomad::check(node, last).await,
        Step::Ready => ready::check(node, last.as_ref()).await,
    }
}

/// Makes a step so.
pub(crate) async fn apply(node: &Node, step: Step, last: Option<Entry>, notes: Notes) -> Made {
    match step {
        Step::Identity | Step::Configuration => Err(nothing_to_apply(step)),
        Step::Time => time::apply(node).await,
        Step::Vault => vault::apply(node).await,
        Step::Awx => awx::apply(node, last, notes).await,
        Step::Monitoring => monitoring::apply(node).await,
        Step::Consul => consul::apply(node, last, notes).await,
        Step::Nomad => nomad::apply(node, last, notes).await,
        Step::Ready => ready::apply(node, last.as_ref()).await,
    }
}

/// Those are looked at alone: what they need is not theirs to make.
fn nothing_to_apply(step: Step) -> Failure {
    Failure::lasting(ErrorClass::Malformed, format_args!("{step} is never applied"))
}

/// A digest of what a step's outcome depends on.
fn inputs_of(of: &impl Serialize) -> Inputs {
    // What is serialised here has text keys and no floats that are none.
    let text = serde_json::to_vec(of).unwrap_or_default();
    Inputs::new(hex::encode(Sha256::digest(&text)))
}

/// Whether what runs was made of these inputs: by this process, or by one before it that saw it through.
fn is_ours_already(node: &Node, step: Step, inputs: &Inputs, last: Option<&Entry>) -> bool {
    last.is_some_and(|last| is_done(last, inputs)) || node.is_applied(step, inputs)
}

/// Whether a step was seen through with these inputs.
fn is_done(last: &Entry, inputs: &Inputs) -> bool {
    last.phase == Phase::Done && last.inputs == *inputs
}

/// Whether the state on disk is this instance's: the note says so once another's was removed.
fn is_own_state(last: Option<&Entry>) -> bool {
    last.and_then(|last| last.note.as_deref()) == Some(OWN)
}

/// Whether a failure says nothing against the node: whoever its agent speaks to is away, or overloaded.
fn is_of_servers(failure: &Failure) -> bool {
    matches!(failure.class, ErrorClass::Transient | ErrorClass::Throttled { .. } | ErrorClass::Unclear)
}

/// The note of a step whose agent keeps state, once that is this instance's own.
const OWN: &str = "own";

/// A step's settings, which stand while it is wanted.
fn wanted<T>(settings: Option<T>, step: Step) -> Result<T, Failure> {
    settings.ok_or_else(|| Failure::new(ErrorClass::Conflict, format_args!("{step} is not wanted any more")))
}

/// What is ours to say, over what the operator's extra says: objects are joined, anything else is replaced.
///
/// * `extra`: a JSON object as a text, which the configuration has seen to.
fn merged(extra: Option<&str>, ours: Value) -> Value {
    let mut whole =
        extra.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| Value::Object(Map::new()));
    overlay(&mut whole, ours);
    whole
}

fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                overlay(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_ours_stands_over_the_operators_extra() {
        let extra = r#"{"client": {"options": {"a": "b"}, "enabled": false}, "log_level": "debug"}"#;
        let ours = json!({"client": {"enabled": true}, "name": "i-1"});
        let whole = json!({
            "client": {"options": {"a": "b"}, "enabled": true}, "log_level": "debug", "name": "i-1",
        });
        assert_eq!(merged(Some(extra), ours.clone()), whole);
        assert_eq!(merged(None, ours.clone()), ours);
    }
}
