//! A node by itself: its metadata service, its clock, and what watches over it.

mod imds;
mod standin;
mod time;
mod watch;
