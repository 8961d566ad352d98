//! The manifests for Kubernetes, as kustomize puts them together.

use std::process::Command;

use anyhow::ensure;

use super::files::deploy;
use super::files::succeed;
use crate::support::needs;

#[test]
fn manifests_are_put_together() -> anyhow::Result<()> {
    if !needs(&["kubectl"]) {
        return Ok(());
    }
    let text = succeed(
        Command::new("kubectl")
            .arg("kustomize")
            .arg(deploy("kubernetes")),
    )?;
    for (kind, count) in [
        ("Namespace", 1),
        ("ConfigMap", 2),
        ("DaemonSet", 1),
        ("Service", 1),
    ] {
        let line = format!("kind: {kind}");
        let found = text.lines().filter(|found| *found == line).count();
        ensure!(found == count, "{found} of {kind}:\n{text}");
    }
    // Names are not hashed: the server follows its files.
    for line in [
        "name: portolan-corefile",
        "name: portolan-hosts",
        ".:1053 {",
    ] {
        ensure!(text.contains(line), "no {line} in:\n{text}");
    }
    Ok(())
}
