//! The unit for systemd.

use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;

use super::files::deploy;
use super::files::succeed;
use crate::support::needs;

/// What `systemd-analyze security` may say, in tenths: the less the better.
const MOST_EXPOSURE: u32 = 16;

#[test]
fn the_unit_stays_hardened() -> anyhow::Result<()> {
    if !needs(&["systemd-analyze"]) {
        return Ok(());
    }
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    let report = succeed(
        Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", &threshold])
            .arg(deploy("systemd/portolan.service")),
    )?;
    let verdict = report.lines().last().context("no report")?;
    ensure!(verdict.contains("Overall exposure level"), "{report}");
    Ok(())
}
