//! Questions, and the answers to them: the name says which.

use anyhow::Context as _;
use portolan_proto::HEADER_LEN;
use portolan_proto::Rtype;

/// Records of a large answer, and the octets of each.
const LARGE: (usize, usize) = (234, 256);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The address of a name that is asked for once.
    Once,
    /// A TXT RRset of 60,000 octets.
    Large,
    /// The address of a name whose upstreams say nothing.
    Silent,
    /// The address of a name of the hosts file.
    Local,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What was asked for.
    Right,
    /// SERVFAIL.
    Refused,
    /// Anything else.
    Wrong,
}

// === impl Kind ===

impl Kind {
    /// A query for one of its names.
    pub(crate) fn query(self, id: u16, number: u32) -> Vec<u8> {
        let (zone, qtype) = match self {
            Self::Once => ("once", Rtype::A),
            Self::Large => ("large", Rtype::TXT),
            Self::Silent => ("silent", Rtype::A),
            Self::Local => ("local", Rtype::A),
        };
        // RD, one question.
        let mut query = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
        for label in [&format!("n{number}"), zone, "test"] {
            query.push(u8::try_from(label.len()).unwrap_or_default());
            query.extend_from_slice(label.as_bytes());
        }
        query.push(0);
        query.extend_from_slice(&qtype.0.to_be_bytes());
        query.extend_from_slice(&[0, 1]);
        query
    }

    /// Judges what came for a query.
    pub(crate) fn judge(self, number: u32, response: &[u8]) -> Verdict {
        let query = self.query(0, number);
        let question = query.get(HEADER_LEN..).unwrap_or_default();
        let Some([_, _, _, code, _, _, a0, a1]) = response.first_chunk::<8>() else {
            return Verdict::Wrong;
        };
        let answers = usize::from(u16::from_be_bytes([*a0, *a1]));
        let rest = response.get(HEADER_LEN..).unwrap_or_default();
        let Some(records) = rest.strip_prefix(question) else {
            return Verdict::Wrong;
        };
        let is_right = match (code & 0xf, self) {
            (2, _) => return Verdict::Refused,
            (0, Self::Once | Self::Local) => answers == 1 && records.ends_with(&address(number)),
            (0, Self::Large) => answers == LARGE.0 && records.len() > 60_000,
            _ => false,
        };
        if is_right {
            Verdict::Right
        } else {
            Verdict::Wrong
        }
    }
}

/// The address of a name.
pub(crate) fn address(number: u32) -> [u8; 4] {
    let [_, a, b, c] = number.to_be_bytes();
    [10, a, b, c]
}

/// The response of the upstream to a query without an OPT or with one, which
/// is not given back. What is large over UDP is for TCP.
pub(crate) fn respond(query: &[u8], is_stream: bool) -> anyhow::Result<Vec<u8>> {
    let question = question(query).context("a query that cannot be read")?;
    let [.., t0, t1, _, _] = question else {
        anyhow::bail!("no type");
    };
    let qtype = Rtype(u16::from_be_bytes([*t0, *t1]));
    let is_cut = qtype == Rtype::TXT && !is_stream;
    let rdata = match qtype {
        Rtype::A => vec![address(number(question)).to_vec()],
        Rtype::TXT if is_stream => vec![vec![255; LARGE.1]; LARGE.0],
        _ => Vec::new(),
    };
    let mut out = query.get(..2).unwrap_or_default().to_vec();
    // QR, RD and RA, TC if it is cut.
    out.extend_from_slice(&[0x81 | u8::from(is_cut) << 1, 0x80, 0, 1]);
    out.extend_from_slice(&u16::try_from(rdata.len())?.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(question);
    for octets in rdata {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&qtype.0.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0x0e, 0x10]);
        out.extend_from_slice(&u16::try_from(octets.len())?.to_be_bytes());
        out.extend_from_slice(&octets);
    }
    Ok(out)
}

/// The question of a query.
fn question(query: &[u8]) -> Option<&[u8]> {
    let mut end = HEADER_LEN;
    loop {
        let length = usize::from(*query.get(end)?);
        end += 1 + length;
        if length == 0 {
            return query.get(HEADER_LEN..end + 4);
        }
    }
}

/// The number in the first label of a question.
fn number(question: &[u8]) -> u32 {
    let digits = question.iter().skip(2).map_while(|octet| {
        let is_digit = octet.is_ascii_digit();
        is_digit.then(|| u32::from(octet - b'0'))
    });
    digits.fold(0_u32, |number, digit| {
        number.wrapping_mul(10).wrapping_add(digit)
    })
}
