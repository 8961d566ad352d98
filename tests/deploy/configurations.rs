//! Corefiles: each is valid, and names nothing that cannot be reached.

use anyhow::ensure;

use super::files::deploy;
use super::files::files_below;
use crate::cli::site::run;

#[test]
fn every_corefile_is_valid_and_all_of_it_is_reached() -> anyhow::Result<()> {
    let mut files = files_below(&deploy(""))?;
    files.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("Corefile"))
    });
    ensure!(files.len() >= 3, "{files:?}");
    for file in files {
        let ended = run(&["check", &file.display().to_string()], &[])?;
        ended.ensure_code(0)?;
        let warnings = ended.stderr.lines().filter(|line| {
            // Directories of a host that this is not.
            line.contains("Warning: ") && !line.contains("File does not exist: /etc/hosts.d")
        });
        let warnings: Vec<&str> = warnings.collect();
        ensure!(warnings.is_empty(), "{warnings:?}");
    }
    Ok(())
}
