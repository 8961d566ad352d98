//! The names that all servers know, in the forms that they read.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// The zone of all names.
pub(crate) const ZONE: &str = "bench.example.org";

/// The address that all names below the wildcard have.
pub(crate) const WILDCARD_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Names of one address each. All are equally long.
pub(crate) struct Names {
    /// How many.
    count: u32,
}

// === impl Names ===

impl Names {
    /// That many names.
    pub(crate) fn new(count: u32) -> Self {
        Self { count }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// A name that is there, and its address.
    pub(crate) fn sample(&self) -> (String, Ipv4Addr) {
        let number = self.count / 2;
        (owner(number), address(number))
    }

    /// A hosts file.
    pub(crate) fn hosts(&self) -> String {
        self.lines(|text, number| writeln!(text, "{} {}", address(number), owner(number)))
    }

    /// A zone file, with a wildcard besides.
    pub(crate) fn zone(&self) -> String {
        let head = format!(
            "$ORIGIN {ZONE}.\n$TTL 3600\n\
             @ SOA ns hostmaster 1 7200 1800 86400 60\n@ NS ns\nns A 127.0.0.1\n\
             *.wild A {WILDCARD_ADDRESS}\n"
        );
        head + &self
            .lines(|text, number| writeln!(text, "{}. A {}", owner(number), address(number)))
    }

    /// Local data of unbound.
    pub(crate) fn local_data(&self) -> String {
        self.lines(|text, number| {
            let (owner, address) = (owner(number), address(number));
            writeln!(text, "local-data: \"{owner}. 60 A {address}\"")
        })
    }

    /// A line for each name.
    fn lines(&self, line: impl Fn(&mut String, u32) -> std::fmt::Result) -> String {
        let mut text = String::new();
        for number in 0..self.count {
            line(&mut text, number).expect("a string takes all");
        }
        text
    }
}

/// A name below the wildcard that no other round asks for.
pub(crate) fn below_wildcard(round: u32, number: u32) -> String {
    format!("r{round:04}x{number:07}.wild.{ZONE}")
}

/// Writes one of `count` names in wire form. Consecutive numbers give names
/// that are far apart in any file; each comes once before any comes again.
pub(crate) fn write_known(octets: &mut Vec<u8>, number: u32, count: u32) {
    // A prime, and no divisor of any round number.
    let spread = u64::from(number) * 1_000_003 % u64::from(count.max(1));
    write_wire(octets, &owner(u32::try_from(spread).unwrap_or(0)));
}

/// Writes a name below the wildcard in wire form.
pub(crate) fn write_unknown(octets: &mut Vec<u8>, round: u32, number: u32) {
    write_wire(octets, &below_wildcard(round, number));
}

/// Writes a name in wire form.
fn write_wire(octets: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).unwrap_or(0));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
}

/// A name.
fn owner(number: u32) -> String {
    format!("host{number:07}.{ZONE}")
}

/// Its address.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}
