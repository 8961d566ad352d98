//! The command line: CoreDNS's flags, and commands of our own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A DNS server for container hosts.
#[derive(Debug, Parser)]
#[command(name = "portolan", disable_version_flag = true, max_term_width = 100)]
#[command(
    after_help = "Flags may be written with one dash, as CoreDNS has them: -conf, -dns.port."
)]
pub(crate) struct Cli {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub(crate) options: Options,
    /// Anything else on the line.
    #[arg(hide = true, value_name = "ARGUMENT")]
    pub(crate) extra: Vec<String>,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Corefile to load; `stdin` reads standard input [default: ./Corefile, else built in]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) conf: Option<String>,
    /// The same configuration written in TOML
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "conf")]
    pub(crate) config: Option<String>,
    /// Port for server blocks that name none [default: 53; 54 for the built-in configuration]
    #[arg(short = 'p', long = "dns.port", global = true, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// File to write the process id to, once all ports are open
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// User to become once all ports are open, `NAME|UID[:GROUP]`, if started as root; `root` stays
    /// [default: `PORTOLAN_USER`, else 1000 for the main process of a container, else root]
    #[arg(long, global = true, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Print the directives that are known, and exit
    #[arg(long)]
    pub(crate) plugins: bool,
    /// Print no banner
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Print the version, and exit
    #[arg(long)]
    pub(crate) version: bool,
    /// Form of the log lines
    #[arg(
        long = "log-format",
        global = true,
        value_name = "FORMAT",
        default_value = "json"
    )]
    pub(crate) log_format: LogFormat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer queries (the default)
    Serve,
    /// Validate a configuration, and show the order of its stages
    Check {
        /// The file; `.toml` is read as TOML [default: as for `serve`]
        file: Option<String>,
    },
    /// Ask a running server whether it is healthy: exit code 0 or 1
    Health {
        /// Address of its health endpoint, `HOST:PORT` [default: from the configuration]
        address: Option<String>,
    },
    /// Show the members of the cluster, as a running server sees them
    Members {
        /// Address of its health endpoint, `HOST:PORT` [default: from the configuration]
        address: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a running server forget what upstreams said about a name
    Flush {
        /// The name; with `--below`, `.` is all names
        name: String,
        /// Address of its health endpoint, `HOST:PORT` [default: from the configuration]
        address: Option<String>,
        /// Only this type of it
        #[arg(long = "type", value_name = "TYPE")]
        qtype: Option<String>,
        /// The names below it as well
        #[arg(long)]
        below: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the version
    Version,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// As CoreDNS writes them.
    Text,
}

/// Flags that may be written with one dash.
const LONG_FLAGS: [&str; 10] = [
    "conf",
    "config",
    "dns.port",
    "pidfile",
    "plugins",
    "quiet",
    "version",
    "log-format",
    "user",
    "help",
];

/// Flags that are given or not. As in Go they may say so: `-quiet=true`.
const BOOLEAN_FLAGS: [&str; 3] = ["plugins", "quiet", "version"];

// === impl Cli ===

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// clap's, which exits with 2 as CoreDNS does for an unknown flag.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(args.into_iter().map(two_dashes).filter_map(without_value))
    }
}

/// Gives a long flag that was written with one dash its second.
fn two_dashes(arg: OsString) -> OsString {
    let Some(flag) = arg.to_str().and_then(|text| text.strip_prefix('-')) else {
        return arg;
    };
    let name = flag.split('=').next().unwrap_or(flag);
    if LONG_FLAGS.contains(&name) {
        format!("--{flag}").into()
    } else {
        arg
    }
}

/// Takes the value off a boolean flag: none if it is not given after all. What
/// is no truth value of Go stays, to be refused.
fn without_value(arg: OsString) -> Option<OsString> {
    let written = arg.to_str().and_then(|text| text.strip_prefix("--"));
    let Some((name, value)) = written.and_then(|flag| flag.split_once('=')) else {
        return Some(arg);
    };
    if !BOOLEAN_FLAGS.contains(&name) {
        return Some(arg);
    }
    match value {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(format!("--{name}").into()),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => None,
        _ => Some(arg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::read(
            std::iter::once("portolan")
                .chain(args.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        for args in [
            &[
                "-conf",
                "F",
                "-dns.port",
                "5354",
                "-quiet",
                "-log-format",
                "text",
            ][..],
            &[
                "--conf=F",
                "--dns.port=5354",
                "--quiet",
                "--log-format=text",
            ],
            &["-conf=F", "-p", "5354", "-quiet", "-log-format=text"],
            &[
                "serve",
                "-conf",
                "F",
                "-p",
                "5354",
                "-quiet",
                "-log-format=text",
            ],
        ] {
            let options = read(args).unwrap().options;
            assert_eq!(options.conf.as_deref(), Some("F"), "{args:?}");
            assert_eq!(options.port, Some(5354), "{args:?}");
            assert!(options.quiet, "{args:?}");
            assert_eq!(options.log_format, LogFormat::Text, "{args:?}");
        }
    }

    #[test]
    fn a_boolean_flag_may_say_so() {
        for (args, expected) in [
            (&["-quiet"][..], Some(true)),
            (&["-quiet=true"], Some(true)),
            (&["--quiet=1"], Some(true)),
            (&["-quiet=false"], Some(false)),
            (&["--quiet=F"], Some(false)),
            (&["-quiet=yes"], None),
            (&["-quiet="], None),
        ] {
            let quiet = read(args).ok().map(|cli| cli.options.quiet);
            assert_eq!(quiet, expected, "{args:?}");
        }
    }

    #[test]
    fn stray_arguments_are_kept_for_the_error() {
        assert_eq!(read(&["stray", "more"]).unwrap().extra, ["stray", "more"]);
    }

    #[test]
    fn an_unknown_flag_is_a_usage_error() {
        assert_eq!(read(&["-nope"]).unwrap_err().exit_code(), 2);
        assert_eq!(read(&["-p", "x"]).unwrap_err().exit_code(), 2);
    }
}
