//! Alerts, as promtool reads them.

use std::fs;
use std::process::Command;

use anyhow::ensure;

use super::dashboard::ensure_documented;
use super::files::deploy;
use super::files::succeed;
use crate::support::needs;

#[test]
fn alerts_are_valid_and_fire_when_they_should() -> anyhow::Result<()> {
    if !needs(&["promtool"]) {
        return Ok(());
    }
    for (action, file) in [
        (["check", "rules"], "portolan.rules.yml"),
        (["test", "rules"], "portolan.test.yml"),
        (["check", "config"], "scrape.yml"),
    ] {
        let file = deploy("prometheus").join(file);
        succeed(Command::new("promtool").args(action).arg(file))?;
    }
    Ok(())
}

#[test]
fn alerts_are_about_families_that_there_are() -> anyhow::Result<()> {
    let text = fs::read_to_string(deploy("prometheus/portolan.rules.yml"))?;
    let count = ensure_documented(&text)?;
    ensure!(count > 20, "{count} names in the rules");
    Ok(())
}

#[test]
fn every_alert_is_in_the_runbook() -> anyhow::Result<()> {
    let rules = fs::read_to_string(deploy("prometheus/portolan.rules.yml"))?;
    let book = fs::read_to_string(deploy("../docs/runbook.md"))?;
    let alerts = rules.lines().filter_map(|line| line.split_once("alert: "));
    for (_, alert) in alerts {
        ensure!(
            book.contains(&format!("`{alert}`")),
            "{alert} has no remedy"
        );
    }
    Ok(())
}
