//! What a container asks for to rows of the table.

use std::net::IpAddr;

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_table::Row;

use crate::config::Config;
use crate::labels::Request;
use crate::labels::Target;
use crate::names::Names;

/// What a container asks for: its names, and where they point.
///
/// Rows are made when they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Records {
    /// The names.
    names: Names,
    /// Where they point, if not to this host.
    target: Option<Box<Target>>,
    /// TTL, if not the common one.
    ttl: Option<u32>,
    /// Whether there are rows.
    has_rows: bool,
}

// === impl Records ===

impl Records {
    /// Takes a request over.
    pub(crate) fn new(request: &Request, config: &Config) -> Self {
        let points = match &request.target {
            Some(Target::Alias(_)) => true,
            Some(Target::Addresses(addresses)) => !addresses.is_empty(),
            None => !config.host_ips.is_empty(),
        };
        Self {
            names: Names::new(&request.names),
            target: request.target.clone().map(Box::new),
            ttl: request.ttl,
            has_rows: points && !request.names.is_empty(),
        }
    }

    /// The names.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Whether there are rows.
    pub(crate) fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// The rows: each name with each address, or as an alias; and each address
    /// back to the first name that is no wildcard.
    pub(crate) fn rows(&self, config: &Config) -> Vec<Row> {
        let ttl = self.ttl.unwrap_or(config.ttl);
        let (data, addresses) = match self.target.as_deref() {
            Some(Target::Alias(name)) => (vec![Rdata::Cname(name.clone())], &[][..]),
            Some(Target::Addresses(addresses)) => (rdata(addresses), addresses.as_slice()),
            None => (rdata(&config.host_ips), config.host_ips.as_slice()),
        };
        let mut rows = Vec::with_capacity(self.names.len() * data.len());
        for owner in self.names.iter() {
            rows.extend(data.iter().map(|rdata| Row {
                owner: owner.clone(),
                rdata: rdata.clone(),
                ttl,
            }));
        }
        let named = self.names.iter().find(|name| !name.is_wildcard());
        if let Some(name) = named.filter(|_| config.reverse) {
            rows.extend(addresses.iter().map(|&address| Row {
                owner: Name::reverse(address),
                rdata: Rdata::Ptr(name.clone()),
                ttl,
            }));
        }
        rows
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
        let asked = request(&["a.example", "*.b.example"], None);
        assert_eq!(
            lines(&asked, &config()),
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
        assert_eq!(lines(&asked, &config()), ["a.example. 5 A(192.0.2.9)"]);
        let alias = Target::Alias("proxy.example".parse().unwrap());
        let asked = request(&["a.example"], Some(alias));
        assert_eq!(
            lines(&asked, &config()),
            ["a.example. 60 Cname(proxy.example.)"]
        );
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
            lines(&asked, &config).last().map(String::as_str),
            Some("9.2.0.192.in-addr.arpa. 60 Ptr(b.example.)")
        );
        assert_eq!(lines(&request(&["*.example"], None), &config).len(), 2);
    }

    #[test]
    fn without_a_name_or_an_address_there_are_no_rows() {
        let nowhere = Config {
            host_ips: Vec::new(),
            reverse: true,
            ..config()
        };
        let alias = Target::Alias("proxy.example".parse().unwrap());
        for (names, target, config, expected) in [
            (&["a.example"][..], None, config(), true),
            (&[], None, config(), false),
            (&["a.example"], None, nowhere.clone(), false),
            (&["a.example"], Some(alias), nowhere, true),
        ] {
            let records = Records::new(&request(names, target), &config);
            assert_eq!(records.has_rows(), expected);
            assert_eq!(records.rows(&config).is_empty(), !expected);
        }
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

    fn lines(asked: &Request, config: &Config) -> Vec<String> {
        let line = |row: &Row| format!("{} {} {:?}", row.owner, row.ttl, row.rdata);
        let rows = Records::new(asked, config).rows(config);
        rows.iter().map(line).collect()
    }
}
