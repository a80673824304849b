//! fleet-cloud
