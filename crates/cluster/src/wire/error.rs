//! What can be wrong with a message.

/// Why octets are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// The octets end within the message.
    Short,
    /// Octets follow the message.
    Trailing,
    /// The message is of another version of the protocol.
    Protocol,
    /// The kind is not known.
    Kind,
    /// A number is too large, or written in more octets than it needs.
    Number,
    /// A list or a text is longer than it may be.
    TooMuch,
    /// A text or a member's id is none.
    Text,
    /// A record is none.
    Row,
    /// Sources are not in order, or have no records.
    Source,
}

// === impl WireError ===

impl WireError {
    /// The error for people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Short => "message ends too soon",
            Self::Trailing => "octets after the message",
            Self::Protocol => "message of another protocol version",
            Self::Kind => "message of an unknown kind",
            Self::Number => "bad number in a message",
            Self::TooMuch => "too much of something in a message",
            Self::Text => "bad text in a message",
            Self::Row => "bad record in a message",
            Self::Source => "bad source in a message",
        }
    }
}
