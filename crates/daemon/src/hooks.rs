//! From the server's events to the `log` and `errors` directives.

use portolan_config as config;
use portolan_proto::{Message, Name, Query, Rcode, Rtype, Section};
use portolan_server::{ErrorLog, Event, QueryLog, Transport};
use portolan_telemetry::errors::{ErrorReporter, Failure};
use portolan_telemetry::query_log;
use portolan_telemetry::query_log::{QueryRecord, ResponseClass, ResponseType, Template};

/// The `log` directives of a server block.
pub(crate) struct Log {
    /// The first rule that is about a name decides.
    rules: Vec<LogRule>,
}

/// One `log` directive.
struct LogRule {
    /// Names it is about, with all below them.
    names: Vec<Name>,
    /// Its line.
    template: Template,
    /// The responses it is for; none for all.
    classes: Vec<ResponseClass>,
}

/// The `errors` directive of a server block.
pub(crate) struct Errors(pub(crate) std::sync::Arc<ErrorReporter>);

// === impl Log ===

impl Log {
    /// Reads the configuration.
    pub(crate) fn new<'a>(rules: impl IntoIterator<Item = &'a config::LogRule>) -> Self {
        let rules = rules
            .into_iter()
            .map(|rule| LogRule {
                names: rule.names.clone(),
                template: Template::parse(&rule.format),
                classes: classes(rule),
            })
            .collect();
        Self { rules }
    }
}

impl QueryLog for Log {
    fn log(&self, event: &Event<'_>) {
        let qname = &event.query.qname;
        let about = |rule: &&LogRule| rule.names.iter().any(|name| qname.is_within(name));
        let Some(rule) = self.rules.iter().find(about) else {
            return;
        };
        let response = response_type(event);
        if rule.classes.is_empty() || rule.classes.contains(&response.class()) {
            emit(&rule.template, event, response);
        }
    }
}

/// The classes that a rule is for, none meaning all.
fn classes(rule: &config::LogRule) -> Vec<ResponseClass> {
    if rule.classes.contains(&config::ResponseClass::All) {
        return Vec::new();
    }
    rule.classes
        .iter()
        .filter_map(|class| match class {
            config::ResponseClass::All => None,
            config::ResponseClass::Success => Some(ResponseClass::Success),
            config::ResponseClass::Denial => Some(ResponseClass::Denial),
            config::ResponseClass::Error => Some(ResponseClass::Error),
        })
        .collect()
}

/// What kind of response an event is about.
fn response_type(event: &Event<'_>) -> ResponseType {
    let message = Message::parse(event.response.to_vec()).ok();
    let has = |section: Section, rtype: Option<Rtype>| {
        message.as_ref().is_some_and(|message| {
            message.records().any(|record| {
                record.section == section && rtype.is_none_or(|rtype| record.rtype == rtype)
            })
        })
    };
    ResponseType::of(
        event.rcode.map(|rcode| rcode.0),
        has(Section::Answer, None),
        has(Section::Authority, Some(Rtype::SOA)),
        has(Section::Authority, Some(Rtype::NS)),
    )
}

/// Logs one query.
fn emit(template: &Template, event: &Event<'_>, response: ResponseType) {
    let query = event.query;
    let (name, qtype, qclass) = (
        query.qname.to_string(),
        query.qtype.to_string(),
        query.qclass.to_string(),
    );
    let rcode = event.rcode.map(|rcode| rcode.to_string());
    let flags = event.flags.to_string();
    let bufsize = match event.transport {
        Transport::Udp => query.edns.map_or(512, |edns| edns.udp_payload.max(512)),
        Transport::Tcp => u16::MAX,
    };
    let record = QueryRecord {
        client: event.client,
        local: event.local,
        id: query.id,
        qtype: &qtype,
        qclass: &qclass,
        name: &name,
        proto: event.transport.as_str(),
        size: query.size,
        dnssec_ok: query.dnssec_ok(),
        bufsize,
        opcode: query.flags.opcode().0,
        rcode: rcode.as_deref(),
        flags: &flags,
        response_size: event.response.len(),
        duration: event.duration,
        response,
        plugin: Some(event.plugin).filter(|plugin| !plugin.is_empty()),
        upstream: event.upstream,
    };
    query_log::emit(template, &record);
}

// === impl Errors ===

impl ErrorLog for Errors {
    fn report(&self, query: &Query<'_>, rcode: Rcode, reason: &str) {
        self.0.report(&Failure {
            rcode: rcode.0,
            name: &query.qname.to_string(),
            qtype: &query.qtype.to_string(),
            text: reason,
        });
    }
}
