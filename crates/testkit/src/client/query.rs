//! A query in the making.

use std::fmt;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op;
use hickory_proto::op::Edns;
use hickory_proto::op::Message;
use hickory_proto::op::MessageType;
use hickory_proto::op::OpCode;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::Name;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsOption;

/// A query: what to ask, and how.
#[derive(Clone, Debug)]
pub struct Query {
    /// Name to ask for, in the spelling to send.
    name: String,
    /// Type to ask for.
    qtype: RecordType,
    /// Class to ask for.
    qclass: DNSClass,
    /// Message id.
    id: u16,
    /// RD.
    recursion_desired: bool,
    /// CD.
    checking_disabled: bool,
    /// AD.
    authentic_data: bool,
    /// The OPT, if there is to be one.
    edns: Option<Edns>,
}

// === impl Query ===

impl Query {
    /// Class IN, RD set, no EDNS, an id that the queries before did not have.
    pub fn new(name: &str, qtype: RecordType) -> Self {
        Self {
            name: name.to_owned(),
            qtype,
            qclass: DNSClass::IN,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            edns: None,
        }
    }

    /// Takes this id.
    pub fn id(self, id: u16) -> Self {
        Self { id, ..self }
    }

    /// Asks in this class.
    pub fn class(self, qclass: DNSClass) -> Self {
        Self { qclass, ..self }
    }

    /// Sets or clears RD.
    pub fn recursion_desired(self, recursion_desired: bool) -> Self {
        Self {
            recursion_desired,
            ..self
        }
    }

    /// Sets or clears CD.
    pub fn checking_disabled(self, checking_disabled: bool) -> Self {
        Self {
            checking_disabled,
            ..self
        }
    }

    /// Sets or clears AD.
    pub fn authentic_data(self, authentic_data: bool) -> Self {
        Self {
            authentic_data,
            ..self
        }
    }

    /// Adds an OPT that takes `payload` octets over UDP; at least 512 are
    /// sent.
    pub fn edns(self, payload: u16) -> Self {
        self.with_edns(|edns| {
            edns.set_max_payload(payload);
        })
    }

    /// Adds an OPT if there is none, and sets or clears its DO.
    pub fn dnssec_ok(self, dnssec_ok: bool) -> Self {
        self.with_edns(|edns| {
            edns.set_dnssec_ok(dnssec_ok);
        })
    }

    /// Adds an OPT if there is none, and gives it a version.
    pub fn edns_version(self, version: u8) -> Self {
        self.with_edns(|edns| {
            edns.set_version(version);
        })
    }

    /// Adds an OPT if there is none, and an option to it.
    pub fn option(self, code: u16, data: &[u8]) -> Self {
        self.with_edns(|edns| {
            let option = EdnsOption::Unknown(code, data.to_vec());
            edns.options_mut().insert(option);
        })
    }

    /// Changes the OPT.
    fn with_edns(mut self, change: impl FnOnce(&mut Edns)) -> Self {
        let edns = self.edns.get_or_insert_with(|| {
            let mut edns = Edns::new();
            edns.set_max_payload(1232);
            edns
        });
        change(edns);
        self
    }

    /// The octets to send.
    ///
    /// # Errors
    ///
    /// The name is none.
    pub fn encode(&self) -> anyhow::Result<Vec<u8>> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic_data;
        let mut question = op::Query::query(self.owner()?, self.qtype);
        question.set_query_class(self.qclass);
        message.add_query(question);
        message.edns.clone_from(&self.edns);
        message.to_vec().context("encoding a query")
    }

    /// The id.
    pub fn message_id(&self) -> u16 {
        self.id
    }

    /// Refuses a response that has a question other than this one, or this
    /// one in another spelling (RFC 4343, and draft-vixie-dnsext-dns0x20). A
    /// response to what could not be read has none.
    pub(super) fn check_question(&self, response: &Message) -> anyhow::Result<()> {
        let [question] = response.queries.as_slice() else {
            ensure!(
                response.queries.is_empty() && response.answers.is_empty(),
                "not one question: {response:?}"
            );
            return Ok(());
        };
        ensure!(
            question.name.eq_case(&self.owner()?)
                && question.query_type == self.qtype
                && question.query_class == self.qclass,
            "the question is not {self}: {response:?}"
        );
        Ok(())
    }

    /// The name, absolute.
    fn owner(&self) -> anyhow::Result<Name> {
        let mut name =
            Name::from_ascii(&self.name).with_context(|| format!("not a name: {:?}", self.name))?;
        name.set_fqdn(true);
        Ok(name)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.qclass, self.qtype)
    }
}

/// Id of the next query.
static NEXT_ID: AtomicU16 = AtomicU16::new(1);
