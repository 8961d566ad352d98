//! The zones that are asked about, and the servers that have them.

use super::super::knot::Knot;
use super::super::knot::Signing;
use super::super::knot::Zone;

/// Zones that have the records of `zone.txt`, and how each is signed. Of the
/// last one, resolvers are told a key that is not its own.
pub(super) const ZONES: [(&str, Signing); 4] = [
    ("plain.test", Signing::None),
    ("signed.test", Signing::Nsec),
    ("hashed.test", Signing::Nsec3),
    ("bogus.test", Signing::Nsec),
];

/// The zones that resolvers verify.
const SECURE: [&str; 2] = ["signed.test", "hashed.test"];

/// What each of them has.
const RECORDS: &str = include_str!("zone.txt");

/// The root, from which all else hangs.
const ROOT: &str = "\
$TTL 2400
@ SOA a.root.test. hostmaster.root.test. 1 3600 600 86400 900
@ NS a.root.test.
a.root.test. A 127.0.0.1
text.root.test. TXT \"not in a zone of its own\"
plain.test. NS ns.plain.test.
ns.plain.test. A 127.0.0.1
signed.test. NS ns.signed.test.
ns.signed.test. A 127.0.0.1
hashed.test. NS ns.hashed.test.
ns.hashed.test. A 127.0.0.1
bogus.test. NS ns.bogus.test.
ns.bogus.test. A 127.0.0.1
9.11.in-addr.arpa. NS ns.plain.test.
";

/// Names of addresses.
const REVERSE: &str = "\
$TTL 2400
@ SOA ns.plain.test. hostmaster.plain.test. 1 3600 600 86400 900
@ NS ns.plain.test.
1.1 PTR www.plain.test.
2.1 PTR www.signed.test.
2.1 PTR all.signed.test.
3.1 CNAME 3.0-15.1
3.0-15.1 PTR www.hashed.test.
";

/// Starts the authoritative server.
pub(super) fn knot() -> anyhow::Result<Knot> {
    let records = ZONES.map(|(apex, _)| records(apex));
    let mut zones: Vec<Zone<'_>> = ZONES
        .iter()
        .zip(&records)
        .map(|(&(apex, signing), records)| Zone {
            apex,
            records,
            signing,
        })
        .collect();
    for (apex, records) in [("", ROOT), ("9.11.in-addr.arpa", REVERSE)] {
        zones.push(Zone {
            apex,
            records,
            signing: Signing::None,
        });
    }
    Knot::serving(&zones)
}

/// The keys that resolvers trust, as DNSKEY records.
pub(super) fn keys(knot: &Knot) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    for apex in SECURE {
        keys.push(knot.key(apex)?);
    }
    // The right name, and the key of another zone.
    keys.push(keys[0].replace(SECURE[0], "bogus.test"));
    Ok(keys)
}

/// The records of a zone.
fn records(apex: &str) -> String {
    let beside = if apex == "plain.test" {
        "signed.test"
    } else {
        "plain.test"
    };
    RECORDS
        .replace("LETTERS", &format!("\"{}\"", "abcdefghij".repeat(13)))
        .replace("BESIDE", beside)
        .replace("APEX", apex)
}
