//! What a response says, for assertions.

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::Record;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsCode;
use hickory_proto::rr::rdata::opt::EdnsOption;

/// Extended error: the answer is older than its TTL.
pub(super) const STALE_ANSWER: u16 = 3;

/// Extended error: the client may not ask.
pub(super) const PROHIBITED: u16 = 18;

/// Extended error: no upstream answers.
pub(super) const NO_REACHABLE_AUTHORITY: u16 = 22;

/// Extended error: what an upstream says is of no use.
pub(super) const NETWORK_ERROR: u16 = 23;

/// The response code.
pub(super) fn rcode(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

/// The addresses of the answer section, in order.
pub(super) fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(address).collect()
}

/// Addresses from text.
pub(super) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

/// The types of a section, in order.
pub(super) fn types(section: &[Record]) -> Vec<RecordType> {
    section.iter().map(Record::record_type).collect()
}

/// The owner, the TTL and the minimum of the SOA in the authority section.
pub(super) fn soa(message: &Message) -> Option<(String, u32, u32)> {
    message
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some((record.name.to_ascii(), record.ttl, soa.minimum)),
            _ => None,
        })
}

/// The code of the extended error (RFC 8914).
pub(super) fn ede(message: &Message) -> Option<u16> {
    let data = option(message, EdnsCode::Unknown(15))?;
    let (code, _) = data.split_first_chunk::<2>()?;
    Some(u16::from_be_bytes(*code))
}

/// The data of an EDNS option.
pub(super) fn option(message: &Message, code: EdnsCode) -> Option<Vec<u8>> {
    match message.edns.as_ref()?.option(code)? {
        EdnsOption::Unknown(_, data) => Some(data.clone()),
        _ => None,
    }
}

/// The codes of all EDNS options.
pub(super) fn options(message: &Message) -> Vec<u16> {
    let edns = message.edns.as_ref();
    edns.map(|edns| {
        edns.options()
            .as_ref()
            .iter()
            .map(|(code, _)| u16::from(*code))
            .collect()
    })
    .unwrap_or_default()
}

/// The address that a record holds.
fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}
