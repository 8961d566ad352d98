//! Durations as Go writes them: `5s`, `1.5h`, `2h45m`, `100ms`.

use std::time::Duration;

/// A duration that may be negative, as Go's are.
///
/// Nothing in a configuration is allowed to be negative; the sign is kept so
/// that the message can say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignedDuration {
    /// Below zero.
    negative: bool,
    /// The distance from zero, at most 2^63-1 ns.
    magnitude: Duration,
}

/// Why a text is no duration. The words are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    /// Not of the form number, unit, number, unit ….
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?} (as in \"{0}s\")")]
    MissingUnit(String),
    /// A unit that is none of ns, us, µs, ms, s, m, h.
    #[error("time: unknown unit {unit:?} in duration {text:?} (units: h, m, s, ms, us, ns)")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

// === impl SignedDuration ===

impl SignedDuration {
    /// Reads a Go duration.
    ///
    /// # Errors
    ///
    /// When the text is no duration, or one of more than 2^63-1 nanoseconds.
    pub(crate) fn parse(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self {
                negative: false,
                magnitude: Duration::ZERO,
            });
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut nanoseconds: u64 = 0;
        while !rest.is_empty() {
            let (part, after) = read_part(rest, text)?;
            nanoseconds = nanoseconds
                .checked_add(part)
                .filter(|sum| *sum <= MAX_NANOSECONDS)
                .ok_or_else(invalid)?;
            rest = after;
        }
        Ok(Self {
            negative: negative && nanoseconds > 0,
            magnitude: Duration::from_nanos(nanoseconds),
        })
    }

    /// The duration, unless it is below zero.
    pub(crate) fn non_negative(self) -> Option<Duration> {
        (!self.negative).then_some(self.magnitude)
    }
}

/// Reads one number and its unit; gives nanoseconds and what follows.
fn read_part<'t>(rest: &'t str, text: &str) -> Result<(u64, &'t str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (whole, after) = split_digits(rest);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => split_digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_end = after
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(after.len());
    let (unit, after) = after.split_at_checked(unit_end).ok_or_else(invalid)?;
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(text.to_owned()));
    }
    let scale = nanoseconds_of(unit).ok_or_else(|| DurationError::UnknownUnit {
        unit: unit.to_owned(),
        text: text.to_owned(),
    })?;
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| invalid())?
    };
    let nanoseconds = whole
        .checked_mul(scale)
        .and_then(|whole| whole.checked_add(scaled_fraction(fraction, scale)))
        .ok_or_else(invalid)?;
    Ok((nanoseconds, after))
}

/// Splits the leading digits off.
fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The nanoseconds of a decimal fraction of a unit, rounded down.
fn scaled_fraction(digits: &str, scale: u64) -> u64 {
    let mut numerator: u128 = 0;
    let mut denominator: u128 = 1;
    // Digits beyond these are less than a nanosecond, whatever the unit.
    for digit in digits.bytes().take(FRACTION_DIGITS) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    u64::try_from(u128::from(scale) * numerator / denominator).unwrap_or(scale)
}

/// The nanoseconds of a unit.
fn nanoseconds_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // Both code points of the micro sign, as Go has it.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// Digits of a fraction that can matter: an hour has 3.6e12 nanoseconds.
const FRACTION_DIGITS: usize = 18;

/// The longest duration, Go's: 2^63-1 ns.
const MAX_NANOSECONDS: u64 = i64::MAX.unsigned_abs();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("0.5s", 500_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("100ms", 100_000_000),
            ("7us", 7_000),
            ("7\u{b5}s", 7_000),
            ("7\u{3bc}s", 7_000),
            ("3ns", 3),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("0.100000000000000000000h", 360_000_000_000),
            ("9223372036854775807ns", MAX_NANOSECONDS),
        ] {
            let parsed = SignedDuration::parse(text).expect(text);
            assert_eq!(
                parsed.non_negative(),
                Some(Duration::from_nanos(nanoseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn keeps_the_sign() {
        let parsed = SignedDuration::parse("-1s").expect("a duration");
        assert_eq!(parsed.non_negative(), None);
        for zero in ["-0", "-0s"] {
            let parsed = SignedDuration::parse(zero).expect("zero");
            assert_eq!(parsed.non_negative(), Some(Duration::ZERO));
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for (text, message) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("a", "time: invalid duration \"a\""),
            (".", "time: invalid duration \".\""),
            (".s", "time: invalid duration \".s\""),
            (
                "30",
                "time: missing unit in duration \"30\" (as in \"30s\")",
            ),
            (
                "1m30",
                "time: missing unit in duration \"1m30\" (as in \"1m30s\")",
            ),
            (
                "1d",
                "time: unknown unit \"d\" in duration \"1d\" (units: h, m, s, ms, us, ns)",
            ),
            (
                "1 s",
                "time: unknown unit \" s\" in duration \"1 s\" (units: h, m, s, ms, us, ns)",
            ),
            (
                "5S",
                "time: unknown unit \"S\" in duration \"5S\" (units: h, m, s, ms, us, ns)",
            ),
            (
                "9223372036854775808ns",
                "time: invalid duration \"9223372036854775808ns\"",
            ),
            (
                "99999999999999999999s",
                "time: invalid duration \"99999999999999999999s\"",
            ),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ] {
            let error = SignedDuration::parse(text).expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }
}
