//! The OPT pseudo-record (RFC 6891).

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

// === impl EdnsOptions ===

impl<'a> EdnsOptions<'a> {
    /// Takes options in wire form; `None` unless their lengths add up.
    fn read(rdata: &'a [u8]) -> Option<Self> {
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
