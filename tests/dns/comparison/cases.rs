//! What is asked: each type of each zone, names of each kind, by chance.

use std::collections::BTreeSet;
use std::fmt;

use super::rng::Rng;
use super::world::ZONES;

/// A question, and how it is put.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Case {
    /// Name, in the spelling to send.
    pub(super) name: String,
    /// Type.
    pub(super) qtype: u16,
    /// Class.
    pub(super) qclass: u16,
    /// UDP payload of the OPT, if there is one.
    pub(super) edns: Option<u16>,
    /// DO.
    pub(super) dnssec_ok: bool,
    /// CD.
    pub(super) checking_disabled: bool,
    /// AD.
    pub(super) authentic_data: bool,
    /// RD.
    pub(super) recursion_desired: bool,
}

/// How many are asked.
pub(super) const COUNT: usize = 1200;

/// All types that a zone has, and three that it has not.
pub(super) const TYPES: &[u16] = &[
    1, 2, 5, 6, 12, 13, 14, 15, 16, 17, 18, 21, 28, 29, 33, 35, 36, 37, 39, 42, 43, 44, 45, 47, 48,
    49, 50, 51, 52, 53, 59, 60, 61, 62, 63, 64, 65, 99, 104, 105, 106, 107, 108, 109, 256, 257,
    65280, 65281,
];

/// Names within a zone, as `zone.txt` has them and has them not.
const NAMES: &[&str] = &[
    "",
    "www",
    "mail",
    "alias",
    "alias2",
    "away",
    "nowhere",
    "lost",
    "bare",
    "x.wild",
    "x.y.wild",
    "a.wild",
    "b.a.wild",
    "*.wild",
    "wild",
    "x.deep.wild",
    "x.calias",
    "x.y.calias",
    "tree",
    "x.tree",
    "y.x.tree",
    "z.tree",
    "www.outside",
    "gone.outside",
    "ent",
    "b.ent",
    "a.b.ent",
    "x.ent",
    "gone",
    "below.gone",
    "a.long.way.below.gone",
    "text",
    "some",
    "more",
    "several",
    "exchange",
    "_sip._tcp",
    "_tcp",
    "_443._tcp.www",
    "_dmarc",
    "upper",
    "with\\.dot",
    "with\\032space",
    "octet\\200",
    "label-of-sixty-three-octets-which-is-the-most-that-there-can-be",
    "1.0",
    "all",
    "all.all",
];

/// Names that are in none of these zones.
const ELSEWHERE: &[(&str, u16)] = &[
    (".", 2),
    (".", 6),
    (".", 48),
    (".", 1),
    ("test", 1),
    ("test", 6),
    ("root.test", 1),
    ("a.root.test", 1),
    ("text.root.test", 16),
    ("gone.test", 1),
    ("gone", 1),
    ("a.b.c.d.e.gone", 28),
    ("com", 2),
    ("1.1.9.11.in-addr.arpa", 12),
    ("2.1.9.11.in-addr.arpa", 12),
    ("3.1.9.11.in-addr.arpa", 12),
    ("4.1.9.11.in-addr.arpa", 12),
    ("9.11.in-addr.arpa", 6),
    ("1.in-addr.arpa", 12),
];

/// Draws the questions.
pub(super) fn draw(seed: u64) -> Vec<Case> {
    let mut rng = Rng::new(seed);
    let mut cases = BTreeSet::new();
    for (apex, _) in ZONES {
        for qtype in TYPES {
            cases.insert(Case::new(&mut rng, &under("all", apex), *qtype));
        }
        for name in NAMES {
            let qtype = *rng.pick(TYPES);
            for qtype in [1, 28, qtype] {
                cases.insert(Case::new(&mut rng, &under(name, apex), qtype));
            }
        }
        // What is said to these depends on what else was asked of the name.
        cases.insert(Case::new(&mut rng, &under("any", apex), 255));
        cases.insert(Case::new(&mut rng, &under("rrsig", apex), 46));
    }
    for (name, qtype) in ELSEWHERE {
        cases.insert(Case::new(&mut rng, name, *qtype));
    }
    while cases.len() < COUNT {
        let (apex, _) = rng.pick(&ZONES);
        let qtype = match rng.below(3) {
            0 => *rng.pick(&[1, 16, 65]),
            _ => *rng.pick(TYPES),
        };
        let name = under(rng.pick::<&str>(NAMES), apex);
        cases.insert(Case::new(&mut rng, &name, qtype));
    }
    // In an order by chance.
    let mut cases: Vec<Case> = cases.into_iter().collect();
    for index in (1..cases.len()).rev() {
        cases.swap(index, rng.below(index + 1));
    }
    cases
}

