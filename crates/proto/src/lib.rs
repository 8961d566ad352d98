//! DNS names, queries and responses in wire form.
//!
//! The crate reads the one message a server is sent, the query ([`Query`]),
//! and the one it is sent back from elsewhere, the response ([`Message`]); and
//! it writes responses ([`ResponseWriter`]). It does not know sockets, time or
//! where an answer comes from.
//!
//! Everything here takes octets from the network: each function is total,
//! bounded by the length of its input, and returns an error for what it cannot
//! read. The tests hold it against an independent implementation.

#![forbid(unsafe_code)]

mod code;
mod edns;
mod host_name;
mod message;
mod name;
mod ordinary;
mod query;
mod rdata;
mod response;
mod rrset;

pub use code::{Class, Ede, Opcode, Rcode, Rtype, UnknownMnemonic};
pub use edns::{Edns, EdnsOptions, EdnsReply, OPTION_EDE, OPTION_TCP_KEEPALIVE};
pub use host_name::HostNameError;
pub use message::{Message, MessageError, Record, Section};
pub use name::{MAX_LABEL, MAX_NAME, Name, NameError};
pub use ordinary::{Opt, Ordinary};
pub use query::{Flags, HEADER_LEN, Qname, Query, ReadError};
pub use rdata::Rdata;
pub use response::{ResponseHead, ResponseWriter, Soa};
pub use rrset::{Rrset, RrsetRef, rotated};
