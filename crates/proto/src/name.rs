//! Domain names.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name in octets, root label included (RFC 1035 §3.1).
pub const MAX_NAME: usize = 255;

/// Longest label in octets (RFC 1035 §3.1).
pub const MAX_LABEL: usize = 63;

/// An absolute domain name in lower-case, uncompressed wire form.
///
/// Names are compared without regard to case (RFC 4343), so the one spelling
/// that is kept is the lower-case one; a response echoes the spelling of its
/// query. Cloning is cheap: most names are short enough to be in the value
/// itself, others are shared.
#[derive(Clone)]
pub struct Name(Octets);

/// The octets of a name. Hosts files of 100,000 lines have twice as many names
/// for a moment; they leave no holes in the heap.
#[derive(Clone)]
enum Octets {
    /// As many as `length` says.
    Short {
        /// How many.
        length: u8,
        /// The octets, and zeros behind them.
        octets: [u8; SHORT],
    },
    /// More than [`SHORT`].
    Long(Arc<[u8]>),
}

/// Why a text is not a domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no text.
    #[error("empty name")]
    Empty,
    /// Two dots follow one another, or the name begins with one.
    #[error("empty label")]
    EmptyLabel,
    /// A label is longer than [`MAX_LABEL`] octets.
    #[error("label longer than 63 octets")]
    LongLabel,
    /// The name is longer than [`MAX_NAME`] octets.
    #[error("name longer than 255 octets")]
    LongName,
    /// An octet that no host name holds: a control character, white space.
    #[error("character {0:?} is not allowed in a name")]
    BadCharacter(char),
    /// The text is internationalized and not valid under IDNA 2008 (UTS 46).
    #[error("not a valid internationalized name")]
    BadIdn,
    /// The octets are no uncompressed name in wire form.
    #[error("not a name in wire form")]
    BadWire,
}

// === impl Name ===

impl Name {
    /// The root of the name space.
    pub fn root() -> Self {
        Self::from_octets(&[0])
    }

    /// Reads a name as people write it: ASCII or internationalized, with or
    /// without the final dot. The result is absolute and lower-case.
    ///
    /// Printable ASCII other than `.` is taken as it stands, so underscores,
    /// a leading hyphen and a `*` label are fine; other text goes through
    /// IDNA (RFC 5891, UTS 46) to A-labels.
    ///
    /// # Errors
    ///
    /// See [`NameError`].
    pub fn from_ascii_or_idn(text: &str) -> Result<Self, NameError> {
        if text.is_ascii() {
            return Self::from_ascii(text);
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(NameError::BadCharacter(bad));
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_err(|_| NameError::BadIdn)?;
        Self::from_ascii(&ascii)
    }

    /// Reads a name from ASCII text, without escapes.
    fn from_ascii(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let relative = text.strip_suffix('.').unwrap_or(text);
        if relative.is_empty() {
            return Ok(Self::root());
        }
        let mut wire = Vec::with_capacity(relative.len() + 2);
        for label in relative.split('.') {
            push_label(&mut wire, label.as_bytes())?;
        }
        wire.push(0);
        Self::from_lower_wire(&wire)
    }

    /// Takes octets that are already lower-case labels.
    fn from_lower_wire(wire: &[u8]) -> Result<Self, NameError> {
        if wire.len() > MAX_NAME {
            return Err(NameError::LongName);
        }
        Ok(Self::from_octets(wire))
    }

    /// Takes the octets of a name, lower-case.
    fn from_octets(name: &[u8]) -> Self {
        let mut octets = [0; SHORT];
        match (octets.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(name);
                Self(Octets::Short { length, octets })
            }
            _ => Self(Octets::Long(name.into())),
        }
    }

    /// Takes an uncompressed name in wire form, of any case.
    ///
    /// # Errors
    ///
    /// [`NameError::BadWire`] unless the octets are exactly one name.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        let mut at = 0;
        loop {
            let length = usize::from(*wire.get(at).ok_or(NameError::BadWire)?);
            if length > MAX_LABEL {
                return Err(NameError::BadWire);
            }
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
        if at != wire.len() || at > MAX_NAME {
            return Err(NameError::BadWire);
        }
        // A length octet is at most 63, below the letters, so that lower
        // casing the whole name leaves the lengths alone.
        let mut name = Self::from_octets(wire);
        match &mut name.0 {
            Octets::Short { octets, .. } => octets.make_ascii_lowercase(),
            Octets::Long(octets) => Arc::make_mut(octets).make_ascii_lowercase(),
        }
        Ok(name)
    }

