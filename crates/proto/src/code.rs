//! The numbers of the DNS and their mnemonics.

use std::fmt;
use std::str::FromStr;

/// Type of a record or of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rtype(pub u16);

/// Class of a record or of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(pub u16);

/// Response code, extended ones included (RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rcode(pub u16);

/// Kind of a message (RFC 6895 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Opcode(pub u8);

/// Extended DNS error (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ede(pub u16);

/// Defines the constants of a number type, its mnemonics and its display.
macro_rules! mnemonics {
    ($type:ident, $unknown:literal, $($name:ident = $value:literal => $text:literal,)+) => {
        impl $type {
            $(#[doc = concat!("`", $text, "`")]
            pub const $name: Self = Self($value);)+

            /// The mnemonic, where there is one.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(text) => f.write_str(text),
                    None => write!(f, concat!($unknown, "{}"), self.0),
                }
            }
        }

        impl FromStr for $type {
            type Err = UnknownMnemonic;

            fn from_str(text: &str) -> Result<Self, UnknownMnemonic> {
                let upper = text.to_ascii_uppercase();
                match upper.as_str() {
                    $($text => Ok(Self($value)),)+
                    other => other
                        .strip_prefix($unknown)
                        // Integers of Rust may have a sign.
                        .filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))
                        .and_then(|digits| digits.parse().ok())
                        .map(Self)
                        .ok_or(UnknownMnemonic),
                }
            }
        }
    };
}

/// A text that names no known number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown mnemonic")]
pub struct UnknownMnemonic;

mnemonics! { Rtype, "TYPE",
    A = 1 => "A", NS = 2 => "NS", CNAME = 5 => "CNAME", SOA = 6 => "SOA", PTR = 12 => "PTR",
    HINFO = 13 => "HINFO", MX = 15 => "MX", TXT = 16 => "TXT", AAAA = 28 => "AAAA",
    LOC = 29 => "LOC", SRV = 33 => "SRV", NAPTR = 35 => "NAPTR", DNAME = 39 => "DNAME",
    OPT = 41 => "OPT", DS = 43 => "DS", SSHFP = 44 => "SSHFP", RRSIG = 46 => "RRSIG",
    NSEC = 47 => "NSEC", DNSKEY = 48 => "DNSKEY", NSEC3 = 50 => "NSEC3",
    NSEC3PARAM = 51 => "NSEC3PARAM", TLSA = 52 => "TLSA", CDS = 59 => "CDS",
    CDNSKEY = 60 => "CDNSKEY", OPENPGPKEY = 61 => "OPENPGPKEY", SVCB = 64 => "SVCB",
    HTTPS = 65 => "HTTPS", SPF = 99 => "SPF", TKEY = 249 => "TKEY", TSIG = 250 => "TSIG",
    IXFR = 251 => "IXFR", AXFR = 252 => "AXFR", ANY = 255 => "ANY", URI = 256 => "URI",
    CAA = 257 => "CAA",
}

mnemonics! { Class, "CLASS",
    IN = 1 => "IN", CH = 3 => "CH", HS = 4 => "HS", NONE = 254 => "NONE", ANY = 255 => "ANY",
}

mnemonics! { Rcode, "RCODE",
    NOERROR = 0 => "NOERROR", FORMERR = 1 => "FORMERR", SERVFAIL = 2 => "SERVFAIL",
    NXDOMAIN = 3 => "NXDOMAIN", NOTIMP = 4 => "NOTIMP", REFUSED = 5 => "REFUSED",
    YXDOMAIN = 6 => "YXDOMAIN", YXRRSET = 7 => "YXRRSET", NXRRSET = 8 => "NXRRSET",
    NOTAUTH = 9 => "NOTAUTH", NOTZONE = 10 => "NOTZONE", BADVERS = 16 => "BADVERS",
    BADKEY = 17 => "BADKEY", BADTIME = 18 => "BADTIME", BADMODE = 19 => "BADMODE",
    BADNAME = 20 => "BADNAME", BADALG = 21 => "BADALG", BADTRUNC = 22 => "BADTRUNC",
    BADCOOKIE = 23 => "BADCOOKIE",
}

mnemonics! { Opcode, "OPCODE",
    QUERY = 0 => "QUERY", IQUERY = 1 => "IQUERY", STATUS = 2 => "STATUS", NOTIFY = 4 => "NOTIFY",
    UPDATE = 5 => "UPDATE", DSO = 6 => "DSO",
}

impl Ede {
    /// The answer is older than its TTL allows.
    pub const STALE_ANSWER: Self = Self(3);
    /// A failure is answered from the cache.
    pub const CACHED_ERROR: Self = Self(13);
    /// The server cannot answer yet.
    pub const NOT_READY: Self = Self(14);
    /// The client may not ask this.
    pub const PROHIBITED: Self = Self(18);
    /// No upstream could be reached.
    pub const NO_REACHABLE_AUTHORITY: Self = Self(22);
    /// The network failed on the way to an upstream.
    pub const NETWORK_ERROR: Self = Self(23);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_numbers_print_as_rfc_3597_wants() {
        assert_eq!(Rtype(65280).to_string(), "TYPE65280");
        assert_eq!(Class(255).to_string(), "ANY");
        assert_eq!(Class(77).to_string(), "CLASS77");
        assert_eq!("TYPE65280".parse(), Ok(Rtype(65280)));
        assert_eq!("aaaa".parse(), Ok(Rtype::AAAA));
        assert_eq!("FOO".parse::<Rcode>(), Err(UnknownMnemonic));
        for text in ["TYPE", "TYPE+5", "TYPE-5", "TYPE65536", "TYPE 5"] {
            assert_eq!(text.parse::<Rtype>(), Err(UnknownMnemonic), "{text}");
        }
    }
}
