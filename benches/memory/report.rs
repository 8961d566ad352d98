//! The table.

use std::fs;
use std::path::Path;

use crate::phase::Outcome;
use crate::phase::Phase;

/// Most that may be resident at any time, in KiB: 50 MB.
const BAR: u64 = 50_000_000 / 1024;

/// Says what is measured, and where.
pub(crate) fn describe(binary: &Path) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{}, {cores} cores, Linux {}",
        binary.display(),
        kernel.trim()
    );
}

/// Prints the head of the table, and what is resident before anything comes.
pub(crate) fn print_head(resident: u64) {
    println!(
        "at the start: {} MB; the bar is {} MB, with nothing wrong and nothing lost\n",
        megabytes(resident),
        megabytes(BAR)
    );
    println!(
        "{:<48} {:>6} {:>6} {:>9} {:>8} {:>6} {:>5} {:>7}  local names",
        "phase", "peak", "after", "right", "SERVFAIL", "wrong", "lost", "closed"
    );
}

/// Prints a line; tells whether the bar was kept.
pub(crate) fn print(phase: Phase, outcome: &Outcome, names: u32) -> bool {
    let tally = outcome.tally;
    let watched = outcome.watched.tally;
    let flaws = [tally, watched].map(|tally| tally.wrong + tally.lost);
    let refused = tally.refused == phase.refused() && watched.refused == 0;
    let is_kept = outcome.peak <= BAR && flaws == [0; 2] && refused;
    println!(
        "{:<48} {:>6} {:>6} {:>9} {:>8} {:>6} {:>5} {:>7}  {} of {}, {} ms at most{}",
        phase.what(names),
        megabytes(outcome.peak),
        megabytes(outcome.resident),
        tally.right,
        tally.refused,
        tally.wrong,
        tally.lost,
        tally.closed,
        watched.right,
        watched.right + watched.refused + watched.wrong + watched.lost,
        outcome.watched.longest.as_millis(),
        if is_kept { "" } else { "  MISSED" }
    );
    is_kept
}

/// KiB in MB.
fn megabytes(kib: u64) -> String {
    let tenths = kib * 1024 / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}
