//! Nomad, as far as an autoscaler needs it.
