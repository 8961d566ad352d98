//! Walking up a name in wire form.

/// The name without its first label; the root, and what is no name, has none.
pub(crate) fn parent(name: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*name.first()?);
    if length == 0 {
        return None;
    }
    name.get(1 + length..).filter(|rest| !rest.is_empty())
}

/// The names above a name, nearest first, root last.
pub(crate) fn ancestors(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(name), |above| parent(above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_end_with_the_root() {
        let above: Vec<&[u8]> = ancestors(b"\x01a\x02bc\x00").collect();
        assert_eq!(above, [&b"\x02bc\x00"[..], b"\x00"]);
        assert_eq!(ancestors(b"\x00").count(), 0);
    }

    #[test]
    fn octets_that_are_no_name_have_no_ancestors() {
        for octets in [&b""[..], b"\x05abc", b"\x03abc", b"\xff"] {
            assert_eq!(ancestors(octets).count(), 0, "{octets:?}");
        }
    }
}
