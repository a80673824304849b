//! autoscaler-core
