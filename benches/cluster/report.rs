//! Tables.

use std::fs;
use std::time::Duration;

use portolan_testkit::cluster::Series;
use portolan_testkit::cluster::Verdict;

use crate::experiment::Experiment;

/// What came out of an experiment.
pub(crate) struct Report {
    /// The experiment.
    experiment: Experiment,
    /// The lines of its table.
    rows: Vec<Row>,
    /// Answers that ought not to be, that ought to be, and others that are
    /// wrong; the first of each is shown.
    flaws: Vec<(&'static str, usize, String)>,
    /// Why it ended early.
    failure: Option<String>,
}

/// One line of a table.
struct Row {
    /// What was measured.
    what: String,
    /// The times.
    series: Series,
    /// What the worst has to keep.
    bar: Option<Duration>,
}

// === impl Report ===

impl Report {
    /// Nothing so far.
    pub(crate) fn new(experiment: Experiment) -> Self {
        Self {
            experiment,
            rows: Vec::new(),
            flaws: Vec::new(),
            failure: None,
        }
    }

    /// Adds a time to a line, which is made if it is not there.
    pub(crate) fn add(&mut self, what: &str, time: Duration, bar: Option<Duration>) {
        self.extend(what, [time], bar);
    }

    /// Adds times to a line, which is made if it is not there.
    pub(crate) fn extend(
        &mut self,
        what: &str,
        times: impl IntoIterator<Item = Duration>,
        bar: Option<Duration>,
    ) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.what == what) {
            row.series.extend(times);
            return;
        }
        let mut series = Series::default();
        series.extend(times);
        self.rows.push(Row {
            what: what.to_owned(),
            series,
            bar,
        });
    }

    /// Adds what is wrong.
    pub(crate) fn judge(&mut self, verdict: &Verdict) {
        for (kind, count) in [
            ("zombies", verdict.zombies.len()),
            ("missing", verdict.missing.len()),
            ("odd", verdict.odd.len()),
        ] {
            self.count(kind, count, &verdict.to_string());
        }
    }

    /// Adds to a count of what ought not to be.
    pub(crate) fn count(&mut self, kind: &'static str, count: usize, example: &str) {
        if let Some(flaw) = self.flaws.iter_mut().find(|flaw| flaw.0 == kind) {
            if flaw.1 == 0 {
                example.clone_into(&mut flaw.2);
            }
            flaw.1 += count;
        } else {
            self.flaws.push((kind, count, example.to_owned()));
        }
    }

    /// Notes why the experiment ended early.
    pub(crate) fn fail(&mut self, error: &anyhow::Error) {
        self.failure = Some(format!("{error:#}"));
    }

    /// Prints it; tells whether every bar was kept.
    pub(crate) fn print(&self) -> bool {
        let mut is_kept = self.failure.is_none();
        let word = self.experiment.word();
        for row in &self.rows {
            let (median, worst) = (row.series.median(), row.series.worst());
            let (bar, verdict) = match row.bar {
                Some(bar) if worst <= bar => (seconds(bar), "kept"),
                Some(bar) => {
                    is_kept = false;
                    (seconds(bar), "MISSED")
                }
                None => (String::new(), ""),
            };
            println!(
                "{word:<14} {:<34} {:>9} {:>9} {:>6} {bar:>9} {verdict}",
                row.what,
                seconds(median),
                seconds(worst),
                row.series.len(),
            );
        }
        for (kind, count, example) in &self.flaws {
            let verdict = if *count == 0 { "kept" } else { "MISSED" };
            println!("{word:<14} {kind:<34} {count:>9} {:>26} {verdict}", "");
            if *count > 0 {
                is_kept = false;
                println!("    {}", example.replace('\n', "\n    "));
            }
        }
        if let Some(failure) = &self.failure {
            println!("{word:<14} FAILED: {failure}");
        }
        is_kept
    }
}

/// Prints the head of the table.
pub(crate) fn print_head() {
    println!(
        "\n{:<14} {:<34} {:>9} {:>9} {:>6} {:>9}",
        "experiment", "what", "median s", "worst s", "tries", "bar"
    );
}

/// Says what the machine is.
pub(crate) fn describe() {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{model}, {cores} cores, Linux {}", kernel.trim());
    let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = average.split(' ').next().unwrap_or("unknown");
    println!("load average of the last minute: {minute}");
}

/// A time in seconds.
fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}
