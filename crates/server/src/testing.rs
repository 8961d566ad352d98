//! What the tests of this crate share.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use portolan_proto::Class;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::Rdata;
use portolan_proto::Rtype;
use portolan_table::Builder;
use portolan_table::Change;
use portolan_table::LayerId;
use portolan_table::LayerOptions;
use portolan_table::Row;
use portolan_table::Source;
use portolan_table::Table;
use prometheus::Registry;

use crate::Block;
use crate::ErrorLog;
use crate::Fallthrough;
use crate::Families;
use crate::Hooks;
use crate::LocalLayer;
use crate::Routing;
use crate::Transport;
use crate::UnknownAction;
use crate::handle;
use crate::handle::Received;
use crate::handle::Shared;
use crate::handle::Step;
use crate::rotation::Rotation;
use crate::udp::now;

/// An error log that keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Errors(Mutex<Vec<String>>);

/// A query as a stub resolver sends it: RD set, no EDNS, id 7, the name in
/// the case given.
pub(crate) fn query(name: &str, qtype: Rtype) -> Vec<u8> {
    query_of(name, qtype, Class::IN, &[])
}

/// A query in a class, with an OPT if `opt` has its octets from the type on.
pub(crate) fn query_of(name: &str, qtype: Rtype, class: Class, opt: &[u8]) -> Vec<u8> {
    let mut out = b"\0\x07\x01\0\0\x01\0\0\0\0\0".to_vec();
    out.push(u8::from(!opt.is_empty()));
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&qtype.0.to_be_bytes());
    out.extend_from_slice(&class.0.to_be_bytes());
    if !opt.is_empty() {
        out.push(0);
        out.extend_from_slice(opt);
    }
    out
}

/// A name.
pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// An IPv4 address record of 192.0.2.0/24.
pub(crate) fn a(last: u8) -> Rdata {
    Rdata::A(Ipv4Addr::new(192, 0, 2, last))
}

/// An alias.
pub(crate) fn cname(target: &str) -> Rdata {
    Rdata::Cname(name(target))
}

/// A table of rows: layer, owner, data.
pub(crate) fn table(rows: &[(u16, &str, Rdata)]) -> Arc<Table> {
    let table = Arc::new(Table::new());
    let mut builder = Builder::new(Arc::clone(&table));
    for layer in 0..=rows.iter().map(|row| row.0).max().unwrap_or(0) {
        builder.add_layer(LayerId(layer), LayerOptions::default());
        let of_layer = rows.iter().filter(|row| row.0 == layer);
        let rows = of_layer
            .map(|(_, owner, rdata)| Row {
                owner: name(owner),
                rdata: rdata.clone(),
                ttl: 60,
            })
            .collect();
        builder.apply(Change {
            layer: LayerId(layer),
            source: Source::Inline,
            rows,
        });
    }
    builder.publish();
    table
}

/// A layer for all names that lets nothing pass and denies what is unknown.
pub(crate) fn layer(id: u16) -> LocalLayer {
    LocalLayer {
        layer: LayerId(id),
        plugin: "hosts",
        zones: vec![Name::root()],
        fallthrough: Fallthrough::Never,
        fallthrough_unsupported: false,
        unknown: UnknownAction::NxDomain,
        unknown_ptr_falls_through: false,
        negative_ttl: 30,
    }
}

/// A block of local layers alone.
pub(crate) fn block(local: Vec<LocalLayer>) -> Block {
    Block {
        zone: Name::root(),
        local,
        resolver: None,
        whoami: false,
        loadbalance: None,
        hooks: Hooks::default(),
    }
}

/// Routes every name to one block.
pub(crate) fn routing(block: Block) -> Routing {
    Routing::new([(Name::root(), Arc::new(block))], None)
}

/// What listeners share, around a table.
pub(crate) fn shared(table: Arc<Table>) -> Shared {
    let families = Families::register(&Registry::new()).unwrap();
    Shared {
        table,
        families,
        rotation: Rotation::default(),
    }
}

/// A message from 127.0.0.1 port 4000.
pub(crate) fn received(message: &[u8], transport: Transport) -> Received<'_> {
    Received {
        message,
        client: SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)),
        local: SocketAddr::from((Ipv4Addr::LOCALHOST, 54)),
        transport,
        tcp_idle: 100,
        now: now(),
    }
}

/// The octets of the response to a message; `None` for silence.
pub(crate) fn answer(shared: &Shared, routing: &Routing, message: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match handle::handle(
        shared,
        routing,
        &shared.table.load(),
        &received(message, Transport::Udp),
        &mut out,
        &mut None,
        None,
    ) {
        Step::Respond => Some(out),
        Step::Silent => None,
        Step::Resolve(pending) => panic!("an upstream is to be asked: {pending:?}"),
    }
}

/// The response to a query for a name and a type.
pub(crate) fn ask(shared: &Shared, routing: &Routing, name: &str, qtype: Rtype) -> Option<Message> {
    let octets = answer(shared, routing, &query(name, qtype))?;
    Some(Message::parse(octets).unwrap())
}

// === impl Errors ===

impl Errors {
    /// What it was told.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl ErrorLog for Errors {
    fn report(&self, query: &Query<'_>, rcode: Rcode, reason: &str) {
        self.0.lock().unwrap().push(format!(
            "{} {}: {rcode}: {reason}",
            query.qname, query.qtype
        ));
    }
}
