//! What has to be said of the crates that we ship and that are not ours.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anyhow::ensure;

/// A file of the source.
fn read(path: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The crates that deny.toml lets have a licence that others may not have.
fn excepted(deny: &str) -> Vec<&str> {
    deny.lines()
        .filter(|line| line.contains("\"MPL-2.0\""))
        .filter_map(|line| line.split('"').nth(1))
        .collect()
}

/// The version of a crate in Cargo.lock.
fn version<'a>(lock: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = lock
        .split_once(&entry)
        .with_context(|| format!("{name} is not in Cargo.lock"))?;
    rest.split('"').next().context("a version")
}

#[test]
fn the_notice_tells_where_the_sources_of_copyleft_crates_are() -> anyhow::Result<()> {
    let (notice, deny, lock) = (read("NOTICE")?, read("deny.toml")?, read("Cargo.lock")?);
    let crates = excepted(&deny);
    ensure!(crates.len() >= 3, "{crates:?}");
    for name in crates {
        let version = version(&lock, name)?;
        let source = format!("/crates/{name}/{name}-{version}.crate");
        let told = notice
            .lines()
            .any(|line| line.starts_with(&format!("{name} {version} ")) && line.ends_with(&source));
        ensure!(told, "NOTICE does not tell of {name} {version}");
    }
    Ok(())
}
