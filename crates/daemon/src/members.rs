//! `portolan members`: who is in the cluster.

use anyhow::Context as _;
use portolan_cluster::Member;

/// What `/members` says: JSON.
pub(crate) fn document(members: &[Member]) -> String {
    serde_json::to_string(members).unwrap_or_else(|_| "[]".to_owned())
}

/// What the operator is shown of it: the JSON itself, or a table.
pub(crate) fn show(document: String, json: bool) -> anyhow::Result<String> {
    let members: Vec<Member> =
        serde_json::from_str(&document).context("the server has no list of members")?;
    if json {
        return Ok(document);
    }
    if members.is_empty() {
        return Ok("no cluster".to_owned());
    }
    let head = ["NAME", "ADDRESS", "STATE", "RECORDS", "SERVED", "VERSION"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(members.iter().map(row));
    Ok(table(&rows))
}

/// One line of the table.
fn row(member: &Member) -> [String; 6] {
    [
        member.name.clone(),
        member.address.clone().unwrap_or_default(),
        member.state.clone(),
        member.records.to_string(),
        if member.served { "yes" } else { "no" }.to_owned(),
        format!("{}.{}", member.epoch, member.version),
    ]
}

/// Rows in columns.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column));
        widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_shown_in_columns() {
        let member = |name: &str, records| Member {
            id: format!("{name}#0000000000000001"),
            name: name.to_owned(),
            address: Some("192.0.2.1:7946".to_owned()),
            state: "alive".to_owned(),
            epoch: 1,
            version: 12,
            records,
            served: true,
            complete: true,
        };
        let document = document(&[member("a", 3), member("longer", 1000)]);
        assert_eq!(
            show(document.clone(), false).unwrap(),
            "NAME    ADDRESS         STATE  RECORDS  SERVED  VERSION\n\
             a       192.0.2.1:7946  alive  3        yes     1.12\n\
             longer  192.0.2.1:7946  alive  1000     yes     1.12"
        );
        assert_eq!(show(document.clone(), true).unwrap(), document);
        assert_eq!(show("[]".to_owned(), false).unwrap(), "no cluster");
        assert!(show("404".to_owned(), false).is_err());
    }
}
