//! Who leads when several autoscalers run, without I/O.
