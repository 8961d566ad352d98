//! The files of deploy/, and programs that read them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;

/// A path in deploy/.
pub(super) fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(path)
}

/// All files in a directory, and below it, in order.
pub(super) fn files_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The files of a directory with this extension; at least one.
pub(super) fn with_extension(directory: &str, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = files_below(&deploy(directory))?;
    files.retain(|path| path.extension() == Some(OsStr::new(extension)));
    ensure!(!files.is_empty(), "no .{extension} in {directory}");
    Ok(files)
}

/// Runs a command, which has to succeed: its output.
pub(super) fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().context("cannot run a program")?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
