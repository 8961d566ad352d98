//! The dashboard for Grafana: JSON, and about families that there are.

use std::fs;

use anyhow::Context as _;
use anyhow::ensure;
use serde_json::Value;

use super::files::deploy;
use crate::observe::reference;

/// Fails unless every family in a text is in docs/metrics.md: how many names
/// there were.
pub(super) fn ensure_documented(text: &str) -> anyhow::Result<usize> {
    let documented = reference::documented()?;
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefixes = ["coredns_", "portolan_", "process_"];
    let mut count = 0;
    for word in words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))) {
        let of_histogram = ["_bucket", "_count", "_sum"]
            .iter()
            .filter_map(|suffix| word.strip_suffix(suffix))
            .any(|name| {
                documented
                    .get(name)
                    .is_some_and(|(kind, _)| kind == "histogram")
            });
        ensure!(
            of_histogram || documented.contains_key(word),
            "no family {word}"
        );
        count += 1;
    }
    Ok(count)
}

#[test]
fn panels_ask_for_families_that_there_are() -> anyhow::Result<()> {
    let text = fs::read_to_string(deploy("grafana/portolan.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    ensure!(dashboard["uid"] == "portolan", "{}", dashboard["uid"]);
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut ids = std::collections::BTreeSet::new();
    let mut count = 0;
    for panel in panels {
        ensure!(ids.insert(panel["id"].as_u64()), "an id twice: {panel}");
        let is_row = panel["type"] == "row";
        let targets = panel["targets"].as_array();
        ensure!(is_row == targets.is_none(), "{panel}");
        for target in targets.into_iter().flatten() {
            let expression = target["expr"].as_str().context("no expression")?;
            ensure!(expression.contains("job=\"$job\""), "{expression}");
            let names = ensure_documented(expression)?;
            // Prometheus itself says which targets are up.
            let is_up = expression.starts_with("sum(up{");
            ensure!(names > 0 || is_up, "about nothing: {expression}");
            count += names;
        }
    }
    ensure!(count > 30, "{count} names");
    Ok(())
}
