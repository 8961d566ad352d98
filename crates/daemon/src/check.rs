//! `portolan check`: validates a configuration without serving it.

use std::fmt::Write as _;
use std::process::ExitCode;

use portolan_config::Config;

use crate::cli::Options;
use crate::load::Origin;
use crate::{complain, print};

/// Checks the file named, or the one that would be served: prints warnings
/// and the order of stages, or every mistake.
pub(crate) fn check(options: &Options, file: Option<&str>) -> ExitCode {
    let origin = match file {
        Some(file) => Ok(Origin::of_file(file)),
        None => Origin::find(options),
    };
    let loaded = match origin.and_then(|origin| Ok((origin.load(options.port)?, origin))) {
        Ok((loaded, origin)) => {
            for warning in &loaded.warnings {
                complain(&warning.to_string());
            }
            print(&format!("{origin}: valid"));
            loaded
        }
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    print(stages(&loaded.config).trim_end());
    ExitCode::SUCCESS
}

/// The stages of each server block, in the order in which they are tried.
fn stages(config: &Config) -> String {
    let mut text = String::new();
    for block in &config.blocks {
        let keys: Vec<String> = block
            .value
            .keys
            .iter()
            .flat_map(|key| {
                key.value
                    .zones
                    .iter()
                    .map(|zone| format!("{zone}:{}", key.value.port))
            })
            .collect();
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{} ({})", keys.join(" "), block.position);
        for (index, stage) in block.value.stages().iter().enumerate() {
            let mark = if stage.reached {
                ""
            } else {
                "  (never reached)"
            };
            let note = if stage.note.is_empty() { "" } else { "  - " };
            let _ = writeln!(
                text,
                "  {}. {:<18} {}{note}{}{mark}",
                index + 1,
                stage.name,
                stage.position,
                stage.note,
            );
        }
    }
    text
}
