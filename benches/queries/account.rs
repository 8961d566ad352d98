//! What the processes of a server use.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;

/// Processor time that a process and its descendants have used so far. A
/// thread that has ended is not counted.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for process in tree(pid)? {
        for thread in numbers_in(&format!("/proc/{process}/task"))? {
            let path = format!("/proc/{process}/task/{thread}/schedstat");
            // The thread may be gone by now.
            let text = fs::read_to_string(path).unwrap_or_default();
            let first = text.split_whitespace().next().unwrap_or("0");
            nanoseconds += first.parse::<u64>().context("schedstat is no number")?;
        }
    }
    ensure!(nanoseconds > 0, "the kernel does not account for threads");
    Ok(Duration::from_nanos(nanoseconds))
}

/// Processor time of the children of this process that have ended and were
/// waited for, in steps of 10 ms.
pub(crate) fn time_of_ended_children() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("stat of this process")?;
    // Fields 16 and 17; `rest` begins with field 3.
    let ticks = rest.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// Memory that a process and its descendants hold, in KiB. What they share is
/// counted for each.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for process in tree(pid)? {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let figure = line.split_whitespace().next().context("no figure")?;
        sum += figure.parse::<u64>().context("VmRSS is no number")?;
    }
    Ok(sum)
}

/// A process and its descendants.
fn tree(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in numbers_in("/proc")? {
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(process) = tree.get(next).copied() {
        tree.extend(children.remove(&process).unwrap_or_default());
        next += 1;
    }
    Ok(tree)
}

/// The parent of a process, unless it is gone.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The entries of a directory that are numbers.
fn numbers_in(directory: &str) -> anyhow::Result<Vec<u32>> {
    let entries = fs::read_dir(directory).with_context(|| directory.to_owned())?;
    let names = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name());
    Ok(names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect())
}
