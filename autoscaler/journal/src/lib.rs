//! autoscaler-journal
