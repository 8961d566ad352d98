//! From the text of a configuration to the whole configuration.

use std::sync::Arc;

use crate::address::ListenAddress;
use crate::build::build;
use crate::config::Config;
use crate::diagnostic::ConfigError;
use crate::diagnostic::Errors;
use crate::diagnostic::Sink;
use crate::diagnostic::Warning;
use crate::digest::digest;
use crate::directive::docker_cluster;
use crate::env::Env;
use crate::key::DEFAULT_PORT;
use crate::overlap;
use crate::parser::parse;
use crate::position::Position;
use crate::token::RawBlock;
use crate::toml;

/// What a configuration depends on besides its text.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The port of keys that name none (`-dns.port`); `None` for 53. The
    /// built-in configuration listens on it instead of 54.
    pub default_port: Option<u16>,
    /// The environment.
    pub env: Env<'a>,
}

/// A configuration and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Doubts, in the order of the text.
    pub warnings: Vec<Warning>,
}

/// The text of the built-in configuration, that of `Corefile.example`.
pub const BUILTIN_COREFILE: &str = include_str!("../../../Corefile.example");

/// Loads a Corefile.
///
/// `file` is its name as the operator typed it: messages show it, and
/// relative imports start from its directory.
///
/// # Errors
///
/// Every mistake of the text. An empty one is a mistake: an editor may have
/// truncated the file.
pub fn load_corefile(file: &str, text: &str, options: &Options<'_>) -> Result<Loaded, Errors> {
    let mut sink = Sink::default();
    let blocks = parse(file, text, options.env, &mut sink);
    finish(file, &blocks, options, sink)
}

/// Loads a configuration in TOML, which gives the same as a Corefile.
///
/// # Errors
///
/// Every mistake of the values; of the form of the text, the first.
pub fn load_toml(file: &str, text: &str, options: &Options<'_>) -> Result<Loaded, Errors> {
    let mut sink = Sink::default();
    let blocks = toml::parse(&Arc::from(file), text, options.env, &mut sink);
    finish(file, &blocks, options, sink)
}

/// Loads the built-in configuration, which is in force when there is no file.
///
/// # Errors
///
/// What the environment has wrong.
pub fn load_builtin(options: &Options<'_>) -> Result<Loaded, Errors> {
    let mut sink = Sink::default();
    let mut blocks = parse(BUILTIN_NAME, BUILTIN_COREFILE, options.env, &mut sink);
    if let Some(port) = options.default_port {
        for key in blocks.iter_mut().flat_map(|block| &mut block.keys) {
            if key.text == BUILTIN_KEY {
                key.text = format!(".:{port}");
            }
        }
    }
    finish(BUILTIN_NAME, &blocks, options, sink)
}

/// Gives the blocks their meaning and checks the whole.
fn finish(
    file: &str,
    raw: &[RawBlock],
    options: &Options<'_>,
    mut sink: Sink,
) -> Result<Loaded, Errors> {
    let start = Position::start_of(file);
    if raw.is_empty() && !sink.has_errors() {
        sink.error(ConfigError::parsing(
            &start,
            "there is no server block: an empty configuration serves nothing",
        ));
    }
    let default_port = options.default_port.unwrap_or(DEFAULT_PORT);
    let blocks: Vec<_> = raw
        .iter()
        .map(|block| build(block, default_port, options.env, &mut sink))
        .collect();
    overlap::check(&blocks, &mut sink);
    docker_cluster::check_together(&blocks, &mut sink);
    let version = read_version(options.env, &start, &mut sink);
    let reload = blocks.iter().find_map(|block| block.reload.clone());
    let config = Config {
        digest: digest(raw, &blocks),
        blocks,
        reload,
        version,
    };
    if !sink.has_errors() {
        warn_about(&config, &mut sink);
    }
    let (config, warnings) = sink.finish(config)?;
    Ok(Loaded { config, warnings })
}

/// Reads `COREDNS_VERSION_PORT`: an address, or a port alone.
fn read_version(env: Env<'_>, start: &Position, sink: &mut Sink) -> ListenAddress {
    let default = ListenAddress::any(VERSION_PORT);
    let Some(value) = env("COREDNS_VERSION_PORT").filter(|value| !value.is_empty()) else {
        return default;
    };
    let address = value
        .parse()
        .map(ListenAddress::any)
        .or_else(|_| ListenAddress::parse(&value))
        .map_err(|error| {
            let message = format!("invalid COREDNS_VERSION_PORT env var: {value}: {error}");
            ConfigError::parsing(start, message)
        });
    sink.keep(address).unwrap_or(default)
}

/// Says what is legal and probably a mistake in the whole.
fn warn_about(config: &Config, sink: &mut Sink) {
    for block in &config.blocks {
        if !block.answers() {
            sink.warn(
                &block.position,
                "no directive of this block answers queries: they are all refused",
            );
        }
        for stage in block.stages() {
            if !stage.reached {
                let message = format!("'{}' is never reached: {}", stage.name, stage.note);
                sink.warn(&stage.position, message);
            } else if stage.note.starts_with("reverse") {
                sink.warn(&stage.position, format!("'{}': {}", stage.name, stage.note));
            }
        }
        if let (Some(own), Some(first)) = (&block.reload, &config.reload)
            && own.position != first.position
        {
            let message = format!(
                "'reload' is for the process: the one at {} counts",
                first.position
            );
            sink.warn(&own.position, message);
        }
    }
}

/// Name of the built-in configuration in messages.
const BUILTIN_NAME: &str = "built-in Corefile";

/// The key of the built-in configuration that follows `-dns.port`.
const BUILTIN_KEY: &str = ".:54";

/// The port of the version endpoint.
const VERSION_PORT: u16 = 8081;
