//! What AWS's services say, apart from how they spell it: one tree of values, written and read in EC2's Query
//! protocol, AWS Query, AWS JSON and Smithy RPC v2 CBOR.

mod cbor;
mod data;
mod error;
mod form;
mod json;
mod protocol;
mod xml;

pub(crate) use data::{Data, map};
pub(crate) use error::AwsError;
pub(crate) use form::parse as parse_form;
pub(crate) use protocol::{Answer, Protocol};
