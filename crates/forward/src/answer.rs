//! What the server is told about a question.

use std::sync::Arc;

use portolan_proto::Ede;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Rcode;
use portolan_proto::ResponseHead;

/// A response to pass on.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The upstream's message, its TTLs as they are to be sent.
    pub message: Message,
    /// Extended error to add: ours if the answer is stale or a cached
    /// failure, else the upstream's.
    pub ede: Option<Ede>,
    /// Whether AD is set for this client.
    pub authentic_data: bool,
    /// Whether it was known already.
    pub from_cache: bool,
    /// Who gave it, as `address:port`; `None` from the cache.
    pub upstream: Option<Arc<str>>,
}

/// Why there is no response to pass on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the client is told: SERVFAIL or REFUSED.
    pub rcode: Rcode,
    /// Why, for a client that speaks EDNS.
    pub ede: Option<Ede>,
    /// Why, for the log.
    pub message: String,
}

// === impl Answer ===

impl Answer {
    /// Head of the response: the upstream's code and AA, AD where the client
    /// may see it. RA is the upstream's (RFC 5625 §4.1), but where it answers
    /// with authority: this server resolves other names, too.
    pub fn head(&self) -> ResponseHead {
        let flags = self.message.flags();
        let authoritative = flags.has(Flags::AUTHORITATIVE);
        ResponseHead {
            rcode: self.message.rcode(),
            authoritative,
            recursion_available: authoritative || flags.has(Flags::RECURSION_AVAILABLE),
            authentic_data: self.authentic_data,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// No upstream gave an answer.
    pub(crate) fn unreachable(message: String) -> Self {
        Self {
            rcode: Rcode::SERVFAIL,
            ede: Some(Ede::NO_REACHABLE_AUTHORITY),
            message,
        }
    }

    /// Upstreams can be reached, and what they say is of no use (RFC 8914
    /// §4.24).
    pub(crate) fn network(message: String) -> Self {
        Self {
            ede: Some(Ede::NETWORK_ERROR),
            ..Self::unreachable(message)
        }
    }

    /// The question goes round.
    pub(crate) fn looped() -> Self {
        Self::network("forwarding loop: upstreams ask this server what they are asked".into())
    }

    /// Whether the fault is that of upstreams.
    pub(crate) fn is_upstreams(&self) -> bool {
        matches!(
            self.ede,
            Some(Ede::NO_REACHABLE_AUTHORITY | Ede::NETWORK_ERROR)
        )
    }

    /// Too much is asked at once.
    pub(crate) fn overload(maximum: usize) -> Self {
        Self {
            rcode: Rcode::REFUSED,
            ede: None,
            message: format!("concurrent queries exceeded maximum {maximum}"),
        }
    }

    /// A zone transfer is asked for.
    pub(crate) fn transfer() -> Self {
        Self {
            rcode: Rcode::REFUSED,
            ede: None,
            message: "zone transfers are not forwarded".into(),
        }
    }

    /// No stanza is there for the name.
    pub(crate) fn unclaimed() -> Self {
        Self {
            rcode: Rcode::SERVFAIL,
            ede: None,
            message: "no next plugin found".into(),
        }
    }
}
