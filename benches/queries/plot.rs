//! A plot: groups of bars, one of each scenario and one of memory.

use std::fmt::Write as _;

use crate::report;
use crate::rounds::Results;
use crate::scenario::Scenario;
use crate::servers;

/// Bars that are compared with one another.
struct Group {
    /// What they are.
    title: String,
    /// The bars: whose, and how long.
    bars: Vec<(String, f64)>,
}

/// All results as an SVG image.
pub(crate) fn svg(all: &[Results]) -> String {
    let large = all
        .iter()
        .find(|results| results.scenario == Scenario::Large);
    let groups: Vec<_> = all
        .iter()
        .map(Group::of)
        .chain(large.map(Group::of_memory))
        .collect();
    let lines = groups.iter().map(|group| group.bars.len() + 2);
    let height = MARGIN * 2 + lines.sum::<usize>() * LINE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = MARGIN;
    for group in groups {
        y += LINE;
        let title = &group.title;
        line(
            &mut text,
            &format!("<text x=\"{MARGIN}\" y=\"{y}\" font-weight=\"bold\">{title}</text>"),
        );
        let lengths = group.bars.iter().map(|(_, length)| *length);
        let most = lengths.fold(f64::MIN_POSITIVE, f64::max);
        for (name, length) in group.bars {
            y += LINE;
            let width = length / most * BAR;
            let fill = if name.starts_with("portolan") {
                "#1b6ca8"
            } else {
                "#b8b8b8"
            };
            let top = y - LINE * 3 / 4;
            let after = LABEL + width + 6.0;
            // Three digits say enough.
            let digits = match length {
                ..10.0 => 2,
                10.0..100.0 => 1,
                _ => 0,
            };
            line(
                &mut text,
                &format!(
                    "<text x=\"{MARGIN}\" y=\"{y}\">{name}</text>\
                     <rect x=\"{LABEL}\" y=\"{top}\" width=\"{width:.1}\" height=\"14\" \
                     fill=\"{fill}\"/><text x=\"{after:.1}\" y=\"{y}\">{length:.digits$}</text>",
                ),
            );
        }
        y += LINE;
    }
    text += "</svg>\n";
    text
}

// === impl Group ===

impl Group {
    /// What a scenario is about.
    fn of(results: &Results) -> Self {
        let title = results.scenario.title();
        let (what, length): (_, fn(&_) -> _) = match results.scenario {
            Scenario::Latency => ("us until half of the responses", report::half),
            Scenario::Churn => ("us until 99 of 100 responses", report::slowest),
            _ => ("us of processor time a response", report::cost),
        };
        let bars = results
            .rows
            .iter()
            .map(|row| (row.name.clone(), length(row)));
        Self {
            title: format!("{title}: {what}"),
            bars: bars.collect(),
        }
    }

    /// The memory that servers take.
    fn of_memory(results: &Results) -> Self {
        let bars = results.rows.iter().filter(|row| row.name != servers::ECHO);
        Self {
            title: "100,000 local names: MiB of resident memory".to_owned(),
            bars: bars
                .map(|row| (row.name.clone(), report::mebibytes(row.resident_kib)))
                .collect(),
        }
    }
}

/// Appends a line.
fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all");
}

/// Width of the image.
const WIDTH: usize = 860;

/// Where bars begin.
const LABEL: f64 = 240.0;

/// Length of the longest bar.
const BAR: f64 = 530.0;

/// Height of a line.
const LINE: usize = 20;

/// Space around all.
const MARGIN: usize = 12;
