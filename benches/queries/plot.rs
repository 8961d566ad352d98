//! A plot: bars of processor time, a group for each scenario.

use std::fmt::Write as _;

use crate::report;
use crate::scenario::Results;

/// All results as an SVG image.
pub(crate) fn svg(all: &[Results]) -> String {
    let lines = all.iter().map(|results| results.rows.len() + 2);
    let height = MARGIN * 2 + lines.sum::<usize>() * LINE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = MARGIN;
    for results in all {
        y += LINE;
        line(
            &mut text,
            &format!(
                "<text x=\"{MARGIN}\" y=\"{y}\" font-weight=\"bold\">{}: us of processor time \
                 for one response</text>",
                results.title
            ),
        );
        let costs = results.rows.iter().map(report::cost);
        let most = costs.fold(f64::MIN_POSITIVE, f64::max);
        for row in &results.rows {
            y += LINE;
            let cost = report::cost(row);
            let width = cost / most * BAR;
            let fill = if row.name.starts_with("portolan") {
                "#1b6ca8"
            } else {
                "#b8b8b8"
            };
            let top = y - LINE * 3 / 4;
            let after = LABEL + width + 6.0;
            line(
                &mut text,
                &format!(
                    "<text x=\"{MARGIN}\" y=\"{y}\">{}</text>\
                     <rect x=\"{LABEL}\" y=\"{top}\" width=\"{width:.1}\" height=\"14\" \
                     fill=\"{fill}\"/><text x=\"{after:.1}\" y=\"{y}\">{cost:.2}</text>",
                    row.name
                ),
            );
        }
        y += LINE;
    }
    text += "</svg>\n";
    text
}

/// Appends a line.
fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all");
}

/// Width of the image.
const WIDTH: usize = 760;

/// Where bars begin.
const LABEL: f64 = 180.0;

/// Length of the longest bar.
const BAR: f64 = 490.0;

/// Height of a line.
const LINE: usize = 20;

/// Space around all.
const MARGIN: usize = 12;
