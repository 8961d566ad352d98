//! The rows of a change in order.

use crate::Row;

/// Rows in order, each owner and value once, with its smallest TTL.
pub(super) fn normalized(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable();
    rows.dedup_by(|later, first| later.owner == first.owner && later.rdata == first.rdata);
    rows
}

#[cfg(test)]
mod tests {
    use portolan_proto::Rdata;

    use super::*;

    #[test]
    fn a_value_given_twice_keeps_its_smallest_ttl() {
        let address = |last| Rdata::A([192, 0, 2, last].into());
        let row = |(last, ttl)| Row {
            owner: "a".parse().unwrap(),
            rdata: address(last),
            ttl,
        };
        let kept: Vec<(Rdata, u32)> = normalized([(2, 60), (1, 60), (2, 5)].map(row).into())
            .into_iter()
            .map(|row| (row.rdata, row.ttl))
            .collect();
        assert_eq!(kept, [(address(1), 60), (address(2), 5)]);
    }
}
