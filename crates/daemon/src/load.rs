//! Finding and reading the configuration.

use std::io::Read as _;
use std::path::Path;
use std::{fmt, fs};

use portolan_config as config;
use portolan_config::Loaded;

use crate::cli::Options;

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A Corefile.
    Corefile(String),
    /// A file in TOML.
    Toml(String),
    /// Standard input, read once.
    Stdin(String),
    /// The one that is built in.
    BuiltIn,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// It cannot be read.
    #[error("loading Caddyfile via flag: open {path}: {}", io_text(.reason))]
    Read {
        /// The file.
        path: String,
        /// Why not.
        reason: std::io::Error,
    },
    /// It has mistakes.
    #[error("{}", mistakes_text(.0))]
    Mistakes(config::Errors),
}

/// Name by which CoreDNS knows standard input.
const STDIN: &str = "stdin";

/// What standard input is called in errors.
const STDIN_PATH: &str = "/dev/stdin";

/// The Corefile that is used if it is there and nothing else was said.
const DEFAULT_FILE: &str = "Corefile";

/// Most octets of a configuration file.
const MAX_FILE: u64 = 16 << 20;

// === impl Origin ===

impl Origin {
    /// Where the options say to look.
    pub(crate) fn find(options: &Options) -> Result<Self, LoadError> {
        if let Some(path) = &options.config {
            return Ok(Self::Toml(path.clone()));
        }
        match options.conf.as_deref() {
            Some(STDIN) => Ok(Self::Stdin(read_stdin()?)),
            Some(path) => Ok(Self::of_file(path)),
            None if Path::new(DEFAULT_FILE).exists() => Ok(Self::Corefile(DEFAULT_FILE.to_owned())),
            None => Ok(Self::BuiltIn),
        }
    }

    /// A file by its name.
    pub(crate) fn of_file(path: &str) -> Self {
        if Path::new(path)
            .extension()
            .is_some_and(|ending| ending == "toml")
        {
            Self::Toml(path.to_owned())
        } else {
            Self::Corefile(path.to_owned())
        }
    }

    /// The file it is read from, each time anew.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Corefile(path) | Self::Toml(path) => Some(Path::new(path)),
            Self::Stdin(_) | Self::BuiltIn => None,
        }
    }

    /// Reads and validates the configuration.
    pub(crate) fn load(&self, port: Option<u16>) -> Result<Loaded, LoadError> {
        // What is not UTF-8 must not count as unset: it may be a secret.
        let env =
            |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let options = config::Options {
            default_port: port,
            env: &env,
        };
        match self {
            Self::Corefile(path) => config::load_corefile(path, &read(path)?, &options),
            Self::Toml(path) => config::load_toml(path, &read(path)?, &options),
            Self::Stdin(text) => config::load_corefile(STDIN_PATH, text, &options),
            Self::BuiltIn => config::load_builtin(&options),
        }
        .map_err(LoadError::Mistakes)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corefile(path) | Self::Toml(path) => f.write_str(path),
            Self::Stdin(_) => f.write_str(STDIN_PATH),
            Self::BuiltIn => f.write_str("built-in configuration"),
        }
    }
}

/// Every mistake, each followed by the doubts about its line, which may be why
/// it is one: a variable that is not set.
fn mistakes_text(errors: &config::Errors) -> String {
    let mut lines: Vec<String> = Vec::new();
    for error in errors.iter() {
        lines.push(error.to_string());
        let place = error.position();
        let doubts = errors.warnings().iter().filter(|warning| {
            (&warning.position.file, warning.position.line) == (&place.file, place.line)
        });
        for doubt in doubts.map(ToString::to_string) {
            if !lines.contains(&doubt) {
                lines.push(doubt);
            }
        }
    }
    lines.join("\n")
}

/// Reads a file.
fn read(path: &str) -> Result<String, LoadError> {
    fs::File::open(path)
        .and_then(read_text)
        .map_err(|reason| LoadError::Read {
            path: path.to_owned(),
            reason,
        })
}

/// Reads standard input. Its descriptor is there already: opening its path
/// would take permissions, and fails for a socket.
fn read_stdin() -> Result<String, LoadError> {
    read_text(std::io::stdin().lock()).map_err(|reason| LoadError::Read {
        path: STDIN_PATH.to_owned(),
        reason,
    })
}

/// Reads a text, up to [`MAX_FILE`].
fn read_text(source: impl std::io::Read) -> std::io::Result<String> {
    let mut octets = Vec::new();
    source.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    // Comments may be in any encoding; what is not UTF-8 shows as U+FFFD.
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// An I/O error in Go's words, which scripts look for.
fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}
