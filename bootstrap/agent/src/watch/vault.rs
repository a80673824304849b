//! The token of Vault and the secrets, renewed in their own time.

use crate::node::Node;
use crate::steps;
use std::sync::Arc;

/// Keeps until it is dropped.
pub(super) async fn keep(node: Arc<Node>) {
    loop {
        let pause = steps::keep_secrets(&node).await;
        node.clock.sleep_until(node.clock.monotonic() + pause).await;
    }
}