// === impl Case ===

impl Case {
    /// A question that is put by chance.
    fn new(rng: &mut Rng, name: &str, qtype: u16) -> Self {
        let edns = rng.percent(70).then(|| *rng.pick(&[512, 1232, 4096]));
        let mut case = Self {
            name: name.to_owned(),
            qtype,
            qclass: 1,
            edns,
            dnssec_ok: edns.is_some() && rng.percent(60),
            checking_disabled: rng.percent(25),
            authentic_data: rng.percent(25),
            recursion_desired: true,
        };
        if rng.percent(50) {
            case.name = spell(rng, name);
        }
        case
    }

    /// The query in octets, and where its question ends.
    pub(super) fn encode(&self, id: u16) -> (Vec<u8>, usize) {
        let flags = [
            (self.recursion_desired, 0x0100),
            (self.authentic_data, 0x0020),
            (self.checking_disabled, 0x0010),
        ];
        let set = flags.iter().filter(|(is_set, _)| *is_set);
        let flags: u16 = set.map(|(_, bit)| bit).sum();
        let additionals = u16::from(self.edns.is_some());
        let mut query = Vec::new();
        for word in [id, flags, 1, 0, 0, additionals] {
            query.extend(word.to_be_bytes());
        }
        for label in labels(&self.name) {
            query.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            query.extend(label);
        }
        query.push(0);
        for word in [self.qtype, self.qclass] {
            query.extend(word.to_be_bytes());
        }
        let end = query.len();
        if let Some(payload) = self.edns {
            let dnssec_ok = u16::from(self.dnssec_ok) << 15;
            query.push(0);
            for word in [41, payload, 0, dnssec_ok, 0] {
                query.extend(word.to_be_bytes());
            }
        }
        (query, end)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} TYPE{}", self.name, self.qtype)?;
        if self.qclass != 1 {
            write!(f, " CLASS{}", self.qclass)?;
        }
        for (flag, is_set) in [
            ("RD=0", !self.recursion_desired),
            ("AD", self.authentic_data),
            ("CD", self.checking_disabled),
            ("DO", self.dnssec_ok),
        ] {
            if is_set {
                write!(f, " {flag}")?;
            }
        }
        match self.edns {
            Some(payload) => write!(f, " EDNS={payload}"),
            None => Ok(()),
        }
    }
}

/// The labels of a name, where `\.` is a dot in a label and `\DDD` an octet.
fn labels(name: &str) -> Vec<Vec<u8>> {
    let mut labels = vec![Vec::new()];
    let mut octets = name.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => match octets.next().unwrap_or_default() {
                digit if digit.is_ascii_digit() => {
                    let digits = [Some(digit), octets.next(), octets.next()];
                    let value = digits.iter().flatten().fold(0, |value: u16, digit| {
                        10 * value + u16::from(digit.wrapping_sub(b'0'))
                    });
                    u8::try_from(value).unwrap_or(u8::MAX)
                }
                other => other,
            },
            other => other,
        };
        if let Some(label) = labels.last_mut() {
            label.push(octet);
        }
    }
    labels.retain(|label| !label.is_empty());
    labels
}

/// A name below an apex.
fn under(name: &str, apex: &str) -> String {
    if name.is_empty() {
        apex.to_owned()
    } else {
        format!("{name}.{apex}")
    }
}

/// A name in upper and lower case by chance.
fn spell(rng: &mut Rng, name: &str) -> String {
    name.chars()
        .map(|letter| {
            if rng.percent(50) {
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        })
        .collect()
}
