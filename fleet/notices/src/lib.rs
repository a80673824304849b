//! What AWS says about instances that are to go, read from the bodies in which it comes: EventBridge's messages
//! and the instance metadata service's documents.
//!
//! Pure and total: a body is text from the network, and whatever it holds, it becomes [`fleet::News`] or a reason
//! why it does not.