    /// The name that reverse look-ups of an address ask for (RFC 1035 §3.5,
    /// RFC 3596 §2.5).
    pub fn reverse(address: IpAddr) -> Self {
        let mut wire = Vec::with_capacity(74);
        match address {
            IpAddr::V4(v4) => {
                for octet in v4.octets().iter().rev() {
                    let digits = octet.to_string();
                    push_known(&mut wire, digits.as_bytes());
                }
                push_known(&mut wire, b"in-addr");
            }
            IpAddr::V6(v6) => {
                for octet in v6.octets().iter().rev() {
                    for nibble in [octet & 0x0f, octet >> 4] {
                        push_known(&mut wire, &[HEX[usize::from(nibble)]]);
                    }
                }
                push_known(&mut wire, b"ip6");
            }
        }
        push_known(&mut wire, b"arpa");
        wire.push(0);
        Self::from_octets(&wire)
    }

    /// The name in wire form.
    #[inline]
    pub fn as_wire(&self) -> &[u8] {
        match &self.0 {
            Octets::Short { length, octets } => {
                octets.get(..usize::from(*length)).unwrap_or_default()
            }
            Octets::Long(octets) => octets,
        }
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.as_wire().len() == 1
    }

    /// Whether the first label is `*` (RFC 4592 §2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.as_wire().starts_with(b"\x01*")
    }

    /// Whether this name is `apex` or below it.
    pub fn is_within(&self, apex: &Self) -> bool {
        wire_is_within(self.as_wire(), apex.as_wire())
    }

    /// The name without its first label; the root has none.
    pub fn parent(&self) -> Option<Self> {
        let wire = self.as_wire();
        let length = usize::from(*wire.first()?);
        if length == 0 {
            return None;
        }
        wire.get(1 + length..).map(Self::from_octets)
    }

    /// The labels, first one first, without the root label.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_wire();
        std::iter::from_fn(move || {
            let length = usize::from(*rest.first()?);
            if length == 0 {
                return None;
            }
            let label = rest.get(1..=length)?;
            rest = rest.get(1 + length..)?;
            Some(label)
        })
    }

    /// How many labels the name has, the root label not counted.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// `*.` and this name, unless that is too long.
    pub fn wildcard_child(&self) -> Option<Self> {
        let mut wire = Vec::with_capacity(self.as_wire().len() + 2);
        push_known(&mut wire, b"*");
        wire.extend_from_slice(self.as_wire());
        Self::from_lower_wire(&wire).ok()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_wire().cmp(other.as_wire())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_wire().hash(state);
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_wire()
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::from_ascii_or_idn(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, self.as_wire())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether the name in wire form `name` is `apex` or below it. Both are
/// lower-case and uncompressed.
pub(crate) fn wire_is_within(name: &[u8], apex: &[u8]) -> bool {
    // Most servers have the root for a zone, and all is below it.
    if apex == [0] {
        return !name.is_empty();
    }
    let Some(excess) = name.len().checked_sub(apex.len()) else {
        return false;
    };
    let mut at = 0;
    while at < excess {
        let Some(length) = name.get(at) else {
            return false;
        };
        at += 1 + usize::from(*length);
    }
    at == excess && name.get(at..) == Some(apex)
}

/// Writes a name in presentation form: a final dot, octets that are not
/// printable as `\DDD`, dots, quotes and backslashes within a label escaped
/// (RFC 1035 §5.1).
pub(crate) fn write_name(f: &mut fmt::Formatter<'_>, wire: &[u8]) -> fmt::Result {
    if wire == [0] {
        return f.write_str(".");
    }
    let mut rest = wire;
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let Some((label, next)) = tail.split_at_checked(usize::from(length)) else {
            break;
        };
        for &octet in label {
            match octet {
                b'.' | b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
        f.write_str(".")?;
        rest = next;
    }
    Ok(())
}

/// Appends one label of a text, lower-cased.
fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::LongLabel);
    }
    if let Some(&bad) = label.iter().find(|octet| !octet.is_ascii_graphic()) {
        return Err(NameError::BadCharacter(char::from(bad)));
    }
    push_known(wire, &label.to_ascii_lowercase());
    Ok(())
}

