//! The `log` directive: one line for each query.
//!
//! [`Template`] is the FORMAT of the directive, parsed once; rendering it over a
//! [`QueryRecord`] gives the text of a line. [`emit`] logs that text together
//! with the record as typed fields, so that the JSON form of the log can be
//! searched without parsing the text. Which queries are logged at all is decided
//! by the caller.

mod record;
mod template;

#[cfg(test)]
mod tests;

use tracing::{Level, enabled, info};

use crate::log::QUERY_TARGET;

pub use self::record::{QueryRecord, ResponseClass, ResponseType};
pub use self::template::{COMBINED, COMMON, Template};

/// Logs `record`, with the text that `template` gives it.
pub fn emit(template: &Template, record: &QueryRecord<'_>) {
    if !enabled!(target: QUERY_TARGET, Level::INFO) {
        return;
    }
    info!(
        target: QUERY_TARGET,
        client_ip = %record.client.ip().to_canonical(),
        client_port = record.client.port(),
        qname = record.name,
        qtype = record.qtype,
        qclass = record.qclass,
        proto = record.proto,
        id = record.id,
        opcode = record.opcode,
        size = record.size,
        dnssec_ok = record.dnssec_ok,
        bufsize = record.bufsize,
        // The JSON form turns the empty rcode of a dropped query into null.
        rcode = record.rcode.unwrap_or_default(),
        rflags = record.flags,
        response_size = record.response_size,
        duration_seconds = record.duration.as_secs_f64(),
        plugin = record.plugin,
        upstream = record.upstream,
        "{}",
        template.render(record),
    );
}
