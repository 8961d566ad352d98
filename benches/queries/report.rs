//! Tables.

use crate::answers;
use crate::answers::Answers;
use crate::load::Sample;
use crate::rounds::Results;
use crate::rounds::Row;

/// How to read the tables.
pub(crate) const NOTES: &str = "
us/query   median of the server's processor time for one response, and between which figures the
           middle half of the rounds lies. This is the figure to compare: it does not count what
           the client and others do.
x PEER     how many times the responses that PEER has for the same processor time; median of the
           ratios of each round
qps        median of the responses a second
client us  median of the client's own processor time for one response
p50, p99   of 100 responses, 50 and 99 took no longer, in microseconds from when the query was due;
           medians over the rounds
lost %     queries without a response within 0.3 s
MiB        resident memory at the end, summed over the processes of a server: pages that they share
           count for each
echo       sends back what it gets by recvmmsg and sendmmsg, 32 at a time: the kernel's part";

/// A page with all tables, in Markdown.
pub(crate) fn page(
    machine: &[String],
    targets: &str,
    all: &[Results],
    answers: Option<&Answers>,
) -> String {
    let machine = machine.iter().map(|line| format!("- {line}\n"));
    let tables = all.iter().map(table);
    let head =
        "# Peers\n\nWritten by `just bench-peers`; see [performance.md](performance.md).\n\n";
    [head.to_owned()]
        .into_iter()
        .chain(machine)
        .chain([targets.to_owned(), "\n![Peers](peers.svg)\n".to_owned()])
        .chain(tables)
        .chain(answers.map(answers::table))
        .chain([format!("\n```text{NOTES}\n```\n")])
        .collect()
}

/// One table, in Markdown.
pub(crate) fn table(results: &Results) -> String {
    if results.scenario.is_timed() {
        return timed_table(results);
    }
    let peer = results.row(results.scenario.peer());
    let mut text = format!(
        "\n## {}\n\n| server | us/query | quartiles | x {} | qps | client us | lost % | MiB |\n\
         |---|---|---|---|---|---|---|---|\n",
        results.scenario.title(),
        results.scenario.peer(),
    );
    for row in &results.rows {
        let (lower, upper) = quartiles(row.samples.iter().map(|sample| sample.cost));
        let ratio = peer.map(|peer| median(ratios(row, peer, |sample| sample.cost)));
        let line = format!(
            "| {} | {:.2} | {lower:.2} to {upper:.2} | {} | {:.0} | {:.1} | {:.2} | {:.1} |\n",
            row.name,
            cost(row),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
            median(row.samples.iter().map(|sample| sample.qps)),
            median(row.samples.iter().map(|sample| sample.client_cost)),
            median(row.samples.iter().map(|sample| sample.lost)),
            mebibytes(row.resident_kib),
        );
        text += &line;
    }
    text
}

/// One table of how long answers take, in Markdown.
fn timed_table(results: &Results) -> String {
    let mut text = format!(
        "\n## {}\n\n| server | p50 | p99 | p99, quartiles | qps | us/query | client us | lost % | \
         MiB |\n|---|---|---|---|---|---|---|---|---|\n",
        results.scenario.title(),
    );
    for row in &results.rows {
        let (lower, upper) = quartiles(row.samples.iter().map(|sample| sample.p99));
        text += &format!(
            "| {} | {:.0} | {:.0} | {lower:.0} to {upper:.0} | {:.0} | {:.2} | {:.1} | {:.2} | {:.1} |\n",
            row.name,
            half(row),
            slowest(row),
            median(row.samples.iter().map(|sample| sample.qps)),
            cost(row),
            median(row.samples.iter().map(|sample| sample.client_cost)),
            median(row.samples.iter().map(|sample| sample.lost)),
            mebibytes(row.resident_kib),
        );
    }
    text
}

/// What one response costs a server, in microseconds.
pub(crate) fn cost(row: &Row) -> f64 {
    median(row.samples.iter().map(|sample| sample.cost))
}

/// How long half of the responses of a server take at most, in microseconds.
pub(crate) fn half(row: &Row) -> f64 {
    median(row.samples.iter().map(|sample| sample.p50))
}

/// How long 99 of 100 responses of a server take at most, in microseconds.
pub(crate) fn slowest(row: &Row) -> f64 {
    median(row.samples.iter().map(|sample| sample.p99))
}

/// How many times a figure of the peer is that of the server, round by round.
pub(crate) fn ratios(
    own: &Row,
    peer: &Row,
    figure: impl Fn(&Sample) -> f64,
) -> impl Iterator<Item = f64> {
    let pairs = own.samples.iter().zip(&peer.samples);
    pairs.map(move |(own, peer)| figure(peer) / figure(own))
}

/// The figure in the middle; the mean of two where there are two.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let figures = sorted(figures);
    let middle = figures.len() / 2;
    let upper = figures.get(middle).copied().unwrap_or(f64::NAN);
    if figures.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|below| figures.get(below));
    lower.copied().unwrap_or(f64::NAN).midpoint(upper)
}

/// The figures below which a quarter and three quarters are.
pub(crate) fn quartiles(figures: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let figures = sorted(figures);
    let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
    (at(figures.len() / 4), at(figures.len() * 3 / 4))
}

/// The figures in order.
fn sorted(figures: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// KiB as MiB.
pub(crate) fn mebibytes(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}
