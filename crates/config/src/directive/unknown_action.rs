//! What becomes of a name that nobody knows.

/// The answer to a name that no local stage knows and that does not fall
/// through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownAction {
    /// No answer at all, as Joyride has it: the client asks another server.
    Drop,
    /// The name does not exist.
    NxDomain,
    /// The server will not answer.
    Refused,
    /// The name exists and has no record of that type.
    NoData,
    /// The server failed, as CoreDNS's `hosts` has it.
    ServFail,
}

// === impl UnknownAction ===

impl UnknownAction {
    /// Reads the name of an action, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "drop" | "timeout" | "none" => Self::Drop,
            "nxdomain" => Self::NxDomain,
            "refused" => Self::Refused,
            "nodata" => Self::NoData,
            "servfail" => Self::ServFail,
            _ => return None,
        })
    }
}

/// The names of the actions, for messages.
pub(crate) const VALID_ACTIONS: &str = "valid: drop, nxdomain, refused, nodata, servfail";
