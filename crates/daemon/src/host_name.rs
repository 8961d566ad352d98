//! The name of the host itself, beside those of its containers.

use std::net::IpAddr;

use portolan_config as config;
use portolan_proto::{Name, Rdata};
use portolan_table::{Batch, Change, LayerId, Row, Source};

/// What a directive asserts about its host; none if it has no name.
pub(crate) fn batch(
    directive: &config::DockerCluster,
    addresses: &[IpAddr],
    layer: LayerId,
) -> Option<Batch> {
    let name = directive.host_name.as_ref()?;
    let mut rows = Vec::new();
    for &address in addresses {
        let mut add = |owner: Name, rdata: Rdata| {
            rows.push(Row {
                owner,
                rdata,
                ttl: directive.ttl,
            });
        };
        let rdata = match address {
            IpAddr::V4(address) => Rdata::A(address),
            IpAddr::V6(address) => Rdata::Aaaa(address),
        };
        add(name.clone(), rdata);
        if directive.reverse {
            add(Name::reverse(address), Rdata::Ptr(name.clone()));
        }
    }
    let change = Change {
        layer,
        source: Source::Inline,
        rows,
    };
    Some(Batch {
        changes: vec![change],
        published: None,
    })
}
