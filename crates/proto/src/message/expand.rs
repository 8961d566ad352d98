//! Record data without compression, for a record that moves to another
//! message.

use super::{Record, read_name};
use crate::Rtype;

impl Record<'_> {
    /// The data with its names spelled out. Only the types of RFC 1035 (and
    /// SRV, which early senders compressed) may hold compressed names
    /// (RFC 3597 §4); the data of other types is what was sent. `None` if a
    /// name cannot be read.
    pub fn expanded_rdata(&self) -> Option<Vec<u8>> {
        let rdata = self.rdata();
        let (before, names) = match self.rtype {
            Rtype::CNAME | Rtype::NS | Rtype::PTR | Rtype::DNAME => (0, 1),
            Rtype::MX => (2, 1),
            Rtype::SRV => (6, 1),
            Rtype::SOA => (0, 2),
            _ => return Some(rdata.to_vec()),
        };
        let mut expanded = rdata.get(..before)?.to_vec();
        let mut at = self.rdata_at + before;
        for _ in 0..names {
            expanded.extend_from_slice(read_name(self.message, at)?.as_wire());
            at = crate::query::skip_name(self.message, at)?;
        }
        expanded.extend_from_slice(self.message.get(at..self.end)?);
        Some(expanded)
    }
}

#[cfg(test)]
mod tests {
    use crate::Message;

    #[test]
    fn compressed_names_are_spelled_out() {
        // `a.` MX 10 a., with the exchange compressed; SOA with two pointers.
        let mut wire = b"\0\x01\x80\0\0\x01\0\x01\0\x01\0\0\x01a\0\0\x0f\0\x01".to_vec();
        wire.extend_from_slice(b"\xc0\x0c\0\x0f\0\x01\0\0\0\x3c\0\x04\0\x0a\xc0\x0c");
        wire.extend_from_slice(b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x18\xc0\x0c\xc0\x0c");
        wire.extend_from_slice(&[7; 20]);
        let message = Message::parse(wire).unwrap();
        let data: Vec<_> = message
            .records()
            .map(|r| r.expanded_rdata().unwrap())
            .collect();
        assert_eq!(data[0], b"\0\x0a\x01a\0");
        assert_eq!(data[1], [b"\x01a\0\x01a\0".as_slice(), &[7; 20]].concat());
    }
}
