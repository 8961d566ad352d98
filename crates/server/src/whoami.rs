//! The `whoami` directive: who the server thinks the client is.

use std::net::IpAddr;
use std::net::SocketAddr;

use portolan_proto::Name;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::Rdata;
use portolan_proto::ResponseWriter;
use portolan_proto::Rrset;
use portolan_proto::Rtype;
use portolan_proto::Section;

use crate::Transport;
use crate::writer::Frame;

/// Answers any question with the address and the port of the client, in the
/// additional section, with TTL 0.
pub(crate) fn respond(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    frame: &Frame<'_>,
    client: SocketAddr,
    transport: Transport,
) {
    let edns = frame.edns();
    let mut writer = ResponseWriter::new(
        out,
        query,
        frame.head(Rcode::NOERROR, true),
        frame.limit,
        &edns,
    );
    let address = match client.ip() {
        IpAddr::V4(v4) => Rdata::A(v4),
        IpAddr::V6(v6) => Rdata::Aaaa(v6),
    };
    if let Some(set) = Rrset::encode([&address], 0) {
        writer.record(Section::Additional, ResponseWriter::QNAME, set.record(0));
    }
    if let Some(owner) = service_name(query, transport) {
        // RFC 2782: priority, weight, port, target; the target is the root.
        let [p0, p1] = client.port().to_be_bytes();
        writer.named_record(
            Section::Additional,
            &owner,
            Rtype::SRV,
            0,
            &[0, 0, 0, 0, p0, p1, 0],
        );
    }
    writer.finish(query, Rcode::NOERROR, &edns);
}

/// `_udp.` or `_tcp.` and the query name, unless that is too long.
fn service_name(query: &Query<'_>, transport: Transport) -> Option<Name> {
    let label: &[u8] = match transport {
        Transport::Udp => b"\x04_udp",
        Transport::Tcp => b"\x04_tcp",
    };
    Name::from_wire(&[label, query.qname.as_wire()].concat()).ok()
}
