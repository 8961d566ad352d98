//! Sizes in octets: `65536`, `512KiB`, `16MiB`, `1GB`.

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    /// No whole number comes first, or it is more than 2^64-1 octets.
    #[error("'{0}' is not a size: write a number of octets, or a number and KiB, MiB or GiB")]
    Invalid(String),
    /// What follows the number is no unit.
    #[error("'{unit}' is not a unit of size{suggestion}")]
    UnknownUnit {
        /// What follows the number.
        unit: String,
        /// What may have been meant.
        suggestion: String,
    },
}

/// Units and how many octets they stand for. Those of 1,000 are written out
/// beside those of 1,024, so that no letter stands for both.
const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads a size. Letters may be large or small.
///
/// # Errors
///
/// When the text is no size.
pub(crate) fn parse(text: &str) -> Result<u64, SizeError> {
    let invalid = || SizeError::Invalid(text.to_owned());
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, _) = text.split_at(text.len() - unit.len());
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let octets = UNITS
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))
        .map(|(_, octets)| *octets)
        .ok_or_else(|| unknown(number, unit))?;
    number.checked_mul(octets).ok_or_else(invalid)
}

/// Complains about a unit, and says what to write for its first letter.
fn unknown(number: u64, unit: &str) -> SizeError {
    let suggestion = match unit {
        "K" | "k" | "M" | "m" | "G" | "g" => {
            format!(" (write {number}{}iB)", unit.to_ascii_uppercase())
        }
        _ => " (valid: KiB, MiB, GiB, kB, MB, GB)".to_owned(),
    };
    SizeError::UnknownUnit {
        unit: unit.to_owned(),
        suggestion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024_and_of_1000() {
        for (text, octets) in [
            ("0", 0),
            ("65536", 65_536),
            ("7B", 7),
            ("512KiB", 524_288),
            ("16MiB", 16_777_216),
            ("16mib", 16_777_216),
            ("2GiB", 2_147_483_648),
            ("2kB", 2_000),
            ("2KB", 2_000),
            ("2MB", 2_000_000),
            ("1GB", 1_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(octets), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_with_what_to_write() {
        for (text, message) in [
            ("", "'' is not a size"),
            ("MiB", "'MiB' is not a size"),
            ("-1", "'-1' is not a size"),
            ("1.5MiB", "'.5MiB' is not a unit of size (valid: KiB"),
            ("18446744073709551616", "is not a size"),
            ("18014398509481984KiB", "is not a size"),
            ("16M", "'M' is not a unit of size (write 16MiB)"),
            ("64k", "'k' is not a unit of size (write 64KiB)"),
            ("16 MiB", "' MiB' is not a unit of size"),
            ("1\u{fc}", "'\u{fc}' is not a unit of size"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
