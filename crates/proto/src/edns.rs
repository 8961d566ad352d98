//! The OPT pseudo-record (RFC 6891).

use crate::{Ede, Rcode, Rtype};

/// Option code of edns-tcp-keepalive (RFC 7828 §3.1).
pub const OPTION_TCP_KEEPALIVE: u16 = 11;

/// Option code of an extended DNS error (RFC 8914 §2).
pub const OPTION_EDE: u16 = 15;

/// What an OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// Largest UDP payload its sender can take, as sent; 0 to 65535 octets.
    pub udp_payload: u16,
    /// Upper eight bits of the extended RCODE.
    pub extended_rcode: u8,
    /// EDNS version.
    pub version: u8,
    /// The DO bit: the sender wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
    /// The options, known to be well-formed.
    pub options: EdnsOptions<'a>,
}

/// What the OPT of a response says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdnsReply<'a> {
    /// Largest UDP payload this server takes, in octets.
    pub udp_payload: u16,
    /// Extended error and its text, at most 255 octets of it.
    pub ede: Option<(Ede, &'a str)>,
    /// Idle time of the connection in units of 100 ms (RFC 7828 §3.1).
    pub tcp_keepalive: Option<u16>,
}

/// The options of an OPT record, in wire form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdnsOptions<'a>(&'a [u8]);

// === impl Edns ===

impl<'a> Edns<'a> {
    /// Reads the class, TTL and data of an OPT record; `None` if the options
    /// are malformed.
    pub(crate) fn read(class: u16, ttl: u32, rdata: &'a [u8]) -> Option<Self> {
        let [extended_rcode, version, high, _] = ttl.to_be_bytes();
        Some(Self {
            udp_payload: class,
            extended_rcode,
            version,
            dnssec_ok: high & 0x80 != 0,
            options: EdnsOptions::read(rdata)?,
        })
    }
}

// === impl EdnsReply ===

impl EdnsReply<'_> {
    /// This, without the text of the error if the OPT has to do with `room`
    /// octets and cannot.
    pub(crate) fn fitted(&self, room: usize) -> Self {
        if self.wire_len() <= room {
            return *self;
        }
        Self {
            ede: self.ede.map(|(ede, _)| (ede, "")),
            ..*self
        }
    }

    /// Octets of the OPT.
    pub(crate) fn wire_len(&self) -> usize {
        let ede = self.ede.map_or(0, |(_, text)| 6 + ede_text(text).len());
        11 + ede + self.tcp_keepalive.map_or(0, |_| 6)
    }

    /// Appends the OPT.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>, rcode: Rcode, dnssec_ok: bool) {
        out.push(0);
        out.extend_from_slice(&Rtype::OPT.0.to_be_bytes());
        out.extend_from_slice(&self.udp_payload.to_be_bytes());
        // RFC 6891 §6.1.3: upper bits of the RCODE, version 0, DO, zero. The
        // DO bit is echoed (RFC 3225 §3).
        out.push(u8::try_from(rcode.0 >> 4 & 0xff).unwrap_or(0));
        out.extend_from_slice(&[0, u8::from(dnssec_ok) << 7, 0]);
        let length = u16::try_from(self.wire_len() - 11).unwrap_or(0);
        out.extend_from_slice(&length.to_be_bytes());
        if let Some(timeout) = self.tcp_keepalive {
            out.extend_from_slice(&OPTION_TCP_KEEPALIVE.to_be_bytes());
            out.extend_from_slice(&[0, 2]);
            out.extend_from_slice(&timeout.to_be_bytes());
        }
        if let Some((ede, text)) = self.ede {
            let text = ede_text(text);
            out.extend_from_slice(&OPTION_EDE.to_be_bytes());
            let length = u16::try_from(2 + text.len()).unwrap_or(2);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&ede.0.to_be_bytes());
            out.extend_from_slice(text);
        }
    }
}

// === impl EdnsOptions ===

impl<'a> EdnsOptions<'a> {
    /// Takes options in wire form; `None` unless their lengths add up.
    pub(crate) fn read(rdata: &'a [u8]) -> Option<Self> {
        let mut rest = rdata;
        while !rest.is_empty() {
            rest = split_option(rest)?.2;
        }
        Some(Self(rdata))
    }

    /// The options as code and data.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (code, data, tail) = split_option(rest)?;
            rest = tail;
            Some((code, data))
        })
    }

    /// The data of the first option with a code.
    pub fn find(self, code: u16) -> Option<&'a [u8]> {
        self.iter()
            .find(|(found, _)| *found == code)
            .map(|(_, data)| data)
    }
}

/// Splits the first option off: code, data, rest.
fn split_option(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, tail) = octets.split_first_chunk::<4>()?;
    let [c0, c1, l0, l1] = *head;
    let (data, rest) = tail.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    Some((u16::from_be_bytes([c0, c1]), data, rest))
}

/// As much of an error text as is sent, in whole characters (RFC 8914 §2: it
/// is UTF-8).
fn ede_text(text: &str) -> &[u8] {
    let (head, _) = text.split_at(text.floor_char_boundary(MAX_EDE_TEXT));
    head.as_bytes()
}

/// Most octets of the text of an extended error.
const MAX_EDE_TEXT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_by_code() {
        let rdata = [0, 10, 0, 2, 7, 7, 0, 11, 0, 0];
        let options = EdnsOptions::read(&rdata).unwrap();
        assert_eq!(options.find(10), Some(&[7, 7][..]));
        assert_eq!(options.find(OPTION_TCP_KEEPALIVE), Some(&[][..]));
        assert_eq!(options.find(3), None);
    }

    #[test]
    fn options_whose_lengths_do_not_add_up_are_refused() {
        for rdata in [&[0u8][..], &[0, 10, 0], &[0, 10, 0, 2, 7]] {
            assert_eq!(EdnsOptions::read(rdata), None, "{rdata:?}");
        }
    }
}
