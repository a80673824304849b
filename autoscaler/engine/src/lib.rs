//! autoscaler-engine
