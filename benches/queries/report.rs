//! Tables.

use crate::load::Sample;
use crate::scenario::Results;
use crate::scenario::Row;

/// How to read the tables.
pub(crate) const NOTES: &str = "
qps        median of the responses a second
us/query   median of the server's processor time for one response, least and most beside it. This
           is the figure to compare: it does not count what dnsperf and others do.
x PEER     how many times the responses that PEER has for the same processor time; median of the
           ratios of each round
dnsperf us median of dnsperf's own processor time for one response. It has one core: where qps
           comes near 1,000,000 divided by this, dnsperf measures itself. On faster machines that
           was at some 180,000 a second.
lost %     queries without a response within 1 s
MiB        resident memory at the end, summed over the processes of a server: pages that they share
           count for each
echo       sends back what it gets: one datagram in and one out, the kernel's part";

/// Prints one table.
pub(crate) fn print(results: &Results) {
    let peer = results.rows.get(1);
    println!("\n{}", results.title);
    println!(
        "{:>10} {:>10} {:>9} {:>15} {:>12} {:>11} {:>7} {:>7}",
        "server",
        "qps",
        "us/query",
        "least..most",
        peer.map_or_else(String::new, |peer| format!("x {}", peer.name)),
        "dnsperf us",
        "lost %",
        "MiB",
    );
    for row in &results.rows {
        print_row(row, peer);
    }
}

/// Prints the figures of one server.
fn print_row(row: &Row, peer: Option<&Row>) {
    let costs = sorted(row.samples.iter().map(|sample| sample.cost));
    let least = costs.first().copied().unwrap_or(f64::NAN);
    let most = costs.last().copied().unwrap_or(f64::NAN);
    let ratio = peer.map(|peer| median(ratios(&row.samples, &peer.samples)));
    println!(
        "{:>10} {:>10.0} {:>9.2} {:>15} {:>12} {:>11.1} {:>7.2} {:>7.1}",
        row.name,
        median(row.samples.iter().map(|sample| sample.qps)),
        median(costs),
        format!("{least:.2}..{most:.2}"),
        ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        median(row.samples.iter().map(|sample| sample.client_cost)),
        median(row.samples.iter().map(|sample| sample.lost)),
        mebibytes(row.resident_kib),
    );
}

/// How many times cheaper the responses of one server are, round by round.
fn ratios(own: &[Sample], peer: &[Sample]) -> impl Iterator<Item = f64> {
    own.iter().zip(peer).map(|(own, peer)| peer.cost / own.cost)
}

/// The figure in the middle; the mean of two where there are two.
fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let figures = sorted(figures);
    let middle = figures.len() / 2;
    let upper = figures.get(middle).copied().unwrap_or(f64::NAN);
    if figures.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|below| figures.get(below));
    lower.copied().unwrap_or(f64::NAN).midpoint(upper)
}

/// The figures in order.
fn sorted(figures: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// KiB as MiB.
fn mebibytes(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}
