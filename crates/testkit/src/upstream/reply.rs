//! Replies of the fake upstream.

use portolan_proto::Flags;
use portolan_proto::Name;
use portolan_proto::Rcode;
use portolan_proto::Rtype;

use super::Action;
use super::Received;

/// A reply in the making.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Message id.
    id: u16,
    /// Header flags, without the code.
    flags: u16,
    /// Response code.
    rcode: Rcode,
    /// The question.
    question: Vec<u8>,
    /// The records of each section.
    sections: [Vec<Vec<u8>>; 3],
    /// DO of the OPT, if there is one.
    edns: Option<bool>,
    /// The options of the OPT.
    options: Vec<u8>,
}

// === impl Reply ===

impl Reply {
    /// NOERROR without records, with RA, and an OPT if the query has one.
    pub fn to(query: &Received) -> Self {
        let echoed = query.flags.0 & (Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED);
        Self {
            id: query.id,
            flags: Flags::RESPONSE | Flags::RECURSION_AVAILABLE | echoed,
            rcode: Rcode::NOERROR,
            question: query.question.clone(),
            sections: Default::default(),
            edns: query.edns_payload.map(|_| query.dnssec_ok),
            options: Vec::new(),
        }
    }

    /// With another id.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// With a response code, up to 15.
    #[must_use]
    pub fn rcode(mut self, rcode: Rcode) -> Self {
        self.rcode = rcode;
        self
    }

    /// With more flags set.
    #[must_use]
    pub fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// About another name.
    #[must_use]
    pub fn about(mut self, name: &Name) -> Self {
        let fixed = self.question.split_off(self.question.len() - 4);
        self.question = [name.as_wire(), &fixed].concat();
        self
    }

    /// Without a question.
    #[must_use]
    pub fn without_question(mut self) -> Self {
        self.question.clear();
        self
    }

    /// Without an OPT.
    #[must_use]
    pub fn without_edns(mut self) -> Self {
        self.edns = None;
        self
    }

    /// With an extended error (RFC 8914), shown if there is an OPT.
    #[must_use]
    pub fn ede(mut self, code: u16) -> Self {
        self.options.extend_from_slice(&[0, 15, 0, 2]);
        self.options.extend_from_slice(&code.to_be_bytes());
        self
    }

    /// With the time that the connection may be idle, in units of 100 ms (RFC
    /// 7828); shown if there is an OPT.
    #[must_use]
    pub fn keepalive(mut self, time: u16) -> Self {
        self.options.extend_from_slice(&[0, 11, 0, 2]);
        self.options.extend_from_slice(&time.to_be_bytes());
        self
    }

    /// With an address of the name asked for.
    #[must_use]
    pub fn a(self, address: [u8; 4], ttl: u32) -> Self {
        self.answer(Rtype::A, ttl, &address)
    }

    /// With an answer about the name asked for.
    #[must_use]
    pub fn answer(mut self, rtype: Rtype, ttl: u32, rdata: &[u8]) -> Self {
        self.sections[0].push(record(&[0xc0, 0x0c], rtype, ttl, rdata));
        self
    }

    /// With an answer about another name.
    #[must_use]
    pub fn answer_of(mut self, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) -> Self {
        self.sections[0].push(record(owner.as_wire(), rtype, ttl, rdata));
        self
    }

    /// With a SOA of the name asked for, in the authority section.
    #[must_use]
    pub fn soa(mut self, ttl: u32, minimum: u32) -> Self {
        // MNAME and RNAME are the name asked for.
        let mut rdata = vec![0xc0, 0x0c, 0xc0, 0x0c];
        for field in [1, 7200, 1800, 86400, minimum] {
            rdata.extend_from_slice(&u32::to_be_bytes(field));
        }
        self.sections[1].push(record(&[0xc0, 0x0c], Rtype::SOA, ttl, &rdata));
        self
    }

    /// With an additional record about another name.
    #[must_use]
    pub fn additional(mut self, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) -> Self {
        self.sections[2].push(record(owner.as_wire(), rtype, ttl, rdata));
        self
    }

    /// With TC.
    #[must_use]
    pub fn truncated(self) -> Self {
        self.flags(Flags::TRUNCATED)
    }

    /// The message.
    pub fn build(&self) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        out.extend_from_slice(&(self.flags | self.rcode.0 & 0x0f).to_be_bytes());
        let [answers, authorities, additionals] = &self.sections;
        for count in [
            usize::from(!self.question.is_empty()),
            answers.len(),
            authorities.len(),
            additionals.len() + usize::from(self.edns.is_some()),
        ] {
            out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        }
        out.extend_from_slice(&self.question);
        out.extend(self.sections.iter().flatten().flatten());
        if let Some(dnssec_ok) = self.edns {
            out.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, u8::from(dnssec_ok) << 7, 0]);
            let length = u16::try_from(self.options.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&self.options);
        }
        out
    }

    /// Sends the message.
    pub fn send(&self) -> Action {
        Action::Send(self.build())
    }
}

/// A record in wire form.
fn record(owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(rdata.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(rdata);
    out
}