/// Appends one label that is known to be short and lower-case.
fn push_known(wire: &mut Vec<u8>, label: &[u8]) {
    wire.push(u8::try_from(label.len()).expect("a label is at most 63 octets"));
    wire.extend_from_slice(label);
}

/// Most octets of a name in the value itself: those of an IPv4 address
/// reversed, and of most hosts.
const SHORT: usize = 38;

/// Digits of IPv6 reverse names.
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_absolute_and_lower_case() {
        for (text, expected) in [
            ("App.Example.ORG", "app.example.org."),
            ("app.example.org.", "app.example.org."),
            ("_dmarc.example.org", "_dmarc.example.org."),
            ("*.example.org", "*.example.org."),
            ("-a", "-a."),
            ("192.0.2.1", "192.0.2.1."),
            (".", "."),
            ("bücher.example", "xn--bcher-kva.example."),
            ("Straße.example.", "xn--strae-oqa.example."),
        ] {
            assert_eq!(
                text.parse::<Name>().unwrap().to_string(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn octets_that_mean_something_to_a_reader_are_escaped() {
        let name = Name::from_wire(b"\x08a.\\\"\n \xff\x1b\x01b\0").unwrap();
        assert_eq!(name.to_string(), r#"a\.\\\"\010\032\255\027.b."#);
    }

    #[test]
    fn text_that_is_no_name_is_refused() {
        let long = "a".repeat(64);
        let too_long = vec!["a".repeat(50); 5].join(".");
        for (text, expected) in [
            ("", NameError::Empty),
            ("..", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            (long.as_str(), NameError::LongLabel),
            (too_long.as_str(), NameError::LongName),
            ("a b", NameError::BadCharacter(' ')),
            ("a\nb", NameError::BadCharacter('\n')),
            ("bü\u{7}cher", NameError::BadCharacter('\u{7}')),
        ] {
            assert_eq!(text.parse::<Name>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_name_of_255_octets_is_the_longest() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(longest.parse::<Name>().unwrap().as_wire().len(), MAX_NAME);
        assert_eq!(
            format!("{longest}b").parse::<Name>(),
            Err(NameError::LongName)
        );
    }

    #[test]
    fn within_follows_label_boundaries() {
        let name: Name = "www.example.org".parse().unwrap();
        for (apex, expected) in [
            (".", true),
            ("org", true),
            ("example.org", true),
            ("www.example.org", true),
            ("ample.org", false),
            ("a.www.example.org", false),
            ("example.com", false),
        ] {
            assert_eq!(name.is_within(&apex.parse().unwrap()), expected, "{apex}");
        }
    }

    #[test]
    fn reverse_names_follow_both_families() {
        assert_eq!(
            Name::reverse("192.0.2.10".parse().unwrap()).to_string(),
            "10.2.0.192.in-addr.arpa."
        );
        assert_eq!(
            Name::reverse("2001:db8::1".parse().unwrap()).to_string(),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
        );
    }

    #[test]
    fn long_names_and_short_ones_are_alike() {
        for length in [SHORT - 8, SHORT - 7, 63] {
            let text = format!("{}.b.ORG", "A".repeat(length));
            let name: Name = text.parse().unwrap();
            let lower = text.to_lowercase();
            assert_eq!(name.to_string(), format!("{lower}."));
            let wire = [
                &[length.try_into().unwrap()],
                &text.as_bytes()[..length],
                b"\x01b\x03ORG\0",
            ];
            assert_eq!(Name::from_wire(&wire.concat()), Ok(name.clone()));
            assert_eq!(name.parent(), Some("b.org".parse().unwrap()));
            assert!(name > "b.org".parse().unwrap());
            assert_eq!(name.wildcard_child().unwrap().parent(), Some(name));
        }
        assert_eq!(size_of::<Name>(), SHORT + 2);
    }

    #[test]
    fn wire_form_survives_a_round_trip() {
        let name: Name = "A.b.example".parse().unwrap();
        assert_eq!(Name::from_wire(name.as_wire()), Ok(name.clone()));
        for bad in [&b""[..], b"\x01a", b"\x01a\x00\x00", b"\xc0\x0c"] {
            assert_eq!(Name::from_wire(bad), Err(NameError::BadWire));
        }
        assert_eq!(name.parent().unwrap().to_string(), "b.example.");
        assert_eq!(Name::root().parent(), None);
        assert_eq!(
            name.labels().collect::<Vec<_>>(),
            [&b"a"[..], b"b", b"example"]
        );
    }
}
