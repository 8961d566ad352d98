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
mod message;
mod name;
mod query;
mod rdata;
mod response;
mod rrset;

pub use code::Class;
pub use code::Ede;
pub use code::Opcode;
pub use code::Rcode;
pub use code::Rtype;
pub use code::UnknownMnemonic;
pub use edns::Edns;
pub use edns::EdnsOptions;
pub use edns::EdnsReply;
pub use edns::OPTION_EDE;
pub use edns::OPTION_TCP_KEEPALIVE;
pub use message::Message;
pub use message::MessageError;
pub use message::Record;
pub use message::Section;
pub use name::MAX_LABEL;
pub use name::MAX_NAME;
pub use name::Name;
pub use name::NameError;
pub use query::Flags;
pub use query::HEADER_LEN;
pub use query::Qname;
pub use query::Query;
pub use query::ReadError;
pub use rdata::Rdata;
pub use response::ResponseHead;
pub use response::ResponseWriter;
pub use response::Soa;
pub use rrset::Rrset;
pub use rrset::rotated;
