//! The pages beside one another and beside the sources.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::ensure;

use super::files::files_below;

/// All sources of the program, with literals that go over several lines put
/// together.
fn sources() -> anyhow::Result<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let mut all = String::new();
    for file in files_below(&crates)? {
        let is_source = file.extension() == Some(OsStr::new("rs"));
        let is_test = file.components().any(|part| part.as_os_str() == "tests");
        if is_source && !is_test && !file.starts_with(crates.join("testkit")) {
            all.push_str(&fs::read_to_string(file)?);
        }
    }
    let mut joined = String::new();
    for (index, part) in all.split("\\\n").enumerate() {
        joined.push_str(if index == 0 { part } else { part.trim_start() });
    }
    Ok(joined)
}

/// A page of docs/.
fn page(name: &str) -> anyhow::Result<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    Ok(fs::read_to_string(docs.join(name))?)
}

/// The code in the first cell of each row of the tables under "## Lines".
fn lines_of(page: &str) -> impl Iterator<Item = &str> {
    let lines = page.split_once("\n## Lines").map_or("", |(_, rest)| rest);
    lines
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(text, _)| text)
}

#[test]
fn every_page_is_in_the_index() -> anyhow::Result<()> {
    let index = page("README.md")?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for file in files_below(&docs)? {
        let name = file.strip_prefix(&docs)?.display().to_string();
        if name.ends_with(".md") && name != "README.md" {
            ensure!(index.contains(&format!("]({name})")), "{name} is not in it");
        }
    }
    Ok(())
}

#[test]
fn every_link_leads_somewhere() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ];
    let mut files: Vec<_> = own.iter().map(|name| root.join(name)).collect();
    files.extend(files_below(&root.join("docs"))?);
    files.extend(files_below(&root.join("deploy"))?);
    let mut count = 0;
    for file in files {
        if file.extension() != Some(OsStr::new("md")) {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (link, _) in links {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.clone(),
                path => file.with_file_name(path),
            };
            ensure!(target.exists(), "{}: {link}", file.display());
            let is_there = anchor.is_empty() || has_anchor(&fs::read_to_string(&target)?, anchor);
            ensure!(is_there, "{}: {link}", file.display());
            count += 1;
        }
    }
    ensure!(count > 100, "{count} links");
    Ok(())
}

/// Whether a page has a heading that is linked to like this.
fn has_anchor(page: &str, anchor: &str) -> bool {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    });
    anchors.any(|found| found == anchor)
}

#[test]
fn lines_of_the_log_are_in_the_sources() -> anyhow::Result<()> {
    let sources = sources()?;
    let page = page("logs.md")?;
    let mut count = 0;
    for line in lines_of(&page) {
        ensure!(sources.contains(line), "nothing says {line:?}");
        count += 1;
    }
    ensure!(count > 50, "{count} lines");
    Ok(())
}

#[test]
fn what_is_worth_an_alert_is_in_the_runbook() -> anyhow::Result<()> {
    let logs = page("logs.md")?;
    let book = page("runbook.md")?;
    let alerts = logs.split("\n### ").find(|part| part.starts_with("Worth"));
    let alerts = alerts.map(|part| format!("\n## Lines\n{part}"));
    let mut count = 0;
    for line in lines_of(&alerts.unwrap_or_default()) {
        ensure!(book.contains(line), "no remedy for {line:?}");
        count += 1;
    }
    ensure!(count > 20, "{count} lines");
    Ok(())
}
