//! fleet-aws
