//! Composition root: the command line, wiring, signals, reload and drain.
//!
//! [`main`] is the program. What it is made of is in the other crates; here
//! the configuration is turned into what they want to be told
//! ([`generation`]), and the whole is kept running ([`run`]).

#![forbid(unsafe_code)]

mod addresses;
mod ask;
mod builder;
mod check;
mod cli;
mod clusters;
mod flush;
mod generation;
mod hooks;
mod host_ips;
mod host_name;
mod load;
mod loadbalance;
mod members;
mod memory;
mod parts;
mod place;
mod privileges;
mod run;
mod signals;
mod sources;
mod traefik;
mod translate;
mod version;
mod yielding;

use std::io::Write as _;
use std::process::ExitCode;

use portolan_telemetry::log;

use crate::ask::Method;
use crate::cli::{Cli, Command};
use crate::load::Origin;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Without a reader there is nobody to tell.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if !cli.extra.is_empty() {
        complain(&format!(
            "extra command line arguments: [{}]",
            cli.extra.join(" ")
        ));
        return ExitCode::FAILURE;
    }
    if cli.options.version {
        print(&version::lines().join("\n"));
        return ExitCode::SUCCESS;
    }
    if cli.options.plugins {
        print(&format!(
            "{}\n",
            portolan_config::directive_names().join("\n")
        ));
        return ExitCode::SUCCESS;
    }
    match &cli.command {
        None | Some(Command::Serve) => run::serve(&cli.options),
        Some(Command::Check { file }) => check::check(&cli.options, file.as_deref()),
        Some(Command::Health { address }) => {
            report(ask(&cli, address.as_deref(), Method::Get, "/health").map(drop))
        }
        Some(Command::Flush {
            name,
            address,
            qtype,
            below,
            json,
        }) => report(
            flush::path(name, qtype.as_deref(), *below)
                .and_then(|path| ask(&cli, address.as_deref(), Method::Post, &path))
                .and_then(|text| flush::show(text, *json))
                .map(|text| print(&text)),
        ),
        Some(Command::Members { address, json }) => report(
            ask(&cli, address.as_deref(), Method::Get, "/members")
                .and_then(|text| members::show(text, *json))
                .map(|text| print(&text)),
        ),
        Some(Command::Version) => {
            print(&version::lines().join("\n"));
            ExitCode::SUCCESS
        }
    }
}

/// Asks a running server for `path` with `method`, at the health endpoint given, else at the
/// one configured.
fn ask(cli: &Cli, address: Option<&str>, method: Method, path: &str) -> anyhow::Result<String> {
    let configured = || {
        let origin = Origin::find(&cli.options).ok()?;
        let loaded = origin.load(cli.options.port).ok()?;
        let health = loaded
            .config
            .blocks
            .iter()
            .find_map(|block| block.value.health.as_ref())?;
        Some(health.value.address.to_string())
    };
    let address = address.map(str::to_owned).or_else(configured);
    ask::ask(address.as_deref().unwrap_or(":8080"), method, path)
}

/// Tells the operator what went wrong, and the shell whether it did.
fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line for whoever asked; a closed pipe is no error.
fn print(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Prints lines for the operator; a closed pipe is no error. What they quote may
/// have control characters, which are not the terminal's to obey.
fn complain(text: &str) {
    let mut shown = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        log::escape(line, &mut shown);
        shown.push('\n');
    }
    drop(write!(std::io::stderr(), "{shown}"));
}
