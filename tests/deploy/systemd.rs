//! The unit for systemd.

use std::fs;
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

#[test]
fn systemd_knows_every_word_of_the_unit() -> anyhow::Result<()> {
    if !needs(&["systemd-analyze"]) {
        return Ok(());
    }
    let unit = fs::read_to_string(deploy("systemd/portolan.service"))?;
    // What it starts has to be there.
    let installed = "/usr/local/bin/portolan";
    ensure!(unit.contains(&format!("ExecStart={installed} ")), "{unit}");
    let unit = unit.replace(installed, env!("CARGO_BIN_EXE_portolan"));
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("portolan.service");
    let verify = |unit: &str| {
        fs::write(&path, unit)?;
        Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&path)
            .output()
    };
    let good = verify(&unit)?;
    let said = String::from_utf8_lossy(&good.stderr);
    ensure!(
        good.status.success() && !said.contains("portolan.service"),
        "{said}"
    );
    let misspelled = verify(&unit.replace("ProtectHome=", "ProtectHoem="))?;
    ensure!(!misspelled.status.success(), "nothing would be noticed");
    Ok(())
}
