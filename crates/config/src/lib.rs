//! Corefile and TOML to typed, validated configuration.
//!
//! ```text
//! text --lexer--> words --env--> words --parser, imports--> blocks --build--> Config
//! TOML ----------------toml (same blocks, same words)---------^
//! ```
//!
//! The language is CoreDNS's, with these additions: `{$VAR:default}`, blocks
//! on one line, and directives of this server. Where CoreDNS silently misreads
//! a mistake, there is an error or a warning. Every error of a file is
//! reported at once, with file, line and column.
//!
//! The crate reads files that are imported or hold secrets, and looks whether
//! files that are named exist. It opens no socket and resolves no name, and the environment
//! is an argument.

#![forbid(unsafe_code)]

mod abbreviate;
mod address;
mod build;
mod catalog;
mod config;
mod diagnostic;
mod digest;
mod directive;
mod duration;
mod env;
mod key;
mod lexer;
mod load;
mod overlap;
mod parser;
mod position;
mod scope;
mod size;
mod stage;
mod token;
mod toml;
mod words;
mod zone;

pub use address::AddressError;
pub use address::ListenAddress;
pub use catalog::directive_names;
pub use config::Config;
pub use config::ServerBlock;
pub use diagnostic::ConfigError;
pub use diagnostic::Errors;
pub use diagnostic::Warning;
pub use directive::bind::Bind;
pub use directive::bind::BindTarget;
pub use directive::cache::Cache;
pub use directive::cache::CacheStore;
pub use directive::cache::Prefetch;
pub use directive::cache::ServeStale;
pub use directive::cache::StaleRefresh;
pub use directive::docker_cluster::Cluster;
pub use directive::docker_cluster::ClusterAddress;
pub use directive::docker_cluster::ClusterSecret;
pub use directive::docker_cluster::ClusterSeed;
pub use directive::docker_cluster::DockerCluster;
pub use directive::docker_cluster::DockerEndpoint;
pub use directive::docker_cluster::HostAddresses;
pub use directive::errors::Consolidate;
pub use directive::errors::ErrorLog;
pub use directive::errors::ReportLevel;
pub use directive::fallthrough::Fallthrough;
pub use directive::forward::AllowFrom;
pub use directive::forward::DohMethod;
pub use directive::forward::Forward;
pub use directive::forward::ForwardPolicy;
pub use directive::forward::HealthCheck;
pub use directive::forward::TlsFiles;
pub use directive::forward::Upstream;
pub use directive::forward::UpstreamHost;
pub use directive::forward::UpstreamServer;
pub use directive::forward::UpstreamTransport;
pub use directive::health::Health;
pub use directive::hosts::Hosts;
pub use directive::loadbalance::LoadBalance;
pub use directive::loadbalance::LoadBalancePolicy;
pub use directive::log::LogRule;
pub use directive::log::ResponseClass;
pub use directive::multisocket::Multisocket;
pub use directive::prometheus::Prometheus;
pub use directive::ready::Monitor;
pub use directive::ready::Ready;
pub use directive::reload::Reload;
pub use directive::traefik_externals::TraefikExternals;
pub use directive::unknown_action::UnknownAction;
pub use env::Env;
pub use key::DEFAULT_PORT;
pub use key::Key;
pub use load::BUILTIN_COREFILE;
pub use load::Loaded;
pub use load::Options;
pub use load::load_builtin;
pub use load::load_corefile;
pub use load::load_toml;
pub use position::Located;
pub use position::Position;
pub use stage::StageInfo;
