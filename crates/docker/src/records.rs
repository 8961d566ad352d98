//! What a container asks for to rows of the table.

use std::net::IpAddr;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_table::Row;

use crate::config::Config;
use crate::labels::Request;
use crate::labels::Target;

/// The names of a container and the rows they amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Records {
    /// Names, for people.
    pub(crate) names: Vec<Name>,
    /// Rows.
    pub(crate) rows: Vec<Row>,
}

// === impl Records ===

impl Records {
    /// Turns a request into rows: each name with each address, or as an alias;
    /// and each address back to the first name that is no wildcard.
    pub(crate) fn new(request: Request, config: &Config) -> Self {
        let ttl = request.ttl.unwrap_or(config.ttl);
        let data = match &request.target {
            Some(Target::Alias(name)) => vec![Rdata::Cname(name.clone())],
            Some(Target::Addresses(addresses)) => rdata(addresses),
            None => rdata(&config.host_ips),
        };
        let addresses = match &request.target {
            Some(Target::Alias(_)) => &[],
            Some(Target::Addresses(addresses)) => addresses.as_slice(),
            None => config.host_ips.as_slice(),
        };
        let mut rows = Vec::with_capacity(request.names.len() * data.len());
        for owner in &request.names {
            rows.extend(data.iter().map(|rdata| Row {
                owner: owner.clone(),
                rdata: rdata.clone(),
                ttl,
            }));
        }
        let named = request.names.iter().find(|name| !name.is_wildcard());
        if let Some(name) = named.filter(|_| config.reverse) {
            rows.extend(addresses.iter().map(|&address| Row {
                owner: Name::reverse(address),
                rdata: Rdata::Ptr(name.clone()),
                ttl,
            }));
        }
        Self {
            names: request.names,
            rows,
        }
    }
}

/// Addresses as record data.
fn rdata(addresses: &[IpAddr]) -> Vec<Rdata> {
    addresses.iter().copied().map(Rdata::from).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portolan_table::LayerId;

    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn each_name_points_to_each_host_address() {
        let records = Records::new(request(&["a.example", "*.b.example"], None), &config());
        assert_eq!(
            lines(&records),
            [
                "a.example. 60 A(192.0.2.1)",
                "a.example. 60 Aaaa(2001:db8::1)",
                "*.b.example. 60 A(192.0.2.1)",
                "*.b.example. 60 Aaaa(2001:db8::1)",
            ]
        );
    }

    #[test]
    fn own_target_and_ttl_win() {
        let target = Target::Addresses(vec!["192.0.2.9".parse().unwrap()]);
        let mut asked = request(&["a.example"], Some(target));
        asked.ttl = Some(5);
        assert_eq!(
            lines(&Records::new(asked, &config())),
            ["a.example. 5 A(192.0.2.9)"]
        );
        let alias = Target::Alias("proxy.example".parse().unwrap());
        let records = Records::new(request(&["a.example"], Some(alias)), &config());
        assert_eq!(lines(&records), ["a.example. 60 Cname(proxy.example.)"]);
    }

    #[test]
    fn reverse_records_lead_to_the_first_plain_name() {
        let config = Config {
            reverse: true,
            ..config()
        };
        let target = Target::Addresses(vec!["192.0.2.9".parse().unwrap()]);
        let asked = request(&["*.example", "b.example", "c.example"], Some(target));
        assert_eq!(
            lines(&Records::new(asked, &config))
                .last()
                .map(String::as_str),
            Some("9.2.0.192.in-addr.arpa. 60 Ptr(b.example.)")
        );
        let only_wildcard = Records::new(request(&["*.example"], None), &config);
        assert_eq!(only_wildcard.rows.len(), 2);
    }

    fn config() -> Config {
        let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let endpoint = Endpoint::Unix("/run/docker.sock".into());
        Config::new(LayerId(1), Arc::from("m"), endpoint, addresses)
    }

    fn request(names: &[&str], target: Option<Target>) -> Request {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        Request {
            names,
            target,
            ..Request::default()
        }
    }

    fn lines(records: &Records) -> Vec<String> {
        let line = |row: &Row| format!("{} {} {:?}", row.owner, row.ttl, row.rdata);
        records.rows.iter().map(line).collect()
    }
}
